//! Roles: which ones the caller sees, and their terms.

use jit_proto::bus::view::RoleView;
use jit_proto::escape::Escaped;

use crate::client::Daemon;
use crate::failure::Failure;
use crate::output::Output;
use crate::render::layout::{self, Column, Sheet};
use crate::render::{list, or_dash, span};
use crate::values::TableArgs;

/// `roles`.
pub(crate) async fn roles(args: TableArgs, output: &Output) -> Result<(), Failure> {
    let roles = Daemon::reach().await?.roles().await?;
    let empty = "there is no role that you may request or approve";
    output.page();
    output.list(&roles, empty, |roles| table(roles, &output.sheet(args.full)))
}

/// Roles as a table.
pub(crate) fn table(roles: &[RoleView], sheet: &Sheet) -> String {
    let columns = [
        Column::new("ROLE", 0),
        Column::new("YOU MAY", 1),
        Column::new("FOR", 2),
        Column::new("AT MOST", 1),
        Column::new("AS", 5),
        Column::new("TICKET", 3),
        Column::new("APPROVALS", 7),
        Column::new("APPROVED BY", 4),
        Column::new("ENDS", 6),
        Column::new("FORWARDING", 8),
        Column::new("ALSO", 9),
        Column::text("DESCRIPTION", 2),
    ];
    let rows = roles.iter().map(|role| {
        vec![
            or_dash(&role.name),
            may(role).to_owned(),
            span(role.default_duration_seconds),
            span(role.max_duration_seconds),
            whom(role),
            ticket(role),
            role.approvals_needed.to_string(),
            list(&role.approvers),
            ends(role),
            if role.without_forwarding { "not needed" } else { "-" }.to_owned(),
            also(role),
            or_dash(&role.description),
        ]
    });
    layout::table(&columns, rows.collect(), sheet)
}

fn may(role: &RoleView) -> &'static str {
    match (role.may_request, role.may_approve) {
        (true, true) => "request, approve",
        (true, false) => "request",
        (false, true) => "approve",
        (false, false) => "view",
    }
}

/// The target users and groups of a role: `USER, :GROUP`, as sudoers has them.
fn whom(role: &RoleView) -> String {
    let groups = role.run_as_groups.iter().map(|group| format!(":{group}"));
    list(&role.run_as.iter().cloned().chain(groups).collect::<Vec<_>>())
}

fn ticket(role: &RoleView) -> String {
    match (role.ticket_required, role.ticket_pattern.as_str()) {
        (true, "") => "required".to_owned(),
        (true, pattern) => Escaped(pattern).to_string(),
        (false, "") => "-".to_owned(),
        (false, pattern) => format!("optional, {}", Escaped(pattern)),
    }
}

/// The rules that end a grant or a session before or after its window.
fn ends(role: &RoleView) -> String {
    let mut ways = Vec::new();
    for (seconds, what) in [(role.unused_for_seconds, "unused"), (role.idle_timeout_seconds, "idle")] {
        if seconds > 0 {
            ways.push(format!("{what} {}", span(seconds)));
        }
    }
    if role.end_with_login {
        ways.push("logout".to_owned());
    }
    if role.on_expiry_linger_seconds > 0 {
        ways.push(format!("may finish within {}", span(role.on_expiry_linger_seconds)));
    }
    list(&ways)
}

/// Settings that a column shows.
const IN_COLUMNS: [&str; 14] = [
    "description",
    "members",
    "approval.from",
    "approval.count",
    "run_as",
    "run_as_groups",
    "default_duration",
    "max_duration",
    "ticket.required",
    "ticket.pattern",
    "unused_for",
    "idle_timeout",
    "end_with_login",
    "without_forwarding",
];

/// Settings that differ from their default and have no column.
fn also(role: &RoleView) -> String {
    let others = role.settings.iter().filter(|setting| {
        !setting.is_default
            && !IN_COLUMNS.contains(&setting.key.as_str())
            && !setting.key.starts_with("on_expiry")
    });
    list(&others.map(|setting| format!("{} = {}", setting.key, setting.value)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use jit_proto::bus::view::SettingView;

    use super::*;
    use crate::samples::{a_role, a_sheet};

    #[test]
    fn a_role_is_told_with_what_the_caller_may_do() {
        let text = table(&[a_role("^INC-[0-9]+$")], &a_sheet(None));
        let row = text.lines().nth(1).unwrap();
        for part in ["web-admin", "request", "30m", "2h", "root", "^INC-[0-9]+$"] {
            assert!(row.contains(part), "{part}: {row}");
        }
    }

    #[test]
    fn a_setting_without_a_column_is_shown_where_it_is_set() {
        let setting = |key: &str, is_default| SettingView { key: key.into(), value: "20".into(), is_default };
        let settings =
            vec![setting("reason.min_length", false), setting("new", true), setting("idle_timeout", false)];
        let shown = table(&[RoleView { settings, ..a_role("x") }], &a_sheet(None));
        assert!(shown.contains("  reason.min_length = 20  "), "{shown}");
        assert!(!shown.contains("new = ") && !shown.contains("idle_timeout = "), "{shown}");
    }

    #[test]
    fn a_role_that_needs_no_forwarding_says_so() {
        let role = RoleView { without_forwarding: true, ..a_role("x") };
        assert!(table(&[role], &a_sheet(None)).contains("not needed"));
        assert!(!table(&[a_role("x")], &a_sheet(None)).contains("not needed"));
    }
}
