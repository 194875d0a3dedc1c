//! Syncs SQLite's write-ahead log (WAL) to the disk, writes the seal's key after it, and checkpoints the WAL.
//!
//! A commit that is not durable at once is in the WAL, and so survives a crash of jitd. The sync makes it survive a
//! power cut (fdatasync(2)), after the callers have their answers and while sudo is still before its session stage.
//! Frames of the WAL are chained by checksums (sqlite.org/fileformat.html, "The Write-Ahead Log"): a power cut removes
//! a tail, and never leaves a hole.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use jit_proto::audit::seal::Sealer;
use rusqlite::Connection;
use tokio::task::JoinHandle;
use tracing::warn;

use super::{Keeper, SealKeyError, Store};

/// The WAL is checkpointed after this many syncs, and then written from its start again: some 4 MB. SQLite does not
/// shorten the file, so its length does not say when.
const MAX_SYNCS: u32 = 256;

/// For thousands of records in the background: a WAL of this length is checkpointed.
const MAX_WAL_BYTES: u64 = 4 << 20;

/// A failed sync.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The WAL.
    #[error("{path}: {error}", path = .path.display())]
    Wal {
        /// Its path.
        path: PathBuf,
        /// The error of open(2) or fdatasync(2).
        #[source]
        error: io::Error,
    },
    /// The seal's key; the WAL is on the disk.
    #[error(transparent)]
    Key(#[from] SealKeyError),
}

/// Syncs and checkpoints the WAL of a store.
#[derive(Debug)]
pub struct WalSync {
    store: PathBuf,
    keeper: Keeper,
    syncs_since_checkpoint: u32,
    checkpoint: Option<JoinHandle<()>>,
}

impl WalSync {
    /// The WAL of this store.
    #[must_use]
    pub fn of(store: &Store) -> Self {
        let (store, keeper) = (store.path().to_owned(), store.keeper());
        Self { store, keeper, syncs_since_checkpoint: 0, checkpoint: None }
    }

    /// Syncs every commit, and then writes the key for the record after them. The order matters: a key ahead of the
    /// records on the disk could not seal records that have to be written again.
    ///
    /// # Errors
    /// Names the file that could not be written.
    pub fn sync(&mut self, key: Option<&Sealer>) -> Result<(), SyncError> {
        sync_wal(&self.store)?;
        key.map_or(Ok(()), |key| self.keeper.keep(key))?;
        self.syncs_since_checkpoint += 1;
        let idle = self.checkpoint.as_ref().is_none_or(JoinHandle::is_finished);
        if self.syncs_since_checkpoint >= MAX_SYNCS && idle {
            self.syncs_since_checkpoint = 0;
            let store = self.store.clone();
            self.checkpoint = Some(tokio::task::spawn_blocking(move || {
                if let Err(error) = checkpoint(&store) {
                    warn!(
                        "the write-ahead log of the store was not checkpointed; it will be tried again: {error}"
                    );
                }
            }));
        }
        Ok(())
    }
}

/// Syncs the WAL of this store, and with it every commit.
///
/// # Errors
/// [`SyncError::Wal`].
pub fn sync_wal(store: &Path) -> Result<(), SyncError> {
    let path = wal_of(store);
    let synced = File::open(&path).and_then(|wal| wal.sync_data());
    synced.map_err(|error| SyncError::Wal { path, error })
}

/// Checkpoints the WAL of this store if it has become long.
///
/// # Errors
/// An error of SQLite.
pub fn checkpoint_if_long(store: &Path) -> rusqlite::Result<()> {
    let is_long = std::fs::metadata(wal_of(store)).is_ok_and(|found| found.len() >= MAX_WAL_BYTES);
    if is_long { checkpoint(store) } else { Ok(()) }
}

/// A checkpoint that waits for no reader or writer (sqlite.org/pragma.html#pragma_wal_checkpoint, PASSIVE).
fn checkpoint(store: &Path) -> rusqlite::Result<()> {
    Connection::open(store)?.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

fn wal_of(store: &Path) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}
