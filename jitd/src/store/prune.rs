//! Removes records from the beginning of the store, a few at a time, up to the record that `audit.pruned` names.
//!
//! One transaction writes that record and removes the first rows; later ones remove the rest. After a crash the audit
//! log says which records are missing, and the next start continues.

use jit_proto::time::WallTime;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde_json::Value;

use super::{Store, StoreError, rows};
use crate::core::retention::Pruned;

/// Rows removed in one transaction; a decision may have to wait for it.
const MAX_BATCH: u64 = 128;

impl Store {
    /// How far records are removed, or will be.
    #[must_use]
    pub fn pruned(&self) -> &Pruned {
        &self.pruned
    }

    /// Removes some of the rows; returns whether there may be more.
    ///
    /// # Errors
    /// An error of SQLite; nothing was removed.
    pub fn prune(&mut self) -> Result<bool, StoreError> {
        let path = self.path.clone();
        let context = |error| StoreError::Sqlite { path: path.clone(), error };
        // Rows can be removed again, so this need not survive a power cut.
        self.be_durable(false)?;
        let transaction = self.connection.transaction().map_err(context)?;
        let taken = records(&transaction, self.pruned.to.seq).map_err(context)?;
        let (mut taken, mut swept) = (taken, self.swept);
        for (table, end, swept) in
            [("requests", "/expires/wall", &mut swept.0), ("grants", "/ends/wall", &mut swept.1)]
        {
            if taken < MAX_BATCH {
                taken += closed(&transaction, table, end, self.pruned.newest, swept).map_err(context)?;
            }
        }
        transaction.commit().map_err(context)?;
        self.swept = swept;
        Ok(taken > 0)
    }
}

/// The row of the table, if there is one.
pub(super) fn found(connection: &Connection) -> rusqlite::Result<Pruned> {
    let sql = "SELECT to_seq, to_hash, newest FROM pruned";
    let found = connection.query_row(sql, [], |row| {
        let to = rows::head(row)?;
        Ok(Pruned { to, newest: WallTime(row.get(2)?) })
    });
    found.optional().map(Option::unwrap_or_default)
}

/// Writes how far records are removed, in the transaction of the record that says so, and removes the first rows.
pub(super) fn begin(transaction: &Transaction<'_>, pruned: &Pruned) -> rusqlite::Result<()> {
    // Numbers of requests and grants are never reused.
    transaction.execute(
        "INSERT OR REPLACE INTO pruned (id, to_seq, to_hash, newest, highest_id)
         SELECT 1, ?1, ?2, ?3, ifnull(max(id), 0) FROM
         (SELECT max(id) AS id FROM requests UNION ALL SELECT max(id) FROM grants UNION ALL
          SELECT max(highest_id) FROM pruned)",
        params![pruned.to.seq, pruned.to.hash.to_string(), pruned.newest.0],
    )?;
    records(transaction, pruned.to.seq).map(drop)
}

/// Removes the first records up to this one.
fn records(transaction: &Transaction<'_>, up_to: u64) -> rusqlite::Result<u64> {
    let first = transaction
        .prepare_cached("SELECT min(seq) FROM records")?
        .query_row([], |row| row.get::<_, Option<u64>>(0))?;
    let Some(first) = first.filter(|first| *first <= up_to) else { return Ok(0) };
    let last = up_to.min(first + MAX_BATCH - 1);
    let taken = transaction.prepare_cached("DELETE FROM records WHERE seq <= ?1")?.execute([last])?;
    Ok(taken as u64)
}

/// Removes some closed requests or grants whose planned end is before this time. Numbers follow time, so reading stops
/// at a page without such a row.
fn closed(
    transaction: &Transaction<'_>,
    table: &str,
    end: &str,
    before: WallTime,
    swept: &mut u64,
) -> rusqlite::Result<u64> {
    let sql = format!("SELECT id, open, body FROM {table} WHERE id > ?1 ORDER BY id LIMIT ?2");
    let mut page = transaction.prepare_cached(&sql)?;
    let mut rows = page.query(params![*swept, MAX_BATCH])?;
    let (mut last, mut over) = (*swept, Vec::new());
    while let Some(row) = rows.next()? {
        let (id, open, body): (u64, bool, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        last = id;
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        let ended = body.pointer(end).and_then(Value::as_u64);
        over.extend((!open && ended.is_some_and(|ended| ended <= before.0)).then_some(id));
    }
    drop(rows);
    let mut delete = transaction.prepare_cached(&format!("DELETE FROM {table} WHERE id = ?1"))?;
    for id in &over {
        delete.execute([id])?;
    }
    if !over.is_empty() {
        *swept = last;
    }
    Ok(over.len() as u64)
}
