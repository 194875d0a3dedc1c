//! Keeps state and audit record in one SQLite database, so that both are written or neither is.

mod schema;

mod load;

mod commit;

mod rows;

mod files;

mod key_file;

mod known_head;

mod prune;

mod read;

mod search;

pub mod disk;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jit_proto::audit::chain::Head;
use jit_proto::audit::seal::Sealer;
use jit_proto::time::WallTime;
use rusqlite::{Connection, OptionalExtension};

pub use commit::Written;
pub use key_file::{Keeper, KeyFileError};
pub use known_head::{KnownHead, rolled_back};
pub use read::Reader;
pub(crate) use rows::head as head_of_row;
pub use search::{Index, catch_up};

use files::Files;

use crate::core::retention::Pruned;

/// Layout of the tables; a database with a higher number was written by a later jitd.
const SCHEMA: i64 = 1;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite says no.
    #[error("{path}: {error}", path = .path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        error: rusqlite::Error,
    },
    /// A row does not hold what it should.
    #[error("{path}: table {table}, row {row}: {error}", path = .path.display())]
    Row {
        /// The database.
        path: PathBuf,
        /// In which table.
        table: &'static str,
        /// Its number.
        row: u64,
        /// What is wrong with it.
        #[source]
        error: serde_json::Error,
    },
    /// A row is not the one that was written.
    #[error("{path}: table {table}, row {row} is damaged: it does not agree with its digest", path = .path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// In which table.
        table: &'static str,
        /// Its number.
        row: u64,
    },
    /// The files that are open are not those at their paths any more, or have lost something.
    #[error("{0}")]
    Files(String),
    /// Written by a later version.
    #[error("{path}: layout {found} is newer than this jitd, which knows {SCHEMA}", path = .path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// What it says.
        found: i64,
    },
    /// The seal's key cannot be kept.
    #[error(transparent)]
    Key(#[from] KeyFileError),
}

impl StoreError {
    /// Whether what is in the store is damaged, as against a store that cannot be read now.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Sqlite { error, .. } => matches!(
                error.sqlite_error_code(),
                Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
            ),
            Self::Row { .. } | Self::Damaged { .. } => true,
            Self::Files(_) | Self::Newer { .. } | Self::Key(_) => false,
        }
    }
}
/// The file beside the database that holds the seal's current key.
const KEY_FILE: &str = "seal.key";

/// What is written with every commit, whatever it is about.
#[derive(Debug, Clone, Copy)]
pub struct CommitMeta {
    /// The highest wall time ever seen.
    pub highest_wall: WallTime,
    /// The next session's number.
    pub next_session: u64,
    /// How far each sink has got.
    pub sent: Sent,
}

/// The last record that each sink has taken.
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
    /// No sink has taken anything.
    pub const NOTHING: Self = Self { syslog: 0, journal: 0, json_lines: 0 };
}

/// The database, and the end of the chain in it.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Connection,
    head: Head,
    durable: bool,
    keeper: Keeper,
    /// The first record under the last seal that was begun; 0 if none ever was.
    seal_first: u64,
    /// The seal in progress, its key being for the record behind the head.
    seal: Option<Sealer>,
    seal_lost: Option<String>,
    pruned: Pruned,
    /// Requests and grants up to these numbers were looked at, whether they go with the records.
    swept: (u64, u64),
    files: Files,
    /// What records say is wrong with the record itself: their numbers, and what they say.
    breaks: Vec<(u64, String)>,
}

impl Store {
    /// Opens the database, and makes it if there is none.
    ///
    /// # Errors
    /// When it cannot be opened, read, or is of a later layout.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let context = |error| StoreError::Sqlite { path: path.to_owned(), error };
        let connection = Connection::open(path).map_err(context)?;
        connection.busy_timeout(Duration::from_secs(1)).map_err(context)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(context)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(context)?;
        // The log is moved into the database by `disk`; this is for the case that it does not get there.
        connection.pragma_update(None, "wal_autocheckpoint", 16_000).map_err(context)?;
        // In KiB: what is written goes to the ends of few tables.
        connection.pragma_update(None, "cache_size", -512).map_err(context)?;
        // Under the unit's sandbox /tmp is read-only.
        connection.pragma_update(None, "temp_store", "MEMORY").map_err(context)?;
        // What is taken out is overwritten with zeros: a record that is removed for good is to be gone for good.
        connection.pragma_update(None, "secure_delete", true).map_err(context)?;
        let found: i64 =
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(context)?;
        if found > SCHEMA {
            return Err(StoreError::Newer { path: path.to_owned(), found });
        }
        connection.execute_batch(schema::TABLES).map_err(context)?;
        schema::remember_sinks(&connection).map_err(context)?;
        connection.execute_batch(prune::TABLE).map_err(context)?;
        rows::prepare(&connection).map_err(context)?;
        let pruned = prune::found(&connection).map_err(context)?;
        schema::remember_habits(&connection).map_err(context)?;
        connection.pragma_update(None, "user_version", SCHEMA).map_err(context)?;
        let (head, seal_first, seal_next) = connection
            .query_row("SELECT head_seq, head_hash, seal_first, seal_next FROM state", [], |row| {
                Ok((rows::head(row)?, row.get(2)?, row.get::<_, String>(3)?))
            })
            .optional()
            .map_err(context)?
            .unwrap_or_default();
        let breaks = rows::breaks(&connection).map_err(context)?;
        // Everything was read by now, so that SQLite has made the files that it keeps beside the database.
        let files =
            Files::of(path).map_err(|error| StoreError::Files(format!("{}: {error}", path.display())))?;
        let keeper = Keeper::of(path.with_file_name(KEY_FILE));
        let path = path.to_owned();
        let (seal, seal_lost, swept) = (None, None, (0, 0));
        let mut store = Self {
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
        };
        store.take_up_seal(&seal_next);
        Ok(store)
    }

    /// Takes the key from its file, and moves it on to the record behind the head. A key that lags behind the records
    /// is what a sudden end leaves; one that is ahead of them cannot seal what has to be written. The file follows with
    /// the next durable commit: what is in the store now need not be on the disk.
    fn take_up_seal(&mut self, next_id: &str) {
        let found = match self.keeper.read() {
            Ok(keys) if self.seal_first == 0 && keys.is_empty() => return,
            Ok(keys) => self.fitting(keys),
            Err(error) => Err(error.to_string()),
        };
        // The store knows which key comes next without knowing the key. One from before that has no word for it.
        let found = found.and_then(|sealer| match next_id {
            "" => Ok(sealer),
            id if id == sealer.key.id() => Ok(sealer),
            id => Err(format!(
                "the key in {} does not continue the seal: for record {} it is {}, and the store waits for {id}",
                self.keeper.path().display(),
                sealer.next,
                sealer.key.id()
            )),
        });
        match found {
            Ok(sealer) => self.seal = Some(sealer),
            Err(problem) => self.seal_lost = Some(problem),
        }
    }

    /// The key of the store's own seal, moved on to the record behind the head; or why there is none.
    fn fitting(&self, keys: Vec<Sealer>) -> Result<Sealer, String> {
        let path = self.keeper.path();
        let (path, first) = (path.display(), self.seal_first);
        let others = keys.first().map(|key| key.first);
        match (keys.into_iter().find(|key| key.first == first), others) {
            (Some(mut sealer), _) => match sealer.forward_to(self.head.seq + 1) {
                Ok(()) => Ok(sealer),
                Err(ahead) => Err(format!("{ahead}: records were taken out of the store")),
            },
            (None, Some(other)) => {
                Err(format!("{path} is for a seal from record {other} on, which the store does not know of"))
            }
            (None, None) => Err(format!("{path} has no key for the seal that began with record {first}")),
        }
    }

    /// Why a seal that was begun cannot be continued. It is for the first record that is written from here on.
    #[must_use]
    pub fn seal_lost(&self) -> Option<&str> {
        self.seal_lost.as_deref()
    }

    /// The first record under the last seal that was begun; 0 if none ever was.
    #[must_use]
    pub fn seal_first(&self) -> u64 {
        self.seal_first
    }

    /// The end of the chain.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Where the database is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// Looks whether the files that are open are still those at their paths, and have not become shorter.
    ///
    /// # Errors
    /// [`StoreError::Files`] says which file is not as it was. It is asked anew each time, so files that were put back
    /// are taken again.
    pub fn check_files(&mut self) -> Result<(), StoreError> {
        match self.files.check() {
            Ok(()) => Ok(()),
            Err(files::Change::Lost(problem)) => Err(StoreError::Files(problem)),
            Err(files::Change::Shorter(problem)) => match self.read_anew() {
                Ok(()) => {
                    self.files.accept_lengths();
                    Ok(())
                }
                Err(error) => Err(StoreError::Files(format!("{problem}: {error}"))),
            },
        }
    }

    /// Reads on a new connection whether the end of the chain is the one that is remembered here, and whether SQLite
    /// finds its pages in order.
    fn read_anew(&self) -> Result<(), String> {
        let read = || {
            let other = Connection::open_with_flags(&self.path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            let head = other.query_row("SELECT head_seq, head_hash FROM state", [], |row| rows::head(row))?;
            let pages: String = other.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            Ok::<_, rusqlite::Error>((head, pages))
        };
        match read() {
            Ok((head, pages)) if head == self.head && pages == "ok" => Ok(()),
            Ok((head, pages)) if head == self.head => Err(pages),
            Ok((head, _)) => Err(format!(
                "the store ends with record {} now, and record {} was written",
                head.seq, self.head.seq
            )),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What is wrong with the record, as far as records that are still kept say so: sentences for people.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let kept = self.breaks.iter().filter(|(seq, _)| *seq > self.pruned.to.seq);
        kept.map(|(seq, detail)| format!("record {seq} says: {detail}")).collect()
    }

    /// The seal in progress. Its key may be kept as soon as every record there is is on the disk.
    #[must_use]
    pub fn sealer(&self) -> Option<&Sealer> {
        self.seal.as_ref()
    }

    /// What keeps the seal's key.
    #[must_use]
    pub fn keeper(&self) -> Keeper {
        self.keeper.clone()
    }

    fn sqlite(&self, error: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { path: self.path.clone(), error }
    }
}

#[cfg(test)]
mod tests;
