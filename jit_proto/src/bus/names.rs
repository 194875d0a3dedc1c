//! The names of the bus and its interfaces: constants, none read from the environment.

use crate::identity::SessionId;

/// Well-known name of the daemon on the system bus.
pub const BUS_NAME: &str = "org.jitd.Jit1";
/// The only object, on the system bus and on the gate's socket.
pub const OBJECT_PATH: &str = "/org/jitd/Jit1";
/// The interface for `pam_jit`; uid 0 only.
pub const GATE_INTERFACE: &str = "org.jitd.Jit1.Gate";
/// The interface for people, scripts and consoles.
pub const MANAGER_INTERFACE: &str = "org.jitd.Jit1.Manager";
/// The interface to read and verify the audit log; root, operators and auditors.
pub const AUDIT_INTERFACE: &str = "org.jitd.Jit1.Audit";
/// Prefix of jitd's error names.
pub const ERROR_PREFIX: &str = "org.jitd.Jit1.Error";

/// Socket of the gate, held by PID 1 (jitd.socket), mode 0600, owner root.
pub const GATE_SOCKET: &str = "/run/jitd/gate.sock";
/// Socket with the interfaces Manager and Audit of the system bus: held by PID 1 (jitd-operator.socket), mode 0660,
/// owner root, group jit-operators.
pub const OPERATOR_SOCKET: &str = "/run/jitd/operator.sock";
/// Socket for the questions of polkit's rule, held by PID 1 (jitd-polkit.socket), mode 0600, owner polkitd.
pub const POLKIT_SOCKET: &str = "/run/jitd/polkit.sock";
/// Address of the system bus. A constant: zbus would otherwise use `DBUS_SYSTEM_BUS_ADDRESS`, which an unprivileged
/// caller of su, doas and sudo-rs controls.
pub const SYSTEM_BUS_ADDRESS: &str = "unix:path=/run/dbus/system_bus_socket";
/// The name of the heartbeat that is sent with the records. It is no record, and names the last one.
pub const HEARTBEAT: &str = "daemon.heartbeat";
/// Slice that holds every session's scope.
pub const SLICE: &str = "jit.slice";

/// The systemd scope of a session. Each time that the end of its window moves it gets another one, since PID 1 sets the
/// deadline of a scope only when it makes the scope; the first has the number 0.
#[must_use]
pub fn scope_name(session: SessionId, generation: u32) -> String {
    match generation {
        0 => format!("jit-{session}.scope"),
        _ => format!("jit-{session}-{generation}.scope"),
    }
}

/// The session and the number of a scope, by the unit's name.
#[must_use]
pub fn session_of_scope(unit: &str) -> Option<(SessionId, u32)> {
    let name = unit.strip_prefix("jit-")?.strip_suffix(".scope")?;
    let (session, generation) = name.split_once('-').map_or((name, Some(0)), |(session, generation)| {
        (session, generation.parse().ok().filter(|generation| *generation > 0))
    });
    Some((SessionId(session.parse().ok()?), generation?))
}

/// The D-Bus error names, and jitctl's exit status for each.
pub mod error {
    /// The caller may not do this (exit 3).
    pub const NOT_AUTHORIZED: &str = "org.jitd.Jit1.Error.NotAuthorized";
    /// The policy refuses it: unknown role, too long, no ticket (exit 3).
    pub const POLICY_DENIED: &str = "org.jitd.Jit1.Error.PolicyDenied";
    /// The request or grant is the caller's own (exit 3).
    pub const SELF_APPROVAL: &str = "org.jitd.Jit1.Error.SelfApproval";
    /// The request or grant is closed, or this person has already decided (exit 3).
    pub const ALREADY_DECIDED: &str = "org.jitd.Jit1.Error.AlreadyDecided";
    /// No such role, request, grant or user; also for callers who are no party to it (exit 4).
    pub const NO_SUCH: &str = "org.jitd.Jit1.Error.NoSuch";
    /// An argument is malformed; the text names it (exit 2).
    pub const INVALID_ARGUMENT: &str = "org.jitd.Jit1.Error.InvalidArgument";
    /// The policy on disk is not accepted; the running one stays (exit 1).
    pub const BAD_POLICY: &str = "org.jitd.Jit1.Error.BadPolicy";
    /// It could not be recorded, so it was not done (exit 1).
    pub const CANNOT_RECORD: &str = "org.jitd.Jit1.Error.CannotRecord";
    /// The daemon is stopping, and did not do it (exit 5).
    pub const STOPPING: &str = "org.jitd.Jit1.Error.Stopping";
    /// Something failed inside the daemon (exit 1).
    pub const FAILED: &str = "org.jitd.Jit1.Error.Failed";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scopes_name_tells_whose_it_is() {
        for (session, generation) in [(7, 0), (7, 1), (12, 30)] {
            let name = scope_name(SessionId(session), generation);
            assert_eq!(session_of_scope(&name), Some((SessionId(session), generation)), "{name}");
        }
        for other in [
            "jit-.scope",
            "jit-7-0.scope",
            "jit-7-x.scope",
            "jit-x.scope",
            "jit-7.service",
            "session-7.scope",
        ] {
            assert_eq!(session_of_scope(other), None, "{other}");
        }
    }
}
