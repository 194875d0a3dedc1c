//! Sends each message to every sink's thread.

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{error, warn};

use super::cursor::Cursors;
#[cfg(feature = "linux-audit")]
use super::linux_audit;
use crate::engine::messages::ToSink;
use crate::host::clock::boot_now;

/// At the end of the daemon a sink that is slow is not waited for longer than this; the rest is sent after the start.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// All sinks.
#[derive(Debug)]
pub struct Sinks {
    pub(super) inboxes: Vec<mpsc::Sender<ToSink>>,
    pub(super) threads: Vec<JoinHandle<()>>,
    #[cfg(feature = "linux-audit")]
    pub(super) linux_audit: linux_audit::Teller,
    /// How far each has got.
    pub cursors: Cursors,
}

impl Sinks {
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
