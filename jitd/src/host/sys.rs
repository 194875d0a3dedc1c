//! All `unsafe` blocks of the daemon, each in a safe function and with its argument.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use sd_notify::listen_fds_with_names;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use zbus::Message;
use zbus::wire::Endian;
use zbus::wire::serialized::{Context, Data};

/// Registers a descriptor with the runtime.
///
/// # Errors
/// When epoll refuses it (epoll_ctl(2)).
pub(crate) fn watched(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` keeps one and the same descriptor open for as long as it lives, and the `AsyncFd` owns it;
    // it takes itself out of epoll before it drops it.
    unsafe { AsyncFd::register_with_interest(descriptor, interest) }.map_err(Into::into)
}

/// The descriptors that PID 1 passed, with their names (sd_listen_fds_with_names(3)).
///
/// # Errors
/// When `LISTEN_FDS` or `LISTEN_FDNAMES` is malformed, or on a second call.
pub(crate) fn passed_by_pid_1() -> io::Result<Vec<(OwnedFd, String)>> {
    static CALLED: AtomicBool = AtomicBool::new(false);
    if CALLED.swap(true, Ordering::SeqCst) {
        return Err(io::Error::other("the descriptors that PID 1 passed have an owner already"));
    }
    // SAFETY: `listen_fds_with_names` returns descriptors that PID 1 opened for this process and counted in LISTEN_FDS,
    // checked against LISTEN_PID. It names each once, nothing else in this process knows these numbers, and no second
    // call gets here. So this is their only owner.
    let own = |number: RawFd| unsafe { OwnedFd::from_raw_fd(number) };
    Ok(listen_fds_with_names()?.map(|(number, name)| (own(number), name)).collect())
}

/// Parses a D-Bus message.
///
/// # Errors
/// When the bytes are no message, or their number does not match the header.
pub(crate) fn message(bytes: Vec<u8>, endian: Endian, passed: Vec<OwnedFd>) -> zbus::Result<Message> {
    let data = Data::new_fds(bytes, Context::new(endian, 0), passed);
    // SAFETY: `from_bytes` asks that the bytes be a valid message. It parses the header with errors and not with trust,
    // and every body is deserialized with a check of its signature; zbus's own socket reader hands it bytes that were
    // checked no further. The callers have read as many bytes as the header says, in its byte order.
    unsafe { Message::from_bytes(data) }
}

/// Bytes that were sent on a socket and not read yet (unix(7), SIOCOUTQ).
///
/// # Errors
/// An error of ioctl(2).
pub(crate) fn unread_bytes(socket: impl AsFd) -> io::Result<i32> {
    let mut unread: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and SIOCOUTQ, which has the number of TIOCOUTQ
    // (linux/sockios.h), writes one int to where the pointer points.
    let done = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut unread) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(unread) }
}
