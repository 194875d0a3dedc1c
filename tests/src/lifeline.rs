//! A FIFO that reports, by an event, when the last process that holds it has exited.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use crate::clock::{Deadline, wall_micros};

/// The reading end. Processes that open the FIFO for writing, and their children, hold the other end.
#[derive(Debug)]
pub struct Lifeline(File);

impl Lifeline {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0)
            .with_context(|| format!("cannot make {}", path.display()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
        let flags = i32::try_from(OFlags::NONBLOCK.bits())?;
        Ok(Self(OpenOptions::new().read(true).custom_flags(flags).open(path)?))
    }

    /// Whether a process holds it now; false also if none ever did.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn is_held(&self) -> Result<bool> {
        // A FIFO that was never opened reports no hang-up; hence its holders have to write into it.
        Ok(!self.poll(PollFlags::empty(), Duration::ZERO)?.contains(PollFlags::HUP) && self.was_held()?)
    }

    /// Waits until no process holds it, and returns when that was, in microseconds since the epoch.
    ///
    /// # Errors
    /// When a process still holds it at the limit, or none ever did.
    pub fn let_go(&self, limit: Duration) -> Result<u64> {
        if !self.was_held()? {
            bail!("nobody ever took hold of it");
        }
        if self.poll(PollFlags::empty(), limit)?.contains(PollFlags::HUP) {
            return Ok(wall_micros());
        }
        bail!("somebody still holds it after {limit:?}")
    }

    /// Waits until a process has written into it.
    ///
    /// # Errors
    /// When none has at the limit.
    pub fn taken(&self, limit: Duration) -> Result<()> {
        if self.poll(PollFlags::IN, limit)?.contains(PollFlags::IN) {
            return Ok(());
        }
        bail!("nobody took hold of it within {limit:?}")
    }

    /// Whether a process ever held it: what is written into it is never read.
    fn was_held(&self) -> Result<bool> {
        Ok(self.poll(PollFlags::IN, Duration::ZERO)?.contains(PollFlags::IN))
    }

    fn poll(&self, events: PollFlags, limit: Duration) -> Result<PollFlags> {
        let deadline = Deadline::after(limit);
        loop {
            let left = Timespec::try_from(deadline.left().unwrap_or_default()).context("a limit in range")?;
            let mut fds = [PollFd::new(&self.0, events)];
            match poll(&mut fds, Some(&left)) {
                Ok(_) => return Ok(fds[0].revents()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("poll"),
            }
        }
    }
}
