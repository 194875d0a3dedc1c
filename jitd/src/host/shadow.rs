//! Whether a local account is locked or has expired (shadow(5)).

use std::fs;

use tracing::debug;

use crate::host::clock::today;

const SHADOW: &str = "/etc/shadow";

/// Whether this account is locked. An account without an entry is a directory service's, which has to check it; if the
/// file cannot be read, no account counts as locked.
#[must_use]
pub(crate) fn is_locked(name: &str) -> bool {
    match fs::read_to_string(SHADOW) {
        Ok(text) => says_locked(&text, name, today()),
        Err(error) => {
            debug!("{SHADOW}: {error}");
            false
        }
    }
}

/// Locked is a password that was set and was made unusable (`usermod --lock`, `passwd --lock`), or an account whose
/// expiry date has passed. A field that never held a password (`!`, `!!`, `*`) is that of an account that logs in with
/// a key.
fn says_locked(text: &str, name: &str, today: u64) -> bool {
    let Some(entry) = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')) else {
        return false;
    };
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
            assert_eq!(says_locked(SHADOW, name, 20_783), locked, "{name}");
        }
    }
}
