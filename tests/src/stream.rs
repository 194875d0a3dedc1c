//! The output of a pipe, read by a thread of its own so that it can be awaited with a limit.

use std::io::Read;
use std::sync::mpsc::{Receiver, channel};

use crate::clock::Deadline;

/// One end of a pipe and its unread output.
#[derive(Debug)]
pub(crate) struct Stream {
    chunks: Receiver<Vec<u8>>,
    /// Not taken yet.
    pub(crate) bytes: Vec<u8>,
}

impl Stream {
    /// Begins to read.
    pub(crate) fn of(pipe: Option<impl Read + Send + 'static>) -> Self {
        let (sender, chunks) = channel();
        std::thread::spawn(move || {
            let Some(mut pipe) = pipe else { return };
            let mut chunk = [0; 4096];
            // An error ends the pipe; so does a receiver that has gone.
            while let Ok(length @ 1..) = pipe.read(&mut chunk) {
                if sender.send(chunk.get(..length).unwrap_or_default().to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { chunks, bytes: Vec::new() }
    }

    /// Waits for more; false at the end of the pipe and at the deadline.
    pub(crate) fn more(&mut self, deadline: Deadline) -> bool {
        let Some(left) = deadline.left() else { return false };
        match self.chunks.recv_timeout(left) {
            Ok(chunk) => {
                self.bytes.extend(chunk);
                true
            }
            Err(_) => false,
        }
    }

    /// Takes everything up to the end of a text that is already there.
    pub(crate) fn take_through(&mut self, text: &[u8]) -> Option<String> {
        let at = self.bytes.windows(text.len()).position(|window| window == text)?;
        let taken: Vec<u8> = self.bytes.drain(..at + text.len()).collect();
        Some(String::from_utf8_lossy(&taken).into_owned())
    }

    /// Takes everything.
    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.bytes)).into_owned()
    }
}
