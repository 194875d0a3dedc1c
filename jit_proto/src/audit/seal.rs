//! The forward-secure seal over the chain: each record has its own key, derived from the previous one, which is erased.
//!
//! With `hash(n)` the 32 bytes of the n-th record's hash, and `key(first)` 32 random bytes:
//!
//! `seal(n) = HMAC-SHA-256(key(n), "jitd-audit-seal-v1" NUL hash(n))`, and
//! `key(n + 1) = SHA-256("jitd-audit-seal-key-v1" NUL key(n))`.
//!
//! From `key(n)` later keys can be computed, and earlier ones cannot: records before `n` can be destroyed, and not
//! forged. The first key is kept off the host, by the verifying person. A seal begins with the record after its own
//! (`audit.sealed`, `audit.resealed`), and covers the records before it as well, since their hashes are in it.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::audit::hash::RecordHash;
use crate::audit::record::AuditEvent;

const SEAL_DOMAIN: &[u8] = b"jitd-audit-seal-v1\0";
const KEY_DOMAIN: &[u8] = b"jitd-audit-seal-key-v1\0";
const ID_DOMAIN: &[u8] = b"jitd-audit-seal-id-v1\0";
const CHECK_DOMAIN: &[u8] = b"jitd-audit-seal-check-v1\0";

/// The first word of a written key.
const SHEET: &str = "jitd-seal-key-v1";
/// A written key has this many rows, each of [`ROW_BYTES`] bytes and two bytes to check them by.
const ROWS: usize = 4;
const ROW_BYTES: usize = 8;

/// The key of one record. Its bytes are overwritten when it is dropped, and are never shown.
#[derive(Clone)]
pub struct SealKey(Box<[u8; 32]>);

impl SealKey {
    /// A key of these bytes, which are overwritten.
    #[must_use]
    pub fn taking(bytes: &mut [u8; 32]) -> Self {
        let key = Self(Box::new(*bytes));
        bytes.zeroize();
        key
    }

    /// A key from 64 hexadecimal digits; `None` for another text.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut key = Self(Box::new([0; 32]));
        hex::decode_to_slice(text, key.0.as_mut_slice()).ok()?;
        Some(key)
    }

    /// The key as 64 hexadecimal digits, for the key file.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.as_slice()))
    }

    /// The id of a key, which does not reveal it: 16 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        let digest = Sha256::new().chain_update(ID_DOMAIN).chain_update(self.0.as_slice()).finalize();
        hex::encode(digest.get(..8).unwrap_or_default())
    }

    /// Advances to the next record's key; the old one is overwritten.
    pub fn advance(&mut self) {
        let next = Sha256::new().chain_update(KEY_DOMAIN).chain_update(self.0.as_slice()).finalize();
        self.0.copy_from_slice(&next);
    }

    /// The seal of a record with this hash.
    #[must_use]
    pub fn seal(&self, hash: &RecordHash) -> [u8; 32] {
        // HMAC accepts keys of every length (RFC 2104), so this cannot fail.
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(self.0.as_slice()) else { return [0; 32] };
        mac.chain_update(SEAL_DOMAIN).chain_update(hash.as_bytes()).finalize().into_bytes().into()
    }
}

impl Drop for SealKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealKey({})", self.id())
    }
}

/// A seal in progress: the key, and the record it is for.
#[derive(Debug, Clone)]
pub struct Sealer {
    /// The first record under this seal.
    pub first: u64,
    /// The record that the key is for.
    pub next: u64,
    /// The key.
    pub key: SealKey,
}

impl Sealer {
    /// A seal that begins with this record.
    #[must_use]
    pub fn beginning(first: u64, key: SealKey) -> Self {
        Self { first, next: first, key }
    }

    /// The seal of the next record; advances the key.
    #[must_use]
    pub fn seal_next(&mut self, hash: &RecordHash) -> [u8; 32] {
        let seal = self.key.seal(hash);
        self.advance();
        seal
    }

    /// Advances to a record. A later key cannot go back.
    ///
    /// # Errors
    /// When the key is for a later record.
    pub fn forward_to(&mut self, seq: u64) -> Result<(), Ahead> {
        if self.next > seq {
            return Err(Ahead { next: self.next, seq });
        }
        while self.next < seq {
            self.advance();
        }
        Ok(())
    }

    fn advance(&mut self) {
        self.key.advance();
        self.next += 1;
    }
}

/// The key is for a later record than the one to be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the seal's key is for record {next}, and cannot go back to record {seq}")]
pub struct Ahead {
    /// The record that the key is for.
    pub next: u64,
    /// The record to be sealed.
    pub seq: u64,
}

/// The first key of a seal, as the verifying person keeps it.
#[derive(Debug, Clone)]
pub struct FirstKey {
    /// The first record under it.
    pub first: u64,
    /// The key.
    pub key: SealKey,
}

/// Why a written key cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SheetError {
    /// It does not begin with the first word of a key.
    #[error(
        "this is no seal key: a line \"{SHEET} FIRST\" is expected before the rows, FIRST being a number"
    )]
    NoHeader,
    /// A row is missing or has another form.
    #[error("row {0} of the key is not four groups of four hexadecimal digits and a fifth to check them by")]
    Form(usize),
    /// A row does not match its check.
    #[error("row {0} of the key has a typing error")]
    Check(usize),
    /// No row matches its check.
    #[error("no row of the key agrees with its check: the number behind \"{SHEET}\" may be mistyped")]
    EveryCheck,
}

impl FirstKey {
    /// The key in its written form: a line with the record it is for, and four rows of four groups with a fifth group
    /// that shows typing errors.
    #[must_use]
    pub fn sheet(&self) -> Zeroizing<String> {
        // Allocated in full: a growing text would leave copies in memory.
        let mut text = Zeroizing::new(String::with_capacity(256));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{SHEET} {}", self.first);
        for (index, row) in self.key.0.chunks(ROW_BYTES).enumerate() {
            let _ = write!(text, "{}:", index + 1);
            for pair in row.chunks(2) {
                let _ = write!(text, " {:02x}{:02x}", pair.first().unwrap_or(&0), pair.last().unwrap_or(&0));
            }
            let [a, b] = self.check(index, row);
            let _ = writeln!(text, "  {a:02x}{b:02x}");
        }
        text
    }

    /// Parses every key in a text; lines that begin with `#` are skipped, and case and spaces are ignored.
    ///
    /// # Errors
    /// Names the row with the error.
    pub fn read_all(text: &str) -> Result<Vec<Self>, SheetError> {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let mut words = lines.flat_map(str::split_whitespace).peekable();
        let mut keys = Vec::new();
        while words.peek().is_some() {
            if words.next() != Some(SHEET) {
                return Err(SheetError::NoHeader);
            }
            let first = words.next().and_then(|word| word.parse().ok());
            let first = first.filter(|first| *first > 0).ok_or(SheetError::NoHeader)?;
            let mut key = Self { first, key: SealKey(Box::new([0; 32])) };
            let mut wrong = Vec::new();
            for row in 0..ROWS {
                let label = format!("{}:", row + 1);
                words.next_if(|word| *word == label);
                let mut bytes = [0; ROW_BYTES + 2];
                for pair in bytes.chunks_mut(2) {
                    let word = words.next_if(|word| *word != SHEET).ok_or(SheetError::Form(row + 1))?;
                    hex::decode_to_slice(word, pair).map_err(|_| SheetError::Form(row + 1))?;
                }
                let (data, check) = bytes.split_at(ROW_BYTES);
                if key.check(row, data) != check {
                    wrong.push(row + 1);
                }
                if let Some(place) = key.key.0.chunks_mut(ROW_BYTES).nth(row) {
                    place.copy_from_slice(data);
                }
                bytes.zeroize();
            }
            match wrong.as_slice() {
                [] => keys.push(key),
                all if all.len() == ROWS => return Err(SheetError::EveryCheck),
                [row, ..] => return Err(SheetError::Check(*row)),
            }
        }
        if keys.is_empty() { Err(SheetError::NoHeader) } else { Ok(keys) }
    }

    fn check(&self, row: usize, bytes: &[u8]) -> [u8; 2] {
        let digest = Sha256::new()
            .chain_update(CHECK_DOMAIN)
            .chain_update(self.first.to_be_bytes())
            .chain_update([u8::try_from(row).unwrap_or(u8::MAX)])
            .chain_update(bytes)
            .finalize();
        [digest.first().copied().unwrap_or(0), digest.get(1).copied().unwrap_or(0)]
    }
}

/// Whether records are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cover {
    /// They have no seal.
    Unsealed,
    /// They have seals, which were not checked without the key.
    Unchecked,
    /// They have valid seals.
    Fits,
}

/// A range of records with the same cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The first record.
    pub from: u64,
    /// The last record.
    pub to: u64,
    /// The cover.
    pub cover: Cover,
}

/// Checks the seals in a chain.
#[derive(Debug, Default)]
pub struct SealWalk {
    keys: Vec<FirstKey>,
    current: Option<Sealer>,
    state: State,
    spans: Vec<Span>,
    begins: Option<Begins>,
    walked: bool,
    continued_elsewhere: bool,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    /// No seal has begun.
    #[default]
    NotYet,
    /// Sealed from this record on.
    Since(u64),
    /// The seal was lost at this record.
    Lost(u64),
}

/// The last record begins a seal with the next one.
#[derive(Debug)]
struct Begins {
    key_id: Option<String>,
}

impl SealWalk {
    /// Checks the seals that these keys began; without keys it checks that none is missing.
    #[must_use]
    pub fn with(keys: Vec<FirstKey>) -> Self {
        Self { keys, ..Self::default() }
    }

    /// Expects that the chain continues elsewhere: keys may be for seals that begin there.
    pub fn continued_elsewhere(&mut self) {
        self.continued_elsewhere = true;
    }

    /// Takes the next record of the chain, whose hash is verified.
    ///
    /// # Errors
    /// The problem of its seal.
    pub fn step(
        &mut self,
        seq: u64,
        hash: &RecordHash,
        seal: Option<&str>,
        line: Option<&str>,
    ) -> Result<(), String> {
        let begins = self.begins.take();
        self.find_key(seq, begins.as_ref())?;
        if begins.is_some() {
            self.state = State::Since(seq);
        }
        let event = line.and_then(event_of).unwrap_or_default();
        let cover = match (seal, &mut self.current, self.state) {
            (None, Some(_), _) if event == AuditEvent::AuditUnsealed.name() => {
                return Err(
                    "it has no seal: the seal was lost here, as the record itself says; those before it fit \
                            the key given"
                        .to_owned(),
                );
            }
            (None, Some(sealer), _) => {
                return Err(format!("it has no seal, though the key given seals from {} on", sealer.first));
            }
            (None, None, State::Since(since)) if event != AuditEvent::AuditUnsealed.name() => {
                return Err(format!("it has no seal, though the record is sealed from {since} on"));
            }
            (None, None, State::Since(_)) => {
                self.state = State::Lost(seq);
                Cover::Unsealed
            }
            (None, None, State::NotYet | State::Lost(_)) => Cover::Unsealed,
            (Some(_), None, State::NotYet) if self.walked => {
                return Err("it has a seal, though no seal had begun".to_owned());
            }
            (Some(_), None, State::Lost(at)) => {
                return Err(format!("it has a seal, though the seal was lost at {at} and not begun again"));
            }
            (Some(seal), Some(sealer), _) => {
                let mut expected = [0; 64];
                let fits = hex::encode_to_slice(sealer.seal_next(hash), &mut expected).is_ok()
                    && seal.as_bytes() == expected;
                if !fits {
                    // The record that began another seal may have been pruned.
                    return Err(match self.walked {
                        true if event == AuditEvent::DaemonStarted.name() => {
                            "its seal does not fit: the daemon started here, so either it sealed with a key that does \
                             not continue the seal (a damaged or replaced seal.key), or the record was changed after it \
                             was sealed"
                                .to_owned()
                        }
                        true => "its seal does not fit: it was changed after it was sealed".to_owned(),
                        false => format!(
                            "its seal does not fit the key given, which seals from {} on: it was changed after it was \
                             sealed, or another seal began before it, whose key has to be given as well",
                            sealer.first
                        ),
                    });
                }
                self.state = State::Since(sealer.first);
                Cover::Fits
            }
            (Some(seal), None, state) => {
                if seal.len() != 64 || !seal.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
                {
                    return Err("its seal is not 64 hexadecimal digits".to_owned());
                }
                if matches!(state, State::NotYet) {
                    self.state = State::Since(seq);
                }
                Cover::Unchecked
            }
        };
        self.walked = true;
        match self.spans.last_mut() {
            Some(span) if span.cover == cover && span.to + 1 == seq => span.to = seq,
            _ => self.spans.push(Span { from: seq, to: seq, cover }),
        }
        if event == AuditEvent::AuditSealed.name() || event == AuditEvent::AuditResealed.name() {
            self.begins = Some(Begins { key_id: line.and_then(key_id_of) });
        }
        Ok(())
    }

    /// Ends the check after this record.
    ///
    /// # Errors
    /// The first record that is missing or wrong, and the problem: the chain ends before the seal of a given key
    /// begins, or the seal was lost and not begun again.
    pub fn finish(&mut self, last: u64) -> Result<Vec<Span>, (u64, String)> {
        if self.continued_elsewhere {
            return Ok(std::mem::take(&mut self.spans));
        }
        let begins = self.begins.is_some();
        let reached = |key: &&FirstKey| key.first <= last || (begins && key.first == last + 1);
        if let Some(key) = self.keys.iter().find(|key| !reached(key)) {
            let problem = format!(
                "missing: a key was given that seals from record {} on, and there is none",
                key.first
            );
            return Err((last + 1, problem));
        }
        match self.state {
            State::Lost(at) if !begins => {
                Err((at, "the seal was lost here, and none has begun since; the record says why".to_owned()))
            }
            _ => Ok(std::mem::take(&mut self.spans)),
        }
    }

    /// Selects the given key that a record is sealed with, if there is one.
    fn find_key(&mut self, seq: u64, begins: Option<&Begins>) -> Result<(), String> {
        let given = if self.walked {
            // The key itself says where its seal begins, whatever the records say.
            self.keys.iter().find(|key| key.first == seq)
        } else {
            self.keys.iter().filter(|key| key.first <= seq).max_by_key(|key| key.first)
        };
        match given {
            Some(given) => {
                if let Some(told) = begins.and_then(|begins| begins.key_id.as_ref())
                    && *told != given.key.id()
                {
                    let given = given.key.id();
                    return Err(format!("the seal that begins here has the key {told}; given was {given}"));
                }
                let mut sealer = Sealer::beginning(given.first, given.key.clone());
                sealer.forward_to(seq).map_err(|ahead| ahead.to_string())?;
                self.current = Some(sealer);
            }
            None if begins.is_some() => self.current = None,
            None => {}
        }
        Ok(())
    }
}

/// The event of a line, without parsing all of it: numbers, a time and ids precede it.
pub(crate) fn event_of(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("\"event\":\"")?;
    rest.split_once('"').map(|(event, _)| event)
}

fn key_id_of(line: &str) -> Option<String> {
    let record: crate::audit::record::Record = serde_json::from_str(line).ok()?;
    record.facts.seal_key
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(seed: u8) -> SealKey {
        SealKey::taking(&mut [seed; 32])
    }

    #[test]
    fn seal_and_next_key_can_be_made_by_hand() {
        // key=$(printf '07%.0s' {1..32}); hash=$(printf '09%.0s' {1..32})
        // { printf 'jitd-audit-seal-v1\0'; printf $hash | xxd -r -p; } | openssl dgst -sha256 -mac HMAC -macopt hexkey:$key
        // { printf 'jitd-audit-seal-key-v1\0'; printf $key | xxd -r -p; } | sha256sum
        let mut by_hand = key(7);
        assert_eq!(hex::encode(by_hand.seal(&[9; 32].into())), SEAL_BY_HAND);
        by_hand.advance();
        assert_eq!(*by_hand.to_hex(), KEY_BY_HAND);
    }

    const SEAL_BY_HAND: &str = "41f06254c3393b03fb0ce7e40fd387ef1a6b8081cb114fb6adc2add459fe8c06";
    const KEY_BY_HAND: &str = "3d27e3ba3a9bc9362dbfda6a06553f65655bb32ed0cf9f2783c645be3f416d1e";

    #[test]
    fn a_key_is_not_shown() {
        let shown = format!("{:?}", Sealer::beginning(3, key(0xab)));
        assert!(!shown.contains("abab"), "{shown}");
    }

    #[test]
    fn a_key_goes_forward_and_never_back() {
        let mut sealer = Sealer::beginning(5, key(1));
        sealer.forward_to(9).unwrap();
        let mut steps = key(1);
        (0..4).for_each(|_| steps.advance());
        assert_eq!(sealer.key.to_hex(), steps.to_hex());
        assert_eq!(sealer.forward_to(8), Err(Ahead { next: 9, seq: 8 }));
    }

    proptest! {
        #[test]
        fn a_written_key_is_read_back(bytes in any::<[u8; 32]>(), first in 1u64.., second in any::<[u8; 32]>()) {
            let one = FirstKey { first, key: SealKey::taking(&mut bytes.clone()) };
            let two = FirstKey { first: 7, key: SealKey::taking(&mut second.clone()) };
            let text = format!("# of web1\n{}\n# and\n{}", one.sheet().to_uppercase().replace("JITD-SEAL-KEY-V1", SHEET), *two.sheet());
            let read = FirstKey::read_all(&text).unwrap();
            prop_assert_eq!(read.len(), 2);
            prop_assert_eq!(read[0].key.to_hex(), one.key.to_hex());
            prop_assert_eq!((read[0].first, read[1].first), (first, 7));
            prop_assert_eq!(read[1].key.to_hex(), two.key.to_hex());
        }

        #[test]
        fn a_digit_mistyped_is_found_in_its_row(bytes in any::<[u8; 32]>(), row in 0usize..4, column in 0usize..16, to in 0u8..16) {
            let one = FirstKey { first: 13, key: SealKey::taking(&mut bytes.clone()) };
            let mut lines: Vec<String> = one.sheet().lines().map(str::to_owned).collect();
            let mut typed: Vec<char> = lines[row + 1].chars().collect();
            let place = 3 + column + column / 4;
            let digit = char::from_digit(u32::from(to), 16).unwrap();
            if typed[place] != digit {
                typed[place] = digit;
                lines[row + 1] = typed.into_iter().collect();
                // Sixteen bits of check miss one error in 65,536.
                if let Err(error) = FirstKey::read_all(&lines.join("\n")) {
                    prop_assert_eq!(error, SheetError::Check(row + 1));
                }
            }
        }
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_reason() {
        let sheet = FirstKey { first: 13, key: key(3) }.sheet();
        assert_eq!(FirstKey::read_all("").unwrap_err(), SheetError::NoHeader);
        assert_eq!(FirstKey::read_all("hello").unwrap_err(), SheetError::NoHeader);
        assert_eq!(FirstKey::read_all(&sheet.replace(" 13", " 14")).unwrap_err(), SheetError::EveryCheck);
        let cut: Vec<&str> = sheet.lines().take(4).collect();
        assert_eq!(FirstKey::read_all(&cut.join("\n")).unwrap_err(), SheetError::Form(4));
    }
}
