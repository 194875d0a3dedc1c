//! The queue of notifications for one program: bounded, urgent ones first, with retries where the program asks for
//! them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jit_proto::time::BootTime;

/// The most that wait, of urgent and of other notifications each.
const MAX_WAITING: usize = 64;
/// The most runs at once.
const MAX_RUNNING: usize = 2;
/// From each deferred try to the next one; after the last the notification is given up.
const AGAIN_AFTER: [Duration; 6] = [
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(900),
    Duration::from_secs(3600),
    Duration::from_secs(4 * 3600),
    Duration::from_secs(12 * 3600),
];

/// A notification, by the number of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting<T> {
    pub(super) seq: u64,
    pub(super) urgent: bool,
    pub(super) what: T,
    tries: usize,
    not_before: BootTime,
}

/// How a run went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The program has sent it.
    Done,
    /// The program asks to be run again later.
    Deferred(String),
    /// The program failed and is not run again.
    Failed(String),
}

/// The notifications that wait, and those whose program runs.
#[derive(Debug)]
pub(super) struct Queue<T> {
    /// Urgent ones and others, so that a flood of the one kind leaves room for the other.
    waiting: [VecDeque<Waiting<T>>; 2],
    running: BTreeMap<u64, Waiting<T>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: [VecDeque::new(), VecDeque::new()], running: BTreeMap::new() }
    }
}

impl<T: Clone> Queue<T> {
    /// Adds a notification; returns the number of the one that was dropped for it, the oldest of its kind.
    pub(super) fn push(&mut self, seq: u64, urgent: bool, what: T) -> Option<u64> {
        let waiting = &mut self.waiting[usize::from(!urgent)];
        let given_up = if waiting.len() >= MAX_WAITING { waiting.pop_front() } else { None };
        waiting.push_back(Waiting { seq, urgent, what, tries: 0, not_before: BootTime(0) });
        given_up.map(|gone| gone.seq)
    }

    /// Takes the next notification that is due, if another run may begin.
    pub(super) fn next(&mut self, now: BootTime) -> Option<Waiting<T>> {
        if self.running.len() >= MAX_RUNNING {
            return None;
        }
        for waiting in &mut self.waiting {
            let due = waiting.iter().position(|it| it.not_before <= now);
            if let Some(it) = due.and_then(|at| waiting.remove(at)) {
                self.running.insert(it.seq, it.clone());
                return Some(it);
            }
        }
        None
    }

    /// Takes the outcome of a run. Returns why it failed, if it is not tried again.
    pub(super) fn ended(&mut self, seq: u64, outcome: Outcome, now: BootTime) -> Option<String> {
        let mut it = self.running.remove(&seq)?;
        match outcome {
            Outcome::Done => None,
            Outcome::Failed(why) => Some(why),
            Outcome::Deferred(why) => {
                let Some(after) = AGAIN_AFTER.get(it.tries) else {
                    return Some(format!("{why}; given up after {} tries", it.tries + 1));
                };
                it.tries += 1;
                it.not_before = now.after(*after);
                let waiting = &mut self.waiting[usize::from(!it.urgent)];
                if waiting.len() >= MAX_WAITING {
                    return Some(format!("{why}; given up, because {MAX_WAITING} others wait"));
                }
                waiting.push_back(it);
                None
            }
        }
    }

    /// When the next one is due; `None` if none waits or no other run may begin.
    pub(super) fn due(&self) -> Option<BootTime> {
        let room = self.running.len() < MAX_RUNNING;
        self.waiting.iter().flatten().map(|it| it.not_before).min().filter(|_| room)
    }

    /// The oldest notification that waits or runs.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.waiting.iter().flatten().map(|it| it.seq).chain(self.running.keys().copied()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: BootTime = BootTime(0);

    #[test]
    fn a_flood_of_requests_hides_no_alert() {
        let mut queue = Queue::default();
        assert_eq!(queue.push(1, true, ()), None);
        let gone: Vec<u64> = (2..200).filter_map(|seq| queue.push(seq, false, ())).collect();
        assert_eq!(gone.len(), 198 - MAX_WAITING, "{gone:?}");
        assert_eq!(queue.oldest(), Some(1));
        assert_eq!(queue.next(NOW).map(|it| it.seq), Some(1));
    }

    #[test]
    fn a_few_run_at_once_and_each_ends() {
        let mut queue = Queue::default();
        for seq in 1..=5 {
            assert_eq!(queue.push(seq, true, ()), None);
        }
        assert_eq!((queue.next(NOW).map(|it| it.seq), queue.next(NOW).map(|it| it.seq)), (Some(1), Some(2)));
        assert_eq!(queue.next(NOW), None);
        assert_eq!(queue.due(), None);
        assert_eq!(queue.ended(2, Outcome::Failed("no".into()), NOW), Some("no".into()));
        assert_eq!(queue.next(NOW).map(|it| it.seq), Some(3));
        assert_eq!(queue.oldest(), Some(1), "it runs, and may come to nothing");
        assert_eq!(queue.ended(1, Outcome::Done, NOW), None);
        assert_eq!(queue.oldest(), Some(3));
    }

    #[test]
    fn what_is_to_be_tried_again_is_until_it_is_given_up() {
        let mut queue = Queue::default();
        queue.push(1, true, ());
        let mut now = NOW;
        for after in AGAIN_AFTER {
            assert!(queue.next(now).is_some());
            assert_eq!(queue.ended(1, Outcome::Deferred("away".into()), now), None);
            assert_eq!(queue.next(now), None, "not yet");
            now = now.after(after);
            assert_eq!(queue.due(), Some(now));
        }
        assert!(queue.next(now).is_some());
        let why = queue.ended(1, Outcome::Deferred("away".into()), now).unwrap();
        assert_eq!(why, "away; given up after 7 tries");
        assert_eq!(queue.oldest(), None);
    }
}
