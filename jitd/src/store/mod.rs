//! Keeps state and audit log in one SQLite database, so that both are written or neither is.

mod error;

mod schema;

mod load;

mod commit;

pub mod wal;

mod rows;

mod breaks;

mod files;

mod named_file;

mod key_file;

mod known_head;

mod prune;

mod read;

mod search;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jit_proto::audit::chain::Head;
use jit_proto::audit::seal::Sealer;
use jit_proto::time::WallTime;
use rusqlite::{Connection, OptionalExtension};

pub use commit::Written;
pub use error::{FilesError, LostContent, StoreError};
pub use files::FileChange;
pub use key_file::{Keeper, SealKeyError, SealLost};
pub use known_head::{KnownHead, KnownHeadError, RolledBack, rolled_back};
pub use read::Reader;
pub(crate) use rows::head as head_of_row;
pub use schema::MigrationError;
pub use search::{Index, catch_up};

use files::Files;
use schema::COMPATIBLE;

use crate::core::retention::Pruned;

/// The values that are written with every commit.
#[derive(Debug, Clone, Copy)]
pub struct CommitMeta {
    /// The highest wall time seen.
    pub highest_wall: WallTime,
    /// The number of the next session.
    pub next_session: u64,
    /// The position of each sink.
    pub sent: Sent,
}

/// The last record that each sink has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// The local syslog socket.
    pub syslog: u64,
    /// The journal.
    pub journal: u64,
    /// The file of JSON lines.
    pub json_lines: u64,
}

impl Sent {
    /// The positions at the start: no record.
    pub const NOTHING: Self = Self { syslog: 0, journal: 0, json_lines: 0 };
}

/// The database, and the head of its chain.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Connection,
    head: Head,
    durable: bool,
    keeper: Keeper,
    /// The first record under the last seal; 0 if there was none.
    seal_first: u64,
    /// The seal in progress; its key is for the record after the head.
    seal: Option<Sealer>,
    seal_lost: Option<SealLost>,
    pruned: Pruned,
    /// Requests and grants up to these numbers were examined for removal with the records.
    swept: (u64, u64),
    files: Files,
    /// The problems of the audit log.
    breaks: Vec<breaks::Break>,
}

impl Store {
    /// Opens the database, creates it if it does not exist, and migrates it if an older jitd wrote it.
    ///
    /// # Errors
    /// When it cannot be opened, read or written, or a later jitd wrote it in a layout that this one would misread.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let context = |error| StoreError::Sqlite { path: path.to_owned(), error };
        let mut connection = connect(path)?;
        schema::migrate(&mut connection)
            .map_err(|error| StoreError::Migration { path: path.to_owned(), error })?;
        // Written at each start: a store that cannot be written is not opened.
        connection.pragma_update(None, "user_version", COMPATIBLE).map_err(context)?;
        let pruned = prune::found(&connection).map_err(context)?;
        let breaks = breaks::all(&connection).map_err(context)?;
        let (head, seal_first, seal_next) = connection
            .query_row("SELECT head_seq, head_hash, seal_first, seal_next FROM state", [], |row| {
                Ok((rows::head(row)?, row.get(2)?, row.get::<_, String>(3)?))
            })
            .optional()
            .map_err(context)?
            .unwrap_or_default();
        // Everything has been read, so SQLite has created its other files.
        let files = Files::of(path).map_err(FilesError::Changed)?;
        let keeper = Keeper::of(path.with_file_name(key_file::NAME));
        let (seal, seal_lost) = match keeper.resume(seal_first, head.seq + 1, &seal_next) {
            Ok(seal) => (seal, None),
            Err(lost) => (None, Some(lost)),
        };
        let (path, swept) = (path.to_owned(), (0, 0));
        Ok(Self {
            path,
            connection,
            head,
            durable: true,
            keeper,
            seal_first,
            seal,
            seal_lost,
            pruned,
            swept,
            files,
            breaks,
        })
    }

    /// Why a seal that was begun cannot be continued; the next record says it.
    #[must_use]
    pub fn seal_lost(&self) -> Option<&SealLost> {
        self.seal_lost.as_ref()
    }

    /// The first record under the last seal; 0 if there was none.
    #[must_use]
    pub fn seal_first(&self) -> u64 {
        self.seal_first
    }

    /// The head of the chain.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The path of the database.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// Checks that the open files are those at their paths, and have lost nothing. Each call checks again, so restored
    /// files are used again.
    ///
    /// # Errors
    /// [`StoreError::Files`] names the changed file.
    pub fn check_files(&mut self) -> Result<(), StoreError> {
        let change = match self.files.check() {
            Ok(()) => return Ok(()),
            Err(change @ FileChange::Shorter { .. }) => change,
            Err(change) => return Err(FilesError::Changed(change).into()),
        };
        match self.compare_with_disk() {
            Ok(()) => {
                self.files.accept_lengths();
                Ok(())
            }
            Err(lost) => Err(FilesError::Lost { change, lost }.into()),
        }
    }

    /// Reads on a new connection whether the head of the chain is the expected one, and whether SQLite finds its pages
    /// intact.
    fn compare_with_disk(&self) -> Result<(), LostContent> {
        let other = Connection::open_with_flags(&self.path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let found = other.query_row("SELECT head_seq, head_hash FROM state", [], rows::head)?;
        let pages: String = other.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found != self.head {
            return Err(LostContent::Records { found: found.seq, written: self.head.seq });
        }
        if pages == "ok" { Ok(()) } else { Err(LostContent::Pages(pages)) }
    }

    /// The seal in progress. Its key may be written once every record is on the disk.
    #[must_use]
    pub fn sealer(&self) -> Option<&Sealer> {
        self.seal.as_ref()
    }

    /// The file of the seal's key.
    #[must_use]
    pub fn keeper(&self) -> Keeper {
        self.keeper.clone()
    }

    fn sqlite(&self, error: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { path: self.path.clone(), error }
    }
}

/// Opens a connection to a database that this jitd can read, and configures it.
fn connect(path: &Path) -> Result<Connection, StoreError> {
    let context = |error| StoreError::Sqlite { path: path.to_owned(), error };
    let connection = Connection::open(path).map_err(context)?;
    connection.busy_timeout(Duration::from_secs(1)).map_err(context)?;
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(context)?;
    if found > COMPATIBLE {
        return Err(StoreError::Newer { path: path.to_owned(), found });
    }
    let set = || {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // `wal` checkpoints; this is for the case that it fails to.
        connection.pragma_update(None, "wal_autocheckpoint", 16_000)?;
        // In KiB: records are appended to few tables.
        connection.pragma_update(None, "cache_size", -512)?;
        // Under the unit's sandbox /tmp is read-only.
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        // Removed rows are overwritten with zeros: records that retention removed cannot be found in free pages.
        connection.pragma_update(None, "secure_delete", true)
    };
    set().map_err(context)?;
    Ok(connection)
}

#[cfg(test)]
mod tests;
