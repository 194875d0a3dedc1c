//! Hands the audit records to the local syslog socket, in order, at least once.

mod syslog_line;

use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use jit_proto::chain::Sealed;
use tracing::{info, warn};

use crate::store::Reader;
use syslog_line::Rfc5424;

/// The local syslog socket (syslog(3)).
const SOCKET: &str = "/dev/log";
/// After a failure it is tried again this much later, or with the next record.
const RETRY: Duration = Duration::from_secs(1);
/// Records read at a time.
const PAGE: u64 = 256;

/// What the sink is told.
#[derive(Debug, Clone)]
pub enum ToSink {
    /// These records were written. What the sink has missed it reads from the store.
    Written(Vec<Sealed>),
    /// There are records up to this one in the store.
    Stored(u64),
    /// The enterprise number in the structured data.
    Enterprise(u32),
}

/// Starts the sink's thread. `report` learns of each record that was handed over; it keeps the cursor.
///
/// # Errors
/// When no thread can be started.
pub fn start(
    store: PathBuf,
    sent: u64,
    report: impl Fn(u64) + Send + 'static,
) -> std::io::Result<mpsc::Sender<ToSink>> {
    let (sender, inbox) = mpsc::channel();
    thread::Builder::new().name("audit-syslog".into()).spawn(move || {
        let mut sink = Sink {
            store,
            sent,
            written: sent,
            enterprise: 32473,
            logger: None,
            reader: None,
            fresh: Vec::new(),
            down: false,
        };
        loop {
            let wait = if sink.sent < sink.written { RETRY } else { Duration::from_secs(3600) };
            match inbox.recv_timeout(wait) {
                Ok(ToSink::Stored(seq)) => sink.written = sink.written.max(seq),
                Ok(ToSink::Written(records)) => {
                    sink.written = records.last().map_or(sink.written, |record| record.seq);
                    sink.fresh = records;
                }
                Ok(ToSink::Enterprise(number)) => sink.enterprise = number,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            if let Err(problem) = sink.drain(&report) {
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
    sent: u64,
    written: u64,
    enterprise: u32,
    logger: Option<syslog::Logger<syslog::LoggerBackend, Rfc5424>>,
    reader: Option<Reader>,
    /// The newest records, so that they need not be read back.
    fresh: Vec<Sealed>,
    down: bool,
}

impl Sink {
    fn drain(&mut self, report: &impl Fn(u64)) -> Result<(), String> {
        let fresh = std::mem::take(&mut self.fresh);
        if fresh.first().is_some_and(|first| first.seq == self.sent + 1) {
            return self.send(&fresh, report);
        }
        while self.sent < self.written {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                none => none.insert(Reader::open(&self.store).map_err(|error| error.to_string())?),
            };
            let records = reader.records(self.sent + 1, PAGE).map_err(|error| error.to_string())?;
            if records.is_empty() {
                // Somebody removed them from the store; the chain says so, and there is nothing to send.
                self.sent = self.written;
                report(self.sent);
                return Ok(());
            }
            self.send(&records, report)?;
        }
        Ok(())
    }

    fn send(&mut self, records: &[Sealed], report: &impl Fn(u64)) -> Result<(), String> {
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
            self.sent = record.seq;
        }
        report(self.sent);
        Ok(())
    }
}
