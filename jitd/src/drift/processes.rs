//! What runs with privilege outside of sessions, and whether a unit that was there before explains it.
//!
//! Files tell nothing of a unit that was started and removed, of a login whose key was put in and taken out again, or of a
//! process in a scope that is only named like a login's. What runs does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use jit_proto::audit::render::words;
use jit_proto::escape::{Escaped, word};
use jit_proto::time::WallTime;
use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::snapshot::{EntryKind, Map, Snapshot};
use crate::core::kinds::Kind;
use crate::core::time::Now;
use crate::host::process::{cgroup_of, exe_of, session_in};

/// Processes that are taken down.
const MAX_PROCESSES: usize = 20_000;
/// As much of a command line is told, in bytes.
const MAX_COMMAND_LINE: usize = 160;
/// `PF_KTHREAD` of linux/sched.h, in field 9 of proc_pid_stat(5).
const KERNEL_THREAD: u64 = 0x0020_0000;
/// Folders of unit files that outlive what runs from them, the strongest first (systemd.unit(5), "UNIT FILE LOAD PATH").
const UNIT_FOLDERS: [&str; 9] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator.early",
    "/usr/local/lib/systemd/system",
    "/run/systemd/generator",
    "/usr/lib/systemd/system",
    "/run/systemd/generator.late",
];
/// Services that run what somebody else asks them to run: their unit explains themselves only.
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

/// A process with privilege.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Running {
    /// For people, escaped: who, since when, what, where, from whom.
    pub(super) line: String,
    /// When it began, in microseconds of the wall clock.
    pub(super) started_at: i64,
    /// Its executable.
    exe: String,
    /// The real uid.
    real_uid: u32,
    /// The file of the unit it is in, where there is one.
    unit_file: Option<String>,
    /// Whether the unit's file says to run it, or what it comes from.
    is_of_unit: bool,
    /// Whether it is the process by which somebody who is not root is logged in, as logind knows it.
    is_login: bool,
}

impl Running {
    /// What is to be said of it, if nothing that was there before explains it.
    pub(super) fn finding(&self, key: &str, before: &Snapshot, after: &Snapshot) -> Option<Finding> {
        if self.is_login || self.is_of_unit && self.is_of_an_older_unit(before, after) {
            return None;
        }
        // An ordinary user at a program with the set-uid bit, as passwd, that was there and is the same.
        let setuid = before.privileged.get(&self.exe).filter(|entry| entry.mode & 0o4000 != 0);
        let same =
            setuid.is_some_and(|then| after.privileged.get(&self.exe).is_some_and(|now| now.is_like(then)));
        if self.real_uid != 0 && same {
            return None;
        }
        let finding = Finding::of(Kind::Processes, self.line.clone());
        let unit = self.unit_file.clone().filter(|_| self.is_of_unit);
        Some(Finding { path: key.to_owned(), map: Map::Processes, unit, ..finding })
    }

    /// Whether its unit, with its drop-ins, is what it was.
    fn is_of_an_older_unit(&self, before: &Snapshot, after: &Snapshot) -> bool {
        let Some(file) = &self.unit_file else { return false };
        let same = |path: &str| match (before.places.get(path), after.places.get(path)) {
            (Some(then), Some(now)) => then.is_like(now),
            (None, None) => path.contains(".d/"),
            _ => false,
        };
        let Some((_, name)) = file.rsplit_once('/') else { return false };
        let is_drop_in = |path: &str| {
            UNIT_FOLDERS.iter().any(|folder| {
                let rest = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
                rest.and_then(|rest| rest.split_once(".d/")).is_some_and(|(of, _)| {
                    let stem = |name: &str| {
                        name.split('@').next().unwrap_or(name).trim_end_matches(".service").to_owned()
                    };
                    of == "service" || stem(of) == stem(name)
                })
            })
        };
        let drop_ins = before.places.keys().chain(after.places.keys()).filter(|path| is_drop_in(path));
        same(file) && drop_ins.collect::<BTreeSet<_>>().into_iter().all(|path| same(path))
    }
}

/// A login that logind knows: its number, and whose.
pub(super) type Logins = BTreeMap<String, u32>;

/// What runs with privilege now, by pid and start. `logins` are those that logind knows.
pub(super) fn look(now: &Now, logins: &Logins) -> BTreeMap<String, Running> {
    let mut all = BTreeMap::new();
    for pid in crate::host::process::all_pids().unwrap_or_default().into_iter().take(MAX_PROCESSES) {
        // One that ends meanwhile is none.
        if let Some(process) = Process::read(pid) {
            all.insert(pid, process);
        }
    }
    let mut units = Units::default();
    let mut found = BTreeMap::new();
    for process in
        all.values().filter(|process| process.has_privilege() && session_in(&process.cgroup).is_none())
    {
        let running = process.told(now, &all, logins, &mut units);
        found.insert(format!("{} {}", process.pid, process.start), running);
    }
    found
}

/// The leader of a login, as its file in `/run/systemd/sessions` says. That logind knows the login was asked before.
fn leader_of(login: &str) -> Option<u32> {
    let text = fs::read_to_string(Path::new("/run/systemd/sessions").join(login)).ok()?;
    text.lines().find_map(|line| line.strip_prefix("LEADER=")?.parse().ok())
}

struct Process {
    pid: u32,
    parent: u32,
    /// In clock ticks since boot.
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
        // The name may hold anything; what follows its last parenthesis does not.
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

    fn told(&self, now: &Now, all: &BTreeMap<u32, Self>, logins: &Logins, units: &mut Units) -> Running {
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
        let known = login.and_then(|login| logins.get(login).copied());
        let place = match (unit, login, known, &unit_file) {
            (_, Some(login), Some(uid), _) => format!("login {} of uid {uid}", word(login)),
            (Some(unit), Some(_), None, _) => format!("{}, a login that logind does not know", word(unit)),
            (Some(unit), None, _, Some(_)) => word(unit).into_owned(),
            (Some(unit), None, _, None) => format!("{}, a unit without a file", word(unit)),
            (None, ..) => "no unit".to_owned(),
        };
        let line = format!(
            "process {} runs {privilege} since {since} UTC: {} ({}), in {}, cgroup {}, started by {} {}",
            self.pid,
            word(&self.exe),
            self.command_line(),
            place,
            word(&self.cgroup),
            self.parent,
            word(parent),
        );
        let is_login = login.is_some()
            && known.is_some_and(|uid| uid != 0)
            && login.and_then(leader_of) == Some(self.pid);
        Running {
            line: Escaped(&line).to_string(),
            started_at,
            exe: self.exe.clone(),
            real_uid: self.uids[0],
            is_of_unit: unit
                .zip(unit_file.as_deref())
                .is_some_and(|(unit, file)| self.is_of(unit, file, all, units)),
            unit_file,
            is_login,
        }
    }

    fn started_at(&self, now: &Now) -> i64 {
        let since_boot = self.start.saturating_mul(10_000);
        let age = now.boot.0.saturating_sub(since_boot);
        i64::try_from(now.wall.0.saturating_sub(age)).unwrap_or(i64::MAX)
    }

    /// Whether it is what its unit's file says to run, or comes from such a process in the same unit. A process that was
    /// put there is neither.
    fn is_of(&self, unit: &str, file: &str, all: &BTreeMap<u32, Self>, units: &mut Units) -> bool {
        let stem = unit.split('@').next().unwrap_or(unit).trim_end_matches(".service");
        let for_others = RUN_FOR_OTHERS.iter().any(|name| name.trim_end_matches('@') == stem);
        let mut process = self;
        for _ in 0..64 {
            if process.is_one_of(units.runs(file)) {
                return true;
            }
            let above =
                all.get(&process.parent).filter(|parent| parent.cgroup == self.cgroup && parent.pid != 1);
            match above {
                Some(parent) if !for_others => process = parent,
                _ => return false,
            }
        }
        false
    }

    /// Whether it runs one of these programs. What its command line says counts only where it is an interpreter at the
    /// script that it was started for: anybody may name a program as an argument.
    fn is_one_of(&self, programs: &BTreeMap<String, BTreeSet<String>>) -> bool {
        // As the kernel says it of a file that was replaced, as by an upgrade.
        let exe = self.exe.strip_suffix(" (deleted)").unwrap_or(&self.exe);
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

/// The unit of PID 1 that a cgroup lies in: the first service or scope on the way down.
fn unit_of(cgroup: &str) -> Option<&str> {
    cgroup
        .split('/')
        .find(|part| part.ends_with(".service") || part.ends_with(".scope") || *part == "init.scope")
}

/// The files of units, read once.
#[derive(Default)]
struct Units {
    files: BTreeMap<String, Option<String>>,
    runs: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

impl Units {
    fn file(&mut self, unit: &str) -> Option<String> {
        if let Some(known) = self.files.get(unit) {
            return known.clone();
        }
        let template = unit.split_once('@').and_then(|(name, rest)| {
            let (_, suffix) = rest.rsplit_once('.')?;
            Some(format!("{name}@.{suffix}"))
        });
        let names = [Some(unit.to_owned()), template];
        let found = names.into_iter().flatten().find_map(|name| {
            UNIT_FOLDERS.iter().map(|folder| format!("{folder}/{name}")).find(|path| Path::new(path).exists())
        });
        // The file behind a link is what is compared; the link itself is of the unit's name.
        self.files.insert(unit.to_owned(), found.clone());
        found
    }

    /// The programs that a unit's file and its drop-ins name, and of each that is a script what may be its interpreter.
    fn runs(&mut self, file: &str) -> &BTreeMap<String, BTreeSet<String>> {
        self.runs.entry(file.to_owned()).or_insert_with(|| {
            let mut texts = vec![read(Path::new(file))];
            let name = file.rsplit_once('/').map_or(file, |(_, name)| name);
            for folder in UNIT_FOLDERS {
                let drop_ins = fs::read_dir(format!("{folder}/{name}.d"));
                texts.extend(drop_ins.into_iter().flatten().flatten().map(|entry| read(&entry.path())));
            }
            let lines = texts.iter().flat_map(|text| text.lines());
            let commands = lines.filter(|line| line.trim_start().starts_with("Exec"));
            let words = commands.flat_map(|line| line.split(['=', ' ', '\t', '"', ';', '\'']));
            let programs = words.map(|word| word.trim_start_matches(['@', '-', ':', '+', '!', '|']));
            let programs: BTreeSet<String> =
                programs.filter(|word| word.starts_with('/') && word.len() > 1).map(str::to_owned).collect();
            // A name may lead elsewhere, as /bin/sh does.
            let real =
                programs.iter().filter_map(|path| Some(fs::canonicalize(path).ok()?.to_str()?.to_owned()));
            let real: Vec<String> = real.collect();
            let all = programs.into_iter().chain(real);
            all.map(|path| {
                let interpreters = interpreters_of(&read_beginning(Path::new(&path)));
                (path, interpreters)
            })
            .collect()
        })
    }
}

/// What may run a script, by its first line (execve(2), "Interpreter scripts"), with links resolved; none where it is none.
fn interpreters_of(beginning: &[u8]) -> BTreeSet<String> {
    let line = beginning.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next());
    let line = line.map(String::from_utf8_lossy).unwrap_or_default();
    let mut words = line.split_whitespace();
    let Some(first) = words.next() else { return BTreeSet::new() };
    let named: Vec<String> = match first.rsplit('/').next() {
        Some("env") => {
            let name = words.find(|word| !word.starts_with('-') && !word.contains('='));
            let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];
            folders
                .iter()
                .zip(std::iter::repeat(name))
                .filter_map(|(at, name)| Some(format!("{at}/{}", name?)))
                .collect()
        }
        _ => vec![first.to_owned()],
    };
    let real = named.iter().filter_map(|path| Some(fs::canonicalize(path).ok()?.to_str()?.to_owned()));
    real.collect()
}

/// The first line of a file, and what else its first bytes hold; nothing of what is no plain file.
fn read_beginning(path: &Path) -> Vec<u8> {
    use std::io::Read;
    /// As the kernel does (linux/binfmts.h, `BINPRM_BUF_SIZE`).
    const BYTES: u64 = 256;
    let mut bytes = Vec::new();
    if fs::metadata(path).is_ok_and(|meta| meta.is_file())
        && let Ok(file) = fs::File::open(path)
    {
        // What cannot be read has no interpreter, and so explains nothing.
        let _ = file.take(BYTES).read_to_end(&mut bytes);
    }
    bytes
}

fn read(path: &Path) -> String {
    use std::io::Read;
    const MAX_BYTES: u64 = 1 << 16;
    let mut text = String::new();
    if let Ok(file) = fs::File::open(path) {
        // What cannot be read names nothing, and so explains nothing.
        let _ = file.take(MAX_BYTES).read_to_string(&mut text);
    }
    text
}

/// Takes away the units of logins that logind knows: they come and go with logins.
pub(super) fn without_logins(snapshot: &mut Snapshot, logins: &Logins) {
    snapshot.places.retain(|path, entry| {
        let known = super::watch_list::login_of_scope(path).is_some_and(|login| logins.contains_key(login));
        !(known && matches!(entry.what, EntryKind::File { .. }))
    });
}

#[cfg(test)]
mod tests {
    use jit_proto::time::BootId;

    use super::super::snapshot::tests::{file, snapshot};
    use super::*;

    fn running(unit_file: Option<&str>, is_of_unit: bool) -> Running {
        Running {
            line: "process 7 runs".into(),
            started_at: 5,
            exe: "/usr/bin/sleep".into(),
            real_uid: 0,
            unit_file: unit_file.map(str::to_owned),
            is_of_unit,
            is_login: false,
        }
    }

    #[test]
    fn a_unit_that_was_there_explains_what_it_runs_and_nothing_else_does() {
        let unit = "/usr/lib/systemd/system/a.service";
        let before = snapshot(&[(unit, file("u", 0o644, 0, 1))], &[]);
        let told = |running: Running, after: &Snapshot| running.finding("7 1", &before, after).is_some();
        assert!(!told(running(Some(unit), true), &before));
        assert!(told(running(Some(unit), false), &before), "put into its cgroup");
        assert!(told(running(None, false), &before), "the unit has no file any more");
        let mut changed = before.clone();
        changed.places.insert(unit.into(), file("v", 0o644, 0, 5));
        assert!(told(running(Some(unit), true), &changed));
        let mut drop_in = before.clone();
        drop_in.places.insert("/run/systemd/system/a.service.d/x.conf".into(), file("d", 0o644, 0, 5));
        assert!(told(running(Some(unit), true), &drop_in));
        let mut other = before.clone();
        other.places.insert("/etc/systemd/system/b.service.d/x.conf".into(), file("d", 0o644, 0, 5));
        assert!(!told(running(Some(unit), true), &other));
        assert!(told(running(Some("/etc/systemd/system/new.service"), true), &before), "not there before");
    }

    #[test]
    fn a_user_at_a_setuid_program_that_was_there_is_ordinary() {
        let mut user = Running { exe: "/usr/bin/passwd".into(), real_uid: 1000, ..running(None, false) };
        let before = snapshot(&[], &[("/usr/bin/passwd", file("p", 0o4755, 0, 1))]);
        assert!(user.finding("7 1", &before, &before).is_none());
        assert!(user.finding("7 1", &snapshot(&[], &[]), &before).is_some(), "it was not there");
        user.real_uid = 0;
        assert!(user.finding("7 1", &before, &before).is_some());
    }

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
        let shell = fs::canonicalize("/bin/sh").unwrap().to_str().unwrap().to_owned();
        assert_eq!(interpreters_of(b"#!/bin/sh -e\nexit"), BTreeSet::from([shell.clone()]));
        assert_eq!(interpreters_of(b"#! /usr/bin/env sh\n"), BTreeSet::from([shell]));
        assert!(interpreters_of(b"\x7fELF#!/bin/sh\n").is_empty());
    }

    #[test]
    fn this_process_is_described_without_its_environment() {
        let now = Now { wall: WallTime(0), boot: jit_proto::time::BootTime(0), boot_id: BootId("a".into()) };
        let all = BTreeMap::new();
        let process = Process::read(std::process::id()).unwrap();
        let told = process.told(&now, &all, &Logins::new(), &mut Units::default());
        assert!(told.line.starts_with(&format!("process {} runs ", std::process::id())), "{}", told.line);
    }
}
