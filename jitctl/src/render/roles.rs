//! The policy: its roles, its settings, and what is wrong with it.

use jit_proto::escape::Escaped;
use jit_proto::view::{ProblemView, RoleView};

use super::{detail, list, local, or_dash, span, table};
use crate::call::PolicyView;

/// Roles as a table.
pub(crate) fn roles(roles: &[RoleView], width: Option<u16>) -> String {
    let heading = [
        "ROLE",
        "YOU MAY",
        "FOR",
        "AT MOST",
        "AS",
        "TICKET",
        "APPROVALS",
        "APPROVED BY",
        "ENDS",
        "DESCRIPTION",
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
            or_dash(&role.description),
        ]
    });
    table(&heading, rows, width)
}

/// The policy in force.
pub(crate) fn policy(policy: &PolicyView, width: Option<u16>) -> String {
    if policy.digest.is_empty() {
        return "no policy was accepted, so everything is refused; see jitctl policy check\n".to_owned();
    }
    let mut text = format!("policy {}, loaded {}\n", Escaped(&policy.digest), local(policy.loaded_at));
    text += &detail("at most", &span(policy.max_duration_seconds));
    text += &detail("requests", &format!("lapse after {}", span(policy.request_expiry_seconds)));
    text += &detail("grace", &span(policy.grace_seconds));
    let warned: Vec<String> =
        policy.warn_before_seconds.iter().filter_map(|seconds| Some(span(seconds.parse().ok()?))).collect();
    text += &detail("warned", &format!("{} before the end", list(&warned)));
    text += &detail("operators", &list(&policy.operators));
    text += &detail("auditors", &list(&policy.auditors));
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
        text += &roles(&policy.roles, width);
    }
    text
}

/// `FILE:LINE: KEY: MESSAGE`, one a line, as compilers write and editors read it.
pub(crate) fn problems(problems: &[ProblemView]) -> String {
    problems
        .iter()
        .map(|ProblemView { file, line, key, message }| {
            let line = if *line == 0 { String::new() } else { format!("{line}:") };
            let key = if key.is_empty() { String::new() } else { format!(" {}:", Escaped(key)) };
            format!("{}:{line}{key} {}\n", Escaped(file), Escaped(message))
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
    use super::super::tests::a_role;
    use super::*;

    #[test]
    fn a_role_is_told_with_what_the_caller_may_do() {
        let text = roles(&[a_role("^INC-[0-9]+$")], None);
        let row = text.lines().nth(1).unwrap();
        for part in ["web-admin", "ask", "30m", "2h", "root", "^INC-[0-9]+$"] {
            assert!(row.contains(part), "{part}: {row}");
        }
    }

    #[test]
    fn a_problem_names_file_line_and_key() {
        let mut problem = ProblemView {
            file: "/etc/jitd/roles.d/web.toml".into(),
            line: 3,
            key: "role.web-admin.max_duration".into(),
            message: "9h is above the ceiling of 8h".into(),
        };
        assert_eq!(
            problems(&[problem.clone()]),
            "/etc/jitd/roles.d/web.toml:3: role.web-admin.max_duration: 9h is above the ceiling of 8h\n"
        );
        (problem.line, problem.key) = (0, String::new());
        assert_eq!(problems(&[problem]), "/etc/jitd/roles.d/web.toml: 9h is above the ceiling of 8h\n");
    }
}
