//! Gets what was committed onto the disk, moves the seal's key on behind it, and moves the log into the database.
//!
//! A commit that is not durable at once is in SQLite's write-ahead log, and so survives the daemon. This makes it survive
//! a power cut (fdatasync(2)) when those who wait have their answers, while sudo is on its way to its session stage.
//! Frames of the log are chained by checksums (sqlite.org/fileformat.html, "The Write-Ahead Log"): what is cut off is a
//! tail, never a hole.

use std::fs::File;
use std::path::{Path, PathBuf};

use jit_proto::audit::seal::Sealer;
use rusqlite::Connection;
use tokio::task::JoinHandle;
use tracing::warn;

use super::{Keeper, Store};

/// After so many times the log's content is moved into the database, and writing begins anew at its start: some 4 MB.
/// The file's length tells nothing, since it stays what it was at its longest.
const MAX_UNCHECKPOINTED: u32 = 256;

/// For what is written in the background by the thousands: from this length of the log on its content is moved.
const MAX_WAL_BYTES: u64 = 4 << 20;

/// What lies under a store.
#[derive(Debug)]
pub struct Disk {
    store: PathBuf,
    keeper: Keeper,
    /// How often something was brought since the log was moved into the database.
    brought: u32,
    shortening: Option<JoinHandle<()>>,
}

impl Disk {
    /// What lies under this store.
    #[must_use]
    pub fn under(store: &Store) -> Self {
        Self { store: store.path().to_owned(), keeper: store.keeper(), brought: 0, shortening: None }
    }

    /// Brings everything that is committed onto the disk, and then the key for what follows it. The records first: a key
    /// that is ahead of them could not seal what would have to be written anew.
    ///
    /// # Errors
    /// Says what the disk does not take.
    pub fn bring(&mut self, key: Option<&Sealer>) -> Result<(), String> {
        sync(&self.store)?;
        key.map_or(Ok(()), |key| self.keeper.keep(key)).map_err(|error| error.to_string())?;
        self.brought += 1;
        if self.brought >= MAX_UNCHECKPOINTED && self.shortening.as_ref().is_none_or(JoinHandle::is_finished)
        {
            self.brought = 0;
            let store = self.store.clone();
            self.shortening = Some(tokio::task::spawn_blocking(move || {
                if let Err(error) = shorten(&store) {
                    warn!("the log of the store is not moved into it yet: {error}");
                }
            }));
        }
        Ok(())
    }
}

/// Brings the log of this store onto the disk, and so everything that is committed to it.
///
/// # Errors
/// Names the file that the disk does not take.
pub fn sync(store: &Path) -> Result<(), String> {
    let mut path = store.as_os_str().to_owned();
    path.push("-wal");
    let log = File::open(&path).and_then(|log| log.sync_data());
    log.map_err(|error| format!("{}: {error}", path.display()))
}

/// Moves the log of this store into it if it has become long.
///
/// # Errors
/// Whatever SQLite says.
pub fn shorten_if_long(store: &Path) -> rusqlite::Result<()> {
    let mut log = store.as_os_str().to_owned();
    log.push("-wal");
    let long = std::fs::metadata(log).is_ok_and(|meta| meta.len() >= MAX_WAL_BYTES);
    if long { shorten(store) } else { Ok(()) }
}

/// A checkpoint that waits for nobody (sqlite.org/pragma.html#pragma_wal_checkpoint, PASSIVE).
fn shorten(store: &Path) -> rusqlite::Result<()> {
    Connection::open(store)?.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}
