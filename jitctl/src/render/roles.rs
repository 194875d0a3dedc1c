//! The policy: its roles, its settings, and what is wrong with it.

use jit_proto::bus::view::{ProblemView, RoleView, Severity};
use jit_proto::escape::Escaped;

use super::layout::{Column, Sheet, table};
use super::{detail, list, local, or_dash, span};
use crate::call::PolicyView;

/// Roles as a table.
pub(crate) fn roles(roles: &[RoleView], sheet: &Sheet) -> String {
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
            or_dash(&role.description),
        ]
    });
    table(&columns, rows.collect(), sheet)
}

/// The policy in force.
pub(crate) fn policy(policy: &PolicyView, sheet: &Sheet) -> String {
    if policy.digest.is_empty() {
        return "no policy was accepted, so everything is refused; see jitctl policy check\n".to_owned();
    }
    let mut text = format!("policy {}, loaded {}\n", Escaped(&policy.digest), local(policy.loaded_at));
    text += &detail("at most", &span(policy.max_duration_seconds));
    text += &detail("requests", &format!("lapse after {}", span(policy.request_expiry_seconds)));
    text += &detail("grace", &span(policy.grace_seconds));
    let warned: Vec<String> = policy.warn_before_seconds.iter().map(|seconds| span(*seconds)).collect();
    text += &detail("warned", &format!("{} before the end", list(&warned)));
    text += &detail("operators", &list(&policy.operators));
    text += &detail("auditors", &list(&policy.auditors));
    let allowed = [
        (policy.approve_without_login, "without a login session"),
        (policy.approve_as_another_account, "as another account than the one that logged in"),
    ];
    let allowed: Vec<String> =
        allowed.into_iter().filter(|(on, _)| *on).map(|(_, how)| how.to_owned()).collect();
    if !allowed.is_empty() {
        text += &detail("approvals", &format!("count also {}", allowed.join(" and ")));
    }
    if !policy.alerts_off.is_empty() {
        text += &detail("no alerts", &list(&policy.alerts_off));
    }
    if !policy.told.is_empty() {
        text += &detail("told", &list(&policy.told));
    }
    if policy.roles.is_empty() {
        text += "no roles\n";
    } else {
        text += "\n";
        text += &roles(&policy.roles, sheet);
    }
    text
}

/// `FILE:LINE: KEY: MESSAGE`, one a line, as compilers write and editors read it.
pub(crate) fn problems(problems: &[ProblemView]) -> String {
    problems
        .iter()
        .map(|ProblemView { file, line, key, message, severity }| {
            let line = if *line == 0 { String::new() } else { format!("{line}:") };
            let key = if key.is_empty() { String::new() } else { format!(" {}:", Escaped(key)) };
            let warning = if *severity == Severity::Warning { " warning:" } else { "" };
            format!("{}:{line}{key}{warning} {}\n", Escaped(file), Escaped(message))
        })
        .collect()
}

fn may(role: &RoleView) -> &'static str {
    match (role.may_request, role.may_approve) {
        (true, true) => "ask, approve",
        (true, false) => "ask",
        (false, true) => "approve",
        (false, false) => "look",
    }
}

/// Whom one may become, and with which groups beside theirs: `USER, :GROUP`, as sudoers writes them.
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

/// What ends a grant or a session before its window does, or after it.
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

#[cfg(test)]
mod tests {
    use super::super::tests::{a_role, a_sheet};
    use super::*;

    #[test]
    fn a_role_is_told_with_what_the_caller_may_do() {
        let text = roles(&[a_role("^INC-[0-9]+$")], &a_sheet(None));
        let row = text.lines().nth(1).unwrap();
        for part in ["web-admin", "ask", "30m", "2h", "root", "^INC-[0-9]+$"] {
            assert!(row.contains(part), "{part}: {row}");
        }
    }

    #[test]
    fn a_role_that_needs_no_forwarding_says_so() {
        let role = RoleView { without_forwarding: true, ..a_role("x") };
        assert!(roles(&[role], &a_sheet(None)).contains("not needed"));
        assert!(!roles(&[a_role("x")], &a_sheet(None)).contains("not needed"));
    }

    #[test]
    fn a_problem_names_file_line_and_key() {
        let mut problem = ProblemView {
            file: "/etc/jitd/roles.d/web.toml".into(),
            line: 3,
            key: "role.web-admin.max_duration".into(),
            message: "9h is above the ceiling of 8h".into(),
            severity: Severity::Error,
        };
        assert_eq!(
            problems(&[problem.clone()]),
            "/etc/jitd/roles.d/web.toml:3: role.web-admin.max_duration: 9h is above the ceiling of 8h\n"
        );
        (problem.line, problem.key) = (0, String::new());
        problem.severity = Severity::Warning;
        assert_eq!(
            problems(&[problem.clone()]),
            "/etc/jitd/roles.d/web.toml: warning: 9h is above the ceiling of 8h\n"
        );
        problem.severity = Severity::Error;
        assert_eq!(problems(&[problem]), "/etc/jitd/roles.d/web.toml: 9h is above the ceiling of 8h\n");
    }
}
