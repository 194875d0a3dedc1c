//! The line of the file in which a host remembers the head of its chain, outside of the store.
//!
//! `jitd-head-v1 SEQ HASH MICROSECONDS CHECK`, where `CHECK` is the first 16 hexadecimal digits of the SHA-256 of the
//! text before it, without the space between them.

use sha2::{Digest, Sha256};

use crate::audit::chain::Head;
use crate::audit::hash::RecordHash;
use crate::time::WallTime;

/// The path of the file.
pub const PATH: &str = "/var/log/jitd/head";

const FORMAT: &str = "jitd-head-v1";

/// A head, and when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The last record that was on the disk.
    pub head: Head,
    /// The time.
    pub at: WallTime,
}

impl Remembered {
    /// The line, with its newline.
    #[must_use]
    pub fn line(&self) -> String {
        let body = format!("{FORMAT} {} {} {}", self.head.seq, self.head.hash, self.at.0);
        format!("{body} {}\n", check(&body))
    }

    /// Parses the line; `None` if it is not as it was written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (body, sum) = text.strip_suffix('\n')?.rsplit_once(' ')?;
        let words: Vec<&str> = body.split(' ').collect();
        let [format, seq, hash, at] = words.as_slice() else { return None };
        if *format != FORMAT || check(body) != sum {
            return None;
        }
        let head = Head { seq: seq.parse().ok()?, hash: RecordHash::parse(hash)? };
        Some(Self { head, at: WallTime(at.parse().ok()?) })
    }
}

impl std::fmt::Display for Remembered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "record {}:{} by {}", self.head.seq, self.head.hash, self.at.to_rfc3339())
    }
}

fn check(body: &str) -> String {
    hex::encode(Sha256::digest(body).get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let head = Head { seq: 123_456, hash: [0x55; 32].into() };
        let told = Remembered { head, at: WallTime(9) };
        let line = told.line();
        assert_eq!(Remembered::parse(&line), Some(told));
        for (at, bit) in (0..line.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut bytes = line.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let text = String::from_utf8_lossy(&bytes);
            assert_eq!(Remembered::parse(&text), None, "byte {at}, bit {bit}");
        }
    }
}
