//! The errors of the store.

use std::path::PathBuf;

use super::files::FileChange;
use super::key_file::SealKeyError;
use super::schema::{COMPATIBLE, MigrationError};

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite returned an error.
    #[error("{path}: {error}", path = .path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// SQLite's error.
        #[source]
        error: rusqlite::Error,
    },
    /// A row does not have the form of its column.
    #[error("{path}: table {table}, row {row}: {error}", path = .path.display())]
    Row {
        /// The database.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// Its number.
        row: u64,
        /// The problem.
        #[source]
        error: serde_json::Error,
    },
    /// A row does not match its digest.
    #[error("{path}: table {table}, row {row} is damaged: it does not match its digest", path = .path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// Its number.
        row: u64,
    },
    /// The open files are not those at their paths any more, or have lost contents.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The store was written by a later version.
    #[error(
        "{path} was written by a later jitd: its layout is {found}, and jitd {version} reads layouts up to {COMPATIBLE}; \
         install that version again, or set the store aside: /usr/libexec/jitd --recover --force",
        path = .path.display(), version = env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its `user_version`.
        found: i64,
    },
    /// The store of an older version could not be migrated.
    #[error("{path}: {error}", path = .path.display())]
    Migration {
        /// The database.
        path: PathBuf,
        /// The migration, and its error.
        #[source]
        error: MigrationError,
    },
    /// The seal's key cannot be written.
    #[error(transparent)]
    Key(#[from] SealKeyError),
}

impl StoreError {
    /// Whether the contents of the store are damaged, in contrast to a store that cannot be read now.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Sqlite { error, .. } | Self::Migration { error: MigrationError { error, .. }, .. } => {
                // The second: a text of another form than its column's.
                matches!(
                    error.sqlite_error_code(),
                    Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
                ) || matches!(error, rusqlite::Error::FromSqlConversionFailure(..))
            }
            Self::Row { .. } | Self::Damaged { .. } => true,
            Self::Files(_) | Self::Newer { .. } | Self::Key(_) => false,
        }
    }
}

/// Why nothing is committed to the open files.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file was replaced or removed.
    #[error(transparent)]
    Changed(#[from] FileChange),
    /// A file is shorter than it was, and contents are missing.
    #[error("{change}: {lost}")]
    Lost {
        /// The file, and how much shorter it is.
        change: FileChange,
        /// The missing contents.
        #[source]
        lost: LostContent,
    },
}

/// The missing contents of a file that became shorter.
#[derive(Debug, thiserror::Error)]
pub enum LostContent {
    /// The last records.
    #[error("the store ends with record {found} now, and record {written} was written")]
    Records {
        /// The last record in the store.
        found: u64,
        /// The last record that was written.
        written: u64,
    },
    /// Pages of the database, by SQLite's check.
    #[error("{0}")]
    Pages(String),
    /// The store cannot be read.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}
