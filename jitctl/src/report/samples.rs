//! A small audit log for tests of reports.

use jit_host::sudoers::SudoRule;
use jit_proto::audit::record::{AuditEvent, Facts, Record};
use jit_proto::bus::view::{RecordView, VerifyView};
use jit_proto::time::{BootId, BootTime, WallTime};

use super::compute::compute;
use super::model::{About, Report};
use super::standing::{Gate, Standing};

pub(super) const BEGIN: u64 = 1_795_305_600_000_000;

pub(super) fn stored(seq: u64, at: u64, event: AuditEvent, facts: Facts) -> RecordView {
    let record = Record {
        v: 1,
        seq,
        prev: "00".into(),
        time: WallTime(at).to_rfc3339(),
        boot_us: BootTime(at).0,
        boot_id: BootId("b".into()).0,
        event,
        facts,
    };
    RecordView { seq, hash: "ab".into(), seal: String::new(), line: serde_json::to_string(&record).unwrap() }
}

/// A day with this text wherever people can put one.
pub(super) fn a_report(text: &str) -> Report {
    let own = || Some(text.to_owned());
    let asked = |id| Facts {
        user: own(),
        uid: Some(2004),
        role: Some("ops".into()),
        request: Some(id),
        reason: own(),
        ticket: own(),
        ..Facts::default()
    };
    let granted = |id| Facts {
        grant: Some(id),
        request: None,
        approvers: Some(vec!["bob".into()]),
        until: Some(WallTime(BEGIN + 2_000_000_000).to_rfc3339()),
        ..asked(id)
    };
    let session = || Facts { session: Some(5), service: Some("sudo".into()), tty: own(), ..granted(7) };
    let bob = |facts: Facts, detail: &str| Facts {
        actor: Some("bob".into()),
        detail: Some(detail.into()),
        ..facts
    };
    let drafts = [
        (AuditEvent::DaemonStarted, Facts { detail: Some("version 0.1.0".into()), ..Facts::default() }),
        (AuditEvent::PolicyLoaded, Facts { policy: Some("ab".into()), detail: own(), ..Facts::default() }),
        (AuditEvent::RequestMade, asked(7)),
        (AuditEvent::RequestApproved, bob(asked(7), "restart only")),
        (AuditEvent::GrantStarted, Facts { request: Some(7), ..granted(7) }),
        (
            AuditEvent::AccessAllowed,
            Facts {
                argv: Some(["sudo", "systemctl", "restart", "nginx"].map(str::to_owned).to_vec()),
                ..session()
            },
        ),
        (AuditEvent::SessionOpened, Facts { run_as: Some("root".into()), ..session() }),
        (
            AuditEvent::AccessDenied,
            Facts {
                user: own(),
                service: Some("sudo".into()),
                argv: Some(vec![text.to_owned()]),
                detail: own(),
                ..Facts::default()
            },
        ),
        (AuditEvent::RequestMade, asked(8)),
        (AuditEvent::RequestDenied, bob(asked(8), "not today")),
        (AuditEvent::CommandRefused, Facts { actor: own(), detail: own(), ..Facts::default() }),
        (AuditEvent::GrantLeftBehind, Facts { left_behind: Some(vec![text.to_owned()]), ..granted(7) }),
        (AuditEvent::GrantExpired, granted(7)),
        (
            AuditEvent::SessionEnded,
            Facts {
                ended_by: Some("expired".into()),
                killed: Some(3),
                escaped: Some(0),
                left: Some(0),
                ..session()
            },
        ),
        (AuditEvent::GrantStarted, Facts { actor: Some("oscar".into()), ..granted(9) }),
        (AuditEvent::GrantRevoked, Facts { actor: Some("oscar".into()), detail: own(), ..granted(9) }),
    ];
    let records: Vec<RecordView> = drafts
        .into_iter()
        .enumerate()
        .map(|(n, (event, facts))| stored(n as u64 + 1, BEGIN + n as u64 * 60_000_000, event, facts))
        .collect();
    let about = About {
        host: text.to_owned(),
        version: "0.1.0",
        made_at: WallTime(BEGIN).to_rfc3339(),
        since: WallTime(BEGIN).to_rfc3339(),
        until: WallTime(BEGIN + 86_400_000_000).to_rfc3339(),
    };
    let chain = VerifyView {
        first: 1,
        whole: true,
        records: records.len() as u64,
        head: "ab".into(),
        ..VerifyView::default()
    };
    let standing = Standing {
        rules: Some(vec![SudoRule {
            who: text.to_owned(),
            members: vec![text.to_owned()],
            run_as: "ALL".into(),
            commands: vec![text.to_owned()],
            password: false,
        }]),
        gates: vec![
            Gate { service: "sudo".into(), gated: true },
            Gate { service: "su".into(), gated: false },
        ],
        uid_zero: vec!["root".into()],
        gap: None,
    };
    compute(about, (BEGIN, BEGIN + 86_400_000_000), &[], &records, chain, standing)
}
