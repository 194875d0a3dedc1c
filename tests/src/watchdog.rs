//! A process beside each host that ends the host when the harness exits without doing so: by Ctrl-C, a signal, a crash.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

const SCRIPT: &str = include_str!("../host/watchdog.sh");

/// Watches one host, from before its boot until it has ended.
#[derive(Debug)]
pub(crate) struct Watchdog(Child);

impl Watchdog {
    /// Starts to watch the processes in this cgroup and the files in this folder.
    pub(crate) fn over(cgroup: &Path, folder: &Path) -> Result<Self> {
        // A session of its own: Ctrl-C is sent to the whole process group of the harness.
        let child = Command::new("setsid")
            .args(["/bin/sh", "-c", SCRIPT, "watchdog"])
            .args([cgroup, folder])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the watchdog of a host")?;
        Ok(Self(child))
    }

    /// Leaves the host to its new owner.
    pub(crate) fn dismiss(mut self) {
        if let Some(mut stdin) = self.0.stdin.take() {
            // If the watchdog cannot be told, it has exited already.
            let _ = stdin.write_all(b"done\n");
        }
        let _ = self.0.wait();
    }
}
