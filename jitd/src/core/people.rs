//! People: ids from the kernel, names from NSS, both looked up outside of core.

use std::collections::{BTreeMap, BTreeSet};

use jit_proto::identity::{GroupId, UserId};
use serde::{Deserialize, Serialize};

/// An account, as records name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its uid.
    pub uid: UserId,
    /// Its login name.
    pub name: String,
}

/// An account with its groups at the time of the lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The account.
    pub account: Account,
    /// All its groups, with the primary one (getgrouplist(3)).
    pub groups: BTreeSet<GroupId>,
    /// Whether the account is locked or has expired (shadow(5)). Root never is.
    pub locked: bool,
}

/// People as a policy names them: users and `@groups`, resolved to ids when the policy was loaded, so that a new group
/// of an old name inherits nothing. Users keep their names too, so that a new account of an old uid inherits nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct People {
    /// As the file has it.
    pub written: Vec<String>,
    /// The users named, by uid, with the login names that they had.
    pub users: BTreeMap<UserId, String>,
    /// The groups named.
    pub groups: BTreeSet<GroupId>,
}

impl People {
    /// Whether this person is one of them.
    #[must_use]
    pub fn include(&self, person: &Person) -> bool {
        let Account { uid, name } = &person.account;
        self.users.get(uid).is_some_and(|named| named == name) || !self.groups.is_disjoint(&person.groups)
    }
}
