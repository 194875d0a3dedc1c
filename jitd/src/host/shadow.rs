//! Whether a local account is locked or has expired (shadow(5)).

use std::fs;
use std::io;

use crate::host::clock::today;

const SHADOW: &str = "/etc/shadow";

/// Whether this account is locked. An account without an entry is a directory service's, which has to check it; so is every
/// account where there is no such file.
///
/// # Errors
/// When the file is there and cannot be read.
pub(crate) fn is_locked(name: &str) -> io::Result<bool> {
    match fs::read(SHADOW) {
        Ok(text) => Ok(says_locked(&text, name, today())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Locked is a password that was set and was made unusable (`usermod --lock`, `passwd --lock`), or an account whose
/// expiry date has passed. A field that never held a password (`!`, `!!`, `*`) is that of an account that logs in with
/// a key.
///
/// The file is bytes: the name of one account that is not UTF-8 hides no other.
fn says_locked(text: &[u8], name: &str, today: u64) -> bool {
    let entry = |line: &[u8]| {
        let entry = line.strip_prefix(name.as_bytes())?.strip_prefix(b":")?;
        Some(String::from_utf8_lossy(entry).into_owned())
    };
    let Some(entry) = text.split(|byte| *byte == b'\n').find_map(entry) else { return false };
    let fields: Vec<&str> = entry.split(':').collect();
    let locked =
        fields.first().is_some_and(|hash| hash.starts_with('!') && hash.trim_start_matches('!').len() > 1);
    let expired = fields.get(6).and_then(|day| day.parse::<u64>().ok()).is_some_and(|last| last <= today);
    locked || expired
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHADOW: &str = "root:$y$x:1:0:99999:7:::\nalice:!$y$x:1:0:99999:7:::\nkey:!:1:0:99999:7:::\n\
        new:!!:1:0:99999:7:::\nold:$y$x:1:0:99999:7::20000:\nyoung:$y$x:1:0:99999:7::30000:\nal:*:1::::::\n";

    #[test]
    fn a_locked_or_expired_account_is_known() {
        for (name, locked) in [
            ("root", false),
            ("alice", true),
            ("key", false),
            ("new", false),
            ("old", true),
            ("young", false),
            ("al", false),
            ("nobody", false),
        ] {
            assert_eq!(says_locked(SHADOW.as_bytes(), name, 20_783), locked, "{name}");
        }
    }

    #[test]
    fn a_name_that_is_not_utf8_hides_no_lock() {
        let text = [b"j\xf6rg:$y$x:1:0:99999:7:::\n", SHADOW.as_bytes()].concat();
        assert!(says_locked(&text, "alice", 20_783) && says_locked(&text, "old", 20_783));
        assert!(!says_locked(&text, "young", 20_783));
    }
}
