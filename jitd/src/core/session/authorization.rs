//! What polkit asks before it lets somebody do something that makes root.

use crate::core::decide::{Access, Decision, decide};
use crate::core::facts;
use crate::core::input::{AccessQuery, Named};
use crate::core::reply::Verdict;
use crate::core::session::admission::caller_of;
use crate::core::session::denial::{Denied, refuse};
use crate::core::turn::Turn;
use jit_proto::audit::record::{AuditEvent, Facts};

/// Decides. Observe mode lets nothing pass here: polkit asks only where an administrator has put the rule in. Where a session
/// follows, the session stage decides again and records the answer; otherwise the answer is recorded here.
pub(in crate::core) fn authorize(turn: &mut Turn<'_>, query: &AccessQuery, session_follows: bool) -> Verdict {
    if query.process.real_uid.is_root() {
        // polkit lets root do everything and asks nobody (polkit(8)); so this is no question of polkit's.
        return refuse(turn, query, Denied::because("polkit asks nobody about root", None));
    }
    if turn.ledger.broken_stacks.contains(&query.service) {
        let why = "its PAM stack does not ask jitd, so that its session could not be ended";
        return refuse(turn, query, Denied::because(why, None));
    }
    let person = match caller_of(query) {
        Ok(person) => person,
        Err(why) => return refuse(turn, query, Denied::because(why, None)),
    };
    let Named::Account(target) = &query.user else {
        return refuse(turn, query, Denied::because("the target user is not known on this host", None));
    };
    turn.revalidate_holder(person);
    let group = (&query.group, &query.own_groups);
    let access = Access { person, service: &query.service, target: Some(target), group };
    let grant = match decide(&turn.ledger, turn.policy, &access, turn.context, turn.now) {
        Decision::Allowed(grant) => grant,
        Decision::Denied(denial) => {
            let lines = denial.lines(turn.policy, &access);
            return refuse(turn, query, Denied { why: denial.short(), lines, access: Some(&access) });
        }
    };
    let Some(grant) = turn.ledger.grants.get(&grant).cloned() else {
        return refuse(turn, query, Denied::because("the grant is gone", None));
    };
    if !session_follows {
        let facts = Facts {
            outcome: Some("allowed".to_owned()),
            run_as: Some(target.name.clone()),
            ..facts::under(&grant, facts::query(query))
        };
        turn.note(AuditEvent::AccessAllowed, facts);
        turn.is_used(grant.id);
    }
    Verdict::Allowed
}
