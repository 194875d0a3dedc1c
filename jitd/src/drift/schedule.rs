//! When to survey, what to compare with, and while whose sessions a difference came: decided here, performed elsewhere.
//!
//! A survey costs more than a call of sudo. So one is made for many: a little after the last session has ended, or a
//! while after the first end where they keep coming, and the longer after the one before, the more that one cost. When
//! the first session of a quiet time begins, the baseline is taken anew, so that what changed meanwhile is not laid at
//! that session's door. Where nobody has a session, surveys are made as well: half a minute after the last one, then at
//! spans that double up to half an hour. What they find is a record of the host.

use std::collections::BTreeMap;
use std::time::Duration;

use jit_proto::identity::{GrantId, SessionId};
use jit_proto::time::{BootTime, WallTime};
use serde::{Deserialize, Serialize};

use super::diff::{adopted, diff, rebased};
use super::finding::Finding;
use super::snapshot::{Map, Snapshot};
use crate::core::ledger::Held;
use crate::core::ledger::Session;
use crate::core::time::Now;

/// After the last session has ended: programs that end a little later than their session still count.
const SETTLE: Duration = Duration::from_secs(2);
/// Sessions that keep coming do not put a survey off for longer than this.
const MAX_INTERVAL: Duration = Duration::from_secs(30);
/// Between two looks lies this many times what the first one took. With a baseline before each of them, surveys take
/// at most a twenty-fifth of one processor.
const SHARE: u32 = 50;
/// While nobody has a session, the first survey comes so long after the one before, and the later ones at spans that double
/// up to the longest.
const FIRST_ROUND: Duration = Duration::from_secs(30);
const MAX_ROUND: Duration = Duration::from_secs(30 * 60);
/// Programs are compared with their packages once in this time, over restarts of the daemon too, and not in the first minute
/// after its start.
const FIRST_CHECK: Duration = Duration::from_secs(60);
const CHECK: Duration = Duration::from_secs(24 * 3600);
/// As many grants are remembered after their sessions.
const MAX_LAST: usize = 16;
/// A survey that failed is made again after this.
const RETRY: Duration = Duration::from_secs(60);
/// The kernel stamps inodes with a clock that is behind by up to a tick (at most 10 ms).
const CLOCK_TICK: Duration = Duration::from_millis(50);
/// Clocks that have drifted apart by more than this since a session began: the wall clock was set.
const CLOCK_DRIFT: Duration = Duration::from_millis(500);

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// Look at the places.
    Scan,
    /// Look at the places, and compare programs with their packages.
    ScanAndCheck,
    /// Write down whose sessions are still to be surveyed.
    WriteOpen,
    /// Write down what the next survey is compared with.
    WriteBaseline,
    /// Hand findings to the record of these grants.
    Tell(Vec<Held>, Findings),
    /// Hand findings to the record of the host: no grant had a session. These had, before.
    TellHost(Vec<Held>, Findings),
}

/// What was found, and between which moments it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Findings {
    /// What, the gravest first.
    pub(super) all: Vec<Finding>,
    /// When the survey before began; `None` where that is not known.
    pub(super) since: Option<WallTime>,
    /// When this one was done.
    pub(super) until: WallTime,
}

/// Grants that had sessions open since the last survey; kept over a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    /// When the first of these sessions began.
    began: Option<Began>,
    /// Whose.
    held: BTreeMap<GrantId, Held>,
    /// Whose sessions were surveyed last, and are over.
    #[serde(default)]
    last: Vec<Held>,
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
pub(super) struct Schedule {
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
    scanning: Option<(Purpose, Began)>,
    /// A survey whose findings are on their way into the record, and what is compared with from then on.
    told: Option<Snapshot>,
    /// Grants whose sessions began or ended after the survey began: they are in the next one too.
    since_scan: BTreeMap<GrantId, Held>,
    /// Grants had sessions open and the baseline is gone.
    lost: bool,
    /// The next look.
    not_before: BootTime,
    /// The next survey of any kind, after one that failed.
    retry: BootTime,
    /// The next survey while nobody has a session, and how long after the one before.
    next_round: BootTime,
    pause: Duration,
    /// The next comparison of programs with their packages.
    check: BootTime,
}

impl Schedule {
    /// Goes on from what an earlier daemon kept.
    pub(super) fn new(baseline: Option<Snapshot>, open: Open, now: &Now) -> Self {
        let lost = baseline.is_none() && !open.held.is_empty();
        let first_end = (!open.held.is_empty()).then_some(now.boot);
        let checked = baseline.as_ref().and_then(|baseline| baseline.checked.as_ref());
        // A check in the future shows that the wall clock was set: it proves nothing.
        let since =
            checked.and_then(|checked| now.wall.0.checked_sub(checked.at.0)).map(Duration::from_micros);
        let rest = since.map_or(Duration::ZERO, |since| CHECK.saturating_sub(since));
        Self {
            baseline,
            taken: None,
            open,
            sessions: BTreeMap::new(),
            first_end,
            last_end: first_end,
            wants_baseline: true,
            overtaken: false,
            scanning: None,
            told: None,
            since_scan: BTreeMap::new(),
            lost,
            not_before: BootTime(0),
            retry: BootTime(0),
            next_round: now.boot.after(FIRST_ROUND),
            pause: FIRST_ROUND,
            check: now.boot.after(rest.max(FIRST_CHECK)),
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

    /// Whether a grant has had sessions since the survey before.
    pub(super) fn is_answerable(&self) -> bool {
        !self.open.held.is_empty()
    }

    /// A session was open when the daemon started: what it did meanwhile is looked at now.
    pub(super) fn found(&mut self, session: &Session, now: &Now) -> Vec<Action> {
        self.lost = self.baseline.is_none();
        self.first_end = Some(now.boot);
        self.last_end = Some(now.boot);
        self.opened(session)
    }

    /// A session has begun.
    pub(super) fn opened(&mut self, session: &Session) -> Vec<Action> {
        let held = Held { grant: session.grant, role: session.role.clone(), holder: session.holder.clone() };
        if self.open.held.is_empty() {
            match self.scanning {
                None if self.told.is_none() => self.wants_baseline = true,
                // It may have looked already at what has changed since, before this session.
                Some((Purpose::Baseline, _)) => self.overtaken = true,
                _ => {}
            }
        }
        if self.scanning.is_some() || self.told.is_some() {
            self.since_scan.insert(held.grant, held.clone());
        }
        let began = Began { wall: session.started_at, boot: session.started };
        self.open.began.get_or_insert(began);
        let known = self.open.held.insert(held.grant, held.clone()).is_some();
        self.sessions.insert(session.id, held);
        if known { Vec::new() } else { vec![Action::WriteOpen] }
    }

    /// Nothing is left of a session.
    pub(super) fn gone(&mut self, session: SessionId, now: &Now) {
        if let Some(held) = self.sessions.remove(&session) {
            if self.scanning.is_some() || self.told.is_some() {
                self.since_scan.insert(held.grant, held);
            }
            self.first_end.get_or_insert(now.boot);
            self.last_end = Some(now.boot);
        }
    }

    /// When the next survey is due; `None` while one is under way, and while sessions are open of which none has ended.
    pub(super) fn due(&self) -> Option<BootTime> {
        if self.scanning.is_some() || self.told.is_some() {
            return None;
        }
        if self.takes_baseline() {
            return Some(self.retry);
        }
        let Some((first, last)) = self.first_end.zip(self.last_end) else {
            let is_quiet = self.sessions.is_empty() && self.open.held.is_empty();
            return is_quiet.then(|| self.next_round.max(self.not_before).max(self.retry));
        };
        let at_the_latest = first.after(MAX_INTERVAL);
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
    pub(super) fn tick(&mut self, now: &Now) -> Vec<Action> {
        if self.due().is_none_or(|due| due > now.boot) {
            return Vec::new();
        }
        let is_round = self.first_end.is_none();
        let purpose = if is_round || self.takes_baseline() { Purpose::Baseline } else { Purpose::Look };
        if purpose == Purpose::Look {
            self.first_end = None;
            self.last_end = None;
        }
        self.wants_baseline = false;
        self.overtaken = false;
        self.scanning = Some((purpose, Began { wall: now.wall, boot: now.boot }));
        if is_round && self.open.held.is_empty() && self.check <= now.boot {
            self.check = now.boot.after(CHECK);
            return vec![Action::ScanAndCheck];
        }
        vec![Action::Scan]
    }

    /// A scan has finished, which did nothing for the part `waited` of its time.
    pub(super) fn scanned(&mut self, mut snapshot: Snapshot, waited: Duration, now: &Now) -> Vec<Action> {
        let Some((purpose, began)) = self.scanning else { return Vec::new() };
        snapshot.taken = began.wall;
        if let Some(checked) = &mut snapshot.checked {
            checked.at = began.wall;
        } else {
            snapshot.checked = self.baseline.as_ref().and_then(|before| before.checked.clone());
        }
        let took = now.boot.since(began.boot).saturating_sub(waited);
        self.not_before = now.boot.after(took.saturating_mul(SHARE));
        match purpose {
            Purpose::Baseline => self.compare_with(snapshot, now),
            Purpose::Look => {
                self.adopt(&snapshot);
                let first = self.first_stamp();
                let mut findings =
                    self.baseline.as_ref().map(|before| diff(before, &snapshot)).unwrap_or_default();
                // What ran before the first of the sessions began is not of their time.
                findings.retain(|finding| {
                    let process = snapshot.processes.get(&finding.path);
                    finding.map != Map::Processes || process.is_none_or(|process| process.started_at >= first)
                });
                if self.open.held.is_empty() {
                    findings.retain(is_of_the_host);
                }
                if findings.is_empty() {
                    return self.accept(snapshot, now);
                }
                let findings = self.findings(findings, now);
                self.told = Some(snapshot);
                if self.open.held.is_empty() {
                    return vec![Action::TellHost(self.open.last.clone(), findings)];
                }
                vec![Action::Tell(self.open.held.values().cloned().collect(), findings)]
            }
        }
    }

    /// With the moments between which they came: it may be that they came after the baseline that is compared with had
    /// looked there, and before it was done.
    fn findings(&self, all: Vec<Finding>, now: &Now) -> Findings {
        let taken = self.baseline.as_ref().map(|before| before.taken).filter(|taken| taken.0 > 0);
        let began = self.open.began.map(|began| began.wall);
        Findings {
            all,
            since: taken.map(|taken| began.map_or(taken, |began| began.min(taken))),
            until: now.wall,
        }
    }

    /// A survey came to nothing; it is made again.
    pub(super) fn failed(&mut self, now: &Now) {
        self.retry = now.boot.after(RETRY);
        match self.scanning.take() {
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
    pub(super) fn scanning_since(&self) -> Option<BootTime> {
        self.scanning.filter(|_| self.told.is_none()).map(|(_, began)| began.boot)
    }

    /// The findings are in the record: only now they need not be found again.
    pub(super) fn recorded(&mut self, now: &Now) -> Vec<Action> {
        let Some(snapshot) = self.told.take() else { return Vec::new() };
        match self.scanning {
            Some((Purpose::Baseline, _)) => self.take_as_baseline(snapshot, now),
            _ => self.accept(snapshot, now),
        }
    }

    fn compare_with(&mut self, snapshot: Snapshot, now: &Now) -> Vec<Action> {
        let mut todo = Vec::new();
        self.adopt(&snapshot);
        let nothing = Snapshot::nothing_like(&snapshot);
        let before = self.baseline.as_ref().unwrap_or(&nothing);
        let rebooted = before.boot_id != snapshot.boot_id;
        let began = match self.open.began {
            None => Some(i64::MAX),
            Some(began) if self.baseline.is_some() && clock_was_set(began, now) => None,
            Some(_) => Some(self.first_stamp()),
        };
        let (base, mut earlier) = rebased(before, snapshot, began);
        earlier.retain(is_of_the_host);
        // What a boot made is in `/run`, and no change.
        earlier.retain(|finding| !(rebooted && finding.path.starts_with("/run/")));
        if std::mem::take(&mut self.lost) {
            let held = self.open.held.values().cloned().collect();
            let (all, since) = (vec![Finding::baseline_is_gone()], None);
            todo.push(Action::Tell(held, Findings { all, since, until: now.wall }));
        }
        if self.baseline.is_none() || earlier.is_empty() {
            todo.extend(self.take_as_baseline(base, now));
            return todo;
        }
        let taken = self.baseline.as_ref().map(|before| before.taken).filter(|taken| taken.0 > 0);
        self.told = Some(base);
        todo.push(Action::TellHost(
            self.open.last.clone(),
            Findings { all: earlier, since: taken, until: now.wall },
        ));
        todo
    }

    /// What is compared with from now on.
    fn take_as_baseline(&mut self, base: Snapshot, now: &Now) -> Vec<Action> {
        let began = self.scanning.take().map(|(_, began)| began.boot);
        self.since_scan.clear();
        self.baseline = Some(base);
        self.taken = began;
        self.pause = self.pause.saturating_mul(2).min(MAX_ROUND);
        self.next_round = now.boot.after(self.pause);
        vec![Action::WriteBaseline]
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
    fn accept(&mut self, snapshot: Snapshot, now: &Now) -> Vec<Action> {
        let began = self.scanning.take().map(|(_, began)| began);
        self.baseline = Some(snapshot);
        self.taken = began.map(|began| began.boot);
        let mut held = std::mem::take(&mut self.since_scan);
        held.extend(self.sessions.values().map(|held| (held.grant, held.clone())));
        let began = if held.is_empty() { None } else { began };
        let mut last: Vec<Held> = self
            .open
            .held
            .values()
            .filter(|done| !held.contains_key(&done.grant))
            .rev()
            .take(MAX_LAST)
            .cloned()
            .collect();
        if last.is_empty() {
            last.clone_from(&self.open.last);
        }
        self.open = Open { began, held, last };
        self.pause = FIRST_ROUND;
        self.next_round = now.boot.after(self.pause);
        vec![Action::WriteBaseline, Action::WriteOpen]
    }
}

/// Whether a finding is told where nobody had a session. What root runs then, and what users keep at their own place, is
/// nobody's window.
fn is_of_the_host(finding: &Finding) -> bool {
    finding.kind != crate::core::drift::kind::Kind::Processes
}

/// Whether the wall clock was set since then: the two clocks have run apart.
fn clock_was_set(began: Began, now: &Now) -> bool {
    let by_wall = i128::from(now.wall.0) - i128::from(began.wall.0);
    let by_boot = i128::from(now.boot.0) - i128::from(began.boot.0);
    (by_wall - by_boot).unsigned_abs() > CLOCK_DRIFT.as_micros()
}

#[cfg(test)]
mod tests;
