//! Detects changes in a sealed chain: every change is found at its record, and nothing before a stolen key can be
//! forged.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;

use jit_proto::audit::chain::{Broken, Head, Sealed, Verifier, Whole, append};
use jit_proto::audit::hash::RecordHash;
use jit_proto::audit::record::{AuditEvent, Draft, Facts};
use jit_proto::audit::seal::{Cover, FirstKey, SealKey, Sealer, Span};
use jit_proto::time::{BootId, BootTime, WallTime};
use proptest::prelude::*;

/// A chain, and the daemon's state after it.
#[derive(Clone, Default)]
struct Chain {
    records: Vec<Sealed>,
    head: Head,
    sealer: Option<Sealer>,
}

impl Chain {
    fn add(&mut self, event: AuditEvent, facts: Facts) {
        let at = self.head.seq;
        let draft =
            Draft { event, wall: WallTime(at), boot: BootTime(at), boot_id: BootId("b".into()), facts };
        let mut record = append(&mut self.head, draft).unwrap();
        if let Some(sealer) = &mut self.sealer {
            record.seal = Some(hex::encode(sealer.seal_next(&RecordHash::parse(&record.hash).unwrap())));
        }
        self.records.push(record);
    }

    fn fill(&mut self, count: u64) {
        for n in 0..count {
            self.add(AuditEvent::AccessAllowed, Facts { user: Some(format!("user{n}")), ..Facts::default() });
        }
    }

    /// Begins a seal after its own record, as jitd does.
    fn seal(&mut self, seed: u8) -> FirstKey {
        let key = SealKey::taking(&mut [seed; 32]);
        let event = if self.sealer.is_some() { AuditEvent::AuditResealed } else { AuditEvent::AuditSealed };
        self.add(event, Facts { seal_key: Some(key.id()), ..Facts::default() });
        let first = self.head.seq + 1;
        self.sealer = Some(Sealer::beginning(first, key.clone()));
        FirstKey { first, key }
    }

    fn verify(&self, keys: &[&FirstKey]) -> Result<Whole, Broken> {
        verify(&self.records, keys)
    }

    /// The same records up to this one.
    fn up_to(&self, seq: u64) -> Self {
        let records = self.records[..usize::try_from(seq).unwrap()].to_vec();
        let head =
            records.last().map(|last| Head { seq, hash: last.hash.parse().unwrap() }).unwrap_or_default();
        Self { records, head, sealer: None }
    }
}

fn verify(records: &[Sealed], keys: &[&FirstKey]) -> Result<Whole, Broken> {
    let mut verifier = Verifier::default().with_keys(keys.iter().copied().cloned().collect());
    for record in records {
        verifier.feed(record.as_stored())?;
    }
    verifier.finish(None)
}

/// `before` records, the one that begins the seal, and `after` sealed ones.
fn sealed(before: u64, after: u64) -> (Chain, FirstKey) {
    let mut chain = Chain::default();
    chain.fill(before);
    let first = chain.seal(1);
    chain.fill(after);
    (chain, first)
}

fn covers(whole: &Whole) -> Vec<(u64, u64, Cover)> {
    whole.seals.iter().map(|Span { from, to, cover }| (*from, *to, *cover)).collect()
}

#[test]
fn a_sealed_chain_is_whole_with_and_without_the_key() {
    let (chain, first) = sealed(3, 5);
    assert_eq!(first.first, 5);
    let keyless = chain.verify(&[]).unwrap();
    assert_eq!(covers(&keyless), [(1, 4, Cover::Unsealed), (5, 9, Cover::Unchecked)]);
    let with_key = chain.verify(&[&first]).unwrap();
    assert_eq!(covers(&with_key), [(1, 4, Cover::Unsealed), (5, 9, Cover::Fits)]);
    assert_eq!((with_key.first, with_key.head.seq), (1, 9));
}

#[test]
fn a_seal_that_has_just_begun_has_no_record_yet() {
    let (chain, first) = sealed(3, 0);
    assert_eq!(covers(&chain.verify(&[&first]).unwrap()), [(1, 4, Cover::Unsealed)]);
}

#[test]
fn a_part_is_verified_from_where_it_begins() {
    let (chain, first) = sealed(3, 8);
    let mut verifier = Verifier::default().from_anywhere().with_keys(vec![first]);
    for record in &chain.records[7..] {
        verifier.feed(record.as_stored()).unwrap();
    }
    let whole = verifier.finish(None).unwrap();
    assert_eq!((whole.first, covers(&whole)), (8, vec![(8, 12, Cover::Fits)]));
}

#[test]
fn a_new_seal_is_sealed_by_the_old_one() {
    let (mut chain, old) = sealed(2, 3);
    let new = chain.seal(2);
    chain.fill(4);
    let both = chain.verify(&[&old, &new]).unwrap();
    assert_eq!(covers(&both), [(1, 3, Cover::Unsealed), (4, 11, Cover::Fits)]);
    let only_old = chain.verify(&[&old]).unwrap();
    assert_eq!(covers(&only_old)[1..], [(4, 7, Cover::Fits), (8, 11, Cover::Unchecked)]);
    let only_new = chain.verify(&[&new]).unwrap();
    assert_eq!(covers(&only_new)[1..], [(4, 7, Cover::Unchecked), (8, 11, Cover::Fits)]);
    // Without the old key nobody can claim that a new seal began earlier.
    let mut forged = chain.up_to(5);
    forged.sealer = Some(Sealer { first: 4, next: 6, key: SealKey::taking(&mut [9; 32]) });
    forged.seal(9);
    forged.fill(4);
    assert!(forged.verify(&[]).is_ok());
    assert_eq!(forged.verify(&[&old]).unwrap_err().seq, 6);
}

#[test]
fn another_key_is_told_apart() {
    let (chain, first) = sealed(2, 3);
    let other = FirstKey { first: first.first, key: SealKey::taking(&mut [7; 32]) };
    let broken = chain.verify(&[&other]).unwrap_err();
    assert_eq!(broken.seq, 4);
    assert!(broken.problem.contains(&other.key.id()) && broken.problem.contains(&first.key.id()), "{broken}");
    // A history without any seal, in place of the sealed one.
    let mut forged = Chain::default();
    forged.fill(2);
    assert!(forged.verify(&[&first]).unwrap_err().problem.contains("there is none"));
    forged.fill(9);
    assert_eq!(forged.verify(&[&first]).unwrap_err().seq, first.first);
}

#[test]
fn a_lost_seal_shows_until_another_has_begun() {
    let (mut chain, old) = sealed(2, 3);
    chain.sealer = None;
    chain.add(AuditEvent::AuditUnsealed, Facts::default());
    chain.fill(2);
    assert_eq!(chain.verify(&[]).unwrap_err().seq, 7);
    assert_eq!(chain.verify(&[&old]).unwrap_err().seq, 7);
    let new = chain.seal(3);
    chain.fill(2);
    // The holder of the old key still sees where it ended; for the new key that is in the past.
    assert_eq!(chain.verify(&[&old]).unwrap_err().seq, 7);
    let whole = chain.verify(&[&new]).unwrap();
    assert_eq!(covers(&whole)[2..], [(7, 10, Cover::Unsealed), (11, 12, Cover::Fits)]);
}

#[test]
fn a_record_seen_elsewhere_has_to_be_there() {
    let (chain, _) = sealed(2, 3);
    let walk = |seq, hash| {
        let mut verifier = Verifier::default().knowing(BTreeMap::from([(seq, hash)]));
        for record in &chain.records {
            verifier.feed(record.as_stored())?;
        }
        verifier.finish(None)
    };
    assert!(walk(3, RecordHash::parse(&chain.records[2].hash).unwrap()).is_ok());
    assert_eq!(walk(3, RecordHash::GENESIS).unwrap_err().seq, 3);
    assert_eq!(walk(9, RecordHash::GENESIS).unwrap_err().seq, 7);
}

proptest! {
    #[test]
    fn a_changed_byte_is_found_at_its_record(before in 0u64..4, after in 1u64..8, at in any::<prop::sample::Index>(),
            byte in any::<prop::sample::Index>(), bit in 0u8..7, field in 0u8..3, keyed: bool) {
        let (mut chain, first) = sealed(before, after);
        let index = at.index(chain.records.len());
        let record = &mut chain.records[index];
        let text = match field {
            0 => &mut record.line,
            1 => &mut record.hash,
            _ => match &mut record.seal { Some(seal) => seal, None => &mut record.hash },
        };
        let mut bytes = text.clone().into_bytes();
        let place = byte.index(bytes.len());
        bytes[place] ^= 1 << bit;
        prop_assume!(std::str::from_utf8(&bytes).is_ok());
        *text = String::from_utf8(bytes).unwrap();
        // Only a key shows whether a seal's digits are right.
        let digits = field == 2 && record.seal.as_ref().is_some_and(|seal| RecordHash::parse(seal).is_some());
        let keys = if keyed || digits { vec![&first] } else { vec![] };
        prop_assert_eq!(verify(&chain.records, &keys).unwrap_err().seq, index as u64 + 1);
    }

    #[test]
    fn removed_swapped_cut_and_unsealed_records_are_named(before in 0u64..4, after in 2u64..8,
            at in any::<prop::sample::Index>(), how in 0u8..4, keyed: bool) {
        let (mut chain, first) = sealed(before, after);
        let head = chain.head.clone();
        let mut index = at.index(chain.records.len() - 1);
        match how {
            0 => drop(chain.records.remove(index)),
            1 => chain.records.swap(index, index + 1),
            2 => chain.records.truncate(index),
            _ => {
                let of_sealed = at.index(usize::try_from(after).unwrap());
                index = usize::try_from(first.first - 1).unwrap() + of_sealed;
                chain.records[index].seal = None;
            }
        }
        let keys = if keyed { vec![first.clone()] } else { vec![] };
        let mut verifier = Verifier::default().with_keys(keys);
        let fed = chain.records.iter().try_for_each(|record| verifier.feed(record.as_stored()));
        let broken = fed.and_then(|()| verifier.finish(Some(&head)).map(drop)).unwrap_err();
        // Without the key, the first record of a seal still says that it is one.
        prop_assert_eq!(broken.seq, index as u64 + 1);
    }

    /// An attacker gets the key of record `stolen`, and rewrites the chain from an earlier record on, with every hash
    /// right and every seal made by the best key that they have.
    #[test]
    fn nothing_before_a_stolen_key_can_be_forged(before in 0u64..3, after in 3u64..10,
            stolen in any::<prop::sample::Index>(), from in any::<prop::sample::Index>(), copied: bool) {
        let (chain, first) = sealed(before, after);
        let stolen = first.first + 1 + stolen.index(usize::try_from(after - 1).unwrap()) as u64;
        let from = first.first + from.index(usize::try_from(stolen - first.first).unwrap()) as u64;
        let mut thief = Sealer::beginning(first.first, first.key.clone());
        thief.forward_to(stolen).unwrap();
        prop_assert!(thief.forward_to(stolen - 1).is_err());
        let mut forged = chain.up_to(from - 1);
        // Before the stolen key's record there is nothing better than that key, or than the seals that exist.
        forged.sealer = Some(Sealer { next: from, ..thief });
        forged.add(AuditEvent::AccessDenied, Facts { user: Some("mallory".into()), ..Facts::default() });
        forged.fill(chain.head.seq - from);
        if copied {
            for (new, old) in forged.records.iter_mut().zip(&chain.records) {
                new.seal.clone_from(&old.seal);
            }
        }
        prop_assert!(verify(&forged.records, &[]).is_ok());
        prop_assert_eq!(verify(&forged.records, &[&first]).unwrap_err().seq, from);
    }
}
