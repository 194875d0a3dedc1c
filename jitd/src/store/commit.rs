//! Writes the commits of core's steps and their records in one transaction: state, chain and seal advance together or
//! not at all.

use std::path::Path;

use jit_proto::audit::chain::{Head, Sealed, append};
use jit_proto::audit::seal::Sealer;
use jit_proto::identity::UserId;
use rusqlite::{Transaction, params};
use serde::Serialize;

use super::{CommitMeta, SealKeyError, Store, StoreError, breaks, prune, rows};
use crate::core::alerts::Baseline;
use crate::core::effect::{Change, Commit, Durability};
use crate::core::ledger::{GrantState, RequestState, SessionState};
use crate::core::retention::Pruned;

/// The result of a commit.
#[derive(Debug)]
pub struct Written {
    /// The records, as they are in the chain.
    pub records: Vec<Sealed>,
    /// Whether the seal's key on the disk was advanced past the records. If not, a new root process could seal these
    /// records again, so none may be admitted. The next commit tries again.
    pub key: Result<(), SealKeyError>,
}
/// The chain and seal after a transaction.
struct Chained {
    head: Head,
    seal_first: u64,
    seal: Option<Sealer>,
    pruned: Pruned,
}

impl Store {
    /// Writes several commits in one transaction, and seals their records. If one of them has to be durable at once,
    /// the records are on the disk and the key in its file is advanced when this returns; otherwise
    /// [`WalSync`](super::wal::WalSync) does both. On an error nothing is written, and head and key stay.
    ///
    /// # Errors
    /// An error of SQLite: disk full, read-only, I/O.
    pub fn commit(&mut self, commits: Vec<Commit>, kept: CommitMeta) -> Result<Written, StoreError> {
        self.check_files()?;
        self.commit_unchecked(commits, kept)
    }

    /// As [`Self::commit`], into files that may have lost their paths: for the record that reports that, which sinks
    /// can still send.
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
                // The store decides; a key that was never used is removed.
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
        // No process becomes root by a record that is not on the disk: until then the key in the file may lag behind.
        let key = if durable { self.keep_key() } else { Ok(()) };
        Ok(Written { records, key })
    }

    /// Writes the present key over the one in the file; everything before it is on the disk.
    fn keep_key(&self) -> Result<(), SealKeyError> {
        self.seal.as_ref().map_or(Ok(()), |sealer| self.keeper.keep(sealer))
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
            for (uid, baseline) in &commit.baselines {
                put_baseline(&transaction, &path, *uid, baseline)?;
            }
            for draft in commit.drafts {
                let row = state.head.seq + 1;
                let table = "records";
                let broken = breaks::change_of(&draft);
                let appended = append(&mut state.head, draft);
                let mut sealed =
                    appended.map_err(|error| StoreError::Row { path: path.clone(), table, row, error })?;
                if let Some(sealer) = &mut state.seal {
                    sealed.seal = Some(hex::encode(sealer.seal_next(&state.head.hash)));
                }
                insert(&transaction, &sealed).map_err(context)?;
                if let Some(change) = broken {
                    breaks::put(&transaction, row, &change).map_err(context)?;
                    breaks.push((row, change));
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
        // One row, one page: written with every commit.
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
                    head.hash.to_string(),
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
        for (row, change) in breaks {
            breaks::remember(&mut self.breaks, row, change);
        }
        Ok((written, state))
    }

    /// Sets whether the next transaction has to reach the disk, or only the kernel. In both cases the order holds, so a
    /// power cut removes a tail and never leaves a hole (sqlite.org/pragma.html#pragma_synchronous).
    pub(super) fn be_durable(&mut self, durable: bool) -> Result<(), StoreError> {
        if self.durable != durable {
            let level = if durable { "FULL" } else { "NORMAL" };
            let set = self.connection.pragma_update(None, "synchronous", level);
            set.map_err(|error| self.sqlite(error))?;
            self.durable = durable;
        }
        Ok(())
    }
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

fn put_baseline(
    transaction: &Transaction<'_>,
    path: &Path,
    uid: UserId,
    baseline: &Baseline,
) -> Result<(), StoreError> {
    let (table, row) = ("habits", u64::from(uid.0));
    let body = serde_json::to_string(baseline);
    let body = body.map_err(|error| StoreError::Row { path: path.to_owned(), table, row, error })?;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO habits (uid, body) VALUES (?1, ?2)")
        .and_then(|mut statement| statement.execute(params![uid.0, body]))
        .map_err(|error| StoreError::Sqlite { path: path.to_owned(), error })?;
    Ok(())
}
