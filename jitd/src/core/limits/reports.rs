//! Reports of limits that were reached: one record per user and kind in a quarter of an hour, with the number of
//! refusals, so that a flood does not cause a flood of records.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jit_proto::identity::UserId;
use jit_proto::time::BootTime;

/// The interval between two records for one user and kind.
const REPEAT_AFTER: Duration = Duration::from_secs(15 * 60);
/// Further users are reported together, as the host's own.
const MAX_USERS: usize = 256;

/// What was limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limited {
    /// Calls on the system bus.
    Bus,
    /// Messages that ask for no answer; they were dropped.
    BusWithoutReply,
    /// Calls on the operators' socket, or connections to it.
    Operators,
    /// Silent connections to the gate's socket.
    Gate,
    /// Questions of polkit's rule.
    Polkit,
    /// Single records of refusals.
    Record,
    /// Records of calls that passed because jitd observes.
    Observed,
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bus => "calls on the system bus were refused",
            Self::BusWithoutReply => "messages on the system bus that ask for no answer were dropped",
            Self::Operators => "connections or calls on the operators' socket were refused",
            Self::Gate => "connections to the gate that asked nothing were dropped",
            Self::Polkit => "questions of polkit were refused unseen",
            Self::Record => "refusals were not recorded one by one",
            Self::Observed => "observed calls were not recorded one by one",
        })
    }
}

/// A count that is reported now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The user; `None` where it is not known, or too many are counted.
    pub uid: Option<UserId>,
    /// The login name; empty where it is not known.
    pub name: String,
    /// What was limited.
    pub limited: Limited,
    /// Number of refusals since the last report; at least 1.
    pub count: u64,
}

/// Counts that are not reported yet, and the times of the last reports.
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
    /// Counts refusals.
    pub fn count(&mut self, uid: Option<UserId>, name: &str, limited: Limited, count: u64) {
        let known = self.counts.contains_key(&(uid, limited));
        let uid = uid.filter(|_| known || self.counts.len() < MAX_USERS);
        let name = if uid.is_some() { name } else { "" };
        let new = || Counted { name: name.to_owned(), held_back: 0, told: None };
        let counted = self.counts.entry((uid, limited)).or_insert_with(new);
        counted.held_back = counted.held_back.saturating_add(count);
    }

    /// Takes the counts that are due.
    #[must_use]
    pub fn take_due(&mut self, now: BootTime) -> Vec<Due> {
        self.take(|counted| due_at(counted).is_some_and(|at| now >= at.unwrap_or(now)), now)
    }

    /// Takes every count, due or not, when jitd stops.
    #[must_use]
    pub fn take_all(&mut self, now: BootTime) -> Vec<Due> {
        self.take(|counted| counted.held_back > 0, now)
    }

    /// The time when the next count is due.
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

/// When a count is due: `None` if it is empty, `Some(None)` if at once.
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
