//! What the engine sends to each actor. The actors import this file; the engine imports no actor.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use jit_proto::audit::chain::Sealed;
use tokio::sync::oneshot;

use crate::audit::heartbeat::Heartbeat;
use crate::core::effect::{DriftUpdate, SessionOrder};
use crate::core::policy::{Policy, SinkSettings};
use crate::core::reply::Verdict;
use crate::core::retention::Retention;

/// To the task that holds the sessions' scopes.
pub struct ToSessions {
    /// The order.
    pub order: SessionOrder,
    /// The process that called PAM. Without it, its pid and start time identify the process.
    pub pidfd: Option<OwnedFd>,
    /// The receiver of the answer, once the order is done.
    pub waiting: Option<SessionWaiter>,
}

/// The receiver of an answer to an order.
pub enum SessionWaiter {
    /// A PAM call, until its process is in its scope.
    Gate(oneshot::Sender<Verdict>),
    /// A task, until processes outside of the scope were looked for.
    Reattached(oneshot::Sender<()>),
}

/// To each sink's thread.
#[derive(Debug, Clone)]
pub enum ToSink {
    /// These records were written. The sink reads records that it missed from the store.
    Written {
        /// The records.
        records: Arc<[Sealed]>,
        /// They are about a decision, and are sent at once. Other records may wait for more: each message wakes the
        /// syslog daemon, while a sudo may be waiting for the processor.
        urgent: bool,
    },
    /// The store's files are gone, and these records say so. They are sent from memory, with all that wait before them:
    /// nothing can be read back or synced any more.
    LastWord(Arc<[Sealed]>),
    /// The store has records up to this number.
    Stored(u64),
    /// The settings of sinks.
    Settings(Arc<SinkSettings>),
    /// A heartbeat, after the records that it names.
    Heartbeat(Arc<Heartbeat>),
}

/// To the drift scan's threads.
pub enum ToDrift {
    /// From the core.
    Update(DriftUpdate),
    /// The setting `setuid_paths`. The first scan waits for it.
    Paths(Vec<PathBuf>),
    /// From the scan thread: the result is ready.
    ScanFinished,
}

/// To the notifier's thread.
#[derive(Debug)]
pub enum ToNotifier {
    /// These records were written, and may cause notices.
    Written(Vec<u64>),
    /// A policy has come into force.
    Policy(Arc<Policy>),
}

/// To the retention's thread.
#[derive(Debug)]
pub enum ToRetention {
    /// The settings in force.
    Settings(Retention),
}
