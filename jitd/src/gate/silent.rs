//! Connections to the gate that have not asked yet: the time for each, the number for each user, and which one is
//! closed when there are too many.
//!
//! sudo connects with effective uid 0, whoever runs it, and its user can stop it before it asks; so the limits count by
//! the real uid of the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jit_proto::identity::UserId;
use tokio::sync::oneshot;

use crate::core::limits::Limited;
use crate::host::process;
use crate::limits::Counter;

/// The time from the connection to the whole question, which `pam_jit` sends with its next system call.
pub(super) const ASK_WITHIN: Duration = Duration::from_millis(500);
/// Silent connections of one real uid; root has more.
const MAX_OF_ONE: usize = 32;
const MAX_OF_ROOT: usize = 128;
/// Silent connections in all.
const MAX_IN_ALL: usize = 256;
/// Real uids are looked up only above this number: for an ordinary call the lookup would be wasted time.
const LOOKUP_ABOVE: usize = 16;

/// The silent connections.
#[derive(Debug, Clone)]
pub(super) struct Silent {
    shared: Arc<Mutex<Table>>,
    counter: Counter,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// The oldest first.
    connections: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    id: u64,
    pid: u32,
    /// The real uid, once it was looked up; `None` inside if the process has exited.
    uid: Option<Option<UserId>>,
    /// Dropped to close the connection.
    _end: oneshot::Sender<()>,
}

/// A silent connection; it is forgotten when this is dropped.
#[derive(Debug)]
pub(super) struct OneSilent {
    id: u64,
    pid: u32,
    of: Silent,
    /// Completes when the connection has to be closed.
    ended: oneshot::Receiver<()>,
}

impl Silent {
    pub(super) fn new(counter: Counter) -> Self {
        Self { shared: Arc::default(), counter }
    }

    /// Adds a connection; others may have to be closed for it.
    pub(super) fn begin(&self, pid: u32) -> OneSilent {
        let (end, ended) = oneshot::channel();
        let mut table = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let id = table.next;
        table.next += 1;
        table.connections.push(Connection { id, pid, uid: None, _end: end });
        for gone in table.make_room(real_uid) {
            self.counter.count(gone, Limited::Gate);
        }
        OneSilent { id, pid, of: self.clone(), ended }
    }

    fn forget(&self, id: u64) {
        let mut table = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        table.connections.retain(|connection| connection.id != id);
    }
}

impl Table {
    /// Closes the oldest connections of users with too many; returns the users.
    fn make_room(&mut self, look_up: impl Fn(u32) -> Option<UserId>) -> Vec<Option<UserId>> {
        let mut gone = Vec::new();
        if self.connections.len() <= LOOKUP_ABOVE {
            return gone;
        }
        for connection in &mut self.connections {
            connection.uid.get_or_insert_with(|| look_up(connection.pid));
        }
        let Some(newest) = self.connections.last().map(Connection::whose) else { return gone };
        let max = if newest == Some(UserId::ROOT) { MAX_OF_ROOT } else { MAX_OF_ONE };
        let own = self.connections.iter().filter(|connection| connection.whose() == newest).count();
        if own > max {
            gone.extend(self.end_oldest_of(newest));
        } else if self.connections.len() > MAX_IN_ALL {
            gone.extend(self.end_oldest_of(self.has_most()));
        }
        gone
    }

    fn end_oldest_of(&mut self, uid: Option<UserId>) -> Option<Option<UserId>> {
        let oldest = self.connections.iter().position(|connection| connection.whose() == uid)?;
        Some(self.connections.remove(oldest).whose())
    }

    fn has_most(&self) -> Option<UserId> {
        let mut counts: BTreeMap<Option<UserId>, usize> = BTreeMap::new();
        self.connections.iter().for_each(|connection| *counts.entry(connection.whose()).or_default() += 1);
        counts.into_iter().max_by_key(|(_, count)| *count).and_then(|(uid, _)| uid)
    }
}

impl Connection {
    fn whose(&self) -> Option<UserId> {
        self.uid.flatten()
    }
}

impl OneSilent {
    /// Awaits the question within its time; `None` on a timeout, or if the connection had to make room.
    pub(super) async fn until<T>(mut self, question: impl Future<Output = T>) -> Option<T> {
        let outcome = tokio::time::timeout(ASK_WITHIN, async {
            tokio::select! {
                biased;
                asked = question => Some(asked),
                _ = &mut self.ended => None,
            }
        })
        .await;
        match outcome {
            Ok(asked) => asked,
            Err(_) => {
                self.of.counter.count(real_uid(self.pid), Limited::Gate);
                None
            }
        }
    }
}

impl Drop for OneSilent {
    fn drop(&mut self) {
        self.of.forget(self.id);
    }
}

/// The real uid of a process; `None` if it has exited.
fn real_uid(pid: u32) -> Option<UserId> {
    process::real_uid(pid).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn add(table: &mut Table, uid: u32) -> Vec<Option<UserId>> {
        let (end, _) = oneshot::channel();
        table.next += 1;
        // In this test the pid stands for the uid.
        table.connections.push(Connection { id: table.next, pid: uid, uid: None, _end: end });
        table.make_room(|pid| Some(UserId(pid)))
    }

    #[test]
    fn one_user_with_many_loses_the_oldest_of_their_own() {
        let mut table = Table::default();
        assert!(add(&mut table, 1).is_empty());
        for _ in 0..MAX_OF_ONE {
            assert!(add(&mut table, 1000).is_empty());
        }
        let first = table.connections[1].id;
        assert_eq!(add(&mut table, 1000), [Some(UserId(1000))]);
        assert!(table.connections.iter().all(|connection| connection.id != first));
        assert_eq!(table.connections[0].pid, 1);
    }

    proptest! {
        #[test]
        fn no_more_are_kept_than_may_be_and_somebody_with_one_keeps_it(
            users in prop::collection::vec(1000u32..1040, 0..600),
        ) {
            let mut table = Table::default();
            add(&mut table, 1);
            for uid in users {
                add(&mut table, uid);
                prop_assert!(table.connections.len() <= MAX_IN_ALL);
                let own = table.connections.iter().filter(|connection| connection.pid == uid).count();
                prop_assert!(own <= MAX_OF_ONE);
                prop_assert_eq!(table.connections[0].pid, 1);
            }
        }
    }
}
