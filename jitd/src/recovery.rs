//! `jitd --recover`: sets a damaged store aside and starts a new one, whose first record says so. It deletes nothing.
//!
//! The new store is made in a folder beside the old files before any of those is moved. While that folder exists, jitd
//! opens no store, and another `--recover` continues the interrupted one.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use jit_proto::audit::chain::Head;
use jit_proto::audit::known_head::Remembered;
use jit_proto::audit::record::{AuditEvent, Draft, Facts};
use jit_proto::time::WallTime;
use rusqlite::{Connection, OpenFlags};

use crate::core::effect::{Commit, Durability};
use crate::engine::alerting::Alerting;
use crate::host::clock::Clock;
use crate::opening::{self, ASIDE, LockError, NEW, interrupted_recovery};
use crate::store::{CommitMeta, KnownHead, Reader, Sent, Store, StoreError, head_of_row};

/// Attempts to acquire the lock, which a jitd that cannot open its store holds for a moment at each attempt.
const LOCK_ATTEMPTS: u32 = 30;
const LOCK_RETRY: Duration = Duration::from_millis(100);

/// Why a recovery failed.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// jitd runs on this store.
    #[error("{0}; if that is jitd.service, stop it first: systemctl stop jitd.socket jitd.service")]
    Running(LockError),
    /// The store is intact.
    #[error("nothing is wrong with {0}; to set it aside all the same: --recover --force")]
    Fine(String),
    /// A later jitd wrote the store.
    #[error(transparent)]
    Newer(Box<StoreError>),
    /// A file cannot be moved or written.
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    File(PathBuf, io::Error),
    /// The new store cannot be made; the old one is unchanged.
    #[error("the new store cannot be made in {folder}: {error}", folder = .0.display(), error = .1)]
    Anew(PathBuf, Box<StoreError>),
    /// A file would be overwritten.
    #[error("{path} exists already: move it away, and run --recover again", path = .0.display())]
    Exists(PathBuf),
}

/// The name of the new store in its folder.
const STORE: &str = "jit.db";
/// The folder of the new store until it is complete.
const NEW_PART: &str = "new.part";

/// Sets the store aside and starts a new one; returns what was done, a line each.
///
/// # Errors
/// Why nothing, or not everything, was done.
pub fn recover(path: &Path, known: &Path, force: bool, clock: &Clock) -> Result<Vec<String>, RecoveryError> {
    let _lock = lock(path)?;
    if let Some(aside) = interrupted_recovery(path) {
        let mut said = vec![format!("an interrupted recovery into {} goes on", aside.display())];
        said.extend(put_in_place(path, &aside, &mut KnownHead::at(known), &clock.now().wall)?);
        return Ok(said);
    }
    let problem = match examine(path) {
        Ok(()) if force => "nothing was found to be wrong with it (--force)".to_owned(),
        Ok(()) => return Err(RecoveryError::Fine(path.display().to_string())),
        Err(Wrong::Newer(error)) if !force => return Err(RecoveryError::Newer(Box::new(error))),
        Err(Wrong::Newer(error)) => error.to_string(),
        Err(Wrong::Damaged(problem)) => problem,
    };
    let now = clock.now();
    let mut known_head = KnownHead::at(known);
    let (remembered, doubt) = match known_head.read() {
        Ok(remembered) => (remembered, None),
        Err(problem) => (None, Some(problem.to_string())),
    };
    let old = state_of(path);
    let in_store = old.as_ref().and_then(|old| Some(Remembered { head: old.head.clone()?, at: old.wall }));
    let last = remembered.into_iter().chain(in_store).max_by_key(|known| known.head.seq);
    let aside = folder_aside(path, &now.wall)?;

    let mut detail = format!("the store was set aside in {}: {problem}", aside.display());
    detail += &match &last {
        Some(last) => format!("; the last known record of it is {last}"),
        None => "; no record of it is known".to_owned(),
    };
    if let Some(doubt) = doubt {
        detail += &format!("; {doubt}");
    }
    detail += "; all windows are closed, and the audit log is not sealed (jitctl audit seal --init)";
    let facts = Facts { detail: Some(detail.clone()), ..Facts::default() };
    let draft = Draft {
        event: AuditEvent::AuditRecovered,
        wall: now.wall,
        boot: now.boot,
        boot_id: now.boot_id,
        facts,
    };
    let commit = Commit { durability: Durability::AtOnce, drafts: vec![draft], ..Commit::default() };
    let mut commits = vec![commit];
    Alerting::remembering(BTreeMap::new()).append_alerts(&mut commits, 0);
    // Session numbers continue, so that a scope of an old session is not taken for a new one's.
    let next_session = old.as_ref().map_or(1, |old| old.next_session);
    let highest_wall = old.map_or(now.wall, |old| old.wall.max(now.wall));
    let kept = CommitMeta { highest_wall, next_session, sent: Sent::NOTHING };
    make_new_store(&aside, commits, kept)?;
    let mut said = vec![detail];
    said.extend(put_in_place(path, &aside, &mut known_head, &now.wall)?);
    Ok(said)
}

fn lock(path: &Path) -> Result<File, RecoveryError> {
    // Nobody sends: the wait ends by its timeout.
    let (_keep, wait) = mpsc::channel::<()>();
    let mut last = opening::lock(path);
    for _ in 0..LOCK_ATTEMPTS {
        match last {
            Ok(lock) => return Ok(lock),
            Err(_) => {
                let _ = wait.recv_timeout(LOCK_RETRY);
                last = opening::lock(path);
            }
        }
    }
    last.map_err(RecoveryError::Running)
}

enum Wrong {
    Newer(StoreError),
    Damaged(String),
}

/// Reads everything that the daemon would, and the whole audit log; changes nothing if there is a problem.
fn examine(path: &Path) -> Result<(), Wrong> {
    let damaged = |error: &dyn std::fmt::Display| Wrong::Damaged(error.to_string());
    if let Err(error) = fs::symlink_metadata(path) {
        return Err(Wrong::Damaged(format!("{}: {error}", path.display())));
    }
    let read_only = || {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0))
    };
    match read_only() {
        Ok(found) if found == "ok" => {}
        Ok(found) => return Err(Wrong::Damaged(format!("{}: {found}", path.display()))),
        Err(error) => return Err(Wrong::Damaged(format!("{}: {error}", path.display()))),
    }
    let opened = Store::open(path).and_then(|store| {
        store.ledger()?;
        store.sent()?;
        store.baselines()?;
        Ok(store.head().clone())
    });
    let head = match opened {
        Ok(head) => head,
        Err(error @ StoreError::Newer { .. }) => return Err(Wrong::Newer(error)),
        Err(error) => return Err(damaged(&error)),
    };
    match Reader::open(path).and_then(|reader| reader.verify(Some(&head))) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err((_, broken))) => Err(damaged(&broken)),
        Err(error) => Err(damaged(&error)),
    }
}

/// What can still be read of the old store.
struct State {
    /// `None` if its hash is invalid.
    head: Option<Head>,
    wall: WallTime,
    next_session: u64,
}

fn state_of(path: &Path) -> Option<State> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let sql = "SELECT head_seq, head_hash, highest_wall, next_session FROM state";
    let read = connection.query_row(sql, [], |row| {
        let head = head_of_row(row).ok();
        Ok(State { head, wall: WallTime(row.get(2)?), next_session: row.get(3)? })
    });
    read.ok()
}

/// Creates a folder for the store beside it.
fn folder_aside(path: &Path, now: &WallTime) -> Result<PathBuf, RecoveryError> {
    let stamp: String = now.to_rfc3339().chars().filter(char::is_ascii_alphanumeric).collect();
    let aside = parent(path).join(format!("{ASIDE}{stamp}"));
    DirBuilder::new().mode(0o700).create(&aside).map_err(failed(&aside))?;
    Ok(aside)
}

/// Makes the new store in the folder, synced, complete or not at all.
fn make_new_store(aside: &Path, commits: Vec<Commit>, meta: CommitMeta) -> Result<(), RecoveryError> {
    let part = aside.join(NEW_PART);
    DirBuilder::new().mode(0o700).create(&part).map_err(failed(&part))?;
    let made = Store::open(&part.join(STORE)).and_then(|mut store| store.commit(commits, meta));
    // The last connection has checkpointed the WAL, and removed it.
    made.map_err(|error| RecoveryError::Anew(part.clone(), Box::new(error)))?;
    sync(&part)?;
    fs::rename(&part, aside.join(NEW)).map_err(failed(&part))?;
    sync(aside)?;
    sync(parent(aside))
}

/// Moves the old store and everything with its numbers into the folder, and the new store into its place. Files that an
/// interrupted run moved stay moved. Returns the sentences about it.
fn put_in_place(
    path: &Path,
    aside: &Path,
    known_head: &mut KnownHead,
    now: &WallTime,
) -> Result<Option<String>, RecoveryError> {
    for (from, to) in moves(path, aside) {
        move_file(&from, &to)?;
    }
    sync(aside)?;
    sync(parent(path))?;
    let store = Store::open(path).map_err(|error| RecoveryError::Anew(path.to_owned(), Box::new(error)))?;
    let said = known_head.keep(store.head(), *now).err();
    // From here on jitd opens the store.
    let new = aside.join(NEW);
    fs::remove_dir(&new).map_err(failed(&new))?;
    Ok(said.map(|problem| format!("{problem}: the next start will say that the store was rolled back")))
}

/// The moves, in order.
fn moves(path: &Path, aside: &Path) -> Vec<(PathBuf, PathBuf)> {
    let folder = parent(path);
    let new = aside.join(NEW).join(STORE);
    let mut moves = Vec::new();
    // Once the new store is in place, the old store's name is the new one's.
    if new.exists() {
        let name = path.file_name().unwrap_or(OsStr::new(STORE)).to_string_lossy().into_owned();
        let database = ["-wal", "-shm", ""].map(|suffix| format!("{name}{suffix}"));
        let index = ["-wal", "-shm", ""].map(|suffix| format!("search.db{suffix}"));
        let others = ["seal.key", "notified", "verified"].map(str::to_owned);
        let old = others.into_iter().chain(index).chain(database);
        moves.extend(old.map(|name| (folder.join(&name), aside.join(&name))));
        moves.push((new, path.to_owned()));
    }
    moves
}

/// Moves a file that may not exist, and overwrites nothing.
fn move_file(from: &Path, to: &Path) -> Result<(), RecoveryError> {
    match fs::symlink_metadata(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(failed(from))?,
    };
    if fs::symlink_metadata(to).is_ok() {
        return Err(RecoveryError::Exists(from.to_owned()));
    }
    fs::rename(from, to).map_err(failed(from))
}

fn sync(folder: &Path) -> Result<(), RecoveryError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> RecoveryError {
    let path = path.to_owned();
    move |error| RecoveryError::File(path, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(folder: &Path, records: u64) -> PathBuf {
        let path = folder.join("jit.db");
        let mut store = Store::open(&path).unwrap();
        let clock = Clock::of_this_boot().unwrap();
        let now = clock.now();
        let drafts = (0..records)
            .map(|_| Draft {
                event: AuditEvent::AccessDenied,
                wall: now.wall,
                boot: now.boot,
                boot_id: now.boot_id.clone(),
                facts: Facts::default(),
            })
            .collect();
        let commit = Commit { durability: Durability::AtOnce, drafts, ..Commit::default() };
        let kept = CommitMeta { highest_wall: now.wall, next_session: 9, sent: Sent::NOTHING };
        store.commit(vec![commit], kept).unwrap();
        path
    }

    #[test]
    fn a_store_that_is_fine_or_in_use_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, known) = (store(folder.path(), 3), folder.path().join("head"));
        let clock = Clock::of_this_boot().unwrap();
        let fine = recover(&path, &known, false, &clock).unwrap_err();
        assert!(matches!(fine, RecoveryError::Fine(_)), "{fine}");
        let running = opening::lock(&path).unwrap();
        let refused = recover(&path, &known, true, &clock).unwrap_err();
        assert!(matches!(refused, RecoveryError::Running(_)), "{refused}");
        drop(running);
        assert_eq!(Store::open(&path).unwrap().head().seq, 3);
    }

    #[test]
    fn a_damaged_store_is_set_aside_whole_and_the_new_one_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let (path, known) = (store(folder.path(), 40), folder.path().join("head"));
        let head = Store::open(&path).unwrap().head().clone();
        KnownHead::at(&known).keep(&head, WallTime(5)).unwrap();
        fs::write(folder.path().join("seal.key"), "old").unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[..16].fill(0);
        fs::write(&path, &bytes).unwrap();
        let clock = Clock::of_this_boot().unwrap();
        let said = recover(&path, &known, false, &clock).unwrap().join("\n");
        assert!(said.contains(&format!("record 40:{}", head.hash)), "{said}");
        let aside = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let aside = aside.into_iter().find(|path| path.to_string_lossy().contains("damaged-")).unwrap();
        assert_eq!(fs::read(aside.join("jit.db")).unwrap(), bytes, "not a byte of it was changed");
        assert_eq!(fs::read(aside.join("seal.key")).unwrap(), b"old");
        let anew = Store::open(&path).unwrap();
        let first = Reader::open(&path).unwrap().first().unwrap().unwrap();
        assert!(first.line.contains("audit.recovered"), "{}", first.line);
        assert!(anew.problems()[0].contains("set aside"), "{:?}", anew.problems());
        let remembered = KnownHead::at(&known).read().unwrap().unwrap();
        assert_eq!(remembered.head, *anew.head());
        let fine = recover(&path, &known, false, &clock).unwrap_err();
        assert!(matches!(fine, RecoveryError::Fine(_)), "{fine}");
    }

    /// A damaged store of 40 records in a folder, with a remembered head.
    fn damaged(folder: &Path) -> (PathBuf, PathBuf, Vec<u8>) {
        let (path, known) = (store(folder, 40), folder.join("head"));
        let head = Store::open(&path).unwrap().head().clone();
        KnownHead::at(&known).keep(&head, WallTime(5)).unwrap();
        fs::write(folder.join("seal.key"), "old").unwrap();
        fs::write(folder.join("jit.db-wal"), "old log").unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[..16].fill(0);
        fs::write(&path, &bytes).unwrap();
        (path, known, bytes)
    }

    #[test]
    fn a_recovery_that_was_cut_off_anywhere_is_run_again() {
        let clock = Clock::of_this_boot().unwrap();
        for done in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let (path, known, bytes) = damaged(folder.path());
            // As `recover` does it, up to the interrupted move.
            let now = clock.now();
            let aside = folder_aside(&path, &now.wall).unwrap();
            let draft = Draft {
                event: AuditEvent::AuditRecovered,
                wall: now.wall,
                boot: now.boot,
                boot_id: now.boot_id,
                facts: Facts { detail: Some("set aside".into()), ..Facts::default() },
            };
            let commit = Commit { durability: Durability::AtOnce, drafts: vec![draft], ..Commit::default() };
            let meta = CommitMeta { highest_wall: now.wall, next_session: 9, sent: Sent::NOTHING };
            make_new_store(&aside, vec![commit], meta).unwrap();
            let moves = moves(&path, &aside);
            for (from, to) in moves.iter().take(done) {
                move_file(from, to).unwrap();
            }
            let refused = opening::read_at_start(&path).unwrap_err().to_string();
            assert!(refused.contains("was interrupted") && refused.contains("--recover"), "{refused}");

            let said = recover(&path, &known, false, &clock).unwrap().join("\n");
            assert!(said.contains("goes on"), "{said}");
            assert_eq!(fs::read(aside.join("jit.db")).unwrap(), bytes, "cut off after {done} moves");
            assert_eq!(fs::read(aside.join("jit.db-wal")).unwrap(), b"old log");
            assert_eq!(fs::read(aside.join("seal.key")).unwrap(), b"old");
            let anew = opening::read_at_start(&path).unwrap().store;
            assert_eq!(anew.problems(), ["record 1 says: set aside"]);
            assert_eq!(KnownHead::at(&known).read().unwrap().unwrap().head, *anew.head());
            drop(anew);
            let fine = recover(&path, &known, false, &clock).unwrap_err();
            assert!(matches!(fine, RecoveryError::Fine(_)), "{fine}");
            if done == moves.len() {
                break;
            }
        }
    }

    #[test]
    fn a_recovery_cut_off_before_its_new_store_was_complete_has_moved_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (path, known, bytes) = damaged(folder.path());
        let clock = Clock::of_this_boot().unwrap();
        // The state after an interruption before the new store was complete.
        let part = folder.path().join("damaged-earlier").join(NEW_PART);
        fs::create_dir_all(&part).unwrap();
        assert_eq!(interrupted_recovery(&path), None);
        assert_eq!(fs::read(&path).unwrap(), bytes);
        recover(&path, &known, false, &clock).unwrap();
        assert!(Store::open(&path).unwrap().problems()[0].contains("set aside"));
    }
}
