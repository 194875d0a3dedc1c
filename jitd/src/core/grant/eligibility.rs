//! Whether a holder may still hold a grant: checked at every call, and when the policy changes.

use crate::core::decide::{Access, covers};
use crate::core::effect::SessionOrder;
use crate::core::grant::lifetime::Closing;
use crate::core::ledger::{EndedBy, Grant, GrantState};
use crate::core::observe::observer;
use crate::core::people::Person;
use crate::core::policy::Policy;
use crate::core::session::admission::watch_groups;
use crate::core::turn::Turn;
use jit_proto::audit::record::{AuditEvent, Facts};
use jit_proto::identity::{GrantId, UserId};
use std::collections::BTreeMap;

/// Why a grant cannot be held any more; `None` if it can. Without a policy no call is allowed anyway, and roles are
/// unknown.
fn unfit(policy: Option<&Policy>, grant: &Grant, holder: Option<&Person>) -> Option<String> {
    let name = &grant.holder.name;
    let Some(holder) = holder else { return Some(format!("{name} has no account any more")) };
    if holder.account.name != *name {
        let (uid, other) = (holder.account.uid, &holder.account.name);
        return Some(format!("uid {uid} was {name}, who was given this, and is {other} now"));
    }
    if holder.locked {
        return Some(format!("the account of {name} is locked"));
    }
    let role = match policy {
        None => return None,
        Some(policy) => policy.roles.get(&grant.role),
    };
    match role {
        None => Some(format!("there is no role {} any more", grant.role)),
        Some(role) if grant.requested && !role.members.include(holder) => {
            Some(format!("{name} is no member of role {} any more", grant.role))
        }
        Some(_) => None,
    }
}

impl Turn<'_> {
    /// Withdraws the grants that this person may not hold any more.
    pub(in crate::core) fn revalidate_holder(&mut self, person: &Person) {
        let grants = self.ledger.held_by(person.account.uid);
        let unfit: Vec<(GrantId, String)> =
            grants.filter_map(|grant| Some((grant.id, unfit(self.policy, grant, Some(person))?))).collect();
        for (id, why) in unfit {
            self.withdraw(id, why);
        }
    }

    /// Withdraws all grants that the policy in force does not allow, and ends sessions that it does not cover.
    pub(in crate::core) fn revalidate_all(&mut self, people: &BTreeMap<UserId, Option<Person>>) {
        let unfit: Vec<(GrantId, String)> = self
            .ledger
            .grants
            .values()
            .filter_map(|grant| {
                let holder = people.get(&grant.holder.uid);
                // A person who got a grant after the lookup is checked at their next call.
                let holder = holder?.as_ref();
                Some((grant.id, unfit(self.policy, grant, holder)?))
            })
            .collect();
        for (id, why) in unfit {
            self.withdraw(id, why);
        }
        let limits: Vec<_> = self
            .ledger
            .grants
            .values()
            .filter_map(|grant| Some((grant.id, self.policy?.roles.get(&grant.role)?.max_duration)))
            .collect();
        for (id, max) in limits {
            self.shorten(id, max);
        }
        let sessions: Vec<_> = self
            .ledger
            .sessions
            .values()
            .filter(|session| !session.is_ending() && session.drain_deadline.is_none())
            .filter(|session| {
                let role = self.policy.and_then(|policy| policy.roles.get(&session.role));
                let person = session.holder_without_groups();
                role.is_none_or(|role| {
                    let as_known =
                        people.get(&session.holder.uid).and_then(Option::as_ref).unwrap_or(&person);
                    let access = Access::of(session, as_known);
                    !covers(role, &access) && observer(self.policy, false, Some(&access)).is_none()
                })
            })
            .map(|session| session.id)
            .collect();
        for session in sessions {
            self.reassign_or_end(session, EndedBy::Withdrawn, self.now.boot);
        }
        let open: Vec<_> =
            self.ledger.sessions.values().filter(|session| !session.is_ending()).cloned().collect();
        for session in open {
            watch_groups(self, &session);
        }
        let minded: Vec<_> = self
            .ledger
            .sessions
            .values()
            .filter(|session| !session.is_ending())
            .map(|session| {
                let role = self.policy.and_then(|policy| policy.roles.get(&session.role));
                (session.id, role.and_then(|role| role.options.idle_timeout))
            })
            .collect();
        for (session, idle) in minded {
            self.then(SessionOrder::SetIdleTimeout { session, idle });
        }
    }

    fn withdraw(&mut self, id: GrantId, why: String) {
        let closing = Closing {
            state: GrantState::Withdrawn { at: self.now.wall, why: why.clone() },
            why: EndedBy::Withdrawn,
            event: AuditEvent::GrantWithdrawn,
        };
        self.at_once();
        self.close_grants(&[id], &closing, |facts| Facts { detail: Some(why.clone()), ..facts });
    }
}
