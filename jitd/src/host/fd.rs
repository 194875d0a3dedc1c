//! Descriptors that the runtime waits on.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Hands a descriptor to the runtime, to be waited on for this.
///
/// # Errors
/// When epoll does not take it (epoll_ctl(2)).
pub(crate) fn watched(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` keeps one and the same descriptor open for as long as it lives, and the `AsyncFd` owns it;
    // it takes itself out of epoll before it drops it.
    unsafe { AsyncFd::register_with_interest(descriptor, interest) }.map_err(Into::into)
}
