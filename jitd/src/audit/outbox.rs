//! Carries the records from the store to one sink, in order, at least once.
//!
//! The audit table is the outbox: what a sink has not taken yet is read from there, also after a restart. A record counts
//! as taken when its receiver has read it, not when it was sent: what lies in the queue of a receiver that dies is lost
//! with it, and is sent again.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jit_proto::audit::chain::Sealed;
use jit_proto::audit::record::{AuditEvent, Record};
use jit_proto::time::BootTime;
use tracing::{info, warn};

use super::cursor::Reached;
use super::heartbeat::Heartbeat;
use super::sink::{SendError, Sink};
use crate::core::input::{Input, SinkChange, SinkName};
use crate::engine::handle::Handle;
use crate::engine::messages::ToSink;
use crate::host::clock::{Clock, boot_now};
use crate::store::Reader;
use crate::store::wal::sync_wal;

/// After a failure it is tried again this much later, or with the next record.
const RETRY: Duration = Duration::from_secs(1);
/// Records that tell of no decision wait so long for more to be sent with.
const GATHER: Duration = Duration::from_millis(50);
/// More of them are not gathered.
const MAX_GATHERED: usize = 64;
/// Records read at a time.
const PAGE: u64 = 256;
/// Whether the receiver has read what was sent is looked at again so much later, and then at growing intervals.
const LOOK_AGAIN: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(250)];
/// While something has not been read for this long, no more is sent.
const HOLD: Duration = Duration::from_secs(1);
/// A receiver that has not read all of it by then counts as one that is down.
const DEAF: Duration = Duration::from_secs(5);
/// A sink that takes nothing for this long is recorded as down: a restart of the syslog daemon is nothing to tell.
const DOWN_AFTER: Duration = Duration::from_secs(10);

/// Starts a sink's thread.
///
/// # Errors
/// When no thread can be started.
pub(super) fn start(
    name: SinkName,
    carrier: Box<dyn Sink>,
    store: PathBuf,
    reached: Arc<Reached>,
    engine: Handle,
    clock: Clock,
) -> std::io::Result<(mpsc::Sender<ToSink>, JoinHandle<()>)> {
    let (sender, inbox) = mpsc::channel();
    let sink = Outbox {
        name,
        carrier,
        store,
        written: reached.seq(),
        handed: reached.seq(),
        reached,
        engine,
        clock,
        reader: None,
        fresh: Vec::new(),
        heartbeat: None,
        on: None,
        unsynced: false,
        looked: 0,
        unread_since: None,
        trouble: None,
        told: false,
    };
    let thread = thread::Builder::new().name(format!("audit-{name}")).spawn(move || sink.run(&inbox))?;
    Ok((sender, thread))
}

struct Outbox {
    name: SinkName,
    carrier: Box<dyn Sink>,
    store: PathBuf,
    /// The last record there is.
    written: u64,
    /// The last record that was sent.
    handed: u64,
    reached: Arc<Reached>,
    engine: Handle,
    clock: Clock,
    reader: Option<Reader>,
    /// The newest records, so that they need not be read back.
    fresh: Vec<Sealed>,
    /// The last sign of life that was not sent yet: it has to come after the records it names.
    heartbeat: Option<Arc<Heartbeat>>,
    /// Whether the settings switch it on; not known before they were read.
    on: Option<bool>,
    /// The last records there are need not be on the disk yet.
    unsynced: bool,
    /// How often it was looked whether the receiver has read.
    looked: u32,
    /// Since when the receiver has not read what it was sent.
    unread_since: Option<BootTime>,
    /// Why nothing is taken.
    trouble: Option<String>,
    /// That has been recorded.
    told: bool,
}

impl Outbox {
    fn run(mut self, inbox: &mpsc::Receiver<ToSink>) {
        // Records that may wait for others wait no longer than `GATHER`.
        let mut gathering = false;
        loop {
            match inbox.recv_timeout(self.wait(gathering)) {
                Ok(message) => {
                    let mut at_once = self.hear(message);
                    // A receiver that is slow is not tried anew for each of those that have come meanwhile.
                    while let Ok(message) = inbox.try_recv() {
                        at_once |= self.hear(message);
                    }
                    gathering = !at_once && self.trouble.is_none() && self.fresh.len() < MAX_GATHERED;
                    if gathering {
                        continue;
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => gathering = false,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    // What is not taken now is sent after the next start.
                    self.go_on();
                    return;
                }
            }
            self.go_on();
        }
    }

    /// Takes in a message; returns whether it is to be acted on at once.
    fn hear(&mut self, message: ToSink) -> bool {
        match message {
            ToSink::Stored(seq) => self.written = self.written.max(seq),
            ToSink::Written { records, urgent } => {
                self.written = records.last().map_or(self.written, |record| record.seq);
                // What is urgent was brought onto the disk, with everything before it.
                self.unsynced = !urgent;
                if self.on == Some(true) && self.trouble.is_none() {
                    self.fresh.extend(records.iter().cloned());
                } else {
                    // The store has them, and memory is no place to wait.
                    self.fresh.clear();
                }
                return urgent;
            }
            ToSink::LastWord(records) => self.take_last_word(&records),
            ToSink::Settings(settings) => self.on = Some(self.carrier.configure(&settings)),
            ToSink::Heartbeat(heartbeat) => self.heartbeat = Some(heartbeat),
        }
        true
    }

    /// Puts records behind what is in memory, so that they go out in their order. Where something between them is in the
    /// store only, they go out ahead of it, and come again in their turn if the store comes back.
    fn take_last_word(&mut self, records: &[Sealed]) {
        self.written = records.last().map_or(self.written, |record| record.seq);
        self.unsynced = false;
        if self.on != Some(true) {
            return;
        }
        let next = self.fresh.last().map_or(self.handed, |record| record.seq) + 1;
        if records.first().is_some_and(|first| first.seq == next) {
            self.fresh.extend(records.iter().cloned());
            return;
        }
        for record in records {
            if self.carrier.send(record).is_err() {
                warn!("the store's files are gone, and sending the record of it to {} failed", self.name);
                return;
            }
        }
    }

    fn wait(&self, gathering: bool) -> Duration {
        let [soon, late] = LOOK_AGAIN;
        if gathering {
            GATHER
        } else if self.trouble.is_some() || self.told {
            RETRY
        } else if self.handed > self.reached.seq() {
            soon.saturating_mul(1 << self.looked.min(10)).min(late)
        } else {
            Duration::from_secs(3600)
        }
    }

    /// Sends what there is to send, and sees how far it got.
    fn go_on(&mut self) {
        let Some(on) = self.on else { return };
        if !on {
            // What was written while it was switched off is not for it.
            self.fresh.clear();
            self.heartbeat = None;
            self.handed = self.written;
            self.take(self.written);
            self.is_well();
            return;
        }
        let gone_well = self.bring_onto_the_disk().and_then(|()| self.drain()).and_then(|()| self.settle());
        match gone_well {
            Ok(()) => self.is_well(),
            Err(stopped) => self.is_in_trouble(stopped),
        }
    }

    /// No copy is ever to be ahead of the disk.
    fn bring_onto_the_disk(&mut self) -> Result<(), SendError> {
        if self.unsynced {
            sync_wal(&self.store).map_err(|error| SendError::Full(error.to_string()))?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// Sends what was not sent yet.
    fn drain(&mut self) -> Result<(), SendError> {
        let fresh = std::mem::take(&mut self.fresh);
        // Whether somebody reads shows when there is no more to read than before.
        if self.unread_since.is_some_and(|since| boot_now().since(since) > HOLD) {
            return Ok(());
        }
        if fresh.first().is_some_and(|first| first.seq == self.handed + 1) {
            return self.send(&fresh);
        }
        while self.handed < self.written {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                none => none
                    .insert(Reader::open(&self.store).map_err(|error| SendError::Full(error.to_string()))?),
            };
            let records = reader.records(self.handed + 1, PAGE.min(self.written - self.handed));
            let records = records.map_err(|error| SendError::Full(error.to_string()))?;
            if records.is_empty() {
                // Somebody removed them from the store; the chain says so, and there is nothing to send.
                self.handed = self.written;
                return Ok(());
            }
            self.send(&records)?;
            if self.carrier.has_read_all()? {
                self.take(self.handed);
            }
        }
        Ok(())
    }

    fn send(&mut self, records: &[Sealed]) -> Result<(), SendError> {
        for record in records {
            self.carrier.send(record)?;
            self.handed = record.seq;
            self.looked = 0;
            self.mind(record);
        }
        Ok(())
    }

    /// That this sink was down may have been recorded by an earlier daemon. Whatever says so waits for the sink like the
    /// rest, so it is read on the way, and what it says last holds.
    fn mind(&mut self, sealed: &Sealed) {
        if !sealed.line.contains("\"sink.") {
            return;
        }
        let Ok(record) = serde_json::from_str::<Record>(&sealed.line) else { return };
        if record.facts.sink.is_some_and(|sink| sink == self.name.to_string()) {
            self.told = match record.event {
                AuditEvent::SinkDown => true,
                AuditEvent::SinkBack => false,
                _ => self.told,
            };
        }
    }

    /// Counts as taken what was read.
    fn settle(&mut self) -> Result<(), SendError> {
        if self.carrier.has_read_all()? {
            self.unread_since = None;
            self.take(self.handed);
            if let Some(heartbeat) = self.heartbeat.take_if(|heartbeat| heartbeat.seq <= self.handed) {
                self.carrier.heartbeat(&heartbeat)?;
            }
            return Ok(());
        }
        self.looked += 1;
        let now = boot_now();
        let since = *self.unread_since.get_or_insert(now);
        if now.since(since) > DEAF {
            return Err(SendError::Full("it does not read what it is sent".to_owned()));
        }
        Ok(())
    }

    fn take(&self, seq: u64) {
        self.reached.advance(seq);
    }

    fn is_well(&mut self) {
        if self.handed > self.reached.seq() {
            // What was sent has to be read before anything is said to be well.
            return;
        }
        self.reached.waits_for_nothing();
        if self.trouble.take().is_some() {
            info!("{} takes audit records again", self.name);
        }
        if self.told && self.engine.try_tell(Input::Sink(self.name, SinkChange::Back)) {
            self.told = false;
        }
    }

    fn is_in_trouble(&mut self, stopped: SendError) {
        let problem = match stopped {
            SendError::Full(problem) => problem,
            SendError::Lost(problem) => {
                self.carrier.disconnect();
                // What was sent and not read comes again.
                self.handed = self.reached.seq();
                self.unread_since = None;
                problem
            }
        };
        if self.trouble.is_none() {
            warn!("audit records wait for {}: {problem}", self.name);
        }
        let since = match self.reached.waiting_since() {
            Some(since) => since,
            None if self.reached.seq() < self.written => {
                let since = self.oldest_written_at();
                self.reached.waits_since(since);
                since
            }
            None => boot_now(),
        };
        if !self.told && boot_now().since(since) >= DOWN_AFTER {
            self.told =
                self.engine.try_tell(Input::Sink(self.name, SinkChange::Down { problem: problem.clone() }));
        }
        self.trouble = Some(problem);
    }

    /// When the oldest record was written that is not taken, on this boot's clock. What an earlier boot has left
    /// waits since now: that clock counts from the boot.
    fn oldest_written_at(&mut self) -> BootTime {
        let (now, next) = (boot_now(), self.reached.seq() + 1);
        let oldest = match &mut self.reader {
            Some(reader) => reader.records(next, 1),
            none => Reader::open(&self.store).and_then(|reader| none.insert(reader).records(next, 1)),
        };
        let oldest = oldest.ok().and_then(|records| records.into_iter().next());
        let record = oldest.and_then(|sealed| serde_json::from_str::<Record>(&sealed.line).ok());
        let of_this_boot = record.filter(|record| record.boot_id == self.clock.now().boot_id.0);
        of_this_boot.map_or(now, |record| BootTime(record.boot_us).min(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::sync::{Mutex, PoisonError};

    use jit_proto::audit::record::{Draft, Facts};
    use jit_proto::time::{BootId, WallTime};
    use tokio::sync::mpsc::Receiver;

    use crate::core::effect::Commit;
    use crate::core::policy::SinkSettings;
    use crate::engine::handle::Message;
    use crate::store::{CommitMeta, Sent, Store};

    /// A receiver that misbehaves.
    #[derive(Default)]
    struct World {
        queue: VecDeque<u64>,
        read: Vec<u64>,
        /// It takes this many more and then has a full queue.
        room: Option<usize>,
        /// It has ended, with what was in its queue.
        dead: bool,
        beats: Vec<u64>,
        connections: u32,
    }

    impl World {
        fn reads(&mut self, count: usize) {
            let count = count.min(self.queue.len());
            self.read.extend(self.queue.drain(..count));
        }

        fn dies(&mut self) {
            self.queue.clear();
            self.dead = true;
        }
    }

    #[derive(Clone, Default)]
    struct Fake(Arc<Mutex<World>>);

    impl Fake {
        fn world(&self) -> std::sync::MutexGuard<'_, World> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl Sink for Fake {
        fn configure(&mut self, settings: &SinkSettings) -> bool {
            settings.journal
        }

        fn send(&mut self, sealed: &Sealed) -> Result<(), SendError> {
            let mut world = self.world();
            if world.dead {
                return Err(SendError::Lost("dead".to_owned()));
            }
            if let Some(room) = &mut world.room {
                *room = room.checked_sub(1).ok_or_else(|| SendError::Full("full".to_owned()))?;
            }
            world.queue.push_back(sealed.seq);
            Ok(())
        }

        fn has_read_all(&mut self) -> Result<bool, SendError> {
            let world = self.world();
            if world.dead { Err(SendError::Lost("dead".to_owned())) } else { Ok(world.queue.is_empty()) }
        }

        fn heartbeat(&mut self, heartbeat: &Heartbeat) -> Result<(), SendError> {
            self.world().beats.push(heartbeat.seq);
            Ok(())
        }

        fn disconnect(&mut self) {
            self.world().connections += 1;
        }
    }

    fn with_records(count: u64, test: impl FnOnce(&mut Outbox, &Fake)) {
        let events = (0..count).map(|_| (AuditEvent::AccessDenied, None)).collect();
        with_events(events, |sink, fake, _| test(sink, fake));
    }

    /// A sink that has taken nothing, and a store with these events, each with the sink that it is about.
    fn with_events(
        events: Vec<(AuditEvent, Option<SinkName>)>,
        test: impl FnOnce(&mut Outbox, &Fake, &mut Receiver<Message>),
    ) {
        let count = events.len() as u64;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jit.db");
        let mut store = Store::open(&path).unwrap();
        let clock = Clock::of_this_boot().unwrap();
        let draft = |(n, (event, sink)): (u64, (AuditEvent, Option<SinkName>))| Draft {
            event,
            wall: WallTime(n),
            boot: BootTime(n),
            boot_id: BootId("another".into()),
            facts: Facts { sink: sink.map(|sink| sink.to_string()), ..Facts::default() },
        };
        let drafts = (1..).zip(events).map(draft).collect();
        let kept = CommitMeta { highest_wall: WallTime(0), next_session: 1, sent: Sent::NOTHING };
        store.commit(vec![Commit { drafts, ..Commit::default() }], kept).unwrap();
        let (engine, mut inbox) = Handle::new();
        let fake = Fake::default();
        let mut sink = Outbox {
            name: SinkName::Syslog,
            carrier: Box::new(fake.clone()),
            store: path,
            written: count,
            handed: 0,
            reached: Arc::new(Reached::at(0)),
            engine,
            clock,
            reader: None,
            fresh: Vec::new(),
            heartbeat: None,
            on: Some(true),
            unsynced: false,
            looked: 0,
            unread_since: None,
            trouble: None,
            told: false,
        };
        test(&mut sink, &fake, &mut inbox);
    }

    #[test]
    fn what_a_receiver_takes_to_its_grave_comes_again_and_nothing_else_does() {
        with_records(9, |sink, fake| {
            sink.go_on();
            assert_eq!(sink.reached.seq(), 0, "sent is not read");
            fake.world().reads(4);
            sink.go_on();
            assert_eq!(sink.reached.seq(), 0, "a part is not all");
            fake.world().reads(5);
            sink.go_on();
            assert_eq!(sink.reached.seq(), 9);
        });
        with_records(9, |sink, fake| {
            sink.go_on();
            fake.world().reads(4);
            fake.world().dies();
            sink.go_on();
            assert!(sink.reached.waiting_since().is_some() && sink.trouble.is_some());
            fake.world().dead = false;
            sink.go_on();
            fake.world().reads(9);
            sink.go_on();
            assert_eq!(sink.reached.seq(), 9);
            assert_eq!(sink.reached.waiting_since(), None);
            let read = fake.world().read.clone();
            assert_eq!(read[..4], [1, 2, 3, 4]);
            assert_eq!(read[4..], [1, 2, 3, 4, 5, 6, 7, 8, 9], "in order, and none missing");
        });
    }

    #[test]
    fn a_full_queue_is_waited_for_and_gets_nothing_twice() {
        with_records(9, |sink, fake| {
            fake.world().room = Some(3);
            for _ in 0..5 {
                sink.go_on();
            }
            assert!(sink.reached.waiting_since().is_some(), "nobody reads, and that shows");
            assert_eq!(fake.world().connections, 0);
            fake.world().room = None;
            fake.world().reads(3);
            sink.go_on();
            fake.world().reads(9);
            sink.go_on();
            assert_eq!(fake.world().read, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
            assert_eq!(sink.reached.waiting_since(), None);
        });
    }

    #[test]
    fn a_sign_of_life_comes_after_the_records_that_it_names() {
        with_records(2, |sink, fake| {
            let beat = |seq| {
                Arc::new(Heartbeat {
                    at: WallTime(1),
                    seq,
                    hash: jit_proto::audit::hash::RecordHash::GENESIS,
                    grants: 0,
                    sessions: 0,
                    daemon: String::new(),
                    policy: String::new(),
                    every: Duration::from_secs(60),
                })
            };
            sink.heartbeat = Some(beat(2));
            sink.go_on();
            assert_eq!(fake.world().beats, [0; 0]);
            fake.world().reads(2);
            sink.go_on();
            assert_eq!(fake.world().beats, [2]);
            sink.heartbeat = Some(beat(3));
            sink.go_on();
            assert_eq!(fake.world().beats, [2], "record 3 was not sent yet");
        });
    }

    #[test]
    fn nothing_is_skipped_before_the_settings_are_known_and_everything_while_it_is_off() {
        with_records(3, |sink, fake| {
            sink.on = None;
            sink.go_on();
            assert_eq!((sink.reached.seq(), sink.handed), (0, 0));
            sink.on =
                Some(sink.carrier.configure(&SinkSettings { journal: false, ..SinkSettings::default() }));
            sink.go_on();
            assert_eq!(sink.reached.seq(), 3);
            assert!(fake.world().queue.is_empty());
        });
    }

    #[test]
    fn what_is_not_on_the_disk_does_not_leave_and_what_waits_is_not_kept_in_memory() {
        with_records(3, |sink, fake| {
            let store = sink.store.clone();
            sink.unsynced = true;
            sink.store = store.with_file_name("gone.db");
            sink.go_on();
            assert!(fake.world().queue.is_empty() && sink.trouble.is_some());
            let records: Arc<[Sealed]> = Reader::open(&store).unwrap().records(1, 3).unwrap().into();
            assert!(!sink.hear(ToSink::Written { records: Arc::clone(&records), urgent: false }));
            assert!(sink.fresh.is_empty());
            sink.store = store;
            sink.go_on();
            fake.world().reads(3);
            sink.go_on();
            assert_eq!(sink.reached.seq(), 3);
            assert!(!sink.unsynced);
        });
    }

    /// What an earlier daemon recorded is found in what waits, also where some of it was there twice.
    #[test]
    fn who_was_recorded_as_down_before_a_restart_is_recorded_as_back() {
        let (denied, down, back) = (AuditEvent::AccessDenied, AuditEvent::SinkDown, AuditEvent::SinkBack);
        let (own, other) = (Some(SinkName::Syslog), Some(SinkName::Journal));
        for (events, is_back) in [
            (vec![(denied, None), (down, own), (denied, None)], true),
            (vec![(down, own), (back, own), (denied, None), (down, own)], true),
            (vec![(down, own), (back, own), (denied, None)], false),
            (vec![(down, other)], false),
            (vec![(denied, own)], false),
        ] {
            with_events(events.clone(), |sink, fake, inbox| {
                sink.go_on();
                assert!(inbox.try_recv().is_err(), "nobody has read anything yet");
                fake.world().reads(9);
                sink.go_on();
                let said = inbox.try_recv().is_ok_and(|message| {
                    let back =
                        |event: &Input| matches!(event, Input::Sink(SinkName::Syslog, SinkChange::Back));
                    matches!(message, Message::Input(incoming) if back(&incoming.input))
                });
                assert_eq!(said, is_back, "{events:?}");
                sink.go_on();
                assert!(inbox.try_recv().is_err(), "once");
            });
        }
    }
}
