//! Messages for the person: lines on their terminal, and one line in the system log.
//!
//! Errors of output are ignored: they change no verdict.

use crate::stage::Stage;
use jit_proto::escape::cut;
use jit_proto::pam_protocol;
use pam::constants::PAM_ERROR_MSG;
use pam::conv::Conv;
use pam::module::PamHandle;
use std::os::unix::net::UnixDatagram;

/// Longest line that is shown, in bytes.
const MAX_LINE_BYTES: usize = 512;
/// Longest line for the system log, in bytes; what RFC 3164 allows.
const MAX_LOG_LINE_BYTES: usize = 1024;
const SYSLOG_SOCKET: &str = "/dev/log";
/// `LOG_AUTHPRIV` of syslog(3).
const FACILITY: u8 = 10;

/// Severities of syslog(3) that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// A part is broken.
    Err = 3,
    /// Normal, but worth a line.
    Notice = 5,
    /// With `debug` only.
    Debug = 7,
}

/// Shows lines through the conversation, even under `PAM_SILENT`: sudo always sets it in the account stage, and its own
/// message ("a password is required") is misleading.
pub(crate) fn show<L: AsRef<str>>(pamh: &PamHandle, lines: &[L]) {
    let Ok(Some(conversation)) = pamh.get_item::<Conv<'_>>() else { return };
    for line in lines.iter().take(pam_protocol::MAX_LINES) {
        if conversation.send(PAM_ERROR_MSG, &cut(line.as_ref(), MAX_LINE_BYTES)).is_err() {
            return;
        }
    }
}

/// Writes one line to the system log. Not syslog(3), which keeps its descriptor open and may block.
pub(crate) fn log(severity: Severity, service: &str, stage: Stage, text: &str) {
    // std opens it close-on-exec.
    let Ok(socket) = UnixDatagram::unbound() else { return };
    if socket.set_nonblocking(true).is_ok() {
        let _ = socket.send_to(log_line(severity, service, stage, text).as_bytes(), SYSLOG_SOCKET);
    }
}

fn log_line(severity: Severity, service: &str, stage: Stage, text: &str) -> String {
    let priority = FACILITY * 8 + severity as u8;
    format!("<{priority}>pam_jit({}:{stage}): {}", cut(service, 64), cut(text, MAX_LOG_LINE_BYTES - 128))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_as_it_is_and_nothing_dangerous_does() {
        assert_eq!(cut("jit: sudo is refused: ünïcode stays.", 512), "jit: sudo is refused: ünïcode stays.");
        assert_eq!(cut("a\x1b[2Jb\nc\u{202e}d", 512), "a\\u{1b}[2Jb\\u{a}c\\u{202e}d");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        assert_eq!(cut(&"x".repeat(512), 512), "x".repeat(512));
        let long = cut(&"x".repeat(513), 512);
        assert_eq!((long.len(), &long[508..]), (512, "x..."));
        for (character, most) in [('ü', 64), ('\x1b', 64), ('\u{1f600}', 63), ('\n', 3)] {
            let long = cut(&character.to_string().repeat(200), most);
            assert!(long.len() <= most && long.ends_with("..."), "{long}");
        }
    }

    #[test]
    fn a_log_line_is_one_line_with_the_facility_of_authentication() {
        assert_eq!(
            log_line(Severity::Notice, "sudo", Stage::Account, "alice\n<0>forged"),
            "<85>pam_jit(sudo:account): alice\\u{a}<0>forged"
        );
        assert_eq!(log_line(Severity::Err, "su", Stage::Session, "x"), "<83>pam_jit(su:session): x");
        assert!(
            log_line(Severity::Debug, &"s".repeat(999), Stage::Auth, &"t".repeat(9999)).len()
                <= MAX_LOG_LINE_BYTES
        );
    }
}
