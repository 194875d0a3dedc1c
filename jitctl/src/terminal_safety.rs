//! Tests that no text from people can mislead a terminal or add a line.

use jit_proto::bus::view::{
    ApprovalView, ProblemView, RecordView, RequestView, SealsView, Severity, VerifyView,
};
use jit_proto::escape::is_unsafe;
use proptest::prelude::*;

use crate::audit::{record_line as record, verified};
use crate::client::ShowView;
use crate::policy::{PolicyView, policy, problems};
use crate::render::grant::{self, granted};
use crate::render::request::{line as request_line, pending};
use crate::report::{an_observe_report, observe_text};
use crate::request::{approved, request_approved, request_refused, shown};
use crate::samples::{MOMENT, a_grant, a_request, a_role, a_session, a_sheet, a_status};
use crate::status::status;
use crate::{role, session};

/// Every output of this crate about a text.
fn everything(text: &str, width: Option<u16>) -> Vec<String> {
    let mut denied = a_request(text);
    denied.state = "denied".into();
    denied.denied_by = text.into();
    denied.denial_reason = text.into();
    let approval = ApprovalView { user: text.into(), uid: 1, comment: text.into(), given_at: MOMENT };
    let half = RequestView { approvals: vec![approval], approvals_needed: 2, ..a_request(text) };
    let both = ShowView { request: Some(denied.clone()), grant: Some(a_grant(text)) };
    let policy_shown = PolicyView {
        digest: text.into(),
        loaded_at: MOMENT,
        max_duration_seconds: 1,
        request_expiry_seconds: 2,
        grace_seconds: 3,
        warn_before_seconds: vec![300],
        approve_without_login: true,
        approve_as_another_account: true,
        alerts_off: vec![text.into()],
        told: vec![text.into()],
        operators: vec![text.into()],
        auditors: vec![text.into()],
        settings: a_role(text).settings,
        roles: vec![a_role(text)],
    };
    let problem = ProblemView {
        file: text.into(),
        line: 3,
        key: text.into(),
        message: text.into(),
        severity: Severity::Warning,
    };
    let broken = VerifyView {
        whole: false,
        records: 2,
        head: text.into(),
        bad_seq: 3,
        problem: text.into(),
        first: 1,
        seals: vec![SealsView { from: 1, to: 2, cover: text.into() }],
        doubts: vec![text.into()],
        ..VerifyView::default()
    };
    let whole = VerifyView { whole: true, bad_seq: 0, ..broken.clone() };
    let fact = serde_json::Value::from(text);
    let line = format!(
        "{{\"time\":{fact},\"event\":{fact},\"user\":{fact},\"role\":{fact},\"outcome\":{fact},\
         \"reason\":{fact},\"argv\":[{fact},{fact}],\"detail\":{fact}}}"
    );
    let records =
        [line, text.to_owned()].map(|line| RecordView { seq: 3, hash: text.into(), seal: text.into(), line });
    let mut said = vec![
        pending(&[a_request(text), denied.clone(), half.clone()]),
        request_line(&a_request(text)),
        request_approved(&denied, Some(&a_grant(text))),
        request_approved(&denied, None),
        request_refused(&denied),
        approved(&half),
        approved(&denied),
        shown(&both),
        granted(&a_grant(text)),
        grant::table(&[a_grant(text)], &a_sheet(width)),
        session::table(&[a_session(text)], &a_sheet(width)),
        status(&a_status(text), false),
        role::table(&[a_role(text)], &a_sheet(width)),
        policy(&policy_shown, &a_sheet(width)),
        problems(&[problem]),
        observe_text(&an_observe_report(text), &a_sheet(width)),
        verified(&broken),
        verified(&whole),
    ];
    said.extend(records.iter().map(record));
    said
}

proptest! {
    #[test]
    fn no_text_can_fool_a_terminal(
        text in "[\\x00-\\x20\\u{7f}-\\u{a0}\\u{2000}-\\u{2070}a\\\\]*|.*|\\x1b\\[2J\\x1b\\]0;.*\\x07\\u{202e}"
    ) {
        let on_terminal = everything(&text, Some(80)).into_iter();
        let ours_gone = on_terminal.map(|said| said.replace("\x1b[1m", "").replace("\x1b[0m", ""));
        for said in everything(&text, None).into_iter().chain(ours_gone) {
            prop_assert!(!said.chars().any(|c| c != '\n' && is_unsafe(c)), "{said:?}");
        }
    }

    #[test]
    fn a_text_never_adds_a_line(text in "[\\x00-\\x20\\u{7f}-\\u{a0}\\u{2028}\\u{2029}x]{1,60}") {
        for (said, plain) in everything(&format!("x{text}"), None).iter().zip(everything("x", None)) {
            prop_assert_eq!(said.lines().count(), plain.lines().count(), "{}", said);
        }
    }
}
