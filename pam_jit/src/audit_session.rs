//! Gives this process an audit session of its own, which everything it starts will inherit.
//!
//! Writing `/proc/self/loginuid` makes the kernel hand out a new audit session id, also where the uid written is the
//! one that is there already (Linux, kernel/auditsc.c, `audit_set_loginuid`). The caller's shell keeps its own.

use rustix::process::Uid;
use std::fs;
use std::io;

const LOGINUID: &str = "/proc/self/loginuid";
const SESSIONID: &str = "/proc/self/sessionid";
/// Both numbers where nobody has set them: `(uid_t)-1`.
const UNSET: u32 = u32::MAX;

/// Why there is no new session: the daemon then moves this process before it answers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAuditSession {
    /// No audit in this kernel, or no right to it.
    #[error("{path}: {error}")]
    File {
        /// Which file.
        path: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// The write was taken but changed nothing.
    #[error("the kernel gave no new audit session")]
    Unchanged,
}

/// Writes this process's loginuid, as it is where it is set and else as the real uid; returns the new audit session id.
pub(crate) fn begin(caller: Uid) -> Result<u32, NoAuditSession> {
    let before = number(SESSIONID)?;
    let loginuid = loginuid_to_write(number(LOGINUID)?, caller);
    fs::write(LOGINUID, loginuid.to_string())
        .map_err(|error| NoAuditSession::File { path: LOGINUID, error })?;
    let after = number(SESSIONID)?;
    if after == UNSET || after == before { Err(NoAuditSession::Unchanged) } else { Ok(after) }
}

/// The person stays the one who logged in, so that auditd's records go on naming her.
fn loginuid_to_write(current: u32, caller: Uid) -> u32 {
    if current == UNSET { caller.as_raw() } else { current }
}

fn number(path: &'static str) -> Result<u32, NoAuditSession> {
    let text = fs::read_to_string(path).map_err(|error| NoAuditSession::File { path, error })?;
    text.trim_end()
        .parse()
        .map_err(|_| NoAuditSession::File { path, error: io::Error::from(io::ErrorKind::InvalidData) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_stays_who_it_was() {
        assert_eq!(loginuid_to_write(1001, Uid::from_raw(1002)), 1001);
        assert_eq!(loginuid_to_write(0, Uid::from_raw(1002)), 0);
        assert_eq!(loginuid_to_write(UNSET, Uid::from_raw(1002)), 1002);
    }
}
