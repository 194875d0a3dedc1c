//! The cgroup of a process, and the session that it belongs to.

use std::io;

use jit_proto::bus::names::session_of_scope;
use jit_proto::identity::SessionId;

use super::slurp;

/// The path of a process in the unified hierarchy (cgroups(7), "/proc/PID/cgroup"); `None` if it has none.
///
/// # Errors
/// When the process has exited.
pub fn cgroup_of(pid: u32) -> io::Result<Option<String>> {
    let text = slurp(format!("/proc/{pid}/cgroup"))?;
    Ok(text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned))
}

/// The session of a cgroup path.
#[must_use]
pub fn session_in(cgroup: &str) -> Option<SessionId> {
    let below = cgroup.strip_prefix("/jit.slice/")?;
    let (unit, _) = below.split_once('/').unwrap_or((below, ""));
    session_of_scope(unit).map(|(session, _)| session)
}

/// The logind session of a cgroup path (systemd.special(7), `session-ID.scope` below `user-UID.slice`).
#[must_use]
pub fn login_in(cgroup: &str) -> Option<String> {
    let mut parts = cgroup.strip_prefix("/user.slice/user-")?.split('/').skip(1);
    let id = parts.next()?.strip_prefix("session-")?.strip_suffix(".scope")?;
    Some(id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_known_by_its_path() {
        assert_eq!(session_in("/jit.slice/jit-17.scope"), Some(SessionId(17)));
        assert_eq!(session_in("/jit.slice/jit-17.scope/inner"), Some(SessionId(17)));
        assert_eq!(session_in("/jit.slice/jit-17-2.scope"), Some(SessionId(17)));
        assert_eq!(session_in("/user.slice/jit-17.scope"), None);
        assert_eq!(session_in("/jit.slice/jit-x.scope"), None);
    }

    #[test]
    fn a_login_is_known_by_its_scope() {
        assert_eq!(login_in("/user.slice/user-1000.slice/session-c3.scope"), Some("c3".to_owned()));
        assert_eq!(login_in("/user.slice/user-1000.slice/user@1000.service/app.slice"), None);
        assert_eq!(login_in("/system.slice/session-3.scope"), None);
    }
}
