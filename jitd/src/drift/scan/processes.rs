//! Processes with privilege outside of sessions that no unit from before explains.
//!
//! Files do not show a unit that was started and removed, a login whose key was added and removed again, or a process
//! in a scope that is only named like a login's. The processes do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use jit_proto::audit::render::words;
use jit_proto::escape::{Escaped, word};
use jit_proto::time::WallTime;

use super::unit_files::UnitFiles;
use crate::core::time::Now;
use crate::drift::snapshot::{EntryKind, Running, Snapshot};
use crate::host::process::{cgroup_of, exe_of, session_in};

/// Processes that are read.
const MAX_PROCESSES: usize = 20_000;
/// The length of a command line in a finding, in bytes.
const MAX_COMMAND_LINE: usize = 160;
/// `PF_KTHREAD` of linux/sched.h, in field 9 of proc_pid_stat(5).
const KERNEL_THREAD: u64 = 0x0020_0000;
/// Services that run commands for others: their unit explains only the service's own processes.
const RUN_FOR_OTHERS: [&str; 14] = [
    "cron",
    "crond",
    "cronie",
    "anacron",
    "atd",
    "ssh",
    "sshd",
    "user@",
    "docker",
    "containerd",
    "snapd",
    "rc-local",
    "gitlab-runner",
    "dbus",
];

/// The logins that logind knows: number and uid.
pub(super) type Logins = BTreeMap<String, u32>;

/// The text for a scope that is named like a login's and that logind does not know.
fn no_login(unit: &str, logins: Option<&Logins>) -> String {
    let why = if logins.is_some() {
        "a login that logind does not know"
    } else {
        "a login; logind does not answer"
    };
    format!("{}, {why}", word(unit))
}

/// The processes with privilege, by pid and start time. `logins` are those that logind knows.
pub(super) fn look(now: &Now, logins: Option<&Logins>) -> BTreeMap<String, Running> {
    let mut all = BTreeMap::new();
    for pid in crate::host::process::all_pids().unwrap_or_default().into_iter().take(MAX_PROCESSES) {
        // A process that ends meanwhile is skipped.
        if let Some(process) = Process::read(pid) {
            all.insert(pid, process);
        }
    }
    let mut units = UnitFiles::default();
    let mut found = BTreeMap::new();
    for process in
        all.values().filter(|process| process.has_privilege() && session_in(&process.cgroup).is_none())
    {
        let running = process.told(now, &all, logins, &mut units);
        found.insert(format!("{} {}", process.pid, process.start), running);
    }
    found
}

/// The leader of a login, from its file in `/run/systemd/sessions`. The caller has checked that logind knows the login.
fn leader_of(login: &str) -> Option<u32> {
    let text = fs::read_to_string(Path::new("/run/systemd/sessions").join(login)).ok()?;
    text.lines().find_map(|line| line.strip_prefix("LEADER=")?.parse().ok())
}

struct Process {
    pid: u32,
    parent: u32,
    /// Start time in clock ticks since boot.
    start: u64,
    command: String,
    uids: [u32; 4],
    capabilities: u64,
    cgroup: String,
    exe: String,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name can contain anything; the fields start after its last parenthesis.
        let (front, rest) = stat.rsplit_once(')')?;
        let command = front.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |n: usize| fields.get(n - 3)?.parse::<u64>().ok();
        let is_zombie = fields.first() == Some(&"Z");
        if is_zombie || number(9)? & KERNEL_THREAD != 0 {
            return None;
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key));
        let mut uids = [0; 4];
        for (uid, text) in uids.iter_mut().zip(line("Uid:")?.split_whitespace()) {
            *uid = text.parse().ok()?;
        }
        let mask = |key: &str| line(key).and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
        Some(Self {
            pid,
            parent: u32::try_from(number(4)?).ok()?,
            start: number(22)?,
            command,
            uids,
            capabilities: mask("CapPrm:").unwrap_or(0) | mask("CapEff:").unwrap_or(0),
            cgroup: cgroup_of(pid).ok().flatten().unwrap_or_default(),
            exe: exe_of(pid).unwrap_or_default(),
        })
    }

    fn has_privilege(&self) -> bool {
        self.uids.contains(&0) || self.capabilities != 0
    }

    fn told(
        &self,
        now: &Now,
        all: &BTreeMap<u32, Self>,
        logins: Option<&Logins>,
        units: &mut UnitFiles,
    ) -> Running {
        let started_at = self.started_at(now);
        let since = WallTime(u64::try_from(started_at).unwrap_or(0)).to_rfc3339();
        let since = since.get(..19).unwrap_or(&since).replace('T', " ");
        let privilege = match self.uids {
            uids if uids.contains(&0) => "as root".to_owned(),
            uids => format!("as uid {} with capabilities {:#x}", uids[0], self.capabilities),
        };
        let parent = all.get(&self.parent).map_or("?", |parent| parent.command.as_str());
        let unit = unit_of(&self.cgroup);
        let unit_file = unit.and_then(|unit| units.file(unit));
        let login = unit.and_then(|unit| unit.strip_prefix("session-")?.strip_suffix(".scope"));
        let known = login.and_then(|login| logins?.get(login).copied());
        let place = match (unit, login, known, &unit_file) {
            (_, Some(login), Some(uid), _) => format!("login {} of uid {uid}", word(login)),
            (Some(unit), Some(_), None, _) => no_login(unit, logins),
            (Some(unit), None, _, Some(_)) => word(unit).into_owned(),
            (Some(unit), None, _, None) => format!("{}, a unit without a file", word(unit)),
            (None, ..) => "no unit".to_owned(),
        };
        let line = format!(
            "process {} runs {privilege} since {since} UTC: {} ({}), in {}, cgroup {}, child of {} {}",
            self.pid,
            word(&self.exe),
            self.command_line(),
            place,
            word(&self.cgroup),
            self.parent,
            word(parent),
        );
        let of_unit =
            unit.zip(unit_file.as_deref()).and_then(|(unit, file)| self.origin(unit, file, all, units));
        let is_login = login.is_some()
            && known.is_some_and(|uid| uid != 0)
            && login.and_then(leader_of) == Some(self.pid);
        Running {
            line: Escaped(&line).to_string(),
            started_at,
            exe: self.exe.clone(),
            real_uid: self.uids[0],
            is_of_unit: of_unit.is_some(),
            wrapper: of_unit.flatten(),
            unit_file,
            is_login,
        }
    }

    fn started_at(&self, now: &Now) -> i64 {
        let since_boot = self.start.saturating_mul(10_000);
        let age = now.boot.0.saturating_sub(since_boot);
        i64::try_from(now.wall.0.saturating_sub(age)).unwrap_or(i64::MAX)
    }

    /// `Some` where the process runs a program of its unit's file, or a program that a script of the unit names, or
    /// descends from such a process in the same unit; then the script, if there is one. A process that was moved into
    /// the unit is none of these.
    fn origin(
        &self,
        unit: &str,
        file: &str,
        all: &BTreeMap<u32, Self>,
        units: &mut UnitFiles,
    ) -> Option<Option<String>> {
        let stem = unit.split('@').next().unwrap_or(unit).trim_end_matches(".service");
        let for_others = RUN_FOR_OTHERS.iter().any(|name| name.trim_end_matches('@') == stem);
        let mut process = self;
        for _ in 0..64 {
            if process.is_one_of(units.runs(file)) {
                return Some(None);
            }
            if !for_others
                && process.parent == 1
                && let Some(script) = units.wrapped(file).get(process.exe())
            {
                return Some(Some(script.clone()));
            }
            let above =
                all.get(&process.parent).filter(|parent| parent.cgroup == self.cgroup && parent.pid != 1);
            match above {
                Some(parent) if !for_others => process = parent,
                _ => return None,
            }
        }
        None
    }

    /// Its executable, without the suffix that the kernel adds for a replaced file, as after an upgrade.
    fn exe(&self) -> &str {
        self.exe.strip_suffix(" (deleted)").unwrap_or(&self.exe)
    }

    /// Whether it runs one of these programs. Its command line counts only for an interpreter and the script that it
    /// was started for: anybody can name a program as an argument.
    fn is_one_of(&self, programs: &BTreeMap<String, BTreeSet<String>>) -> bool {
        let exe = self.exe();
        if programs.contains_key(exe) {
            return true;
        }
        let words = self.words();
        let script = words.iter().skip(1).find(|word| !word.starts_with('-'));
        script.and_then(|script| programs.get(script)).is_some_and(|interpreters| interpreters.contains(exe))
    }

    fn words(&self) -> Vec<String> {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        line.split(|byte| *byte == 0)
            .take(16)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect()
    }

    fn command_line(&self) -> String {
        let all = self.words();
        let mut line = words(all.iter().map(String::as_str).filter(|word| !word.is_empty()));
        if let Some((end, _)) = line.char_indices().nth(MAX_COMMAND_LINE) {
            line.truncate(end);
            line.push_str("...");
        }
        line
    }
}

/// The unit of PID 1 of a cgroup: the first service or scope in the path.
fn unit_of(cgroup: &str) -> Option<&str> {
    cgroup
        .split('/')
        .find(|part| part.ends_with(".service") || part.ends_with(".scope") || *part == "init.scope")
}

/// Removes the units of logins that logind knows, which come and go.
pub(super) fn without_logins(snapshot: &mut Snapshot, logins: &Logins) {
    snapshot.places.retain(|path, entry| {
        let known =
            super::transient_units::login_of_scope(path).is_some_and(|login| logins.contains_key(login));
        !(known && matches!(entry.what, EntryKind::File { .. }))
    });
}

#[cfg(test)]
mod tests {
    use jit_proto::time::BootId;

    use super::*;

    #[test]
    fn the_unit_is_the_one_of_pid_1() {
        let user = "/user.slice/user-0.slice/user@0.service/app.slice/x.service";
        assert_eq!(unit_of(user), Some("user@0.service"));
        assert_eq!(unit_of("/system.slice/cron.service"), Some("cron.service"));
        assert_eq!(unit_of("/user.slice/user-1.slice/session-c7.scope"), Some("session-c7.scope"));
        assert_eq!(unit_of("/planted"), None);
    }

    #[test]
    fn a_program_that_is_an_argument_only_is_not_run() {
        let own = Process::read(std::process::id()).unwrap();
        let of = |program: &str, interpreters: &[&str]| {
            let interpreters = interpreters.iter().map(|path| (*path).to_owned()).collect();
            own.is_one_of(&BTreeMap::from([(program.to_owned(), interpreters)]))
        };
        assert!(of(&own.exe, &[]));
        let words = own.words();
        // As with `tail -f /usr/sbin/cron` in cron's cgroup.
        assert!(words.iter().filter(|word| **word != own.exe).all(|word| !of(word, &["/usr/bin/dash"])));
    }

    #[test]
    fn this_process_is_described_without_its_environment() {
        let now = Now { wall: WallTime(0), boot: jit_proto::time::BootTime(0), boot_id: BootId("a".into()) };
        let all = BTreeMap::new();
        let process = Process::read(std::process::id()).unwrap();
        let told = process.told(&now, &all, Some(&Logins::new()), &mut UnitFiles::default());
        assert!(told.line.starts_with(&format!("process {} runs ", std::process::id())), "{}", told.line);
    }
}
