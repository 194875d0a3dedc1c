//! The delivery of audit records to one sink, as a state machine: what happened comes in, what to do next goes out.
//!
//! A record counts as delivered when its receiver has read it, not when it was sent: a receiver that ends loses what is
//! in its queue, and the machine sends those records again. Records are sent in the order of their numbers and none is
//! skipped; none is sent before it is on the disk. The store is the queue: the machine holds records in memory only
//! while the sink takes them.

mod act;

use std::sync::Arc;
use std::time::Duration;
use std::vec;

use jit_proto::audit::chain::Sealed;
use jit_proto::audit::record::{AuditEvent, Record};
use jit_proto::time::BootTime;

pub(super) use act::{Act, Message, Notice, Seen};

use super::heartbeat::Heartbeat;
use super::sink::SendError;
use crate::core::input::{SinkChange, SinkName};

/// From a failure to the next attempt, unless a message comes before.
const RETRY: Duration = Duration::from_secs(1);
/// Records that tell of no decision wait this long for others, to be sent together with them.
const GATHER: Duration = Duration::from_millis(50);
/// At this many records in memory none waits for others.
const MAX_GATHERED: usize = 64;
/// At this many records in memory the inbox is left alone until they are sent.
const MAX_IN_MEMORY: usize = 1024;
/// Records read from the store at a time.
const PAGE: u64 = 256;
/// From a send to the first check whether the receiver has read it; each check that finds unread data doubles the
/// interval, up to the second value.
const CHECK_AFTER: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(250)];
/// A receiver that has left data unread for this long is sent nothing more.
const HOLD: Duration = Duration::from_secs(1);
/// A receiver that has left data unread for this long has failed.
const UNREAD_LIMIT: Duration = Duration::from_secs(5);
/// A record that has waited for a failing sink for this long has the sink recorded as down. A restart of the syslog
/// daemon takes less and is not recorded.
const DOWN_AFTER: Duration = Duration::from_secs(10);
/// With nothing to do.
const IDLE: Duration = Duration::from_secs(3600);

/// The delivery to one sink.
#[derive(Debug)]
pub(super) struct Delivery {
    name: SinkName,
    switch: Switch,
    /// The last record in the store.
    written: u64,
    /// The last record that was sent.
    sent: u64,
    /// The last record that the receiver has read, and all before it.
    delivered: u64,
    /// All records up to `written` are on the disk.
    synced: bool,
    /// The newest records, in their order, so that they need not be read back from the store.
    fresh: Vec<Sealed>,
    /// The last heartbeat that was not sent: it waits for the records that it names.
    heartbeat: Option<Arc<Heartbeat>>,
    queue: ReceiverQueue,
    sink: SinkState,
    recorded: Recorded,
    /// No message will come any more.
    closed: bool,
    step: Step,
}

/// Whether the settings have the sink switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Switch {
    /// The settings have not been read yet.
    Unknown,
    On,
    Off,
}

/// What is known about the queue between jitd and the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReceiverQueue {
    /// The last check found it empty.
    Empty,
    /// The receiver has left something in it.
    Unread {
        /// The check that found it first.
        since: BootTime,
        /// Checks since the last send.
        checks: u32,
    },
}

/// Whether the sink takes records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SinkState {
    Up,
    Failing {
        /// When the oldest record was written that is not delivered; `None` until one waits.
        waiting_since: Option<BootTime>,
    },
}

/// What the audit log says about the sink last: whether it is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recorded {
    /// By an earlier daemon, as far as its records have been sent; up if none was seen.
    ByEarlierDaemon { down: bool },
    /// By this daemon. Its own records and older ones that are sent after that say nothing new.
    ByThisDaemon { down: bool },
}

impl Recorded {
    fn is_down(self) -> bool {
        matches!(self, Self::ByEarlierDaemon { down: true } | Self::ByThisDaemon { down: true })
    }
}

/// What was asked for last.
#[derive(Debug)]
enum Step {
    Begin,
    /// Wait for a message, before a pass.
    Receive,
    /// Empty the inbox, so that a slow sink is not tried once a message; then pass, at once or after others have come.
    Collect {
        at_once: bool,
    },
    /// Send a last word ahead of records that can no longer be read.
    SendAhead {
        rest: vec::IntoIter<Sealed>,
    },
    LastWordLost,
    Sync,
    Read,
    Send {
        record: Sending,
        rest: vec::IntoIter<Sealed>,
        from: Source,
    },
    CheckPage,
    Check,
    Heartbeat,
    Disconnect {
        problem: String,
    },
    Failing {
        problem: String,
    },
    Date {
        problem: String,
    },
    ReportDown,
    Recovered,
    ReportBack,
    Stopped,
}

/// A record on its way.
#[derive(Debug)]
struct Sending {
    seq: u64,
    /// What it says about this sink, if anything: whether it is down.
    says_down: Option<bool>,
}

/// Where records come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Memory,
    Store,
}

impl Delivery {
    /// The delivery to this sink, whose receiver has read everything up to this record.
    pub(super) fn new(name: SinkName, delivered: u64) -> Self {
        Self {
            name,
            switch: Switch::Unknown,
            written: delivered,
            sent: delivered,
            delivered,
            synced: true,
            fresh: Vec::new(),
            heartbeat: None,
            queue: ReceiverQueue::Empty,
            sink: SinkState::Up,
            recorded: Recorded::ByEarlierDaemon { down: false },
            closed: false,
            step: Step::Begin,
        }
    }

    /// The last record that the receiver has read, and all before it.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// When the oldest record was written that waits for a failing sink.
    pub(super) fn waiting_since(&self) -> Option<BootTime> {
        match self.sink {
            SinkState::Up => None,
            SinkState::Failing { waiting_since } => waiting_since,
        }
    }

    /// Takes what came of the last act, and says what to do next.
    #[must_use]
    pub(super) fn next(&mut self, seen: Seen, now: BootTime) -> Act {
        match (std::mem::replace(&mut self.step, Step::Stopped), seen) {
            (Step::Begin, _) => self.wait(),

            (Step::Receive, Seen::Message(message)) => self.receive(message, false, now),
            (Step::Receive, Seen::Closed) => {
                // Whatever this pass does not deliver is delivered after the next start.
                self.closed = true;
                self.pass(now)
            }
            (Step::Receive, _) => self.pass(now),
            (Step::Collect { at_once }, Seen::Message(message)) => self.receive(message, at_once, now),
            (Step::Collect { at_once }, _) => {
                let may_wait = self.sink == SinkState::Up && self.fresh.len() < MAX_GATHERED;
                if !at_once && may_wait {
                    self.go(Step::Receive, Act::Receive(GATHER))
                } else {
                    self.pass(now)
                }
            }
            (Step::SendAhead { rest }, Seen::Done) => self.send_ahead(rest, now),
            (Step::SendAhead { .. }, _) => self.go(Step::LastWordLost, Act::Log(Notice::LastWordLost)),
            (Step::LastWordLost, _) => self.collect(true, now),

            (Step::Sync, Seen::Done) => {
                self.synced = true;
                self.send_new(now)
            }
            (Step::Read, Seen::Records(records)) if records.is_empty() => {
                // Somebody removed them from the store, which the chain shows; there is nothing to send.
                self.sent = self.written;
                self.check()
            }
            (Step::Read, Seen::Records(records)) => self.send(records.into_iter(), Source::Store),
            (Step::Send { record, rest, from }, Seen::Done) => {
                self.sent = record.seq;
                if let Some(down) = record.says_down {
                    self.recorded = Recorded::ByEarlierDaemon { down };
                }
                if let ReceiverQueue::Unread { checks, .. } = &mut self.queue {
                    *checks = 0;
                }
                self.send(rest, from)
            }
            (Step::CheckPage, Seen::AllRead(all)) => {
                if all {
                    self.queue = ReceiverQueue::Empty;
                    self.delivered = self.sent;
                }
                self.send_from_store()
            }
            (Step::Check, Seen::AllRead(true)) => {
                self.queue = ReceiverQueue::Empty;
                self.delivered = self.sent;
                if self.sent < self.written {
                    // Records that came while the queue was left alone.
                    return self.send_from_store();
                }
                match self.heartbeat.take_if(|heartbeat| heartbeat.seq <= self.sent) {
                    Some(heartbeat) => self.go(Step::Heartbeat, Act::Heartbeat(heartbeat)),
                    None => self.succeed(),
                }
            }
            (Step::Check, Seen::AllRead(false)) => self.unread(now),
            (Step::Heartbeat, Seen::Done) => self.succeed(),
            (
                Step::Sync | Step::Read | Step::Send { .. } | Step::CheckPage | Step::Check | Step::Heartbeat,
                seen,
            ) => self.fail(error_of(seen), now),

            (Step::Disconnect { problem }, _) => self.begin_to_fail(problem, now),
            (Step::Failing { problem }, _) => self.date(problem, now),
            (Step::Date { problem }, seen) => {
                let written_at = match seen {
                    Seen::Dated(Some(at)) => at.min(now),
                    // The boot clock counts from the boot: what an earlier boot has left waits since now.
                    _ => now,
                };
                self.sink = SinkState::Failing { waiting_since: Some(written_at) };
                self.report_down(written_at, problem, now)
            }
            (Step::ReportDown, seen) => {
                if let Seen::Reported(true) = seen {
                    self.recorded = Recorded::ByThisDaemon { down: true };
                }
                self.wait()
            }
            (Step::Recovered, _) => self.report_back(),
            (Step::ReportBack, seen) => {
                if let Seen::Reported(true) = seen {
                    self.recorded = Recorded::ByThisDaemon { down: false };
                }
                self.wait()
            }
            (Step::Stopped, _) => Act::Stop,
        }
    }

    fn go(&mut self, step: Step, act: Act) -> Act {
        self.step = step;
        act
    }

    /// Ends a pass: waits until a message comes or there is something to do without one.
    fn wait(&mut self) -> Act {
        if self.closed {
            return self.go(Step::Stopped, Act::Stop);
        }
        let [first, last] = CHECK_AFTER;
        let limit = if self.sink != SinkState::Up || self.recorded.is_down() {
            RETRY
        } else if self.sent > self.delivered {
            let checks = match self.queue {
                ReceiverQueue::Empty => 0,
                ReceiverQueue::Unread { checks, .. } => checks,
            };
            first.saturating_mul(1 << checks.min(10)).min(last)
        } else {
            IDLE
        };
        self.go(Step::Receive, Act::Receive(limit))
    }

    /// Takes in a message. `at_once`: one before it, of those that came together, is not to wait.
    fn receive(&mut self, message: Message, at_once: bool, now: BootTime) -> Act {
        match message {
            Message::Stored(seq) => self.written = self.written.max(seq),
            Message::Written { records, urgent } => {
                self.written = records.last().map_or(self.written, |record| record.seq);
                self.synced = urgent;
                if self.switch == Switch::On && self.sink == SinkState::Up {
                    self.fresh.extend(records.iter().cloned());
                } else {
                    // The store has them.
                    self.fresh.clear();
                }
                return self.collect(at_once || urgent, now);
            }
            Message::LastWord(records) => return self.receive_last_word(&records, now),
            Message::Switched { on } => self.switch = if on { Switch::On } else { Switch::Off },
            Message::Heartbeat(heartbeat) => self.heartbeat = Some(heartbeat),
        }
        self.collect(true, now)
    }

    fn collect(&mut self, at_once: bool, now: BootTime) -> Act {
        if self.fresh.len() >= MAX_IN_MEMORY {
            return self.pass(now);
        }
        self.go(Step::Collect { at_once }, Act::Receive(Duration::ZERO))
    }

    /// Appends the records to those in memory, so that they are sent in their order. If records before them are in the
    /// store only, these are sent ahead, and once more in their turn if the store comes back.
    fn receive_last_word(&mut self, records: &[Sealed], now: BootTime) -> Act {
        self.written = records.last().map_or(self.written, |record| record.seq);
        self.synced = true;
        if self.switch != Switch::On {
            return self.collect(true, now);
        }
        let next = self.fresh.last().map_or(self.sent, |record| record.seq) + 1;
        if records.first().is_some_and(|first| first.seq == next) {
            self.fresh.extend(records.iter().cloned());
            return self.collect(true, now);
        }
        self.send_ahead(Vec::from(records).into_iter(), now)
    }

    fn send_ahead(&mut self, mut rest: vec::IntoIter<Sealed>, now: BootTime) -> Act {
        match rest.next() {
            Some(record) => self.go(Step::SendAhead { rest }, Act::Send(record)),
            None => self.collect(true, now),
        }
    }

    /// Begins a pass: sends what was not sent, and checks what was read.
    fn pass(&mut self, now: BootTime) -> Act {
        match self.switch {
            Switch::Unknown => self.wait(),
            Switch::Off => {
                // Records that are written while the sink is switched off are not for it.
                self.fresh.clear();
                self.heartbeat = None;
                (self.sent, self.delivered) = (self.written, self.written);
                self.succeed()
            }
            // No copy may hold a record that a power cut takes from the store.
            Switch::On if !self.synced => self.go(Step::Sync, Act::Sync),
            Switch::On => self.send_new(now),
        }
    }

    fn send_new(&mut self, now: BootTime) -> Act {
        let fresh = std::mem::take(&mut self.fresh);
        // A queue that gets no more shows whether anybody reads it.
        if self.unread_for(now) > HOLD {
            return self.check();
        }
        if fresh.first().is_some_and(|first| first.seq == self.sent + 1) {
            return self.send(fresh.into_iter(), Source::Memory);
        }
        self.send_from_store()
    }

    fn send_from_store(&mut self) -> Act {
        if self.sent >= self.written {
            return self.check();
        }
        let limit = PAGE.min(self.written - self.sent);
        self.go(Step::Read, Act::Read { from: self.sent + 1, limit })
    }

    fn send(&mut self, mut rest: vec::IntoIter<Sealed>, from: Source) -> Act {
        match (rest.next(), from) {
            (Some(record), _) => {
                let sending = Sending { seq: record.seq, says_down: self.says_down(&record) };
                self.go(Step::Send { record: sending, rest, from }, Act::Send(record))
            }
            (None, Source::Memory) => self.check(),
            (None, Source::Store) => self.go(Step::CheckPage, Act::CheckRead),
        }
    }

    /// What a record says about this sink. An earlier daemon may have recorded the sink as down; that record waits for
    /// the sink like the rest and is read on the way. The last such record holds.
    fn says_down(&self, sealed: &Sealed) -> Option<bool> {
        if matches!(self.recorded, Recorded::ByThisDaemon { .. }) || !sealed.line.contains("\"sink.") {
            return None;
        }
        let record: Record = serde_json::from_str(&sealed.line).ok()?;
        record.facts.sink.filter(|sink| *sink == self.name.to_string())?;
        match record.event {
            AuditEvent::SinkDown => Some(true),
            AuditEvent::SinkBack => Some(false),
            _ => None,
        }
    }

    fn check(&mut self) -> Act {
        self.go(Step::Check, Act::CheckRead)
    }

    fn unread(&mut self, now: BootTime) -> Act {
        let (since, checks) = match self.queue {
            ReceiverQueue::Empty => (now, 0),
            ReceiverQueue::Unread { since, checks } => (since, checks),
        };
        self.queue = ReceiverQueue::Unread { since, checks: checks.saturating_add(1) };
        if self.unread_for(now) > UNREAD_LIMIT {
            return self.fail(SendError::Full("it does not read what it is sent".to_owned()), now);
        }
        self.succeed()
    }

    fn unread_for(&self, now: BootTime) -> Duration {
        match self.queue {
            ReceiverQueue::Empty => Duration::ZERO,
            ReceiverQueue::Unread { since, .. } => now.since(since),
        }
    }

    /// Ends a pass in which nothing failed. The sink is up once the receiver has read everything that was sent.
    fn succeed(&mut self) -> Act {
        if self.sent > self.delivered {
            return self.wait();
        }
        match std::mem::replace(&mut self.sink, SinkState::Up) {
            SinkState::Failing { .. } => self.go(Step::Recovered, Act::Log(Notice::Recovered)),
            SinkState::Up => self.report_back(),
        }
    }

    fn report_back(&mut self) -> Act {
        if self.recorded.is_down() {
            self.go(Step::ReportBack, Act::Report(SinkChange::Back))
        } else {
            self.wait()
        }
    }

    /// Ends a pass in which an act failed.
    fn fail(&mut self, error: SendError, now: BootTime) -> Act {
        match error {
            SendError::Full(problem) => self.begin_to_fail(problem, now),
            SendError::Lost(problem) => {
                // What was sent and not read is sent again.
                self.sent = self.delivered;
                self.queue = ReceiverQueue::Empty;
                self.go(Step::Disconnect { problem }, Act::Disconnect)
            }
        }
    }

    fn begin_to_fail(&mut self, problem: String, now: BootTime) -> Act {
        if self.sink != SinkState::Up {
            return self.date(problem, now);
        }
        self.sink = SinkState::Failing { waiting_since: None };
        let notice = Notice::Failing(problem.clone());
        self.go(Step::Failing { problem }, Act::Log(notice))
    }

    fn date(&mut self, problem: String, now: BootTime) -> Act {
        match self.waiting_since() {
            Some(since) => self.report_down(since, problem, now),
            None if self.delivered < self.written => {
                self.go(Step::Date { problem }, Act::Date(self.delivered + 1))
            }
            // Nothing waits for it.
            None => self.wait(),
        }
    }

    fn report_down(&mut self, since: BootTime, problem: String, now: BootTime) -> Act {
        if !self.recorded.is_down() && now.since(since) >= DOWN_AFTER {
            self.go(Step::ReportDown, Act::Report(SinkChange::Down { problem }))
        } else {
            self.wait()
        }
    }
}

/// Why an act failed. A result that no such act has is an error in the program, and fails it too.
fn error_of(seen: Seen) -> SendError {
    match seen {
        Seen::Failed(error) => error,
        _ => SendError::Full("internal error: an act had a result of another act".to_owned()),
    }
}

#[cfg(test)]
mod tests;
