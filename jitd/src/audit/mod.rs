//! Where the audit records go: the local syslog socket, the journal, a file of JSON lines.
//!
//! Each sink has a thread, a connection and a cursor of its own, so that none waits for another.

mod outbox;

mod cursor;

mod sink;

mod syslog;

mod syslog_line;

mod journal;

mod json_lines;

mod datagram;

mod receiver;

mod heartbeat;

#[cfg(feature = "linux-audit")]
mod linux_audit;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use jit_proto::audit::chain::Sealed;
use tokio::sync::oneshot;
use tracing::{error, warn};

pub use crate::core::event::SinkName;
pub use crate::core::policy::SinkSettings;
pub use cursor::{Cursors, Reached};
pub use heartbeat::{Heartbeat, beat};

use crate::engine::Handle;
use crate::host::clock::{Clock, boot_now};
use sink::Sink;

/// At the end of the daemon a sink that is slow is not waited for longer than this; the rest is sent after the start.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// What a sink is told.
#[derive(Debug, Clone)]
pub enum ToSink {
    /// These records were written. What the sink has missed it reads from the store.
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
    /// There are records up to this one in the store.
    Stored(u64),
    /// What the policy says about sinks.
    Settings(Arc<SinkSettings>),
    /// A sign of life, behind the records that it names.
    Beat(Arc<Heartbeat>),
}

/// All sinks.
#[derive(Debug)]
pub struct Sinks {
    inboxes: Vec<mpsc::Sender<ToSink>>,
    threads: Vec<JoinHandle<()>>,
    #[cfg(feature = "linux-audit")]
    linux_audit: linux_audit::Teller,
    /// How far each has got.
    pub cursors: Cursors,
}

impl Sinks {
    /// Starts the sinks' threads.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(store: &Path, cursors: Cursors, engine: &Handle, clock: &Clock) -> io::Result<Self> {
        let all: [(SinkName, Box<dyn Sink>, &Arc<Reached>); 3] = [
            (SinkName::Syslog, Box::new(syslog::Syslog::new()), &cursors.syslog),
            (SinkName::Journal, Box::new(journal::Journal::new()), &cursors.journal),
            (SinkName::JsonLines, Box::new(json_lines::JsonLines::new()), &cursors.json_lines),
        ];
        let (mut inboxes, mut threads) = (Vec::new(), Vec::new());
        for (name, carrier, reached) in all {
            let (store, reached) = (PathBuf::from(store), Arc::clone(reached));
            let (inbox, thread) =
                outbox::start(name, carrier, store, reached, engine.clone(), clock.clone())?;
            inboxes.push(inbox);
            threads.push(thread);
        }
        Ok(Self {
            inboxes,
            threads,
            #[cfg(feature = "linux-audit")]
            linux_audit: linux_audit::Teller::start()?,
            cursors,
        })
    }

    /// Tells every sink.
    pub fn tell(&self, message: &ToSink) {
        #[cfg(feature = "linux-audit")]
        if let ToSink::Written { records, .. } = message {
            records.iter().for_each(|record| self.linux_audit.tell(record));
        }
        let Cursors { syslog, journal, json_lines } = &self.cursors;
        for (inbox, reached) in self.inboxes.iter().zip([syslog, journal, json_lines]) {
            if inbox.send(message.clone()).is_err() {
                // The records wait in the store, and nobody comes to fetch them.
                error!("a sink's thread has ended");
                if reached.waiting_since().is_none() {
                    reached.waits_since(boot_now());
                }
            }
        }
    }

    /// Without a policy records go where the settings say, if those at least can be read. If not, they wait: by default they
    /// could go where nobody looks, and would count as sent.
    pub fn go_without_policy(&self, settings: Option<SinkSettings>) {
        match settings {
            Some(settings) => self.tell(&ToSink::Settings(Arc::new(settings))),
            None => warn!("audit records wait until jitd.toml can be read: it says where they go"),
        }
    }

    /// Lets the sinks send what they were told, and ends them.
    pub async fn finish(&mut self) {
        self.inboxes.clear();
        let threads = std::mem::take(&mut self.threads);
        let (done, ended) = oneshot::channel();
        // No task of the runtime: the daemon would wait for that one at its end, however long it takes.
        std::thread::spawn(move || {
            threads.into_iter().for_each(|thread| drop(thread.join()));
            // Whoever waited may have given up.
            let _ = done.send(());
        });
        if tokio::time::timeout(LAST_WAIT, ended).await.is_err() {
            warn!("a sink is still busy; what it has not taken is sent after the next start");
        }
    }
}
