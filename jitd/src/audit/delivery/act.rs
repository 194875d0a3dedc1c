//! The acts of a delivery, and what comes of them.

use std::sync::Arc;
use std::time::Duration;

use jit_proto::audit::chain::Sealed;
use jit_proto::time::BootTime;

use crate::audit::heartbeat::Heartbeat;
use crate::audit::sink::SendError;
use crate::core::input::SinkChange;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::audit) enum Act {
    /// Wait for a message, at most this long. Zero takes a message that is already there.
    Receive(Duration),
    /// Force the records in the store to the disk.
    Sync,
    /// Read records from the store.
    Read {
        /// The first one's number.
        from: u64,
        /// At most this many.
        limit: u64,
    },
    /// Send this record.
    Send(Sealed),
    /// Ask whether the receiver has read everything that was sent.
    CheckRead,
    /// Send this heartbeat.
    Heartbeat(Arc<Heartbeat>),
    /// Close the connection; the next send opens another one.
    Disconnect,
    /// Find out when the record of this number was written.
    Date(u64),
    /// Tell the engine, which records it.
    Report(SinkChange),
    /// Log it.
    Log(Notice),
    /// End the thread.
    Stop,
}

/// What the daemon's log says about the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::audit) enum Notice {
    /// The sink began to fail, for this reason.
    Failing(String),
    /// The sink takes records again.
    Recovered,
    /// Records that could be sent from memory only were not sent.
    LastWordLost,
}

/// A message from the engine.
#[derive(Debug, Clone)]
pub(in crate::audit) enum Message {
    /// The store has records up to this number.
    Stored(u64),
    /// The store has these records.
    Written {
        /// The records.
        records: Arc<[Sealed]>,
        /// They tell of a decision, are on the disk with all before them, and are sent at once.
        urgent: bool,
    },
    /// The store's files are gone; these records say so and can be sent from memory only.
    LastWord(Arc<[Sealed]>),
    /// The settings switch the sink on or off.
    Switched {
        /// On.
        on: bool,
    },
    /// A heartbeat, to be sent after the records that it names.
    Heartbeat(Arc<Heartbeat>),
}

/// What came of the last act.
#[derive(Debug, Clone)]
pub(in crate::audit) enum Seen {
    /// Nothing was done yet.
    Begin,
    /// A message came.
    Message(Message),
    /// No message came in that time.
    NoMessage,
    /// No message will come any more: the daemon ends.
    Closed,
    /// The act was performed.
    Done,
    /// The act failed.
    Failed(SendError),
    /// The records that the store has; empty if they were removed from it.
    Records(Vec<Sealed>),
    /// Whether the receiver has read everything.
    AllRead(bool),
    /// When the record was written, on this boot's clock; `None` if that is unknown or was before this boot.
    Dated(Option<BootTime>),
    /// Whether the engine has taken the report.
    Reported(bool),
}
