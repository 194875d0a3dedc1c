//! The terminal that a process runs at.

use super::slurp;

/// Major numbers of the terminals behind ssh and in windows (Linux, Documentation/admin-guide/devices.txt: "Unix98 PTY slaves").
const PTS: std::ops::RangeInclusive<u64> = 136..=143;
/// The major number of virtual consoles and serial lines `ttyS` (the same file).
const TTY: u64 = 4;

/// The controlling terminal of a process, as PAM_TTY would name it (proc_pid_stat(5), field 7); `None` where it has none, or
/// one of another kind.
#[must_use]
pub fn terminal_of(pid: u32) -> Option<String> {
    let stat = slurp(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; what follows the last one is fields 3 and on.
    let (_, rest) = stat.rsplit_once(')')?;
    name(rest.split_whitespace().nth(4)?.parse().ok()?)
}

/// The device of this number: bits 31 to 20 and 7 to 0 are the minor number, bits 15 to 8 the major (the same page).
fn name(device: u64) -> Option<String> {
    let (major, minor) = ((device >> 8) & 0xff, (device & 0xff) | ((device >> 12) & 0xf_ff00));
    match major {
        major if PTS.contains(&major) => Some(format!("/dev/pts/{}", (major - PTS.start()) * 256 + minor)),
        TTY if minor < 64 => Some(format!("/dev/tty{minor}")),
        TTY => Some(format!("/dev/ttyS{}", minor - 64)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_number_is_a_terminals() {
        assert_eq!(name(0), None);
        assert_eq!(name(136 << 8), Some("/dev/pts/0".to_owned()));
        assert_eq!(name((136 << 8) | 7), Some("/dev/pts/7".to_owned()));
        assert_eq!(name((137 << 8) | 1), Some("/dev/pts/257".to_owned()));
        assert_eq!(name((4 << 8) | 1), Some("/dev/tty1".to_owned()));
        assert_eq!(name((4 << 8) | 64), Some("/dev/ttyS0".to_owned()));
        assert_eq!(name(5 << 8), None);
    }
}
