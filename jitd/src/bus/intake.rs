//! Limits the calls of each sender before any work is done for them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jit_proto::bus::names::{AUDIT_INTERFACE, GATE_INTERFACE, MANAGER_INTERFACE, error};
use jit_proto::identity::UserId;
use jit_proto::time::BootTime;
use tokio::sync::{Notify, mpsc};
use zbus::message::{Flags, Type};
use zbus::wire::Endian;
use zbus::{Connection, Message, fdo};

use super::end::End;
use super::refusals::Refusals;
use crate::core::limits::{Admission, Bounds, Limited, Limiter, Over, Rate};
use crate::host::clock::boot_now;
use crate::host::sys;
use crate::limits::Counter;

/// The bus itself, as a sender.
const THE_BUS: &str = "org.freedesktop.DBus";
/// The name of the D-Bus error for a call above a limit.
const LIMITS_EXCEEDED: &str = "org.freedesktop.DBus.Error.LimitsExceeded";
/// No user's scripts call more often than this for long.
const RATE: Rate = Rate { burst: 600, per_minute: 6_000 };
/// Limits for calls that are answered from memory.
const LIGHT: Bounds =
    Bounds { in_flight: 4, in_flight_in_all: 12, waiting: 24, waiting_in_all: 96, for_root: 8, rate: RATE };
/// Limits for calls that are answered with lists from memory.
const LISTS: Bounds =
    Bounds { in_flight: 1, in_flight_in_all: 3, waiting: 12, waiting_in_all: 48, for_root: 2, rate: RATE };
/// Limits for calls that read the audit log or the policy's files, and can take long.
const LONG: Bounds =
    Bounds { in_flight: 1, in_flight_in_all: 3, waiting: 4, waiting_in_all: 24, for_root: 2, rate: RATE };
/// An answer costs its user a call for each this many bytes. dbus-daemon reads small pieces from jitd, in turn with all
/// other callers, so long answers to one user delay the answers to others.
const BYTES_A_CALL: usize = 1024;
/// Limits for the gate's interface, which only root may call: `pam_jit`, for any user's sudo.
const GATE: Bounds =
    Bounds { in_flight: 1, in_flight_in_all: 2, waiting: 512, waiting_in_all: 8, for_root: 64, rate: RATE };
/// Senders that are remembered. The bus never reuses a unique name, so no entry becomes wrong.
const MAX_SENDERS: usize = 4096;
/// Senders whose uid is being looked up, and their waiting calls. A user who connects in a loop fills these entries as
/// fast as the bus admits connections, and the answers of the bus empty them at the same rate.
const MAX_UNKNOWN: usize = 2048;
const MAX_UNKNOWN_CALLS: usize = 24;
/// Bytes of all these calls together.
const MAX_UNKNOWN_BYTES: usize = 4 * 1024 * 1024;
/// Concurrent lookups of senders: the answers arrive together in one turn of the bus.
const LOOKUPS: usize = 64;
/// After this a call without an answer counts as finished: its task has failed.
const LOST_AFTER: Duration = Duration::from_secs(20 * 60);
/// Descriptors that a call may pass.
const MAX_DESCRIPTORS: usize = 1;

/// A message that was not read to its end, with its header.
pub(super) struct TooLarge {
    pub(super) header: Vec<u8>,
    pub(super) length: usize,
}

/// The calls of one connection.
#[derive(Debug)]
pub(super) struct Intake {
    state: Mutex<State>,
    wake: Notify,
    refusals: Refusals,
    unknown: mpsc::Sender<String>,
    counter: Counter,
    end: End,
}

/// What the tasks of an intake work with.
pub(super) struct Beside {
    unknown: mpsc::Receiver<String>,
}

#[derive(Debug)]
struct State {
    light: Limiter<Message>,
    lists: Limiter<Message>,
    long: Limiter<Message>,
    gate: Limiter<Message>,
    senders: HashMap<String, UserId>,
    parked: HashMap<String, Vec<Message>>,
    parked_bytes: usize,
    ready: VecDeque<Message>,
    /// Calls in progress, by sender and serial.
    begun: HashMap<(String, u32), Begun>,
}

#[derive(Debug, Clone, Copy)]
struct Begun {
    uid: UserId,
    weight: Weight,
    at: BootTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    Light,
    List,
    Long,
    Gate,
}

impl Intake {
    /// An intake for one connection.
    pub(super) fn new(counter: Counter, end: End) -> (Arc<Self>, Beside) {
        let (unknown, asked) = mpsc::channel(MAX_UNKNOWN);
        let state = State {
            light: Limiter::new(LIGHT),
            lists: Limiter::new(LISTS),
            long: Limiter::new(LONG),
            gate: Limiter::new(GATE),
            senders: HashMap::new(),
            parked: HashMap::new(),
            parked_bytes: 0,
            ready: VecDeque::new(),
            begun: HashMap::new(),
        };
        let intake = Self {
            state: Mutex::new(state),
            wake: Notify::new(),
            refusals: Refusals::default(),
            unknown,
            counter,
            end,
        };
        (Arc::new(intake), Beside { unknown: asked })
    }

    /// A call that waited and may begin now.
    pub(super) fn take_ready(&self) -> Option<Message> {
        self.state().next(boot_now())
    }

    /// Waits until there may be one.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Takes a received message; returns it if it may be handled now.
    pub(super) fn sort(&self, message: Message) -> Option<Message> {
        let sender = sender_of(&message);
        if message.message_type() != Type::MethodCall {
            return self.is_believed(&message, &sender).then_some(message);
        }
        if self.end == End::BusForCalls {
            self.counter.count(None, Limited::BusWithoutReply);
            return None;
        }
        let mut state = self.state();
        let uid = self.uid_of(&state, &sender);
        if message.primary_header().flags().contains(Flags::NO_REPLY_EXPECTED) {
            // A message without a reply asks for nothing that jitd does, and a refusal could not be sent.
            self.counter.count(uid, self.limited(true));
            return None;
        }
        if message.data().fds().len() > MAX_DESCRIPTORS {
            self.refuse(uid, &message, error::INVALID_ARGUMENT, "a call passes one descriptor at most");
            return None;
        }
        let Some(uid) = uid else {
            self.park(&mut state, sender, message);
            return None;
        };
        self.admit(&mut state, uid, sender, message)
    }

    /// The uid of the sender, if it is known already.
    fn uid_of(&self, state: &State, sender: &str) -> Option<UserId> {
        match self.end {
            End::Peer(peer) => Some(UserId(peer.uid)),
            End::Bus | End::BusForCalls => state.senders.get(sender).copied(),
        }
    }

    /// Whether a message that is no call is genuine.
    ///
    /// The bus lets any user send a signal to one connection, with any interface and path, and zbus cannot compare its
    /// sender with a well-known name. Signals of PID 1 and logind are broadcast, and matched by jitd's match rules, for
    /// which the bus compares the sender.
    fn is_believed(&self, message: &Message, sender: &str) -> bool {
        let believed = match (self.end, message.message_type()) {
            (End::Peer(_), _) => false,
            (_, Type::Signal) => message.header().destination().is_none() || sender == THE_BUS,
            // The bus delivers replies only for calls that were made.
            (_, _) => true,
        };
        if !believed {
            self.counter.count(None, self.limited(true));
        }
        believed
    }

    /// Refuses a call that is too large, of which only the header was read.
    pub(super) fn too_large(&self, TooLarge { mut header, length }: TooLarge) {
        if let Some(body) = header.get_mut(4..8) {
            body.fill(0);
        }
        let endian = if header.first() == Some(&b'B') { Endian::Big } else { Endian::Little };
        let message = sys::message(header, endian, Vec::new());
        // A malformed message, or one that passes descriptors, is dropped.
        let Ok(message) = message else { return };
        if message.message_type() == Type::MethodCall
            && !message.primary_header().flags().contains(Flags::NO_REPLY_EXPECTED)
        {
            let text = format!("a call of {length} bytes is too long");
            let uid = self.uid_of(&self.state(), &sender_of(&message));
            self.refuse(uid, &message, error::INVALID_ARGUMENT, &text);
        }
    }

    /// An answer was sent.
    pub(super) fn answered(&self, message: &Message) {
        if !matches!(message.message_type(), Type::MethodReturn | Type::Error) {
            return;
        }
        let header = message.header();
        let Some(serial) = header.reply_serial() else { return };
        let to = header.destination().map_or(String::new(), |to| to.as_str().to_owned());
        if self.state().answered(&(to, serial.get()), message.data().len(), boot_now()) {
            self.wake.notify_one();
        }
    }

    fn admit(&self, state: &mut State, uid: UserId, sender: String, message: Message) -> Option<Message> {
        let weight = weight_of(&message);
        let key = (sender, message.primary_header().serial_num().get());
        if state.begun.contains_key(&key) {
            // No client reuses a serial while it waits for the answer.
            self.counter.count(Some(uid), self.limited(false));
            return None;
        }
        let now = boot_now();
        match state.limiter(weight).arrive(uid, message, now) {
            Admission::Begin(message) => {
                state.begun.insert(key, Begun { uid, weight, at: now });
                Some(message)
            }
            Admission::Waits => None,
            Admission::Refused(message, over) => {
                state.drop_lost(now);
                self.counter.count(Some(uid), self.limited(false));
                self.refuse_over(Some(uid), &message, over);
                None
            }
        }
    }

    /// Keeps a call until its sender is known.
    fn park(&self, state: &mut State, sender: String, message: Message) {
        let new = !state.parked.contains_key(&sender);
        let own = state.parked.get(&sender).map_or(0, Vec::len);
        let length = message.data().len();
        let over = if own >= MAX_UNKNOWN_CALLS {
            Some(Over::User)
        } else if state.parked_bytes + length > MAX_UNKNOWN_BYTES
            || (new && (state.parked.len() >= MAX_UNKNOWN || self.unknown.try_send(sender.clone()).is_err()))
        {
            Some(Over::All)
        } else {
            None
        };
        if let Some(over) = over {
            self.counter.count(None, self.limited(false));
            self.refuse_over(None, &message, over);
            return;
        }
        state.parked_bytes += length;
        state.parked.entry(sender).or_default().push(message);
    }

    /// The sender is known now, or has disconnected.
    fn is_known(&self, sender: &str, uid: Option<UserId>) {
        let mut state = self.state();
        let calls = state.parked.remove(sender).unwrap_or_default();
        state.parked_bytes -= calls.iter().map(|call| call.data().len()).sum::<usize>();
        // A sender that has disconnected waits for no answer.
        let Some(uid) = uid else { return };
        if state.senders.len() >= MAX_SENDERS {
            state.senders.clear();
        }
        state.senders.insert(sender.to_owned(), uid);
        for call in calls {
            let begins = self.admit(&mut state, uid, sender.to_owned(), call);
            state.ready.extend(begins);
        }
        if !state.ready.is_empty() {
            self.wake.notify_one();
        }
    }

    fn refuse_over(&self, uid: Option<UserId>, message: &Message, over: Over) {
        self.refuse(uid, message, LIMITS_EXCEEDED, &format!("jitd refuses this call: {}", over.clause()));
    }

    fn refuse(&self, uid: Option<UserId>, message: &Message, name: &str, text: &str) {
        if let Ok(refusal) = Message::error(&message.header(), name).build(&text) {
            self.refusals.add(uid, refusal);
        }
    }

    fn limited(&self, without_reply: bool) -> Limited {
        match (self.end, without_reply) {
            (End::Peer(_), _) => Limited::Operators,
            (_, true) => Limited::BusWithoutReply,
            (_, false) => Limited::Bus,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn limiter(&mut self, weight: Weight) -> &mut Limiter<Message> {
        match weight {
            Weight::Light => &mut self.light,
            Weight::List => &mut self.lists,
            Weight::Long => &mut self.long,
            Weight::Gate => &mut self.gate,
        }
    }

    fn next(&mut self, now: BootTime) -> Option<Message> {
        if let Some(message) = self.ready.pop_front() {
            return Some(message);
        }
        for weight in [Weight::Gate, Weight::Light, Weight::List, Weight::Long] {
            if let Some((uid, message)) = self.limiter(weight).next_waiting() {
                let key = (sender_of(&message), message.primary_header().serial_num().get());
                if self.begun.contains_key(&key) {
                    self.limiter(weight).done(uid, now);
                    continue;
                }
                self.begun.insert(key, Begun { uid, weight, at: now });
                return Some(message);
            }
        }
        None
    }

    fn done(&mut self, key: &(String, u32), now: BootTime) -> bool {
        let Some(Begun { uid, weight, .. }) = self.begun.remove(key) else { return false };
        self.limiter(weight).done(uid, now);
        true
    }

    fn answered(&mut self, key: &(String, u32), length: usize, now: BootTime) -> bool {
        let Some(begun) = self.begun.get(key).copied() else { return false };
        // Readers of the audit log may read all of it; they are few, and read one page after the other.
        if matches!(begun.weight, Weight::Light | Weight::List) {
            let calls = u32::try_from(length / BYTES_A_CALL).unwrap_or(u32::MAX);
            self.limiter(begun.weight).charge(begun.uid, calls, now);
        }
        self.done(key, now)
    }

    fn drop_lost(&mut self, now: BootTime) {
        let lost = self.begun.iter().filter(|(_, begun)| now.since(begun.at) > LOST_AFTER);
        let lost: Vec<_> = lost.map(|(key, _)| key.clone()).collect();
        for key in lost {
            self.done(&key, now);
        }
        self.light.forget_idle(now);
        self.lists.forget_idle(now);
        self.long.forget_idle(now);
    }
}

/// The sender by the bus; empty without a bus.
fn sender_of(message: &Message) -> String {
    message.header().sender().map_or(String::new(), |sender| sender.as_str().to_owned())
}

fn weight_of(message: &Message) -> Weight {
    let header = message.header();
    let interface = header.interface().map_or("", |name| name.as_str());
    let member = header.member().map_or("", |name| name.as_str());
    match (interface, member) {
        (GATE_INTERFACE, _) => Weight::Gate,
        (AUDIT_INTERFACE, "Read" | "Search" | "Verify") | (MANAGER_INTERFACE, "PolicyCheck") => Weight::Long,
        (MANAGER_INTERFACE, "Pending" | "Grants" | "Sessions" | "Roles" | "PolicyShow")
        | ("org.freedesktop.DBus.Introspectable", _) => Weight::List,
        _ => Weight::Light,
    }
}

impl Beside {
    /// Sends refusals, and asks the bus for the uids of senders, on the connection itself, whose answers pass the
    /// intake.
    pub(super) async fn run(self, intake: Arc<Intake>, connection: Connection) {
        let Self { unknown } = self;
        let looking = look_up_senders(Arc::clone(&intake), connection.clone(), unknown);
        tokio::join!(intake.refusals.send(&connection), looking);
    }
}

async fn look_up_senders(intake: Arc<Intake>, connection: Connection, mut unknown: mpsc::Receiver<String>) {
    let Ok(bus) = fdo::DBusProxy::new(&connection).await else { return };
    let mut asking = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            sender = unknown.recv(), if asking.len() < LOOKUPS => {
                let Some(sender) = sender else { return };
                let (bus, intake) = (bus.clone(), Arc::clone(&intake));
                asking.spawn(async move {
                    let uid = match zbus::names::BusName::try_from(sender.as_str()) {
                        Ok(name) => bus.get_connection_unix_user(name).await.ok(),
                        Err(_) => None,
                    };
                    intake.is_known(&sender, uid.map(UserId));
                });
            }
            Some(_) = asking.join_next() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(sender: &str, flags: Option<Flags>) -> Message {
        let call = Message::method_call("/org/jitd/Jit1", "Show").interface(MANAGER_INTERFACE).sender(sender);
        let call = match flags {
            Some(flags) => call.with_flags(flags),
            None => call,
        };
        call.build(&1_u64).unwrap()
    }

    fn answer(call: &Message) -> Message {
        Message::method_return(&call.header()).build(&()).unwrap()
    }

    #[test]
    fn a_senders_calls_wait_until_it_is_known_and_then_begin_up_to_the_limit() {
        let (intake, mut beside) = Intake::new(Counter::default(), End::Bus);
        let calls: Vec<Message> = (0..40).map(|_| call(":1.7", None)).collect();
        assert!(calls.iter().all(|call| intake.sort(call.clone()).is_none()));
        assert_eq!(beside.unknown.try_recv().unwrap(), ":1.7");
        assert!(beside.unknown.try_recv().is_err(), "it is asked about once");
        let refused = std::iter::from_fn(|| intake.refusals.next_of_each().pop()).count();
        assert_eq!(refused, 40 - MAX_UNKNOWN_CALLS);
        intake.is_known(":1.7", Some(UserId(1000)));
        let begun: Vec<Message> = std::iter::from_fn(|| intake.take_ready()).collect();
        assert_eq!(begun.len(), LIGHT.in_flight);
        intake.answered(&answer(&begun[0]));
        assert!(intake.take_ready().is_some());
        assert!(intake.take_ready().is_none());
    }

    #[test]
    fn every_call_that_began_ends_with_its_answer() {
        let (intake, _beside) = Intake::new(Counter::default(), End::Bus);
        intake.is_known(":1.7", Some(UserId(1000)));
        for _ in 0..100 {
            let call = call(":1.7", None);
            let begun = intake.sort(call).unwrap();
            intake.answered(&answer(&begun));
        }
        assert_eq!(intake.state().light.in_flight(), 0);
        assert!(intake.state().begun.is_empty());
    }

    #[test]
    fn long_answers_take_more_of_the_allowance_than_short_ones() {
        let (intake, _beside) = Intake::new(Counter::default(), End::Bus);
        intake.is_known(":1.7", Some(UserId(1000)));
        let mut answered = 0;
        while let Some(begun) = intake.sort(call(":1.7", None)) {
            let answer =
                Message::method_return(&begun.header()).build(&"x".repeat(20 * BYTES_A_CALL)).unwrap();
            intake.answered(&answer);
            answered += 1;
        }
        assert_eq!(answered, usize::try_from(RATE.burst).unwrap().div_ceil(21));
    }

    #[test]
    fn nothing_is_begun_for_who_wants_no_answer_or_uses_a_number_twice() {
        let (intake, _beside) = Intake::new(Counter::default(), End::Bus);
        intake.is_known(":1.7", Some(UserId(1000)));
        assert!(intake.sort(call(":1.7", Some(Flags::NO_REPLY_EXPECTED))).is_none());
        let twice = call(":1.7", None);
        assert!(intake.sort(twice.clone()).is_some());
        assert!(intake.sort(twice).is_none());
        assert_eq!(intake.state().light.in_flight(), 1);
    }

    #[test]
    fn a_signal_that_somebody_sends_to_us_alone_is_not_believed() {
        let signal = |sender: &str, to: Option<&str>| {
            let signal = Message::signal(
                "/org/freedesktop/login1",
                "org.freedesktop.login1.Manager",
                "SessionRemoved",
            );
            let signal = signal.sender(sender);
            let signal = match to {
                Some(to) => signal.destination(to),
                None => signal,
            };
            signal.build(&()).unwrap()
        };
        for end in [End::Bus, End::BusForCalls] {
            let (intake, _beside) = Intake::new(Counter::default(), end);
            assert!(intake.sort(signal(":1.7", Some(":1.2"))).is_none());
            assert!(intake.sort(signal(":1.7", None)).is_some(), "the bus has matched it");
            assert!(intake.sort(signal(THE_BUS, Some(":1.2"))).is_some());
        }
        let (intake, _beside) = Intake::new(Counter::default(), End::BusForCalls);
        assert!(intake.sort(call(":1.7", None)).is_none(), "nobody calls there");
    }

    #[test]
    fn a_call_that_is_too_large_is_refused_by_its_header() {
        let (intake, _beside) = Intake::new(Counter::default(), End::Bus);
        let call = Message::method_call("/org/jitd/Jit1", "Request")
            .interface(MANAGER_INTERFACE)
            .sender(":1.7")
            .build(&"x".repeat(100_000))
            .unwrap();
        let body = call.body().len();
        let header = call.data()[..call.data().len() - body].to_vec();
        intake.too_large(TooLarge { header, length: call.data().len() });
        let refusal = intake.refusals.next_of_each().pop().unwrap();
        assert_eq!(refusal.header().reply_serial(), Some(call.primary_header().serial_num()));
        assert_eq!(refusal.header().destination().unwrap().as_str(), ":1.7");
    }
}
