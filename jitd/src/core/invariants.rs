//! Invariants, checked after every step of generated event sequences, with clocks that jump and a jitd that dies after
//! every prefix of its effects.

mod world;

use std::collections::BTreeSet;

use proptest::prelude::*;
use world::{Happening, World, happening};

use super::ledger::{Ledger, SessionState};
use crate::core::effect::{Effect, SessionOrder};
use crate::core::reply::{Reply, Verdict};

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_invariants_hold(happenings in prop::collection::vec(happening(), 1..60)) {
        let mut world = World::new();
        for happening in happenings {
            world.let_happen(&happening);
            check(&world, &happening);
        }
    }
}

fn check(world: &World, happening: &Happening) {
    let invariants: [(&str, Result<(), String>); 8] = [
        ("every grant was given by somebody else", every_grant_was_given_by_somebody_else(&world.ledger)),
        ("every session has a live grant or is ending", every_session_has_a_live_grant_or_is_ending(world)),
        ("memory is what the store says", memory_is_what_the_store_says(world)),
        ("the chain is whole", the_chain_is_whole(world)),
        ("nobody passes without a record", nobody_passes_without_a_record(world)),
        ("no window outlasts what was granted", no_window_outlasts_what_was_granted(world)),
        (
            "nobody passes as observed while nothing observes",
            nobody_passes_as_observed_while_nothing_observes(world),
        ),
        ("effects come in order", effects_come_in_order(&world.last_effects)),
    ];
    for (name, result) in invariants {
        if let Err(why) = result {
            panic!("{name}: {why}, after {happening:?}");
        }
    }
}

fn every_grant_was_given_by_somebody_else(ledger: &Ledger) -> Result<(), String> {
    for grant in ledger.grants.values() {
        let givers: BTreeSet<_> = grant.approvers.iter().map(|account| account.uid).collect();
        if givers.len() != grant.approvers.len() || givers.is_empty() || givers.contains(&grant.holder.uid) {
            return Err(format!(
                "grant {} of {} was given by {:?}",
                grant.id, grant.holder.name, grant.approvers
            ));
        }
        let by_operator = givers.contains(&world::OPERATOR);
        if !by_operator && givers.len() < world::approvals_needed(&grant.role) {
            return Err(format!("grant {} has {} approvers", grant.id, givers.len()));
        }
    }
    Ok(())
}

fn every_session_has_a_live_grant_or_is_ending(world: &World) -> Result<(), String> {
    for session in world.ledger.sessions.values() {
        let ending = matches!(session.state, SessionState::Ending { .. });
        let live =
            world.ledger.grants.get(&session.grant).is_some_and(|g| !g.ends.has_passed(&world.last_now));
        let lingers = session.drain_deadline.as_ref().is_some_and(|until| !until.has_passed(&world.last_now));
        if !ending && !live && !lingers {
            return Err(format!("session {} runs under grant {}, which is over", session.id, session.grant));
        }
        if ending && !world.terminated.contains(&session.id) {
            return Err(format!("session {} is ending, and nobody was told to end it", session.id));
        }
    }
    Ok(())
}

fn memory_is_what_the_store_says(world: &World) -> Result<(), String> {
    let (memory, store) = (&world.ledger, &world.store.ledger);
    if memory.requests != store.requests || memory.grants != store.grants || memory.sessions != store.sessions
    {
        return Err(format!("memory {memory:?}\nstore {store:?}"));
    }
    Ok(())
}

fn the_chain_is_whole(world: &World) -> Result<(), String> {
    let known = &world.store.head;
    jit_proto::audit::chain::verify(&world.store.records, Some(known))
        .map(drop)
        .map_err(|broken| broken.to_string())
}

fn nobody_passes_without_a_record(world: &World) -> Result<(), String> {
    world
        .unrecorded
        .map_or(Ok(()), |session| Err(format!("session {session} was let in and is not in the record")))
}

fn no_window_outlasts_what_was_granted(world: &World) -> Result<(), String> {
    world.overlong.clone().map_or(Ok(()), Err)
}

fn nobody_passes_as_observed_while_nothing_observes(world: &World) -> Result<(), String> {
    if world.observed_wrongly { Err("a denied call passed".to_owned()) } else { Ok(()) }
}

fn effects_come_in_order(effects: &[Effect]) -> Result<(), String> {
    let rank = |effect: &Effect| match effect {
        Effect::Commit(_) => 0,
        Effect::Reply(_) => 2,
        _ => 1,
    };
    if !effects.is_sorted_by_key(rank) {
        return Err(format!("{effects:?}"));
    }
    let allowed = effects.iter().any(|e| matches!(e, Effect::Reply(Reply::Gate(Verdict::Allowed))));
    let watched = effects.iter().any(|e| matches!(e, Effect::Session(SessionOrder::Watch { .. })));
    if watched && !allowed && !world::is_restart(effects) {
        return Err("something is watched that was not let in".to_owned());
    }
    Ok(())
}
