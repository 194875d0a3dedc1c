//! Removes expired records from the store: archives them, records the removal, and has them removed in batches.
//!
//! Each step is on the disk before the next: the archive file, which gets its name when it is complete; the record that
//! names the removed records, together with the first removals; the other removals. After a crash before that record
//! the file is written again; after one behind it the next start continues the removals. So no record is lost, and none
//! is missing without another one that says so.
//!
//! A thread of the lowest priority. The engine removes the records, between its other work.

pub mod segment;

use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use jit_proto::audit::chain::{Broken, Head};
use jit_proto::time::WallTime;
use tracing::{error, info};

use crate::core::retention::{PruneBatch, Retention, Stock, due};
use crate::engine::handle::{BlockingHandle, Handle, Stopped};
use crate::engine::messages::ToRetention;
use crate::host::priority::lower_priority;
use crate::store::wal::checkpoint_if_long;
use crate::store::{Reader, StoreError};

/// The interval between checks; new settings are checked at once.
const OFTEN: Duration = Duration::from_secs(3600);
/// The interval between checks while a sink lags.
const SOON: Duration = Duration::from_secs(60);
/// The pause between two transactions that remove records, for decisions.
const PAUSE: Duration = Duration::from_millis(10);
/// The length of the WAL is checked after this many of them.
const LOG_EVERY: u32 = 32;
const NICE: i32 = 19;

/// Why expired records are not removed.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The expired records are broken: they are evidence.
    #[error("{0}; no record is removed until this is resolved (jitctl audit verify)")]
    Broken(#[from] Broken),
    /// The archive cannot be written.
    #[error("{path}: {error}", path = .path.display())]
    Archive {
        /// The file or folder.
        path: PathBuf,
        /// The problem.
        error: String,
    },
    /// The engine has ended.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Starts the thread. It does nothing before it has settings.
///
/// # Errors
/// When no thread can be started.
pub fn start(store: PathBuf, engine: Handle) -> std::io::Result<mpsc::Sender<ToRetention>> {
    let (sender, inbox) = mpsc::channel();
    thread::Builder::new().name("retention".into()).spawn(move || {
        lower_priority(NICE);
        let engine = engine.blocking();
        Keeper { store, engine, inbox, settings: None, told: String::new() }.run();
    })?;
    Ok(sender)
}

/// The result of a check.
#[derive(Debug, Clone, Copy)]
enum Looked {
    /// Nothing has to be removed.
    Nothing,
    /// A sink lags, and the records stay until it has them.
    ASinkLags,
    /// A segment was removed.
    Removed,
}

struct Keeper {
    store: PathBuf,
    engine: BlockingHandle,
    inbox: mpsc::Receiver<ToRetention>,
    settings: Option<Retention>,
    /// The last problem that was logged.
    told: String,
}

impl Keeper {
    /// Runs until the engine has ended.
    fn run(mut self) {
        let mut wait = OFTEN;
        while self.wait_for_settings(wait) {
            wait = OFTEN;
            match self.look() {
                Ok(Looked::Nothing) => self.told.clear(),
                Ok(Looked::ASinkLags) => wait = SOON,
                // There may be more.
                Ok(Looked::Removed) => wait = PAUSE,
                Err(RetentionError::Stopped(_)) => return,
                Err(problem) => {
                    let problem = problem.to_string();
                    if self.told != problem {
                        error!("expired records stay in the store: {problem}");
                    }
                    self.told = problem;
                }
            }
        }
    }

    /// Waits for new settings, at most this long; false when the engine has ended.
    fn wait_for_settings(&mut self, wait: Duration) -> bool {
        match self.inbox.recv_timeout(wait) {
            Ok(ToRetention::Settings(settings)) => self.settings = Some(settings),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    /// Removes a segment, if one has expired.
    fn look(&mut self) -> Result<Looked, RetentionError> {
        // First the removal that an earlier run began.
        self.prune_rest()?;
        let Some(settings) = self.settings.clone() else { return Ok(Looked::Nothing) };
        let (now, handed, behind) = self
            .engine
            .look(|snapshot| (snapshot.now.wall, snapshot.handed(), snapshot.store.pruned().to.clone()))?;
        let reader = Reader::open(&self.store)?;
        let lags = reader.last()?.is_some_and(|last| handed < last);
        let nothing = if lags { Looked::ASinkLags } else { Looked::Nothing };
        let Some(batch) = batch(&reader, &settings, &behind, handed, now)? else { return Ok(nothing) };
        let Some(segment) = segment::collect(&reader, &batch, &settings, &behind)? else {
            return Ok(nothing);
        };
        let (from, to, kept_in) = (segment.from, segment.to, segment.kept_in.clone());
        if let Err(Stopped) = self.engine.prune(segment) {
            // Not recorded; the engine logged the reason. The next check tries again.
            return Ok(Looked::Nothing);
        }
        self.prune_rest()?;
        let kept = kept_in.map_or("nowhere".to_owned(), |path| path.display().to_string());
        info!("records {from} to {to} are removed from the store; kept: {kept}");
        // No small segment each time a lagging sink has taken a few records.
        Ok(if lags { nothing } else { Looked::Removed })
    }

    fn prune_rest(&mut self) -> Result<(), RetentionError> {
        let mut times = 0;
        while self.engine.remove_records()?? {
            times += 1;
            if times % LOG_EVERY == 0
                && let Err(problem) = checkpoint_if_long(&self.store)
            {
                error!(
                    "the write-ahead log of the store was not checkpointed; it will be tried again: {problem}"
                );
            }
            if !self.wait_for_settings(PAUSE) {
                return Err(Stopped.into());
            }
        }
        Ok(())
    }
}

/// The records after this one that have to be removed, if any.
///
/// # Errors
/// When the store cannot be read, or its first record is not the expected one: records were removed by others.
pub fn batch(
    reader: &Reader,
    settings: &Retention,
    behind: &Head,
    handed: u64,
    now: WallTime,
) -> Result<Option<PruneBatch>, RetentionError> {
    let (Some(first), Some(last)) = (reader.first()?, reader.last()?) else { return Ok(None) };
    if first.seq != behind.seq + 1 {
        let problem = format!("missing: the store begins with {}", first.seq);
        return Err(Broken { seq: behind.seq + 1, problem }.into());
    }
    // A record whose time cannot be read is left for investigation.
    let Some(oldest) = segment::time_of(&first.line) else {
        return Err(Broken { seq: first.seq, problem: "its time cannot be read".to_owned() }.into());
    };
    let stock = Stock { first: first.seq, oldest, last, handed, bytes: reader.bytes()? };
    Ok(due(settings, &stock, now))
}
