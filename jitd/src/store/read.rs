//! Reads the audit record beside the writer, on a connection of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jit_proto::chain::{Broken, Head, Sealed, Verifier};
use jit_proto::search::Filter;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::StoreError;

/// A reading connection.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    connection: Connection,
}

impl Reader {
    /// Opens the database for reading.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let context = |error| StoreError::Sqlite { path: path.to_owned(), error };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(context)?;
        connection.busy_timeout(Duration::from_secs(1)).map_err(context)?;
        Ok(Self { path: path.to_owned(), connection })
    }

    /// Up to `limit` records from `from` on.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub fn records(&self, from: u64, limit: u64) -> Result<Vec<Sealed>, StoreError> {
        let read = || {
            let sql = "SELECT seq, hash, line FROM records WHERE seq >= ?1 ORDER BY seq LIMIT ?2";
            let mut statement = self.connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![from, limit], sealed)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|error| StoreError::Sqlite { path: self.path.clone(), error })
    }

    /// One record.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub fn record(&self, seq: u64) -> Result<Option<Sealed>, StoreError> {
        let read = || {
            let sql = "SELECT seq, hash, line FROM records WHERE seq = ?1";
            self.connection.prepare_cached(sql)?.query_row([seq], sealed).optional()
        };
        read().map_err(|error| StoreError::Sqlite { path: self.path.clone(), error })
    }

    /// Up to `limit` records that match, from `from` on, found by reading every one of them.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub fn walk(&self, filter: &Filter, from: u64, limit: u64) -> Result<Vec<Sealed>, StoreError> {
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let read = || {
            let sql = "SELECT seq, hash, line FROM records WHERE seq >= ?1 ORDER BY seq";
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut found = Vec::new();
            let mut rows = statement.query([from])?;
            while found.len() < most {
                let Some(row) = rows.next()? else { break };
                let record = sealed(row)?;
                if filter.matches(record.seq, &record.line) {
                    found.push(record);
                }
            }
            Ok(found)
        };
        read().map_err(|error| StoreError::Sqlite { path: self.path.clone(), error })
    }

    /// Walks the whole chain, and compares its end with a head known from elsewhere.
    ///
    /// # Errors
    /// Whatever SQLite says. What is wrong with the chain is the inner result.
    pub fn verify(&self, known: Option<&Head>) -> Result<(Head, Result<(), Broken>), StoreError> {
        let walk = || {
            let mut statement =
                self.connection.prepare("SELECT seq, hash, line FROM records ORDER BY seq")?;
            let mut verifier = Verifier::default();
            for row in statement.query_map([], sealed)? {
                if let Err(broken) = verifier.feed(&row?) {
                    return Ok((verifier.head().clone(), Err(broken)));
                }
            }
            let head = verifier.head().clone();
            Ok((head, verifier.finish(known).map(|_| ())))
        };
        walk().map_err(|error| StoreError::Sqlite { path: self.path.clone(), error })
    }
}

/// A column that was made something other than text by hand still has to come out as a broken record, not as an
/// error that hides which one it is.
fn sealed(row: &rusqlite::Row<'_>) -> rusqlite::Result<Sealed> {
    let text = |index| {
        row.get_ref(index).map(|value| match value {
            rusqlite::types::ValueRef::Text(bytes) | rusqlite::types::ValueRef::Blob(bytes) => {
                String::from_utf8_lossy(bytes).into_owned()
            }
            _ => String::new(),
        })
    };
    Ok(Sealed { seq: row.get(0)?, hash: text(1)?, line: text(2)? })
}
