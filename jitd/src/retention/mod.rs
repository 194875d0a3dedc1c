//! Lets old records go from the store: writes them into the archive, has it recorded, and takes them away a few at a time.
//!
//! In this order, each step being on the disk before the next: the file, under a name that it gets when it is whole;
//! the record that says which ones go, with the first of them gone; the rest. A sudden end before the record leaves a
//! file that is written anew, and one after it leaves records that are taken at the next start. So nothing is lost, and
//! nothing is missing that no record tells of.
//!
//! It has a thread of the lowest priority, and the engine takes the records away, in turns with what others want of it.

pub mod segment;

use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use jit_proto::audit::chain::{Broken, Head};
use jit_proto::time::WallTime;
use tracing::{error, info};

use crate::core::retention::{Course, Retention, Stock, due};
use crate::engine::handle::{BlockingHandle, Handle, Stopped};
use crate::engine::messages::ToRetention;
use crate::host::priority::lower_priority;
use crate::store::wal::checkpoint_if_long;
use crate::store::{Reader, StoreError};

/// Looked at so often, and when the settings were read.
const OFTEN: Duration = Duration::from_secs(3600);
/// And this much later while a sink has not been handed everything yet.
const SOON: Duration = Duration::from_secs(60);
/// Between two transactions that take records away, whoever wants a decision has this time to himself.
const PAUSE: Duration = Duration::from_millis(10);
/// So many of them and the store's log is looked at.
const LOG_EVERY: u32 = 32;
const NICE: i32 = 19;

/// Why nothing goes, although something has to.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What has to go is not whole, and so is needed by whoever looks into that.
    #[error("{0}; nothing is removed before somebody has looked into that (jitctl audit verify)")]
    Broken(#[from] Broken),
    /// The archive does not take it.
    #[error("{path}: {error}", path = .path.display())]
    Archive {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        error: String,
    },
    /// The engine has ended.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Starts the thread. It does nothing before it is told the settings.
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

/// What a look came to.
#[derive(Debug, Clone, Copy)]
enum Looked {
    /// Nothing has to go.
    Nothing,
    /// A sink has still to be handed the last records; what goes before they are handed is none of them.
    ASinkLags,
    /// A segment has gone.
    Removed,
}

struct Keeper {
    store: PathBuf,
    engine: BlockingHandle,
    inbox: mpsc::Receiver<ToRetention>,
    settings: Option<Retention>,
    /// What was last said to be in the way.
    told: String,
}

impl Keeper {
    /// Runs until the engine has ended.
    fn run(mut self) {
        let mut wait = OFTEN;
        while self.hears_within(wait) {
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
                        error!("old records stay in the store: {problem}");
                    }
                    self.told = problem;
                }
            }
        }
    }

    /// Waits, and takes new settings; false when there is nobody left to give any.
    fn hears_within(&mut self, wait: Duration) -> bool {
        match self.inbox.recv_timeout(wait) {
            Ok(ToRetention::Settings(settings)) => self.settings = Some(settings),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    /// Lets a segment go, if one has to.
    fn look(&mut self) -> Result<Looked, RetentionError> {
        // First what an earlier run has begun.
        self.take_the_rest()?;
        let Some(settings) = self.settings.clone() else { return Ok(Looked::Nothing) };
        let (now, handed, behind) = self
            .engine
            .look(|snapshot| (snapshot.now.wall, snapshot.handed(), snapshot.store.pruned().to.clone()))?;
        let reader = Reader::open(&self.store)?;
        let lags = reader.last()?.is_some_and(|last| handed < last);
        let nothing = if lags { Looked::ASinkLags } else { Looked::Nothing };
        let Some(course) = course(&reader, &settings, &behind, handed, now)? else { return Ok(nothing) };
        let Some(segment) = segment::take(&reader, &course, &settings, &behind)? else { return Ok(nothing) };
        let (from, to, kept_in) = (segment.from, segment.to, segment.kept_in.clone());
        if let Err(Stopped) = self.engine.prune(segment) {
            // Not recorded, for a reason that was told where it was found: the next look tries again.
            return Ok(Looked::Nothing);
        }
        self.take_the_rest()?;
        let kept = kept_in.map_or("nowhere".to_owned(), |path| path.display().to_string());
        info!("records {from} to {to} are removed from the store; kept: {kept}");
        // Not a small segment for each few records that a sink has taken meanwhile.
        Ok(if lags { nothing } else { Looked::Removed })
    }

    fn take_the_rest(&mut self) -> Result<(), RetentionError> {
        let mut times = 0;
        while self.engine.remove_records()?? {
            times += 1;
            if times % LOG_EVERY == 0
                && let Err(problem) = checkpoint_if_long(&self.store)
            {
                error!("the log of the store is not moved into it yet: {problem}");
            }
            if !self.hears_within(PAUSE) {
                return Err(Stopped.into());
            }
        }
        Ok(())
    }
}

/// What has to go from the store behind this record, if anything.
///
/// # Errors
/// When the store cannot be read, or does not begin where it should: somebody else has removed records.
pub fn course(
    reader: &Reader,
    settings: &Retention,
    behind: &Head,
    handed: u64,
    now: WallTime,
) -> Result<Option<Course>, RetentionError> {
    let (Some(first), Some(last)) = (reader.first()?, reader.last()?) else { return Ok(None) };
    if first.seq != behind.seq + 1 {
        let problem = format!("missing: the store begins with {}", first.seq);
        return Err(Broken { seq: behind.seq + 1, problem }.into());
    }
    // A record without a time that can be read is for whoever looks into it.
    let Some(oldest) = segment::time_of(&first.line) else {
        return Err(Broken { seq: first.seq, problem: "its time cannot be read".to_owned() }.into());
    };
    let stock = Stock { first: first.seq, oldest, last, handed, bytes: reader.bytes()? };
    Ok(due(settings, &stock, now))
}
