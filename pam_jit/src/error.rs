//! Why there is no answer from the daemon.

use jit_proto::bus::names;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use std::time::Duration;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// The deadline of the hook passed.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// No socket, or no pidfd of this process.
    #[error("the call cannot be made: {0}")]
    Means(std::io::Error),
    /// The socket is not there, or nobody listens.
    #[error("{socket}: {0}", socket = names::GATE_SOCKET)]
    Connect(std::io::Error),
    /// Somebody else than root listens on the gate's socket.
    #[error("its socket belongs to uid {0}")]
    NotRoots(u32),
    /// The connection ended before the answer, or nobody owns the name on the bus.
    #[error("{0}")]
    Lost(String),
    /// An answer of another type, or too large.
    #[error("invalid answer: {0}")]
    Nonsense(String),
    /// The daemon answered with an error.
    #[error("{0}")]
    Error(String),
}

/// Whether it is this process that may open no more, and not the host.
pub(crate) fn is_own_limit(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(Errno::MFILE.raw_os_error())
}

/// How many descriptors this process may have open (getrlimit(2), RLIMIT_NOFILE), where there is a limit.
pub(crate) fn descriptor_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}
