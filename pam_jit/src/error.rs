//! Why the daemon did not answer.

use jit_proto::bus::names;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use std::time::Duration;

/// Why the daemon did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// The deadline of the PAM stage passed.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The socket or the pidfd of this process could not be created.
    #[error("the call cannot be made: {0}")]
    Means(std::io::Error),
    /// The socket does not exist, or no process listens.
    #[error("{socket}: {0}", socket = names::GATE_SOCKET)]
    Connect(std::io::Error),
    /// The process that listens on the gate's socket is not root's.
    #[error("its socket belongs to uid {0}")]
    NotRoots(u32),
    /// The connection ended before the answer, or the name on the bus has no owner.
    #[error("{0}")]
    Lost(String),
    /// An answer of another type, or too large.
    #[error("invalid answer: {0}")]
    Nonsense(String),
    /// The daemon answered with an error.
    #[error("{0}")]
    Error(String),
}

/// Whether the limit is this process's own, and not the host's.
pub(crate) fn is_own_limit(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(Errno::MFILE.raw_os_error())
}

/// The limit of open descriptors of this process (getrlimit(2), RLIMIT_NOFILE), if there is one.
pub(crate) fn descriptor_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}
