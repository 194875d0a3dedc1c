//! Reads the state at a start, and single requests and grants later.

use std::collections::BTreeMap;

use jit_proto::identity::UserId;
use jit_proto::time::WallTime;
use rusqlite::OptionalExtension;
use serde::de::DeserializeOwned;

use super::{Sent, Store, StoreError, rows};
use crate::core::alerts::Baseline;
use crate::core::ledger::{Grant, Ledger, Request, Session};

impl Store {
    /// All open objects, as last committed.
    ///
    /// # Errors
    /// When a row cannot be parsed.
    pub fn ledger(&self) -> Result<Ledger, StoreError> {
        let number = |sql: &str| -> Result<u64, StoreError> {
            self.connection
                .query_row(sql, [], |row| row.get::<_, Option<u64>>(0))
                .optional()
                .map(|value| value.flatten().unwrap_or(0))
                .map_err(|error| self.sqlite(error))
        };
        let highest_id = number(
            "SELECT max(id) FROM (SELECT max(id) AS id FROM requests UNION ALL SELECT max(id) FROM grants UNION ALL
             SELECT max(highest_id) FROM pruned)",
        )?;
        let mut ledger = Ledger {
            next_id: highest_id + 1,
            next_session: number("SELECT next_session FROM state")?.max(1),
            highest_wall: WallTime(number("SELECT highest_wall FROM state")?),
            sealed: self.seal_first > 0,
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

    /// The baselines, as last committed.
    ///
    /// # Errors
    /// When a row cannot be parsed.
    pub fn baselines(&self) -> Result<BTreeMap<UserId, Baseline>, StoreError> {
        let sql = "SELECT uid, body FROM habits";
        let mut statement = self.connection.prepare(sql).map_err(|error| self.sqlite(error))?;
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, String>(1)?)))
            .map_err(|error| self.sqlite(error))?;
        rows.map(|row| {
            let (uid, body) = row.map_err(|error| self.sqlite(error))?;
            Ok((UserId(uid), self.parse("habits", u64::from(uid), &body)?))
        })
        .collect()
    }

    /// The last record that each sink has.
    ///
    /// # Errors
    /// An error of SQLite.
    pub fn sent(&self) -> Result<Sent, StoreError> {
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Sent { syslog: row.get(0)?, journal: row.get(1)?, json_lines: row.get(2)? })
        };
        self.connection
            .query_row("SELECT sent, sent_journal, sent_json_lines FROM state", [], read)
            .optional()
            .map(Option::unwrap_or_default)
            .map_err(|error| self.sqlite(error))
    }

    /// A request, open or closed.
    ///
    /// # Errors
    /// When its row cannot be parsed.
    pub fn request(&self, id: u64) -> Result<Option<Request>, StoreError> {
        self.row("requests", id)
    }

    /// A grant, live or closed.
    ///
    /// # Errors
    /// When its row cannot be parsed.
    pub fn grant(&self, id: u64) -> Result<Option<Grant>, StoreError> {
        self.row("grants", id)
    }

    fn row<T: DeserializeOwned>(&self, table: &'static str, id: u64) -> Result<Option<T>, StoreError> {
        // SQLite's integers are signed, so no row has a higher number.
        let Ok(number) = i64::try_from(id) else { return Ok(None) };
        let found = self
            .connection
            .query_row(
                &format!("SELECT id, open, body, digest FROM {table} WHERE id = ?1"),
                [number],
                rows::Row::read,
            )
            .optional()
            .map_err(|error| self.sqlite(error))?;
        found.map(|row| self.parse_row(table, &row)).transpose()
    }

    fn open_rows<T: DeserializeOwned>(&self, table: &'static str) -> Result<Vec<T>, StoreError> {
        let mut statement = self
            .connection
            .prepare(&format!("SELECT id, open, body, digest FROM {table} WHERE open = 1 ORDER BY id"))
            .map_err(|error| self.sqlite(error))?;
        let rows = statement.query_map([], rows::Row::read).map_err(|error| self.sqlite(error))?;
        rows.map(|row| self.parse_row(table, &row.map_err(|error| self.sqlite(error))?)).collect()
    }

    fn parse_row<T: DeserializeOwned>(&self, table: &'static str, row: &rows::Row) -> Result<T, StoreError> {
        if !row.is_as_written(table) {
            return Err(StoreError::Damaged { path: self.path.clone(), table, row: row.id });
        }
        self.parse(table, row.id, &row.body)
    }

    fn parse<T: DeserializeOwned>(&self, table: &'static str, row: u64, body: &str) -> Result<T, StoreError> {
        serde_json::from_str(body).map_err(|error| StoreError::Row {
            path: self.path.clone(),
            table,
            row,
            error,
        })
    }
}
