//! A call over the gate's own socket: handshake and call are sent at once, and one answer is read.
//!
//! The messages are zbus's; its connection is not needed for a single call, and costs a sudo two percent (epoll, timer
//! and wake-up channel are created and dropped at each stage). Nothing the client sends in a D-Bus handshake depends on
//! the server's answers, so all of it is sent at once; the answer is compared with that of a server that accepts it,
//! before any message is parsed. Descriptors are sent and never received.
#![allow(unsafe_code)]

use crate::error::Unanswered;
use jit_proto::bus::names;
use jit_proto::pam_protocol::{HANDSHAKE, TAKEN, TAKEN_ID, message_length};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, recv, sendmsg, socket_with, sockopt,
};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;
use zbus::Message;
use zbus::wire::NATIVE_ENDIAN;
use zbus::wire::serialized::{Context, Data};

/// Largest answer, in bytes.
const MAX_REPLY_BYTES: usize = 128 * 1024;

/// How often a connection that was dropped before the question was read is tried again.
const TRIES: u32 = 3;

/// Connects, sends the call with this descriptor, and returns the answer.
///
/// The question follows the connection at once: the daemon drops a process that connects and does not ask, since its
/// user can stop it there. If the host was too busy for that, it tries again.
pub(crate) fn exchange(
    clock: &Deadline,
    call: &Message,
    passed: BorrowedFd<'_>,
) -> Result<Message, Unanswered> {
    let mut left = TRIES;
    loop {
        left -= 1;
        match exchange_once(clock, call, passed) {
            Err(Unanswered::Connect(error)) if left > 0 && is_not_taken(&error) && clock.left().is_some() => {
            }
            // The queue is full; there is room again when the daemon has accepted some callers.
            Err(Unanswered::Connect(error)) if is_full(&error) && clock.left().is_some() => {
                left += 1;
                pause();
            }
            outcome => return outcome,
        }
    }
}

/// Whether the peer closed without reading the whole question (unix(7): ECONNRESET where something was left unread,
/// EPIPE where it had closed before); it has then decided nothing.
fn is_not_taken(error: &io::Error) -> bool {
    [Errno::CONNRESET, Errno::PIPE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Whether the queue of callers is full (unix(7): EAGAIN from a non-blocking connect).
fn is_full(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::AGAIN.raw_os_error())
}

/// Waits for a moment.
fn pause() {
    // Without descriptors, poll is a wait that a signal may end early, which does no harm.
    let _ = poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 5_000_000 }));
}

fn exchange_once(clock: &Deadline, call: &Message, passed: BorrowedFd<'_>) -> Result<Message, Unanswered> {
    let socket = &connected()?;
    send(socket, call, passed)?;
    let mut come = Vec::with_capacity(1024);
    loop {
        if let Some(length) = whole(&come)? {
            let message = come[TAKEN.len()..length].to_vec();
            let data = Data::new(message, Context::new(NATIVE_ENDIAN, 0));
            // SAFETY: the bytes were checked for length and byte order above, and `from_bytes` parses the header with
            // errors and not with trust; zbus's own socket reader passes it bytes that were checked no further.
            return unsafe { Message::from_bytes(data) }
                .map_err(|error| Unanswered::Nonsense(error.to_string()));
        }
        wait(socket, clock)?;
        let mut part = [0; 2048];
        match recv(socket, &mut part, RecvFlags::empty()) {
            Ok((0, _)) => {
                return Err(Unanswered::Connect(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the connection was closed",
                )));
            }
            Ok((length, _)) => come.extend_from_slice(&part[..length]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(Unanswered::Connect(error.into())),
        }
    }
}

/// A socket whose peer is root. Connecting never blocks: a full queue is an error (unix(7), EAGAIN).
fn connected() -> Result<OwnedFd, Unanswered> {
    let means = |error: Errno| Unanswered::Means(error.into());
    let failed = |error: Errno| Unanswered::Connect(error.into());
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(means)?;
    let address = SocketAddrUnix::new(names::GATE_SOCKET).map_err(means)?;
    connect(&socket, &address).map_err(failed)?;
    let peer = sockopt::socket_peercred(&socket).map_err(failed)?;
    if !peer.uid.is_root() {
        return Err(Unanswered::NotRoots(peer.uid.as_raw()));
    }
    Ok(socket)
}

/// The socket is new and its buffer empty, so a message is sent whole or not at all.
fn send(socket: &OwnedFd, call: &Message, passed: BorrowedFd<'_>) -> Result<(), Unanswered> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut attached = SendAncillaryBuffer::new(&mut space);
    let descriptors = [passed];
    attached.push(SendAncillaryMessage::ScmRights(&descriptors));
    let parts = [IoSlice::new(HANDSHAKE), IoSlice::new(call.data())];
    let sent = sendmsg(socket, &parts, &mut attached, SendFlags::NOSIGNAL);
    let sent = sent.map_err(|error| Unanswered::Connect(error.into()))?;
    if sent != HANDSHAKE.len() + call.data().len() {
        return Err(Unanswered::Nonsense("only a part of the call was sent".to_owned()));
    }
    Ok(())
}

/// The total length of the handshake's answer and the message after it, once all of it has arrived.
fn whole(come: &[u8]) -> Result<Option<usize>, Unanswered> {
    if !come.iter().zip(0..).all(|(byte, place)| is_as_expected(*byte, place)) {
        return Err(Unanswered::Nonsense("the D-Bus handshake was rejected".to_owned()));
    }
    let Some(begun) = come.get(TAKEN.len()..) else { return Ok(None) };
    let length =
        message_length(begun, MAX_REPLY_BYTES).map_err(|why| Unanswered::Nonsense(why.to_owned()))?;
    let Some(length) = length.map(|length| TAKEN.len() + length) else { return Ok(None) };
    if come.len() > length {
        return Err(Unanswered::Nonsense("more than one answer".to_owned()));
    }
    Ok((come.len() == length).then_some(length))
}

/// Whether a byte at this position is that of a server that accepts the handshake; after the handshake, any byte is.
fn is_as_expected(byte: u8, place: usize) -> bool {
    match TAKEN.get(place) {
        _ if TAKEN_ID.contains(&place) => byte.is_ascii_hexdigit(),
        Some(expected) => byte == *expected,
        None => true,
    }
}

/// How long an answer is polled for without sleeping. It usually arrives within this time; sleeping was measured to
/// cost a sudo 2 %, since the processor has to be woken up as well.
const AWAKE: Duration = Duration::from_millis(1);

fn wait(socket: &OwnedFd, deadline: &Deadline) -> Result<(), Unanswered> {
    let mut polled = [PollFd::new(socket, PollFlags::IN)];
    let now_and_here = Timespec { tv_sec: 0, tv_nsec: 0 };
    while deadline.spent() < AWAKE {
        if poll(&mut polled, Some(&now_and_here)) == Ok(1) {
            return Ok(());
        }
        // On a host with one processor the daemon has to run.
        std::thread::yield_now();
    }
    let Some(left) = deadline.left() else { return Err(Unanswered::TimedOut(deadline.limit)) };
    let left = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    };
    match poll(&mut polled, Some(&left)) {
        Ok(0) => Err(Unanswered::TimedOut(deadline.limit)),
        // A signal is the program's own; the rest of the time is waited for.
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(Unanswered::Means(error.into())),
    }
}

/// The deadline of the PAM stage, on the monotonic clock.
pub(crate) struct Deadline {
    limit: Duration,
    end: Duration,
}

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        Self { limit, end: now() + limit }
    }

    fn spent(&self) -> Duration {
        self.limit.saturating_sub(self.end.saturating_sub(now()))
    }

    fn left(&self) -> Option<Duration> {
        self.end.checked_sub(now()).filter(|left| !left.is_zero())
    }
}

fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_when_all_of_it_has_come() {
        let call = Message::method_call("/", "Ask").build(&()).unwrap();
        let reply = Message::method_return(&call.header()).build(&"answer").unwrap();
        let all = [TAKEN, reply.data()].concat();
        for come in 0..all.len() {
            assert!(matches!(whole(&all[..come]), Ok(None)), "{come}");
        }
        assert_eq!(whole(&all).unwrap(), Some(all.len()));
        assert!(matches!(whole(&[&all[..], b"x"].concat()), Err(Unanswered::Nonsense(_))), "one more byte");
    }

    #[test]
    fn whatever_does_not_take_the_handshake_is_no_answer() {
        let mut rejected = TAKEN.to_vec();
        rejected[0] = b'R';
        let mut bad_id = TAKEN.to_vec();
        bad_id[TAKEN_ID.start] = b'x';
        let no_message = [TAKEN, &[0; 16]].concat();
        for bad in [b"HTTP/1.1 200 OK".to_vec(), rejected, bad_id, no_message] {
            assert!(matches!(whole(&bad), Err(Unanswered::Nonsense(_))), "{bad:?}");
        }
    }
}
