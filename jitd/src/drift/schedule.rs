//! Decides when to scan, what to compare a scan with, and which sessions a difference belongs to.
//!
//! A scan costs more than a call of sudo, so one scan covers many sessions: it starts shortly after the last session has
//! ended or, while sessions keep coming, some time after the first of them has ended. The pause before a scan grows with
//! the cost of the scan before. When a session begins after a quiet time, a new baseline is taken, so that earlier
//! changes are not attributed to that session. While nobody has a session, the host is scanned too: half a minute after
//! the last scan, then at intervals that double up to half an hour. Findings of these scans are events of the host.

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

/// From the end of the last session to the scan: programs that end slightly later than their session still count.
const SETTLE: Duration = Duration::from_secs(2);
/// While sessions keep coming, a scan is not put off for longer than this.
const MAX_INTERVAL: Duration = Duration::from_secs(30);
/// The pause after a scan is this many times its duration. With a baseline before each, scans take at most a twenty-fifth of
/// one processor.
const SHARE: u32 = 50;
/// While nobody has a session: the first interval between scans, and the longest, up to which intervals double.
const FIRST_ROUND: Duration = Duration::from_secs(30);
const MAX_ROUND: Duration = Duration::from_secs(30 * 60);
/// Programs are compared with their packages once in this time, over restarts of the daemon too, and not in the first minute
/// after its start.
const FIRST_CHECK: Duration = Duration::from_secs(60);
const CHECK: Duration = Duration::from_secs(24 * 3600);
/// Grants that are remembered after their last session.
const MAX_LAST: usize = 16;
/// A scan that failed is repeated after this.
const RETRY: Duration = Duration::from_secs(60);
/// The kernel stamps inodes with a clock that is behind by up to a tick (at most 10 ms).
const CLOCK_TICK: Duration = Duration::from_millis(50);
/// Clocks that have drifted apart by more than this since a session began: the wall clock was set.
const CLOCK_DRIFT: Duration = Duration::from_millis(500);

/// An action for [`super::DriftScan`], in this order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// Scan the host.
    Scan,
    /// Scan the host, and compare programs with their packages.
    ScanAndCheck,
    /// Write the grants whose sessions no scan has covered yet.
    WriteOpen,
    /// Write the baseline.
    WriteBaseline,
    /// Record findings under these grants.
    Tell(Vec<Held>, Findings),
    /// Record findings of the host: no grant had a session; these grants had the last ones.
    TellHost(Vec<Held>, Findings),
}

/// Findings, and the interval in which the changes were made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Findings {
    /// The findings, the most severe first.
    pub(super) all: Vec<Finding>,
    /// When the scan before began; `None` where that is not known.
    pub(super) since: Option<WallTime>,
    /// When this scan ended.
    pub(super) until: WallTime,
}

/// Grants that had sessions since the last scan; kept over a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    /// When the first of these sessions began.
    began: Option<Began>,
    /// The grants.
    held: BTreeMap<GrantId, Held>,
    /// Grants whose sessions have ended and were covered by the last scan.
    #[serde(default)]
    last: Vec<Held>,
}

/// A time on both clocks: if their difference changes, one of them was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Began {
    wall: WallTime,
    boot: BootTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To take a baseline.
    Baseline,
    /// To find what sessions left behind.
    Look,
}

/// The state between scans.
#[derive(Debug)]
pub(super) struct Schedule {
    baseline: Option<Snapshot>,
    /// When the scan of the baseline was made; `None` for the baseline of an earlier jitd.
    taken: Option<BootTime>,
    open: Open,
    /// Open sessions, with their grants.
    sessions: BTreeMap<SessionId, Held>,
    first_end: Option<BootTime>,
    last_end: Option<BootTime>,
    wants_baseline: bool,
    /// A session began during a baseline scan: another baseline is taken, also when that session has ended meanwhile, without
    /// what the session may have changed.
    overtaken: bool,
    scanning: Option<(Purpose, Began)>,
    /// The next baseline: a scan whose findings are not in the audit log yet.
    told: Option<Snapshot>,
    /// Grants with sessions that began or ended during the scan: the next scan covers them too.
    since_scan: BTreeMap<GrantId, Held>,
    /// Grants had sessions open and the baseline is gone.
    lost: bool,
    /// The earliest time of the next scan.
    not_before: BootTime,
    /// The earliest time of the next scan after one that failed.
    retry: BootTime,
    /// The next scan while nobody has a session, and its distance from the one before.
    next_round: BootTime,
    pause: Duration,
    /// The next comparison of programs with their packages.
    check: BootTime,
}

impl Schedule {
    /// Continues from the state files of an earlier daemon.
    pub(super) fn new(baseline: Option<Snapshot>, open: Open, now: &Now) -> Self {
        let lost = baseline.is_none() && !open.held.is_empty();
        let first_end = (!open.held.is_empty()).then_some(now.boot);
        let checked = baseline.as_ref().and_then(|baseline| baseline.checked.as_ref());
        // A check in the future shows that the wall clock was set, and proves nothing.
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

    /// The snapshot that scans are compared with.
    pub(super) fn baseline(&self) -> Option<&Snapshot> {
        self.baseline.as_ref()
    }

    /// The grants that are kept over a restart.
    pub(super) fn open(&self) -> &Open {
        &self.open
    }

    /// Whether a grant has had sessions since the last scan.
    pub(super) fn is_answerable(&self) -> bool {
        !self.open.held.is_empty()
    }

    /// A session was open when the daemon started: a scan for it is due at once.
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
                // The scan may have read paths before this session changes them.
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

    /// All processes of a session have ended.
    pub(super) fn gone(&mut self, session: SessionId, now: &Now) {
        if let Some(held) = self.sessions.remove(&session) {
            if self.scanning.is_some() || self.told.is_some() {
                self.since_scan.insert(held.grant, held);
            }
            self.first_end.get_or_insert(now.boot);
            self.last_end = Some(now.boot);
        }
    }

    /// When the next scan is due; `None` while one runs, and while sessions are open of which none has ended.
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
        // Sessions that were open when the daemon started are scanned for at once.
        let quiet = if self.taken.is_none() { first } else { quiet };
        Some(quiet.max(self.not_before).max(self.retry))
    }

    /// Whether the next scan is a baseline.
    fn takes_baseline(&self) -> bool {
        self.baseline.is_none() || self.overtaken || self.wants_baseline && self.first_end.is_none()
    }

    /// Begins a scan if one is due.
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

    /// A scan has finished. It was idle for `waited` of its duration.
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
                // A process that started before the first of the sessions is not theirs.
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

    /// Adds the interval. It begins with the start of the last scan: a change may have been made while that ran.
    fn findings(&self, all: Vec<Finding>, now: &Now) -> Findings {
        let taken = self.baseline.as_ref().map(|before| before.taken).filter(|taken| taken.0 > 0);
        let began = self.open.began.map(|began| began.wall);
        Findings {
            all,
            since: taken.map(|taken| began.map_or(taken, |began| began.min(taken))),
            until: now.wall,
        }
    }

    /// A scan failed; it is repeated.
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

    /// The setting `setuid_paths` changed: the baseline has to cover the new paths.
    pub(super) fn paths_changed(&mut self) {
        self.wants_baseline = true;
    }

    /// When the scan that runs now began.
    pub(super) fn scanning_since(&self) -> Option<BootTime> {
        self.scanning.filter(|_| self.told.is_none()).map(|(_, began)| began.boot)
    }

    /// The findings are in the audit log: the next scan need not find them again.
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
        // A boot fills `/run`: that is no change.
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

    /// Makes a scan the baseline.
    fn take_as_baseline(&mut self, base: Snapshot, now: &Now) -> Vec<Action> {
        let began = self.scanning.take().map(|(_, began)| began.boot);
        self.since_scan.clear();
        self.baseline = Some(base);
        self.taken = began;
        self.pause = self.pause.saturating_mul(2).min(MAX_ROUND);
        self.next_round = now.boot.after(self.pause);
        vec![Action::WriteBaseline]
    }

    /// Adapts the baseline of an earlier daemon to the present list of watched paths.
    fn adopt(&mut self, snapshot: &Snapshot) {
        let first = self.first_stamp();
        self.baseline = self.baseline.take().map(|before| adopted(before, snapshot, first));
    }

    /// The earliest time stamp that a file can have from the sessions in question, in microseconds of the wall clock.
    fn first_stamp(&self) -> i64 {
        let Some(began) = self.open.began else { return i64::MAX };
        let tick = u64::try_from(CLOCK_TICK.as_micros()).unwrap_or(u64::MAX);
        i64::try_from(began.wall.0.saturating_sub(tick)).unwrap_or(i64::MAX)
    }

    /// Makes a scan the baseline of the next one, which covers the sessions that are still open.
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

/// Whether a finding is recorded where nobody had a session: processes of root are ordinary then.
fn is_of_the_host(finding: &Finding) -> bool {
    finding.kind != crate::core::drift::kind::Kind::Processes
}

/// Whether the wall clock was set since then.
fn clock_was_set(began: Began, now: &Now) -> bool {
    let by_wall = i128::from(now.wall.0) - i128::from(began.wall.0);
    let by_boot = i128::from(now.boot.0) - i128::from(began.boot.0);
    (by_wall - by_boot).unsigned_abs() > CLOCK_DRIFT.as_micros()
}

#[cfg(test)]
mod tests;
