//! Verifies the store: through the daemon, or its file without the daemon.

use jit_proto::audit::chain::{Broken, Head, Stored, Verifier};
use jit_proto::audit::hash::RecordHash;
use jit_proto::audit::record::Record;
use jit_proto::audit::seal::FirstKey;
use jit_proto::bus::names::AUDIT_INTERFACE;
use jit_proto::bus::view::{StatusView, VerifyView};

use super::found::{Source, Verification};
use super::inputs::{Heads, unreadable};
use super::store_file::{StoreFile, Walked};
use crate::client::{Daemon, MAX_RECORDS};
use crate::failure::Failure;

impl Daemon {
    /// The head of the chain as the running daemon has it.
    async fn head(&self) -> Result<Head, Failure> {
        let (seq, hash): (u64, String) = self.call(AUDIT_INTERFACE, "Head", &()).await?;
        let hash = RecordHash::parse(&hash).ok_or_else(|| Failure::strange_answer("Head", &hash))?;
        Ok(Head { seq, hash })
    }
}

/// Reads the store through the daemon, a page at a time.
pub(super) async fn walk_store(
    keys: &[FirstKey],
    known: Heads,
    found: &mut Verification,
) -> Result<(), Failure> {
    let daemon = Daemon::reach_for_verification().await?;
    let head = daemon.head().await?;
    let StatusView { problems, acknowledged, .. } = daemon.status().await?;
    let mut known = known;
    // Read before the first page: records written meanwhile come after it.
    if head.seq > 0 {
        known.entry(head.seq).or_insert(head.hash);
    }
    let mut verifier = Verifier::default().with_keys(keys.to_vec()).knowing(known);
    let mut next = 1;
    loop {
        let page = daemon.read(next, MAX_RECORDS).await?;
        for record in &page {
            let seal = (!record.seal.is_empty()).then_some(record.seal.as_str());
            let stored = Stored { seq: record.seq, hash: &record.hash, seal, line: &record.line };
            if let Err(broken) = verifier.feed(stored) {
                found.broken(Source::Store, verifier.first(), verifier.head().seq, broken);
                return Ok(());
            }
        }
        if page.is_empty() {
            break;
        }
        next = verifier.head().seq + 1;
    }
    let (first, last) = (verifier.first(), verifier.head().seq);
    match verifier.finish(Some(&head)) {
        Ok(whole) => found.whole(Source::Store, VerifyView { problems, acknowledged, ..whole.into() }),
        Err(broken) => found.broken(Source::Store, first, last, broken),
    }
    Ok(())
}

/// Reads the store's file, without the daemon, as far as it can be read.
pub(super) fn walk_file(
    file: &StoreFile,
    keys: &[FirstKey],
    mut known: Heads,
    found: &mut Verification,
) -> Result<(), Failure> {
    let opened = file.open().map_err(|why| unreadable(file.path(), &why))?;
    let (mut problems, acknowledged) = (opened.problems(), opened.acknowledged());
    let head = opened.head();
    if let Some(head) = head.as_ref().filter(|head| head.seq > 0) {
        known.entry(head.seq).or_insert(head.hash);
    }
    let mut verifier = Verifier::default().with_keys(keys.to_vec()).knowing(known);
    let mut first_time = String::new();
    let walked = opened.walk(|record| {
        if first_time.is_empty() {
            first_time =
                serde_json::from_str::<Record>(record.line).map_or(String::new(), |first| first.time);
        }
        verifier.feed(record)
    });
    let (first, last) = (verifier.first(), verifier.head().seq);
    let broken = match walked {
        Walked::ToTheEnd => match verifier.finish(head.as_ref()) {
            Ok(whole) => {
                found.whole(Source::Store, VerifyView { first_time, problems, acknowledged, ..whole.into() });
                return Ok(());
            }
            Err(broken) => broken,
        },
        Walked::Broken(broken) => broken,
        Walked::Unreadable { why, behind } => {
            problems.extend(behind.map(|(from, to)| format!("behind it records {from} to {to} can be read")));
            Broken {
                seq: last + 1,
                problem: format!("it cannot be read from {}: {why}", file.path().display()),
            }
        }
    };
    found.broken(Source::Store, first, last, broken);
    if let Some((_, view)) = &mut found.broken {
        (view.first_time, view.problems, view.acknowledged) = (first_time, problems, acknowledged);
    }
    Ok(())
}
