//! Parses the lines of passwd, group, shadow and gshadow (passwd(5), group(5), shadow(5), gshadow(5)), and lists the
//! members of a group.
//!
//! Fields are bytes as they are in the file; a missing field is empty.

use std::collections::BTreeSet;

use crate::program::output_of;

const GETENT: &str = "/usr/bin/getent";

/// The non-empty lines of such a file.
pub fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// The first `N` fields of a line.
fn fields<const N: usize>(line: &[u8]) -> [&[u8]; N] {
    let mut all = line.split(|byte| *byte == b':');
    std::array::from_fn(|_| all.next().unwrap_or_default())
}

/// Names separated by commas.
fn names(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').filter(|name| !name.is_empty())
}

/// The number in a field; `None` if it is not decimal.
fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// A line of passwd(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passwd<'a> {
    /// The account's name.
    pub name: &'a [u8],
    /// `x` if the password is in shadow(5); empty if none is required.
    pub password: &'a [u8],
    /// As written; [`Passwd::uid_number`] reads it.
    pub uid: &'a [u8],
    /// As written; [`Passwd::gid_number`] reads it.
    pub gid: &'a [u8],
    /// The home directory.
    pub home: &'a [u8],
    /// The login shell.
    pub shell: &'a [u8],
}

impl<'a> Passwd<'a> {
    /// Splits a line.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Self {
        let [name, password, uid, gid, _comment, home, shell] = fields(line);
        Self { name, password, uid, gid, home, shell }
    }

    /// The uid; `None` where the field is no number.
    #[must_use]
    pub fn uid_number(&self) -> Option<u32> {
        number(self.uid)
    }

    /// The gid of the account's primary group; `None` where the field is no number.
    #[must_use]
    pub fn gid_number(&self) -> Option<u32> {
        number(self.gid)
    }
}

/// A line of group(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group<'a> {
    /// The group's name.
    pub name: &'a [u8],
    /// As written.
    pub gid: &'a [u8],
    list: &'a [u8],
}

impl<'a> Group<'a> {
    /// Splits a line.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Self {
        let [name, _password, gid, list] = fields(line);
        Self { name, gid, list }
    }

    /// The listed members. Accounts with this primary group need not be listed.
    pub fn members(&self) -> impl Iterator<Item = &'a [u8]> {
        names(self.list)
    }
}

/// A line of gshadow(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gshadow<'a> {
    /// The group's name.
    pub name: &'a [u8],
    /// The group's password.
    pub password: Password,
    administrators: &'a [u8],
    list: &'a [u8],
}

impl<'a> Gshadow<'a> {
    /// Splits a line.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Self {
        let [name, password, administrators, list] = fields(line);
        Self { name, password: Password::of(password), administrators, list }
    }

    /// The administrators of the group.
    pub fn administrators(&self) -> impl Iterator<Item = &'a [u8]> {
        names(self.administrators)
    }

    /// The listed members.
    pub fn members(&self) -> impl Iterator<Item = &'a [u8]> {
        names(self.list)
    }
}

/// A line of shadow(5) without the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shadow<'a> {
    /// The account's name.
    pub name: &'a [u8],
    /// Whether a password can be used.
    pub password: Password,
}

impl<'a> Shadow<'a> {
    /// Splits a line.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Self {
        let [name, password] = fields(line);
        Self { name, password: Password::of(password) }
    }
}

/// What a password field allows (shadow(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Password {
    /// No password is required: the field is empty.
    NotNeeded,
    /// No password is accepted: the field begins with `!` or `*`.
    NoneFits,
    /// A password is required: the field is a hash.
    Set,
}

impl Password {
    fn of(field: &[u8]) -> Self {
        match field {
            [] => Self::NotNeeded,
            [b'!' | b'*', ..] => Self::NoneFits,
            _ => Self::Set,
        }
    }
}

/// The accounts with uid 0 in NSS; none if getent(1) fails.
#[must_use]
pub fn with_uid_zero() -> Vec<String> {
    uid_zero(&passwd())
}

/// The members of a group in NSS: the listed ones, and accounts with this primary group. None if getent(1) fails or
/// knows no such group.
#[must_use]
pub fn members_of_group(group: &str) -> Vec<String> {
    let line = output_of(GETENT, &["group", group]).unwrap_or_default();
    members_of(&line, &passwd())
}

/// The names of all accounts that NSS lists.
#[must_use]
pub fn all_names() -> Vec<String> {
    lines(passwd().as_bytes()).map(|line| text(Passwd::parse(line).name)).collect()
}

fn passwd() -> String {
    output_of(GETENT, &["passwd"]).unwrap_or_default()
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}

fn uid_zero(passwd: &str) -> Vec<String> {
    let all = lines(passwd.as_bytes()).map(Passwd::parse);
    all.filter(|account| account.uid_number() == Some(0)).map(|account| text(account.name)).collect()
}

fn members_of(group: &str, passwd: &str) -> Vec<String> {
    let Some(group) = lines(group.trim().as_bytes()).next().map(Group::parse) else { return Vec::new() };
    if group.gid.is_empty() {
        return Vec::new();
    }
    let own = lines(passwd.as_bytes()).map(Passwd::parse).filter(|account| account.gid == group.gid);
    let members: BTreeSet<&[u8]> = group.members().chain(own.map(|account| account.name)).collect();
    members.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_groups_are_read_as_getent_prints_them() {
        assert_eq!(
            uid_zero("root:x:0:0::/root:/bin/sh\nalice:x:1000:0:::\ntoor:x:0:0:::\n"),
            ["root", "toor"]
        );
        let accounts = "alice:x:1000:1000:::\ncarol:x:1003:27:::\n";
        assert_eq!(members_of("sudo:x:27:alice,bob\n", accounts), ["alice", "bob", "carol"]);
        assert!(members_of("", accounts).is_empty());
    }

    #[test]
    fn a_line_that_is_cut_short_has_empty_fields() {
        let account = Passwd::parse(b"alice:x:10");
        assert_eq!((account.uid_number(), account.gid_number(), account.home), (Some(10), None, &b""[..]));
        assert_eq!(Passwd::parse(b"+::::::").uid_number(), None);
        assert_eq!(Group::parse(b"sudo").members().count(), 0);
        assert_eq!(Shadow::parse(b"alice").password, Password::NotNeeded);
    }

    #[test]
    fn a_password_field_tells_what_lets_in() {
        for (line, password) in [
            (&b"a:$y$x:1"[..], Password::Set),
            (b"a:!$y$x:1", Password::NoneFits),
            (b"a:*:1", Password::NoneFits),
            (b"a::1", Password::NotNeeded),
        ] {
            assert_eq!(Shadow::parse(line).password, password);
            assert_eq!(Gshadow::parse(line).password, password);
        }
        let group = Gshadow::parse(b"sudo:!:root:alice,,bob");
        assert_eq!(group.administrators().collect::<Vec<_>>(), [b"root"]);
        assert_eq!(group.members().collect::<Vec<_>>(), [&b"alice"[..], b"bob"]);
    }
}
