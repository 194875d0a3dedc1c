//! Adds a digest to each request, grant and session in the store, and checks it when the row is read.
//!
//! Records are chained; requests, grants and sessions are not, and a changed byte in one of them could open a window. A
//! row that does not match its digest is not used. The digest detects damage; root can write a row with a matching
//! digest.

use jit_proto::audit::chain::Head;
use jit_proto::audit::hash::RecordHash;
use rusqlite::types::Type;
use sha2::{Digest, Sha256};

/// Bytes of the digest that are kept: 64 bits.
const KEPT: usize = 8;

/// The head in the first two columns of a row: number and hash.
///
/// # Errors
/// Also where the second column is no hash.
pub(crate) fn head(row: &rusqlite::Row<'_>) -> rusqlite::Result<Head> {
    let hash: String = row.get(1)?;
    let hash: RecordHash = hash
        .parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(error)))?;
    Ok(Head { seq: row.get(0)?, hash })
}

/// A row of requests, grants or sessions.
pub(super) struct Row {
    pub(super) id: u64,
    open: bool,
    pub(super) body: String,
    /// `None` in a row of an older jitd.
    digest: Option<String>,
}

impl Row {
    /// From the columns `id, open, body, digest`.
    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { id: row.get(0)?, open: row.get(1)?, body: row.get(2)?, digest: row.get(3)? })
    }

    /// Whether the row is as it was written; true without a digest.
    pub(super) fn is_as_written(&self, table: &str) -> bool {
        let expected = || digest(table, self.id, self.open, &self.body);
        self.digest.as_ref().is_none_or(|found| *found == expected())
    }
}

/// The digest of a row.
pub(super) fn digest(table: &str, id: u64, open: bool, body: &str) -> String {
    let digest = Sha256::new()
        .chain_update(table)
        .chain_update([0, u8::from(open)])
        .chain_update(id.to_be_bytes())
        .chain_update(body)
        .finalize();
    hex::encode(digest.get(..KEPT).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, params};

    use super::*;
    use crate::store::{Store, StoreError};

    #[test]
    fn a_row_that_was_changed_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jit.db");
        drop(Store::open(&path).unwrap());
        let body = r#"{"id":1}"#;
        let put = |open: bool, body: &str, digest: &str| {
            let sql = "INSERT OR REPLACE INTO grants (id, open, body, digest) VALUES (1, ?1, ?2, ?3)";
            Connection::open(&path).unwrap().execute(sql, params![open, body, digest]).unwrap();
        };
        let damaged = || match Store::open(&path).unwrap().ledger().unwrap_err() {
            StoreError::Damaged { table, row, .. } => (table, row) == ("grants", 1),
            // The row was accepted, and holds no grant.
            _ => false,
        };
        put(true, body, &digest("grants", 1, true, body));
        assert!(!damaged());
        put(true, r#"{"id":3}"#, &digest("grants", 1, true, body));
        assert!(damaged(), "another body");
        put(true, body, &digest("grants", 1, false, body));
        assert!(damaged(), "a window that was closed is open again");
        put(true, body, &digest("sessions", 1, true, body));
        assert!(damaged(), "from another table");
    }
}
