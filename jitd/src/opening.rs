//! Opens the store at the start of the daemon: waits for one that cannot be opened, and says the way out.

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

/// A store that cannot be opened is tried again this much later: a full disk may have room by then, and a damaged one may
/// have been set aside.
const RETRY: Duration = Duration::from_secs(1);
/// After so many times the daemon ends, and PID 1 starts it again, with a new view of what is mounted: a file system that
/// was read-only when its sandbox was made stays so in it (systemd.exec(5), ProtectSystem=).
const MAX_ATTEMPTS: u32 = 10;

/// What to do about a store that cannot be opened.
pub(crate) const WAY_OUT: &str = "nobody but root is let through until it can be opened; what to do: jitd(8), RECOVERY; /usr/libexec/jitd --recover";

/// A store that was opened, with all that is read from it at a start.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) ledger: Ledger,
    pub(crate) sent: Sent,
    pub(crate) baselines: BTreeMap<UserId, Baseline>,
    /// Held as long as the store is used.
    pub(crate) lock: File,
}

/// Opens the store and reads what the daemon begins with. It is not locked between the attempts, so that
/// `jitd --recover` can take its turn.
///
/// # Errors
/// When it could not be opened again and again.
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
    /// The files of the old and of the new store are not where they belong yet.
    #[error("a recovery into {aside} was interrupted: run /usr/libexec/jitd --recover again", aside = .0.display())]
    Recovery(PathBuf),
}

/// One attempt to open the store.
///
/// # Errors
/// As long as it is locked, a recovery is to be finished, or the store cannot be opened.
pub(crate) fn read_at_start(path: &Path) -> Result<Opened, OpeningError> {
    let lock = lock(path)?;
    if let Some(aside) = interrupted_recovery(path) {
        return Err(OpeningError::Recovery(aside));
    }
    let store = Store::open(path)?;
    let (ledger, sent, baselines) = (store.ledger()?, store.sent()?, store.baselines()?);
    Ok(Opened { store, ledger, sent, baselines, lock })
}

/// Begins the names of the folders for stores that `--recover` set aside.
pub(crate) const ASIDE: &str = "damaged-";
/// The folder in there that holds the new store until it is in its place.
pub(crate) const NEW: &str = "new";

/// The folder of a recovery that was cut off after its new store was complete.
pub(crate) fn interrupted_recovery(store: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(store.parent()?).ok()?;
    let mut folders = entries.flatten().map(|entry| entry.path());
    folders.find(|folder| {
        let name = folder.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(ASIDE) && folder.join(NEW).is_dir()
    })
}

/// Why the lock beside the store was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("{path} is locked: another jitd uses the store", path = .0.display())]
    Taken(PathBuf),
    /// open(2) or flock(2) fails.
    #[error("{path}: {error}", path = .path.display())]
    File {
        /// The lock file.
        path: PathBuf,
        /// What is said.
        #[source]
        error: io::Error,
    },
}

/// Takes the lock beside the store, which one process holds at a time.
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
