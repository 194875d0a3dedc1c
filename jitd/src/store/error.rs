//! What can go wrong with the store.

use std::path::PathBuf;

use super::files::FileChange;
use super::key_file::SealKeyError;
use super::schema::{COMPATIBLE, MigrationError};

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
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Written by a later version.
    #[error(
        "{path} was written by a later jitd: its layout is {found}, and jitd {version} reads layouts up to {COMPATIBLE}; \
         install that version again, or set the store aside: /usr/libexec/jitd --recover --force",
        path = .path.display(), version = env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// The `user_version` that it has.
        found: i64,
    },
    /// The store of an older version could not be given this version's tables.
    #[error("{path}: {error}", path = .path.display())]
    Migration {
        /// The database.
        path: PathBuf,
        /// Which migration, and why.
        #[source]
        error: MigrationError,
    },
    /// The seal's key cannot be written.
    #[error(transparent)]
    Key(#[from] SealKeyError),
}

impl StoreError {
    /// Whether what is in the store is damaged, as against a store that cannot be read now.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Sqlite { error, .. } | Self::Migration { error: MigrationError { error, .. }, .. } => {
                // The second: a text that is not what its column holds.
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

/// Why nothing is committed to the files that are open.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file is not as it was.
    #[error(transparent)]
    Changed(#[from] FileChange),
    /// A file is shorter than it was, and something is missing.
    #[error("{change}: {lost}")]
    Lost {
        /// Which file, and how much shorter.
        change: FileChange,
        /// What is missing.
        #[source]
        lost: LostContent,
    },
}

/// What is missing in a file that became shorter.
#[derive(Debug, thiserror::Error)]
pub enum LostContent {
    /// The last records.
    #[error("the store ends with record {found} now, and record {written} was written")]
    Records {
        /// The last record that is there.
        found: u64,
        /// The last record that was written.
        written: u64,
    },
    /// Pages of the database; SQLite says which.
    #[error("{0}")]
    Pages(String),
    /// It cannot be read.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}
