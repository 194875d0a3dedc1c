//! A booted tree: systemd-nspawn in a cgroup of its own, and commands inside it.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::clock::{Deadline, wait_until};
use crate::output;

/// A boot takes half a second; a machine under load gets more.
const BOOT_LIMIT: Duration = Duration::from_secs(90);
const END_LIMIT: Duration = Duration::from_secs(30);

/// The environment of every command of the harness inside; nothing of the build machine's.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("LANG", "C.UTF-8"),
    ("TERM", "dumb"),
];

/// A running systemd-nspawn.
#[derive(Debug)]
pub(crate) struct Machine {
    nspawn: Child,
    leader: String,
    cgroup: PathBuf,
}

impl Machine {
    /// Boots a tree and returns when its PID 1 reports that the boot is complete.
    pub(crate) fn boot(tree: &Path, name: &str, console: &Path) -> Result<Self> {
        // systemd-nspawn puts its host into "payload" below the cgroup it is started in; two hosts started from the
        // same one would share it.
        let cgroup = cgroup_of(name)?;
        fs::create_dir_all(&cgroup).with_context(|| format!("cannot make {}", cgroup.display()))?;
        let notify = format!("jit-tests/{name}");
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&notify)?)?;
        let log = fs::File::create(console)?;
        let nspawn = into_cgroup(&cgroup, "unshare")
            .args(own_boot_clock()?)
            .args(["--", "systemd-nspawn"])
            .args([
                "--quiet",
                "--boot",
                "--register=no",
                "--keep-unit",
                "--link-journal=no",
                "--private-network",
            ])
            .args(["--console=pipe", "--notify-ready=yes"])
            .arg(format!("--machine={name}"))
            .arg(format!("--hostname={name}"))
            .arg("--directory")
            .arg(tree)
            .env_clear()
            .envs(ENVIRONMENT)
            .env("NOTIFY_SOCKET", format!("@{notify}"))
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start systemd-nspawn")?;
        let mut machine = Self { nspawn, leader: String::new(), cgroup };
        let ready = machine.wait_ready(&socket).with_context(|| {
            let said = fs::read_to_string(console).unwrap_or_default();
            format!("{name} does not boot; its console says:\n{said}")
        });
        match ready {
            Ok(()) => Ok(machine),
            Err(error) => {
                machine.kill();
                Err(error)
            }
        }
    }

    /// A command in the host's namespaces and cgroups, as root.
    pub(crate) fn command(&self) -> Command {
        // nsenter joins namespaces but no cgroup. PID 1 in the host leaves a cgroup alone that it has not made.
        let mut command = into_cgroup(&self.cgroup.join("payload/harness"), "nsenter");
        command.args(["--all", "--target", &self.leader, "--"]).env_clear().envs(ENVIRONMENT);
        command
    }

    /// PID 1 of the host, as the build machine numbers it.
    pub(crate) fn leader(&self) -> &str {
        &self.leader
    }

    /// Shuts the host down as an administrator would.
    pub(crate) fn power_off(mut self) -> Result<()> {
        output::run(self.command().args(["systemctl", "poweroff"]), b"", END_LIMIT)?;
        let status = output::wait(&mut self.nspawn, Deadline::after(END_LIMIT));
        self.kill();
        status.map(drop).context("the host does not shut down")
    }

    /// Ends every process of the host at once. The cgroup holds nothing but what [`Machine::boot`] started.
    pub(crate) fn kill(&mut self) {
        // Each step is tried even if the one before failed; the next run finds what stays.
        let _ = fs::write(self.cgroup.join("cgroup.kill"), "1");
        let _ = self.nspawn.wait();
        clear_cgroup(&self.cgroup);
    }

    fn wait_ready(&mut self, socket: &UnixDatagram) -> Result<()> {
        let deadline = Deadline::after(BOOT_LIMIT);
        let mut message = [0; 4096];
        // The socket does not report the end of systemd-nspawn; that is checked between the messages.
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        loop {
            let length = socket.recv(&mut message).unwrap_or(0);
            let text = String::from_utf8_lossy(message.get(..length).unwrap_or_default()).into_owned();
            for line in text.lines() {
                if let Some(leader) = line.strip_prefix("X_NSPAWN_LEADER_PID=") {
                    leader.clone_into(&mut self.leader);
                }
                if line == "READY=1" {
                    if self.leader.is_empty() {
                        bail!("systemd-nspawn did not name its leader");
                    }
                    fs::create_dir_all(self.cgroup.join("payload/harness"))?;
                    return Ok(());
                }
            }
            if let Some(status) = self.nspawn.try_wait()? {
                bail!("systemd-nspawn ended: {status}");
            }
            if deadline.left().is_none() {
                bail!("it was not up after {BOOT_LIMIT:?}");
            }
        }
    }
}

/// Ends what a killed run of the harness left behind.
pub(crate) fn end_left_behind(name: &str) {
    if let Ok(cgroup) = cgroup_of(name)
        && cgroup.is_dir()
    {
        let _ = fs::write(cgroup.join("cgroup.kill"), "1");
        clear_cgroup(&cgroup);
    }
}

/// The cgroup in which every process of a host lives.
///
/// # Errors
/// When no cgroup2 file system is mounted.
pub fn cgroup_of(name: &str) -> Result<PathBuf> {
    Ok(cgroup2()?.join(format!("jit-tests-{name}")))
}

/// A command that is in the cgroup before it runs; written as a shell script, since the move has to happen after the
/// fork.
fn into_cgroup(cgroup: &Path, program: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "echo 0 >\"$1\"/cgroup.procs || exit 125; shift; exec \"$@\"", "sh"])
        .arg(cgroup)
        .arg(program);
    command
}

/// `CLOCK_BOOTTIME` and `CLOCK_MONOTONIC` of a machine that boots begin at zero (time_namespaces(7)); without that a
/// reboot of a host would not look like one.
fn own_boot_clock() -> Result<Vec<String>> {
    if !Path::new("/proc/self/ns/time").exists() {
        return Ok(vec!["--fork".to_owned()]);
    }
    let uptime = fs::read_to_string("/proc/uptime")?;
    let seconds = uptime.split('.').next().unwrap_or("0");
    let clocks = ["boottime", "monotonic"].map(|clock| format!("--{clock}=-{seconds}"));
    Ok(["--fork".to_owned(), "--time".to_owned()].into_iter().chain(clocks).collect())
}

fn cgroup2() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find_map(|fields| match fields.as_slice() {
            [_, place, "cgroup2", ..] => Some(PathBuf::from(place)),
            _ => None,
        })
        .context("no cgroup2 file system is mounted here; the hosts need one")
}

fn clear_cgroup(cgroup: &Path) {
    let empty = || Ok(fs::read_to_string(cgroup.join("cgroup.events"))?.contains("populated 0"));
    if wait_until("the host's cgroup is empty", END_LIMIT, empty).is_ok() {
        remove_cgroups(cgroup);
    }
}

fn remove_cgroups(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroups(&entry.path());
        }
    }
    let _ = fs::remove_dir(cgroup);
}
