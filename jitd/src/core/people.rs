//! People as the daemon knows them: ids from the kernel, names from NSS, both looked up by the caller.

use std::collections::BTreeSet;

use jit_proto::identity::{GroupId, UserId};
use serde::{Deserialize, Serialize};

/// An account: what a record names somebody by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its uid.
    pub uid: UserId,
    /// Its login name.
    pub name: String,
}

/// An account with the groups it belongs to at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub account: Account,
    /// Every group of theirs, the primary one included (getgrouplist(3)).
    pub groups: BTreeSet<GroupId>,
    /// Whether the account is locked or has expired (shadow(5)).
    pub locked: bool,
}

/// Some people, as a policy names them: users and `@groups`, resolved to ids when the policy was loaded, so that a
/// group that is made again under an old name inherits nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct People {
    /// As the file says it.
    pub written: Vec<String>,
    /// The users named.
    pub users: BTreeSet<UserId>,
    /// The groups named.
    pub groups: BTreeSet<GroupId>,
}

impl People {
    /// Whether this person is one of them.
    #[must_use]
    pub fn include(&self, person: &Person) -> bool {
        self.users.contains(&person.account.uid) || !self.groups.is_disjoint(&person.groups)
    }
}
