//! Puts this process into an audit session of its own, which its children inherit.
//!
//! A write to `/proc/self/loginuid` makes the kernel assign a new audit session id, even if the uid is unchanged
//! (Linux, kernel/auditsc.c, `audit_set_loginuid`). The caller's shell keeps its own.

use rustix::process::Uid;
use std::fs;
use std::io;

const LOGINUID: &str = "/proc/self/loginuid";
const SESSIONID: &str = "/proc/self/sessionid";
/// The unset value of both ids: `(uid_t)-1`.
const UNSET: u32 = u32::MAX;

/// Why there is no new audit session: jitd then moves this process into its scope before it answers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAuditSession {
    /// The kernel has no audit, or the process lacks the privilege.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: &'static str,
        /// The kernel's error.
        error: io::Error,
    },
    /// The write succeeded and changed nothing.
    #[error("the kernel gave no new audit session")]
    Unchanged,
}

/// Writes this process's loginuid: the present one if it is set, else the real uid; returns the new audit session id.
pub(crate) fn begin(caller: Uid) -> Result<u32, NoAuditSession> {
    let before = number(SESSIONID)?;
    let loginuid = loginuid_to_write(number(LOGINUID)?, caller);
    fs::write(LOGINUID, loginuid.to_string())
        .map_err(|error| NoAuditSession::File { path: LOGINUID, error })?;
    let after = number(SESSIONID)?;
    if after == UNSET || after == before { Err(NoAuditSession::Unchanged) } else { Ok(after) }
}

/// The login uid stays that of the person who logged in, so that auditd's records keep naming that person.
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
