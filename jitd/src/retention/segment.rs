//! A file of the archive: records in the format of `jitctl audit export`, complete and verified before any of them is
//! removed.
//!
//! Its name has the numbers of the first and the last record, and the hash of the last:
//! `audit-000000000001-000000050000-HASH.jsonl`. It gets that name when it is complete and synced.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jit_proto::audit::chain::{Head, Verifier};
use jit_proto::audit::copies::exported;
use jit_proto::audit::hash::RecordHash;
use jit_proto::time::WallTime;
use serde::Deserialize;

use super::RetentionError;
use crate::core::retention::{PruneBatch, Retention, Segment};
use crate::store::Reader;

/// Records read at a time.
const PAGE: u64 = 512;
/// The suffix of the name until the file is complete.
const UNFINISHED: &str = ".part";

/// Reads the expired records, verifies that they follow the removed ones, and writes them into the archive if there is
/// one. `None` if none may be removed.
///
/// # Errors
/// When a record is broken, or the archive cannot be written. The store is unchanged.
pub fn collect(
    reader: &Reader,
    batch: &PruneBatch,
    settings: &Retention,
    behind: &Head,
) -> Result<Option<Segment>, RetentionError> {
    let mut archive = match &settings.archive {
        Some(folder) => Some(Archive::begin(folder, reader, behind)?),
        None => None,
    };
    let known = (behind.seq > 0).then_some((behind.seq, behind.hash));
    let mut verifier =
        Verifier::default().from_anywhere().knowing(known.into_iter().collect::<BTreeMap<_, _>>());
    let mut last = behind.clone();
    let mut newest = WallTime(0);
    'pages: loop {
        let page = reader.records(last.seq + 1, PAGE)?;
        if page.is_empty() {
            break;
        }
        for record in page {
            let Some(written_at) = time_of(&record.line).filter(|at| batch.includes(record.seq, *at)) else {
                break 'pages;
            };
            verifier.feed(record.as_stored())?;
            if let Some(archive) = &mut archive {
                archive.put(&exported(record.as_stored()))?;
            }
            newest = newest.max(written_at);
            last = verifier.head().clone();
        }
    }
    if last == *behind {
        return Ok(None);
    }
    let from = behind.seq + 1;
    let kept_in = archive.map(|archive| archive.finish(from, &last)).transpose()?;
    let Head { seq: to, hash } = last;
    Ok(Some(Segment { from, to, hash, newest, limit: batch.limit, retention: settings.clone(), kept_in }))
}

/// The time in a record.
#[must_use]
pub fn time_of(line: &str) -> Option<WallTime> {
    #[derive(Deserialize)]
    struct Timed {
        time: String,
    }
    WallTime::from_rfc3339(&serde_json::from_str::<Timed>(line).ok()?.time)
}

/// The folder, and the file in progress.
struct Archive {
    folder: PathBuf,
    path: PathBuf,
    file: BufWriter<File>,
    /// Half of the free space: on a full disk jitd could not record, and would deny every sudo.
    room: u64,
}

impl Archive {
    fn begin(folder: &Path, reader: &Reader, behind: &Head) -> Result<Self, RetentionError> {
        let path = folder.join(format!("audit{UNFINISHED}"));
        let context = |error: std::io::Error| refused(folder, &error.to_string());
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(context(error)),
            _ => {}
        }
        let meta = fs::symlink_metadata(folder).map_err(context)?;
        if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & 0o022 != 0 {
            return Err(refused(folder, "it is no folder that only root may write"));
        }
        clear(folder, reader, behind)?;
        let free = rustix::fs::statvfs(folder).map_err(|error| context(error.into()))?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| refused(&path, &error.to_string()))?;
        let room = free.f_bavail.saturating_mul(free.f_frsize) / 2;
        Ok(Self { folder: folder.to_owned(), path, file: BufWriter::new(file), room })
    }

    fn put(&mut self, line: &str) -> Result<(), RetentionError> {
        let left = self.room.checked_sub(line.len() as u64 + 1);
        self.room = left.ok_or_else(|| self.give_up("it would take more than half of what is free there"))?;
        let written = writeln!(self.file, "{line}");
        written.map_err(|error| self.give_up(&error.to_string()))
    }

    /// Syncs the file, renames it, and syncs the folder.
    fn finish(self, from: u64, last: &Head) -> Result<PathBuf, RetentionError> {
        let Self { folder, path, file, .. } = self;
        let to = folder.join(format!("audit-{from:012}-{:012}-{}.jsonl", last.seq, last.hash));
        let file = file.into_inner().map_err(|error| refused(&path, &error.to_string()))?;
        file.sync_all().map_err(|error| refused(&path, &error.to_string()))?;
        fs::rename(&path, &to).map_err(|error| refused(&to, &error.to_string()))?;
        sync_folder(&folder)?;
        Ok(to)
    }

    fn give_up(&self, why: &str) -> RetentionError {
        // If this fails, the file is removed before the next one is written.
        let _ = fs::remove_file(&self.path);
        refused(&self.path, why)
    }
}

/// Removes the remains of an interrupted run: an incomplete file, and a file whose records are still in the store.
/// Other files stay, such as those of an earlier audit log.
fn clear(folder: &Path, reader: &Reader, behind: &Head) -> Result<(), RetentionError> {
    for entry in fs::read_dir(folder).map_err(|error| refused(folder, &error.to_string()))? {
        let path = entry.map_err(|error| refused(folder, &error.to_string()))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let left = match parts(name) {
            None => name.ends_with(UNFINISHED),
            Some((from, last)) => {
                from == behind.seq + 1
                    && reader
                        .record(last.seq)?
                        .is_some_and(|record| RecordHash::parse(&record.hash) == Some(last.hash))
            }
        };
        if left {
            fs::remove_file(&path).map_err(|error| refused(&path, &error.to_string()))?;
        }
    }
    sync_folder(folder)
}

/// The first and the last record of a file, from its name.
fn parts(name: &str) -> Option<(u64, Head)> {
    let mut parts = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?.splitn(3, '-');
    let (from, to, hash) = (parts.next()?, parts.next()?, parts.next()?);
    Some((from.parse().ok()?, Head { seq: to.parse().ok()?, hash: RecordHash::parse(hash)? }))
}

fn sync_folder(folder: &Path) -> Result<(), RetentionError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| refused(folder, &error.to_string()))
}

fn refused(path: &Path, why: &str) -> RetentionError {
    RetentionError::Archive { path: path.to_owned(), error: why.to_owned() }
}
