//! Runs inside the hosts, and acts as users who cause as much work as they can: floods of calls, silence, half
//! messages.
//!
//! `flood NAME SECONDS` runs one flood of the table below and prints how much was sent. `flood silent COUNT SECONDS`
//! holds this many silent connections to the gate; it is started as root with another real uid, as sudo is.
#![allow(clippy::print_stdout, reason = "what it prints is read by the stories")]

use std::collections::HashMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use jit_proto::bus::names::{AUDIT_INTERFACE, BUS_NAME, GATE_SOCKET, MANAGER_INTERFACE, OBJECT_PATH};
use jit_tests::clock::{Deadline, rest};
use jit_tests::floods::{Flood, How};
use jit_tests::raw_bus::{connect, log_in};
use rustix::process::{Pid, Signal, kill_process};
use zbus::message::Flags;
use zbus::{Message, Variant};

/// Connections of each flood of calls.
const CONNECTIONS: usize = 24;
/// Concurrent sudo processes of a flood.
const SUDOS: usize = 64;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["silent", count, seconds] => silent(count.parse()?, deadline(seconds)?),
        [name, seconds] => {
            let flood = Flood::named(name).with_context(|| format!("there is no flood {name}"))?;
            let sent = run(flood, deadline(seconds)?)?;
            println!("{name}: {sent} sent");
            Ok(())
        }
        _ => bail!("usage: flood NAME SECONDS | flood silent COUNT SECONDS"),
    }
}

fn deadline(seconds: &str) -> Result<Deadline> {
    Ok(Deadline::after(Duration::from_secs_f64(seconds.parse()?)))
}

fn run(flood: Flood, until: Deadline) -> Result<u64> {
    let one: fn(Flood, Deadline) -> Result<u64> = match flood.how {
        How::NoReply | How::Unread | How::Answered | How::Churn | How::Malformed => calls,
        How::Held => return held(flood, until),
        How::Half => half,
        How::Signals => signals,
        How::Syslog => syslog,
        How::StoppedSudos => return stopped_sudos(until),
        How::Sudos => return sudos(until),
    };
    let threads: Vec<_> =
        (0..CONNECTIONS).map(|_| thread::spawn(move || one(flood, until).unwrap_or(0))).collect();
    Ok(threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum())
}

/// One connection after the other, each sending until it is closed.
fn calls(flood: Flood, until: Deadline) -> Result<u64> {
    let call = call(flood)?;
    let mut sent = 0;
    while until.left().is_some() {
        let Ok(bus) = log_in() else {
            rest(Duration::from_millis(1));
            continue;
        };
        sent += match flood.how {
            How::Answered => answered(bus, &call, until),
            How::Churn => once(bus, &call),
            _ => unread(bus, &call, until),
        };
    }
    Ok(sent)
}

/// Sends and reads nothing.
fn unread(mut bus: UnixStream, call: &[u8], until: Deadline) -> u64 {
    let mut sent = 0;
    let _ = bus.set_write_timeout(Some(Duration::from_millis(200)));
    while until.left().is_some() {
        if !write_whole(&mut bus, &numbered(call, sent), until) {
            break;
        }
        sent += 1;
    }
    sent
}

/// Writes a message piece by piece; false where it was not written before the flood's end. The bus takes a long message a
/// little at a time, so that no single write takes too long and all of them together do.
fn write_whole(bus: &mut UnixStream, message: &[u8], until: Deadline) -> bool {
    message.chunks(64 * 1024).all(|piece| until.left().is_some() && bus.write_all(piece).is_ok())
}

/// Keeps 32 calls on the way and reads what comes.
fn answered(mut bus: UnixStream, call: &[u8], until: Deadline) -> u64 {
    let mut sent = 0;
    let mut come = vec![0; 256 * 1024];
    let _ = bus.set_read_timeout(Some(Duration::from_millis(50)));
    while until.left().is_some() {
        for _ in 0..32 {
            if bus.write_all(&numbered(call, sent)).is_err() {
                return sent;
            }
            sent += 1;
        }
        match bus.read(&mut come) {
            Ok(0) => return sent,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return sent,
        }
    }
    sent
}

fn once(mut bus: UnixStream, call: &[u8]) -> u64 {
    u64::from(bus.write_all(&numbered(call, 0)).is_ok())
}

/// As many connections as the bus lets one user have, each with one call.
fn held(flood: Flood, until: Deadline) -> Result<u64> {
    let call = call(flood)?;
    let mut held = Vec::new();
    while until.left().is_some() {
        match log_in() {
            Ok(mut bus) => {
                let _ = bus.write_all(&numbered(&call, 0));
                held.push(bus);
            }
            Err(_) => rest(Duration::from_millis(20)),
        }
    }
    Ok(held.len() as u64)
}

/// Half a handshake, half a message, over and over.
fn half(flood: Flood, until: Deadline) -> Result<u64> {
    let call = call(flood)?;
    let mut open = std::collections::VecDeque::new();
    let mut sent = 0;
    while until.left().is_some() {
        let bus = if sent % 2 == 0 { connect() } else { log_in() };
        let Ok(mut bus) = bus else {
            open.clear();
            continue;
        };
        let part = if sent % 2 == 0 { b"\0AUTH EXT".to_vec() } else { call[..call.len() / 2].to_vec() };
        let _ = bus.write_all(&part);
        open.push_back(bus);
        if open.len() > 8 {
            open.pop_front();
        }
        sent += 1;
    }
    Ok(sent)
}

/// Signals of logind, sent to each connection by its number.
fn signals(flood: Flood, until: Deadline) -> Result<u64> {
    let long = "x".repeat(flood.size);
    let mut sent = 0;
    while until.left().is_some() {
        let Ok(mut bus) = log_in() else { continue };
        let _ = bus.set_write_timeout(Some(Duration::from_millis(500)));
        'connection: while until.left().is_some() {
            for number in 0..40 {
                let to = format!(":1.{number}");
                let signal = Message::signal(
                    "/org/freedesktop/login1",
                    "org.freedesktop.login1.Manager",
                    flood.method,
                )
                .destination(to.as_str())
                .build(&("1", zbus::ObjectPath::try_from("/a")?, long.as_str()))?;
                if !write_whole(&mut bus, signal.data(), until) {
                    break 'connection;
                }
                sent += 1;
            }
        }
    }
    Ok(sent)
}

fn syslog(_: Flood, until: Deadline) -> Result<u64> {
    let socket = UnixDatagram::unbound()?;
    let line = format!("<85>1 - - jitd 1 access.denied - {}", "x".repeat(900));
    let mut sent = 0;
    while until.left().is_some() {
        sent += u64::from(socket.send_to(line.as_bytes(), "/dev/log").is_ok());
    }
    Ok(sent)
}

/// Starts sudos and stops each when it has begun its audit session; those that live are held.
fn stopped_sudos(until: Deadline) -> Result<u64> {
    let mut stopped = Vec::new();
    let mut tried = 0;
    while until.left().is_some() && stopped.len() < 400 {
        let mut sudo = Command::new("sudo")
            .args(["-n", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        tried += 1;
        let pid = sudo.id();
        let session = || fs::read_to_string(format!("/proc/{pid}/sessionid")).unwrap_or_default();
        let before = session();
        while session() == before && sudo.try_wait()?.is_none() {
            std::hint::spin_loop();
        }
        if let Some(pid) = Pid::from_raw(i32::try_from(pid)?) {
            let _ = kill_process(pid, Signal::STOP);
        }
        stopped.push(sudo);
    }
    for sudo in &mut stopped {
        let _ = sudo.kill();
        let _ = sudo.wait();
    }
    Ok(tried)
}

fn sudos(until: Deadline) -> Result<u64> {
    let mut sent = 0;
    let mut running: Vec<std::process::Child> = Vec::new();
    while until.left().is_some() {
        running.retain_mut(|sudo| matches!(sudo.try_wait(), Ok(None)));
        if running.len() >= SUDOS {
            rest(Duration::from_millis(1));
            continue;
        }
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        running.extend(sudo.spawn());
        sent += 1;
    }
    for mut sudo in running {
        let _ = sudo.wait();
    }
    Ok(sent)
}

/// Silent connections to the gate; closed ones are opened again.
fn silent(count: usize, until: Deadline) -> Result<()> {
    let mut held: Vec<UnixStream> = Vec::new();
    let mut opened = 0_u64;
    while until.left().is_some() {
        held.retain(|stream| {
            let mut nothing = [0];
            // A closed connection reads as its end; an open one has nothing to read.
            !matches!((&*stream).read(&mut nothing), Ok(0))
        });
        // A sudo whose connection was closed does not call again; a user can start only this many new ones in this
        // time.
        for _ in 0..(count - held.len()).min(if opened < count as u64 { count } else { 8 }) {
            let stream = match UnixStream::connect(GATE_SOCKET) {
                Ok(stream) => stream,
                Err(_) => break,
            };
            stream.set_nonblocking(true)?;
            held.push(stream);
            opened += 1;
        }
        rest(Duration::from_millis(20));
    }
    println!("silent: {opened} opened");
    Ok(())
}

/// The call of a flood, with a number that changes.
fn call(flood: Flood) -> Result<Vec<u8>> {
    let nothing: HashMap<&str, Variant<'_>> = HashMap::new();
    let long = "x".repeat(flood.size);
    let to = |interface: &'static str, member: &'static str| {
        let call = Message::method_call(OBJECT_PATH, member).destination(BUS_NAME).interface(interface);
        if flood.how == How::NoReply { call.with_flags(Flags::NO_REPLY_EXPECTED) } else { call }
    };
    if flood.how == How::Malformed {
        return with_unknown_field(&to(MANAGER_INTERFACE, flood.method).build(&1_u64)?);
    }
    let call = match flood.method {
        "Show" => to(MANAGER_INTERFACE, "Show").build(&1_u64),
        "Request" => to(MANAGER_INTERFACE, "Request").build(&("ops", 0_u64, long.as_str(), "", nothing)),
        "Revoke" => to(MANAGER_INTERFACE, "Revoke").build(&(1_u64, "a reason that is long enough", nothing)),
        "RevokeUser" => {
            to(MANAGER_INTERFACE, "RevokeUser").build(&("root", "a reason that is long enough", nothing))
        }
        "Search" => to(AUDIT_INTERFACE, "Search").build(&(nothing, 0_u64, 1000_u64)),
        "Read" => to(AUDIT_INTERFACE, "Read").build(&(0_u64, 1000_u64)),
        "GetAll" => to("org.freedesktop.DBus.Properties", "GetAll").build(&AUDIT_INTERFACE),
        "Introspect" => to("org.freedesktop.DBus.Introspectable", "Introspect").build(&()),
        "Ping" => to("org.freedesktop.DBus.Peer", "Ping").build(&()),
        other => to(MANAGER_INTERFACE, other).build(&()),
    };
    Ok(call?.data().to_vec())
}

/// The message with an additional header field of an unknown code.
fn with_unknown_field(call: &Message) -> Result<Vec<u8>> {
    let bytes = call.data();
    let fields = u32::from_ne_bytes(bytes[12..16].try_into()?) as usize;
    let mut header = bytes[..16 + fields].to_vec();
    header.resize(header.len().next_multiple_of(8), 0);
    header.extend_from_slice(&[77, 1, b'u', 0, 1, 0, 0, 0]);
    let length = u32::try_from(header.len() - 16)?;
    header[12..16].copy_from_slice(&length.to_ne_bytes());
    header.resize(header.len().next_multiple_of(8), 0);
    header.extend_from_slice(&bytes[(16 + fields).next_multiple_of(8)..]);
    Ok(header)
}

/// The same message with another serial (D-Bus Specification, "Message Format": the third word).
fn numbered(call: &[u8], n: u64) -> Vec<u8> {
    let mut bytes = call.to_vec();
    let serial = u32::try_from(n % 1_000_000).unwrap_or(0) + 10;
    bytes[8..12].copy_from_slice(&serial.to_ne_bytes());
    bytes
}
