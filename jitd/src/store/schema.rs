//! The layout of the tables, and how a store of an older layout becomes one of this.

use rusqlite::Connection;

/// `body` is the object's JSON; `open` says whether it is loaded at start. Sessions that ended leave the table: what
/// there is to know of them is in the record.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS requests (id INTEGER PRIMARY KEY, open INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS grants   (id INTEGER PRIMARY KEY, open INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS sessions (id INTEGER PRIMARY KEY, open INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS requests_open ON requests (id) WHERE open = 1;
CREATE INDEX IF NOT EXISTS grants_open   ON grants   (id) WHERE open = 1;
CREATE TABLE IF NOT EXISTS records  (
    seq INTEGER PRIMARY KEY, hash TEXT NOT NULL, seal TEXT, line TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS state (
    id INTEGER PRIMARY KEY CHECK (id = 1), head_seq INTEGER NOT NULL, head_hash TEXT NOT NULL,
    highest_wall INTEGER NOT NULL, next_session INTEGER NOT NULL, seal_first INTEGER NOT NULL,
    sent INTEGER NOT NULL, sent_journal INTEGER NOT NULL, sent_json_lines INTEGER NOT NULL
) STRICT;
";

/// In a store that knows no habits yet, whoever ever held a role has used it: they are not told of as new.
pub(super) fn remember_habits(connection: &Connection) -> rusqlite::Result<()> {
    if connection.table_exists(None, "habits")? {
        return Ok(());
    }
    connection.execute_batch(
        "BEGIN IMMEDIATE;
         CREATE TABLE habits (uid INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
         INSERT INTO habits (uid, body)
         SELECT body ->> '$.holder.uid',
                json_object('name', body ->> '$.holder.name',
                            'roles', json_group_array(DISTINCT body ->> '$.role'), 'days', json('[]'))
         FROM grants GROUP BY body ->> '$.holder.uid';
         COMMIT;",
    )
}

/// A store that knew of syslog alone: what other sinks did not get then is not for them.
pub(super) fn remember_sinks(connection: &Connection) -> rusqlite::Result<()> {
    let known = connection
        .prepare("SELECT name FROM pragma_table_info('state') WHERE name = 'sent_journal'")?
        .exists([])?;
    if known {
        return Ok(());
    }
    connection.execute_batch(
        "BEGIN; ALTER TABLE state ADD COLUMN sent_journal INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE state ADD COLUMN sent_json_lines INTEGER NOT NULL DEFAULT 0;
         UPDATE state SET sent_journal = head_seq, sent_json_lines = head_seq; COMMIT;",
    )
}
