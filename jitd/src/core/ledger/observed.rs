//! Remembers the last calls that passed because jitd observes, so that the two stages of a call count once.

use std::collections::{BTreeMap, VecDeque};

use jit_proto::identity::UserId;

use super::MainProcess;
use crate::core::people::Person;

/// So many calls of one user are remembered: more than are between their two stages at once.
const MAX_CALLS: usize = 64;
/// So many users; one more makes all others' calls be forgotten, which then count anew in their session stage.
const MAX_USERS: usize = 1024;

/// A call that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedCall {
    /// The process that asked.
    pub main: MainProcess,
    /// Who asked.
    pub person: Person,
    /// It passed the account stage, and so has no session.
    pub entered: bool,
    /// It is recorded by itself, and not only counted.
    pub recorded: bool,
    /// Its target is recorded, or does not have to be.
    pub target_recorded: bool,
}

/// The last of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedCalls(BTreeMap<UserId, VecDeque<ObservedCall>>);

impl ObservedCalls {
    /// Remembers a call in place of what was known of the process.
    pub fn remember(&mut self, call: ObservedCall) {
        let uid = call.person.account.uid;
        if self.0.len() >= MAX_USERS && !self.0.contains_key(&uid) {
            self.0.clear();
        }
        let calls = self.0.entry(uid).or_default();
        calls.retain(|known| known.main != call.main);
        if calls.len() >= MAX_CALLS {
            calls.pop_front();
        }
        calls.push_back(call);
    }

    /// The call of this process, if it is one of these users'.
    #[must_use]
    pub fn find(&self, uids: &[UserId], main: MainProcess) -> Option<&ObservedCall> {
        uids.iter().find_map(|uid| self.0.get(uid)?.iter().find(|call| call.main == main))
    }

    /// Forgets the call of this process: it asks anew.
    pub fn forget(&mut self, uid: UserId, main: MainProcess) {
        if let Some(calls) = self.0.get_mut(&uid) {
            calls.retain(|call| call.main != main);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::core::people::Account;

    fn call(uid: u32, pid: u32) -> ObservedCall {
        let account = Account { uid: UserId(uid), name: String::new() };
        ObservedCall {
            main: MainProcess { pid, start: 7 },
            person: Person { account, groups: BTreeSet::new(), locked: false },
            entered: true,
            recorded: true,
            target_recorded: false,
        }
    }

    #[test]
    fn a_call_is_found_by_process_and_user_and_one_user_pushes_out_no_others() {
        let mut calls = ObservedCalls::default();
        calls.remember(call(1000, 1));
        for pid in 2..500 {
            calls.remember(call(1001, pid));
        }
        let found = |calls: &ObservedCalls, uid, pid, start| {
            calls.find(&[UserId(0), UserId(uid)], MainProcess { pid, start }).is_some()
        };
        assert!(found(&calls, 1000, 1, 7) && found(&calls, 1001, 499, 7));
        assert!(!found(&calls, 1000, 1, 8), "the pid is another process's now");
        assert!(!found(&calls, 1001, 2, 7) && !found(&calls, 1002, 1, 7));
        calls.forget(UserId(1000), MainProcess { pid: 1, start: 7 });
        assert!(!found(&calls, 1000, 1, 7));
        for uid in 2000..4000 {
            calls.remember(call(uid, uid));
        }
        assert!(calls.0.len() <= MAX_USERS && calls.0.values().all(|calls| calls.len() <= MAX_CALLS));
    }
}
