//! The policy: what is wrong with its files, groups that do not exist, and a jitd that does not answer.

use std::collections::BTreeSet;

use jit_host::program::run;
use jit_proto::bus::view::{ProblemView, RoleView};

use crate::doctor::finding::{Check, Look, quoted};
use crate::doctor::host::Host;

pub(super) const CHECK: Check =
    Check { name: "policy", looks_at: "the policy and the people of its roles", look };

fn look(host: &Host, look: &mut Look) {
    match &host.told.status {
        Ok(status) => {
            for problem in &status.problems {
                look.open(
                    format!("audit-log/{problem}"),
                    format!("the audit log has an open problem: {problem}"),
                    "what happened on this host may not be what its records say",
                    "jitctl audit verify; jitctl audit acknowledge --reason \"what was found out\"",
                );
            }
        }
        Err(why) => {
            // Whether its units run is told by those; that it does not answer is told here.
            look.unseen("what jitd says of its policy and its audit log", why);
        }
    }
    for problem in host.told.problems.iter().flatten() {
        wrong(problem, look);
    }
    for group in groups(host.told.roles.iter().flatten()) {
        match run("/usr/bin/getent", &["group", &group]) {
            // 2: "one or more supplied key could not be found" (getent(1)).
            Ok(ended) if ended.status == Some(2) => look.open(
                format!("policy/group/{group}"),
                format!("group {group} is named by a role and does not exist on this host"),
                "whoever makes a group of that name decides who may request or approve",
                format!("groupadd {}", quoted(&group)),
            ),
            Ok(ended) if ended.status == Some(0) => {}
            Ok(ended) => look.unseen(format!("group {group}"), ended.errors.trim()),
            Err(why) => look.unseen(format!("group {group}"), why),
        }
    }
}

/// The groups that roles name.
fn groups<'a>(roles: impl Iterator<Item = &'a RoleView>) -> BTreeSet<String> {
    let named = roles.flat_map(|role| role.members.iter().chain(&role.approvers));
    named.filter_map(|name| name.strip_prefix('@')).map(str::to_owned).collect()
}

fn wrong(problem: &ProblemView, look: &mut Look) {
    let ProblemView { file, line, key, message, .. } = problem;
    // A stack's fault is the stacks' own.
    if message.contains("lets people become root without a window") {
        return;
    }
    let place = if *line == 0 { String::new() } else { format!(":{line}") };
    let named = if key.is_empty() { String::new() } else { format!(" {key}:") };
    let is_stale = message.contains("are not the policy in force");
    let mend = match is_stale {
        true => "systemctl reload jitd.service".to_owned(),
        false => {
            let at = if *line == 0 { String::new() } else { format!("+{line} ") };
            format!("\"${{EDITOR:-vi}}\" {at}{} && systemctl reload jitd.service", quoted(file))
        }
    };
    let why = match is_stale {
        true => "jitd decides by another policy than the files show",
        false => "people cannot get the role that they need, or somebody gets it whom nobody meant",
    };
    look.open(format!("policy/{file}/{key}"), format!("{file}{place}:{named} {message}"), why, mend);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::a_role;
    use jit_proto::bus::view::Severity;

    #[test]
    fn a_problem_is_told_with_its_place_and_a_stack_is_left_to_the_stacks() {
        let problem = |message: &str| ProblemView {
            file: "/etc/jitd/roles.d/web.toml".into(),
            line: 3,
            key: "role.web.approval.from".into(),
            message: message.into(),
            severity: Severity::Warning,
        };
        let mut look = Look::default();
        wrong(&problem("nobody approves their own request"), &mut look);
        wrong(&problem("sudo (opened by web) lets people become root without a window: x"), &mut look);
        let [found] = look.findings.try_into().unwrap();
        assert_eq!(
            found.what,
            "/etc/jitd/roles.d/web.toml:3: role.web.approval.from: nobody approves their own request"
        );
        assert_eq!(
            found.mend,
            "\"${EDITOR:-vi}\" +3 /etc/jitd/roles.d/web.toml && systemctl reload jitd.service"
        );
    }

    #[test]
    fn the_groups_of_roles_are_those_behind_an_at() {
        let role = RoleView {
            members: vec!["alice".into(), "@webops".into()],
            approvers: vec!["@leads".into(), "bob".into()],
            ..a_role("x")
        };
        assert_eq!(groups([role].iter()), BTreeSet::from(["leads".to_owned(), "webops".to_owned()]));
    }
}
