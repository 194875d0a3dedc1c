//! Whether somebody may pass the gate: the union of their live grants, looked at again on every call.

use std::collections::BTreeSet;
use std::time::Duration;

use jit_proto::identity::{GrantId, GroupId, RequestId, RoleName};
use jit_proto::time::format_duration;

use super::context::Context;
use super::ledger::{Grant, Ledger, Session};
use super::people::{Account, Person};
use super::policy::{Policy, Role};
use super::time::Now;
use crate::core::ledger::GroupAsked;

/// What is asked of the gate.
#[derive(Debug, Clone)]
pub struct Access<'a> {
    /// Who, by the real uid.
    pub person: &'a Person,
    /// Through which PAM service.
    pub service: &'a str,
    /// Whom they want to become; not known yet in the account stage.
    pub target: Option<&'a Account>,
    /// The group that is asked for beside that, and the groups that are the target's own.
    pub group: (&'a GroupAsked, &'a BTreeSet<GroupId>),
}

impl<'a> Access<'a> {
    /// What a session had asked for, with the person who holds it.
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

/// The answer. There is one way to be allowed, and it names the grant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Refused, and why.
    Denied(Denial),
    /// Let through under this grant.
    Allowed(GrantId),
}

/// Why somebody is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// No policy was accepted since the daemon started.
    NoPolicy,
    /// No open window.
    NoWindow {
        /// Their pending request, if there is one.
        pending: Option<(RequestId, RoleName)>,
    },
    /// There is a window, but not for this service.
    OtherService,
    /// There is a window, but not for becoming this user.
    OtherTarget(String),
    /// There is a window for becoming this user, but not with this group.
    OtherGroup(String),
    /// The records of what happened are not forwarded, and the policy asks for that.
    NotForwarded(Duration),
}

/// Decides.
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

/// Why no window lets somebody through.
fn why_not(ledger: &Ledger, access: &Access<'_>, now: &Now, live: &[&Grant], other_service: bool) -> Denial {
    if live.is_empty() {
        Denial::NoWindow { pending: pending_of(ledger, access, now) }
    } else if other_service {
        Denial::OtherService
    } else {
        Denial::OtherTarget(access.target.map_or(String::new(), |target| target.name.clone()))
    }
}

/// Whether a role lets somebody do this.
#[must_use]
pub fn covers(role: &Role, access: &Access<'_>) -> bool {
    covers_user(role, access) && covers_group(role, access) && role.services.contains(access.service)
}

/// Whether it lets one become this user.
fn covers_user(role: &Role, access: &Access<'_>) -> bool {
    match access.target {
        None => true,
        // Becoming oneself is how `sudo -g GROUP` looks: a role that covers everybody covers it, or one that names the
        // group.
        Some(target) if target.uid == access.person.account.uid => {
            role.run_as.is_anybody() || matches!(access.group.0, GroupAsked::Group { .. })
        }
        Some(target) => role.run_as.covers(target.uid),
    }
}

/// Whether it gives the group that is asked for. Whom one becomes may use their own groups; where that is oneself, only
/// the role's count. While the target is not known, every group may still be the target's own.
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

/// What stands against the group, where there is one or nobody knows.
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
    /// One word or two for the record.
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

    /// What the person is shown, a line each.
    #[must_use]
    pub fn lines(&self, policy: Option<&Policy>, access: &Access<'_>) -> Vec<String> {
        let (service, who) = (access.service, &access.person.account.name);
        let mut lines = Vec::new();
        match self {
            Self::NoPolicy => {
                lines.push(format!("jit: {service} is refused: jitd has no valid policy on this host."));
                lines.push("jit: the administrator can see why with: jitctl policy check".to_owned());
                return lines;
            }
            Self::NotForwarded(waits) => {
                lines.push(format!(
                    "jit: {service} is refused: the audit record of this host has not been forwarded for {}.",
                    format_duration(*waits)
                ));
                lines.push(
                    "jit: no audit, no sudo; the administrator can see why with: jitctl status".to_owned(),
                );
                return lines;
            }
            Self::NoWindow { .. } => {
                lines.push(format!("jit: {service} is refused: {who} has no open window on this host."));
            }
            Self::OtherService => {
                lines.push(format!("jit: {service} is refused: no open window of {who} covers {service}."));
            }
            Self::OtherGroup(group) => {
                lines.push(format!("jit: {service} is refused: no open window of {who} gives {group}."));
            }
            Self::OtherTarget(name) => {
                lines.push(format!(
                    "jit: {service} is refused: {who} has no open window that allows running commands as {name}."
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
            lines.push(format!("jit: there is no role that {who} could ask for."));
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
        /// Once the target is known: a limited role gives what it names, and whom one becomes their own groups.
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
            // A role that covers root limits nothing.
            prop_assert!(covers(&role(0, &[]), &access));
        }
    }
}
