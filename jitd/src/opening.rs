//! Opens the store at the start of jitd: waits for one that cannot be opened, and logs what to do.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jit_proto::identity::UserId;
use rustix::fs::{FlockOperation, flock};
use sd_notify::NotifyState;
use tracing::error;

use crate::core::alerts::Baseline;
use crate::core::ledger::Ledger;
use crate::host::clock::pause;
use crate::store::{Sent, Store, StoreError};

/// The delay between attempts to open the store: a full disk may have room by then, or an operator may have set a
/// damaged store aside.
const RETRY: Duration = Duration::from_secs(1);
/// Attempts after which jitd exits. PID 1 starts it again with a new view of the mounts: a file system that was
/// read-only when the sandbox was made stays so inside it (systemd.exec(5), ProtectSystem=).
const MAX_ATTEMPTS: u32 = 10;

/// The advice for a store that cannot be opened.
pub(crate) const WAY_OUT: &str = "every sudo but root's is denied until it can be opened; what to do: jitd(8), RECOVERY; /usr/libexec/jitd --recover";

/// An open store, with the state that is read at a start.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) ledger: Ledger,
    pub(crate) sent: Sent,
    pub(crate) baselines: BTreeMap<UserId, Baseline>,
    /// Held while the store is used.
    pub(crate) lock: File,
}

/// Opens the store and reads the state. The store is not locked between attempts, so that `jitd --recover` can run.
///
/// # Errors
/// When all attempts failed.
pub(crate) async fn open(path: &Path) -> anyhow::Result<Opened> {
    let mut told = String::new();
    for _ in 0..MAX_ATTEMPTS {
        match read_at_start(path) {
            Ok(opened) => return Ok(opened),
            Err(problem) => {
                let problem = problem.to_string();
                if problem != told {
                    let status = format!("the store cannot be opened: {problem}; {WAY_OUT}");
                    error!("{status}");
                    let _ = sd_notify::notify(&[NotifyState::Status(&status)]);
                    told = problem;
                }
            }
        }
        pause(RETRY).await;
    }
    anyhow::bail!("the store cannot be opened: {told}; {WAY_OUT}")
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpeningError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A recovery was interrupted: the files of the old and the new store are not all in place.
    #[error("a recovery into {aside} was interrupted: run /usr/libexec/jitd --recover again", aside = .0.display())]
    Recovery(PathBuf),
}

/// One attempt to open the store.
///
/// # Errors
/// The error of an unfinished recovery, or of opening the store, while it is locked.
pub(crate) fn read_at_start(path: &Path) -> Result<Opened, OpeningError> {
    let lock = lock(path)?;
    if let Some(aside) = interrupted_recovery(path) {
        return Err(OpeningError::Recovery(aside));
    }
    let store = Store::open(path)?;
    let (ledger, sent, baselines) = (store.ledger()?, store.sent()?, store.baselines()?);
    Ok(Opened { store, ledger, sent, baselines, lock })
}

/// The prefix of the folders for stores that `--recover` set aside.
pub(crate) const ASIDE: &str = "damaged-";
/// The folder in it for the new store until that is in place.
pub(crate) const NEW: &str = "new";

/// The folder of a recovery that was interrupted after its new store was complete.
pub(crate) fn interrupted_recovery(store: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(store.parent()?).ok()?;
    let mut folders = entries.flatten().map(|entry| entry.path());
    folders.find(|folder| {
        let name = folder.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(ASIDE) && folder.join(NEW).is_dir()
    })
}

/// Why the lock beside the store was not acquired.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("{path} is locked: another jitd uses the store", path = .0.display())]
    Taken(PathBuf),
    /// open(2) or flock(2) failed.
    #[error("{path}: {error}", path = .path.display())]
    File {
        /// The lock file.
        path: PathBuf,
        /// The error.
        #[source]
        error: io::Error,
    },
}

/// Acquires the lock beside the store, which one process holds at a time.
///
/// # Errors
/// When another process holds it, or the lock file cannot be opened.
pub(crate) fn lock(store: &Path) -> Result<File, LockError> {
    let path = store.with_file_name("lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let locked = options.open(&path).and_then(|file| {
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(file)
    });
    locked.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => LockError::Taken(path),
        _ => LockError::File { path, error },
    })
}
