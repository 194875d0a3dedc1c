//! Takes over the listening socket that PID 1 holds for the gate (sd_listen_fds(3)).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

/// The gate's listening socket.
///
/// # Errors
/// When jitd was not started by its socket unit, or was handed something else.
pub(crate) fn gate() -> io::Result<UnixListener> {
    let mut handed = sd_notify::listen_fds()?;
    let (Some(first), None) = (handed.next(), handed.next()) else {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "no socket was handed over by PID 1; jitd is started by jitd.socket and jitd.service",
        ));
    };
    // SAFETY: `listen_fds` returns descriptors that PID 1 opened for this process and counted in LISTEN_FDS, checked
    // against LISTEN_PID; nothing else in this process knows the number, so this is its only owner.
    let descriptor = unsafe { OwnedFd::from_raw_fd(first) };
    let kind = rustix::net::sockopt::socket_domain(&descriptor)?;
    if kind != rustix::net::AddressFamily::UNIX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket handed over is not a local one"));
    }
    let listener = UnixListener::from(descriptor);
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::CLOEXEC)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
