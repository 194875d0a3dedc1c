//! Caches lookups of NSS for a moment: the three PAM calls of one sudo ask the same within milliseconds.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jit_proto::identity::{GroupId, UserId};
use jit_proto::time::BootTime;

use crate::core::input::Named;
use crate::core::people::{Account, Person};
use crate::host::accounts::{Directory, IdentityError, Nss};
use crate::host::clock::Clock;

/// The lifetime of an entry: a change of groups takes effect after this. NSS's own caches last longer (nscd.conf(5),
/// sssd.conf(5)).
const TTL: Duration = Duration::from_secs(2);
/// Entries of the cache.
const MAX_ENTRIES: usize = 512;

/// NSS, asked on another thread, because a directory service may be slow.
#[derive(Debug)]
pub(crate) struct IdentityCache {
    clock: Clock,
    people: Remembered<UserId, Person>,
    accounts: Remembered<String, Account>,
}

type Remembered<K, V> = Mutex<HashMap<K, (BootTime, V)>>;

impl IdentityCache {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, people: Mutex::default(), accounts: Mutex::default() }
    }

    /// An account by uid, with its groups.
    pub(crate) async fn person(&self, uid: UserId) -> Result<Option<Person>, IdentityError> {
        self.recall(&self.people, uid, move || Nss.person(uid)).await
    }

    /// The account of a PAM item.
    pub(crate) async fn named(&self, item: &str) -> Result<Named, IdentityError> {
        if item.is_empty() {
            return Ok(Named::Unset);
        }
        let name = item.to_owned();
        let found = self.recall(&self.accounts, item.to_owned(), move || Nss.account(&name)).await?;
        Ok(found.map_or_else(|| Named::Unknown(item.to_owned()), Named::Account))
    }

    /// A group in the form of sudo(8): a name, or `#` and a gid.
    pub(crate) async fn group(&self, name: &str) -> Result<Option<GroupId>, IdentityError> {
        if let Some(number) = name.strip_prefix('#') {
            return Ok(number.parse().ok().map(GroupId));
        }
        let name = name.to_owned();
        tokio::task::spawn_blocking(move || Nss.group(&name)).await?
    }

    async fn recall<K: Hash + Eq, V: Clone + Send + 'static>(
        &self,
        remembered: &Remembered<K, V>,
        key: K,
        ask: impl FnOnce() -> Result<Option<V>, IdentityError> + Send + 'static,
    ) -> Result<Option<V>, IdentityError> {
        let now = self.clock.now().boot;
        let known = remembered.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((_, value)) = known.filter(|(since, _)| now.since(*since) < TTL) {
            return Ok(Some(value));
        }
        let found = tokio::task::spawn_blocking(ask).await??;
        if let Some(value) = &found {
            let mut known = remembered.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= MAX_ENTRIES {
                known.clear();
            }
            known.insert(key, (now, value.clone()));
        }
        Ok(found)
    }
}
