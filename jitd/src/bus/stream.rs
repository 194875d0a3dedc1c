//! A D-Bus socket that admits messages one by one: zbus starts a task for every call that it reads, so a call above a
//! limit must not reach it.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tracing::debug;
use zbus::Message;
use zbus::connection::Socket;
use zbus::connection::socket::{ReadHalf, Split, WriteHalf};
use zbus::export::async_trait::async_trait;
use zbus::fdo::ConnectionCredentials;
use zbus::wire::Endian;

use super::end::{End, Peer};
use super::intake::{Intake, TooLarge};
use crate::host::sys;

/// The fixed part of a message's header, in bytes (D-Bus Specification, "Message Format").
const HEADER: usize = 16;
/// The largest call, in bytes: a few texts of at most 8 KiB each.
const MAX_CALL: usize = 64 * 1024;
/// The largest answer to jitd's own calls, in bytes, such as lists of logins.
const MAX_ANSWER: usize = 1024 * 1024;
/// The largest header, in bytes: names are at most 255 bytes, and jitd's path is short.
const MAX_FIELDS: usize = 8 * 1024;
/// Messages without a pause before other tasks of the thread run.
const IN_A_ROW: u32 = 8;

/// The socket.
#[derive(Debug)]
pub(super) struct LimitedSocket {
    stream: UnixStream,
    intake: Arc<Intake>,
    /// The peer, if it is not the bus.
    peer: Option<Peer>,
    /// A pidfd of the peer, so that another process with its pid is not taken for it.
    pidfd: Option<Arc<OwnedFd>>,
    max: usize,
}

impl LimitedSocket {
    pub(super) fn new(stream: UnixStream, intake: Arc<Intake>, end: End, pidfd: Option<OwnedFd>) -> Self {
        let pidfd = pidfd.map(Arc::new);
        let (peer, max) = match end {
            End::Peer(peer) => (Some(peer), MAX_CALL),
            End::Bus => (None, MAX_CALL),
            // Lists of PID 1 and logind are longer, and only the bus sends here.
            End::BusForCalls => (None, MAX_ANSWER),
        };
        Self { stream, intake, peer, pidfd, max }
    }
}

impl Socket for LimitedSocket {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> Split<Reader, Writer> {
        let Self { stream, intake, peer, pidfd, max } = self;
        let (read, write) = stream.into_split();
        let reader = Reader {
            stream: read,
            intake: Arc::clone(&intake),
            peer,
            pidfd: pidfd.clone(),
            max,
            part: Vec::new(),
            passed: Vec::new(),
            early: VecDeque::new(),
            skip: 0,
            in_a_row: 0,
        };
        Split::new(reader, Writer { stream: write, intake, peer, pidfd })
    }
}

/// The receiving half.
#[derive(Debug)]
pub(super) struct Reader {
    stream: OwnedReadHalf,
    intake: Arc<Intake>,
    peer: Option<Peer>,
    pidfd: Option<Arc<OwnedFd>>,
    /// The largest message, in bytes.
    max: usize,
    /// The received part of the next message.
    part: Vec<u8>,
    /// The descriptors that were passed with it.
    passed: Vec<OwnedFd>,
    /// Bytes that were received with the end of the handshake.
    early: VecDeque<u8>,
    /// The remaining bytes of a message that is too large.
    skip: usize,
    in_a_row: u32,
}

impl Reader {
    /// Reads one message; `None` if it was not admitted. Cancel safe.
    async fn one(&mut self) -> io::Result<Option<Message>> {
        while self.skip > 0 {
            let mut nowhere = [0; 16 * 1024];
            let room = self.skip.min(nowhere.len());
            self.skip -= self.some(&mut nowhere[..room]).await?;
            self.passed.clear();
        }
        self.fill(HEADER).await?;
        let sizes = Sizes::of(&self.part)?;
        if sizes.fields > MAX_FIELDS {
            return Ok(self.leave_out(sizes.whole()));
        }
        if sizes.whole() > self.max {
            self.fill(sizes.header()).await?;
            // The header has the sender for the refusal.
            let header = std::mem::take(&mut self.part);
            self.skip = sizes.whole() - sizes.header();
            self.passed.clear();
            self.intake.too_large(TooLarge { header, length: sizes.whole() });
            return Ok(None);
        }
        self.fill(sizes.whole()).await?;
        let bytes = std::mem::take(&mut self.part);
        let passed = std::mem::take(&mut self.passed);
        match sys::message(bytes, sizes.endian, passed) {
            Ok(message) => Ok(Some(message)),
            // The specification has unknown header fields ignored, which zbus does not; no client of jitd sends any.
            Err(problem) => {
                debug!("a message was dropped: {problem}");
                Ok(None)
            }
        }
    }

    fn leave_out(&mut self, length: usize) -> Option<Message> {
        self.skip = length.saturating_sub(self.part.len());
        self.part.clear();
        self.passed.clear();
        None
    }

    /// Reads until this much of the message is there.
    async fn fill(&mut self, length: usize) -> io::Result<()> {
        while self.part.len() < length {
            let mut piece = [0; 16 * 1024];
            let room = (length - self.part.len()).min(piece.len());
            let come = self.some(&mut piece[..room]).await?;
            self.part.extend_from_slice(&piece[..come]);
        }
        Ok(())
    }

    /// Reads some bytes, never beyond the buffer, so that passed descriptors belong to the present message.
    async fn some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.early.is_empty() {
            let come = self.early.len().min(buffer.len());
            for (place, byte) in buffer.iter_mut().zip(self.early.drain(..come)) {
                *place = byte;
            }
            return Ok(come);
        }
        let (come, passed) = receive(&self.stream, buffer).await?;
        if come == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer has closed the connection"));
        }
        self.passed.extend(passed);
        Ok(come)
    }
}

/// The lengths of the parts of a message (D-Bus Specification, "Message Format").
#[derive(Debug, Clone, Copy)]
struct Sizes {
    endian: Endian,
    fields: usize,
    body: usize,
}

impl Sizes {
    fn of(header: &[u8]) -> io::Result<Self> {
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "no D-Bus message");
        let number = |at: usize| -> io::Result<[u8; 4]> {
            header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).ok_or_else(broken)
        };
        let (endian, read): (_, fn([u8; 4]) -> u32) = match header.first() {
            Some(b'l') => (Endian::Little, u32::from_le_bytes),
            Some(b'B') => (Endian::Big, u32::from_be_bytes),
            _ => return Err(broken()),
        };
        let length = |at| Ok::<_, io::Error>(read(number(at)?) as usize);
        Ok(Self { endian, fields: length(12)?, body: length(4)? })
    }

    /// With the padding before the body.
    fn header(self) -> usize {
        (HEADER + self.fields).next_multiple_of(8)
    }

    fn whole(self) -> usize {
        self.header() + self.body
    }
}

#[async_trait]
impl ReadHalf for Reader {
    async fn receive_message(
        &mut self,
        _seq: u64,
        early: &mut Vec<u8>,
        early_passed: &mut Vec<OwnedFd>,
    ) -> zbus::Result<Message> {
        self.early.extend(early.drain(..));
        self.passed.append(early_passed);
        let intake = Arc::clone(&self.intake);
        loop {
            self.in_a_row += 1;
            if self.in_a_row >= IN_A_ROW {
                self.in_a_row = 0;
                tokio::task::yield_now().await;
            }
            if let Some(ready) = intake.take_ready() {
                return Ok(ready);
            }
            let come = tokio::select! {
                biased;
                () = intake.woken() => continue,
                come = self.one() => come?,
            };
            if let Some(ready) = come.and_then(|message| intake.sort(message)) {
                return Ok(ready);
            }
        }
    }

    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        receive(&self.stream, buffer).await
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }

    async fn peer_credentials(&mut self) -> io::Result<ConnectionCredentials> {
        credentials(self.peer, self.pidfd.as_deref())
    }
}

async fn receive(stream: &OwnedReadHalf, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let stream: &UnixStream = stream.as_ref();
    loop {
        stream.readable().await?;
        let read = || {
            // The most that the kernel lets a message pass (SCM_MAX_FD); unexpected ones are closed.
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
            let mut attached = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [io::IoSliceMut::new(buffer)];
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            let received = recvmsg(stream, &mut parts, &mut attached, flags)?;
            let mut passed = Vec::new();
            for message in attached.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    passed.extend(descriptors);
                }
            }
            Ok((received.bytes, passed))
        };
        match stream.try_io(Interest::READABLE, read) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            come => return come,
        }
    }
}

fn credentials(peer: Option<Peer>, pidfd: Option<&OwnedFd>) -> io::Result<ConnectionCredentials> {
    let known = ConnectionCredentials::default();
    let known = match peer {
        Some(Peer { uid, pid }) => known.set_unix_user_id(uid).set_process_id(pid),
        None => known,
    };
    Ok(match pidfd {
        Some(pidfd) => known.set_process_fd(zbus::OwnedFd::from(pidfd.try_clone()?)),
        None => known,
    })
}

/// The sending half.
#[derive(Debug)]
pub(super) struct Writer {
    stream: OwnedWriteHalf,
    intake: Arc<Intake>,
    peer: Option<Peer>,
    pidfd: Option<Arc<OwnedFd>>,
}

impl Writer {
    /// Sends a message with its descriptors: a unit that PID 1 starts for jitd gets its input by one.
    async fn send_all(&self, message: &Message) -> io::Result<()> {
        let data = message.data();
        let mut passed: Vec<BorrowedFd<'_>> = data.fds().iter().map(AsFd::as_fd).collect();
        let mut sent = 0;
        while sent < data.len() {
            sent += send(&self.stream, &data[sent..], &passed).await?;
            // The descriptors are sent with the first byte.
            passed.clear();
        }
        Ok(())
    }
}

/// Sends as much as the socket takes, with descriptors (unix(7), SCM_RIGHTS).
async fn send(stream: &OwnedWriteHalf, buffer: &[u8], passed: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let stream: &UnixStream = stream.as_ref();
    loop {
        stream.writable().await?;
        let write = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
            let mut attached = SendAncillaryBuffer::new(&mut space);
            if !passed.is_empty() && !attached.push(SendAncillaryMessage::ScmRights(passed)) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "too many descriptors in one message",
                ));
            }
            Ok(sendmsg(stream, &[io::IoSlice::new(buffer)], &mut attached, SendFlags::NOSIGNAL)?)
        };
        match stream.try_io(Interest::WRITABLE, write) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            sent => return sent,
        }
    }
}

#[async_trait]
impl WriteHalf for Writer {
    async fn send_message(&mut self, message: &Message) -> zbus::Result<()> {
        let sent = self.send_all(message).await;
        // Whether it was sent or not, the call is finished.
        self.intake.answered(message);
        Ok(sent?)
    }

    async fn sendmsg(&mut self, buffer: &[u8], passed: &[BorrowedFd<'_>]) -> io::Result<usize> {
        send(&self.stream, buffer, passed).await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }

    async fn peer_credentials(&mut self) -> io::Result<ConnectionCredentials> {
        credentials(self.peer, self.pidfd.as_deref())
    }
}
