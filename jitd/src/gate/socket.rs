//! The gate's own socket: one connection, one call, one answer.
//!
//! `pam_jit` sends its whole handshake and its call at once, and gets the answer at once: a sudo waits for three calls,
//! and needs no full D-Bus connection. Other clients are served by zbus.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd as StdFd;

use jit_proto::bus::names::{GATE_INTERFACE, OBJECT_PATH};
use jit_proto::pam_protocol::{
    HANDSHAKE, METHOD_ENTER, METHOD_RECHECK, METHOD_TRACK, TAKEN, TAKEN_ID, message_length,
};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recv, recvmsg};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio_stream::StreamExt;
use tracing::warn;
use zbus::message::Type;
use zbus::wire::NATIVE_ENDIAN;
use zbus::{Connection, Message, MessageStream, OwnedFd, OwnedGuid, OwnedVariant};

use super::silent::{ASK_WITHIN, Silent};
use super::{Answer, GateService, PamItems, denied, line_observes, tagged};
use crate::core::input::Stage;
use crate::host::sys;

/// The arguments of every method.
type Arguments = (OwnedFd, String, String, String, String, HashMap<String, OwnedVariant>);

/// The largest call, in bytes of its header fields and of its body.
const MAX_CALL_BYTES: usize = 16 * 1024;

/// Serves one caller.
pub(super) async fn talk(
    stream: UnixStream,
    service: &GateService,
    silent: &Silent,
    guid: &OwnedGuid,
) -> zbus::Result<()> {
    let peer = stream.peer_cred()?;
    let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
    let (0, Some(pid)) = (peer.uid(), pid) else {
        warn!("uid {} called the gate; only root may", peer.uid());
        return Ok(());
    };
    // Callers that have asked are not silent, however long it takes to read their questions.
    let asked = if has_begun(&stream)? {
        tokio::time::timeout(ASK_WITHIN, asked(stream, guid)).await.ok()
    } else {
        silent.begin(pid).until(asked(stream, guid)).await
    };
    match asked.transpose()? {
        Some(Asked::Module(stream, call)) => answer_module(stream, &call, service, pid, guid).await,
        Some(Asked::Other(other)) => {
            let (connection, messages, call) = *other;
            answer_other(connection, messages, call, service, pid).await
        }
        // It was silent for too long.
        None => Ok(()),
    }
}

/// Whether a part of the question has arrived, by the kernel: the runtime has not polled yet.
fn has_begun(stream: &UnixStream) -> io::Result<bool> {
    match recv(stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((come, _)) => Ok(come > 0),
        Err(Errno::AGAIN | Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A question and its client.
enum Asked {
    /// `pam_jit`: handshake and call at once.
    Module(UnixStream, Message),
    /// Another client of D-Bus.
    Other(Box<(Connection, MessageStream, Message)>),
}

/// Awaits the whole question.
async fn asked(stream: UnixStream, guid: &OwnedGuid) -> zbus::Result<Asked> {
    let mut begin = [0; HANDSHAKE.len() + 1];
    let come = loop {
        stream.readable().await?;
        let peek = || Ok(recv(&stream, &mut begin, RecvFlags::PEEK | RecvFlags::DONTWAIT)?.0);
        match stream.try_io(Interest::READABLE, peek) {
            // The runtime may wake up spuriously.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            come => break come?,
        }
    };
    // Other clients send the same handshake and await the answer before they call; `pam_jit`'s call has arrived
    // already.
    if come > HANDSHAKE.len() && begin.starts_with(HANDSHAKE) {
        let call = one_call(&stream).await?;
        Ok(Asked::Module(stream, call))
    } else {
        let builder = zbus::connection::Builder::unix_stream(stream.into_std()?).server(guid.clone()).p2p();
        // The call may arrive with the handshake, so the stream has to exist before anything is read.
        let mut messages = builder.build_message_stream().await?;
        let connection = Connection::from(&messages);
        loop {
            match messages.next().await {
                Some(Ok(message)) if message.message_type() == Type::MethodCall => {
                    return Ok(Asked::Other(Box::new((connection, messages, message))));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            }
        }
    }
}

/// Reads what `pam_jit` sends, to its end.
async fn one_call(stream: &UnixStream) -> zbus::Result<Message> {
    let mut come = Vec::with_capacity(1024);
    let mut passed = Vec::new();
    loop {
        let begun = come.get(HANDSHAKE.len()..).unwrap_or_default();
        let length = message_length(begun, MAX_CALL_BYTES).map_err(io::Error::other)?;
        if let Some(length) = length.filter(|length| begun.len() >= *length) {
            let bytes = begun[..length].to_vec();
            return sys::message(bytes, NATIVE_ENDIAN, passed);
        }
        stream.readable().await?;
        match stream.try_io(Interest::READABLE, || receive(stream, &mut come, &mut passed)) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Answers `pam_jit` once.
async fn answer_module(
    mut stream: UnixStream,
    call: &Message,
    service: &GateService,
    pid: u32,
    guid: &OwnedGuid,
) -> zbus::Result<()> {
    let reply = reply_to(call, service, pid).await?;
    let mut answer = TAKEN.to_vec();
    answer[TAKEN_ID].copy_from_slice(guid.as_str().as_bytes());
    answer.extend_from_slice(reply.data());
    Ok(stream.write_all(&answer).await?)
}

/// Answers another client until it disconnects.
async fn answer_other(
    connection: Connection,
    mut messages: MessageStream,
    first: Message,
    service: &GateService,
    pid: u32,
) -> zbus::Result<()> {
    connection.send(&reply_to(&first, service, pid).await?).await?;
    while let Some(Ok(message)) = messages.next().await {
        if message.message_type() == Type::MethodCall {
            connection.send(&reply_to(&message, service, pid).await?).await?;
        }
    }
    Ok(())
}

/// Reads what has arrived, with the one descriptor that may come with it.
pub(super) fn receive(stream: &UnixStream, come: &mut Vec<u8>, passed: &mut Vec<StdFd>) -> io::Result<usize> {
    let mut part = [0; 2048];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut attached = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [io::IoSliceMut::new(&mut part)];
    let received = recvmsg(stream, &mut parts, &mut attached, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)?;
    for message in attached.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            passed.extend(descriptors);
        }
    }
    if passed.len() > 1 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more than one descriptor"));
    }
    come.extend_from_slice(&part[..received.bytes]);
    Ok(received.bytes)
}

async fn reply_to(call: &Message, service: &GateService, pid: u32) -> zbus::Result<Message> {
    let header = call.header();
    let place = (header.path().map(|path| path.as_str()), header.interface().map(|name| name.as_str()));
    let known = call.message_type() == Type::MethodCall && place == (Some(OBJECT_PATH), Some(GATE_INTERFACE));
    let body = call.body();
    let arguments: zbus::Result<Arguments> = body.deserialize();
    let (process, pam_service, user, ruser, tty, options) = match arguments {
        Ok(arguments) if known => arguments,
        Ok(_) => return refusal(call, "UnknownMethod", "the gate has no such method"),
        Err(error) => return refusal(call, "InvalidArgs", &error.to_string()),
    };
    let stage = match header.member().map(|name| name.as_str()) {
        Some(METHOD_ENTER) => Stage::Enter { tagged: tagged(&options) },
        Some(METHOD_RECHECK) => Stage::Recheck,
        Some(METHOD_TRACK) => Stage::Track,
        _ => return refusal(call, "UnknownMethod", "the gate has no such method"),
    };
    let line_observes = line_observes(&options);
    let items = PamItems { service: pam_service, user, ruser, tty, line_observes };
    let answer: Answer = match items.too_long() {
        Some(line) => denied(vec![line]),
        None => service.query(stage, pid, process.into(), items).await,
    };
    Message::method_return(&header).build(&answer)
}

fn refusal(call: &Message, name: &str, text: &str) -> zbus::Result<Message> {
    let name = format!("org.freedesktop.DBus.Error.{name}");
    Message::error(&call.header(), name).build(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_come_already_is_no_silence() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut module, gate) = UnixStream::pair().unwrap();
            assert!(!has_begun(&gate).unwrap());
            module.write_all(HANDSHAKE).await.unwrap();
            assert!(has_begun(&gate).unwrap());
            let (module, gate) = UnixStream::pair().unwrap();
            drop(module);
            assert!(!has_begun(&gate).unwrap(), "it has hung up and asked nothing");
        });
    }
}
