//! Looks people up in NSS: ids to names, names to ids, and who is in which group.

use std::collections::BTreeSet;
use std::ffi::{CString, NulError};

use jit_host::accounts::{Passwd, lines};
use jit_proto::identity::{GroupId, UserId};
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use crate::core::people::{Account, Person};
use crate::host::shadow;

/// Why the user and group databases do not say who somebody is.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// NSS failed at a user.
    #[error("the user directory cannot be asked: {0}")]
    Users(nix::Error),
    /// NSS failed at a group.
    #[error("the group directory cannot be asked: {0}")]
    Groups(nix::Error),
    /// A login name that no C function takes.
    #[error("a login name has a zero byte in it")]
    Name(#[from] NulError),
    /// The thread that asked did not come to an end.
    #[error("the user directory was not asked to the end: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// Where names are looked up.
pub trait Directory {
    /// The uid of a login name; `None` if there is no such user.
    ///
    /// # Errors
    /// When NSS could not tell.
    fn user(&self, name: &str) -> Result<Option<UserId>, IdentityError>;

    /// The gid of a group name; `None` if there is no such group.
    ///
    /// # Errors
    /// When NSS could not tell.
    fn group(&self, name: &str) -> Result<Option<GroupId>, IdentityError>;

    /// The login names that a group lists (group(5)), and the local ones whose primary group it is; `None` where that is not
    /// known.
    fn listed_in(&self, group: &str) -> Option<Vec<String>> {
        let _ = group;
        None
    }
}

/// The host's own NSS (nsswitch.conf(5)). Calls may block on a directory service.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nss;

impl Directory for Nss {
    fn user(&self, name: &str) -> Result<Option<UserId>, IdentityError> {
        let user = User::from_name(name).map_err(IdentityError::Users)?;
        Ok(user.map(|user| UserId(user.uid.as_raw())))
    }

    fn group(&self, name: &str) -> Result<Option<GroupId>, IdentityError> {
        let group = Group::from_name(name).map_err(IdentityError::Groups)?;
        Ok(group.map(|group| GroupId(group.gid.as_raw())))
    }

    fn listed_in(&self, group: &str) -> Option<Vec<String>> {
        let group = Group::from_name(group).ok().flatten()?;
        let mut names: BTreeSet<String> = group.mem.into_iter().collect();
        // Those whose primary group it is, as far as they are local: a directory would have to list everybody.
        let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
        let gid = group.gid.to_string();
        let own = lines(passwd.as_bytes()).map(Passwd::parse).filter(|account| account.gid == gid.as_bytes());
        names.extend(own.map(|account| String::from_utf8_lossy(account.name).into_owned()));
        Some(names.into_iter().collect())
    }
}

impl Nss {
    /// Somebody with their groups as they are at this moment; `None` if the uid has no account.
    ///
    /// # Errors
    /// When NSS could not tell.
    pub fn person(self, uid: UserId) -> Result<Option<Person>, IdentityError> {
        let user = User::from_uid(Uid::from_raw(uid.0)).map_err(IdentityError::Users)?;
        let Some(user) = user else { return Ok(None) };
        let groups = groups_of(&user.name, user.gid)?;
        let locked = shadow::is_locked(&user.name);
        Ok(Some(Person { account: Account { uid, name: user.name }, groups, locked }))
    }

    /// The account of a login name; `None` if there is none.
    ///
    /// # Errors
    /// When NSS could not tell.
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
