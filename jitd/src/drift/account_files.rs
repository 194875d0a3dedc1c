//! Parses passwd, group, shadow and gshadow, so that a change can be reported by account; no password hash is kept.

use std::collections::{BTreeMap, BTreeSet};

use jit_host::accounts::{self, Group, Gshadow, Passwd, Password, Shadow};
use jit_proto::escape::word;
use serde::{Deserialize, Serialize};

use super::path_text::text_of;
use super::print::print_of;

/// What is kept of one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Account {
    /// The text for findings.
    pub(super) shown: String,
    /// The members, of a group.
    pub(super) members: BTreeSet<String>,
    /// Digest of the whole line.
    pub(super) print: String,
}

/// The kind of file (passwd(5), group(5), shadow(5), gshadow(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AccountFile {
    Passwd,
    Group,
    Shadow,
    Gshadow,
}

impl AccountFile {
    /// The kind of the file at this path in `/etc`.
    pub(super) fn named(path: &str) -> Option<Self> {
        match path.strip_prefix("/etc/")? {
            "passwd" => Some(Self::Passwd),
            "group" => Some(Self::Group),
            "shadow" => Some(Self::Shadow),
            "gshadow" => Some(Self::Gshadow),
            _ => None,
        }
    }

    /// The noun for its lines.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Passwd => "account",
            Self::Group => "group",
            Self::Shadow => "the password of account",
            Self::Gshadow => "the shadow of group",
        }
    }

    fn entry(self, line: &[u8]) -> (String, Account) {
        let shown = |field: &[u8]| match field {
            [] => String::new(),
            field => word(&text_of(field)).into_owned(),
        };
        let (name, text, members) = match self {
            Self::Passwd => {
                let Passwd { name, password, uid, gid, home, shell } = Passwd::parse(line);
                let open = if password.is_empty() { ", no password" } else { "" };
                let [uid, gid, home, shell] = [uid, gid, home, shell].map(shown);
                (name, format!("uid {uid}, gid {gid}, home {home}, shell {shell}{open}"), BTreeSet::new())
            }
            Self::Group => {
                let group = Group::parse(line);
                (group.name, format!("gid {}", shown(group.gid)), group.members().map(shown).collect())
            }
            Self::Shadow => {
                let Shadow { name, password } = Shadow::parse(line);
                (name, phrase(password).to_owned(), BTreeSet::new())
            }
            Self::Gshadow => {
                let group = Gshadow::parse(line);
                let administrators =
                    group.administrators().map(|name| format!("administrator {}", shown(name)));
                let members = group.members().map(shown).chain(administrators).collect();
                (group.name, phrase(group.password).to_owned(), members)
            }
        };
        (text_of(name), Account { shown: text, members, print: print_of(line) })
    }

    /// The lines of the file by name. A second line of the same name, which libc ignores, has its number added.
    pub(super) fn lines(self, content: &[u8]) -> BTreeMap<String, Account> {
        let mut lines = BTreeMap::new();
        let mut times: BTreeMap<String, u32> = BTreeMap::new();
        for line in accounts::lines(content) {
            let (name, account) = self.entry(line);
            let nth = times.entry(name.clone()).or_default();
            *nth += 1;
            let key = if *nth == 1 { name } else { format!("{name} (line {nth} of that name)") };
            lines.insert(key, account);
        }
        lines
    }
}

/// What a password field allows, without its contents.
fn phrase(password: Password) -> &'static str {
    match password {
        Password::NotNeeded => "no password needed",
        Password::NoneFits => "no password fits",
        Password::Set => "a password",
    }
}

/// The differences between two versions of a file, a phrase each.
pub(super) fn changes(
    file: AccountFile,
    before: &BTreeMap<String, Account>,
    after: &BTreeMap<String, Account>,
) -> Vec<String> {
    let noun = file.noun();
    let mut phrases = Vec::new();
    for (key, now) in after {
        let name = word(key);
        let Some(then) = before.get(key) else {
            let members = named(", members", &now.members);
            phrases.push(format!("{noun} {name} added ({}{members})", now.shown));
            continue;
        };
        let mut how = Vec::new();
        if then.shown != now.shown {
            how.push(format!(" changed from {} to {}", then.shown, now.shown));
        }
        how.push(named(" gained", &now.members - &then.members));
        how.push(named(" lost", &then.members - &now.members));
        how.retain(|phrase| !phrase.is_empty());
        if how.is_empty() && then.print != now.print {
            how.push(" changed".to_owned());
        }
        if !how.is_empty() {
            phrases.push(format!("{noun} {name}{}", how.join(",")));
        }
    }
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    phrases.extend(gone.map(|name| format!("{noun} {} removed", word(name))));
    phrases
}

/// Names after a word; empty without names.
fn named(word: &str, names: impl std::borrow::Borrow<BTreeSet<String>>) -> String {
    const MAX_NAMED: usize = 16;
    let names = names.borrow();
    let shown: Vec<&str> = names.iter().take(MAX_NAMED).map(String::as_str).collect();
    match names.len() {
        0 => String::new(),
        count if count > MAX_NAMED => format!("{word} {} and {} more", shown.join(" "), count - MAX_NAMED),
        _ => format!("{word} {}", shown.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_put_into_a_group_is_named_and_the_others_are_not() {
        let before = AccountFile::Group.lines(b"sudo:x:27:alice,bob\n");
        let after = AccountFile::Group.lines(b"sudo:x:27:alice,mallory\nnew:x:0:zoe\n");
        assert_eq!(
            changes(AccountFile::Group, &before, &after),
            ["group new added (gid 0, members zoe)", "group sudo gained mallory, lost bob"]
        );
    }

    #[test]
    fn a_second_account_with_uid_0_is_named() {
        let before = AccountFile::Passwd.lines(b"root:x:0:0:root:/root:/bin/bash\n");
        let after =
            AccountFile::Passwd.lines(b"root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/root:/bin/sh\n");
        assert_eq!(
            changes(AccountFile::Passwd, &before, &after),
            ["account toor added (uid 0, gid 0, home /root, shell /bin/sh)"]
        );
    }

    #[test]
    fn a_line_put_before_another_of_the_same_name_is_named() {
        let before = AccountFile::Passwd.lines(b"dave:x:2004:2004::/home/dave:/bin/bash\n");
        let after = AccountFile::Passwd
            .lines(b"dave:x:0:0::/home/dave:/bin/bash\ndave:x:2004:2004::/home/dave:/bin/bash\n");
        let changes = changes(AccountFile::Passwd, &before, &after);
        assert!(changes.iter().any(|change| change.contains("to uid 0")), "{changes:?}");
        assert!(changes.iter().any(|change| change.contains("line 2 of that name")), "{changes:?}");
    }

    #[test]
    fn no_password_hash_is_kept_or_shown() {
        let before = AccountFile::Shadow.lines(b"dave:!:1::::::\n");
        let after = AccountFile::Shadow.lines(b"dave:$y$secret$hash:1::::::\n");
        let all = format!("{after:?} {:?}", changes(AccountFile::Shadow, &before, &after));
        assert!(!all.contains("secret"), "{all}");
        assert!(
            all.contains("the password of account dave changed from no password fits to a password"),
            "{all}"
        );
    }
}
