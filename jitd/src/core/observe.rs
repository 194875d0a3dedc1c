//! Whether a call that is denied passes because jitd observes, and which roles would have covered it.

use std::collections::BTreeSet;

use super::decide::{Access, covers};
use super::policy::{Mode, Policy, Role};

/// A record names no more roles than these.
const MAX_ROLES: usize = 16;

/// What lets a denied call pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observer {
    /// The option `observe` of the module's line.
    Line,
    /// `mode` of `jitd.toml`.
    Host,
    /// `mode` of a role that the person may request and that would cover the call.
    Role,
}

impl Observer {
    /// Its word in the record.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Host => "host",
            Self::Role => "role",
        }
    }

    /// Who observes, in a sentence for the person.
    #[must_use]
    pub fn described(self) -> &'static str {
        match self {
            Self::Line | Self::Host => "this host only observes",
            Self::Role => "your role only observes",
        }
    }
}

/// What lets a call pass that is denied; `None` where nothing does. `access` is what was asked for, where it is known who
/// asks: without it no role speaks for the caller.
///
/// A role that says `enforce` is enforced for its members although the host observes: they can be switched on before the
/// others.
#[must_use]
pub fn observer(policy: Option<&Policy>, line: bool, access: Option<&Access<'_>>) -> Option<Observer> {
    if line {
        return Some(Observer::Line);
    }
    let policy = policy?;
    let host = (policy.settings.options.mode == Mode::Observe).then_some(Observer::Host);
    let Some(access) = access else { return host };
    let mut own = covering(policy, access).filter(|role| role.members.include(access.person)).peekable();
    if own.peek().is_none() {
        return host;
    }
    let observing = own.find(|role| policy.mode_of(role) == Mode::Observe)?;
    Some(if observing.options.mode.is_some() { Observer::Role } else { Observer::Host })
}

/// The roles that would have covered a call: those that the person may request, and the others; the first of each, by
/// name.
#[must_use]
pub fn roles_for(policy: Option<&Policy>, access: &Access<'_>) -> (Vec<String>, Vec<String>) {
    let Some(policy) = policy else { return (Vec::new(), Vec::new()) };
    let (own, others): (Vec<&Role>, Vec<&Role>) =
        covering(policy, access).partition(|role| role.members.include(access.person));
    let names = |roles: Vec<&Role>| roles.iter().take(MAX_ROLES).map(|role| role.name.to_string()).collect();
    (names(own), names(others))
}

fn covering<'a>(policy: &'a Policy, access: &'a Access<'_>) -> impl Iterator<Item = &'a Role> {
    policy.roles.values().filter(|role| covers(role, access))
}

/// The host, where it observes, and each role that does, named for a record.
#[must_use]
pub fn observing(policy: &Policy) -> BTreeSet<String> {
    let host = (policy.settings.options.mode == Mode::Observe).then(|| "the host".to_owned());
    let roles = policy.roles.values().filter(|role| policy.mode_of(role) == Mode::Observe);
    host.into_iter().chain(roles.map(|role| format!("role {}", role.name))).collect()
}
