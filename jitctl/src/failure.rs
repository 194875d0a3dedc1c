//! Exit statuses, and failures with their message and name.

use std::fmt::Write as _;
use std::process::ExitCode;

use jit_proto::bus::names::error;
use jit_proto::escape::is_unsafe;
use zbus::DBusError;

/// The number and length of clap's lines that are printed: clap quotes the arguments.
const MAX_LINES: usize = 40;
const MAX_ECHOED: usize = 1000;

/// The exit statuses; the numbers are part of the interface (jitctl(1), EXIT STATUS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Failed for a reason without a number of its own.
    Failed = 1,
    /// The command line is not valid.
    Usage = 2,
    /// Denied by the policy or by the person who decides.
    Refused = 3,
    /// No such request, grant, role or user; or none that the caller may see.
    NoSuch = 4,
    /// The daemon cannot be reached.
    Unreachable = 5,
    /// The request is not decided yet.
    Pending = 6,
    /// The audit chain is broken.
    ChainBroken = 7,
    /// The chain is intact, but not complete.
    NotWhole = 8,
    /// Timed out, as in timeout(1).
    TimedOut = 124,
    /// Interrupted with Ctrl-C, as in shells.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a verb failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// The exit status.
    pub(crate) exit: Exit,
    /// The D-Bus error name; one of jitd's for failures of jitctl itself.
    pub(crate) name: String,
    /// A message of one sentence, escaped for a terminal.
    pub(crate) message: String,
}

impl Failure {
    /// A failure of jitctl itself.
    pub(crate) fn new(exit: Exit, name: &str, message: &str) -> Self {
        Self { exit, name: name.to_owned(), message: tame(message) }
    }

    /// Invalid values.
    pub(crate) fn usage(why: &str) -> Self {
        Self::new(Exit::Usage, error::INVALID_ARGUMENT, why)
    }

    /// An answer that violates the interface.
    pub(crate) fn strange_answer(what: &str, why: &dyn std::fmt::Display) -> Self {
        Self::new(
            Exit::Failed,
            error::FAILED,
            &format!(
                "jitctl does not understand jitd's answer to {what}: {why}; are jitctl and jitd of the same version?"
            ),
        )
    }
}

/// clap's error as a failure.
pub(crate) fn usage(found: &clap::Error) -> Failure {
    let said = found.to_string();
    let lines: Vec<String> = said
        .strip_prefix("error: ")
        .unwrap_or(&said)
        .trim_end()
        .lines()
        .take(MAX_LINES)
        .map(tame)
        .map(short)
        .collect();
    // Not through `Failure::new`: the usage lines below clap's sentence stay lines.
    Failure { exit: Exit::Usage, name: error::INVALID_ARGUMENT.to_owned(), message: lines.join("\n") }
}

impl From<zbus::Error> for Failure {
    fn from(found: zbus::Error) -> Self {
        match found {
            zbus::Error::MethodError(name, text, _) => from_name(&name, text.as_deref().unwrap_or_default()),
            zbus::Error::FDO(fdo) => match *fdo {
                zbus::fdo::Error::ZBus(inner) => inner.into(),
                fdo => from_name(&fdo.name(), fdo.description().unwrap_or_default()),
            },
            zbus::Error::InputOutput(why) if why.kind() == std::io::ErrorKind::TimedOut => no_answer(),
            zbus::Error::InputOutput(why) => no_bus(&why),
            zbus::Error::Connection(why, _) => no_bus(&why),
            zbus::Error::Handshake(why) => no_bus(&why),
            other => Self::strange_answer("a call", &other),
        }
    }
}

/// The failure of a call. A broken connection is blamed on the system bus only if the call went over the bus.
pub(crate) fn of_call(found: zbus::Error, on_the_bus: bool) -> Failure {
    match &found {
        zbus::Error::InputOutput(why) if why.kind() == std::io::ErrorKind::TimedOut => no_answer(),
        zbus::Error::InputOutput(_) | zbus::Error::Connection(..) if !on_the_bus => {
            from_name("org.freedesktop.DBus.Error.Disconnected", "")
        }
        _ => found.into(),
    }
}

/// The name of the error for a missing answer.
pub(crate) const NO_REPLY: &str = "org.freedesktop.DBus.Error.NoReply";

/// The daemon does not answer.
pub(crate) fn no_answer() -> Failure {
    from_name(NO_REPLY, "")
}

/// The system bus itself does not answer.
pub(crate) fn no_bus(why: &dyn std::fmt::Display) -> Failure {
    let address = jit_proto::bus::names::SYSTEM_BUS_ADDRESS;
    Failure::new(
        Exit::Unreachable,
        "org.freedesktop.DBus.Error.NoServer",
        &format!("the system bus at {address} cannot be reached: {why}"),
    )
}

/// A failure by its D-Bus error name. jitd's errors have the daemon's own sentence; errors of the bus that mean "the
/// daemon is not there" get a sentence that says what to do.
fn from_name(name: &str, text: &str) -> Failure {
    let exit = exit_of(name);
    let sentence = match name.strip_prefix("org.freedesktop.DBus.Error.") {
        Some("NoReply" | "Timeout" | "TimedOut") => {
            "jitd does not answer; run systemctl status jitd".to_owned()
        }
        Some("Disconnected") => "jitd has closed the connection; run systemctl status jitd".to_owned(),
        Some("AccessDenied") => format!("the system bus denied this call: {text}"),
        Some("UnknownObject") => "jitd is not ready yet; run systemctl status jitd".to_owned(),
        Some("UnknownMethod" | "UnknownInterface") => {
            "the running jitd does not know this call; are jitctl and jitd of the same version?".to_owned()
        }
        _ if name == error::STOPPING => "jitd is stopping; run systemctl status jitd".to_owned(),
        _ if exit == Exit::Unreachable => "jitd is not running; run systemctl status jitd".to_owned(),
        _ if text.is_empty() => format!("jitd answered {name}"),
        _ => text.to_owned(),
    };
    Failure::new(exit, name, &sentence)
}

fn exit_of(name: &str) -> Exit {
    match name {
        error::NOT_AUTHORIZED | error::POLICY_DENIED | error::SELF_APPROVAL | error::ALREADY_DECIDED => {
            Exit::Refused
        }
        error::NO_SUCH => Exit::NoSuch,
        error::INVALID_ARGUMENT => Exit::Usage,
        // Whoever waits for jitd waits on: it is gone in a moment, and may come back.
        error::STOPPING => Exit::Unreachable,
        _ => match name.strip_prefix("org.freedesktop.DBus.Error.") {
            Some(
                "ServiceUnknown" | "NameHasNoOwner" | "NoReply" | "Timeout" | "TimedOut" | "NoServer"
                | "Disconnected" | "UnknownObject",
            ) => Exit::Unreachable,
            Some(spawn) if spawn.starts_with("Spawn.") => Exit::Unreachable,
            Some("AccessDenied" | "AuthFailed" | "InteractiveAuthorizationRequired") => Exit::Refused,
            // dbus-daemon passes this on when systemd could not start the unit of an activatable name.
            None if name.starts_with("org.freedesktop.systemd1.") => Exit::Unreachable,
            _ => Exit::Failed,
        },
    }
}

/// Cuts a quoted argument, which may be 100 kB long.
fn short(mut line: String) -> String {
    if let Some((end, _)) = line.char_indices().nth(MAX_ECHOED) {
        line.truncate(end);
        line.push_str("...");
    }
    line
}

/// Escapes characters that could mislead a terminal, except backslashes: the daemon has escaped its sentences already,
/// and escaping them twice would be unreadable.
pub(crate) fn tame(sentence: &str) -> String {
    sentence.chars().fold(String::with_capacity(sentence.len()), |mut tamed, c| {
        if is_unsafe(c) {
            // Writing to a String cannot fail.
            let _ = write!(tamed, "\\u{{{:x}}}", u32::from(c));
        } else {
            tamed.push(c);
        }
        tamed
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_error_name_has_its_exit_status() {
        for (name, exit) in [
            (error::NOT_AUTHORIZED, Exit::Refused),
            (error::POLICY_DENIED, Exit::Refused),
            (error::SELF_APPROVAL, Exit::Refused),
            (error::ALREADY_DECIDED, Exit::Refused),
            (error::NO_SUCH, Exit::NoSuch),
            (error::INVALID_ARGUMENT, Exit::Usage),
            (error::BAD_POLICY, Exit::Failed),
            (error::CANNOT_RECORD, Exit::Failed),
            (error::STOPPING, Exit::Unreachable),
            (error::FAILED, Exit::Failed),
            ("org.freedesktop.DBus.Error.ServiceUnknown", Exit::Unreachable),
            ("org.freedesktop.DBus.Error.NoReply", Exit::Unreachable),
            ("org.freedesktop.DBus.Error.NameHasNoOwner", Exit::Unreachable),
            ("org.freedesktop.DBus.Error.Spawn.ChildExited", Exit::Unreachable),
            ("org.freedesktop.systemd1.NoSuchUnit", Exit::Unreachable),
            ("org.freedesktop.DBus.Error.AccessDenied", Exit::Refused),
            ("org.freedesktop.DBus.Error.UnknownMethod", Exit::Failed),
            ("com.example.Surprise", Exit::Failed),
        ] {
            assert_eq!(from_name(name, "text").exit, exit, "{name}");
            assert!(!from_name(name, "").message.is_empty(), "{name}");
        }
    }

    #[test]
    fn the_numbers_are_those_of_the_manual() {
        let numbers = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Refused,
            Exit::NoSuch,
            Exit::Unreachable,
            Exit::Pending,
            Exit::ChainBroken,
            Exit::NotWhole,
            Exit::TimedOut,
            Exit::Interrupted,
        ]
        .map(|exit| exit as u8);
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 124, 130]);
    }

    #[test]
    fn replies_of_the_bus_that_zbus_knows_keep_their_meaning() {
        let unknown = zbus::fdo::Error::ServiceUnknown("org.jitd.Jit1 was not provided".into());
        let failure = Failure::from(zbus::Error::FDO(Box::new(unknown)));
        assert_eq!(failure.exit, Exit::Unreachable);
        assert_eq!(failure.name, "org.freedesktop.DBus.Error.ServiceUnknown");
        assert!(failure.message.contains("not running"), "{failure}");

        let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
        let failure = Failure::from(zbus::Error::InputOutput(std::sync::Arc::new(late)));
        assert_eq!(
            (failure.exit, failure.name.as_str()),
            (Exit::Unreachable, "org.freedesktop.DBus.Error.NoReply")
        );
    }

    #[test]
    fn what_breaks_off_on_the_operators_socket_is_not_the_system_bus() {
        let broken = |kind: std::io::ErrorKind| zbus::Error::InputOutput(std::sync::Arc::new(kind.into()));
        let ended = of_call(broken(std::io::ErrorKind::UnexpectedEof), false);
        assert_eq!(ended.exit, Exit::Unreachable);
        assert!(ended.message.starts_with("jitd has closed the connection"), "{ended}");
        let bus = of_call(broken(std::io::ErrorKind::UnexpectedEof), true);
        assert!(bus.message.starts_with("the system bus at "), "{bus}");
        for on_the_bus in [true, false] {
            assert_eq!(of_call(broken(std::io::ErrorKind::TimedOut), on_the_bus), no_answer());
        }
    }

    #[test]
    fn the_daemons_sentence_is_passed_on_as_it_is() {
        let said =
            from_name(error::POLICY_DENIED, "The reason \"a\\u{1b}\" is too short: 10 characters at least.");
        assert_eq!(said.message, "The reason \"a\\u{1b}\" is too short: 10 characters at least.");
    }

    proptest! {
        #[test]
        fn no_failure_can_fool_a_terminal(text in ".*|[\\x00-\\x20\\u{80}-\\u{a0}\\u{2000}-\\u{2070}]*") {
            for name in [error::FAILED, "org.freedesktop.DBus.Error.AccessDenied", &text] {
                prop_assert!(!from_name(name, &text).message.chars().any(is_unsafe));
            }
        }
    }
}
