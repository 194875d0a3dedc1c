//! `audit verify`: verifies the store, an export and a collector's copy, and compares them.
//!
//! Without options the daemon verifies its store. With a key, files or heads jitctl verifies, so that an auditor needs
//! no daemon and the daemon does not see the key.

mod found;

mod answer;

mod inputs;

mod walk;

mod store_file;

pub(crate) mod text;

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use jit_proto::audit::hash::RecordHash;
use jit_proto::audit::seal::FirstKey;
use jit_proto::bus::names::{AUDIT_INTERFACE, error};
use jit_proto::bus::view::VerifyView;
use jit_proto::escape::Escaped;
use jit_proto::time::WallTime;
use zeroize::Zeroizing;

use self::found::Verification;
use self::inputs::{Heads, Inputs, opened, unreadable};
use self::store_file::StoreFile;
use self::walk::{walk_file, walk_store};
use crate::client::{Daemon, view};
use crate::clock::{self, moment};
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Options of `audit verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Verify the seals as well, with the first key as audit seal printed it; - is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Vec<PathBuf>,
    /// Read these files instead of the store, oldest first: the archive's, the output of audit show --json or audit export, or a collector's lines (syslog or JSON); - is stdin
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) input: Vec<PathBuf>,
    /// Read the store as well and compare it with the input. With PATH, read that store's file without the daemon, even if it is damaged
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "", requires_if("", "input"))]
    pub(crate) store: Option<OsString>,
    /// Read the messages of this host only, if the input has those of several
    #[arg(long, value_name = "NAME", requires = "input")]
    pub(crate) host: Vec<String>,
    /// The moment that the copy must reach; verification fails if its last heartbeat was due before. RFC 3339, 2026-11-25, "2026-11-25 14:30", today, yesterday, "2h ago"
    #[arg(long, value_name = "WHEN", value_parser = moment, requires = "input")]
    pub(crate) until: Option<WallTime>,
    /// Number and hash of a record that was seen elsewhere, to compare with
    #[arg(long, value_name = "SEQ:HASH", value_parser = head)]
    pub(crate) head: Vec<(u64, RecordHash)>,
}

/// A number and a hash, as messages and `audit verify` print them.
fn head(text: &str) -> Result<(u64, RecordHash), String> {
    let (seq, hash) = text.split_once(':').ok_or("it is not SEQ:HASH")?;
    let seq = seq.parse().map_err(|_| "SEQ is no number")?;
    Ok((seq, RecordHash::parse(hash).ok_or("HASH is not 64 hexadecimal digits in lower case")?))
}

impl Daemon {
    /// Has the daemon verify its store.
    pub(crate) async fn verify(&self) -> Result<VerifyView, Failure> {
        view("Verify", self.call(AUDIT_INTERFACE, "Verify", &()).await?)
    }
}

/// Executes `audit verify`.
pub(crate) async fn verify(args: VerifyArgs, output: &Output) -> Result<Exit, Failure> {
    let VerifyArgs { key, input, store, host, head, until } = args;
    let file = store.as_ref().filter(|path| !path.is_empty()).map(StoreFile::at);
    let store = store.is_some();
    if key.is_empty() && input.is_empty() && head.is_empty() && file.is_none() {
        let found = Daemon::reach_for_verification().await?.verify().await?;
        output.view(&found, text::verified)?;
        return Ok(text::exit_of(&found));
    }
    if key.iter().chain(&input).filter(|path| path.as_os_str() == "-").count() > 1 {
        return Err(Failure::usage("stdin (-) can be given only once"));
    }
    let mut keys = Vec::new();
    for path in &key {
        keys.extend(keys_in(path)?);
    }
    let mut found = Verification::default();
    let heads: Vec<u64> = head.iter().map(|(seq, _)| *seq).collect();
    let mut known: Heads = head.into_iter().collect();
    if !input.is_empty() {
        let mut inputs = Inputs::new(&keys, &known, host);
        if store {
            inputs = inputs.continued_elsewhere();
        }
        for path in &input {
            inputs.take(path)?;
        }
        let silence = inputs.silence(until.unwrap_or_else(clock::now), until.is_some());
        inputs.finish(store, &mut found, &mut known)?;
        found.silence = silence;
    }
    if found.broken.is_none() && (input.is_empty() || store) {
        match &file {
            Some(file) => walk_file(file, &keys, known, &mut found)?,
            None => walk_store(&keys, known, &mut found).await?,
        }
    }
    let mut exit = answer::tell(&found, output)?;
    if matches!(exit, Exit::Done | Exit::NotWhole)
        && found.silence.as_ref().is_some_and(|silence| silence.asked && silence.too_long())
    {
        exit = Exit::ChainBroken;
    }
    match found.not_compared(&heads) {
        Some(seq) if exit == Exit::Done => {
            let message = format!(
                "record {seq} could not be compared: it is in nothing that was read; give the file of the archive that has it with --input"
            );
            Err(Failure::new(Exit::Failed, error::FAILED, &message))
        }
        _ => Ok(exit),
    }
}

fn keys_in(path: &Path) -> Result<Vec<FirstKey>, Failure> {
    let mut text = Zeroizing::new(String::new());
    opened(path)?.read_to_string(&mut text).map_err(|why| unreadable(path, &why))?;
    FirstKey::read_all(&text)
        .map_err(|why| Failure::usage(&format!("{}: {why}", Escaped(&path.to_string_lossy()))))
}
