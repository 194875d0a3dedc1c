//! A real host: a booted Debian with the people of the stories, the package, and PAM stacks that name the module.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::clock::{now, wait_until};
use crate::disk::Disk;
use crate::layers::{Layers, lock, unmount};
use crate::lifeline::Lifeline;
use crate::login::Login;
pub use crate::machine::cgroup_of;
use crate::machine::{Machine, end_left_behind};
use crate::output::{self, COMMAND_LIMIT, Output};
use crate::paths;
use crate::plan::{Plan, Release};
use crate::times;
use crate::watchdog::Watchdog;

/// Grace between SIGTERM and SIGKILL in the policy of the stories (`tests/host/jitd.toml`).
pub const GRACE: Duration = Duration::from_secs(1);

/// A record comes at once, except those of a drift scan: the longest pause before one is half a minute and fifty times
/// the duration of the last one.
const RECORD_LIMIT: Duration = Duration::from_secs(180);
const SETTINGS: &str = include_str!("../host/jitd.toml");
const ROLES: [(&str, &str); 3] = [
    ("ends.toml", include_str!("../host/roles.d/ends.toml")),
    ("stories.toml", include_str!("../host/roles.d/stories.toml")),
    ("web-admin.toml", include_str!("../host/roles.d/web-admin.toml")),
];

/// A host that is up. It is gone when this is dropped.
#[derive(Debug)]
pub struct Host {
    name: String,
    folder: PathBuf,
    tree: PathBuf,
    machine: Option<Machine>,
    disk: Option<Disk>,
    release: Release,
    watchdog: Option<Watchdog>,
    _lock: fs::File,
}

impl Host {
    /// Boots a host.
    ///
    /// # Errors
    /// When this is not root, a tool is missing, or the host does not come up.
    pub fn boot(plan: &Plan) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("the stories boot real hosts, and that needs root: run `make test` as root");
        }
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        clear_left_behind()?;
        let begun = now();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{number}", plan.release.name(), std::process::id());
        let lock = lock(&name)?;
        let layers = Layers::of(plan.release, &plan.more, plan.with_package)?;
        let folder = paths::runs().join(&name);
        let watchdog = Some(Watchdog::over(&cgroup_of(&name)?, &folder)?);
        let tree = layers.mount(&folder)?;
        let release = plan.release;
        let mut host = Self { name, folder, tree, machine: None, disk: None, release, watchdog, _lock: lock };
        if plan.with_package {
            let usual =
                || (SETTINGS.to_owned(), ROLES.map(|(file, text)| (file.into(), text.into())).to_vec());
            let (settings, roles) = plan.policy.clone().unwrap_or_else(usual);
            host.write("/etc/jitd/jitd.toml", &settings)?;
            for (file, roles) in roles {
                host.write(&format!("/etc/jitd/roles.d/{file}"), &roles)?;
            }
        }
        for service in &plan.gated {
            host.gate(service, &plan.module_options)?;
        }
        let hostname = plan.hostname.as_ref().unwrap_or(&host.name);
        host.write("/etc/hostname", &format!("{hostname}\n"))?;
        host.write("/etc/hosts", &format!("127.0.0.1 localhost\n127.0.1.1 {hostname}\n"))?;
        if let Some((path, megabytes)) = &plan.disk {
            host.disk = Some(Disk::new(&host.folder, &host.outside(path), *megabytes)?);
        }
        host.start()?;
        times::note("boot", begun);
        Ok(host)
    }

    /// Makes the file systems of such a host, where they are not there yet: [`Host::boot`] then only boots.
    ///
    /// # Errors
    /// As [`Host::boot`].
    pub fn prepare(plan: &Plan) -> Result<()> {
        if !rustix::process::geteuid().is_root() {
            bail!("this boots a real host, and that needs root");
        }
        clear_left_behind()?;
        Layers::of(plan.release, &plan.more, plan.with_package).map(drop)
    }

    /// What it runs.
    #[must_use]
    pub fn release(&self) -> Release {
        self.release
    }

    /// PID 1 of the host as the build machine numbers it.
    #[must_use]
    pub fn leader(&self) -> &str {
        self.machine.as_ref().map_or("", Machine::leader)
    }

    /// Starts it after [`Host::stop`].
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(&mut self) -> Result<()> {
        self.machine = Some(Machine::boot(&self.tree, &self.name, &self.folder.join("console.log"))?);
        Ok(())
    }

    /// Shuts it down cleanly; its disk stays.
    ///
    /// # Errors
    /// When it does not shut down.
    pub fn stop(&mut self) -> Result<()> {
        self.machine.take().map_or(Ok(()), Machine::power_off)
    }

    /// The disk from its plan.
    ///
    /// # Errors
    /// When it has none.
    pub fn disk(&self) -> Result<&Disk> {
        self.disk.as_ref().context("this host has no disk of its own")
    }

    /// Shuts it down cleanly and starts it again.
    ///
    /// # Errors
    /// When one of these fails.
    pub fn reboot(&mut self) -> Result<()> {
        self.stop()?;
        self.start()
    }

    /// Kills every process at once, as a power cut; its disk stays as it is.
    pub fn cut_power(&mut self) {
        if let Some(mut machine) = self.machine.take() {
            machine.kill();
        }
    }

    /// Runs a command as root, outside of any login, with empty input.
    ///
    /// # Errors
    /// When it cannot be run, or hangs; not when it fails.
    pub fn root(&self, words: &[&str]) -> Result<Output> {
        self.root_with(words, b"", COMMAND_LIMIT)
    }

    /// Runs a shell script as root; otherwise as [`Host::root`].
    ///
    /// # Errors
    /// As [`Host::root`].
    pub fn root_sh(&self, script: &str) -> Result<Output> {
        self.root(&["bash", "-c", script])
    }

    /// Runs a command as root with an input and a limit.
    ///
    /// # Errors
    /// As [`Host::root`].
    pub fn root_with(&self, words: &[&str], input: &[u8], limit: Duration) -> Result<Output> {
        let mut output = output::run(self.command()?.args(words), input, limit)?;
        output.command = words.join(" ");
        Ok(output)
    }

    /// A command of the build machine that runs as root inside the host.
    ///
    /// # Errors
    /// When the host is down.
    pub fn command(&self) -> Result<Command> {
        Ok(self.machine.as_ref().context("the host is down")?.command())
    }

    /// Logs a person in, without a terminal.
    ///
    /// # Errors
    /// When that fails.
    pub fn login(&self, user: &str) -> Result<Login> {
        Login::without_terminal(self.command()?, user)
    }

    /// Logs a person in at a terminal.
    ///
    /// # Errors
    /// When that fails.
    pub fn login_at_terminal(&self, user: &str) -> Result<Login> {
        Login::at_terminal(self.command()?, user)
    }

    /// Writes a file of the host, readable by all, writable by root; folders above it are made.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, content: &str) -> Result<()> {
        let path = self.outside(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Writes a program of the host.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_program(&self, path: &str, content: &str) -> Result<()> {
        self.write(path, content)?;
        Ok(fs::set_permissions(self.outside(path), fs::Permissions::from_mode(0o755))?)
    }

    /// Reads a file of the host; not below `/run` and `/tmp`, which only the host itself sees.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, path: &str) -> Result<String> {
        let path = self.outside(path);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether a file of the host is there; not below `/run` and `/tmp`.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.outside(path).symlink_metadata().is_ok()
    }

    /// Puts a program of this test package into `/usr/local/bin`.
    ///
    /// # Errors
    /// When it has not been built or cannot be written.
    pub fn install(&self, program: &str) -> Result<()> {
        let to = self.outside(&format!("/usr/local/bin/{program}"));
        fs::copy(paths::program(program)?, &to).with_context(|| format!("cannot write {}", to.display()))?;
        Ok(())
    }

    /// A FIFO in the host that reports when the last process that holds it has exited.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn lifeline(&self, path: &str) -> Result<Lifeline> {
        Lifeline::new(&self.outside(path))
    }

    /// Puts a PAM service behind `pam_jit`: gives it the package's example stack, which is Debian's own with the lines
    /// of `pam_jit`.
    ///
    /// # Errors
    /// When there is no such example, or the file cannot be written.
    pub fn gate(&self, service: &str, options: &str) -> Result<()> {
        let example = paths::repository().join(format!("packaging/pam/debian-{service}"));
        let stack =
            fs::read_to_string(&example).with_context(|| format!("cannot read {}", example.display()))?;
        let with_options = |line: &str| match line.contains("pam_jit.so") && !line.starts_with('#') {
            true => format!("{line} {options}\n"),
            false => format!("{line}\n"),
        };
        let stack: String = stack.lines().map(with_options).collect();
        self.write(&format!("/etc/pam.d/{service}"), &stack)
    }

    /// Grants a role without a request, as root; returns the grant's number.
    ///
    /// # Errors
    /// When it is refused.
    pub fn grant(&self, user: &str, role: &str, duration: &str) -> Result<u64> {
        let reason = "a story is played on this host";
        let words = ["jitctl", "--json", "grant", user, role, "--for", duration, "--reason", reason];
        let grant = self.root(&words)?.json()?;
        grant["id"].as_u64().with_context(|| format!("a grant without a number: {grant}"))
    }

    /// The output of `jitctl --json VERB` for root, such as live grants or open sessions.
    ///
    /// # Errors
    /// When that fails.
    pub fn jitctl(&self, words: &[&str]) -> Result<Value> {
        self.root(&[&["jitctl", "--json"], words].concat())?.json()
    }

    /// Every audit record, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn records(&self) -> Result<Vec<Value>> {
        let lines = self.root(&["jitctl", "--json", "audit", "show", "--from", "1"])?.json_lines()?;
        Ok(lines.into_iter().map(|line| line["record"].clone()).collect())
    }

    /// Waits for an audit record of this event with these facts, and returns the last one.
    ///
    /// # Errors
    /// When none comes.
    pub fn record(&self, event: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut found = None;
        let waited = wait_until(&format!("an audit record {event}"), RECORD_LIMIT, || {
            found =
                self.records()?.into_iter().rev().find(|record| record["event"] == event && holds(record));
            Ok(found.is_some())
        });
        match (found, waited) {
            (Some(record), _) => Ok(record),
            (None, error) => {
                let all: Vec<String> = self.records()?.iter().map(Value::to_string).collect();
                error.with_context(|| format!("the records are\n{}", all.join("\n")))?;
                bail!("an audit record {event} is missing");
            }
        }
    }

    /// Waits until no session is open.
    ///
    /// # Errors
    /// When one stays.
    pub fn no_session_left(&self, limit: Duration) -> Result<()> {
        wait_until("no session is open", limit, || {
            Ok(self.jitctl(&["sessions"])?.as_array().is_some_and(Vec::is_empty))
        })
        .with_context(|| format!("{:?}", self.jitctl(&["sessions"])))
    }

    /// The journal and the processes of the host, for the report of a failure; its console where it is down.
    #[must_use]
    pub fn evidence(&self) -> String {
        if self.machine.is_none() {
            let console = fs::read_to_string(self.folder.join("console.log")).unwrap_or_default();
            return format!("{} is down. Its console:\n{console}", self.name);
        }
        let said = |words: &[&str]| {
            self.root(words).map_or_else(|error| format!("{error:#}"), |output| output.text())
        };
        let journal = said(&["journalctl", "--no-pager", "--lines=300", "--output=short-precise", "--quiet"]);
        let runs = said(&["ps", "-eo", "pid,ppid,ruser:8,euser:8,stat,wchan:24,args"]);
        format!("The journal of {}:\n{journal}\nIts processes:\n{runs}", self.name)
    }

    /// Leaves the host running when this process ends, until [`end_kept`]; returns its PID 1 as the build machine
    /// numbers it.
    ///
    /// # Errors
    /// When it cannot be marked as one to be kept; then it is ended.
    pub fn keep(mut self) -> Result<String> {
        fs::write(self.folder.join(KEPT), "")?;
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.dismiss();
        }
        let leader = self.leader().to_owned();
        std::mem::forget(self);
        Ok(leader)
    }

    fn outside(&self, path: &str) -> PathBuf {
        self.tree.join(path.trim_start_matches('/'))
    }
}

impl Drop for Host {
    #[allow(clippy::print_stderr, reason = "a story that panics has no other way to show the journal")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.evidence());
        }
        self.cut_power();
        self.disk = None;
        remove(&self.name, &self.folder);
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.dismiss();
        }
    }
}

/// Runs a story on a host of its own. The error of a failed story has the host's journal and processes, with the reason
/// first and last: a reader who shortens a long output keeps one end of it.
///
/// # Errors
/// When the host does not boot or the story fails.
pub fn play(plan: &Plan, story: impl FnOnce(&mut Host) -> Result<()>) -> Result<()> {
    let mut host = Host::boot(plan)?;
    let begun = now();
    let played = story(&mut host).map_err(|error| {
        let reason = format!("{error:#}");
        error.context(format!("on {}: {reason}\n{}\nThe story failed", host.name, host.evidence()))
    });
    times::note("story", begun);
    played
}

/// Marks a host that outlives its harness.
const KEPT: &str = "kept";

/// Ends every host that was kept; returns how many there were.
///
/// # Errors
/// When one cannot be ended.
pub fn end_kept() -> Result<usize> {
    let kept: Vec<PathBuf> = fs::read_dir(paths::runs())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join(KEPT))
        .filter(|mark| mark.exists())
        .collect();
    for mark in &kept {
        fs::remove_file(mark)?;
    }
    clear_left_behind()?;
    Ok(kept.len())
}

/// Ends hosts whose harness was killed and whose watchdog was too. Each running harness holds a lock on its hosts.
fn clear_left_behind() -> Result<()> {
    let _lock = lock("clearing")?;
    for entry in fs::read_dir(paths::runs())?.flatten() {
        let path = entry.path();
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        if !path.is_dir() {
            continue;
        }
        let lock_path = paths::runs().join(format!("{name}.lock"));
        let free = fs::File::open(&lock_path).map_or(true, |file| file.try_lock().is_ok());
        if free && !path.join(KEPT).exists() {
            end_left_behind(name);
            remove(name, &path);
        }
    }
    Ok(())
}

/// Removes the remains of a host that is down. Remains that cannot be removed harm no later run: names are used once.
#[allow(clippy::print_stderr, reason = "it costs space, and somebody should know")]
fn remove(name: &str, folder: &Path) {
    match unmount(folder) {
        Ok(()) => drop(fs::remove_file(paths::runs().join(format!("{name}.lock")))),
        Err(error) => eprintln!("{} is left behind: {error:#}", folder.display()),
    }
}
