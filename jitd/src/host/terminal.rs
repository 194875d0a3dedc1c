//! Writes messages to terminals.

use std::fs::{Metadata, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use jit_proto::escape::Escaped;
use jit_proto::identity::UserId;
use nix::fcntl::OFlag;
use tracing::debug;

/// The device of a PAM_TTY, with or without `/dev/`; `None` if it names none.
#[must_use]
pub(crate) fn path(tty: &str) -> Option<PathBuf> {
    let name = Path::new(tty.strip_prefix("/dev/").unwrap_or(tty));
    let plain = name.components().all(|part| matches!(part, Component::Normal(_)));
    (!tty.is_empty() && plain).then(|| Path::new("/dev").join(name))
}

/// Writes lines to a terminal, if it is one and belongs to this person. Errors are ignored: the audit log and the bus
/// have the message as well.
pub(crate) fn tell(holder: UserId, tty: &str, lines: &[String]) {
    if let Err(error) = write(holder, tty, lines, |_| true) {
        debug!("nothing was written to terminal {}: {error}", Escaped(tty));
    }
}

/// Writes lines if the owner also accepts messages from others (mesg(1)).
pub(crate) fn tell_if_open(holder: UserId, tty: &str, lines: &[String]) {
    if let Err(error) = write(holder, tty, lines, is_open) {
        debug!("nothing was written to terminal {}: {error}", Escaped(tty));
    }
}

/// Whether a terminal accepts messages from others: its group-write bit is set (mesg(1)).
pub(crate) fn is_open(meta: &Metadata) -> bool {
    meta.file_type().is_char_device() && meta.mode() & 0o020 != 0
}

fn write(
    holder: UserId,
    tty: &str,
    lines: &[String],
    may: impl FnOnce(&Metadata) -> bool,
) -> std::io::Result<()> {
    let path = path(tty).ok_or_else(|| std::io::Error::other("it is no terminal's name"))?;
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let mut file = OpenOptions::new().write(true).custom_flags(flags.bits()).open(&path)?;
    let meta = file.metadata()?;
    // The terminal may belong to another person by now.
    if !meta.file_type().is_char_device() || meta.uid() != holder.0 {
        return Err(std::io::Error::other("it belongs to another user, or is no terminal"));
    }
    if !may(&meta) {
        return Err(std::io::Error::other("its owner accepts no messages (mesg(1))"));
    }
    let text: String = lines.iter().map(|line| format!("\r\n{}", Escaped(line))).collect();
    file.write_all(format!("{text}\r\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminals_name_stays_below_dev() {
        assert_eq!(path("/dev/pts/3"), Some(PathBuf::from("/dev/pts/3")));
        assert_eq!(path("pts/3"), Some(PathBuf::from("/dev/pts/3")));
        for bad in ["", "/etc/passwd", "../etc/passwd", "/dev/../etc/passwd", "pts/../../etc/passwd"] {
            assert!(path(bad).is_none_or(|path| path.starts_with("/dev/etc")), "{bad}");
        }
    }
}
