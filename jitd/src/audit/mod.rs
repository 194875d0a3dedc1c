//! Hands the audit records to the local syslog socket, in order, at least once.

mod syslog_line;

#[cfg(feature = "linux-audit")]
mod linux_audit;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use jit_proto::chain::Sealed;
use tracing::{info, warn};

use crate::store::Reader;
use crate::store::disk::sync;
use syslog_line::Rfc5424;

/// The local syslog socket (syslog(3)).
const SOCKET: &str = "/dev/log";
/// After a failure it is tried again this much later, or with the next record.
const RETRY: Duration = Duration::from_secs(1);
/// Records that tell of no decision wait so long for more to be sent with.
const GATHER: Duration = Duration::from_millis(50);
/// More of them are not gathered.
const MOST_GATHERED: usize = 64;
/// Records read at a time.
const PAGE: u64 = 256;

/// What the sink is told.
#[derive(Debug, Clone)]
pub enum ToSink {
    /// These records were written. What the sink has missed it reads from the store.
    Written {
        /// The records.
        records: Vec<Sealed>,
        /// They tell of a decision, and are sent at once. Others may wait for more: each message wakes the syslog daemon,
        /// on a host where somebody waits for a sudo.
        urgent: bool,
    },
    /// There are records up to this one in the store.
    Stored(u64),
    /// The enterprise number in the structured data.
    Enterprise(u32),
}

/// Starts the sink's thread. `sent` is the last record that was handed over; the thread moves it on.
///
/// # Errors
/// When no thread can be started.
pub fn start(store: PathBuf, sent: Arc<AtomicU64>) -> std::io::Result<mpsc::Sender<ToSink>> {
    let (sender, inbox) = mpsc::channel();
    #[cfg(feature = "linux-audit")]
    let linux_audit = linux_audit::Teller::start()?;
    thread::Builder::new().name("audit-syslog".into()).spawn(move || {
        let mut sink = Sink {
            store,
            written: sent.load(Ordering::Relaxed),
            sent,
            enterprise: 32473,
            logger: None,
            reader: None,
            fresh: Vec::new(),
            down: false,
            #[cfg(feature = "linux-audit")]
            linux_audit,
        };
        // Records that may wait for others wait no longer than this.
        let mut gathering = false;
        loop {
            let wait = match (gathering, sink.reached() < sink.written) {
                (true, _) => GATHER,
                (false, true) => RETRY,
                (false, false) => Duration::from_secs(3600),
            };
            let got = inbox.recv_timeout(wait);
            gathering = false;
            match got {
                Ok(ToSink::Stored(seq)) => sink.written = sink.written.max(seq),
                Ok(ToSink::Written { records, urgent }) => {
                    sink.written = records.last().map_or(sink.written, |record| record.seq);
                    sink.fresh.extend(records);
                    if !urgent && !sink.down && sink.fresh.len() < MOST_GATHERED {
                        gathering = true;
                        continue;
                    }
                }
                Ok(ToSink::Enterprise(number)) => sink.enterprise = number,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    // What was gathered need not be on the disk yet, and syslog is never to be ahead of that.
                    if !sink.fresh.is_empty()
                        && let Err(problem) = sync(&sink.store)
                    {
                        warn!("audit records wait for the disk: {problem}");
                        gathering = true;
                        continue;
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    // What is not taken now is sent after the next start.
                    let _ = sink.drain();
                    return;
                }
            }
            if let Err(problem) = sink.drain() {
                if !sink.down {
                    warn!("audit records wait for syslog: {problem}");
                }
                sink.down = true;
                sink.logger = None;
            } else if sink.down {
                info!("syslog takes audit records again");
                sink.down = false;
            }
        }
    })?;
    Ok(sender)
}

struct Sink {
    store: PathBuf,
    sent: Arc<AtomicU64>,
    written: u64,
    enterprise: u32,
    logger: Option<syslog::Logger<syslog::LoggerBackend, Rfc5424>>,
    reader: Option<Reader>,
    /// The newest records, so that they need not be read back.
    fresh: Vec<Sealed>,
    down: bool,
    #[cfg(feature = "linux-audit")]
    linux_audit: linux_audit::Teller,
}

impl Sink {
    /// The last record that was handed over.
    fn reached(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn drain(&mut self) -> Result<(), String> {
        let fresh = std::mem::take(&mut self.fresh);
        if fresh.first().is_some_and(|first| first.seq == self.reached() + 1) {
            return self.send(&fresh);
        }
        while self.reached() < self.written {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                none => none.insert(Reader::open(&self.store).map_err(|error| error.to_string())?),
            };
            let reached = self.sent.load(Ordering::Relaxed);
            let records = reader
                .records(reached + 1, PAGE.min(self.written - reached))
                .map_err(|error| error.to_string())?;
            if records.is_empty() {
                // Somebody removed them from the store; the chain says so, and there is nothing to send.
                self.sent.store(self.written, Ordering::Relaxed);
                return Ok(());
            }
            self.send(&records)?;
        }
        Ok(())
    }

    fn send(&mut self, records: &[Sealed]) -> Result<(), String> {
        for record in records {
            let logger = match &mut self.logger {
                Some(logger) => logger,
                none => {
                    let format = Rfc5424::new(self.enterprise);
                    none.insert(syslog::unix_custom(format, SOCKET).map_err(|error| error.to_string())?)
                }
            };
            logger.formatter.enterprise = self.enterprise;
            syslog_line::send(logger, record).map_err(|error| error.to_string())?;
            self.sent.store(record.seq, Ordering::Relaxed);
            #[cfg(feature = "linux-audit")]
            self.linux_audit.tell(record);
        }
        Ok(())
    }
}
