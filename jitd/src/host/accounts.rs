//! Looks up accounts and groups in NSS.

use std::collections::BTreeSet;
use std::ffi::{CString, NulError};
use std::io;

use jit_host::accounts::{Passwd, lines};
use jit_proto::identity::{GroupId, UserId};
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use crate::core::people::{Account, Person};
use crate::host::shadow;

/// Why NSS does not identify an account or group.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// NSS failed for a user.
    #[error("the user directory cannot be asked: {0}")]
    Users(nix::Error),
    /// NSS failed for a group.
    #[error("the group directory cannot be asked: {0}")]
    Groups(nix::Error),
    /// `/etc/shadow`, which says who is locked.
    #[error("/etc/shadow cannot be read, so jitd cannot tell which accounts are locked: {0}")]
    Shadow(io::Error),
    /// A login name with a NUL byte.
    #[error("a login name contains a NUL byte")]
    Name(#[from] NulError),
    /// The thread of the lookup panicked.
    #[error("the lookup in the user directory did not finish: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// A source of names.
pub trait Directory {
    /// The account of a login name; `None` if there is no such user. Where several names have one uid, the account has the
    /// name that a lookup of the uid gives: callers are looked up by uid.
    ///
    /// # Errors
    /// When NSS fails.
    fn user(&self, name: &str) -> Result<Option<Account>, IdentityError>;

    /// The gid of a group name; `None` if there is no such group.
    ///
    /// # Errors
    /// When NSS fails.
    fn group(&self, name: &str) -> Result<Option<GroupId>, IdentityError>;

    /// The login names that a group lists (group(5)), and local accounts with this primary group; `None` if unknown.
    fn listed_in(&self, group: &str) -> Option<Vec<String>> {
        let _ = group;
        None
    }
}

/// The host's own NSS (nsswitch.conf(5)). Calls may block on a directory service.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nss;

impl Directory for Nss {
    fn user(&self, name: &str) -> Result<Option<Account>, IdentityError> {
        let Some(user) = User::from_name(name).map_err(IdentityError::Users)? else { return Ok(None) };
        let by_uid = User::from_uid(user.uid).map_err(IdentityError::Users)?;
        let name = by_uid.map_or(user.name, |by_uid| by_uid.name);
        Ok(Some(Account { uid: UserId(user.uid.as_raw()), name }))
    }

    fn group(&self, name: &str) -> Result<Option<GroupId>, IdentityError> {
        let group = Group::from_name(name).map_err(IdentityError::Groups)?;
        Ok(group.map(|group| GroupId(group.gid.as_raw())))
    }

    fn listed_in(&self, group: &str) -> Option<Vec<String>> {
        let group = Group::from_name(group).ok().flatten()?;
        let mut names: BTreeSet<String> = group.mem.into_iter().collect();
        // Local accounts with this primary group; a directory would have to list all of its accounts.
        let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
        let gid = group.gid.to_string();
        let own = lines(passwd.as_bytes()).map(Passwd::parse).filter(|account| account.gid == gid.as_bytes());
        names.extend(own.map(|account| String::from_utf8_lossy(account.name).into_owned()));
        Some(names.into_iter().collect())
    }
}

impl Nss {
    /// An account with its present groups; `None` if the uid has no account. Root is never locked: many hosts lock its password.
    ///
    /// # Errors
    /// When NSS fails, or `/etc/shadow` cannot be read.
    pub fn person(self, uid: UserId) -> Result<Option<Person>, IdentityError> {
        let user = User::from_uid(Uid::from_raw(uid.0)).map_err(IdentityError::Users)?;
        let Some(user) = user else { return Ok(None) };
        let groups = groups_of(&user.name, user.gid)?;
        let locked = !uid.is_root() && shadow::is_locked(&user.name).map_err(IdentityError::Shadow)?;
        Ok(Some(Person { account: Account { uid, name: user.name }, groups, locked }))
    }

    /// The account of a login name, under that name; `None` if there is none.
    ///
    /// # Errors
    /// When NSS fails.
    pub fn account(self, name: &str) -> Result<Option<Account>, IdentityError> {
        let user = User::from_name(name).map_err(IdentityError::Users)?;
        Ok(user.map(|user| Account { uid: UserId(user.uid.as_raw()), name: user.name }))
    }
}

fn groups_of(name: &str, primary: Gid) -> Result<BTreeSet<GroupId>, IdentityError> {
    let name = CString::new(name)?;
    let groups = getgrouplist(&name, primary).map_err(IdentityError::Groups)?;
    Ok(groups.into_iter().map(|gid| GroupId(gid.as_raw())).collect())
}
