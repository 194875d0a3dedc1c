//! Views for tests, with a text wherever people can put one.

use jit_proto::bus::view::{
    GrantView, RequestView, RoleView, SessionView, SettingView, StackView, StatusView,
};
use jit_proto::time::WallTime;

use crate::render::layout::Sheet;

/// 2026-11-22 06:21:15 UTC; the local hour depends on the machine.
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
        settings: vec![SettingView {
            key: "reason.min_length".into(),
            value: text.into(),
            is_default: false,
        }],
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
        acknowledged: vec![text.into()],
        user: text.into(),
        held: vec![a_grant(text)],
        asked: vec![a_request(text)],
        observes: true,
        observing_roles: vec![text.into()],
        stacks: vec![StackView { service: text.into(), file: text.into(), line: 3, message: text.into() }],
    }
}

/// A sheet in UTC.
pub(crate) fn a_sheet(width: Option<u16>) -> Sheet {
    Sheet { width, zone: jiff::tz::TimeZone::UTC, now: WallTime(MOMENT) }
}
