//! Gets what was committed onto the disk, on a thread of its own, moves the seal's key on behind it, and moves the log into
//! the database.
//!
//! A commit that is not durable at once is in SQLite's write-ahead log, and so survives the daemon; this thread makes it
//! survive a power cut (fdatasync(2)) while sudo is on its way to its session stage, and says so. Frames of the log are
//! chained by checksums (sqlite.org/fileformat.html, "The Write-Ahead Log"): what is cut off is a tail, never a hole.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use jit_proto::seal::Sealer;
use rusqlite::Connection;
use tracing::warn;

use super::Keeper;

/// From this length of the log on its content is moved into the database; writing begins anew at its start then.
const MOST_LOG_BYTES: u64 = 4 << 20;

/// What was committed.
#[derive(Debug)]
pub struct ToDisk {
    /// The last record of it.
    pub seq: u64,
    /// The key for what follows it, where the record is sealed.
    pub key: Option<Sealer>,
}

/// Starts the thread. `report` learns up to which record everything is on the disk and no older key is, or why not.
///
/// # Errors
/// When no thread can be started.
pub fn start(
    store: &Path,
    keeper: Keeper,
    report: impl Fn(Result<u64, String>) + Send + 'static,
) -> io::Result<mpsc::Sender<ToDisk>> {
    let store = store.to_owned();
    let mut log = store.clone().into_os_string();
    log.push("-wal");
    let log = PathBuf::from(log);
    let (sender, inbox) = mpsc::channel::<ToDisk>();
    thread::Builder::new().name("store-disk".into()).spawn(move || {
        while let Ok(first) = inbox.recv() {
            // Whatever was committed before this moment is covered by one call.
            let last = inbox.try_iter().last().unwrap_or(first);
            report(bring(&log, &keeper, &last).map(|()| last.seq));
            if let Err(error) = shorten(&store, &log) {
                warn!("the log of the store is not moved into it yet: {error}");
            }
        }
    })?;
    Ok(sender)
}

/// The records first: a key that is ahead of them could not seal what would have to be written anew.
fn bring(log: &Path, keeper: &Keeper, last: &ToDisk) -> Result<(), String> {
    let synced = File::open(log).and_then(|log| log.sync_data());
    synced.map_err(|error| format!("{}: {error}", log.display()))?;
    last.key.as_ref().map_or(Ok(()), |key| keeper.keep(key)).map_err(|error| error.to_string())
}

/// A checkpoint that waits for nobody (sqlite.org/pragma.html#pragma_wal_checkpoint, PASSIVE).
fn shorten(store: &Path, log: &Path) -> Result<(), String> {
    let length = std::fs::metadata(log).map_err(|error| error.to_string())?.len();
    if length < MOST_LOG_BYTES {
        return Ok(());
    }
    let connection = Connection::open(store).map_err(|error| error.to_string())?;
    let moved = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    moved.map_err(|error| error.to_string())
}
