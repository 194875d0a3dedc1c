//! Whether somebody may pass the gate: the union of their live grants, looked at again on every call.

use std::time::Duration;

use jit_proto::identity::{GrantId, RequestId, RoleName};
use jit_proto::moment::spoken;

use super::ledger::{Grant, Ledger};
use super::people::{Account, Person};
use super::policy::{Policy, Role};
use super::time::Now;

/// What is asked of the gate.
#[derive(Debug, Clone)]
pub struct Access<'a> {
    /// Who, by the real uid.
    pub person: &'a Person,
    /// Through which PAM service.
    pub service: &'a str,
    /// Whom they want to become; not known yet in the account stage.
    pub target: Option<&'a Account>,
    /// How long the oldest record waits for syslog, while that takes none.
    pub unforwarded: Option<Duration>,
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
    /// The records of what happened are not forwarded, and the policy asks for that.
    NotForwarded(Duration),
}

/// Decides.
pub fn decide(ledger: &Ledger, policy: Option<&Policy>, access: &Access<'_>, now: &Now) -> Decision {
    let Some(policy) = policy else {
        return Decision::Denied(Denial::NoPolicy);
    };
    let uid = access.person.account.uid;
    let live: Vec<&Grant> = ledger.held_by(uid).filter(|grant| !grant.ends.has_passed(now)).collect();
    let in_policy = live.iter().filter_map(|grant| Some((*grant, policy.roles.get(&grant.role)?)));
    let for_service: Vec<_> = in_policy.filter(|(_, role)| role.services.contains(access.service)).collect();
    let for_target: Vec<_> = for_service.iter().filter(|(_, role)| covers(role, access)).collect();
    let limit = policy.settings.sinks.require_forwarding_within;
    let overdue = access.unforwarded.filter(|waits| limit.is_some_and(|limit| *waits > limit));
    let recorded = for_target.iter().filter(|(_, role)| overdue.is_none() || role.without_forwarding);
    match (recorded.max_by_key(|(grant, _)| grant.ends.remaining(now)), overdue) {
        (Some((grant, _)), _) => Decision::Allowed(grant.id),
        (None, Some(waits)) if !for_target.is_empty() => Decision::Denied(Denial::NotForwarded(waits)),
        (None, _) => Decision::Denied(why_not(ledger, access, now, &live, for_service.is_empty())),
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
    let target = match access.target {
        None => true,
        // Becoming oneself is how `sudo -g GROUP` looks; only a role that covers everybody covers every group.
        Some(target) if target.uid == access.person.account.uid => role.run_as.is_anybody(),
        Some(target) => role.run_as.covers(target.uid),
    };
    target && role.services.contains(access.service)
}

fn pending_of(ledger: &Ledger, access: &Access<'_>, now: &Now) -> Option<(RequestId, RoleName)> {
    ledger
        .requests
        .values()
        .find(|request| {
            request.requester.uid == access.person.account.uid && !request.expires.has_passed(now)
        })
        .map(|request| (request.id, request.role.clone()))
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
            Self::OtherTarget(name) => format!("no open window lets this person become {name}"),
            Self::NotForwarded(waits) => {
                format!("the audit record has not been forwarded for {}", spoken(*waits))
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
                    spoken(*waits)
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
            Self::OtherTarget(name) => {
                lines.push(format!(
                    "jit: {service} is refused: no open window of {who} covers becoming {name}."
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
