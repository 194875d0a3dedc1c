//! Keeps state and audit record in one SQLite database, so that both are written or neither is.

pub mod disk;

mod files;

mod key_file;

mod known_head;

mod rows;

mod prune;

mod read;

mod search;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jit_proto::audit::chain::{Head, Sealed, append, hash_from_hex};
use jit_proto::audit::seal::Sealer;
use jit_proto::identity::UserId;
use jit_proto::time::WallTime;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use key_file::{Keeper, KeyFileError};
pub use known_head::{KnownHead, rolled_back};
pub use read::Reader;
pub use search::{Index, catch_up};

use files::Files;

use crate::core::alerts::Habit;
use crate::core::event::{Change, Commit, Durability};
use crate::core::ledger::{Grant, GrantState, Ledger, Request, RequestState, Session, SessionState};
use crate::core::retention::Pruned;

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
    #[error("{0}")]
    Files(String),
    /// Written by a later version.
    #[error("{path}: layout {found} is newer than this jitd, which knows {SCHEMA}", path = .path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// What it says.
        found: i64,
    },
    /// The seal's key cannot be kept.
    #[error(transparent)]
    Key(#[from] KeyFileError),
}

impl StoreError {
    /// Whether what is in the store is damaged, as against a store that cannot be read now.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Sqlite { error, .. } => matches!(
                error.sqlite_error_code(),
                Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
            ),
            Self::Row { .. } | Self::Damaged { .. } => true,
            Self::Files(_) | Self::Newer { .. } | Self::Key(_) => false,
        }
    }
}

/// What a commit came to.
#[derive(Debug)]
pub struct Written {
    /// The records, as they stand in the chain.
    pub records: Vec<Sealed>,
    /// Whether the seal's key on the disk has moved on behind them. If it has not, whoever becomes root now could seal
    /// these records anew, so nobody may. It is tried again with the next commit.
    pub key: Result<(), KeyFileError>,
}

/// The file beside the database that holds the seal's current key.
const KEY_FILE: &str = "seal.key";

/// Where chain and seal stand behind a transaction.
struct Chained {
    head: Head,
    seal_first: u64,
    seal: Option<Sealer>,
    pruned: Pruned,
}

/// What is written with every commit, whatever it is about.
#[derive(Debug, Clone, Copy)]
pub struct CommitMeta {
    /// The highest wall time ever seen.
    pub highest_wall: WallTime,
    /// The next session's number.
    pub next_session: u64,
    /// How far each sink has got.
    pub sent: Sent,
}

/// The last record that each sink has taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// The local syslog socket.
    pub syslog: u64,
    /// The journal.
    pub journal: u64,
    /// The file of JSON lines.
    pub json_lines: u64,
}

impl Sent {
    /// No sink has taken anything.
    pub const NOTHING: Self = Self { syslog: 0, journal: 0, json_lines: 0 };
}

/// The database, and the end of the chain in it.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Connection,
    head: Head,
    durable: bool,
    keeper: Keeper,
    /// The first record under the last seal that was begun; 0 if none ever was.
    seal_first: u64,
    /// The seal in progress, its key being for the record behind the head.
    seal: Option<Sealer>,
    seal_lost: Option<String>,
    pruned: Pruned,
    /// Requests and grants up to these numbers were looked at, whether they go with the records.
    swept: (u64, u64),
    files: Files,
    /// What records say is wrong with the record itself: their numbers, and what they say.
    breaks: Vec<(u64, String)>,
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
        // The log is moved into the database by `disk`; this is for the case that it does not get there.
        connection.pragma_update(None, "wal_autocheckpoint", 16_000).map_err(context)?;
        // In KiB: what is written goes to the ends of few tables.
        connection.pragma_update(None, "cache_size", -512).map_err(context)?;
        // Under the unit's sandbox /tmp is read-only.
        connection.pragma_update(None, "temp_store", "MEMORY").map_err(context)?;
        // What is taken out is overwritten with zeros: a record that is removed for good is to be gone for good.
        connection.pragma_update(None, "secure_delete", true).map_err(context)?;
        let found: i64 =
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(context)?;
        if found > SCHEMA {
            return Err(StoreError::Newer { path: path.to_owned(), found });
        }
        connection.execute_batch(TABLES).map_err(context)?;
        remember_sinks(&connection).map_err(context)?;
        connection.execute_batch(prune::TABLE).map_err(context)?;
        rows::prepare(&connection).map_err(context)?;
        let pruned = prune::found(&connection).map_err(context)?;
        remember_habits(&connection).map_err(context)?;
        connection.pragma_update(None, "user_version", SCHEMA).map_err(context)?;
        let (head, seal_first, seal_next) = connection
            .query_row("SELECT head_seq, head_hash, seal_first, seal_next FROM state", [], |row| {
                Ok((Head { seq: row.get(0)?, hash: row.get(1)? }, row.get(2)?, row.get::<_, String>(3)?))
            })
            .optional()
            .map_err(context)?
            .unwrap_or_default();
        let breaks = rows::breaks(&connection).map_err(context)?;
        // Everything was read by now, so that SQLite has made the files that it keeps beside the database.
        let files =
            Files::of(path).map_err(|error| StoreError::Files(format!("{}: {error}", path.display())))?;
        let keeper = Keeper::of(path.with_file_name(KEY_FILE));
        let path = path.to_owned();
        let (seal, seal_lost, swept) = (None, None, (0, 0));
        let mut store = Self {
            path,
            connection,
            head,
            durable: true,
            keeper,
            seal_first,
            seal,
            seal_lost,
            pruned,
            swept,
            files,
            breaks,
        };
        store.take_up_seal(&seal_next);
        Ok(store)
    }

    /// Takes the key from its file, and moves it on to the record behind the head. A key that lags behind the records
    /// is what a sudden end leaves; one that is ahead of them cannot seal what has to be written. The file follows with
    /// the next durable commit: what is in the store now need not be on the disk.
    fn take_up_seal(&mut self, next_id: &str) {
        let found = match self.keeper.read() {
            Ok(keys) if self.seal_first == 0 && keys.is_empty() => return,
            Ok(keys) => self.fitting(keys),
            Err(error) => Err(error.to_string()),
        };
        // The store knows which key comes next without knowing the key. One from before that has no word for it.
        let found = found.and_then(|sealer| match next_id {
            "" => Ok(sealer),
            id if id == sealer.key.id() => Ok(sealer),
            id => Err(format!(
                "the key in {} does not continue the seal: for record {} it is {}, and the store waits for {id}",
                self.keeper.path().display(),
                sealer.next,
                sealer.key.id()
            )),
        });
        match found {
            Ok(sealer) => self.seal = Some(sealer),
            Err(problem) => self.seal_lost = Some(problem),
        }
    }

    /// The key of the store's own seal, moved on to the record behind the head; or why there is none.
    fn fitting(&self, keys: Vec<Sealer>) -> Result<Sealer, String> {
        let path = self.keeper.path();
        let (path, first) = (path.display(), self.seal_first);
        let others = keys.first().map(|key| key.first);
        match (keys.into_iter().find(|key| key.first == first), others) {
            (Some(mut sealer), _) => match sealer.forward_to(self.head.seq + 1) {
                Ok(()) => Ok(sealer),
                Err(ahead) => Err(format!("{ahead}: records were taken out of the store")),
            },
            (None, Some(other)) => {
                Err(format!("{path} is for a seal from record {other} on, which the store does not know of"))
            }
            (None, None) => Err(format!("{path} has no key for the seal that began with record {first}")),
        }
    }

    /// Why a seal that was begun cannot be continued. It is for the first record that is written from here on.
    #[must_use]
    pub fn seal_lost(&self) -> Option<&str> {
        self.seal_lost.as_deref()
    }

    /// The first record under the last seal that was begun; 0 if none ever was.
    #[must_use]
    pub fn seal_first(&self) -> u64 {
        self.seal_first
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

    /// Writes several commits in one transaction, and seals their records. They are on the disk then, and the key in its
    /// file moved on, if one of them has to be at once; else when [`disk`] has got there. On an error nothing was
    /// written, and head and key stay.
    ///
    /// # Errors
    /// Disk full, read-only, I/O: whatever SQLite says.
    pub fn commit(&mut self, commits: Vec<Commit>, kept: CommitMeta) -> Result<Written, StoreError> {
        self.check_files()?;
        self.commit_unchecked(commits, kept)
    }

    /// The same, into files that need not be at their paths any more: for the record that says so, which the sinks can
    /// still be handed.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn commit_unchecked(
        &mut self,
        commits: Vec<Commit>,
        kept: CommitMeta,
    ) -> Result<Written, StoreError> {
        let at_once = |commit: &Commit| commit.durability == Durability::AtOnce;
        let durable = commits.is_empty() || commits.iter().any(at_once);
        self.be_durable(durable)?;
        let begun = commits.iter().any(|commit| commit.seal.is_some());
        let (records, state) = match self.write(commits, kept) {
            Ok(written) => written,
            Err(error) => {
                // What counts is what the store says; a key that was never used is only in the way.
                if begun {
                    drop(self.keeper.abandon());
                }
                return Err(error);
            }
        };
        (self.head, self.seal_first, self.seal) = (state.head, state.seal_first, state.seal);
        if begun {
            self.seal_lost = None;
        }
        if state.pruned != self.pruned {
            (self.pruned, self.swept) = (state.pruned, (0, 0));
        }
        // Nobody becomes root by what is not on the disk: until then the key in the file may lag behind.
        let key = if durable { self.keep_key() } else { Ok(()) };
        Ok(Written { records, key })
    }

    /// Looks whether the files that are open are still those at their paths, and have not become shorter.
    ///
    /// # Errors
    /// [`StoreError::Files`] says which file is not as it was. It is asked anew each time, so files that were put back
    /// are taken again.
    pub fn check_files(&mut self) -> Result<(), StoreError> {
        match self.files.check() {
            Ok(()) => Ok(()),
            Err(files::Change::Lost(problem)) => Err(StoreError::Files(problem)),
            Err(files::Change::Shorter(problem)) => match self.read_anew() {
                Ok(()) => {
                    self.files.accept_lengths();
                    Ok(())
                }
                Err(error) => Err(StoreError::Files(format!("{problem}: {error}"))),
            },
        }
    }

    /// Reads on a new connection whether the end of the chain is the one that is remembered here, and whether SQLite
    /// finds its pages in order.
    fn read_anew(&self) -> Result<(), String> {
        let read = || {
            let other = Connection::open_with_flags(&self.path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            let head = other.query_row("SELECT head_seq, head_hash FROM state", [], |row| {
                Ok(Head { seq: row.get(0)?, hash: row.get(1)? })
            })?;
            let pages: String = other.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            Ok::<_, rusqlite::Error>((head, pages))
        };
        match read() {
            Ok((head, pages)) if head == self.head && pages == "ok" => Ok(()),
            Ok((head, pages)) if head == self.head => Err(pages),
            Ok((head, _)) => Err(format!(
                "the store ends with record {} now, and record {} was written",
                head.seq, self.head.seq
            )),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What is wrong with the record, as far as records that are still kept say so: sentences for people.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let kept = self.breaks.iter().filter(|(seq, _)| *seq > self.pruned.to.seq);
        kept.map(|(seq, detail)| format!("record {seq} says: {detail}")).collect()
    }

    /// Writes the key in hand over the one in the file, everything before it being on the disk.
    fn keep_key(&self) -> Result<(), KeyFileError> {
        self.seal.as_ref().map_or(Ok(()), |sealer| self.keeper.keep(sealer))
    }

    /// The seal in progress. Its key may be kept as soon as every record there is is on the disk.
    #[must_use]
    pub fn sealer(&self) -> Option<&Sealer> {
        self.seal.as_ref()
    }

    /// What keeps the seal's key.
    #[must_use]
    pub fn keeper(&self) -> Keeper {
        self.keeper.clone()
    }

    fn write(
        &mut self,
        commits: Vec<Commit>,
        kept: CommitMeta,
    ) -> Result<(Vec<Sealed>, Chained), StoreError> {
        let path = self.path.clone();
        let context = |error| StoreError::Sqlite { path: path.clone(), error };
        let Self { seal_first, .. } = *self;
        let pruned = self.pruned.clone();
        let mut state = Chained { head: self.head.clone(), seal_first, seal: self.seal.clone(), pruned };
        let mut written = Vec::new();
        let mut breaks = Vec::new();
        let transaction = self.connection.transaction().map_err(context)?;
        for commit in commits {
            for change in &commit.changes {
                put(&transaction, &path, change)?;
            }
            for (uid, habit) in &commit.habits {
                put_habit(&transaction, &path, *uid, habit)?;
            }
            for draft in commit.drafts {
                let row = state.head.seq + 1;
                let table = "records";
                let broken = rows::break_of(&draft);
                let appended = append(&mut state.head, draft);
                let mut sealed =
                    appended.map_err(|error| StoreError::Row { path: path.clone(), table, row, error })?;
                if let Some(sealer) = &mut state.seal
                    && let Some(hash) = hash_from_hex(&sealed.hash)
                {
                    sealed.seal = Some(hex::encode(sealer.seal_next(&hash)));
                }
                insert(&transaction, &sealed).map_err(context)?;
                if let Some(detail) = broken {
                    rows::put_break(&transaction, row, &detail).map_err(context)?;
                    breaks.push((row, detail));
                }
                written.push(sealed);
            }
            if let Some(pruned) = commit.prune {
                prune::begin(&transaction, &pruned).map_err(context)?;
                state.pruned = pruned;
            }
            if let Some(key) = commit.seal {
                let begun = Sealer::beginning(state.head.seq + 1, key);
                self.keeper.begin(&begun)?;
                state.seal_first = begun.first;
                state.seal = Some(begun);
            }
        }
        // One row, one page: what every commit writes beside its records.
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO state (id, head_seq, head_hash, highest_wall, next_session, seal_first, sent,
                 sent_journal, sent_json_lines, seal_next) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )
            .and_then(|mut statement| {
                let CommitMeta { highest_wall, next_session, sent } = kept;
                let Chained { head, seal_first, .. } = &state;
                statement.execute(params![
                    head.seq,
                    head.hash,
                    highest_wall.0,
                    next_session,
                    seal_first,
                    sent.syslog,
                    sent.journal,
                    sent.json_lines,
                    state.seal.as_ref().map_or(String::new(), |sealer| sealer.key.id())
                ])
            })
            .map_err(context)?;
        transaction.commit().map_err(context)?;
        self.breaks.append(&mut breaks);
        Ok((written, state))
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
        let highest_id = number(
            "SELECT max(id) FROM (SELECT id FROM requests UNION ALL SELECT id FROM grants UNION ALL
             SELECT highest_id FROM pruned)",
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

    /// What people usually do, as it was last committed.
    ///
    /// # Errors
    /// When a row does not hold what it should.
    pub fn habits(&self) -> Result<BTreeMap<UserId, Habit>, StoreError> {
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

    /// The last record that each sink has taken.
    ///
    /// # Errors
    /// Whatever SQLite says.
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
fn remember_habits(connection: &Connection) -> rusqlite::Result<()> {
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

fn put_habit(
    transaction: &Transaction<'_>,
    path: &Path,
    uid: UserId,
    habit: &Habit,
) -> Result<(), StoreError> {
    let (table, row) = ("habits", u64::from(uid.0));
    let body = serde_json::to_string(habit);
    let body = body.map_err(|error| StoreError::Row { path: path.to_owned(), table, row, error })?;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO habits (uid, body) VALUES (?1, ?2)")
        .and_then(|mut statement| statement.execute(params![uid.0, body]))
        .map_err(|error| StoreError::Sqlite { path: path.to_owned(), error })?;
    Ok(())
}

/// A store that knew of syslog alone: what other sinks did not get then is not for them.
fn remember_sinks(connection: &Connection) -> rusqlite::Result<()> {
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

fn insert(transaction: &Transaction<'_>, sealed: &Sealed) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached("INSERT INTO records (seq, hash, seal, line) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![sealed.seq, sealed.hash, sealed.seal, sealed.line])
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
        .prepare_cached(&format!(
            "INSERT OR REPLACE INTO {table} (id, open, body, digest) VALUES (?1, ?2, ?3, ?4)"
        ))
        .and_then(|mut statement| {
            statement.execute(params![id, open, body, rows::digest(table, id, open, &body)])
        })
        .map_err(|error| StoreError::Sqlite { path: path.to_owned(), error })?;
    Ok(())
}

#[cfg(test)]
mod tests;
