//! The hash of a record, by which the next one links to it.
//!
//! `hash = SHA-256("jitd-audit-record-v1" NUL line)`, written as 64 hexadecimal digits in lower case, where `line` is the
//! record's JSON as stored, without a newline.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// The domain separator from other SHA-256 hashes of the same bytes.
const DOMAIN: &[u8] = b"jitd-audit-record-v1\0";

/// SHA-256 over a record's line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordHash([u8; 32]);

/// A text that is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record's hash has 64 hexadecimal digits in lower case")]
pub struct NoHash;

impl RecordHash {
    /// The `prev` of the first record.
    pub const GENESIS: Self = Self([0; 32]);

    /// The hash of a line.
    #[must_use]
    pub fn of(line: &str) -> Self {
        Self(Sha256::new().chain_update(DOMAIN).chain_update(line.as_bytes()).finalize().into())
    }

    /// Parses a hash; `None` unless the text is 64 hexadecimal digits in lower case. Upper case is refused, since the
    /// next record contains the text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        let lower = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        (lower && hex::decode_to_slice(text, &mut hash).is_ok()).then_some(Self(hash))
    }

    /// Its bytes, over which the seal is made.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its text, without an allocation.
    pub(crate) fn digits(&self) -> [u8; 64] {
        let mut digits = [0; 64];
        // The buffer has twice as many digits as bytes, so this cannot fail; a buffer of zeros would match no hash.
        let _ = hex::encode_to_slice(self.0, &mut digits);
        digits
    }
}

impl From<[u8; 32]> for RecordHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for RecordHash {
    type Err = NoHash;

    fn from_str(text: &str) -> Result<Self, NoHash> {
        Self::parse(text).ok_or(NoHash)
    }
}

impl fmt::Display for RecordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(&self.digits()))
    }
}

impl fmt::Debug for RecordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordHash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_can_be_checked_with_sha256sum() {
        // printf 'jitd-audit-record-v1\0hello' | sha256sum
        assert_eq!(
            RecordHash::of("hello").to_string(),
            hex::encode(Sha256::digest(b"jitd-audit-record-v1\0hello"))
        );
    }

    #[test]
    fn a_hash_is_read_back_from_its_text_and_nothing_else_is_one() {
        let hash = RecordHash::of("x");
        assert_eq!(RecordHash::parse(&hash.to_string()), Some(hash));
        assert_eq!(RecordHash::GENESIS.to_string(), "0".repeat(64));
        let text = hash.to_string();
        for text in [&text[1..], &format!("{text}0"), &text.to_uppercase(), &format!(" {}", &text[1..]), ""] {
            assert_eq!(RecordHash::parse(text), None, "{text:?}");
        }
    }
}
