//! Verifies the audit log at the lowest priority: new records every ten minutes, all of them once a week.
//!
//! It reads records in pages, with pauses, and continues where the last run ended, also over restarts. It cannot check
//! seals, since the first key is not on this host: only the holder of that key, or of a copy of the log, notices a
//! recomputed chain.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use jit_proto::audit::chain::{Broken, Head, Verifier};
use jit_proto::audit::hash::RecordHash;
use jit_proto::time::WallTime;
use tracing::{info, warn};

use crate::core::input::Input;
use crate::engine::handle::{BlockingHandle, Handle, Stopped};
use crate::host::clock::Stopwatch;
use crate::host::priority::lower_priority;
use crate::store::{Reader, StoreError};

/// The interval between runs over new records.
const EVERY: Duration = Duration::from_secs(600);
/// The time from the start to the first run.
const FIRST: Duration = Duration::from_secs(5);
/// The interval between runs over all records.
const WHOLE_EVERY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Records read at a time.
const PAGE: u64 = 500;
/// The pause between two pages.
const PAUSE: Duration = Duration::from_millis(20);
const NICE: i32 = 19;
/// The number of runs in a row without access to the store that is recorded.
const MAX_UNREAD: u32 = 3;

/// How far the audit log was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verified {
    to: Head,
    /// When all records were verified.
    whole_at: WallTime,
}

/// Starts the thread.
///
/// # Errors
/// When no thread can be started.
pub fn start(store: PathBuf, engine: Handle) -> std::io::Result<()> {
    let engine = engine.blocking();
    thread::Builder::new().name("verification".into()).spawn(move || {
        lower_priority(NICE);
        // Nobody sends on this channel: its waits end by their timeouts.
        let (_keep, rest) = mpsc::channel();
        let verified = Verified::beside(&store);
        Thread { store, engine, rest, verified, unread: 0 }.run();
    })?;
    Ok(())
}

struct Thread {
    store: PathBuf,
    engine: BlockingHandle,
    rest: mpsc::Receiver<()>,
    verified: Option<Verified>,
    /// Runs in a row without access to the store.
    unread: u32,
}

/// What a run needs from the running daemon.
struct Standing {
    head: Head,
    pruned: Head,
    now: WallTime,
}

impl Thread {
    /// Runs until the engine has ended.
    fn run(mut self) {
        let mut wait = FIRST;
        loop {
            let _ = self.rest.recv_timeout(wait);
            wait = EVERY;
            match self.look() {
                Ok(()) => {}
                Err(Stopped) => return,
            }
        }
    }

    fn standing(&self) -> Result<Standing, Stopped> {
        self.engine.look(|snapshot| Standing {
            head: snapshot.store.head().clone(),
            pruned: snapshot.store.pruned().to.clone(),
            now: snapshot.now.wall,
        })
    }

    fn look(&mut self) -> Result<(), Stopped> {
        let Standing { head, pruned, now } = self.standing()?;
        let due = |verified: &Verified| now.since(verified.whole_at) >= WHOLE_EVERY;
        // If retention removed the record after which the run continues, it starts with the first one.
        let from = self.verified.clone().filter(|verified| !due(verified) && verified.to.seq > pruned.seq);
        if from.as_ref().is_some_and(|from| from.to == head) {
            return Ok(());
        }
        let watch = Stopwatch::start();
        let pause = || {
            let _ = self.rest.recv_timeout(PAUSE);
        };
        let found = match walk(&self.store, from.as_ref().map(|from| &from.to), &head, pause) {
            Ok(found) => found,
            // Damaged pages of the database are as broken as a record.
            Err(error) if error.is_damage() => Err(Broken { seq: 0, problem: error.to_string() }),
            // An I/O error, or files that are missing for a while, say nothing about the audit log: no record counts as
            // verified, and no alert is raised at once.
            Err(error) => {
                self.unread = self.unread.saturating_add(1);
                warn!("the audit log cannot be verified now; it will be tried again: {error}");
                if self.unread == MAX_UNREAD {
                    let detail =
                        format!("the audit log could not be read {MAX_UNREAD} times in a row: {error}");
                    self.engine.tell(Input::RecordBroken { about: 0, detail })?;
                }
                return Ok(());
            }
        };
        self.unread = 0;
        let after = self.standing()?;
        if after.pruned != pruned && found.is_err() {
            // Retention removed records during the run: the next run decides.
            return Ok(());
        }
        let whole = from.is_none();
        match found {
            Ok(records) if whole => {
                info!("the whole audit log is verified: {records} records in {:?}", watch.elapsed());
            }
            Ok(_) => {}
            Err(Broken { seq, problem }) => {
                let detail = match seq {
                    0 => format!("the audit log cannot be verified: {problem}"),
                    seq => format!("record {seq}: {problem} (jitctl audit verify)"),
                };
                self.engine.tell(Input::RecordBroken { about: seq, detail })?;
            }
        }
        // A problem is recorded once, and again once a week.
        let whole_at = from.map_or(now, |from| from.whole_at);
        let verified = Verified { to: head, whole_at };
        if let Err(error) = verified.keep_beside(&self.store) {
            warn!("the progress of the verification could not be written: {error}");
        }
        self.verified = Some(verified);
        Ok(())
    }
}

/// Verifies the records after `from`, or all, up to `head`; returns their number, or the first broken one.
fn walk(
    store: &Path,
    from: Option<&Head>,
    head: &Head,
    pause: impl Fn(),
) -> Result<Result<u64, Broken>, StoreError> {
    let reader = Reader::open(store)?;
    let mut verifier = if from.is_some() { Verifier::default().from_anywhere() } else { Verifier::default() };
    let mut next = from.map_or(1, |from| from.seq);
    let mut count = 0;
    while next <= head.seq {
        let page = reader.records(next, PAGE.min(head.seq - next + 1))?;
        let Some(last) = page.last().map(|record| record.seq) else { break };
        for record in page.iter().filter(|record| record.seq <= head.seq) {
            if let Some(from) = from.filter(|from| from.seq == record.seq)
                && RecordHash::parse(&record.hash) != Some(from.hash)
            {
                let problem = "it is another one than was verified before".to_owned();
                return Ok(Err(Broken { seq: record.seq, problem }));
            }
            if let Err(broken) = verifier.feed(record.as_stored()) {
                return Ok(Err(broken));
            }
            count += 1;
        }
        next = last + 1;
        pause();
    }
    let reached = verifier.head().clone();
    if reached != *head {
        let problem = match reached.seq {
            seq if seq < head.seq => format!("missing: jitd has written records up to {}", head.seq),
            _ => "it is another one than jitd has written".to_owned(),
        };
        return Ok(Err(Broken { seq: (reached.seq + 1).min(head.seq), problem }));
    }
    match from {
        Some(_) => Ok(Ok(count)),
        // Whether `audit.pruned` explains missing first records is known only at the end.
        None => Ok(verifier.finish(Some(head)).map(|_| count)),
    }
}

impl Verified {
    fn path(store: &Path) -> PathBuf {
        store.with_file_name("verified")
    }

    /// The progress of an earlier run; if it cannot be read, all records are verified.
    fn beside(store: &Path) -> Option<Self> {
        let text = fs::read_to_string(Self::path(store)).ok()?;
        let mut words = text.split_whitespace();
        let seq = words.next()?.parse().ok()?;
        let hash = RecordHash::parse(words.next()?)?;
        let whole_at = WallTime(words.next()?.parse().ok()?);
        Some(Self { to: Head { seq, hash }, whole_at })
    }

    fn keep_beside(&self, store: &Path) -> std::io::Result<()> {
        let path = Self::path(store);
        let new = path.with_extension("new");
        fs::write(&new, format!("{} {} {}\n", self.to.seq, self.to.hash, self.whole_at.0))?;
        fs::rename(&new, &path)
    }
}

#[cfg(test)]
mod tests {
    use jit_proto::audit::record::{AuditEvent, Draft, Facts};
    use jit_proto::time::{BootId, BootTime};
    use rusqlite::Connection;

    use super::*;
    use crate::core::effect::{Commit, Durability};
    use crate::store::{CommitMeta, Sent, Store};

    fn store(records: u64) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("jit.db")).unwrap();
        add(&mut store, records);
        (folder, store)
    }

    fn add(store: &mut Store, records: u64) {
        let drafts = (0..records)
            .map(|n| Draft {
                event: AuditEvent::AccessDenied,
                wall: WallTime(n),
                boot: BootTime(n),
                boot_id: BootId("b".into()),
                facts: Facts::default(),
            })
            .collect();
        let commit = Commit { durability: Durability::AtOnce, drafts, ..Commit::default() };
        let kept = CommitMeta { highest_wall: WallTime(1), next_session: 1, sent: Sent::NOTHING };
        store.commit(vec![commit], kept).unwrap();
    }

    fn walked(store: &Store, from: Option<&Head>) -> Result<u64, Broken> {
        walk(store.path(), from, store.head(), || {}).unwrap()
    }

    fn harm(store: &Store, sql: &str) {
        Connection::open(store.path()).unwrap().execute_batch(sql).unwrap();
    }

    #[test]
    fn a_walk_goes_on_behind_the_last_one_and_finds_what_was_changed_since() {
        let (_folder, mut store) = store(1200);
        assert_eq!(walked(&store, None), Ok(1200));
        let to = store.head().clone();
        add(&mut store, 30);
        assert_eq!(walked(&store, Some(&to)), Ok(31), "the one before is read again, to be linked with");
        harm(&store, "UPDATE records SET line = replace(line, 'denied', 'allowed') WHERE seq = 1210");
        assert_eq!(walked(&store, Some(&to)).unwrap_err().seq, 1210);
        harm(&store, "UPDATE records SET line = replace(line, 'denied', 'allowed') WHERE seq = 600");
        assert_eq!(walked(&store, None).unwrap_err().seq, 600);
    }

    #[test]
    fn a_tail_that_is_missing_or_replaced_is_found() {
        let (_folder, store) = store(20);
        let to = Head {
            seq: 10,
            hash: Reader::open(store.path()).unwrap().record(10).unwrap().unwrap().hash.parse().unwrap(),
        };
        let other = Head { hash: [0x55; 32].into(), ..to.clone() };
        assert_eq!(walked(&store, Some(&other)).unwrap_err().seq, 10);
        harm(&store, "DELETE FROM records WHERE seq > 15");
        assert_eq!(walked(&store, Some(&to)).unwrap_err().seq, 16);
        assert_eq!(walked(&store, None).unwrap_err().seq, 16);
    }

    #[test]
    fn a_beginning_that_was_taken_away_is_found() {
        let (_folder, store) = store(20);
        harm(&store, "DELETE FROM records WHERE seq <= 5");
        assert!(walked(&store, None).is_err());
    }

    #[test]
    fn damage_is_told_from_what_cannot_be_read_now() {
        let (folder, store) = store(20);
        let head = store.head().clone();
        let absent = walk(&folder.path().join("absent"), None, &head, || {}).unwrap_err();
        assert!(!absent.is_damage(), "{absent}");
        let garbage = folder.path().join("garbage");
        fs::write(&garbage, [b'x'; 8192]).unwrap();
        let damaged = walk(&garbage, None, &head, || {}).unwrap_err();
        assert!(damaged.is_damage(), "{damaged}");
    }

    #[test]
    fn how_far_it_was_is_remembered() {
        let (_folder, store) = store(2);
        assert_eq!(Verified::beside(store.path()), None);
        let verified = Verified { to: store.head().clone(), whole_at: WallTime(7) };
        verified.keep_beside(store.path()).unwrap();
        assert_eq!(Verified::beside(store.path()), Some(verified));
    }
}
