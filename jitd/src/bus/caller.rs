//! Identifies the sender of a message on the system bus or the operators' socket, by the bus, the kernel, `/proc` and
//! logind, never by the message.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use jit_proto::bus::names::session_of_scope;
use jit_proto::identity::UserId;
use zbus::message::Header;
use zbus::{Connection, fdo};

use super::Failure;
use crate::core::caller::{Caller, Location};
use crate::core::ledger::MainProcess;
use crate::core::people::{Account, Person};
use crate::host::accounts::{IdentityError, Nss};
use crate::host::process::{self, LoginUid};

/// logind's files about sessions (sd_session_get_uid(3) reads them).
const LOGIND_SESSIONS: &str = "/run/systemd/sessions";

/// The process at the other end of a connection.
pub(crate) enum Peer {
    /// A pidfd, from the kernel or from a bus that has one.
    Pidfd(OwnedFd),
    /// Its pid when it connected.
    Pid(u32),
    /// The source of the uid does not report the process.
    Unknown,
}

/// Why a caller cannot be identified.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallerError {
    /// The message has no sender.
    #[error("the message has no sender")]
    NoSender,
    /// The kernel does not report the peer of the operators' socket.
    #[error("the kernel does not say who calls")]
    NoPeer,
    /// The same, for one connection.
    #[error("the kernel does not say who calls: {0}")]
    Peer(io::Error),
    /// There is no pidfd of the caller's process.
    #[error("the caller's pidfd cannot be kept: {0}")]
    Pidfd(io::Error),
    /// The connection to the bus failed.
    #[error("the bus cannot be asked who calls: {0}")]
    Bus(zbus::Error),
    /// The sender has disconnected.
    #[error("the bus does not know the caller any more: {0}")]
    Gone(fdo::Error),
    /// The bus does not report a uid.
    #[error("the bus does not say who calls")]
    NoUid,
    /// The bus does not report a pid.
    #[error("the bus does not say which process calls")]
    NoProcess,
    /// The gate is for root only.
    #[error("uid {0} may not call the gate")]
    NotRoot(UserId),
    /// The uid has no account.
    #[error("uid {0} has no account on this host")]
    NoAccount(UserId),
    /// NSS failed.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl From<CallerError> for Failure {
    fn from(error: CallerError) -> Self {
        Self::NotAuthorized(error.to_string())
    }
}

/// The processes that have called on connections to a bus that reports pids and no pidfds (Debian 12).
///
/// A connection can outlive its process, if others hold the descriptor, and the pid can then be another process's; so
/// only the process that called first is accepted.
#[derive(Debug, Default)]
pub(super) struct FirstCallers(Mutex<HashMap<String, MainProcess>>);

impl FirstCallers {
    /// Connections that are remembered. The bus never reuses a unique name.
    const MAX: usize = 4096;

    /// Whether no other process has called on this connection before.
    fn is_first(&self, sender: &str, process: MainProcess) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= Self::MAX && !known.contains_key(sender) {
            known.clear();
        }
        *known.entry(sender.to_owned()).or_insert(process) == process
    }
}

/// Identifies the sender of this message. A sender that the bus does not know any more is refused, and never taken for
/// root (CVE-2021-3560).
pub(super) async fn caller(
    connection: &Connection,
    header: &Header<'_>,
    first: &FirstCallers,
) -> Result<Caller, Failure> {
    let credentials = credentials(connection, header).await?;
    let by_pid = matches!(credentials.peer, Peer::Pid(_));
    let gathered = tokio::task::spawn_blocking(move || gather(UserId(credentials.uid), credentials.peer));
    let caller = gathered.await.map_err(|error| Failure::Failed(error.to_string()))??;
    if by_pid
        && let (Some(sender), Some(process)) = (header.sender(), caller.process)
        && !first.is_first(sender, process)
    {
        let why = format!(
            "the process that connected to the bus has ended, and another one is {} now",
            process.pid
        );
        return Ok(Caller { location: Location::Unreadable(why), process: None, exe: None, ..caller });
    }
    Ok(caller)
}

/// Gathers the facts about a caller, on any path. It asks NSS, and so may block.
///
/// A process that cannot be read, or has ended, is at [`Location::Unreadable`]: every command is refused and recorded.
///
/// # Errors
/// When the uid has no account, or NSS cannot be asked.
pub(crate) fn gather(uid: UserId, peer: Peer) -> Result<Caller, CallerError> {
    let person = Nss.person(uid)?.ok_or(CallerError::NoAccount(uid))?;
    let unreadable = |why: String| Caller {
        person: person.clone(),
        loginuid: None,
        audit_session: None,
        location: Location::Unreadable(why),
        process: None,
        exe: None,
        holder: None,
    };
    let (pidfd, pid) = match peer {
        Peer::Unknown => return Ok(unreadable("the bus does not say which process calls".to_owned())),
        Peer::Pid(pid) => (process::open_pid(pid), Some(pid)),
        Peer::Pidfd(pidfd) => (Ok(pidfd), None),
    };
    let read = pidfd.and_then(|pidfd| read(&person, pidfd.as_fd()));
    Ok(read.unwrap_or_else(|error| {
        let pid = pid.map_or(String::new(), |pid| format!(" {pid}"));
        unreadable(format!("process{pid}, which connected to the bus, cannot be read: {error}"))
    }))
}

/// The bus reports the process that connected; if that has ended, others can still use its connection, and the caller
/// is unknown.
fn read(person: &Person, pidfd: BorrowedFd<'_>) -> io::Result<Caller> {
    let pid = process::pid_of(pidfd)?;
    let cgroup = process::cgroup_of(pid)?
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it is in no unified cgroup hierarchy"))?;
    let location = location(&cgroup)?;
    let loginuid = match (process::login_uid(pid)?, &location) {
        (LoginUid::Set(uid), _) => Some(uid),
        (LoginUid::Unset, _) => None,
        (LoginUid::NoAudit, Location::Login { uid, .. }) => Some(*uid),
        (LoginUid::NoAudit, _) => None,
    };
    let caller = Caller {
        person: person.clone(),
        loginuid,
        audit_session: process::audit_session(pid)?,
        location,
        process: Some(MainProcess { pid, start: process::start_of(pid)? }),
        // The executable decides nothing.
        exe: process::exe_of(pid),
        holder: None,
    };
    if process::has_ended(pidfd)? {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it has ended"));
    }
    Ok(caller)
}

/// The location of a cgroup path.
fn location(cgroup: &str) -> io::Result<Location> {
    if let Some(id) = process::login_in(cgroup)
        && let Some(uid) = login_of(Path::new(LOGIND_SESSIONS), &id)?
    {
        return Ok(Location::Login { id, uid });
    }
    Ok(unit_of(cgroup))
}

/// The unit of a cgroup path, without logind.
fn unit_of(cgroup: &str) -> Location {
    let mut parts = cgroup.split('/').filter(|part| !part.is_empty());
    let first = parts.next().unwrap_or_default();
    if let Some(session) = process::session_in(cgroup) {
        let is_scope = |part: &&str| session_of_scope(part).is_some();
        let unit = cgroup.split('/').find(is_scope).unwrap_or_default().to_owned();
        return Location::Window { session, unit };
    }
    let is_unit = |part: &&str| part.ends_with(".service") || part.ends_with(".scope");
    let mut units = cgroup.split('/').filter(is_unit);
    match (first, units.next()) {
        // user-UID.slice/user@UID.service is the user manager; its units are below it.
        ("user.slice", Some(manager)) if manager.starts_with("user@") => {
            Location::UserUnit(units.next_back().unwrap_or(manager).to_owned())
        }
        ("system.slice" | "user.slice" | "machine.slice" | "init.scope", Some(unit)) => {
            Location::SystemUnit(unit.to_owned())
        }
        (slice, Some(unit)) if slice.ends_with(".slice") => Location::SystemUnit(unit.to_owned()),
        _ => Location::Elsewhere(cgroup.to_owned()),
    }
}

/// The user of this login, if logind knows it and it is of a class of people's logins: sessions of cron and at, if
/// pam_systemd makes any, are `background`, and a user manager's is `manager` (pam_systemd(8), `class=`).
fn login_of(sessions: &Path, id: &str) -> io::Result<Option<UserId>> {
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(None);
    }
    let text = match fs::read_to_string(sessions.join(id)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let is_persons = value("CLASS").is_some_and(|class| class == "user" || class.starts_with("user-"));
    let scope = value("SCOPE").is_some_and(|scope| scope == format!("session-{id}.scope"));
    let uid = value("UID").and_then(|uid| uid.parse().ok()).map(UserId);
    Ok(uid.filter(|_| is_persons && scope))
}

/// The account of a session's holder, with the present groups.
pub(super) fn holder(account: &Account) -> Result<Option<Person>, IdentityError> {
    Nss.person(account.uid)
}

/// The pid of a caller that is root.
///
/// # Errors
/// Why the caller is not root.
pub(super) async fn root_pid(connection: &Connection, header: &Header<'_>) -> Result<u32, CallerError> {
    let credentials = credentials(connection, header).await?;
    match (credentials.uid, credentials.pid) {
        (0, Some(pid)) => Ok(pid),
        (0, None) => Err(CallerError::NoProcess),
        (uid, _) => Err(CallerError::NotRoot(UserId(uid))),
    }
}

struct Credentials {
    uid: u32,
    pid: Option<u32>,
    peer: Peer,
}

async fn credentials(connection: &Connection, header: &Header<'_>) -> Result<Credentials, CallerError> {
    if !connection.is_bus() {
        // On jitd's own socket the kernel identifies the peer; a sender in the message proves nothing.
        let known = connection.peer_creds().await.map_err(CallerError::Peer)?;
        let uid = known.unix_user_id().ok_or(CallerError::NoPeer)?;
        let pidfd = known.process_fd().map(|pidfd| pidfd.as_fd().try_clone_to_owned()).transpose();
        let pidfd = pidfd.map_err(CallerError::Pidfd)?;
        return Ok(Credentials {
            uid,
            pid: known.process_id(),
            peer: pidfd.map_or(Peer::Unknown, Peer::Pidfd),
        });
    }
    let sender = header.sender().ok_or(CallerError::NoSender)?.to_owned();
    let bus = fdo::DBusProxy::new(connection).await.map_err(CallerError::Bus)?;
    let known = bus.get_connection_credentials(sender.into()).await;
    let known = known.map_err(CallerError::Gone)?;
    let uid = known.unix_user_id().ok_or(CallerError::NoUid)?;
    let pid = known.process_id();
    let peer = match known.into_process_fd() {
        Some(pidfd) => Peer::Pidfd(OwnedFd::from(pidfd)),
        None => pid.map_or(Peer::Unknown, Peer::Pid),
    };
    Ok(Credentials { uid, pid, peer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_known_by_its_path() {
        let system = |unit: &str| Location::SystemUnit(unit.to_owned());
        for (path, expected) in [
            ("/system.slice/atd.service", system("atd.service")),
            ("/system.slice/system-getty.slice/getty@tty1.service", system("getty@tty1.service")),
            ("/init.scope", system("init.scope")),
            // A scope that is named like a login's is none unless logind knows it.
            ("/system.slice/session-c97.scope", system("session-c97.scope")),
            ("/user.slice/user-1000.slice/session-c97.scope", system("session-c97.scope")),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/run-7.service",
                Location::UserUnit("run-7.service".into()),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/init.scope",
                Location::UserUnit("init.scope".into()),
            ),
            ("/payload/harness", Location::Elsewhere("/payload/harness".into())),
            ("/", Location::Elsewhere("/".into())),
            (
                "/jit.slice/jit-14-2.scope/below",
                Location::Window {
                    session: jit_proto::identity::SessionId(14),
                    unit: "jit-14-2.scope".into(),
                },
            ),
        ] {
            assert_eq!(unit_of(path), expected, "{path}");
        }
    }

    #[test]
    fn a_login_is_what_logind_knows_and_people_log_in_with() {
        let folder = tempfile::tempdir().unwrap();
        let is = |id: &str, text: &str| {
            fs::write(folder.path().join(id), text).unwrap();
            login_of(folder.path(), id).unwrap()
        };
        let alice = Some(UserId(2001));
        assert_eq!(is("c1", "UID=2001\nCLASS=user\nSCOPE=session-c1.scope\n"), alice);
        assert_eq!(is("3", "UID=2001\nCLASS=user-early\nSCOPE=session-3.scope\n"), alice);
        assert_eq!(is("c2", "UID=2001\nCLASS=background\nSCOPE=session-c2.scope\n"), None);
        assert_eq!(is("c3", "UID=2001\nCLASS=manager\nSCOPE=session-c3.scope\n"), None);
        assert_eq!(is("c4", "UID=2001\nCLASS=user\nSCOPE=session-c1.scope\n"), None);
        assert_eq!(is("c5", ""), None);
        assert_eq!(login_of(folder.path(), "c6").unwrap(), None);
        assert_eq!(login_of(folder.path(), "../c1").unwrap(), None);
        fs::create_dir(folder.path().join("c7")).unwrap();
        assert!(login_of(folder.path(), "c7").is_err(), "what cannot be read is not taken for nothing there");
    }

    #[test]
    fn a_pid_that_is_used_again_is_not_the_process_that_connected() {
        let first = FirstCallers::default();
        let (before, after) = (MainProcess { pid: 7, start: 1 }, MainProcess { pid: 7, start: 2 });
        assert!(first.is_first(":1.1", before));
        assert!(first.is_first(":1.1", before));
        assert!(!first.is_first(":1.1", after));
        assert!(first.is_first(":1.2", after));
        for number in 0..10_000 {
            let _ = first.is_first(&format!(":2.{number}"), before);
        }
        assert!(first.0.lock().unwrap().len() <= FirstCallers::MAX);
    }

    #[test]
    fn a_process_that_has_ended_is_a_caller_who_may_nothing() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pidfd = process::open_pid(child.id()).unwrap();
        child.wait().unwrap();
        for peer in [Peer::Pidfd(pidfd), Peer::Unknown, Peer::Pid(u32::MAX)] {
            let caller = gather(UserId::ROOT, peer).unwrap();
            assert!(matches!(caller.location, Location::Unreadable(_)), "{:?}", caller.location);
        }
    }
}
