//! Limits for work that a local user can cause: a number of calls in flight for each user, and one for all. Further
//! calls are refused at once. Refusals are counted, and the counts are recorded at a limited rate.

mod allowance;

mod reports;

use std::collections::{BTreeMap, VecDeque};

use jit_proto::identity::UserId;
use jit_proto::time::BootTime;

pub use allowance::{Allowance, Allowances, Rate};
pub use reports::{Due, Limited, Reports};

/// The limits of an entry point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Calls of one user in progress.
    pub in_flight: usize,
    /// Calls of all users in progress, without root's.
    pub in_flight_in_all: usize,
    /// Calls of one user that wait.
    pub waiting: usize,
    /// Calls of all users that wait, without root's.
    pub waiting_in_all: usize,
    /// Calls of root in progress, in addition. `waiting` holds for root as well.
    pub for_root: usize,
    /// The rate of calls of a user other than root.
    pub rate: Rate,
}

/// The result of [`Limiter::arrive`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission<T> {
    /// The call begins now. [`Limiter::done`] is called at its end.
    Begin(T),
    /// [`Limiter::next_waiting`] returns it later.
    Waits,
    /// The call is refused.
    Refused(T, Over),
}

/// The limit that a refused call exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The user has too many calls in flight and waiting.
    User,
    /// All users together have too many calls in flight and waiting.
    All,
    /// The user calls too often.
    Rate,
}

impl Over {
    /// A clause for the caller, without a full stop.
    #[must_use]
    pub fn clause(self) -> &'static str {
        match self {
            Self::User => "you have too many calls in progress at once",
            Self::All => "too many calls of other users are in progress",
            Self::Rate => "you call too often",
        }
    }
}

/// Calls in progress and waiting, by user; users take turns.
#[derive(Debug)]
pub struct Limiter<T> {
    bounds: Bounds,
    users: BTreeMap<UserId, User<T>>,
    /// Users with waiting calls, the next one first.
    turns: VecDeque<UserId>,
    in_flight: usize,
    waiting: usize,
}

#[derive(Debug)]
struct User<T> {
    in_flight: usize,
    waiting: VecDeque<T>,
    allowance: Allowance,
}

impl<T> Limiter<T> {
    /// A limiter without calls.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, users: BTreeMap::new(), turns: VecDeque::new(), in_flight: 0, waiting: 0 }
    }

    /// Adds a call.
    pub fn arrive(&mut self, uid: UserId, call: T, now: BootTime) -> Admission<T> {
        let Bounds { waiting, waiting_in_all, rate, .. } = self.bounds;
        let no_room_in_all = !uid.is_root() && self.waiting >= waiting_in_all;
        let may_begin = self.may_begin(uid);
        let user = self.users.entry(uid).or_insert_with(|| User {
            in_flight: 0,
            waiting: VecDeque::new(),
            allowance: Allowance::full(rate, now),
        });
        if !uid.is_root() && !user.allowance.take(rate, now) {
            return Admission::Refused(call, Over::Rate);
        }
        if user.waiting.is_empty() && may_begin {
            user.in_flight += 1;
            self.in_flight += usize::from(!uid.is_root());
            return Admission::Begin(call);
        }
        if user.waiting.len() >= waiting {
            return Admission::Refused(call, Over::User);
        }
        if no_room_in_all {
            return Admission::Refused(call, Over::All);
        }
        if user.waiting.is_empty() {
            self.turns.push_back(uid);
        }
        user.waiting.push_back(call);
        self.waiting += usize::from(!uid.is_root());
        Admission::Waits
    }

    /// The next call that may begin. Users take turns, however many calls each has waiting.
    #[must_use]
    pub fn next_waiting(&mut self) -> Option<(UserId, T)> {
        let index = (0..self.turns.len()).find(|index| self.may_begin(self.turns[*index]))?;
        let uid = self.turns.remove(index)?;
        let user = self.users.get_mut(&uid)?;
        let call = user.waiting.pop_front()?;
        user.in_flight += 1;
        self.in_flight += usize::from(!uid.is_root());
        self.waiting -= usize::from(!uid.is_root());
        if !user.waiting.is_empty() {
            self.turns.push_back(uid);
        }
        Some((uid, call))
    }

    /// Ends a call that had begun.
    pub fn done(&mut self, uid: UserId, now: BootTime) {
        let rate = self.bounds.rate;
        let Some(user) = self.users.get_mut(&uid).filter(|user| user.in_flight > 0) else { return };
        user.in_flight -= 1;
        self.in_flight -= usize::from(!uid.is_root());
        if user.in_flight == 0 && user.waiting.is_empty() && user.allowance.is_full(rate, now) {
            self.users.remove(&uid);
        }
    }

    /// Charges a user for a call that cost as much as this many more.
    pub fn charge(&mut self, uid: UserId, count: u32, now: BootTime) {
        let rate = self.bounds.rate;
        if let Some(user) = self.users.get_mut(&uid).filter(|_| !uid.is_root()) {
            user.allowance.charge(count, rate, now);
        }
    }

    /// Removes users without calls and with a full allowance; returns the number of remaining users.
    pub fn forget_idle(&mut self, now: BootTime) -> usize {
        let rate = self.bounds.rate;
        self.users.retain(|_, user| {
            user.in_flight > 0 || !user.waiting.is_empty() || !user.allowance.is_full(rate, now)
        });
        self.users.len()
    }

    /// Calls in progress, of all users.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.users.values().map(|user| user.in_flight).sum()
    }

    fn may_begin(&self, uid: UserId) -> bool {
        let own = self.users.get(&uid).map_or(0, |user| user.in_flight);
        if uid.is_root() {
            own < self.bounds.for_root
        } else {
            own < self.bounds.in_flight && self.in_flight < self.bounds.in_flight_in_all
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds {
        in_flight: 2,
        in_flight_in_all: 5,
        waiting: 3,
        waiting_in_all: 7,
        for_root: 2,
        rate: Rate { burst: 1_000, per_minute: 60 },
    };

    fn at(seconds: u64) -> BootTime {
        BootTime(seconds * 1_000_000)
    }

    #[test]
    fn a_user_above_the_bound_waits_and_then_is_refused() {
        let mut limiter = Limiter::new(BOUNDS);
        let alice = UserId(1000);
        assert_eq!(limiter.arrive(alice, 1, at(0)), Admission::Begin(1));
        assert_eq!(limiter.arrive(alice, 2, at(0)), Admission::Begin(2));
        for call in 3..=5 {
            assert_eq!(limiter.arrive(alice, call, at(0)), Admission::Waits);
        }
        assert_eq!(limiter.arrive(alice, 6, at(0)), Admission::Refused(6, Over::User));
        assert_eq!(limiter.next_waiting(), None);
        limiter.done(alice, at(0));
        assert_eq!(limiter.next_waiting(), Some((alice, 3)));
        assert_eq!(limiter.next_waiting(), None);
    }

    #[test]
    fn one_user_with_all_that_waits_does_not_keep_another_from_the_next_turn() {
        let mut limiter = Limiter::new(BOUNDS);
        let (alice, bob) = (UserId(1000), UserId(1001));
        for call in 0..5 {
            let _ = limiter.arrive(alice, call, at(0));
        }
        assert_eq!(limiter.arrive(bob, 100, at(0)), Admission::Begin(100));
        assert_eq!(limiter.arrive(bob, 101, at(0)), Admission::Begin(101));
        assert_eq!(limiter.arrive(bob, 102, at(0)), Admission::Waits);
        limiter.done(bob, at(0));
        assert_eq!(limiter.next_waiting(), Some((bob, 102)));
    }

    #[test]
    fn root_has_places_of_its_own_while_users_fill_all_others() {
        let mut limiter = Limiter::new(BOUNDS);
        for uid in 1000..1010 {
            for call in 0..10 {
                let _ = limiter.arrive(UserId(uid), call, at(0));
            }
        }
        assert_eq!(limiter.arrive(UserId::ROOT, 1, at(0)), Admission::Begin(1));
    }

    #[test]
    fn somebody_who_calls_too_often_is_refused_until_time_has_passed() {
        let rate = Rate { burst: 2, per_minute: 60 };
        let mut limiter = Limiter::new(Bounds { rate, ..BOUNDS });
        let alice = UserId(1000);
        for call in 0..2 {
            assert_eq!(limiter.arrive(alice, call, at(10)), Admission::Begin(call));
            limiter.done(alice, at(10));
        }
        assert_eq!(limiter.arrive(alice, 2, at(10)), Admission::Refused(2, Over::Rate));
        assert_eq!(limiter.arrive(alice, 3, at(11)), Admission::Begin(3));
        limiter.done(alice, at(11));
        for call in 0..50 {
            assert_eq!(limiter.arrive(UserId::ROOT, call, at(11)), Admission::Begin(call));
            limiter.done(UserId::ROOT, at(11));
        }
    }

    proptest! {
        #[test]
        fn no_bound_is_ever_passed_and_nothing_that_waits_is_lost(
            steps in prop::collection::vec((0u8..4, 0u32..6), 0..400),
        ) {
            let mut limiter = Limiter::new(BOUNDS);
            let mut running: Vec<UserId> = Vec::new();
            let (mut waits, mut came) = (0usize, 0usize);
            for (n, (what, who)) in steps.into_iter().enumerate() {
                let uid = if who == 0 { UserId::ROOT } else { UserId(1000 + who) };
                match what {
                    0 | 1 => match limiter.arrive(uid, n, at(n as u64)) {
                        Admission::Begin(_) => running.push(uid),
                        Admission::Waits => waits += 1,
                        Admission::Refused(..) => {}
                    },
                    2 => if let Some((uid, _)) = limiter.next_waiting() {
                        came += 1;
                        running.push(uid);
                    },
                    _ => if let Some(index) = running.iter().position(|other| *other == uid) {
                        running.remove(index);
                        limiter.done(uid, at(n as u64));
                    },
                }
                let of = |uid: UserId| running.iter().filter(|other| **other == uid).count();
                let others = running.iter().filter(|uid| !uid.is_root()).count();
                prop_assert!(others <= BOUNDS.in_flight_in_all);
                prop_assert!(of(UserId::ROOT) <= BOUNDS.for_root);
                prop_assert!((1001..1006).all(|uid| of(UserId(uid)) <= BOUNDS.in_flight));
                prop_assert_eq!(limiter.in_flight(), running.len());
            }
            for uid in running.drain(..) {
                limiter.done(uid, at(10_000));
            }
            while let Some((uid, _)) = limiter.next_waiting() {
                came += 1;
                limiter.done(uid, at(10_000));
            }
            prop_assert_eq!(came, waits);
            prop_assert_eq!(limiter.forget_idle(at(100_000)), 0);
        }
    }
}
