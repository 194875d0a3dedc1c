//! Sends the refusals of calls above a limit, one at a time for each user.
//!
//! dbus-daemon reads from its connections in turn, a piece of each. If each call of a flood were refused at once, the
//! refusals would fill jitd's turns, and its other messages would wait behind them: answers, and its own lookups of
//! callers. A call that is not refused yet is pending, and the bus limits the pending calls of a connection
//! (dbus-daemon(1), `max_replies_per_connection`), so late refusals slow down only the flooding user.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jit_proto::identity::UserId;
use tokio::sync::Notify;
use zbus::{Connection, Message};

use crate::host::clock::pause;

/// The interval between refusals for one user. A script that calls a little too often does not notice.
const INTERVAL: Duration = Duration::from_millis(4);
/// Waiting refusals of one user; further ones are dropped, and their callers time out.
const MAX_OF_ONE: usize = 64;
/// Users with waiting refusals.
const MAX_USERS: usize = 64;

/// The waiting refusals.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// By user; `None` while the user is not known.
    waiting: Mutex<BTreeMap<Option<UserId>, VecDeque<Message>>>,
    added: Notify,
}

impl Refusals {
    pub(super) fn add(&self, uid: Option<UserId>, refusal: Message) {
        let mut waiting = self.waiting();
        if waiting.len() >= MAX_USERS && !waiting.contains_key(&uid) {
            return;
        }
        let own = waiting.entry(uid).or_default();
        if own.len() < MAX_OF_ONE {
            own.push_back(refusal);
            self.added.notify_one();
        }
    }

    /// Sends them until the connection ends.
    pub(super) async fn send(&self, connection: &Connection) {
        loop {
            let next = self.next_of_each();
            if next.is_empty() {
                self.added.notified().await;
                continue;
            }
            for refusal in next {
                if connection.send(&refusal).await.is_err() {
                    return;
                }
            }
            pause(INTERVAL).await;
        }
    }

    /// The oldest refusal of each user.
    pub(super) fn next_of_each(&self) -> Vec<Message> {
        let mut waiting = self.waiting();
        let next = waiting.values_mut().filter_map(VecDeque::pop_front).collect();
        waiting.retain(|_, own| !own.is_empty());
        next
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Option<UserId>, VecDeque<Message>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> Message {
        let call = Message::method_call("/", "Show").build(&()).unwrap();
        Message::error(&call.header(), "org.example.No").build(&"no").unwrap()
    }

    #[test]
    fn a_user_who_floods_delays_nobody_elses_refusal() {
        let refusals = Refusals::default();
        for _ in 0..1000 {
            refusals.add(Some(UserId(1000)), refusal());
        }
        refusals.add(Some(UserId(1001)), refusal());
        assert_eq!(refusals.next_of_each().len(), 2);
        let rounds = std::iter::from_fn(|| Some(refusals.next_of_each().len()).filter(|sent| *sent > 0));
        assert_eq!(rounds.collect::<Vec<_>>(), vec![1; MAX_OF_ONE - 1]);
        for uid in 0..1000 {
            refusals.add(Some(UserId(uid)), refusal());
        }
        assert_eq!(refusals.next_of_each().len(), MAX_USERS);
    }
}
