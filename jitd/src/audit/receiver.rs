//! Whether the other end of a local datagram socket has read everything it was sent.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::host::sys::unread_bytes;

/// Why it is not known what a receiver has read.
#[derive(Debug, Error)]
pub(super) enum ReceiverError {
    /// The kernel does not say what is in the queue.
    #[error("{0}")]
    Queue(#[source] io::Error),
    /// Nobody listens on the path any more.
    #[error("{}: {error}", path.display())]
    Gone {
        /// The socket's path.
        path: PathBuf,
        /// What looking at it or connecting to it failed with.
        #[source]
        error: io::Error,
    },
    /// Another process has bound the path since.
    #[error("{}: another one listens there now", .0.display())]
    Replaced(PathBuf),
}

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
    pub(super) fn has_read_all(&self, socket: &UnixDatagram) -> Result<bool, ReceiverError> {
        if unread_bytes(socket).map_err(ReceiverError::Queue)? > 0 {
            return Ok(false);
        }
        let there = bound(&self.path).and_then(|bound| {
            UnixDatagram::unbound()?.connect(&self.path)?;
            Ok(bound)
        });
        match there {
            Ok(bound) if bound == self.bound => Ok(true),
            Ok(_) => Err(ReceiverError::Replaced(self.path.clone())),
            Err(error) => Err(ReceiverError::Gone { path: self.path.clone(), error }),
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
        assert!(receiver.has_read_all(&sending).unwrap());
        sending.send(b"one").unwrap();
        assert!(!receiver.has_read_all(&sending).unwrap());
        receiving.recv(&mut [0; 8]).unwrap();
        assert!(receiver.has_read_all(&sending).unwrap());
    }

    #[test]
    fn what_a_receiver_takes_with_it_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (sending, receiving, receiver) = pair(&path);
        sending.send(b"one").unwrap();
        drop(receiving);
        let at = path.display();
        let error = || receiver.has_read_all(&sending).unwrap_err().to_string();
        assert_eq!(error(), format!("{at}: Connection refused (os error 111)"), "it has ended");
        fs::remove_file(&path).unwrap();
        assert_eq!(error(), format!("{at}: No such file or directory (os error 2)"), "its socket is gone");
        let _another = UnixDatagram::bind(&path).unwrap();
        assert_eq!(error(), format!("{at}: another one listens there now"));
    }
}
