//! Finds out whether the other end of a local datagram socket has read everything that was sent to it.

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

/// The process that listened on a socket's path when jitd connected to it, told by the socket file that it had bound.
#[derive(Debug)]
pub(super) struct Receiver {
    path: PathBuf,
    bound: (u64, u64, i64, i64),
}

impl Receiver {
    /// The process that listens there now. To be called before connecting.
    ///
    /// # Errors
    /// When there is no such path.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), bound: bound(path)? })
    }

    /// Whether the kernel's queue for the receiver is empty. The kernel drops the queue of a receiver that ends,
    /// without an error to the sender; so an empty queue counts as read only if the receiver is still there after that.
    ///
    /// # Errors
    /// When the receiver has gone: what it has read is unknown.
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

/// Tells one socket file from the next one at the same path.
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
