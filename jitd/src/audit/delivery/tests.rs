//! The delivery against a store, a disk, an engine and a receiver that fail in every order.

use std::collections::{BTreeSet, VecDeque};

use jit_proto::audit::hash::RecordHash;
use jit_proto::audit::record::Facts;
use jit_proto::time::WallTime;
use proptest::prelude::*;

use super::*;

const NAME: SinkName = SinkName::Syslog;
/// More acts than any pass takes.
const MAX_ACTS: usize = 100_000;
const LARGEST_BATCH: u64 = 300;

/// What the receiver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receiver {
    Takes,
    /// Its queue has room for this many records.
    Room(usize),
    /// It has ended, with what was in its queue.
    Dead,
}

/// Everything around a delivery.
#[derive(Debug)]
struct World {
    store: Vec<Sealed>,
    written_at: Vec<BootTime>,
    /// The last record that is on the disk.
    on_disk: u64,
    /// How far the delivery had got when a record was written last; a new daemon begins there.
    kept: u64,
    receiver: Receiver,
    /// The receiver of this connection has ended; another one may listen by now.
    is_lost: bool,
    queue: VecDeque<u64>,
    read: BTreeSet<u64>,
    /// The record that has to be sent next.
    expected: u64,
    disk_fails: bool,
    store_fails: bool,
    engine_is_full: bool,
    inbox: VecDeque<Message>,
    /// What the engine was told: whether the sink is down.
    reports: Vec<bool>,
    logged: Vec<Notice>,
    beats: Vec<u64>,
    now: BootTime,
    /// How long it takes to send a record.
    send_takes: Duration,
    /// The receiver reads the records up to this one without being told to.
    reads_to: u64,
}

impl World {
    fn new() -> Self {
        Self {
            store: Vec::new(),
            written_at: Vec::new(),
            on_disk: 0,
            kept: 0,
            receiver: Receiver::Takes,
            is_lost: false,
            queue: VecDeque::new(),
            read: BTreeSet::new(),
            expected: 1,
            disk_fails: false,
            store_fails: false,
            engine_is_full: false,
            inbox: VecDeque::new(),
            reports: Vec::new(),
            logged: Vec::new(),
            beats: Vec::new(),
            now: BootTime(1_000_000),
            send_takes: Duration::ZERO,
            reads_to: 0,
        }
    }

    fn last(&self) -> u64 {
        self.store.len() as u64
    }

    fn append(&mut self, event: AuditEvent, about: Option<SinkName>) -> Sealed {
        let seq = self.last() + 1;
        let record = Record {
            v: 1,
            seq,
            prev: String::new(),
            time: String::new(),
            boot_us: self.now.0,
            boot_id: String::new(),
            event,
            facts: Facts { sink: about.map(|sink| sink.to_string()), ..Facts::default() },
        };
        let line = serde_json::to_string(&record).unwrap();
        let sealed = Sealed { seq, hash: String::new(), seal: None, line };
        self.store.push(sealed.clone());
        self.written_at.push(self.now);
        sealed
    }

    /// The engine commits a batch and tells the sink.
    fn write(&mut self, count: u64, urgent: bool) {
        let records: Vec<Sealed> = (0..count).map(|_| self.append(AuditEvent::AccessDenied, None)).collect();
        self.tell_written(records, urgent);
    }

    fn tell_written(&mut self, records: Vec<Sealed>, urgent: bool) {
        let urgent = urgent && !self.disk_fails;
        if urgent {
            self.on_disk = self.last();
        }
        self.inbox.push_back(Message::Written { records: records.into(), urgent });
    }

    fn reads(&mut self, count: usize) {
        let count = count.min(self.queue.len());
        self.read.extend(self.queue.drain(..count));
    }

    fn dies(&mut self) {
        self.queue.clear();
        (self.receiver, self.is_lost) = (Receiver::Dead, true);
    }

    /// The last record up to which the receiver has read all.
    fn read_without_a_gap(&self) -> u64 {
        (1..).zip(&self.read).take_while(|(n, seq)| n == *seq).count() as u64
    }

    fn answer(&mut self) -> Result<(), SendError> {
        match &mut self.receiver {
            _ if self.is_lost => Err(SendError::Lost("another one listens".to_owned())),
            Receiver::Takes => Ok(()),
            Receiver::Room(0) => Err(SendError::Full("full".to_owned())),
            Receiver::Room(room) => {
                *room -= 1;
                Ok(())
            }
            Receiver::Dead => Err(SendError::Lost("dead".to_owned())),
        }
    }

    fn perform(&mut self, act: Act, delivered: u64) -> Seen {
        let failed = |fails: bool| if fails { Err(SendError::Full("broken".to_owned())) } else { Ok(()) };
        let seen = match act {
            Act::Receive(_) => {
                return self.inbox.pop_front().map_or(Seen::NoMessage, Seen::Message);
            }
            Act::Sync => failed(self.disk_fails).map(|()| {
                self.on_disk = self.last();
                Seen::Done
            }),
            Act::Read { from, limit } => failed(self.store_fails).map(|()| {
                let from = usize::try_from(from - 1).unwrap();
                let page = self.store.iter().skip(from).take(usize::try_from(limit).unwrap());
                Seen::Records(page.cloned().collect())
            }),
            Act::Send(record) => self.answer().map(|()| {
                assert!(record.seq <= self.on_disk, "{} left before it was on the disk", record.seq);
                assert_eq!(record.seq, self.expected, "out of order");
                self.queue.push_back(record.seq);
                self.expected += 1;
                self.now = self.now.after(self.send_takes);
                if record.seq <= self.reads_to {
                    self.reads(usize::MAX);
                }
                Seen::Done
            }),
            Act::CheckRead if self.is_lost || self.receiver == Receiver::Dead => {
                Err(SendError::Lost("dead".to_owned()))
            }
            Act::CheckRead => Ok(Seen::AllRead(self.queue.is_empty())),
            Act::Heartbeat(heartbeat) => self.answer().map(|()| {
                assert!(heartbeat.seq < self.expected, "a heartbeat before the record that it names");
                self.beats.push(heartbeat.seq);
                Seen::Done
            }),
            Act::Disconnect => {
                self.queue.clear();
                self.is_lost = false;
                self.expected = delivered + 1;
                Ok(Seen::Done)
            }
            Act::Date(seq) => {
                let at = usize::try_from(seq - 1).unwrap();
                Ok(Seen::Dated(self.written_at.get(at).copied()))
            }
            Act::Report(_) if self.engine_is_full => Ok(Seen::Reported(false)),
            Act::Report(change) => {
                let is_down = matches!(change, SinkChange::Down { .. });
                self.reports.push(is_down);
                let event = if is_down { AuditEvent::SinkDown } else { AuditEvent::SinkBack };
                let record = self.append(event, Some(NAME));
                self.tell_written(vec![record], false);
                Ok(Seen::Reported(true))
            }
            Act::Log(notice) => {
                self.logged.push(notice);
                Ok(Seen::Done)
            }
            Act::Stop => panic!("nobody has ended it"),
        };
        seen.unwrap_or_else(Seen::Failed)
    }

    /// Does what the delivery says until it waits; returns how long it waits at most.
    fn run(&mut self, delivery: &mut Delivery) -> Duration {
        let mut seen = self.perform(Act::Receive(Duration::ZERO), 0);
        for _ in 0..MAX_ACTS {
            let act = delivery.next(seen, self.now);
            assert!(delivery.delivered() <= self.read_without_a_gap(), "delivered is what was read");
            assert!(delivery.fresh.len() as u64 <= MAX_IN_MEMORY as u64 + LARGEST_BATCH, "memory is bounded");
            match act {
                Act::Receive(limit) if !limit.is_zero() => {
                    let all = delivery.delivered() == delivery.written && delivery.fresh.is_empty();
                    assert!(all || limit <= RETRY, "something waits, and nothing is done for {limit:?}");
                    return limit;
                }
                act => seen = self.perform(act, delivery.delivered()),
            }
        }
        panic!("it does not come to an end");
    }

    fn sleep(&mut self, span: Duration, delivery: &mut Delivery) -> Duration {
        self.now = self.now.after(span);
        self.run(delivery)
    }

    /// A daemon that is started now.
    fn start(&mut self) -> Delivery {
        let mut delivery = Delivery::new(NAME, self.kept);
        self.is_lost = false;
        (self.expected, self.on_disk) = (self.kept + 1, self.last());
        self.inbox = [Message::Stored(self.last()), Message::Switched { on: true }].into();
        let _ = delivery.next(Seen::Begin, self.now);
        self.run(&mut delivery);
        delivery
    }
}

fn heartbeat(seq: u64) -> Message {
    Message::Heartbeat(Arc::new(Heartbeat {
        at: WallTime(1),
        seq,
        hash: RecordHash::GENESIS,
        grants: 0,
        sessions: 0,
        daemon: String::new(),
        policy: String::new(),
        every: Duration::from_secs(60),
    }))
}

#[test]
fn records_that_tell_of_no_decision_wait_for_others_and_decisions_do_not_wait() {
    let mut world = World::new();
    let mut delivery = world.start();
    world.write(1, false);
    assert_eq!(world.run(&mut delivery), GATHER);
    assert!(world.queue.is_empty());
    world.write(1, true);
    world.run(&mut delivery);
    assert_eq!(world.queue, [1, 2]);
    world.write(1, false);
    assert_eq!(world.run(&mut delivery), GATHER);
    world.write(MAX_GATHERED as u64, false);
    world.run(&mut delivery);
    assert_eq!(world.queue.len(), 3 + MAX_GATHERED, "enough have gathered");
}

#[test]
fn an_unread_queue_is_checked_at_growing_intervals_then_held_then_a_failure() {
    let mut world = World::new();
    let mut delivery = world.start();
    world.write(1, true);
    let mut limits = vec![world.run(&mut delivery)];
    for _ in 0..9 {
        let limit = *limits.last().unwrap();
        limits.push(world.sleep(limit, &mut delivery));
    }
    let limits: Vec<u128> = limits.iter().map(Duration::as_millis).collect();
    assert_eq!(limits, [2, 4, 8, 16, 32, 64, 128, 250, 250, 250]);
    world.write(1, true);
    assert_eq!(world.run(&mut delivery), Duration::from_millis(2), "it is sent more, and checked soon");
    world.now = world.now.after(HOLD);
    world.write(1, true);
    world.run(&mut delivery);
    assert_eq!(world.queue, [1, 2], "it is sent nothing more");
    assert!(world.logged.is_empty(), "{:?}", world.logged);
    assert_eq!(world.sleep(UNREAD_LIMIT, &mut delivery), RETRY);
    assert_eq!(world.logged, [Notice::Failing("it does not read what it is sent".to_owned())]);
}

#[test]
fn a_receiver_that_reads_after_a_hold_is_sent_the_rest_at_once() {
    let mut world = World::new();
    let mut delivery = world.start();
    world.write(1, true);
    world.run(&mut delivery);
    world.now = world.now.after(HOLD + HOLD);
    world.write(1, true);
    world.run(&mut delivery);
    assert_eq!(world.queue, [1]);
    world.reads(1);
    world.sleep(Duration::from_millis(250), &mut delivery);
    assert_eq!(world.queue, [2]);
}

#[test]
fn a_receiver_that_reads_page_after_page_does_not_fail_however_long_it_takes() {
    let mut world = World::new();
    let mut delivery = world.start();
    world.write(1, true);
    world.run(&mut delivery);
    for _ in 0..1000 {
        let _ = world.append(AuditEvent::AccessDenied, None);
    }
    world.inbox.push_back(Message::Stored(1001));
    (world.on_disk, world.reads_to, world.send_takes) = (1001, 1000, Duration::from_millis(10));
    assert_ne!(world.run(&mut delivery), RETRY);
    assert!(world.logged.is_empty(), "{:?}", world.logged);
    assert_eq!(world.queue, [1001]);
}

#[test]
fn a_failing_sink_has_nothing_in_memory_and_gets_it_from_the_store() {
    let mut world = World::new();
    let mut delivery = world.start();
    world.receiver = Receiver::Room(0);
    for _ in 0..10 {
        world.write(LARGEST_BATCH, true);
        world.run(&mut delivery);
        assert!(delivery.fresh.is_empty());
    }
    world.receiver = Receiver::Takes;
    world.sleep(RETRY, &mut delivery);
    assert_eq!(world.queue.len() as u64, world.last());
}

#[test]
fn a_flood_that_comes_faster_than_it_is_sent_is_not_gathered_without_bound() {
    let mut world = World::new();
    let mut delivery = world.start();
    for _ in 0..100 {
        world.write(LARGEST_BATCH, true);
    }
    world.run(&mut delivery);
    while !world.inbox.is_empty() {
        world.run(&mut delivery);
    }
    assert_eq!(world.queue.len() as u64, world.last());
}

#[test]
fn a_sink_is_recorded_as_down_after_ten_seconds_and_as_back_when_all_is_read_once_each() {
    let mut world = World::new();
    let mut delivery = world.start();
    world.dies();
    world.write(1, true);
    assert_eq!(world.run(&mut delivery), RETRY);
    assert_eq!(delivery.waiting_since(), Some(world.written_at[0]));
    world.engine_is_full = true;
    for _ in 0..12 {
        world.sleep(RETRY, &mut delivery);
    }
    assert!(world.reports.is_empty(), "the engine has taken nothing");
    world.engine_is_full = false;
    for _ in 0..3 {
        world.sleep(RETRY, &mut delivery);
    }
    assert_eq!(world.reports, [true]);
    world.receiver = Receiver::Takes;
    world.sleep(RETRY, &mut delivery);
    assert!(delivery.waiting_since().is_some(), "sent is not read");
    world.engine_is_full = true;
    world.reads(9);
    world.sleep(RETRY, &mut delivery);
    assert_eq!((world.reports.as_slice(), delivery.waiting_since()), (&[true][..], None));
    world.engine_is_full = false;
    for _ in 0..3 {
        world.sleep(RETRY, &mut delivery);
        world.reads(9);
    }
    assert_eq!(world.reports, [true, false]);
    assert_eq!(world.logged.len(), 2, "{:?}", world.logged);
}

#[test]
fn an_older_record_that_says_back_is_no_reason_to_report_an_outage_twice() {
    let mut world = World::new();
    let mut delivery = world.start();
    world.dies();
    world.write(1, true);
    for _ in 0..12 {
        world.sleep(RETRY, &mut delivery);
    }
    world.receiver = Receiver::Takes;
    world.sleep(RETRY, &mut delivery);
    // It takes all that waits; the next outage begins before it can take the record that says so.
    world.reads(9);
    world.receiver = Receiver::Room(0);
    for _ in 0..12 {
        world.sleep(RETRY, &mut delivery);
    }
    assert_eq!(world.reports, [true, false, true]);
    world.receiver = Receiver::Room(1);
    for _ in 0..3 {
        world.sleep(RETRY, &mut delivery);
    }
    assert_eq!(world.reports, [true, false, true], "the receiver has got the second record only");
}

#[test]
fn a_sink_with_nothing_to_take_is_not_down() {
    let mut world = World::new();
    let mut delivery = world.start();
    world.dies();
    world.inbox.push_back(heartbeat(0));
    for _ in 0..30 {
        world.sleep(RETRY, &mut delivery);
    }
    assert_eq!((world.reports.as_slice(), delivery.waiting_since()), (&[][..], None));
}

#[test]
fn records_of_an_earlier_boot_wait_since_now() {
    let now = BootTime(5_000_000);
    for (dated, expected) in [
        (Seen::Dated(None), now),
        (Seen::Dated(Some(BootTime(9_000_000))), now),
        (Seen::Dated(Some(BootTime(4_000_000))), BootTime(4_000_000)),
    ] {
        let mut world = World::new();
        let mut delivery = world.start();
        world.write(1, true);
        let message = world.inbox.pop_front().unwrap();
        assert_eq!(delivery.next(Seen::Message(message), now), Act::Receive(Duration::ZERO));
        assert!(matches!(delivery.next(Seen::NoMessage, now), Act::Send(_)));
        let act = delivery.next(Seen::Failed(SendError::Full("full".to_owned())), now);
        assert_eq!(act, Act::Log(Notice::Failing("full".to_owned())));
        assert_eq!(delivery.next(Seen::Done, now), Act::Date(1));
        assert_eq!(delivery.next(dated, now), Act::Receive(RETRY));
        assert_eq!(delivery.waiting_since(), Some(expected));
    }
}

/// Nothing counts as sent or read that was not answered with just that.
#[test]
fn a_result_of_another_act_is_a_failure() {
    for wrong in
        [Seen::Begin, Seen::NoMessage, Seen::AllRead(true), Seen::Records(Vec::new()), Seen::Reported(true)]
    {
        let mut world = World::new();
        let mut delivery = world.start();
        world.write(1, true);
        let message = world.inbox.pop_front().unwrap();
        let _ = delivery.next(Seen::Message(message), world.now);
        assert!(matches!(delivery.next(Seen::NoMessage, world.now), Act::Send(_)));
        assert!(matches!(delivery.next(wrong, world.now), Act::Log(Notice::Failing(_))));
        assert_eq!((delivery.sent, delivery.delivered()), (0, 0));
    }
}

#[test]
fn a_last_word_is_sent_behind_what_is_in_memory_or_ahead_of_what_cannot_be_read() {
    let mut world = World::new();
    let mut delivery = world.start();
    world.store_fails = true;
    world.disk_fails = true;
    world.on_disk = 9;
    world.write(1, false);
    let last = world.append(AuditEvent::AccessDenied, None);
    world.inbox.push_back(Message::LastWord(vec![last].into()));
    world.run(&mut delivery);
    assert_eq!(world.queue, [1, 2]);
    world.reads(2);
    world.sleep(RETRY, &mut delivery);

    // Records 3 to 12 are in the store only.
    for _ in 0..10 {
        let _ = world.append(AuditEvent::AccessDenied, None);
    }
    world.on_disk = 99;
    let last = world.append(AuditEvent::AccessDenied, None);
    world.expected = last.seq;
    world.inbox.push_back(Message::LastWord(vec![last.clone()].into()));
    assert_eq!(world.run(&mut delivery), RETRY);
    assert_eq!(world.queue, [13]);
    world.reads(1);
    world.store_fails = false;
    world.expected = 3;
    world.sleep(RETRY, &mut delivery);
    assert_eq!(world.queue, (3..=13).collect::<Vec<u64>>(), "all in their turn, when the store is back");

    world.receiver = Receiver::Room(0);
    world.inbox.push_back(Message::LastWord(vec![Sealed { seq: 20, ..last }].into()));
    world.run(&mut delivery);
    assert!(world.logged.contains(&Notice::LastWordLost), "{:?}", world.logged);
}

#[test]
fn at_the_end_of_the_daemon_it_sends_what_there_is_and_stops() {
    let mut world = World::new();
    let mut delivery = world.start();
    world.write(3, true);
    let message = world.inbox.pop_front().unwrap();
    let mut act = delivery.next(Seen::Message(message), world.now);
    loop {
        act = match act {
            Act::Stop => break,
            Act::Receive(_) => delivery.next(Seen::Closed, world.now),
            act => {
                let seen = world.perform(act, delivery.delivered());
                delivery.next(seen, world.now)
            }
        };
    }
    assert_eq!(world.queue, [1, 2, 3]);
    assert_eq!(delivery.next(Seen::Done, world.now), Act::Stop);
}

#[test]
fn a_sink_that_is_switched_off_takes_nothing_and_has_missed_nothing() {
    let mut world = World::new();
    world.write(3, true);
    let mut delivery = Delivery::new(NAME, 0);
    let _ = delivery.next(Seen::Begin, world.now);
    for (message, delivered) in [
        (Message::Stored(3), 0),
        (Message::Switched { on: false }, 3),
        (Message::Stored(5), 5),
        (heartbeat(5), 5),
    ] {
        assert_eq!(delivery.next(Seen::Message(message), world.now), Act::Receive(Duration::ZERO));
        assert_eq!(delivery.next(Seen::NoMessage, world.now), Act::Receive(IDLE));
        assert_eq!(delivery.delivered(), delivered);
    }
    let on = Message::Switched { on: true };
    assert_eq!(delivery.next(Seen::Message(on), world.now), Act::Receive(Duration::ZERO));
    assert_eq!(delivery.next(Seen::NoMessage, world.now), Act::CheckRead, "and no old heartbeat");
    assert_eq!(delivery.next(Seen::AllRead(true), world.now), Act::Receive(IDLE));
}

/// What may happen to it.
#[derive(Debug, Clone)]
enum Happens {
    Write { count: u64, urgent: bool },
    Beat,
    Reads(usize),
    Receiver(Receiver),
    Dies,
    Disk(bool),
    Store(bool),
    Engine(bool),
    Time(Duration),
    Restart,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => (1..4_u64, any::<bool>()).prop_map(|(count, urgent)| Happens::Write { count, urgent }),
        1 => (200..=LARGEST_BATCH).prop_map(|count| Happens::Write { count, urgent: true }),
        1 => Just(Happens::Beat),
        4 => (0..6_usize).prop_map(Happens::Reads),
        2 => Just(Happens::Reads(usize::MAX)),
        3 => prop::sample::select(vec![Receiver::Takes, Receiver::Takes, Receiver::Room(0), Receiver::Room(1), Receiver::Room(3)]).prop_map(Happens::Receiver),
        1 => Just(Happens::Dies),
        1 => any::<bool>().prop_map(Happens::Disk),
        1 => any::<bool>().prop_map(Happens::Store),
        1 => any::<bool>().prop_map(Happens::Engine),
        4 => (0..2_000_u64).prop_map(|ms| Happens::Time(Duration::from_millis(ms))),
        2 => (5..15_u64).prop_map(|s| Happens::Time(Duration::from_secs(s))),
        1 => Just(Happens::Restart),
    ]
}

proptest! {
    /// Checked after each act: records are sent in order and none is skipped, none before it is on the disk; what
    /// counts as delivered was read; memory is bounded; while something waits, something is done soon.
    #[test]
    fn every_record_is_read_in_the_end_and_an_outage_is_reported_once(
        story in prop::collection::vec(happens(), 0..60),
    ) {
        let mut world = World::new();
        let mut delivery = world.start();
        let mut restarted = false;
        for happens in story {
            match happens {
                Happens::Write { count, urgent } => {
                    world.kept = delivery.delivered();
                    world.write(count, urgent);
                }
                Happens::Beat => world.inbox.push_back(heartbeat(world.last())),
                Happens::Reads(count) => world.reads(count),
                Happens::Receiver(receiver) => world.receiver = receiver,
                Happens::Dies => world.dies(),
                Happens::Disk(fails) => world.disk_fails = fails,
                Happens::Store(fails) => world.store_fails = fails,
                Happens::Engine(full) => world.engine_is_full = full,
                Happens::Time(span) => world.now = world.now.after(span),
                Happens::Restart => {
                    delivery = world.start();
                    restarted = true;
                }
            }
            world.run(&mut delivery);
        }
        world.receiver = Receiver::Takes;
        (world.disk_fails, world.store_fails, world.engine_is_full) = (false, false, false);
        for _ in 0..20 {
            world.sleep(RETRY, &mut delivery);
            world.reads(usize::MAX);
        }
        prop_assert_eq!(world.read_without_a_gap(), world.last());
        prop_assert_eq!(delivery.delivered(), world.last());
        prop_assert_eq!(delivery.waiting_since(), None);
        if !restarted {
            let alternating: Vec<bool> = (0..world.reports.len()).map(|n| n % 2 == 0).collect();
            prop_assert_eq!(&world.reports, &alternating);
            prop_assert!(world.reports.len().is_multiple_of(2), "an outage that is over is recorded as over");
        }
    }
}
