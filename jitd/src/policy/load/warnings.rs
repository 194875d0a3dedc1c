//! Warnings: settings that are accepted and cannot work, such as a role that nobody can get, a group without members, a
//! service whose stack does not ask jitd.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::Path;

use jit_host::pam_stack::{Fault, inspect};
use jit_proto::bus::view::{ProblemView, Severity};
use jit_proto::identity::RoleName;
use toml::Spanned;

use super::Loader;
use super::source::Source;
use crate::core::policy::{Policy, Role, Settings};
use crate::policy::file::RoleTable;

/// People that a warning names.
const MAX_NAMED: usize = 5;

/// Warnings from other files: stacks that do not ask jitd, and a policy that is not in force. `in_force` is the digest
/// of the policy in force, if there is one.
#[must_use]
pub fn warnings_outside(root: &Path, policy: &Policy, in_force: Option<&str>) -> Vec<ProblemView> {
    let mut warnings = Vec::new();
    for (service, fault) in inspect(policy.services()) {
        let Some(Fault { file, line, message }) = fault else { continue };
        let roles = policy.roles.values().filter(|role| role.services.contains(&service));
        let roles: Vec<String> = roles.map(|role| role.name.to_string()).collect();
        let opened = match roles.as_slice() {
            [] => "no role opens it".to_owned(),
            roles => format!("opened by {}", roles.join(", ")),
        };
        warnings.push(ProblemView {
            file: file.display().to_string(),
            line,
            key: String::new(),
            message: format!("{service} ({opened}) lets people become root without a window: {message}"),
            severity: Severity::Warning,
        });
    }
    if in_force != Some(policy.digest.as_str()) {
        warnings.push(ProblemView {
            file: root.display().to_string(),
            line: 0,
            key: String::new(),
            message: "these files are not the policy in force; to load them: systemctl reload jitd"
                .to_owned(),
            severity: Severity::Warning,
        });
    }
    warnings
}

impl Loader<'_> {
    /// Adds a warning. The policy is accepted all the same.
    pub(super) fn warning(&mut self, source: &Source, span: Range<usize>, key: &str, message: String) {
        let (line, file) = (source.line_of(&span), source.path.display().to_string());
        let severity = Severity::Warning;
        self.problems.push(ProblemView { file, line, key: key.to_owned(), message, severity });
    }

    pub(super) fn warn_about_the_whole(
        &mut self,
        root: &Path,
        settings: &Settings,
        roles: &BTreeMap<RoleName, Role>,
    ) {
        let mut warn = |name: &str, key: &str, message: &str| {
            self.problems.push(ProblemView {
                file: root.join(name).display().to_string(),
                line: 0,
                key: key.to_owned(),
                message: message.to_owned(),
                severity: Severity::Warning,
            });
        };
        if settings.operators.users.is_empty() && settings.operators.groups.is_empty() {
            let message = "nobody but root can grant or revoke: no operator is named";
            warn("jitd.toml", "operators", message);
        }
        if roles.is_empty() {
            warn("roles.d", "", "there is no role, so nobody can request anything");
        }
    }

    /// Warns of groups without members, and of members whom nobody can approve.
    pub(super) fn warn_about_people(
        &mut self,
        source: &Source,
        table: Range<usize>,
        name: &str,
        role: &RoleTable,
        count: u32,
    ) {
        let key = |last: &str| format!("role.{name}.{last}");
        let members = self.people_of(source, &key("members"), &role.members);
        let Some(approval) = &role.approval else { return };
        let approvers = self.people_of(source, &key("approval.from"), &approval.from);
        let (Some(members), Some(approvers)) = (members, approvers) else { return };
        let written = approval.from.first().map_or(table, Spanned::span);
        let at = |span: Range<usize>| if span.is_empty() { written.clone() } else { span };
        let needed = usize::try_from(count).unwrap_or(usize::MAX);
        if approvers.len() < needed {
            let people = names(&approvers);
            let message = format!(
                "it takes {count} different approvers, and there are {}: {people}; nobody can get this role",
                approvers.len()
            );
            self.warning(source, at(approval.count.span()), &key("approval.count"), message);
            return;
        }
        let others = |member: &String| approvers.iter().filter(|approver| *approver != member).count();
        let stuck: BTreeSet<String> = members.iter().filter(|it| others(it) < needed).cloned().collect();
        if !stuck.is_empty() {
            let whose = if stuck.len() == members.len() {
                "no member can get this role"
            } else {
                "they cannot get it"
            };
            let message = format!(
                "nobody approves their own request, and without their own approval there are not {count} for {}; {whose}",
                names(&stuck)
            );
            self.warning(source, written, &key("approval.from"), message);
        }
    }

    /// The people of names and `@groups`; `None` if unknown. Warns of a group without members.
    fn people_of(
        &mut self,
        source: &Source,
        key: &str,
        written: &[Spanned<String>],
    ) -> Option<BTreeSet<String>> {
        let mut people = Some(BTreeSet::new());
        for entry in written {
            let name = entry.get_ref();
            let Some(group) = name.strip_prefix('@') else {
                people.iter_mut().for_each(|people| people.extend([name.clone()]));
                continue;
            };
            match self.names.listed_in(group) {
                Some(listed) if listed.is_empty() => {
                    let message = format!("group {group:?} has no members on this host");
                    self.warning(source, entry.span(), key, message);
                }
                Some(listed) => people.iter_mut().for_each(|people| people.extend(listed.clone())),
                None => people = None,
            }
        }
        people
    }

    /// Warns that the hook of the package needs a program that the package does not depend on.
    pub(super) fn warn_about_the_webhook(&mut self, source: &Source, written: &Spanned<String>) {
        let own = Path::new(written.get_ref()).file_name().is_some_and(|name| name == "jitd-webhook");
        let there = ["/usr/local/bin", "/usr/bin", "/bin"]
            .iter()
            .any(|folder| fs::metadata(Path::new(folder).join("curl")).is_ok());
        if own && !there {
            let message = "it needs curl, which is not installed; no notice will be sent".to_owned();
            self.warning(source, written.span(), "notify.exec", message);
        }
    }
}

fn names(people: &BTreeSet<String>) -> String {
    let mut names: Vec<&str> = people.iter().map(String::as_str).take(MAX_NAMED).collect();
    if people.is_empty() {
        names.push("nobody");
    } else if people.len() > MAX_NAMED {
        names.push("...");
    }
    names.join(", ")
}
