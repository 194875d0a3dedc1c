//! Whether the other end of a local datagram socket has read everything it was sent.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::host::sys::unread_bytes;

/// Who listened on a socket's path when it was connected to.
#[derive(Debug)]
pub(super) struct Receiver {
    path: PathBuf,
    bound: (u64, u64, i64, i64),
}

impl Receiver {
    /// Whoever listens there now; to be asked before connecting.
    ///
    /// # Errors
    /// When there is no such path.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), bound: bound(path)? })
    }

    /// Looks at the queue that the kernel keeps for the receiver. A receiver that ends takes what is in it along, without
    /// an error; so the queue counts as read only if its receiver is still there after it was seen empty.
    ///
    /// # Errors
    /// When the receiver has gone, and nobody knows what it has read.
    pub(super) fn has_read_all(&self, socket: &UnixDatagram) -> Result<bool, String> {
        if unread_bytes(socket).map_err(|error| error.to_string())? > 0 {
            return Ok(false);
        }
        let there = bound(&self.path).and_then(|bound| {
            UnixDatagram::unbound()?.connect(&self.path)?;
            Ok(bound)
        });
        match there {
            Ok(bound) if bound == self.bound => Ok(true),
            Ok(_) => Err(format!("{}: another one listens there now", self.path.display())),
            Err(error) => Err(format!("{}: {error}", self.path.display())),
        }
    }
}

/// What tells one socket file from the next one at the same place.
fn bound(path: &Path) -> io::Result<(u64, u64, i64, i64)> {
    let meta = fs::metadata(path)?;
    Ok((meta.dev(), meta.ino(), meta.ctime(), meta.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(path: &Path) -> (UnixDatagram, UnixDatagram, Receiver) {
        let receiving = UnixDatagram::bind(path).unwrap();
        let receiver = Receiver::at(path).unwrap();
        let sending = UnixDatagram::unbound().unwrap();
        sending.connect(path).unwrap();
        (sending, receiving, receiver)
    }

    #[test]
    fn what_was_sent_counts_as_read_when_it_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let (sending, receiving, receiver) = pair(&folder.path().join("log"));
        assert_eq!(receiver.has_read_all(&sending), Ok(true));
        sending.send(b"one").unwrap();
        assert_eq!(receiver.has_read_all(&sending), Ok(false));
        receiving.recv(&mut [0; 8]).unwrap();
        assert_eq!(receiver.has_read_all(&sending), Ok(true));
    }

    #[test]
    fn what_a_receiver_takes_with_it_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (sending, receiving, receiver) = pair(&path);
        sending.send(b"one").unwrap();
        drop(receiving);
        assert!(receiver.has_read_all(&sending).is_err(), "it has ended");
        fs::remove_file(&path).unwrap();
        assert!(receiver.has_read_all(&sending).is_err(), "its socket is gone");
        let _another = UnixDatagram::bind(&path).unwrap();
        assert!(receiver.has_read_all(&sending).is_err(), "another one listens");
    }
}
