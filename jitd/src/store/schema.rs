//! The tables of the store, and the numbered migrations by which a store of an older jitd gets them.
//!
//! A migration adds tables, columns and rows, and changes none: an older jitd can still open the store, as after a
//! downgrade of the package. A change that an older jitd would misread also raises [`COMPATIBLE`].

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

/// `PRAGMA user_version`. A jitd refuses a store with a higher one.
pub(super) const COMPATIBLE: i64 = 1;

/// One step from a layout to the next.
struct Migration {
    /// A short text about what the step adds.
    name: &'static str,
    /// A table, and a column of it, that this step adds. Stores from before layouts had numbers are recognised by
    /// these.
    adds: (&'static str, &'static str),
    sql: &'static str,
}

/// In order. A layout's number is the number of migrations that made it.
const MIGRATIONS: [Migration; 7] = [
    Migration { name: "state and records", adds: ("state", "head_seq"), sql: TABLES },
    Migration {
        name: "seals",
        adds: ("state", "seal_first"),
        sql: "ALTER TABLE records ADD COLUMN seal TEXT;
              ALTER TABLE state ADD COLUMN seal_first INTEGER NOT NULL DEFAULT 0;",
    },
    // `highest_id`: the highest request or grant at the last removal of records, so that no number is reused.
    Migration {
        name: "retention",
        adds: ("pruned", "to_seq"),
        sql: "CREATE TABLE pruned (
                  id INTEGER PRIMARY KEY CHECK (id = 1), to_seq INTEGER NOT NULL, to_hash TEXT NOT NULL,
                  newest INTEGER NOT NULL, highest_id INTEGER NOT NULL
              ) STRICT;",
    },
    // A person who held a role before has used it: no first-use alert.
    Migration {
        name: "habits",
        adds: ("habits", "uid"),
        sql: "CREATE TABLE habits (uid INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
              INSERT INTO habits (uid, body)
              SELECT body ->> '$.holder.uid',
                     json_object('name', body ->> '$.holder.name',
                                 'roles', json_group_array(DISTINCT body ->> '$.role'), 'days', json('[]'))
              FROM grants GROUP BY body ->> '$.holder.uid';",
    },
    // The new sinks get records from here on.
    Migration {
        name: "journal and JSON lines as sinks",
        adds: ("state", "sent_journal"),
        sql: "ALTER TABLE state ADD COLUMN sent_journal INTEGER NOT NULL DEFAULT 0;
              ALTER TABLE state ADD COLUMN sent_json_lines INTEGER NOT NULL DEFAULT 0;
              UPDATE state SET sent_journal = head_seq, sent_json_lines = head_seq;",
    },
    // Earlier rows have no digest, and are used without one.
    Migration {
        name: "digests",
        adds: ("state", "seal_next"),
        sql: "ALTER TABLE state ADD COLUMN seal_next TEXT NOT NULL DEFAULT '';
              ALTER TABLE requests ADD COLUMN digest TEXT;
              ALTER TABLE grants ADD COLUMN digest TEXT;
              ALTER TABLE sessions ADD COLUMN digest TEXT;
              CREATE TABLE breaks (seq INTEGER PRIMARY KEY, detail TEXT NOT NULL) STRICT;",
    },
    // Who acknowledged the problem, when and why; NULL while it is open.
    Migration {
        name: "acknowledged problems",
        adds: ("breaks", "acknowledged"),
        sql: "ALTER TABLE breaks ADD COLUMN acknowledged TEXT;",
    },
];

/// `body` is the object's JSON; `open` says whether it is loaded at start. Ended sessions leave the table: the audit
/// log has them.
const TABLES: &str = "
CREATE TABLE requests (id INTEGER PRIMARY KEY, open INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
CREATE TABLE grants   (id INTEGER PRIMARY KEY, open INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
CREATE TABLE sessions (id INTEGER PRIMARY KEY, open INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
CREATE INDEX requests_open ON requests (id) WHERE open = 1;
CREATE INDEX grants_open   ON grants   (id) WHERE open = 1;
CREATE TABLE records (seq INTEGER PRIMARY KEY, hash TEXT NOT NULL, line TEXT NOT NULL) STRICT;
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1), head_seq INTEGER NOT NULL, head_hash TEXT NOT NULL,
    highest_wall INTEGER NOT NULL, next_session INTEGER NOT NULL, sent INTEGER NOT NULL
) STRICT;
";

/// The number of the layout, which stores have from migration 6 on. A later jitd may have written a higher one.
const LAYOUT: &str = "
CREATE TABLE IF NOT EXISTS layout (id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER NOT NULL) STRICT;
";

/// A migration that failed. The store keeps the layout that it had.
#[derive(Debug, thiserror::Error)]
#[error("migration {number} of the store ({name}) failed: {error}")]
pub struct MigrationError {
    /// Its number, from 1.
    number: i64,
    /// What it adds.
    name: &'static str,
    /// SQLite's error.
    #[source]
    pub(super) error: rusqlite::Error,
}

/// Performs the migrations that a store lacks, all or none. An empty database lacks all.
///
/// # Errors
/// The migration that failed; nothing was changed.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), MigrationError> {
    let begin = |error| MigrationError { number: 0, name: "reading the layout", error };
    let known = number(connection).map_err(begin)?;
    let last = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if known.is_some_and(|known| known >= last) {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(begin)?;
    for (number, migration) in (1..).zip(&MIGRATIONS) {
        let Migration { name, adds, sql } = *migration;
        let failed = |error| MigrationError { number, name, error };
        let done = match known {
            Some(known) => number <= known,
            None => has_column(&transaction, adds).map_err(failed)?,
        };
        if !done {
            transaction.execute_batch(sql).map_err(failed)?;
        }
    }
    let written = transaction.execute_batch(LAYOUT).and_then(|()| {
        transaction.execute("INSERT OR REPLACE INTO layout (id, number) VALUES (1, ?1)", [last])?;
        transaction.commit()
    });
    written.map_err(|error| MigrationError { number: last, name: "writing the layout's number", error })
}

/// The layout's number; `None` in a store that was written before layouts had numbers, and in an empty database.
fn number(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    if !connection.table_exists(None, "layout")? {
        return Ok(None);
    }
    connection.query_row("SELECT number FROM layout", [], |row| row.get(0)).optional()
}

fn has_column(connection: &Connection, (table, column): (&str, &str)) -> rusqlite::Result<bool> {
    let sql = "SELECT name FROM pragma_table_info(?1) WHERE name = ?2";
    connection.prepare(sql)?.exists([table, column])
}

#[cfg(test)]
mod tests;
