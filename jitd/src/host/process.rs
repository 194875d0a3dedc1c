//! Reads facts about a process from `/proc`, with a pidfd that proves that it is still the same process (proc(5),
//! pidfd_open(2)).

mod cgroup;
mod io_log;
mod terminal;

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use jit_proto::audit::render::words;
use jit_proto::escape::word;
use jit_proto::identity::{GroupId, UserId};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

pub use cgroup::{cgroup_of, login_in, session_in};
pub use io_log::io_log;
pub use terminal::terminal_of;

use crate::core::input::Process;
use crate::core::ledger::MainProcess;

/// The value of an unset audit id.
const UNSET: u32 = u32::MAX;
/// Bytes of a command line that are kept.
const MAX_ARGV_BYTES: u64 = 4096;

/// Characters of a command line in a list of processes.
const MAX_NAMED_ARGV: usize = 160;

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Everything.
    Whole,
    /// Without what was read when the process was registered: login uid and origin.
    Known,
}

/// Reads the facts that the gate needs about a caller.
///
/// # Errors
/// When the process has exited, or is not the one of the pidfd.
pub fn read(pidfd: BorrowedFd<'_>, detail: Detail) -> io::Result<Process> {
    let pid = pid_of(pidfd)?;
    let status = slurp(format!("/proc/{pid}/status"))?;
    let ids = |key: &str| -> io::Result<Vec<u32>> {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).ok_or_else(|| odd("status"))?;
        line.split_whitespace().map(|word| word.parse().map_err(|_| odd("status"))).collect()
    };
    let real_uid = *ids("Uid:")?.first().ok_or_else(|| odd("status"))?;
    let parent = *ids("PPid:")?.first().ok_or_else(|| odd("status"))?;
    let (argv, argv_cut) = argv_of(pid)?;
    let parent_audit_session = match detail {
        Detail::Whole => audit_id(parent, "sessionid").unwrap_or(None),
        Detail::Known => None,
    };
    let loginuid = match detail {
        Detail::Whole => audit_id(pid, "loginuid")?.map(UserId),
        Detail::Known => None,
    };
    let cgroup = cgroup_of(pid)?;
    let process = Process {
        main: MainProcess { pid, start: start_of(pid)? },
        real_uid: UserId(real_uid),
        loginuid,
        audit_session: audit_id(pid, "sessionid")?,
        parent_audit_session,
        scope: cgroup.as_deref().and_then(session_in),
        login: cgroup.as_deref().and_then(login_in),
        argv,
        argv_cut,
        exe: exe_of(pid),
    };
    // The facts belong to the process of the pidfd only if it has not exited meanwhile.
    if has_ended(pidfd)? {
        Err(io::Error::new(io::ErrorKind::NotFound, "the process has ended"))
    } else {
        Ok(process)
    }
}

/// The pid of a pidfd, in this pid namespace.
///
/// # Errors
/// When the descriptor is no pidfd, or its process has been reaped or is outside this pid namespace.
pub fn pid_of(pidfd: BorrowedFd<'_>) -> io::Result<u32> {
    let info = slurp(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let line = info.lines().find_map(|line| line.strip_prefix("Pid:"));
    let line = line.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no pidfd"))?;
    let pid: i64 = line.trim().parse().map_err(|_| odd("fdinfo"))?;
    u32::try_from(pid).ok().filter(|pid| *pid > 0).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Opens a pidfd of a process, if it is still the one with this start time.
///
/// # Errors
/// When the process has exited.
pub fn open(main: MainProcess) -> io::Result<OwnedFd> {
    let pidfd = open_pid(main.pid)?;
    if start_of(main.pid)? == main.start { Ok(pidfd) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Opens a pidfd of the process with this pid.
///
/// # Errors
/// When there is no such process.
pub fn open_pid(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Sends a signal.
///
/// # Errors
/// When the process has exited.
pub fn signal(pidfd: impl AsFd, signal: Signal) -> io::Result<()> {
    Ok(pidfd_send_signal(pidfd, signal)?)
}

/// Whether the process of the pidfd has exited.
///
/// # Errors
/// When the descriptor cannot be polled.
pub fn has_ended(pidfd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut polled = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    Ok(poll(&mut polled, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0)
}

/// Waits until a process exits.
///
/// # Errors
/// When the descriptor cannot be polled.
pub fn wait_for_end(pidfd: BorrowedFd<'_>, limit: Duration) -> io::Result<bool> {
    let limit = rustix::time::Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    };
    let mut polled = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    Ok(poll(&mut polled, Some(&limit))? > 0)
}

/// The real uid of a process.
///
/// # Errors
/// When the process has exited.
pub fn real_uid(pid: u32) -> io::Result<UserId> {
    let status = slurp(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let uid = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    uid.map(UserId).ok_or_else(|| odd("status"))
}

/// The audit session of a process, if it is set.
///
/// # Errors
/// When the process has exited.
pub fn audit_session(pid: u32) -> io::Result<Option<u32>> {
    audit_id(pid, "sessionid")
}

/// A login uid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginUid {
    /// It is set.
    Set(UserId),
    /// It is not set.
    Unset,
    /// The kernel has no audit, and so no login uids.
    NoAudit,
}

/// The login uid of a process (`/proc/PID/loginuid`).
///
/// # Errors
/// When the process has exited, or the file exists and cannot be read.
pub fn login_uid(pid: u32) -> io::Result<LoginUid> {
    Ok(match audit_id(pid, "loginuid")? {
        Some(uid) => LoginUid::Set(UserId(uid)),
        None if fs::exists(format!("/proc/{pid}/loginuid"))? => LoginUid::Unset,
        // This process's own file shows whether the kernel has no audit, or the other process has exited.
        None if fs::exists("/proc/self/loginuid")? => return Err(io::ErrorKind::NotFound.into()),
        None => LoginUid::NoAudit,
    })
}

/// All pids.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn all_pids() -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(pids)
}

/// Whether a process is in this audit session; false for one that has exited.
///
/// # Errors
/// When it exists and cannot be read.
pub fn is_in_audit_session(pid: u32, id: u32) -> io::Result<bool> {
    match audit_session(pid) {
        Err(error) if has_gone(&error) => Ok(false),
        other => Ok(other? == Some(id)),
    }
}

/// Those of these processes that are in an audit session.
///
/// # Errors
/// When one of them exists and cannot be read.
pub fn in_audit_session(pids: impl IntoIterator<Item = u32>, id: u32) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for pid in pids {
        if is_in_audit_session(pid, id)? {
            found.push(pid);
        }
    }
    Ok(found)
}

/// The process of a thread (proc_pid_status(5), `Tgid`); `None` if the thread has exited.
///
/// # Errors
/// When it exists and cannot be read.
pub fn leader_of(thread: u32) -> io::Result<Option<u32>> {
    let status = match slurp(format!("/proc/{thread}/status")) {
        Err(error) if has_gone(&error) => return Ok(None),
        other => other?,
    };
    let leader = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
    leader.map(Some).ok_or_else(|| odd("status"))
}

/// Whether the process of this pid still exists and has this start time.
///
/// # Errors
/// When that is unknown.
pub fn is_there(main: MainProcess) -> io::Result<bool> {
    match start_of(main.pid) {
        Err(error) if has_gone(&error) => Ok(false),
        other => Ok(other? == main.start),
    }
}

/// The ids of a process (proc_pid_status(5), `Uid`, `Gid`, `Groups`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// Its real uid.
    pub uid: UserId,
    /// Its real gid.
    pub gid: GroupId,
    /// Its effective, saved and file system gid.
    pub others: [GroupId; 3],
    /// Its supplementary groups.
    pub supplementary: Vec<GroupId>,
}

/// The ids of a process; `None` if it has exited.
///
/// # Errors
/// When it exists and cannot be read.
pub fn ids_of(pid: u32) -> io::Result<Option<Ids>> {
    let status = match slurp(format!("/proc/{pid}/status")) {
        Err(error) if has_gone(&error) => return Ok(None),
        other => other?,
    };
    let ids = |key: &str| -> io::Result<Vec<u32>> {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).ok_or_else(|| odd("status"))?;
        line.split_whitespace().map(|word| word.parse().map_err(|_| odd("status"))).collect()
    };
    let uid = UserId(*ids("Uid:")?.first().ok_or_else(|| odd("status"))?);
    let [gid, others @ ..]: [u32; 4] = ids("Gid:")?.try_into().map_err(|_| odd("status"))?;
    let supplementary = ids("Groups:")?.into_iter().map(GroupId).collect();
    Ok(Some(Ids { uid, gid: GroupId(gid), others: others.map(GroupId), supplementary }))
}

/// Whether an error of `/proc` says that the process has exited: its folder is missing, or vanished during the read.
#[must_use]
pub fn has_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
        || error.kind() == io::ErrorKind::NotFound
}

/// The last pid that was assigned in this pid namespace (proc_loadavg(5), field 5).
///
/// # Errors
/// When `/proc` cannot be read.
pub fn newest_pid() -> io::Result<u32> {
    let text = slurp("/proc/loadavg")?;
    text.split_whitespace().last().and_then(|word| word.parse().ok()).ok_or_else(|| odd("loadavg"))
}

/// A process as a line for records: pid, start, uid, cgroup, executable, command line, words quoted where they could be
/// split. Values that cannot be read are a question mark.
#[must_use]
pub fn describe(main: MainProcess) -> String {
    let pid = main.pid;
    let uid = slurp(format!("/proc/{pid}/status")).ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        line.split_whitespace().nth(1).map(str::to_owned)
    });
    let unknown = || "?".to_owned();
    let cgroup = cgroup_of(pid).ok().flatten().unwrap_or_else(unknown);
    let exe = exe_of(pid).unwrap_or_else(unknown);
    let argv = argv_of(pid).map_or_else(|_| unknown(), |(argv, _)| words(first_of(&argv, MAX_NAMED_ARGV)));
    let (cgroup, exe) = (word(&cgroup), word(&exe));
    format!("{pid} {} {} {cgroup} {exe} {argv}", main.start, uid.unwrap_or_else(unknown))
}

/// The first words of a command line, up to this many characters.
fn first_of(argv: &[String], max: usize) -> impl Iterator<Item = &str> {
    let mut left = max;
    argv.iter().map_while(move |word| {
        let room = left;
        left = left.saturating_sub(word.chars().count() + 1);
        let end = word.char_indices().nth(room).map_or(word.len(), |(at, _)| at);
        (room > 0).then_some(&word[..end])
    })
}

/// The executable of a process.
#[must_use]
pub fn exe_of(pid: u32) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    Some(path.to_string_lossy().into_owned())
}

/// The state letter of a process (proc_pid_stat(5), field 3); `None` if it was reaped.
///
/// # Errors
/// When it exists and cannot be read.
pub fn state_of(pid: u32) -> io::Result<Option<char>> {
    let stat = match slurp(format!("/proc/{pid}/stat")) {
        Err(error) if has_gone(&error) => return Ok(None),
        other => other?,
    };
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    state.map(Some).ok_or_else(|| odd("stat"))
}

/// The start time of a process, in clock ticks since boot (proc_pid_stat(5), field 22).
///
/// # Errors
/// When the process has exited.
pub fn start_of(pid: u32) -> io::Result<u64> {
    let stat = slurp(format!("/proc/{pid}/stat"))?;
    // The name in parentheses can contain anything; fields 3 and on follow the last parenthesis.
    let (_, rest) = stat.rsplit_once(')').ok_or_else(|| odd("stat"))?;
    rest.split_whitespace().nth(19).and_then(|word| word.parse().ok()).ok_or_else(|| odd("stat"))
}

fn argv_of(pid: u32) -> io::Result<(Vec<String>, bool)> {
    let mut bytes = Vec::with_capacity(512);
    fs::File::open(format!("/proc/{pid}/cmdline"))?.take(MAX_ARGV_BYTES + 1).read_to_end(&mut bytes)?;
    let cut = bytes.len() as u64 > MAX_ARGV_BYTES;
    bytes.truncate(usize::try_from(MAX_ARGV_BYTES).unwrap_or(usize::MAX));
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    let argv =
        bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    Ok((argv, cut))
}

/// Whether the file of this program was removed or replaced since it was started, as an upgrade does (proc(5), `exe`). What
/// cannot be read was not.
#[must_use]
pub fn is_replaced() -> bool {
    fs::read_link("/proc/self/exe").is_ok_and(|path| path.to_string_lossy().ends_with(" (deleted)"))
}

fn audit_id(pid: u32, file: &str) -> io::Result<Option<u32>> {
    match slurp(format!("/proc/{pid}/{file}")) {
        Ok(text) => {
            let id: u32 = text.trim().parse().map_err(|_| odd(file))?;
            Ok((id != UNSET).then_some(id))
        }
        // A kernel without audit has this file for no process.
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::exists(format!("/proc/{pid}"))? => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Reads a small file of `/proc` whole: the first read returns everything that fits (Linux, fs/seq_file.c,
/// `seq_read_iter`), so only a full buffer needs a second one.
fn slurp(path: impl AsRef<Path>) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut text = Vec::new();
    let mut part = [0_u8; 4096];
    loop {
        let length = file.read(&mut part)?;
        text.extend_from_slice(&part[..length]);
        if length < part.len() {
            break;
        }
    }
    String::from_utf8(text).or_else(|error| Ok(String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn odd(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc/PID/{file} does not have the form of proc(5)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_line_looks_like_another_process() {
        let argv = ["sh".to_owned(), "x; 1 1 0 /init.scope".to_owned(), "y".repeat(200), "z".to_owned()];
        let shown = words(first_of(&argv, MAX_NAMED_ARGV));
        assert!(shown.starts_with("sh 'x; 1 1 0 /init.scope' yyy"), "{shown}");
        assert_eq!(shown.len(), MAX_NAMED_ARGV + 2);
    }

    #[test]
    fn one_reads_oneself() {
        let pidfd = open_pid(std::process::id()).unwrap();
        let process = read(pidfd.as_fd(), Detail::Whole).unwrap();
        assert_eq!(process.main.pid, std::process::id());
        assert!(!process.argv.is_empty());
        assert!(open(process.main).is_ok());
        assert!(open(MainProcess { start: process.main.start + 1, ..process.main }).is_err());
    }
}
