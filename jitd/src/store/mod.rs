//! Keeps state and audit record in one SQLite database, so that both are written or neither is.

mod read;

mod search;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jit_proto::chain::{Head, Sealed, append};
use jit_proto::moment::WallTime;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use read::Reader;
pub use search::{Index, catch_up};

use crate::core::event::{Change, Commit};
use crate::core::ledger::{Grant, GrantState, Ledger, Request, RequestState, Session, SessionState};

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
    /// Written by a later version.
    #[error("{path}: layout {found} is newer than this jitd, which knows {SCHEMA}", path = .path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// What it says.
        found: i64,
    },
}

/// What is written with every commit, whatever it is about.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// The highest wall time ever seen.
    pub highest_wall: WallTime,
    /// The next session's number.
    pub next_session: u64,
    /// How far syslog has been served.
    pub sent: u64,
}

/// The database, and the end of the chain in it.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Connection,
    head: Head,
    durable: bool,
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
        let found: i64 =
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(context)?;
        if found > SCHEMA {
            return Err(StoreError::Newer { path: path.to_owned(), found });
        }
        connection.execute_batch(TABLES).map_err(context)?;
        connection.pragma_update(None, "user_version", SCHEMA).map_err(context)?;
        let head = connection
            .query_row("SELECT head_seq, head_hash FROM state", [], |row| {
                Ok(Head { seq: row.get(0)?, hash: row.get(1)? })
            })
            .optional()
            .map_err(context)?
            .unwrap_or_default();
        Ok(Self { path: path.to_owned(), connection, head, durable: true })
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

    /// Writes several commits in one transaction, and returns the records as they stand in the chain. On an error nothing was written, and the head stays.
    ///
    /// # Errors
    /// Disk full, read-only, I/O: whatever SQLite says.
    pub fn commit(&mut self, commits: Vec<Commit>, kept: Kept) -> Result<Vec<Sealed>, StoreError> {
        let path = self.path.clone();
        let context = |error| StoreError::Sqlite { path: path.clone(), error };
        self.be_durable(commits.iter().any(|commit| commit.durable) || commits.is_empty())?;
        let mut head = self.head.clone();
        let mut written = Vec::new();
        let transaction = self.connection.transaction().map_err(context)?;
        for commit in commits {
            for change in &commit.changes {
                put(&transaction, &path, change)?;
            }
            for draft in commit.drafts {
                let sealed = append(&mut head, draft).map_err(|error| StoreError::Row {
                    path: path.clone(),
                    table: "records",
                    row: head.seq + 1,
                    error,
                })?;
                insert(&transaction, &sealed).map_err(context)?;
                written.push(sealed);
            }
        }
        // One row, one page: what every commit writes beside its records.
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO state (id, head_seq, head_hash, highest_wall, next_session, sent)
                 VALUES (1, ?1, ?2, ?3, ?4, ?5)",
            )
            .and_then(|mut statement| {
                let Kept { highest_wall, next_session, sent } = kept;
                statement.execute(params![head.seq, head.hash, highest_wall.0, next_session, sent])
            })
            .map_err(context)?;
        transaction.commit().map_err(context)?;
        self.head = head;
        Ok(written)
    }

    /// Sets how far the next transaction has to get before it counts: to the disk, or to the kernel. Either way the
    /// order holds, so a power cut takes a tail away and never leaves a hole (sqlite.org/pragma.html#pragma_synchronous).
    fn be_durable(&mut self, durable: bool) -> Result<(), StoreError> {
        if self.durable != durable {
            let level = if durable { "FULL" } else { "NORMAL" };
            let set = self.connection.pragma_update(None, "synchronous", level);
            set.map_err(|error| self.sqlite(error))?;
            self.durable = durable;
        }
        Ok(())
    }

    /// Everything that is open, as it was last committed.
    ///
    /// # Errors
    /// When a row does not hold what it should.
    pub fn ledger(&self) -> Result<Ledger, StoreError> {
        let number = |sql: &str| -> Result<u64, StoreError> {
            self.connection
                .query_row(sql, [], |row| row.get::<_, Option<u64>>(0))
                .optional()
                .map(|value| value.flatten().unwrap_or(0))
                .map_err(|error| self.sqlite(error))
        };
        let highest_id =
            number("SELECT max(id) FROM (SELECT id FROM requests UNION ALL SELECT id FROM grants)")?;
        let mut ledger = Ledger {
            next_id: highest_id + 1,
            next_session: number("SELECT next_session FROM state")?.max(1),
            highest_wall: WallTime(number("SELECT highest_wall FROM state")?),
            ..Ledger::default()
        };
        for request in self.open_rows::<Request>("requests")? {
            ledger.requests.insert(request.id, request);
        }
        for grant in self.open_rows::<Grant>("grants")? {
            ledger.grants.insert(grant.id, grant);
        }
        for session in self.open_rows::<Session>("sessions")? {
            ledger.sessions.insert(session.id, session);
        }
        Ok(ledger)
    }

    /// The last record that syslog was handed.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub fn sent(&self) -> Result<u64, StoreError> {
        self.connection
            .query_row("SELECT sent FROM state", [], |row| row.get(0))
            .optional()
            .map(|sent| sent.unwrap_or(0))
            .map_err(|error| self.sqlite(error))
    }

    /// A request, open or closed.
    ///
    /// # Errors
    /// When its row does not hold what it should.
    pub fn request(&self, id: u64) -> Result<Option<Request>, StoreError> {
        self.row("requests", id)
    }

    /// A grant, live or ended.
    ///
    /// # Errors
    /// When its row does not hold what it should.
    pub fn grant(&self, id: u64) -> Result<Option<Grant>, StoreError> {
        self.row("grants", id)
    }

    fn row<T: DeserializeOwned>(&self, table: &'static str, id: u64) -> Result<Option<T>, StoreError> {
        let body: Option<String> = self
            .connection
            .query_row(&format!("SELECT body FROM {table} WHERE id = ?1"), [id], |row| row.get(0))
            .optional()
            .map_err(|error| self.sqlite(error))?;
        body.map(|body| self.parse(table, id, &body)).transpose()
    }

    fn open_rows<T: DeserializeOwned>(&self, table: &'static str) -> Result<Vec<T>, StoreError> {
        let mut statement = self
            .connection
            .prepare(&format!("SELECT id, body FROM {table} WHERE open = 1 ORDER BY id"))
            .map_err(|error| self.sqlite(error))?;
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?)))
            .map_err(|error| self.sqlite(error))?;
        rows.map(|row| {
            let (id, body) = row.map_err(|error| self.sqlite(error))?;
            self.parse(table, id, &body)
        })
        .collect()
    }

    fn parse<T: DeserializeOwned>(&self, table: &'static str, row: u64, body: &str) -> Result<T, StoreError> {
        serde_json::from_str(body).map_err(|error| StoreError::Row {
            path: self.path.clone(),
            table,
            row,
            error,
        })
    }

    fn sqlite(&self, error: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { path: self.path.clone(), error }
    }
}

/// `body` is the object's JSON; `open` says whether it is loaded at start. Sessions that ended leave the table: what
/// there is to know of them is in the record.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS requests (id INTEGER PRIMARY KEY, open INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS grants   (id INTEGER PRIMARY KEY, open INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS sessions (id INTEGER PRIMARY KEY, open INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS requests_open ON requests (id) WHERE open = 1;
CREATE INDEX IF NOT EXISTS grants_open   ON grants   (id) WHERE open = 1;
CREATE TABLE IF NOT EXISTS records  (seq INTEGER PRIMARY KEY, hash TEXT NOT NULL, line TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS state (
    id INTEGER PRIMARY KEY CHECK (id = 1), head_seq INTEGER NOT NULL, head_hash TEXT NOT NULL,
    highest_wall INTEGER NOT NULL, next_session INTEGER NOT NULL, sent INTEGER NOT NULL
) STRICT;
";

fn insert(transaction: &Transaction<'_>, sealed: &Sealed) -> rusqlite::Result<usize> {
    transaction.prepare_cached("INSERT INTO records (seq, hash, line) VALUES (?1, ?2, ?3)")?.execute(params![
        sealed.seq,
        sealed.hash,
        sealed.line
    ])
}

fn put(transaction: &Transaction<'_>, path: &Path, change: &Change) -> Result<(), StoreError> {
    match change {
        Change::Request(request) => {
            let open = matches!(request.state, RequestState::Pending);
            put_row(transaction, path, "requests", request.id.0, open, request)
        }
        Change::Grant(grant) => {
            let open = matches!(grant.state, GrantState::Live);
            put_row(transaction, path, "grants", grant.id.0, open, grant)
        }
        Change::Session(session) => {
            if matches!(session.state, SessionState::Ended { .. }) {
                return transaction
                    .prepare_cached("DELETE FROM sessions WHERE id = ?1")
                    .and_then(|mut statement| statement.execute([session.id.0]))
                    .map(drop)
                    .map_err(|error| StoreError::Sqlite { path: path.to_owned(), error });
            }
            put_row(transaction, path, "sessions", session.id.0, true, session)
        }
    }
}

fn put_row<T: Serialize>(
    transaction: &Transaction<'_>,
    path: &Path,
    table: &'static str,
    id: u64,
    open: bool,
    object: &T,
) -> Result<(), StoreError> {
    let body = serde_json::to_string(object).map_err(|error| StoreError::Row {
        path: path.to_owned(),
        table,
        row: id,
        error,
    })?;
    transaction
        .prepare_cached(&format!("INSERT OR REPLACE INTO {table} (id, open, body) VALUES (?1, ?2, ?3)"))
        .and_then(|mut statement| statement.execute(params![id, open, body]))
        .map_err(|error| StoreError::Sqlite { path: path.to_owned(), error })?;
    Ok(())
}

#[cfg(test)]
mod tests;
