//! Checks whether those who may request a role are in sudoers at all: a window is useless to a person whom sudo refuses
//! anyway.

use std::collections::BTreeSet;

use jit_proto::bus::view::{ProblemView, RoleView, Severity};

use jit_host::accounts::members_of_group;
use jit_host::sudoers::{SudoRule, installed};

/// Warnings about members of these roles without a rule of sudoers.
///
/// # Errors
/// Why that is unknown: the caller is not root, or sudoers cannot be read.
pub(super) fn warnings(roles: &[RoleView]) -> Result<Vec<ProblemView>, String> {
    Ok(missing(&installed()?, roles, members_of_group))
}

/// `people_of` lists the members of a group.
fn missing(
    rules: &[SudoRule],
    roles: &[RoleView],
    people_of: impl Fn(&str) -> Vec<String>,
) -> Vec<ProblemView> {
    let mut known = BTreeSet::new();
    for rule in rules {
        match rule.who.as_str() {
            // Everybody; or a netgroup, a uid or a gid, which can be anybody.
            "ALL" => return Vec::new(),
            who if who.starts_with(['+', '#', ':']) || who.starts_with("%#") || who.starts_with("%:") => {
                return Vec::new();
            }
            who if who.starts_with('%') => known.extend(rule.members.iter().cloned()),
            who => drop(known.replace(who.to_owned())),
        }
    }
    let mut warnings = Vec::new();
    for role in roles.iter().filter(|role| role.services.iter().any(|service| service.starts_with("sudo"))) {
        let mut members = BTreeSet::new();
        for name in &role.members {
            match name.strip_prefix('@') {
                Some(group) => members.extend(people_of(group)),
                None => members.extend([name.clone()]),
            }
        }
        let outside: Vec<String> = members.into_iter().filter(|name| !known.contains(name)).collect();
        if !outside.is_empty() {
            let people = outside.join(", ");
            let role = &role.name;
            warnings.push(ProblemView {
                file: "/etc/sudoers".to_owned(),
                line: 0,
                key: String::new(),
                message: format!(
                    "no rule names {people}, who may request role {role}: sudo denies them even with a grant"
                ),
                severity: Severity::Warning,
            });
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::a_role;

    fn rule(who: &str, members: &[&str]) -> SudoRule {
        SudoRule {
            who: who.into(),
            members: members.iter().map(|&name| name.to_owned()).collect(),
            run_as: "ALL".into(),
            commands: vec!["ALL".into()],
            password: true,
        }
    }

    #[test]
    fn a_member_whom_no_rule_names_is_named() {
        let roles = [RoleView { members: vec!["alice".into(), "@webops".into()], ..a_role("x") }];
        let people = |_: &str| vec!["dave".to_owned(), "erin".to_owned()];
        let found = missing(&[rule("alice", &[]), rule("%sudo", &["dave"])], &roles, people);
        assert_eq!(found.len(), 1);
        assert!(found[0].message.starts_with("no rule names erin, who may request"), "{found:?}");
        for who in ["ALL", "+admins", "#1000"] {
            assert!(missing(&[rule(who, &[])], &roles, people).is_empty(), "{who}");
        }
    }
}
