//! The thread of one sink: performs what [`Delivery`] says, and tells it what came of it.
//!
//! The audit table is the outbox: what a sink has not taken yet is read from there, also after a restart.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jit_proto::audit::record::Record;
use jit_proto::time::BootTime;
use tracing::{info, warn};

use super::cursor::Reached;
use super::delivery::{Act, Delivery, Message, Notice, Seen};
use super::sink::{SendError, Sink};
use crate::core::input::{Input, SinkName};
use crate::engine::handle::Handle;
use crate::engine::messages::ToSink;
use crate::host::clock::{Clock, boot_now};
use crate::store::wal::sync_wal;
use crate::store::{Reader, StoreError};

/// Starts a sink's thread.
///
/// # Errors
/// When no thread can be started.
pub(super) fn start(
    name: SinkName,
    sink: Box<dyn Sink>,
    store: PathBuf,
    reached: Arc<Reached>,
    engine: Handle,
    clock: Clock,
) -> std::io::Result<(mpsc::Sender<ToSink>, JoinHandle<()>)> {
    let (sender, inbox) = mpsc::channel();
    let delivery = Delivery::new(name, reached.seq());
    let outbox = Outbox { name, delivery, sink, store, reader: None, reached, engine, clock };
    let thread = thread::Builder::new().name(format!("audit-{name}")).spawn(move || outbox.run(&inbox))?;
    Ok((sender, thread))
}

struct Outbox {
    name: SinkName,
    delivery: Delivery,
    sink: Box<dyn Sink>,
    store: PathBuf,
    /// Opened when a record is read from the store for the first time.
    reader: Option<Reader>,
    /// The delivery's progress, for the rest of the daemon.
    reached: Arc<Reached>,
    engine: Handle,
    clock: Clock,
}

impl Outbox {
    fn run(mut self, inbox: &mpsc::Receiver<ToSink>) {
        let mut seen = Some(Seen::Begin);
        while let Some(last) = seen {
            let act = self.next(last);
            seen = self.perform(act, inbox);
        }
    }

    /// The next act. What the rest of the daemon sees of the delivery is up to date before it is performed.
    fn next(&mut self, seen: Seen) -> Act {
        let act = self.delivery.next(seen, boot_now());
        self.reached.publish(self.delivery.delivered(), self.delivery.waiting_since());
        act
    }

    fn receive(&mut self, inbox: &mpsc::Receiver<ToSink>, limit: Duration) -> Seen {
        match inbox.recv_timeout(limit) {
            Ok(message) => Seen::Message(self.message(message)),
            Err(mpsc::RecvTimeoutError::Timeout) => Seen::NoMessage,
            Err(mpsc::RecvTimeoutError::Disconnected) => Seen::Closed,
        }
    }

    /// The engine's message for the delivery. The sink itself follows the settings.
    fn message(&mut self, message: ToSink) -> Message {
        match message {
            ToSink::Stored(seq) => Message::Stored(seq),
            ToSink::Written { records, urgent } => Message::Written { records, urgent },
            ToSink::LastWord(records) => Message::LastWord(records),
            ToSink::Settings(settings) => Message::Switched { on: self.sink.configure(&settings) },
            ToSink::Heartbeat(heartbeat) => Message::Heartbeat(heartbeat),
        }
    }

    /// Performs an act; returns what came of it, or `None` if it was the last.
    fn perform(&mut self, act: Act, inbox: &mpsc::Receiver<ToSink>) -> Option<Seen> {
        let done = |result: Result<(), SendError>| result.map(|()| Seen::Done);
        let performed = match act {
            Act::Receive(limit) => Ok(self.receive(inbox, limit)),
            Act::Sync => done(sync_wal(&self.store).map_err(|error| SendError::Full(error.to_string()))),
            Act::Read { from, limit } => match self.reader().and_then(|reader| reader.records(from, limit)) {
                Ok(records) => Ok(Seen::Records(records)),
                Err(error) => Err(SendError::Full(error.to_string())),
            },
            Act::Send(record) => done(self.sink.send(&record)),
            Act::CheckRead => self.sink.has_read_all().map(Seen::AllRead),
            Act::Heartbeat(heartbeat) => done(self.sink.heartbeat(&heartbeat)),
            Act::Disconnect => {
                self.sink.disconnect();
                Ok(Seen::Done)
            }
            Act::Date(seq) => Ok(Seen::Dated(self.written_at(seq))),
            Act::Report(change) => Ok(Seen::Reported(self.engine.try_tell(Input::Sink(self.name, change)))),
            Act::Log(notice) => {
                self.log(&notice);
                Ok(Seen::Done)
            }
            Act::Stop => return None,
        };
        Some(performed.unwrap_or_else(Seen::Failed))
    }

    fn reader(&mut self) -> Result<&Reader, StoreError> {
        match &mut self.reader {
            Some(reader) => Ok(reader),
            none => Ok(none.insert(Reader::open(&self.store)?)),
        }
    }

    /// When the first record from this number on was written, if that was since the last boot.
    fn written_at(&mut self, seq: u64) -> Option<BootTime> {
        let oldest = self.reader().and_then(|reader| reader.records(seq, 1)).ok()?.into_iter().next()?;
        let record: Record = serde_json::from_str(&oldest.line).ok()?;
        (record.boot_id == self.clock.now().boot_id.0).then_some(BootTime(record.boot_us))
    }

    fn log(&self, notice: &Notice) {
        match notice {
            Notice::Failing(problem) => warn!("audit records wait for {}: {problem}", self.name),
            Notice::Recovered => info!("{} takes audit records again", self.name),
            Notice::LastWordLost => {
                warn!("the store's files are gone, and sending the record of it to {} failed", self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
