//! The outbox with a store of its own and a receiver that misbehaves.

use super::*;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use jit_proto::audit::chain::Sealed;
use jit_proto::audit::record::{AuditEvent, Draft, Facts};
use jit_proto::time::{BootId, WallTime};
use tokio::sync::mpsc as engine_inbox;

use crate::audit::heartbeat::Heartbeat;
use crate::core::effect::Commit;
use crate::core::input::SinkChange;
use crate::core::policy::SinkSettings;
use crate::engine::handle::Message as ToEngine;
use crate::store::{CommitMeta, Sent, Store};

/// The receiver.
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

/// An outbox whose thread is the test's.
struct Bed {
    outbox: Outbox,
    fake: Fake,
    sender: mpsc::Sender<ToSink>,
    inbox: mpsc::Receiver<ToSink>,
    engine: engine_inbox::Receiver<ToEngine>,
}

impl Bed {
    fn tell(&self, message: ToSink) {
        self.sender.send(message).unwrap();
    }

    fn switch(&self, journal: bool) {
        self.tell(ToSink::Settings(Arc::new(SinkSettings { journal, ..SinkSettings::default() })));
    }

    /// Takes in what it was told, and does everything until it waits.
    fn pass(&mut self) {
        let mut seen = self.outbox.receive(&self.inbox, Duration::ZERO);
        loop {
            let act = self.outbox.next(seen);
            if matches!(act, Act::Receive(limit) if limit > Duration::ZERO) {
                return;
            }
            seen = self.outbox.perform(act, &self.inbox).unwrap();
        }
    }

    fn reached(&self) -> u64 {
        self.outbox.reached.seq()
    }

    fn is_waited_for(&self) -> bool {
        self.outbox.reached.waiting_since().is_some()
    }
}

fn with_records(count: u64, test: impl FnOnce(&mut Bed)) {
    with_events((0..count).map(|_| (AuditEvent::AccessDenied, None)).collect(), test);
}

/// An outbox that has sent nothing and does not know its settings, and a store with these events, each with the sink
/// that it is about.
fn with_events(events: Vec<(AuditEvent, Option<SinkName>)>, test: impl FnOnce(&mut Bed)) {
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
    let (handle, engine) = Handle::new();
    let (sender, inbox) = mpsc::channel();
    let (name, fake) = (SinkName::Syslog, Fake::default());
    let outbox = Outbox {
        name,
        delivery: Delivery::new(name, 0),
        sink: Box::new(fake.clone()),
        store: path,
        reader: None,
        reached: Arc::new(Reached::at(0)),
        engine: handle,
        clock,
    };
    let mut bed = Bed { outbox, fake, sender, inbox, engine };
    let _ = bed.outbox.next(Seen::Begin);
    bed.tell(ToSink::Stored(count));
    test(&mut bed);
}

#[test]
fn records_that_a_receiver_loses_when_it_ends_are_sent_again_and_no_others() {
    with_records(9, |bed| {
        bed.switch(true);
        bed.pass();
        assert_eq!(bed.reached(), 0, "sent is not read");
        bed.fake.world().reads(4);
        bed.pass();
        assert_eq!(bed.reached(), 0, "a part is not all");
        bed.fake.world().reads(5);
        bed.pass();
        assert_eq!(bed.reached(), 9);
    });
    with_records(9, |bed| {
        bed.switch(true);
        bed.pass();
        bed.fake.world().reads(4);
        bed.fake.world().dies();
        bed.pass();
        assert!(bed.is_waited_for());
        bed.fake.world().dead = false;
        bed.pass();
        bed.fake.world().reads(9);
        bed.pass();
        assert_eq!(bed.reached(), 9);
        assert!(!bed.is_waited_for());
        let read = bed.fake.world().read.clone();
        assert_eq!(read[..4], [1, 2, 3, 4]);
        assert_eq!(read[4..], [1, 2, 3, 4, 5, 6, 7, 8, 9], "in order, and none missing");
    });
}

#[test]
fn a_full_queue_is_waited_for_and_gets_nothing_twice() {
    with_records(9, |bed| {
        bed.switch(true);
        bed.fake.world().room = Some(3);
        for _ in 0..5 {
            bed.pass();
        }
        assert!(bed.is_waited_for(), "nobody reads, and that shows");
        assert_eq!(bed.fake.world().connections, 0);
        bed.fake.world().room = None;
        bed.fake.world().reads(3);
        bed.pass();
        bed.fake.world().reads(9);
        bed.pass();
        assert_eq!(bed.fake.world().read, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert!(!bed.is_waited_for());
    });
}

#[test]
fn a_heartbeat_comes_after_the_records_that_it_names() {
    with_records(2, |bed| {
        let heartbeat = |seq| {
            ToSink::Heartbeat(Arc::new(Heartbeat {
                at: WallTime(1),
                seq,
                hash: jit_proto::audit::hash::RecordHash::GENESIS,
                grants: 0,
                sessions: 0,
                daemon: String::new(),
                policy: String::new(),
                every: Duration::from_secs(60),
            }))
        };
        bed.switch(true);
        bed.tell(heartbeat(2));
        bed.pass();
        assert_eq!(bed.fake.world().beats, [0; 0]);
        bed.fake.world().reads(2);
        bed.pass();
        assert_eq!(bed.fake.world().beats, [2]);
        bed.tell(heartbeat(3));
        bed.pass();
        assert_eq!(bed.fake.world().beats, [2], "record 3 was not sent yet");
    });
}

#[test]
fn nothing_is_skipped_before_the_settings_are_known_and_everything_while_it_is_off() {
    with_records(3, |bed| {
        bed.pass();
        assert_eq!(bed.reached(), 0);
        bed.switch(false);
        bed.pass();
        assert_eq!(bed.reached(), 3);
        assert!(bed.fake.world().queue.is_empty());
    });
}

#[test]
fn what_is_not_on_the_disk_does_not_leave_the_host() {
    with_records(3, |bed| {
        let store = bed.outbox.store.clone();
        let records: Arc<[Sealed]> = Reader::open(&store).unwrap().records(1, 3).unwrap().into();
        bed.outbox.store = store.with_file_name("gone.db");
        bed.switch(true);
        bed.tell(ToSink::Written { records, urgent: false });
        bed.pass();
        assert!(bed.fake.world().queue.is_empty() && bed.is_waited_for());
        bed.outbox.store = store;
        bed.pass();
        bed.fake.world().reads(3);
        bed.pass();
        assert_eq!(bed.reached(), 3);
    });
}

/// What an earlier daemon recorded is found in what waits, also where some of it was there twice.
#[test]
fn a_sink_that_was_recorded_as_down_before_a_restart_is_recorded_as_back() {
    let (denied, down, back) = (AuditEvent::AccessDenied, AuditEvent::SinkDown, AuditEvent::SinkBack);
    let (own, other) = (Some(SinkName::Syslog), Some(SinkName::Journal));
    for (events, is_back) in [
        (vec![(denied, None), (down, own), (denied, None)], true),
        (vec![(down, own), (back, own), (denied, None), (down, own)], true),
        (vec![(down, own), (back, own), (denied, None)], false),
        (vec![(down, other)], false),
        (vec![(denied, own)], false),
    ] {
        with_events(events.clone(), |bed| {
            bed.switch(true);
            bed.pass();
            assert!(bed.engine.try_recv().is_err(), "nobody has read anything yet");
            bed.fake.world().reads(9);
            bed.pass();
            let said = bed.engine.try_recv().is_ok_and(|message| {
                let back = |event: &Input| matches!(event, Input::Sink(SinkName::Syslog, SinkChange::Back));
                matches!(message, ToEngine::Input(incoming) if back(&incoming.input))
            });
            assert_eq!(said, is_back, "{events:?}");
            bed.pass();
            assert!(bed.engine.try_recv().is_err(), "once");
        });
    }
}

#[test]
fn the_thread_sends_what_it_was_told_last_and_ends() {
    with_records(3, |bed| {
        bed.switch(true);
        let (sender, inbox) = mpsc::channel();
        let old = std::mem::replace(&mut bed.inbox, inbox);
        old.try_iter().for_each(|message| sender.send(message).unwrap());
        drop(sender);
        let mut seen = bed.outbox.receive(&bed.inbox, Duration::ZERO);
        loop {
            let act = bed.outbox.next(seen);
            match bed.outbox.perform(act, &bed.inbox) {
                Some(next) => seen = next,
                None => break,
            }
        }
        assert_eq!(bed.fake.world().queue, [1, 2, 3]);
    });
}
