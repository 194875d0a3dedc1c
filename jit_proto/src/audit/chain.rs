//! The hash chain over the audit records: append, verify.
//!
//! A record's line holds its number and the hash of the record before it ([`crate::audit::hash`]), so a changed byte, a
//! missing, a repeated or a swapped record all break the chain. To check one record by hand:
//! `{ printf 'jitd-audit-record-v1\0'; printf %s "$line"; } | sha256sum`.
//!
//! The seal over the hash is in [`crate::audit::seal`]; the walk here checks both.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use crate::audit::hash::RecordHash;
use crate::audit::record::{Draft, Record};
use crate::audit::retention::{Removal, RemovalWalk};
use crate::audit::seal::{FirstKey, SealWalk, Span, event_of};

/// The end of a chain, which the next record links to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Number of the last record; 0 for an empty chain.
    pub seq: u64,
    /// Its hash.
    pub hash: RecordHash,
}

impl Default for Head {
    fn default() -> Self {
        Self { seq: 0, hash: RecordHash::GENESIS }
    }
}

/// A record with its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Its number.
    pub seq: u64,
    /// Its hash in hex. Of a record that was read it is the stored text, and is no [`RecordHash`] until it is checked.
    pub hash: String,
    /// Its seal, in hex, where it has one.
    pub seal: Option<String>,
    /// Its line.
    pub line: String,
}

impl Sealed {
    /// The same, borrowed.
    #[must_use]
    pub fn as_stored(&self) -> Stored<'_> {
        Stored { seq: self.seq, hash: &self.hash, seal: self.seal.as_deref(), line: &self.line }
    }
}

/// A record as it was read, not verified yet.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// The number it was stored under.
    pub seq: u64,
    /// The hash it was stored with.
    pub hash: &'a str,
    /// The seal it was stored with.
    pub seal: Option<&'a str>,
    /// Its line.
    pub line: &'a str,
}

/// The first problem of a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record {seq}: {problem}")]
pub struct Broken {
    /// Number of the first broken record.
    pub seq: u64,
    /// The problem.
    pub problem: String,
}

/// Numbers a draft, links it to the head, hashes it, and advances the head. The record is not sealed yet.
///
/// # Errors
/// When the draft cannot be written as JSON, which does not happen for drafts of this crate.
pub fn append(head: &mut Head, draft: Draft) -> Result<Sealed, serde_json::Error> {
    let seq = head.seq + 1;
    let record = Record {
        v: 1,
        seq,
        prev: head.hash.to_string(),
        time: draft.wall.to_rfc3339(),
        boot_us: draft.boot.0,
        boot_id: draft.boot_id.0,
        event: draft.event,
        facts: draft.facts,
    };
    let line = record.line()?;
    let hash = RecordHash::of(&line);
    *head = Head { seq, hash };
    Ok(Sealed { seq, hash: hash.to_string(), seal: None, line })
}

/// Verifies a chain from its first record, or from a later one if the chain records the removal of the earlier ones.
#[derive(Debug, Default)]
pub struct Verifier {
    head: Head,
    /// Number of the first record, once there is one.
    first: Option<u64>,
    anywhere: bool,
    known: BTreeMap<u64, RecordHash>,
    seals: SealWalk,
    removals: RemovalWalk,
}

impl Verifier {
    /// Starts at any record, as in a partial export.
    #[must_use]
    pub fn from_anywhere(mut self) -> Self {
        self.anywhere = true;
        self
    }

    /// Checks seals with the keys that began them.
    #[must_use]
    pub fn with_keys(mut self, keys: Vec<FirstKey>) -> Self {
        self.seals = SealWalk::with(keys);
        self
    }

    /// Expects that the chain continues elsewhere, as an archive continues in the store.
    #[must_use]
    pub fn continued_elsewhere(mut self) -> Self {
        self.seals.continued_elsewhere();
        self
    }

    /// Compares with known records: number and hash.
    #[must_use]
    pub fn knowing(mut self, known: BTreeMap<u64, RecordHash>) -> Self {
        self.known = known;
        self
    }

    /// Verifies the next record, as stored.
    ///
    /// # Errors
    /// The first problem. The verifier is unchanged.
    pub fn feed(&mut self, stored: Stored<'_>) -> Result<(), Broken> {
        let Stored { seq, hash, seal, line } = stored;
        let broken = |seq, problem: &str| Err(Broken { seq, problem: problem.to_owned() });
        // Whether a removal explains that the chain does not begin with record 1 is known only at the end.
        let begins = self.first.is_none() && seq > 1;
        let expected = if begins { seq } else { self.head.seq + 1 };
        if seq > expected {
            return broken(expected, &format!("missing; the next one there is record {seq}"));
        }
        if seq < expected {
            let last = self.head.seq;
            return broken(
                seq,
                &match seq == last {
                    true => "repeated: it is there twice".to_owned(),
                    false => format!("out of order: found after record {last}"),
                },
            );
        }
        let digest = RecordHash::of(line);
        if hash.as_bytes() != digest.digits() {
            return broken(seq, "its content does not match its hash");
        }
        // The expected beginning of the line; the line is parsed as JSON only if it differs, to say why.
        let fits = line.strip_prefix("{\"v\":1,\"seq\":").and_then(|rest| {
            let rest = rest.strip_prefix(itoa(&mut [0; 20], seq))?.strip_prefix(",\"prev\":\"")?;
            let (prev, rest) = rest.split_at_checked(64)?;
            (rest.starts_with("\",") && (begins || prev.as_bytes() == self.head.hash.digits())).then_some(())
        });
        if fits.is_none() {
            return broken(seq, &self.misfit(seq, begins, line));
        }
        if let Err(error) = serde_json::from_str::<IgnoredAny>(line) {
            return broken(seq, &format!("it is no audit record: {error}"));
        }
        if self.known.get(&seq).is_some_and(|known| *known != digest) {
            return broken(seq, "another record was seen elsewhere: this one was written later in its place");
        }
        if begins {
            let prev = prev_of(line);
            if let Some(known) = self.known.get(&(seq - 1))
                && prev != Some(*known)
            {
                return broken(seq, "it does not follow the record before it, which was seen elsewhere");
            }
            self.removals.begin_behind(prev);
        }
        self.seals.step(seq, &digest, seal, Some(line)).map_err(|problem| Broken { seq, problem })?;
        let event = event_of(line).unwrap_or_default();
        self.removals.step(event, line).map_err(|problem| Broken { seq, problem })?;
        self.head = Head { seq, hash: digest };
        self.first.get_or_insert(seq);
        Ok(())
    }

    /// The problem of a line that does not begin as expected.
    fn misfit(&self, seq: u64, begins: bool, line: &str) -> String {
        let record: Record = match serde_json::from_str(line) {
            Ok(record) => record,
            Err(error) => return format!("it is no audit record: {error}"),
        };
        if record.v != 1 {
            return format!("format version {} is not known here", record.v);
        }
        if record.seq != seq {
            return format!("another record, {}, stands in its place", record.seq);
        }
        if !begins && record.prev != self.head.hash.to_string() {
            return "it does not follow the record before it".to_owned();
        }
        "its keys are not in the order of the format".to_owned()
    }

    /// Ends the verification and compares with a known head.
    ///
    /// # Errors
    /// When the chain ends before that head, or ends differently; when a seal is missing; when no removal explains the
    /// missing beginning.
    pub fn finish(mut self, known: Option<&Head>) -> Result<Whole, Broken> {
        let last = self.head.seq;
        let seen = self.known.last_key_value().map_or(0, |(seq, _)| *seq);
        let reached = known.map_or(0, |known| known.seq).max(seen);
        if last < reached {
            let problem = format!("missing: the chain ends at {last}, but reached {reached}");
            return Err(Broken { seq: last + 1, problem });
        }
        if known.is_some_and(|known| known.seq == last && known.hash != self.head.hash) {
            let problem = "the chain ends in another record than the one that was written".to_owned();
            return Err(Broken { seq: last, problem });
        }
        let first = self.first.unwrap_or(0);
        let broken = |(seq, problem)| Broken { seq, problem };
        let (pruned, doubts) = self.removals.finish(first, self.anywhere).map_err(broken)?;
        let seals = self.seals.finish(last).map_err(broken)?;
        Ok(Whole { first, head: self.head, seals, pruned, doubts })
    }

    /// How far the chain is intact.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The first record; 0 before there was one.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first.unwrap_or(0)
    }
}

/// An intact chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Its first record; 0 for an empty chain.
    pub first: u64,
    /// Its head.
    pub head: Head,
    /// How its records are sealed.
    pub seals: Vec<Span>,
    /// The removal of the records before the first one, if the chain does not begin with record 1.
    pub pruned: Option<Removal>,
    /// Doubts about removals, as sentences.
    pub doubts: Vec<String>,
}

/// Verifies a whole chain; for tests and small exports.
///
/// # Errors
/// See [`Verifier`].
pub fn verify<'a>(
    records: impl IntoIterator<Item = &'a Sealed>,
    known: Option<&Head>,
) -> Result<Head, Broken> {
    let mut verifier = Verifier::default();
    for record in records {
        verifier.feed(record.as_stored())?;
    }
    verifier.finish(known).map(|whole| whole.head)
}

/// The `prev` of a line that begins as expected.
fn prev_of(line: &str) -> Option<RecordHash> {
    let (_, rest) = line.split_once(",\"prev\":\"")?;
    RecordHash::parse(rest.get(..64)?)
}

/// A number as text, without an allocation.
fn itoa(digits: &mut [u8; 20], mut number: u64) -> &str {
    let mut at = digits.len();
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + (number % 10) as u8;
        }
        number /= 10;
        if number == 0 || at == 0 {
            return digits.get(at..).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::{AuditEvent, Facts};
    use crate::time::{BootId, BootTime, WallTime};
    use proptest::prelude::*;

    fn chain_of(count: u64) -> (Vec<Sealed>, Head) {
        let mut head = Head::default();
        let records = (0..count)
            .map(|n| {
                let facts = Facts {
                    user: Some(format!("user{n}")),
                    argv: Some(vec!["sudo".into(), "a\nb\u{1b}\"".into()]),
                    ..Facts::default()
                };
                let draft = Draft {
                    event: AuditEvent::AccessAllowed,
                    wall: WallTime(n),
                    boot: BootTime(n),
                    boot_id: BootId("b".into()),
                    facts,
                };
                append(&mut head, draft).unwrap()
            })
            .collect();
        (records, head)
    }

    #[test]
    fn a_whole_chain_verifies() {
        let (records, head) = chain_of(20);
        assert_eq!(verify(&records, Some(&head)), Ok(head));
        assert_eq!(verify(&[], None), Ok(Head::default()));
    }

    #[test]
    fn a_cut_tail_shows_against_a_known_head() {
        let (mut records, head) = chain_of(5);
        records.pop();
        assert_eq!(verify(&records, Some(&head)).unwrap_err().seq, 5);
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_found_at_its_record(count in 1u64..12, at in any::<prop::sample::Index>(),
                byte in any::<prop::sample::Index>(), bit in 0u8..7) {
            let (mut records, head) = chain_of(count);
            let index = at.index(records.len());
            let mut bytes = records[index].line.clone().into_bytes();
            let place = byte.index(bytes.len());
            bytes[place] ^= 1 << bit;
            if let Ok(line) = String::from_utf8(bytes) {
                records[index].line = line;
                prop_assert_eq!(verify(&records, Some(&head)).unwrap_err().seq, index as u64 + 1);
            }
        }

        #[test]
        fn a_removed_record_is_named(count in 1u64..12, at in any::<prop::sample::Index>()) {
            let (mut records, head) = chain_of(count);
            let index = at.index(records.len());
            records.remove(index);
            prop_assert_eq!(verify(&records, Some(&head)).unwrap_err().seq, index as u64 + 1);
        }

        #[test]
        fn two_swapped_records_are_found(count in 2u64..12, at in any::<prop::sample::Index>()) {
            let (mut records, head) = chain_of(count);
            let index = at.index(records.len() - 1);
            let (left, right) = (records[index].clone(), records[index + 1].clone());
            // Rows swapped: the numbers stay, the contents are exchanged.
            records[index] = Sealed { seq: left.seq, ..right.clone() };
            records[index + 1] = Sealed { seq: right.seq, ..left };
            prop_assert_eq!(verify(&records, Some(&head)).unwrap_err().seq, index as u64 + 1);
        }
    }
}
