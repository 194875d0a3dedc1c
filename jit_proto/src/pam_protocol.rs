//! The protocol of the gate between `pam_jit` and the daemon.
//!
//! Every method takes `(h process, s service, s user, s ruser, s tty, a{sv} options)` and returns `(s outcome, as text,
//! a{sv} more)`. `process` is a pidfd of the caller; the daemon reads what it can from `/proc`. `user`, `ruser` and
//! `tty` are the PAM items of that name, empty where they are not set. The lines of `text` are shown to the person, also
//! where the outcome is `allowed`.

/// Account stage: decide, register. Option `tagged` (b): `pam_jit` wrote the loginuid and so started an audit session
/// of its own.
pub const METHOD_ENTER: &str = "Enter";
/// First line of the session stage: decide again for the target user.
pub const METHOD_RECHECK: &str = "Recheck";
/// Last line of the session stage: return processes that another module moved away to the scope.
pub const METHOD_TRACK: &str = "Track";
/// Option of [`METHOD_ENTER`].
pub const OPTION_TAGGED: &str = "tagged";
/// Option (b) of each method: the module's line lets the call pass whatever is answered. A jitd that does not know it
/// answers, and records, as if it were not there.
pub const OPTION_OBSERVE: &str = "observe";

/// The only outcome that allows the call. Every other text, known or not, is a denial.
pub const OUTCOME_ALLOWED: &str = "allowed";
/// The outcome of a denial.
pub const OUTCOME_DENIED: &str = "denied";

/// The number of lines of an answer that are shown.
pub const MAX_LINES: usize = 16;

/// The handshake that `pam_jit` sends before its call: nothing a D-Bus client sends here depends on the server's
/// answers (D-Bus specification, "Authentication Protocol"). uid 0, in hex, is the effective uid of every program that
/// asks.
pub const HANDSHAKE: &[u8] = b"\0AUTH EXTERNAL 30\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n";
/// The answer of a server that accepts the handshake, with zeros in place of its id.
pub const TAKEN: &[u8] = b"OK 00000000000000000000000000000000\r\nAGREE_UNIX_FD\r\n";
/// The position of the server's id in [`TAKEN`]: 32 hexadecimal digits.
pub const TAKEN_ID: std::ops::Range<usize> = 3..35;
/// Length of the fixed part of a D-Bus message.
pub const FIXED_HEADER: usize = 16;

/// The length of a D-Bus message that begins with these bytes, both ends being on one machine; `None` while there are
/// too few of them (D-Bus specification, "Message Format").
///
/// # Errors
/// When it is no message in this machine's byte order, or larger than `max`.
pub fn message_length(begin: &[u8], max: usize) -> Result<Option<usize>, &'static str> {
    let Some(header) = begin.get(..FIXED_HEADER) else { return Ok(None) };
    if header[0] != (if cfg!(target_endian = "little") { b'l' } else { b'B' }) {
        return Err("it is no message in this machine's byte order");
    }
    let number =
        |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize;
    let (body, fields) = (number(4), number(12));
    if body > max || fields > max {
        return Err("it is too large");
    }
    // The header fields are padded to 8.
    Ok(Some(FIXED_HEADER + fields.next_multiple_of(8) + body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(order: u8, body: u32, fields: u32) -> [u8; FIXED_HEADER] {
        let mut header = [0; FIXED_HEADER];
        header[0] = order;
        header[4..8].copy_from_slice(&body.to_ne_bytes());
        header[12..16].copy_from_slice(&fields.to_ne_bytes());
        header
    }

    #[test]
    fn a_messages_length_is_in_its_fixed_header() {
        let (own, other) = if cfg!(target_endian = "little") { (b'l', b'B') } else { (b'B', b'l') };
        assert_eq!(message_length(&header(own, 5, 9), 100), Ok(Some(16 + 16 + 5)));
        assert_eq!(message_length(&header(own, 5, 9)[..15], 100), Ok(None));
        assert!(message_length(&header(own, u32::MAX, 9), 100).is_err());
        assert!(message_length(&header(own, 5, u32::MAX), 100).is_err());
        assert!(message_length(&header(other, 5, 9), 100).is_err());
    }
}
