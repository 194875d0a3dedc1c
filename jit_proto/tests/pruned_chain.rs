//! A chain that does not begin with its first record: explained by a removal in it, or broken.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;

use jit_proto::audit::chain::{Broken, Head, Sealed, Verifier, Whole, append};
use jit_proto::audit::hash::RecordHash;
use jit_proto::audit::record::{AuditEvent, Draft, Facts};
use jit_proto::audit::seal::{FirstKey, SealKey, Sealer};
use jit_proto::time::{BootId, BootTime, WallTime};
use proptest::prelude::*;

const DAY: u64 = 86_400_000_000;

/// A sealed chain, one record a day, from which records can be removed as jitd does it.
struct Chain {
    records: Vec<Sealed>,
    head: Head,
    sealer: Sealer,
}

impl Chain {
    fn of(count: u64) -> (Self, FirstKey) {
        let key = SealKey::taking(&mut [7; 32]);
        let sealer = Sealer::beginning(1, key.clone());
        let mut chain = Self { records: Vec::new(), head: Head::default(), sealer };
        (0..count).for_each(|_| chain.add(AuditEvent::AccessDenied, Facts::default()));
        (chain, FirstKey { first: 1, key })
    }

    fn add(&mut self, event: AuditEvent, facts: Facts) {
        let at = self.head.seq;
        let (wall, boot, boot_id) = (WallTime(at * DAY), BootTime(at), BootId("b".into()));
        let mut record = append(&mut self.head, Draft { event, wall, boot, boot_id, facts }).unwrap();
        record.seal = Some(hex::encode(self.sealer.seal_next(&RecordHash::parse(&record.hash).unwrap())));
        self.records.push(record);
    }

    fn get(&self, seq: u64) -> &Sealed {
        self.records.iter().find(|record| record.seq == seq).unwrap()
    }

    fn facts(&self, from: u64, to: u64) -> Facts {
        Facts {
            pruned_from: Some(from),
            pruned_to: Some(to),
            pruned_hash: Some(self.get(to).hash.clone()),
            pruned_newest: Some(WallTime((to - 1) * DAY).to_rfc3339()),
            pruned_by: Some("retention".into()),
            retention_seconds: Some(40 * 86_400),
            ..Facts::default()
        }
    }

    /// Records a removal; the records stay until they are taken.
    fn say(&mut self, from: u64, to: u64) {
        let facts = self.facts(from, to);
        self.add(AuditEvent::AuditPruned, facts);
    }

    fn take_up_to(&mut self, to: u64) {
        self.records.retain(|record| record.seq > to);
    }

    fn verify(&self) -> Result<Whole, Broken> {
        verify(&self.records, None)
    }
}

fn verify(records: &[Sealed], key: Option<&FirstKey>) -> Result<Whole, Broken> {
    let mut verifier = Verifier::default().with_keys(key.cloned().into_iter().collect());
    for record in records {
        verifier.feed(record.as_stored())?;
    }
    verifier.finish(None)
}

proptest! {
    #[test]
    fn what_was_removed_by_the_book_leaves_a_whole_chain(
        removals in prop::collection::vec((1u64..30, 0u64..20), 1..5), unfinished in 0u64..30
    ) {
        let (mut chain, key) = Chain::of(10);
        let mut gone = 0;
        for (count, more) in removals {
            let to = (gone + count).min(chain.head.seq);
            chain.say(gone + 1, to);
            // The last removal may be unfinished.
            chain.take_up_to(gone);
            gone = to;
            (0..more).for_each(|_| chain.add(AuditEvent::AccessDenied, Facts::default()));
        }
        let said = chain.records.iter().rfind(|record| record.line.contains("audit.pruned")).unwrap().seq;
        chain.take_up_to(gone.saturating_sub(unfinished));
        let whole = verify(&chain.records, Some(&key)).unwrap();
        prop_assert_eq!(whole.head.seq, chain.head.seq);
        if unfinished == 0 {
            prop_assert_eq!(whole.pruned.map(|removal| (removal.seq, removal.to)), Some((said, gone)));
        }
    }

    #[test]
    fn one_record_more_than_it_says_is_missing(count in 3u64..20, to in 1u64..19) {
        prop_assume!(to < count);
        let (mut chain, _) = Chain::of(count);
        chain.say(1, to);
        chain.take_up_to(to + 1);
        prop_assert_eq!(chain.verify().unwrap_err().seq, to + 1);
    }

    #[test]
    fn a_beginning_that_nothing_explains_is_missing(count in 3u64..20, to in 1u64..19) {
        prop_assume!(to < count);
        let (mut chain, key) = Chain::of(count);
        chain.take_up_to(to);
        prop_assert_eq!(chain.verify().unwrap_err().seq, 1);
        prop_assert_eq!(verify(&chain.records, Some(&key)).unwrap_err().seq, 1);
    }

    #[test]
    fn a_removal_that_was_tampered_with_is_found(to in 2u64..15, to_more in any::<bool>()) {
        let (mut chain, key) = Chain::of(20);
        chain.say(1, to);
        (0..5).for_each(|_| chain.add(AuditEvent::AccessDenied, Facts::default()));
        let other = if to_more { to + 1 } else { to - 1 };
        // Rewritten in its place, with the chain after it, without the key.
        let facts = chain.facts(1, other);
        let behind = chain.records.split_off(20);
        chain.head = Head { seq: 20, hash: chain.get(20).hash.parse().unwrap() };
        chain.add(AuditEvent::AuditPruned, facts);
        (1..behind.len()).for_each(|_| chain.add(AuditEvent::AccessDenied, Facts::default()));
        chain.take_up_to(to);
        let found = verify(&chain.records, Some(&key)).unwrap_err();
        prop_assert_eq!(found.seq, 21);
        // Only the hash, with everything after it unchanged.
        let mut edited = chain.records.clone();
        let said = edited.iter_mut().find(|record| record.seq == 21).unwrap();
        said.line = said.line.replace(&format!("\"pruned_to\":{other}"), &format!("\"pruned_to\":{to}"));
        prop_assert_eq!(verify(&edited, None).unwrap_err().seq, 21);
    }
}

#[test]
fn a_removal_names_the_record_that_the_first_one_kept_follows() {
    let (mut chain, _) = Chain::of(10);
    let facts = Facts { pruned_hash: Some("5".repeat(64)), ..chain.facts(1, 4) };
    chain.add(AuditEvent::AuditPruned, facts);
    chain.take_up_to(4);
    let found = chain.verify().unwrap_err();
    assert_eq!((found.seq, found.problem.contains("does not follow")), (5, true), "{found}");
}

#[test]
fn what_lies_between_two_removals_was_removed_by_nobody() {
    let (mut chain, _) = Chain::of(20);
    chain.say(1, 4);
    chain.say(7, 9);
    chain.take_up_to(9);
    let found = chain.verify().unwrap_err();
    assert_eq!((found.seq, found.problem.contains("between")), (22, true), "{found}");
}

#[test]
fn records_that_were_too_young_to_go_are_told() {
    let (mut chain, _) = Chain::of(45);
    // Written on day 45: record 3 is of day 2, record 20 of day 19.
    chain.say(1, 3);
    assert_eq!(chain.verify().unwrap().doubts, [] as [&str; 0]);
    chain.say(4, 20);
    chain.take_up_to(20);
    let doubts = chain.verify().unwrap().doubts;
    assert!(doubts.len() == 1 && doubts[0].contains("27 days old"), "{doubts:?}");
    let mut facts = chain.facts(21, 30);
    facts.retention_seconds = Some(3600);
    chain.add(AuditEvent::AuditPruned, Facts { pruned_by: Some("retention_size".into()), ..facts.clone() });
    chain.add(
        AuditEvent::AuditPruned,
        Facts { pruned_from: Some(31), pruned_to: Some(32), pruned_by: None, ..facts },
    );
    let doubts = chain.verify().unwrap().doubts;
    assert!(doubts[1].contains("retention of 1h") && doubts[2].contains("which limit"), "{doubts:?}");
}

#[test]
fn the_beginning_follows_what_was_seen_elsewhere() {
    let (mut chain, _) = Chain::of(10);
    let hash = RecordHash::parse(&chain.get(4).hash).unwrap();
    chain.say(1, 4);
    chain.take_up_to(4);
    let seen = |hash| {
        let mut verifier = Verifier::default().knowing(BTreeMap::from([(4, hash)]));
        chain.records.iter().try_for_each(|record| verifier.feed(record.as_stored()))?;
        verifier.finish(None)
    };
    assert_eq!(seen(hash).unwrap().first, 5);
    assert_eq!(seen([1; 32].into()).unwrap_err().seq, 5);
}

#[test]
fn a_seal_that_begins_behind_a_part_is_missed_only_where_nothing_follows() {
    let (chain, _) = Chain::of(10);
    let later = FirstKey { first: 30, key: SealKey::taking(&mut [8; 32]) };
    let walk = |verifier: Verifier| {
        let mut verifier = verifier.from_anywhere();
        chain.records.iter().for_each(|record| verifier.feed(record.as_stored()).unwrap());
        verifier.finish(None)
    };
    let verifier = || Verifier::default().with_keys(vec![later.clone()]);
    assert_eq!(walk(verifier()).unwrap_err().seq, 11);
    assert_eq!(walk(verifier().continued_elsewhere()).unwrap().head.seq, 10);
}

#[test]
fn a_part_needs_no_explanation() {
    let (mut chain, _) = Chain::of(10);
    chain.take_up_to(4);
    let mut verifier = Verifier::default().from_anywhere();
    chain.records.iter().for_each(|record| verifier.feed(record.as_stored()).unwrap());
    assert_eq!(verifier.finish(None).unwrap().first, 5);
}
