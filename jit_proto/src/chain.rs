//! The hash chain over the audit records: append, verify.
//!
//! `hash = SHA-256("jitd-audit-record-v1" NUL line)`, in lower-case hex, where `line` is the record's JSON as stored,
//! without a newline. The line itself holds its number and the previous record's hash, so a changed byte, a missing,
//! a repeated or a swapped record all break it. To check one record by hand:
//! `{ printf 'jitd-audit-record-v1\0'; printf %s "$line"; } | sha256sum`.

use sha2::{Digest, Sha256};

use crate::record::{Draft, Record};

/// Keeps these hashes apart from any other SHA-256 over the same bytes.
const DOMAIN: &[u8] = b"jitd-audit-record-v1\0";

/// What the first record names as its predecessor.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The end of a chain: what the next record builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Number of the last record; 0 for an empty chain.
    pub seq: u64,
    /// Its hash, in hex.
    pub hash: String,
}

impl Default for Head {
    fn default() -> Self {
        Self { seq: 0, hash: GENESIS.to_owned() }
    }
}

/// A record with its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Its number.
    pub seq: u64,
    /// Its hash, in hex.
    pub hash: String,
    /// Its line.
    pub line: String,
}

/// The first thing that is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record {seq}: {problem}")]
pub struct Broken {
    /// Number of the first bad record.
    pub seq: u64,
    /// What is wrong with it.
    pub problem: String,
}

/// Numbers a draft, links it to the head, hashes it, and moves the head on.
///
/// # Errors
/// When the draft cannot be written as JSON, which no draft of this crate can.
pub fn append(head: &mut Head, draft: Draft) -> Result<Sealed, serde_json::Error> {
    let seq = head.seq + 1;
    let record = Record {
        v: 1,
        seq,
        prev: head.hash.clone(),
        time: draft.wall.to_rfc3339(),
        boot_us: draft.boot.0,
        boot_id: draft.boot_id.0,
        event: draft.event,
        facts: draft.facts,
    };
    let line = serde_json::to_string(&record)?;
    let hash = hash_of(&line);
    *head = Head { seq, hash: hash.clone() };
    Ok(Sealed { seq, hash, line })
}

/// Walks a chain from its first record.
#[derive(Debug, Default)]
pub struct Verifier {
    head: Head,
}

impl Verifier {
    /// Takes the next record, as stored.
    ///
    /// # Errors
    /// The first thing wrong with it. The verifier stays where it was.
    pub fn feed(&mut self, stored: &Sealed) -> Result<(), Broken> {
        let expected = self.head.seq + 1;
        let broken = |seq, problem: String| Err(Broken { seq, problem });
        if stored.seq > expected {
            return broken(expected, format!("missing; the next one there is record {}", stored.seq));
        }
        if stored.seq < expected {
            return broken(stored.seq, format!("out of order: found after record {}", self.head.seq));
        }
        if hash_of(&stored.line) != stored.hash {
            return broken(expected, "its content does not match its hash".to_owned());
        }
        let record: Record = match serde_json::from_str(&stored.line) {
            Ok(record) => record,
            Err(error) => return broken(expected, format!("it is no audit record: {error}")),
        };
        if record.v != 1 {
            return broken(expected, format!("format version {} is not known here", record.v));
        }
        if record.seq != expected {
            return broken(expected, format!("another record, {}, stands in its place", record.seq));
        }
        if record.prev != self.head.hash {
            return broken(expected, "it does not follow the record before it".to_owned());
        }
        self.head = Head { seq: expected, hash: stored.hash.clone() };
        Ok(())
    }

    /// Ends the walk and compares with a head known from elsewhere.
    ///
    /// # Errors
    /// When the chain is shorter than that head, or ends differently.
    pub fn finish(self, known: Option<&Head>) -> Result<Head, Broken> {
        if let Some(known) = known {
            if self.head.seq < known.seq {
                let problem =
                    format!("missing: the chain ends at {}, but reached {}", self.head.seq, known.seq);
                return Err(Broken { seq: self.head.seq + 1, problem });
            }
            if self.head.seq == known.seq && self.head.hash != known.hash {
                let problem = "the chain ends in another record than the one that was written".to_owned();
                return Err(Broken { seq: known.seq, problem });
            }
        }
        Ok(self.head)
    }

    /// How far the chain is whole.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }
}

/// Walks all of them; a shorthand for tests and small exports.
///
/// # Errors
/// See [`Verifier`].
pub fn verify<'a>(
    records: impl IntoIterator<Item = &'a Sealed>,
    known: Option<&Head>,
) -> Result<Head, Broken> {
    let mut verifier = Verifier::default();
    for record in records {
        verifier.feed(record)?;
    }
    verifier.finish(known)
}

fn hash_of(line: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(DOMAIN);
    hasher.update(line.as_bytes());
    hex::encode(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::{BootId, BootTime, WallTime};
    use crate::record::{Event, Facts};
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
                    event: Event::AccessAllowed,
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
    fn the_hash_can_be_checked_with_sha256sum() {
        // printf 'jitd-audit-record-v1\0hello' | sha256sum
        assert_eq!(hash_of("hello"), hex::encode(Sha256::digest(b"jitd-audit-record-v1\0hello")));
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
            // Swapped as rows: the numbers stay, the contents change places.
            records[index] = Sealed { seq: left.seq, ..right.clone() };
            records[index + 1] = Sealed { seq: right.seq, ..left };
            prop_assert_eq!(verify(&records, Some(&head)).unwrap_err().seq, index as u64 + 1);
        }
    }
}
