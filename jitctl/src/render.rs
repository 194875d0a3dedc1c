//! Views as text for people: pure, and the one place where text from people meets a terminal.
//!
//! Every text that a person, a policy file or the kernel gave goes through [`Escaped`] here; what these functions
//! return holds no control character but the newlines that end its lines.

mod requests;

mod grants;

mod roles;

mod audit;

mod layout;

pub(crate) use audit::{record, verified};
pub(crate) use grants::{granted, grants, sessions, status};
pub(crate) use layout::Sheet;
pub(crate) use requests::{
    approved, pending, request_approved, request_line, request_refused, shown, who_approves,
};
pub(crate) use roles::{policy, problems, roles};
#[cfg(test)]
pub(crate) use tests::a_role;

use std::time::Duration;

use jit_proto::bus::view::GrantView;
use jit_proto::escape::Escaped;
use jit_proto::time::{WallTime, format_duration};

/// `name   value` below a headline; an empty value leaves the line out.
fn detail(name: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("    {name:<13}{value}\n") }
}

/// A text from people, or a dash where there is none.
fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { Escaped(text).to_string() }
}

fn list(texts: &[String]) -> String {
    or_dash(&texts.join(", "))
}

pub(crate) fn span(seconds: u64) -> String {
    format_duration(Duration::from_secs(seconds))
}

/// What is left of a window: whole minutes once it is longer than ten of them.
fn left(seconds: u64) -> String {
    span(if seconds >= 600 { seconds / 60 * 60 } else { seconds })
}

fn local(micros: u64) -> String {
    WallTime(micros).to_local()
}

/// The end of a window; the date only where it is not today's.
fn until(grant: &GrantView) -> String {
    // The daemon says what is left, so that its now is known here without a clock.
    let now = local(grant.ends_at.saturating_sub(grant.remaining_seconds.saturating_mul(1_000_000)));
    let end = local(grant.ends_at);
    match (now.split_once(' '), end.split_once(' ')) {
        (Some((today, _)), Some((day, time))) if today == day => time.to_owned(),
        _ => end,
    }
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::call::{PolicyView, ShowView};
    use jit_proto::bus::view::{
        ApprovalView, ProblemView, RecordView, RequestView, RoleView, SealsView, SessionView, Severity,
        StackView, StatusView, VerifyView,
    };
    use jit_proto::escape::is_unsafe;
    use proptest::prelude::*;

    /// 2026-11-22 06:21:15 UTC; which hour that is locally depends on where the test runs.
    pub(crate) const MOMENT: u64 = 1_795_328_475_000_000;

    pub(crate) fn a_request(text: &str) -> RequestView {
        RequestView {
            id: 7,
            state: "pending".into(),
            role: "web-admin".into(),
            user: text.into(),
            uid: 1000,
            reason: text.into(),
            ticket: text.into(),
            duration_seconds: 1800,
            requested_at: MOMENT,
            expires_at: MOMENT + 3_600_000_000,
            approvals: vec![],
            approvals_needed: 1,
            extends: 0,
            denied_by: String::new(),
            denial_reason: String::new(),
            may_approve: true,
            approvers: vec![text.into(), "@leads".into()],
            approving_people: vec![text.into()],
        }
    }

    pub(crate) fn a_grant(text: &str) -> GrantView {
        GrantView {
            id: 7,
            state: "live".into(),
            role: "web-admin".into(),
            user: text.into(),
            uid: 1000,
            run_as: vec![text.into()],
            services: vec!["sudo".into(), "sudo-i".into()],
            reason: text.into(),
            ticket: text.into(),
            approvers: vec![text.into()],
            starts_at: MOMENT,
            ends_at: MOMENT + 1_800_000_000,
            remaining_seconds: 1692,
            sessions: 2,
        }
    }

    pub(crate) fn a_session(text: &str) -> SessionView {
        SessionView {
            id: 3,
            grant: 7,
            state: "open".into(),
            user: text.into(),
            uid: 1000,
            role: "web-admin".into(),
            service: "sudo".into(),
            run_as: text.into(),
            tty: text.into(),
            pid: 4711,
            argv: vec!["sudo".into(), text.into()],
            audit_session: 9,
            login: text.into(),
            scope: "jit-3.scope".into(),
            started_at: MOMENT,
            ends_at: MOMENT + 1_800_000_000,
        }
    }

    pub(crate) fn a_role(text: &str) -> RoleView {
        RoleView {
            name: "web-admin".into(),
            description: text.into(),
            members: vec![text.into()],
            approvers: vec![text.into()],
            approvals_needed: 1,
            run_as: vec!["root".into()],
            run_as_groups: Vec::new(),
            services: vec!["sudo".into()],
            default_duration_seconds: 1800,
            max_duration_seconds: 7200,
            reason_min_length: 10,
            ticket_required: true,
            ticket_pattern: text.into(),
            unused_for_seconds: 0,
            idle_timeout_seconds: 900,
            end_with_login: true,
            on_expiry_linger_seconds: 0,
            without_forwarding: false,
            may_request: true,
            may_approve: false,
        }
    }

    pub(crate) fn a_status(text: &str) -> StatusView {
        StatusView {
            version: text.into(),
            started_at: MOMENT,
            policy_digest: text.into(),
            policy_loaded_at: MOMENT,
            roles: 1,
            pending: 2,
            grants: 1,
            sessions: 0,
            records: 1234,
            unsent: 0,
            problems: vec![text.into()],
            user: text.into(),
            held: vec![a_grant(text)],
            asked: vec![a_request(text)],
            stacks: vec![StackView {
                service: text.into(),
                file: text.into(),
                line: 3,
                message: text.into(),
            }],
        }
    }

    /// A sheet in UTC.
    pub(crate) fn a_sheet(width: Option<u16>) -> Sheet {
        Sheet { width, zone: jiff::tz::TimeZone::UTC, now: WallTime(MOMENT) }
    }

    /// Everything this module can say about a text.
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
        let records = [line, text.to_owned()].map(|line| RecordView {
            seq: 3,
            hash: text.into(),
            seal: text.into(),
            line,
        });
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
            grants(&[a_grant(text)], &a_sheet(width)),
            sessions(&[a_session(text)], &a_sheet(width)),
            status(&a_status(text), false),
            roles(&[a_role(text)], &a_sheet(width)),
            policy(&policy_shown, &a_sheet(width)),
            problems(&[problem]),
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

    #[test]
    fn what_is_left_is_told_in_minutes_until_it_gets_short() {
        assert_eq!(left(1692), "28m");
        assert_eq!(left(5399), "1h 29m");
        assert_eq!(left(599), "9m 59s");
        assert_eq!(left(0), "0s");
    }

    #[test]
    fn an_end_on_another_day_is_told_with_its_date() {
        let mut grant = a_grant("x");
        grant.ends_at = MOMENT;
        grant.remaining_seconds = 1;
        assert_eq!(until(&grant).len(), "14:32:05 +01:00".len());
        grant.remaining_seconds = 25 * 3600;
        assert_eq!(until(&grant).len(), "2026-11-22 14:32:05 +01:00".len());
    }
}
