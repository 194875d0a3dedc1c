//! What polkitd runs for jitd's rule: asks jitd whether a subject may do an action, and prints "yes" or nothing.
//!
//! polkitd does nothing else while this runs, for nobody (measured), so it has a limit of its own. It has polkitd's rights
//! and no others. It decides nothing: it opens a pidfd of the subject at once, passes that on with what the rule was told,
//! and jitd reads who the subject is.

use std::ffi::OsString;
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use jit_proto::bus::names::POLKIT_SOCKET;
use jit_proto::polkit_protocol::{MAX_COMMAND_LINE_BYTES, Question, YES};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, recv, sendmsg, socket_with, sockopt,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// From the start to the answer. polkitd's own limit is ten seconds.
const LIMIT: Duration = Duration::from_secs(1);

/// Asks by the words of this process's command line: ACTION SUBJECT PID PROGRAM TARGET COMMAND-LINE VERB UNIT, empty where
/// polkit was told no such thing. Prints "yes" where jitd says so, and fails otherwise.
#[must_use]
pub fn run() -> ExitCode {
    let deadline = now() + LIMIT;
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    match ask(&words, deadline) {
        Ok(true) if io::stdout().write_all(YES).is_ok() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            // polkitd's log is the one reader.
            let _ = writeln!(io::stderr(), "jit-polkit: refused: {error}");
            ExitCode::FAILURE
        }
    }
}

fn ask(words: &[OsString], deadline: Duration) -> io::Result<bool> {
    let [action, subject, pid, program, target, command_line, verb, unit] = words else {
        return Err(invalid("eight words are needed, as jitd's rule for polkit gives them"));
    };
    // First of all: the subject may end at any moment, and its pid be given to another process.
    let pid = pid.to_str().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
    let pidfd = pidfd_open(pid.ok_or_else(|| invalid("no pid"))?, PidfdFlags::empty())?;
    let text = |word: &OsString| word.to_string_lossy().into_owned();
    let (command_line, is_cut) = cut(text(command_line));
    let question = Question {
        action: text(action),
        subject: text(subject),
        program: text(program),
        target: text(target),
        command_line,
        is_cut,
        verb: text(verb),
        unit: text(unit),
    };
    let question = question.to_bytes().map_err(io::Error::other)?;
    let socket = connected(deadline)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut attached = SendAncillaryBuffer::new(&mut space);
    let passed = [pidfd.as_fd()];
    attached.push(SendAncillaryMessage::ScmRights(&passed));
    // The socket is new and its buffer empty, so what is sent goes out whole or not at all.
    let sent = sendmsg(&socket, &[IoSlice::new(&question)], &mut attached, SendFlags::NOSIGNAL)?;
    if sent != question.len() {
        return Err(invalid("only a part of the question was sent"));
    }
    answer(&socket, deadline)
}

/// A command line as far as it is sent, and whether that is not all of it.
fn cut(mut line: String) -> (String, bool) {
    let most = MAX_COMMAND_LINE_BYTES.min(line.len());
    let end = (0..=most).rev().find(|at| line.is_char_boundary(*at)).unwrap_or_default();
    let is_cut = end < line.len();
    line.truncate(end);
    (line, is_cut)
}

/// A socket that root listens on. Connecting never waits by itself: a full queue is an error (unix(7), EAGAIN).
fn connected(deadline: Duration) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let address = SocketAddrUnix::new(POLKIT_SOCKET)?;
    loop {
        match connect(&socket, &address) {
            Ok(()) => break,
            Err(Errno::AGAIN) => {
                let left = left(deadline)?.min(Duration::from_millis(5));
                // With no descriptor to look at it is a wait.
                let _ = poll(&mut [], Some(&timespec(left)));
            }
            Err(error) => {
                let why = io::Error::from(error);
                return Err(io::Error::new(why.kind(), format!("{POLKIT_SOCKET}: {why}")));
            }
        }
    }
    let peer = sockopt::socket_peercred(&socket)?;
    if peer.uid.is_root() { Ok(socket) } else { Err(invalid("the socket is not root's")) }
}

/// Whether the whole answer is exactly "yes".
fn answer(socket: &OwnedFd, deadline: Duration) -> io::Result<bool> {
    let mut come = Vec::new();
    let mut part = [0; 64];
    loop {
        let mut polled = [PollFd::new(socket, PollFlags::IN)];
        match poll(&mut polled, Some(&timespec(left(deadline)?))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        match recv(socket, &mut part, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Ok(come == YES),
            Ok((length, _)) => come.extend_from_slice(&part[..length]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if come.len() > YES.len() {
            return Ok(false);
        }
    }
}

/// What is left of the time.
fn left(deadline: Duration) -> io::Result<Duration> {
    let left = deadline.checked_sub(now()).filter(|left| !left.is_zero());
    left.ok_or_else(|| {
        io::Error::new(io::ErrorKind::TimedOut, format!("jitd gave no answer within {LIMIT:?}"))
    })
}

fn timespec(span: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: span.subsec_nanos().into(),
    }
}

fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_proto::polkit_protocol::NO;
    use std::os::unix::net::UnixStream;

    fn said(bytes: &[&[u8]]) -> io::Result<bool> {
        let (own, mut other) = UnixStream::pair().unwrap();
        bytes.iter().for_each(|part| other.write_all(part).unwrap());
        drop(other);
        answer(&own.into(), now() + LIMIT)
    }

    #[test]
    fn only_the_exact_word_is_a_yes() {
        assert!(said(&[b"ye", b"s\n"]).unwrap());
        for no in [NO, b"", b"yes", b"yes\n\n", b"yes\nno\n", b"Yes\n", b" yes\n", b"no\nyes\n"] {
            assert!(!said(&[no]).unwrap(), "{no:?}");
        }
    }

    #[test]
    fn without_an_answer_in_time_it_is_refused() {
        let (own, _other) = UnixStream::pair().unwrap();
        let waited = answer(&own.into(), now() + Duration::from_millis(50));
        assert_eq!(waited.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_command_line_is_cut_between_characters() {
        assert_eq!(cut("id -u".to_owned()), ("id -u".to_owned(), false));
        let (line, is_cut) = cut("ä".repeat(MAX_COMMAND_LINE_BYTES));
        assert!(is_cut && line.len() == MAX_COMMAND_LINE_BYTES && line.ends_with('ä'));
    }
}
