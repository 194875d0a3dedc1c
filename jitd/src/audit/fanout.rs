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

/// At its end the daemon waits this long for the sinks. They send the rest after the next start.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// All sinks.
#[derive(Debug)]
pub struct Sinks {
    pub(super) inboxes: Vec<mpsc::Sender<ToSink>>,
    pub(super) threads: Vec<JoinHandle<()>>,
    #[cfg(feature = "linux-audit")]
    pub(super) linux_audit: linux_audit::Teller,
    /// The progress of each.
    pub cursors: Cursors,
}

impl Sinks {
    /// Sends the message to every sink.
    pub fn tell(&self, message: &ToSink) {
        #[cfg(feature = "linux-audit")]
        if let ToSink::Written { records, .. } = message {
            records.iter().for_each(|record| self.linux_audit.tell(record));
        }
        let Cursors { syslog, journal, json_lines } = &self.cursors;
        for (inbox, reached) in self.inboxes.iter().zip([syslog, journal, json_lines]) {
            if inbox.send(message.clone()).is_err() {
                // Its records stay in the store. `require_forwarding_within` sees them wait.
                error!("the thread of a sink has ended; its audit records wait until jitd is restarted");
                if reached.waiting_since().is_none() {
                    reached.waits_since(boot_now());
                }
            }
        }
    }

    /// Ends the sinks after each has sent the records that it was told of.
    pub async fn finish(&mut self) {
        self.inboxes.clear();
        let threads = std::mem::take(&mut self.threads);
        let (done, ended) = oneshot::channel();
        // A thread, not a blocking task: at its end the runtime waits for those without a limit.
        std::thread::spawn(move || {
            threads.into_iter().for_each(|thread| drop(thread.join()));
            // The receiver is gone after LAST_WAIT.
            let _ = done.send(());
        });
        if tokio::time::timeout(LAST_WAIT, ended).await.is_err() {
            warn!("a sink is still busy; the records that it has not taken are sent after the next start");
        }
    }
}
