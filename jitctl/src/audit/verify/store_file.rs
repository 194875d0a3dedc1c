//! Reads the store's file, without the daemon and without changing it, as far as it can be read.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use jit_proto::audit::chain::{Broken, Head, Stored};
use jit_proto::audit::hash::RecordHash;
use jit_proto::audit::known_head::{self, Remembered};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};

/// The path of the daemon's store, whose head this host remembers (`known_head`).
const OWN: &str = "/var/lib/jitd/jit.db";

/// A store's file before it is opened.
#[derive(Debug)]
pub(crate) struct StoreFile(PathBuf);

/// How far a walk came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Walked {
    /// Every record was read.
    ToTheEnd,
    /// A record is broken.
    Broken(Broken),
    /// The file cannot be read further.
    Unreadable {
        /// SQLite's error.
        why: String,
        /// Readable records after the damage: the first and the last.
        behind: Option<(u64, u64)>,
    },
}

impl StoreFile {
    /// A file, or the store in a folder.
    pub(crate) fn at(path: &OsString) -> Self {
        let path = PathBuf::from(path);
        Self(if path.is_dir() { path.join("jit.db") } else { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Opens it for reading. SQLite then neither repairs it nor checkpoints its log (sqlite.org/c3ref/open.html,
    /// SQLITE_OPEN_READONLY).
    pub(crate) fn open(&self) -> Result<Opened, String> {
        std::fs::File::open(&self.0).map_err(|error| error.to_string())?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let usual = Connection::open_with_flags(&self.0, flags).map_err(|error| error.to_string())?;
        // On a read-only file system the log's index cannot be made (sqlite.org/wal.html#readonly).
        let cannot =
            |error: &rusqlite::Error| error.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen);
        let readable = usual.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, u64>(0));
        let (connection, log_is_read) = match readable {
            Err(error) if cannot(&error) => {
                let path = self.0.canonicalize().map_err(|error| error.to_string())?;
                let name = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
                let uri = format!("file:{name}?immutable=1");
                let flags = flags | OpenFlags::SQLITE_OPEN_URI;
                (Connection::open_with_flags(uri, flags).map_err(|error| error.to_string())?, false)
            }
            _ => (usual, true),
        };
        Ok(Opened { path: self.0.clone(), connection, log_is_read })
    }
}

/// An open store file.
#[derive(Debug)]
pub(crate) struct Opened {
    path: PathBuf,
    connection: Connection,
    log_is_read: bool,
}

impl Opened {
    /// The head of the chain by the store itself, if it can be read.
    pub(crate) fn head(&self) -> Option<Head> {
        let sql = "SELECT head_seq, head_hash FROM state";
        let read = self.connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)));
        let (seq, hash) = read.ok()?;
        Some(Head { seq, hash: RecordHash::parse(&hash)? })
    }

    /// The problems beside the chain: those noted in the store, and those by the remembered head.
    pub(crate) fn problems(&self) -> Vec<String> {
        let noted = self.noted().unwrap_or_default().into_iter();
        let mut problems: Vec<String> =
            noted.filter(|(_, how)| how.is_none()).map(|(told, _)| told).collect();
        if !self.log_is_read {
            problems.push(
                "the log beside it (-wal) was not read, because the file system is read-only".to_owned(),
            );
        }
        if self.path == Path::new(OWN)
            && let Ok(text) = std::fs::read_to_string(known_head::PATH)
            && !text.is_empty()
        {
            match Remembered::parse(&text) {
                Some(known) => problems.extend(self.rolled_back(&known)),
                None => problems.push(format!("{} is damaged", known_head::PATH)),
            }
        }
        problems
    }

    /// The problems noted in the store, and their acknowledgements. Stores from before 0.3 have no such column.
    fn noted(&self) -> rusqlite::Result<Vec<(String, Option<String>)>> {
        let read = |column: &str| -> rusqlite::Result<Vec<(String, Option<String>)>> {
            let sql = format!("SELECT seq, detail, {column} FROM breaks ORDER BY seq");
            let mut statement = self.connection.prepare(&sql)?;
            let rows = statement.query_map([], |row| {
                let told = format!("record {} says: {}", row.get::<_, u64>(0)?, row.get::<_, String>(1)?);
                Ok((told, row.get(2)?))
            })?;
            rows.collect()
        };
        read("acknowledged").or_else(|_| read("NULL"))
    }

    /// The noted problems that an operator has acknowledged.
    pub(crate) fn acknowledged(&self) -> Vec<String> {
        let noted = self.noted().unwrap_or_default().into_iter();
        noted.filter_map(|(told, how)| how.map(|how| format!("{told}; {how}"))).collect()
    }

    fn rolled_back(&self, known: &Remembered) -> Option<String> {
        let seq = known.head.seq;
        let sql = "SELECT hash FROM records WHERE seq = ?1";
        let found: Option<String> =
            self.connection.query_row(sql, [seq], |row| row.get(0)).optional().ok().flatten();
        match found {
            Some(hash) if RecordHash::parse(&hash) == Some(known.head.hash) => None,
            Some(_) => {
                Some(format!("this host has written {known}, and the store has another one in its place"))
            }
            None if self.head().is_some_and(|head| head.seq >= seq) => None,
            None => Some(format!("this host has written {known}, which the store does not have")),
        }
    }

    /// Passes every record to a function, in order, until one is wrong or cannot be read.
    pub(crate) fn walk(&self, mut feed: impl FnMut(Stored<'_>) -> Result<(), Broken>) -> Walked {
        let mut last = 0;
        let mut walk = || -> rusqlite::Result<Option<Broken>> {
            let sql = "SELECT seq, hash, seal, line FROM records ORDER BY seq";
            let mut statement = self.connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (seq, hash, seal, line) = (row.get(0)?, text(row, 1)?, text(row, 2)?, text(row, 3)?);
                let (hash, line) = (hash.unwrap_or_default(), line.unwrap_or_default());
                if let Err(broken) = feed(Stored { seq, hash: &hash, seal: seal.as_deref(), line: &line }) {
                    return Ok(Some(broken));
                }
                last = seq;
            }
            Ok(None)
        };
        match walk() {
            Ok(None) => Walked::ToTheEnd,
            Ok(Some(broken)) => Walked::Broken(broken),
            Err(error) => Walked::Unreadable { why: error.to_string(), behind: self.behind(last) },
        }
    }

    /// Readable records after `last`, from the end back to the damage.
    fn behind(&self, last: u64) -> Option<(u64, u64)> {
        let sql = "SELECT seq, line FROM records WHERE seq > ?1 ORDER BY seq DESC";
        let mut statement = self.connection.prepare(sql).ok()?;
        let mut rows = statement.query([last]).ok()?;
        let mut reached = None;
        while let Ok(Some(row)) = rows.next() {
            let (Ok(seq), Ok(_)) = (row.get::<_, u64>(0), text(row, 1)) else { break };
            reached = Some(reached.map_or((seq, seq), |(_, to)| (seq, to)));
        }
        reached
    }
}

/// The value of a column as text, whatever its type.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    row.get_ref(column).map(|value| match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Null => None,
        _ => Some(String::new()),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use jit_proto::audit::chain::{Verifier, append};
    use jit_proto::audit::record::{AuditEvent, Draft, Facts};
    use jit_proto::time::{BootId, BootTime, WallTime};

    use super::*;

    /// A store of this many records, each in a page of its own or nearly so.
    fn store(folder: &Path, records: u64) -> StoreFile {
        let path = folder.join("jit.db");
        let connection = Connection::open(&path).unwrap();
        let tables = "CREATE TABLE records (seq INTEGER PRIMARY KEY, hash TEXT NOT NULL, seal TEXT, line TEXT NOT NULL);
            CREATE TABLE state (head_seq INTEGER, head_hash TEXT)";
        connection.execute_batch(tables).unwrap();
        let mut head = Head::default();
        for n in 0..records {
            let facts = Facts { detail: Some("x".repeat(1500)), ..Facts::default() };
            let (wall, boot, boot_id) = (WallTime(n), BootTime(n), BootId("b".into()));
            let draft = Draft { event: AuditEvent::AccessDenied, wall, boot, boot_id, facts };
            let record = append(&mut head, draft).unwrap();
            let sql = "INSERT INTO records VALUES (?1, ?2, NULL, ?3)";
            connection.execute(sql, (record.seq, record.hash, record.line)).unwrap();
        }
        connection.execute("INSERT INTO state VALUES (?1, ?2)", (head.seq, head.hash.to_string())).unwrap();
        StoreFile(path)
    }

    fn walked(file: &StoreFile) -> (u64, Walked) {
        let mut verifier = Verifier::default();
        let opened = file.open().unwrap();
        let walked = opened.walk(|record| verifier.feed(record));
        (verifier.head().seq, walked)
    }

    #[test]
    fn a_whole_file_is_read_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = store(folder.path(), 30);
        let before = std::fs::read(file.path()).unwrap();
        assert_eq!(walked(&file), (30, Walked::ToTheEnd));
        assert_eq!(file.open().unwrap().head().unwrap().seq, 30);
        assert_eq!(std::fs::read(file.path()).unwrap(), before);
    }

    #[test]
    fn a_damaged_page_ends_the_walk_and_what_lies_behind_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = store(folder.path(), 100);
        let raw = std::fs::OpenOptions::new().write(true).open(file.path()).unwrap();
        let pages = raw.metadata().unwrap().len() / 4096;
        raw.write_all_at(&[0xff; 4096], pages / 2 * 4096).unwrap();
        let (whole, found) = walked(&file);
        let Walked::Unreadable { behind, .. } = found else { panic!("{found:?}") };
        let (from, to) = behind.unwrap();
        assert!(whole > 10 && from > whole + 1 && to == 100, "{whole} {from} {to}");
    }

    #[test]
    fn a_problem_is_open_until_it_is_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let file = store(folder.path(), 3);
        let connection = Connection::open(file.path()).unwrap();
        let told = |file: &StoreFile| {
            let opened = file.open().unwrap();
            (opened.problems(), opened.acknowledged())
        };
        let breaks = "CREATE TABLE breaks (seq INTEGER PRIMARY KEY, detail TEXT NOT NULL);
            INSERT INTO breaks VALUES (2, 'it was emptied')";
        connection.execute_batch(breaks).unwrap();
        assert_eq!(told(&file), (vec!["record 2 says: it was emptied".to_owned()], vec![]), "an older store");
        let acknowledged =
            "ALTER TABLE breaks ADD COLUMN acknowledged TEXT; UPDATE breaks SET acknowledged = 'by oscar'";
        connection.execute_batch(acknowledged).unwrap();
        assert_eq!(told(&file), (vec![], vec!["record 2 says: it was emptied; by oscar".to_owned()]));
    }

    #[test]
    fn what_is_no_database_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = StoreFile(folder.path().join("jit.db"));
        assert!(file.open().is_err(), "there is none");
        std::fs::write(file.path(), [7; 8192]).unwrap();
        let (whole, found) = walked(&file);
        assert!(matches!(found, Walked::Unreadable { behind: None, .. }) && whole == 0, "{found:?}");
    }
}
