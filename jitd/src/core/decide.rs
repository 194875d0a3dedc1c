//! Whether a person may pass the gate: by the union of their live grants, evaluated at each call.

use std::collections::BTreeSet;
use std::time::Duration;

use jit_proto::identity::{GrantId, GroupId, RequestId, RoleName};
use jit_proto::polkit_protocol::SERVICE_PKEXEC;
use jit_proto::time::format_duration;

use super::context::Context;
use super::ledger::{Grant, Ledger, Session};
use super::people::{Account, Person};
use super::policy::{Policy, Role};
use super::time::Now;
use crate::core::ledger::GroupAsked;

/// A query to the gate.
#[derive(Debug, Clone)]
pub struct Access<'a> {
    /// The person, by the real uid.
    pub person: &'a Person,
    /// The PAM service.
    pub service: &'a str,
    /// The target user; not known yet in the account stage.
    pub target: Option<&'a Account>,
    /// The group that the command line names, and the target user's own groups.
    pub group: (&'a GroupAsked, &'a BTreeSet<GroupId>),
}

impl<'a> Access<'a> {
    /// The query of an open session, with its holder.
    #[must_use]
    pub fn of(session: &'a Session, person: &'a Person) -> Self {
        Self {
            person,
            service: &session.service,
            target: session.run_as(),
            group: (&session.group, &session.own_groups),
        }
    }
}

/// The answer. Only `Allowed` lets the call pass, and it names the grant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Denied, with the reason.
    Denied(Denial),
    /// Allowed under this grant.
    Allowed(GrantId),
}

/// Why a call is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// No policy was accepted since jitd started.
    NoPolicy,
    /// The person has no open window.
    NoWindow {
        /// The person's pending request, if there is one.
        pending: Option<(RequestId, RoleName)>,
    },
    /// The person has a window, but not for this service.
    OtherService,
    /// The person has a window, but not for this target user.
    OtherTarget(String),
    /// The person has a window for this target user, but not with this group.
    OtherGroup(String),
    /// Audit records are not forwarded for this long, and the policy requires that they are.
    NotForwarded(Duration),
}

/// The decision.
pub fn decide(
    ledger: &Ledger,
    policy: Option<&Policy>,
    access: &Access<'_>,
    context: &Context,
    now: &Now,
) -> Decision {
    let Some(policy) = policy else {
        return Decision::Denied(Denial::NoPolicy);
    };
    let uid = access.person.account.uid;
    let live: Vec<&Grant> = ledger.held_by(uid).filter(|grant| !grant.ends.has_passed(now)).collect();
    let in_policy = live.iter().filter_map(|grant| Some((*grant, policy.roles.get(&grant.role)?)));
    let for_service: Vec<_> = in_policy.filter(|(_, role)| role.services.contains(access.service)).collect();
    let for_target: Vec<_> = for_service.iter().filter(|(_, role)| covers(role, access)).collect();
    let limit = policy.settings.sinks.require_forwarding_within;
    let overdue = context.oldest_unforwarded.filter(|waits| limit.is_some_and(|limit| *waits > limit));
    let recorded = for_target.iter().filter(|(_, role)| overdue.is_none() || role.options.without_forwarding);
    match (recorded.max_by_key(|(grant, _)| grant.ends.remaining(now)), overdue) {
        (Some((grant, _)), _) => Decision::Allowed(grant.id),
        (None, Some(waits)) if !for_target.is_empty() => Decision::Denied(Denial::NotForwarded(waits)),
        (None, _) => {
            let for_user = for_service.iter().any(|(_, role)| covers_user(role, access));
            let denial = match group_problem(access) {
                Some(problem) if for_user && !live.is_empty() => Denial::OtherGroup(problem),
                _ => why_not(ledger, access, now, &live, for_service.is_empty()),
            };
            Decision::Denied(denial)
        }
    }
}

/// Why no window covers the call.
fn why_not(ledger: &Ledger, access: &Access<'_>, now: &Now, live: &[&Grant], other_service: bool) -> Denial {
    if live.is_empty() {
        Denial::NoWindow { pending: pending_of(ledger, access, now) }
    } else if other_service {
        Denial::OtherService
    } else {
        Denial::OtherTarget(access.target.map_or(String::new(), |target| target.name.clone()))
    }
}

/// Whether a role covers the call.
#[must_use]
pub fn covers(role: &Role, access: &Access<'_>) -> bool {
    covers_user(role, access) && covers_group(role, access) && role.services.contains(access.service)
}

/// Whether a role covers the target user.
fn covers_user(role: &Role, access: &Access<'_>) -> bool {
    match access.target {
        None => true,
        // With `sudo -g GROUP` the target is the person: covered by a role that covers everybody, or that names the
        // group.
        Some(target) if target.uid == access.person.account.uid => {
            role.run_as.is_anybody() || matches!(access.group.0, GroupAsked::Group { .. })
        }
        Some(target) => role.run_as.covers(target.uid),
    }
}

/// Whether a role covers the requested group. A target user may use their own groups; if the target is the person, only
/// the role's groups count. While the target is not known, every group may still be one of the target's own.
fn covers_group(role: &Role, access: &Access<'_>) -> bool {
    let (asked, own) = access.group;
    let named = |gid: &GroupId| role.run_as_groups.groups.contains(gid);
    role.run_as.is_anybody()
        || match (asked, access.target) {
            (GroupAsked::Nothing, _) => true,
            (GroupAsked::Unclear(_), _) => false,
            (GroupAsked::Group { .. }, None) => true,
            (GroupAsked::Group { gid, .. }, Some(target)) if target.uid == access.person.account.uid => {
                named(gid)
            }
            (GroupAsked::Group { gid, .. }, Some(_)) => named(gid) || own.contains(gid),
        }
}

/// Why the requested group is not covered, if a group is requested or the command line is unclear.
fn group_problem(access: &Access<'_>) -> Option<String> {
    match access.group.0 {
        GroupAsked::Nothing => None,
        GroupAsked::Group { name, .. } => Some(format!("group {name}")),
        GroupAsked::Unclear(why) => Some(format!("a group that cannot be told ({why})")),
    }
}

fn pending_of(ledger: &Ledger, access: &Access<'_>, now: &Now) -> Option<(RequestId, RoleName)> {
    ledger
        .requests
        .values()
        .find(|request| {
            request.requester.uid == access.person.account.uid && !request.expires.has_passed(now)
        })
        .map(|request| (request.id, request.spec.role.clone()))
}

impl Denial {
    /// The denial in one or two words, for the record.
    #[must_use]
    pub fn short(&self) -> String {
        match self {
            Self::NoPolicy => "no policy is loaded".to_owned(),
            Self::NoWindow { pending: None } => "no open window".to_owned(),
            Self::NoWindow { pending: Some((id, role)) } => {
                format!("no open window; request {id} for {role} is pending")
            }
            Self::OtherService => "no open window covers this service".to_owned(),
            Self::OtherGroup(group) => format!("no open window gives {group}"),
            Self::OtherTarget(name) => format!("no open window lets this person become {name}"),
            Self::NotForwarded(waits) => {
                format!("the audit record has not been forwarded for {}", format_duration(*waits))
            }
        }
    }

    /// The messages for the person, a line each.
    #[must_use]
    pub fn lines(&self, policy: Option<&Policy>, access: &Access<'_>) -> Vec<String> {
        let (service, who) = (access.service, &access.person.account.name);
        // A role opens pkexec by the name of its PAM service, which nobody types.
        let shown = if service == SERVICE_PKEXEC { "pkexec" } else { service };
        let mut lines = Vec::new();
        match self {
            Self::NoPolicy => {
                lines.push(format!("jit: {shown} is refused: jitd has no valid policy on this host."));
                lines.push("jit: the administrator can see why with: jitctl policy check".to_owned());
                return lines;
            }
            Self::NotForwarded(waits) => {
                lines.push(format!(
                    "jit: {shown} is refused: the audit record of this host has not been forwarded for {}.",
                    format_duration(*waits)
                ));
                lines.push(
                    "jit: no audit, no sudo; the administrator can see why with: jitctl status".to_owned(),
                );
                return lines;
            }
            Self::NoWindow { .. } => {
                lines.push(format!("jit: {shown} is refused: {who} has no open window on this host."));
            }
            Self::OtherService => {
                lines.push(format!("jit: {shown} is refused: no open window of {who} covers {service}."));
            }
            Self::OtherGroup(group) => {
                lines.push(format!("jit: {shown} is refused: no open window of {who} gives {group}."));
            }
            Self::OtherTarget(name) => {
                lines.push(format!(
                    "jit: {shown} is refused: {who} has no open window that allows running commands as {name}."
                ));
            }
        }
        if service.starts_with("sudo") {
            // sudo ends with "a password is required" where it was told not to ask for one (sudo(8), -n).
            lines.push("jit: a password does not help, whatever sudo says next.".to_owned());
        }
        if let Self::NoWindow { pending: Some((id, role)) } = self {
            lines.push(format!("jit: request {id} ({role}) is waiting for approval."));
            return lines;
        }
        let askable: Vec<_> = policy
            .iter()
            .flat_map(|policy| policy.roles.values())
            .filter(|role| role.members.include(access.person) && role.services.contains(service))
            .collect();
        if askable.is_empty() {
            lines.push(format!("jit: there is no role that {who} could request."));
        }
        for role in askable.iter().take(8) {
            lines.push(format!("jit: to ask for one, type:  {}", role.request_line()));
        }
        if askable.len() > 8 {
            lines.push("jit: all of them are listed by: jitctl roles".to_owned());
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use jit_proto::identity::UserId;
    use proptest::prelude::*;

    use super::*;
    use crate::core::people::People;
    use crate::core::policy::{OnExpiry, RoleOptions, RunAs, RunAsGroups, TicketRule};

    fn role(run_as: u32, groups: &[u32]) -> Role {
        Role {
            name: RoleName::try_from("r".to_owned()).unwrap(),
            description: String::new(),
            members: People::default(),
            run_as: RunAs { written: vec![], users: [UserId(run_as)].into() },
            run_as_groups: RunAsGroups {
                written: vec![],
                groups: groups.iter().copied().map(GroupId).collect(),
            },
            services: ["sudo".to_owned()].into(),
            default_duration: Duration::from_secs(60),
            max_duration: Duration::from_secs(60),
            ticket: TicketRule::default(),
            approvers: People::default(),
            approvals: 1,
            options: RoleOptions { reason_min_length: 0, ..RoleOptions::default() },
            on_expiry: OnExpiry::Terminate,
        }
    }

    fn account(uid: u32) -> Account {
        Account { uid: UserId(uid), name: format!("u{uid}") }
    }

    fn group() -> impl Strategy<Value = GroupAsked> {
        prop_oneof![
            Just(GroupAsked::Nothing),
            (0u32..6).prop_map(|gid| GroupAsked::Group { gid: GroupId(gid), name: gid.to_string() }),
            Just(GroupAsked::Unclear("?".to_owned())),
        ]
    }

    proptest! {
        /// Once the target is known: a limited role covers the groups that it names, and the target's own.
        #[test]
        fn a_limited_role_gives_no_group_that_nobody_named(
            asked in group(),
            named in prop::collection::vec(0u32..6, 0..3),
            own in prop::collection::btree_set((0u32..6).prop_map(GroupId), 0..3),
            target in 1u32..4,
        ) {
            let holder = Person { account: account(1), groups: BTreeSet::new(), locked: false };
            let target = account(target);
            let access = Access {
                person: &holder,
                service: "sudo",
                target: Some(&target),
                group: (&asked, &own),
            };
            let expected = match &asked {
                GroupAsked::Nothing => target.uid.0 == 2,
                GroupAsked::Unclear(_) => false,
                GroupAsked::Group { gid, .. } => {
                    let is_named = named.contains(&gid.0);
                    (target.uid.0 == 1 && is_named) || (target.uid.0 == 2 && (is_named || own.contains(gid)))
                }
            };
            prop_assert_eq!(covers(&role(2, &named), &access), expected);
            // A role that covers root covers every group.
            prop_assert!(covers(&role(0, &[]), &access));
        }
    }
}
