//! Who has reached a limit, and when that is told: one record for a user and a door in a quarter of an hour, with the
//! number of what was held back, so that the telling of a flood is no flood.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jit_proto::identity::UserId;
use jit_proto::time::BootTime;

/// One record for one user and door in this time.
const REPEAT_AFTER: Duration = Duration::from_secs(15 * 60);
/// More users are told of together, as the host's own.
const MAX_USERS: usize = 256;

/// Where a limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limited {
    /// Calls on the system bus.
    Bus,
    /// Calls that asked for no answer; nothing was done for them.
    BusWithoutReply,
    /// Calls on the operators' socket, or connections to it.
    Operators,
    /// Connections to the gate's socket.
    Gate,
    /// Records of refusals.
    Record,
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bus => "calls on the system bus were refused",
            Self::BusWithoutReply => "messages on the system bus that ask for no answer were dropped",
            Self::Operators => "connections or calls on the operators' socket were refused",
            Self::Gate => "connections to the gate that asked nothing were dropped",
            Self::Record => "refusals were not recorded one by one",
        })
    }
}

/// What is to be told now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Who; `None` where it is not known, or too many.
    pub uid: Option<UserId>,
    /// The login name; empty where it is not known.
    pub name: String,
    /// Where.
    pub limited: Limited,
    /// How many since the last time that it was told; at least 1.
    pub count: u64,
}

/// What has been counted and not told, and when it was told last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reports {
    counts: BTreeMap<(Option<UserId>, Limited), Counted>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Counted {
    name: String,
    held_back: u64,
    told: Option<BootTime>,
}

impl Reports {
    /// Counts what was refused or dropped.
    pub fn count(&mut self, uid: Option<UserId>, name: &str, limited: Limited, count: u64) {
        let known = self.counts.contains_key(&(uid, limited));
        let uid = uid.filter(|_| known || self.counts.len() < MAX_USERS);
        let name = if uid.is_some() { name } else { "" };
        let new = || Counted { name: name.to_owned(), held_back: 0, told: None };
        let counted = self.counts.entry((uid, limited)).or_insert_with(new);
        counted.held_back = counted.held_back.saturating_add(count);
    }

    /// Takes what is to be told at this time.
    #[must_use]
    pub fn take_due(&mut self, now: BootTime) -> Vec<Due> {
        self.take(|counted| due_at(counted).is_some_and(|at| now >= at.unwrap_or(now)), now)
    }

    /// Takes everything that has not been told, whenever it was told last: the daemon is about to end.
    #[must_use]
    pub fn take_all(&mut self, now: BootTime) -> Vec<Due> {
        self.take(|counted| counted.held_back > 0, now)
    }

    /// When something is to be told next.
    #[must_use]
    pub fn next_moment(&self, now: BootTime) -> Option<BootTime> {
        self.counts.values().filter_map(|counted| Some(due_at(counted)?.unwrap_or(now))).min()
    }

    fn take(&mut self, is_due: impl Fn(&Counted) -> bool, now: BootTime) -> Vec<Due> {
        let mut due = Vec::new();
        for ((uid, limited), counted) in &mut self.counts {
            if is_due(counted) {
                let name = counted.name.clone();
                due.push(Due { uid: *uid, name, limited: *limited, count: counted.held_back });
                (counted.held_back, counted.told) = (0, Some(now));
            }
        }
        self.counts.retain(|_, counted| {
            counted.held_back > 0 || counted.told.is_some_and(|told| now.since(told) < REPEAT_AFTER)
        });
        due
    }
}

/// When a count is to be told: `None` if there is nothing to tell, `Some(None)` if at once.
fn due_at(counted: &Counted) -> Option<Option<BootTime>> {
    (counted.held_back > 0).then(|| counted.told.map(|told| told.after(REPEAT_AFTER)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> BootTime {
        BootTime(seconds * 1_000_000)
    }

    #[test]
    fn the_first_is_told_at_once_and_the_next_a_quarter_of_an_hour_later_with_its_number() {
        let mut reports = Reports::default();
        let (alice, limited) = (Some(UserId(1000)), Limited::Bus);
        let due = |count| Due { uid: alice, name: "alice".to_owned(), limited, count };
        reports.count(alice, "alice", limited, 1);
        assert_eq!(reports.next_moment(at(5)), Some(at(5)));
        assert_eq!(reports.take_due(at(5)), [due(1)]);
        reports.count(alice, "alice", limited, 40);
        reports.count(alice, "alice", limited, 2);
        assert_eq!(reports.take_due(at(6)), []);
        assert_eq!(reports.next_moment(at(6)), Some(at(905)));
        assert_eq!(reports.take_due(at(905)), [due(42)]);
        assert_eq!(reports.next_moment(at(905)), None);
    }

    #[test]
    fn what_has_not_been_told_is_told_at_the_end() {
        let mut reports = Reports::default();
        reports.count(None, "", Limited::Gate, 3);
        let _ = reports.take_due(at(0));
        reports.count(None, "", Limited::Gate, 4);
        assert_eq!(
            reports.take_all(at(1)),
            [Due { uid: None, name: String::new(), limited: Limited::Gate, count: 4 }]
        );
        assert_eq!(reports.take_all(at(1)), []);
    }

    proptest! {
        #[test]
        fn everything_counted_is_told_once_and_no_user_fills_the_memory(
            steps in prop::collection::vec((0u32..2_000, 1u64..50, 0u64..600), 0..500),
        ) {
            let mut reports = Reports::default();
            let (mut now, mut counted, mut told) = (0, 0, 0);
            for (uid, count, step) in steps {
                now += step;
                reports.count(Some(UserId(uid)), "", Limited::Record, count);
                counted += count;
                told += reports.take_due(at(now)).iter().map(|due| due.count).sum::<u64>();
                prop_assert!(reports.counts.len() <= MAX_USERS + 5);
            }
            told += reports.take_all(at(now)).iter().map(|due| due.count).sum::<u64>();
            prop_assert_eq!(told, counted);
        }
    }
}
