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
    /// What is to be done.
    pub order: SessionOrder,
    /// The process that called PAM. Where it is not at hand, its pid and start time identify it.
    pub pidfd: Option<OwnedFd>,
    /// Who waits until it is done.
    pub waiting: Option<SessionWaiter>,
}

/// Who waits until an order to the sessions is done.
pub enum SessionWaiter {
    /// A PAM call, until its process is in its scope.
    Gate(oneshot::Sender<Verdict>),
    /// A task, until processes outside of the scope were looked for.
    Reattached(oneshot::Sender<()>),
}

/// To each sink's thread.
#[derive(Debug, Clone)]
pub enum ToSink {
    /// These records were written. The sink reads from the store what it has missed.
    Written {
        /// The records.
        records: Arc<[Sealed]>,
        /// They tell of a decision, and are sent at once. Others may wait for more: each message wakes the syslog daemon,
        /// on a host where somebody waits for a sudo.
        urgent: bool,
    },
    /// The store's files are gone, and these records say so. They are sent from memory, and whatever waits before them
    /// with them: nothing can be read back or forced to a disk any more.
    LastWord(Arc<[Sealed]>),
    /// There are records up to this number in the store.
    Stored(u64),
    /// What the policy says about sinks.
    Settings(Arc<SinkSettings>),
    /// A heartbeat, behind the records that it names.
    Heartbeat(Arc<Heartbeat>),
}

/// To the drift scan's threads.
pub enum ToDrift {
    /// By the core.
    Update(DriftUpdate),
    /// The setting `setuid_paths`: below these paths privileged files are looked for. The first scan waits for it.
    Paths(Vec<PathBuf>),
    /// By its own scan thread: the result is ready.
    ScanFinished,
}

/// To the notifier's thread.
#[derive(Debug)]
pub enum ToNotifier {
    /// These records are written, and may concern people.
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
