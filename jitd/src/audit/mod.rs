//! Delivers the audit records to the sinks: the local syslog socket, the journal, a file of JSON lines.
//!
//! Each sink has a thread, a connection and a cursor of its own, so that no sink waits for another.

mod delivery;

mod outbox;

pub mod cursor;

mod sink;

mod syslog;

mod syslog_line;

mod journal;

mod json_lines;

mod datagram;

mod receiver;

pub mod fanout;

pub mod heartbeat;

mod heartbeat_task;

#[cfg(feature = "linux-audit")]
mod linux_audit;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use heartbeat_task::send_heartbeats;

use crate::core::input::SinkName;
use crate::engine::handle::Handle;
use crate::host::clock::Clock;
use cursor::{Cursors, Reached};
use fanout::Sinks;
use sink::Sink;

/// Starts the sinks' threads.
///
/// # Errors
/// When no thread can be started.
pub fn start(store: &Path, cursors: Cursors, engine: &Handle, clock: &Clock) -> io::Result<Sinks> {
    let all: [(SinkName, Box<dyn Sink>, &Arc<Reached>); 3] = [
        (SinkName::Syslog, Box::new(syslog::Syslog::new()), &cursors.syslog),
        (SinkName::Journal, Box::new(journal::Journal::new()), &cursors.journal),
        (SinkName::JsonLines, Box::new(json_lines::JsonLines::new()), &cursors.json_lines),
    ];
    let (mut inboxes, mut threads) = (Vec::new(), Vec::new());
    for (name, sink, reached) in all {
        let (store, reached) = (PathBuf::from(store), Arc::clone(reached));
        let (inbox, thread) = outbox::start(name, sink, store, reached, engine.clone(), clock.clone())?;
        inboxes.push(inbox);
        threads.push(thread);
    }
    Ok(Sinks {
        inboxes,
        threads,
        #[cfg(feature = "linux-audit")]
        linux_audit: linux_audit::Teller::start()?,
        cursors,
    })
}
