//! The interface of a destination of audit records.

use jit_proto::audit::chain::Sealed;

use super::heartbeat::Heartbeat;
use crate::core::policy::SinkSettings;

/// Why the receiver did not get a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SendError {
    /// The receiver is there and takes no more for now. It has what was sent before, which must not be sent again.
    Full(String),
    /// There is no connection. What was sent over it and not read is lost.
    Lost(String),
}

/// Sends records to one receiver.
pub(super) trait Sink: Send {
    /// Applies the settings. False if they switch the sink off.
    fn configure(&mut self, settings: &SinkSettings) -> bool;

    /// Sends one record.
    ///
    /// # Errors
    /// When the receiver has not taken it.
    fn send(&mut self, sealed: &Sealed) -> Result<(), SendError>;

    /// Whether the receiver has read everything that was sent.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn has_read_all(&mut self) -> Result<bool, SendError>;

    /// Sends a heartbeat.
    ///
    /// # Errors
    /// When the receiver has not taken it.
    fn heartbeat(&mut self, heartbeat: &Heartbeat) -> Result<(), SendError>;

    /// Closes the connection. The next record opens another one.
    fn disconnect(&mut self);
}
