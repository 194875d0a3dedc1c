//! What a destination of audit records has to be able to do.

use jit_proto::audit::chain::Sealed;

use super::heartbeat::Heartbeat;
use crate::core::policy::SinkSettings;

/// Why records do not get to their receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SendError {
    /// It is there and takes no more for now: what was sent is with it, and must not be sent again.
    Full(String),
    /// The connection is lost, or was never there: what was sent and not read is lost with it.
    Lost(String),
}

/// What carries records to one receiver.
pub(super) trait Sink: Send {
    /// Follows the settings. False if the sink is switched off.
    fn configure(&mut self, settings: &SinkSettings) -> bool;

    /// Sends one record.
    ///
    /// # Errors
    /// When it was not taken.
    fn send(&mut self, sealed: &Sealed) -> Result<(), SendError>;

    /// Whether everything that was sent has been read by its receiver.
    ///
    /// # Errors
    /// When nobody knows.
    fn has_read_all(&mut self) -> Result<bool, SendError>;

    /// Sends a sign of life.
    ///
    /// # Errors
    /// When it was not taken.
    fn heartbeat(&mut self, heartbeat: &Heartbeat) -> Result<(), SendError>;

    /// Lets go of the connection; the next record makes another one.
    fn disconnect(&mut self);
}
