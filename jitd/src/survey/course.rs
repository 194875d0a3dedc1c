//! When to survey, what to compare with, and whose doing a difference may be: decided here, performed elsewhere.
//!
//! A survey costs more than a call of sudo. So one is made for many: a little after the last session has ended, or a
//! while after the first end where they keep coming, and the longer after the one before, the more that one cost. When
//! the first session of a quiet time begins, the baseline is taken anew, so that what changed meanwhile is not laid at
//! that session's door.

use std::collections::BTreeMap;
use std::time::Duration;

use jit_proto::identity::{GrantId, SessionId};
use jit_proto::moment::{BootTime, WallTime};
use serde::{Deserialize, Serialize};

use super::snapshot::{Finding, Snapshot, adopted, diff, rebased};
use crate::core::event::Held;
use crate::core::ledger::Session;
use crate::core::time::Now;

/// After the last session has ended: programs that end a little later than their session still count.
const SETTLE: Duration = Duration::from_secs(2);
/// Sessions that keep coming do not put a survey off for longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Between two looks lies this many times what the first one took. With a baseline before each of them, surveys take
/// at most a twenty-fifth of one processor.
const SHARE: u32 = 50;
/// A survey that failed is made again after this.
const RETRY: Duration = Duration::from_secs(60);
/// The kernel stamps inodes with a clock that is behind by up to a tick (at most 10 ms).
const CLOCK_TICK: Duration = Duration::from_millis(50);
/// Clocks that have drifted apart by more than this since a session began: the wall clock was set.
const CLOCK_DRIFT: Duration = Duration::from_millis(500);

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Do {
    /// Look at the places.
    Walk,
    /// Write down whose sessions are still to be surveyed.
    KeepOpen,
    /// Write down what the next survey is compared with.
    KeepBaseline,
    /// Hand findings to the record of these grants.
    Tell(Vec<Held>, Vec<Finding>),
    /// Log what changed while nobody had a session.
    Log(Vec<Finding>),
}

/// Grants that had sessions open since the last survey; kept over a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    /// When the first of these sessions began.
    began: Option<Began>,
    /// Whose.
    held: BTreeMap<GrantId, Held>,
}

/// A moment on both clocks; that they run apart shows that one was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Began {
    wall: WallTime,
    boot: BootTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To have something to compare with.
    Baseline,
    /// To find what was left behind.
    Look,
}

/// The state between surveys.
#[derive(Debug)]
pub(super) struct Course {
    baseline: Option<Snapshot>,
    /// When it was taken; `None` for one of an earlier daemon.
    taken: Option<BootTime>,
    open: Open,
    /// Sessions that are open now.
    sessions: BTreeMap<SessionId, Held>,
    first_end: Option<BootTime>,
    last_end: Option<BootTime>,
    wants_baseline: bool,
    /// A session began during the baseline: another one is taken, also when that session has ended meanwhile. What it may
    /// have changed is kept out of it.
    overtaken: bool,
    walking: Option<(Purpose, Began)>,
    /// A survey whose findings are on their way into the record.
    told: Option<Snapshot>,
    /// Grants whose sessions began or ended after the survey began: they are in the next one too.
    since_walk: BTreeMap<GrantId, Held>,
    /// Grants had sessions open and the baseline is gone.
    lost: bool,
    /// The next look.
    not_before: BootTime,
    /// The next survey of any kind, after one that failed.
    retry: BootTime,
}

impl Course {
    /// Goes on from what an earlier daemon kept.
    pub(super) fn new(baseline: Option<Snapshot>, open: Open, now: &Now) -> Self {
        let lost = baseline.is_none() && !open.held.is_empty();
        let first_end = (!open.held.is_empty()).then_some(now.boot);
        Self {
            baseline,
            taken: None,
            open,
            sessions: BTreeMap::new(),
            first_end,
            last_end: first_end,
            wants_baseline: true,
            overtaken: false,
            walking: None,
            told: None,
            since_walk: BTreeMap::new(),
            lost,
            not_before: BootTime(0),
            retry: BootTime(0),
        }
    }

    /// What is compared with.
    pub(super) fn baseline(&self) -> Option<&Snapshot> {
        self.baseline.as_ref()
    }

    /// What has to be kept over a restart.
    pub(super) fn open(&self) -> &Open {
        &self.open
    }

    /// A session was open when the daemon started: what it did meanwhile is looked at now.
    pub(super) fn found(&mut self, session: &Session, now: &Now) -> Vec<Do> {
        self.lost = self.baseline.is_none();
        self.first_end = Some(now.boot);
        self.last_end = Some(now.boot);
        self.opened(session)
    }

    /// A session has begun.
    pub(super) fn opened(&mut self, session: &Session) -> Vec<Do> {
        let held = Held { grant: session.grant, role: session.role.clone(), holder: session.holder.clone() };
        if self.open.held.is_empty() {
            match self.walking {
                None if self.told.is_none() => self.wants_baseline = true,
                // It may have looked already at what has changed since, before this session.
                Some((Purpose::Baseline, _)) => self.overtaken = true,
                _ => {}
            }
        }
        if self.walking.is_some() || self.told.is_some() {
            self.since_walk.insert(held.grant, held.clone());
        }
        let began = Began { wall: session.started_at, boot: session.started };
        self.open.began.get_or_insert(began);
        let known = self.open.held.insert(held.grant, held.clone()).is_some();
        self.sessions.insert(session.id, held);
        if known { Vec::new() } else { vec![Do::KeepOpen] }
    }

    /// Nothing is left of a session.
    pub(super) fn gone(&mut self, session: SessionId, now: &Now) {
        if let Some(held) = self.sessions.remove(&session) {
            if self.walking.is_some() || self.told.is_some() {
                self.since_walk.insert(held.grant, held);
            }
            self.first_end.get_or_insert(now.boot);
            self.last_end = Some(now.boot);
        }
    }

    /// When the next survey is due; `None` while one is under way, and where there is no reason for one.
    pub(super) fn due(&self) -> Option<BootTime> {
        if self.walking.is_some() || self.told.is_some() {
            return None;
        }
        if self.takes_baseline() {
            return Some(self.retry);
        }
        let (first, last) = (self.first_end?, self.last_end?);
        let at_the_latest = first.after(LONGEST_WAIT);
        let quiet =
            if self.sessions.is_empty() { last.after(SETTLE).min(at_the_latest) } else { at_the_latest };
        // What was open when the daemon started is looked at as soon as it is up.
        let quiet = if self.taken.is_none() { first } else { quiet };
        Some(quiet.max(self.not_before).max(self.retry))
    }

    /// Whether the next survey is a baseline.
    fn takes_baseline(&self) -> bool {
        self.baseline.is_none() || self.overtaken || self.wants_baseline && self.first_end.is_none()
    }

    /// Begins a survey if one is due.
    pub(super) fn tick(&mut self, now: &Now) -> Vec<Do> {
        if self.due().is_none_or(|due| due > now.boot) {
            return Vec::new();
        }
        let purpose = if self.takes_baseline() { Purpose::Baseline } else { Purpose::Look };
        if purpose == Purpose::Look {
            self.first_end = None;
            self.last_end = None;
        }
        self.wants_baseline = false;
        self.overtaken = false;
        self.walking = Some((purpose, Began { wall: now.wall, boot: now.boot }));
        vec![Do::Walk]
    }

    /// A survey has come back.
    pub(super) fn walked(&mut self, snapshot: Snapshot, now: &Now) -> Vec<Do> {
        let Some((purpose, began)) = self.walking else { return Vec::new() };
        self.not_before = now.boot.after(now.boot.since(began.boot).saturating_mul(SHARE));
        match purpose {
            Purpose::Baseline => self.compare_with(snapshot, began, now),
            Purpose::Look => {
                self.adopt(&snapshot);
                let findings =
                    self.baseline.as_ref().map(|before| diff(before, &snapshot)).unwrap_or_default();
                if findings.is_empty() {
                    return self.settle(snapshot);
                }
                if self.open.held.is_empty() {
                    let mut todo = vec![Do::Log(findings)];
                    todo.extend(self.settle(snapshot));
                    return todo;
                }
                self.told = Some(snapshot);
                vec![Do::Tell(self.open.held.values().cloned().collect(), findings)]
            }
        }
    }

    /// A survey came to nothing; it is made again.
    pub(super) fn failed(&mut self, now: &Now) {
        self.retry = now.boot.after(RETRY);
        match self.walking.take() {
            Some((Purpose::Look, _)) => {
                self.first_end = Some(now.boot);
                self.last_end = Some(now.boot);
            }
            Some((Purpose::Baseline, _)) => self.wants_baseline = true,
            None => {}
        }
    }

    /// Other paths are to be walked: what is compared with has to know them too.
    pub(super) fn paths_changed(&mut self) {
        self.wants_baseline = true;
    }

    /// Since when a survey has been under way.
    pub(super) fn walking_since(&self) -> Option<BootTime> {
        self.walking.filter(|_| self.told.is_none()).map(|(_, began)| began.boot)
    }

    /// The findings are in the record: only now they need not be found again.
    pub(super) fn recorded(&mut self) -> Vec<Do> {
        self.told.take().map_or_else(Vec::new, |snapshot| self.settle(snapshot))
    }

    fn compare_with(&mut self, snapshot: Snapshot, taken: Began, now: &Now) -> Vec<Do> {
        self.walking = None;
        self.since_walk.clear();
        let mut todo = Vec::new();
        self.adopt(&snapshot);
        let nothing = Snapshot::nothing_like(&snapshot);
        let before = self.baseline.as_ref().unwrap_or(&nothing);
        let began = match self.open.began {
            None => Some(i64::MAX),
            Some(began) if self.baseline.is_some() && clock_was_set(began, now) => None,
            Some(_) => Some(self.first_stamp()),
        };
        let (base, earlier) = rebased(before, snapshot, began);
        if self.baseline.is_some() && !earlier.is_empty() {
            todo.push(Do::Log(earlier));
        }
        self.baseline = Some(base);
        self.taken = Some(taken.boot);
        todo.push(Do::KeepBaseline);
        if std::mem::take(&mut self.lost) {
            let held = self.open.held.values().cloned().collect();
            todo.push(Do::Tell(held, vec![Finding::baseline_is_gone()]));
        }
        todo
    }

    /// A baseline of an earlier daemon is brought up to the list of places that is surveyed now.
    fn adopt(&mut self, snapshot: &Snapshot) {
        let first = self.first_stamp();
        self.baseline = self.baseline.take().map(|before| adopted(before, snapshot, first));
    }

    /// The earliest time that the sessions in question can have left on a file, in microseconds of the wall clock.
    fn first_stamp(&self) -> i64 {
        let Some(began) = self.open.began else { return i64::MAX };
        let tick = u64::try_from(CLOCK_TICK.as_micros()).unwrap_or(u64::MAX);
        i64::try_from(began.wall.0.saturating_sub(tick)).unwrap_or(i64::MAX)
    }

    /// What was found is what the next survey is compared with; whoever still has a session open is in that one too.
    fn settle(&mut self, snapshot: Snapshot) -> Vec<Do> {
        let began = self.walking.take().map(|(_, began)| began);
        self.baseline = Some(snapshot);
        self.taken = began.map(|began| began.boot);
        let mut held = std::mem::take(&mut self.since_walk);
        held.extend(self.sessions.values().map(|held| (held.grant, held.clone())));
        let began = if held.is_empty() { None } else { began };
        self.open = Open { began, held };
        vec![Do::KeepBaseline, Do::KeepOpen]
    }
}

/// Whether the wall clock was set since then: the two clocks have run apart.
fn clock_was_set(began: Began, now: &Now) -> bool {
    let by_wall = i128::from(now.wall.0) - i128::from(began.wall.0);
    let by_boot = i128::from(now.boot.0) - i128::from(began.boot.0);
    (by_wall - by_boot).unsigned_abs() > CLOCK_DRIFT.as_micros()
}

#[cfg(test)]
mod tests {
    use jit_proto::identity::{RoleName, UserId};
    use jit_proto::moment::BootId;

    use std::collections::BTreeSet;

    use super::super::snapshot::{Entry, What};
    use super::*;
    use crate::core::event::GroupAsked;
    use crate::core::ledger::{MainProcess, SessionState};
    use crate::core::people::Account;

    fn at(seconds: f64) -> Now {
        let micros = (seconds * 1e6) as u64;
        Now {
            wall: WallTime(1_700_000_000_000_000 + micros),
            boot: BootTime(micros),
            boot_id: BootId("a".into()),
        }
    }

    fn session(id: u64, grant: u64, now: &Now) -> Session {
        let holder = Account { uid: UserId(2004), name: "dave".into() };
        Session {
            id: SessionId(id),
            grant: GrantId(grant),
            role: RoleName::try_from("ops".to_owned()).unwrap(),
            holder,
            parent: None,
            tag: None,
            loginuid: None,
            main: MainProcess { pid: 1, start: 1 },
            service: "sudo".into(),
            tty: String::new(),
            argv: Vec::new(),
            started_at: now.wall,
            started: now.boot,
            boot_id: now.boot_id.clone(),
            login: None,
            io_log: None,
            group: GroupAsked::Nothing,
            own_groups: BTreeSet::new(),
            lingers_until: None,
            state: SessionState::Registered,
        }
    }

    fn host(files: &[(&str, &Now)]) -> Snapshot {
        let entry = |at: &Now| Entry {
            what: What::File { print: "p".into() },
            mode: 0o644,
            uid: 0,
            gid: 0,
            capabilities: 0,
            changed_at: i64::try_from(at.wall.0).unwrap(),
        };
        Snapshot {
            boot_id: BootId("a".into()),
            list: String::new(),
            setuid_paths: Vec::new(),
            places: files.iter().map(|(path, at)| ((*path).to_owned(), entry(at))).collect(),
            privileged: BTreeMap::new(),
        }
    }

    /// A daemon that has been up for long, with a baseline of one file.
    fn course() -> Course {
        let mut course = Course::new(None, Open::default(), &at(0.0));
        assert_eq!(course.tick(&at(0.0)), [Do::Walk]);
        assert_eq!(course.walked(host(&[("/etc/old", &at(0.0))]), &at(0.1)), [Do::KeepBaseline]);
        assert_eq!(course.due(), None);
        course
    }

    fn told(todo: &[Do]) -> Vec<(Vec<u64>, Vec<&str>)> {
        todo.iter()
            .filter_map(|what| match what {
                Do::Tell(held, findings) => Some((
                    held.iter().map(|held| held.grant.0).collect(),
                    findings.iter().map(|finding| finding.path.as_str()).collect(),
                )),
                _ => None,
            })
            .collect()
    }

    /// The whole of `sudo cp` is over before the fresh baseline has been taken.
    #[test]
    fn a_plant_of_the_first_milliseconds_is_told_at_the_end() {
        let mut course = course();
        let start = at(1000.0);
        assert_eq!(course.opened(&session(1, 7, &start)), [Do::KeepOpen]);
        assert_eq!(course.tick(&start), [Do::Walk]);
        course.gone(SessionId(1), &at(1000.01));
        let upgraded = at(500.0);
        let planted = at(1000.005);
        let now = host(&[("/etc/old", &at(0.0)), ("/etc/upgraded", &upgraded), ("/etc/planted", &planted)]);
        let todo = course.walked(now.clone(), &at(1000.1));
        assert!(matches!(&todo[..], [Do::Log(earlier), Do::KeepBaseline] if earlier.len() == 1), "{todo:?}");
        // 0.1 s for the survey: the next one not before 5 s have gone by.
        assert!(course.tick(&at(1005.0)).is_empty());
        assert_eq!(course.tick(&at(1005.2)), [Do::Walk]);
        let todo = course.walked(now, &at(1005.3));
        assert_eq!(told(&todo), [(vec![7], vec!["/etc/planted"])]);
        assert_eq!(course.due(), None, "it waits for the record");
        assert_eq!(course.recorded(), [Do::KeepBaseline, Do::KeepOpen]);
        assert_eq!((course.due(), course.open()), (None, &Open::default()));
    }

    /// It had looked there already when the file came, and was not back yet when the session began.
    #[test]
    fn what_came_during_a_baseline_is_not_laid_at_the_next_ones_door() {
        for ends_meanwhile in [false, true] {
            let mut course = Course::new(None, Open::default(), &at(0.0));
            assert_eq!(course.tick(&at(0.0)), [Do::Walk]);
            course.opened(&session(1, 7, &at(0.5)));
            if ends_meanwhile {
                course.gone(SessionId(1), &at(0.51));
            }
            assert_eq!(course.walked(host(&[("/etc/old", &at(0.0))]), &at(0.6)), [Do::KeepBaseline]);
            assert_eq!(course.tick(&at(0.6)), [Do::Walk], "another baseline");
            let now = host(&[("/etc/old", &at(0.0)), ("/etc/came", &at(0.2)), ("/etc/planted", &at(0.505))]);
            let todo = course.walked(now.clone(), &at(0.7));
            assert!(matches!(&todo[..], [Do::Log(came), Do::KeepBaseline] if came.len() == 1), "{todo:?}");
            if !ends_meanwhile {
                course.gone(SessionId(1), &at(1.0));
            }
            assert_eq!(course.tick(&at(20.0)), [Do::Walk]);
            assert_eq!(told(&course.walked(now, &at(20.1))), [(vec![7], vec!["/etc/planted"])]);
        }
    }

    #[test]
    fn a_burst_of_calls_costs_one_survey_every_half_a_minute() {
        let mut course = course();
        let mut walks = 0;
        for n in 0..6000_u32 {
            let now = at(1000.0 + f64::from(n) * 0.01);
            course.opened(&session(n.into(), 7, &now));
            walks += course.tick(&now).len();
            course.gone(SessionId(n.into()), &now);
            walks += course.tick(&now).len();
            if course.walking_since().is_some() {
                course.walked(host(&[("/etc/old", &at(0.0))]), &now);
            }
        }
        assert_eq!(walks, 2, "a baseline at the first call, a look after half a minute");
        assert_eq!(course.tick(&at(1063.0)), [Do::Walk], "and one when all is quiet");
    }

    #[test]
    fn who_opens_or_ends_a_session_during_a_survey_is_in_the_next_one_too() {
        let mut course = course();
        for (id, grant) in [(1, 7), (2, 8), (3, 9)] {
            course.opened(&session(id, grant, &at(1000.0)));
        }
        course.tick(&at(1000.0));
        course.walked(host(&[("/etc/old", &at(0.0))]), &at(1000.0));
        course.gone(SessionId(1), &at(1001.0));
        assert_eq!(course.tick(&at(1031.0)), [Do::Walk]);
        course.gone(SessionId(2), &at(1031.1));
        course.opened(&session(4, 10, &at(1031.1)));
        let todo = course.walked(host(&[]), &at(1031.2));
        assert_eq!(told(&todo), [(vec![7, 8, 9, 10], vec!["/etc/old"])]);
        course.recorded();
        let open: Vec<u64> = course.open().held.keys().map(|grant| grant.0).collect();
        assert_eq!(open, [8, 9, 10], "all but the one that was over before");
        assert!(course.due().is_some(), "the end during the survey asks for another one");
    }

    #[test]
    fn a_restart_in_between_hides_nothing() {
        let mut first = course();
        first.opened(&session(1, 7, &at(1000.0)));
        let (baseline, open) = (first.baseline().cloned(), first.open().clone());
        let mut second = Course::new(baseline.clone(), open, &at(1010.0));
        assert_eq!(second.tick(&at(1010.0)), [Do::Walk]);
        assert_eq!(told(&second.walked(host(&[]), &at(1010.1))), [(vec![7], vec!["/etc/old"])]);
        // Killed before the file was written: the session is still in the store.
        let mut third = Course::new(baseline, Open::default(), &at(1010.0));
        third.found(&session(1, 7, &at(1000.0)), &at(1010.0));
        assert_eq!(third.tick(&at(1010.0)), [Do::Walk]);
        assert_eq!(told(&third.walked(host(&[]), &at(1010.1))), [(vec![7], vec!["/etc/old"])]);
    }

    #[test]
    fn a_baseline_that_is_gone_while_sessions_were_open_is_told() {
        let mut course = Course::new(None, Open::default(), &at(1010.0));
        course.found(&session(1, 7, &at(1000.0)), &at(1010.0));
        assert_eq!(course.tick(&at(1010.0)), [Do::Walk]);
        let todo = course.walked(host(&[("/etc/planted", &at(1005.0))]), &at(1010.1));
        assert_eq!(told(&todo)[0].0, [7]);
        course.recorded();
        assert_eq!(course.tick(&at(1041.0)), [Do::Walk]);
        let todo = course.walked(host(&[("/etc/planted", &at(1005.0))]), &at(1041.1));
        assert_eq!(told(&todo), [(vec![7], vec!["/etc/planted"])]);
    }

    #[test]
    fn a_clock_that_was_set_proves_nothing() {
        let mut course = course();
        let start = at(1000.0);
        course.opened(&session(1, 7, &start));
        assert_eq!(course.tick(&start), [Do::Walk]);
        let mut later = at(1000.1);
        later.wall = WallTime(later.wall.0 - 3_600_000_000);
        let now = host(&[("/etc/old", &at(0.0)), ("/etc/backdated", &at(900.0))]);
        course.walked(now.clone(), &later);
        course.gone(SessionId(1), &at(1010.0));
        assert_eq!(course.tick(&at(1020.0)), [Do::Walk]);
        assert_eq!(told(&course.walked(now, &at(1020.1))), [(vec![7], vec!["/etc/backdated"])]);
    }

    #[test]
    fn a_survey_that_failed_is_made_again() {
        let mut course = course();
        course.opened(&session(1, 7, &at(1000.0)));
        course.tick(&at(1000.0));
        course.failed(&at(1000.1));
        course.gone(SessionId(1), &at(1000.2));
        assert_eq!(course.tick(&at(1100.0)), [Do::Walk]);
        course.failed(&at(1100.1));
        assert!(course.due().is_some());
    }
}
