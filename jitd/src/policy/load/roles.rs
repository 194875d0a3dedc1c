//! Reads one role.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use jit_host::pam_stack;
use jit_proto::identity::{RoleName, UserId};
use jit_proto::polkit_protocol::SERVICE_SYSTEMCTL;
use jit_proto::time::format_duration;
use toml::Spanned;

use super::source::Source;
use super::{Loader, hours, is_error};
use crate::core::policy::{OnExpiry, Role, RoleOptions, RunAs, RunAsGroups, Settings, TicketRule};
use crate::policy::file::{OnExpiryWord, RoleTable};
use crate::policy::form::WrittenValue;

impl Loader<'_> {
    pub(super) fn role(
        &mut self,
        source: &Source,
        name: &str,
        table: &Spanned<RoleTable>,
        values: BTreeMap<&'static str, WrittenValue>,
        settings: &Settings,
    ) -> Option<Role> {
        let before = self.problems.iter().filter(|problem| is_error(problem)).count();
        let key = |last: &str| format!("role.{name}.{last}");
        let parsed = RoleName::try_from(name.to_owned());
        if let Err(error) = &parsed {
            self.problem(source, table.span(), &format!("role.{name}"), error.to_string());
        }
        let role = table.get_ref();
        if role.members.is_empty() {
            self.problem(source, table.span(), &key("members"), "nobody can request this role".to_owned());
        }
        let approval = role.approval.as_ref();
        if approval.is_some_and(|approval| approval.from.is_empty()) {
            let message = "nobody can approve a request for this role".to_owned();
            self.problem(source, table.span(), &key("approval.from"), message);
        }
        // Without the table, `form` has reported it, and there is no role.
        let (from, count) = approval
            .map_or_else(|| (&[][..], Spanned::new(0..0, 1)), |it| (it.from.as_slice(), it.count.clone()));
        let ceiling = settings.options.max_duration;
        let max_duration =
            self.span(source, &key("max_duration"), role.max_duration.as_ref(), ceiling.min(hours(2)));
        let of_all = format!("the ceiling of {} in jitd.toml", format_duration(ceiling));
        let written = role.max_duration.as_ref();
        self.not_above(source, &key("max_duration"), written, max_duration, (ceiling, &of_all));
        let usual = max_duration.min(Duration::from_secs(1800));
        let default_duration =
            self.span(source, &key("default_duration"), role.default_duration.as_ref(), usual);
        let of_role = format!("max_duration, {}", format_duration(max_duration));
        let written = role.default_duration.as_ref();
        self.not_above(source, &key("default_duration"), written, default_duration, (max_duration, &of_role));
        let members = self.people(source, &key("members"), &role.members);
        let approvers = self.people(source, &key("approval.from"), from);
        self.warn_about_people(source, table.span(), name, role, *count.get_ref());
        let run_as = self.run_as(source, &key("run_as"), role.run_as.as_deref());
        let run_as_groups = self.run_as_groups(source, &key("run_as_groups"), &role.run_as_groups, &run_as);
        let services = self.services(source, &key("services"), role.services.as_deref());
        let pattern = role.ticket.pattern.as_ref().and_then(|written| {
            regex_lite::Regex::new(written.get_ref())
                .map_err(|error| {
                    self.problem(source, written.span(), &key("ticket.pattern"), error.to_string());
                })
                .ok()
        });
        let mut options = RoleOptions::default();
        for (key, WrittenValue { written, value }) in values {
            value.into_iter().for_each(|value| options.set(key, value));
            options.written.insert(key, written);
        }
        let on_expiry = self.on_expiry(source, &key("on_expiry_limit"), role, ceiling);
        let name = parsed.ok()?;
        let after = self.problems.iter().filter(|problem| is_error(problem)).count();
        (after == before).then(|| Role {
            name,
            description: role.description.clone(),
            members,
            run_as,
            run_as_groups,
            services,
            default_duration,
            max_duration,
            ticket: TicketRule { required: role.ticket.required, pattern },
            approvers,
            approvals: *count.get_ref(),
            on_expiry,
            options,
        })
    }

    /// Reports a duration above its maximum, which is given with its name.
    fn not_above(
        &mut self,
        source: &Source,
        key: &str,
        written: Option<&Spanned<String>>,
        duration: Duration,
        (max, named): (Duration, &str),
    ) {
        if duration > max {
            let at = written.map_or(0..0, Spanned::span);
            self.problem(source, at, key, format!("{} is above {named}", format_duration(duration)));
        }
    }

    pub(super) fn on_expiry(
        &mut self,
        source: &Source,
        key: &str,
        role: &RoleTable,
        ceiling: Duration,
    ) -> OnExpiry {
        let word = role.on_expiry.as_ref().map_or(OnExpiryWord::Terminate, |word| *word.get_ref());
        match (word, &role.on_expiry_limit) {
            (OnExpiryWord::Terminate, None) => OnExpiry::Terminate,
            (OnExpiryWord::Terminate, Some(limit)) => {
                let message = "it goes with on_expiry = \"deny-new\" only".to_owned();
                self.problem(source, limit.span(), key, message);
                OnExpiry::Terminate
            }
            (OnExpiryWord::DenyNew, limit) => {
                let at_most = self.span(source, key, limit.as_ref(), hours(1).min(ceiling));
                let of_all = format!("the ceiling of {} in jitd.toml", format_duration(ceiling));
                self.not_above(source, key, limit.as_ref(), at_most, (ceiling, &of_all));
                OnExpiry::DenyNew { at_most }
            }
        }
    }

    pub(super) fn run_as(
        &mut self,
        source: &Source,
        key: &str,
        written: Option<&[Spanned<String>]>,
    ) -> RunAs {
        let Some(written) = written else {
            return RunAs { written: vec!["root".to_owned()], users: BTreeSet::from([UserId::ROOT]) };
        };
        let mut run_as = RunAs::default();
        for entry in written {
            let user = self.names.user(entry.get_ref());
            let found = user.map(|user| user.map(|user| run_as.users.insert(user.uid)).is_some());
            self.found(source, entry, key, found);
            run_as.written.push(entry.get_ref().clone());
        }
        run_as
    }

    pub(super) fn run_as_groups(
        &mut self,
        source: &Source,
        key: &str,
        written: &[Spanned<String>],
        run_as: &RunAs,
    ) -> RunAsGroups {
        let mut groups = RunAsGroups::default();
        if let Some(first) = written.first()
            && run_as.is_anybody()
        {
            let message = "run_as covers root, and so every group: name no groups here".to_owned();
            self.problem(source, first.span(), key, message);
        }
        for entry in written {
            let name = entry.get_ref();
            match self.names.group(name) {
                Ok(Some(id)) => drop(groups.groups.insert(id)),
                Ok(None) => {
                    let message = format!("there is no group {name:?} on this host");
                    self.problem(source, entry.span(), key, message);
                }
                Err(error) => {
                    let message = format!("group {name:?} cannot be looked up: {error}");
                    self.problem(source, entry.span(), key, message);
                }
            }
            groups.written.push(name.clone());
        }
        groups
    }

    pub(super) fn services(
        &mut self,
        source: &Source,
        key: &str,
        written: Option<&[Spanned<String>]>,
    ) -> BTreeSet<String> {
        let Some(written) = written else {
            return BTreeSet::from(["sudo".to_owned(), "sudo-i".to_owned()]);
        };
        let mut services = BTreeSet::new();
        for entry in written {
            let name = entry.get_ref();
            let plain =
                name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@'));
            if name.is_empty() || !plain {
                self.problem(source, entry.span(), key, format!("{name:?} is no name of a PAM service"));
            } else if name != SERVICE_SYSTEMCTL
                && !pam_stack::FOLDERS.iter().any(|folder| Path::new(folder).join(name).exists())
            {
                let message = format!("there is no PAM service {name:?} on this host: no /etc/pam.d/{name}");
                self.warning(source, entry.span(), key, message);
            }
            services.insert(name.clone());
        }
        services
    }
}
