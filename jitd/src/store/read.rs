//! Reads the audit log on a connection of its own, beside the writer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use std::borrow::Cow;

use jit_proto::audit::chain::{Broken, Head, Sealed, Stored, Verifier, Whole};
use jit_proto::audit::filter::Filter;
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
        connection.pragma_update(None, "temp_store", "MEMORY").map_err(context)?;
        Ok(Self { path: path.to_owned(), connection })
    }

    /// Up to `limit` records from `from` on.
    ///
    /// # Errors
    /// An error of SQLite.
    pub fn records(&self, from: u64, limit: u64) -> Result<Vec<Sealed>, StoreError> {
        let read = || {
            let sql = "SELECT seq, hash, seal, line FROM records WHERE seq >= ?1 ORDER BY seq LIMIT ?2";
            let mut statement = self.connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![signed(from), signed(limit)], sealed)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|error| StoreError::Sqlite { path: self.path.clone(), error })
    }

    /// The first record in the store.
    ///
    /// # Errors
    /// An error of SQLite.
    pub fn first(&self) -> Result<Option<Sealed>, StoreError> {
        self.records(0, 1).map(|records| records.into_iter().next())
    }

    /// The number of the last record.
    ///
    /// # Errors
    /// An error of SQLite.
    pub fn last(&self) -> Result<Option<u64>, StoreError> {
        let read = || self.connection.query_row("SELECT max(seq) FROM records", [], |row| row.get(0));
        read().map_err(|error| StoreError::Sqlite { path: self.path.clone(), error })
    }

    /// Bytes in use: removed rows leave pages that are filled before the file grows.
    ///
    /// # Errors
    /// An error of SQLite.
    pub fn bytes(&self) -> Result<u64, StoreError> {
        let pragma = |name| self.connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
        let read =
            || Ok((pragma("page_count")?.saturating_sub(pragma("freelist_count")?)) * pragma("page_size")?);
        read().map_err(|error| StoreError::Sqlite { path: self.path.clone(), error })
    }

    /// One record.
    ///
    /// # Errors
    /// An error of SQLite.
    pub fn record(&self, seq: u64) -> Result<Option<Sealed>, StoreError> {
        let read = || {
            let sql = "SELECT seq, hash, seal, line FROM records WHERE seq = ?1";
            self.connection.prepare_cached(sql)?.query_row([signed(seq)], sealed).optional()
        };
        read().map_err(|error| StoreError::Sqlite { path: self.path.clone(), error })
    }

    /// Up to `limit` matching records from `from` on, found by reading every record.
    ///
    /// # Errors
    /// An error of SQLite.
    pub fn walk(&self, filter: &Filter, from: u64, limit: u64) -> Result<Vec<Sealed>, StoreError> {
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let read = || {
            let sql = "SELECT seq, hash, seal, line FROM records WHERE seq >= ?1 ORDER BY seq";
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut found = Vec::new();
            let mut rows = statement.query([signed(from)])?;
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

    /// Verifies the whole chain, and compares its head with known ones.
    ///
    /// # Errors
    /// An error of SQLite. The inner result is about the chain: how far it is intact, and the first problem.
    pub fn verify(&self, known: Option<&Head>) -> Result<Result<Whole, (Head, Broken)>, StoreError> {
        let walk = || {
            let sql = "SELECT seq, hash, seal, line FROM records ORDER BY seq";
            let mut statement = self.connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            let mut verifier = Verifier::default();
            while let Some(row) = rows.next()? {
                let (hash, line) = (text(row, 1)?, text(row, 3)?);
                let seal = maybe(row, 2)?;
                let stored = Stored { seq: row.get(0)?, hash: &hash, seal: seal.as_deref(), line: &line };
                if let Err(broken) = verifier.feed(stored) {
                    return Ok(Err((verifier.head().clone(), broken)));
                }
            }
            let head = verifier.head().clone();
            Ok(verifier.finish(known).map_err(|broken| (head, broken)))
        };
        walk().map_err(|error| StoreError::Sqlite { path: self.path.clone(), error })
    }
}

fn sealed(row: &rusqlite::Row<'_>) -> rusqlite::Result<Sealed> {
    let (hash, line) = (text(row, 1)?.into_owned(), text(row, 3)?.into_owned());
    Ok(Sealed { seq: row.get(0)?, hash, seal: maybe(row, 2)?.map(Cow::into_owned), line })
}

/// A text column. If another type was written into it, it shows as a broken record, and not as an error without the
/// record's number.
fn text<'row>(row: &'row rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Cow<'row, str>> {
    Ok(maybe(row, column)?.unwrap_or_default())
}

/// As [`text`], for a column that may be NULL.
fn maybe<'row>(row: &'row rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Cow<'row, str>>> {
    row.get_ref(column).map(|value| match value {
        rusqlite::types::ValueRef::Text(bytes) | rusqlite::types::ValueRef::Blob(bytes) => {
            Some(String::from_utf8_lossy(bytes))
        }
        rusqlite::types::ValueRef::Null => None,
        _ => Some(Cow::Borrowed("")),
    })
}

/// As a signed integer for SQLite; no number or time here comes near its range.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
