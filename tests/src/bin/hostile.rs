//! Runs inside the hosts, and acts as attackers: a fake bus, a gate that answers garbage, a caller who is not root.
#![allow(clippy::print_stdout, reason = "what it prints is read by the stories")]

use std::collections::HashMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use jit_proto::bus::names::{BUS_NAME, GATE_INTERFACE, GATE_SOCKET, OBJECT_PATH, SYSTEM_BUS_ADDRESS};
use jit_tests::clock::rest;
use jit_tests::raw_bus;
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use zbus::connection::Builder;
use zbus::{Connection, Fd, Message, OwnedFd, Variant, fdo, interface};

const USAGE: &str = "usage: hostile bus SOCKET COUNT | gate HOW | enter socket|bus | orphan USER ROLE FILE | setcap FILE | setacl FILE UID | setdefaultacl FILE UID";

/// The last value of the gate's answer.
type More = HashMap<String, Variant<'static>>;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["bus", socket, count] => fake_bus(Path::new(socket), Path::new(count)),
        ["gate", how] => fake_gate(how),
        ["enter", way] => block_on(enter(way)),
        ["orphan", user, role, file] => grant_as_an_orphan(user, role, file),
        ["setcap", file] => set_capability(Path::new(file)),
        ["setacl", file, uid] => set_acl(Path::new(file), "system.posix_acl_access", uid.parse()?),
        ["setdefaultacl", file, uid] => set_acl(Path::new(file), "system.posix_acl_default", uid.parse()?),
        _ => bail!(USAGE),
    }
}

/// Gives a file CAP_SETUID: `vfs_cap_data` of linux/capability.h, revision 2, effective.
fn set_capability(file: &Path) -> Result<()> {
    let words: [u32; 5] = [0x0200_0001, 1 << 7, 0, 0, 0];
    let data: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    rustix::fs::setxattr(file, "security.capability", &data, rustix::fs::XattrFlags::empty())?;
    Ok(())
}

/// Gives a user read, write and search permission: `posix_acl_xattr_header` and its entries (linux/posix_acl_xattr.h).
fn set_acl(file: &Path, which: &str, uid: u32) -> Result<()> {
    let mut data = 2_u32.to_le_bytes().to_vec();
    for (tag, may, id) in
        [(1_u16, 7_u16, u32::MAX), (2, 7, uid), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 5, u32::MAX)]
    {
        data.extend(tag.to_le_bytes().into_iter().chain(may.to_le_bytes()).chain(id.to_le_bytes()));
    }
    rustix::fs::setxattr(file, which, &data, rustix::fs::XattrFlags::empty())?;
    Ok(())
}

/// Connects to the system bus and exits, and leaves the connection to a child that calls Grant when the process that
/// the bus knows has gone. The answer is written into a file.
fn grant_as_an_orphan(user: &str, role: &str, file: &str) -> Result<()> {
    let bus = raw_bus::log_in()?;
    // Its reader is cat, which waits as long as necessary.
    bus.set_read_timeout(None)?;
    let options: HashMap<&str, Variant<'_>> = HashMap::new();
    let grant = Message::method_call(OBJECT_PATH, "Grant")
        .destination(BUS_NAME)
        .interface("org.jitd.Jit1.Manager")
        .build(&(user, role, 600_u64, "nobody knows who asks for this", options))?;
    let (call, own) = (format!("{file}.call"), std::process::id());
    fs::write(&call, grant.data())?;
    let script = format!(
        "while kill -0 {own} 2>/dev/null; do :; done; cat {call} >&0; timeout 5 cat <&0 >{file}.part; mv {file}.part {file}"
    );
    std::process::Command::new("setsid")
        .args(["bash", "-c", &script])
        .stdin(std::os::fd::OwnedFd::from(bus))
        .spawn()?;
    Ok(())
}

/// A bus at `DBUS_SYSTEM_BUS_ADDRESS`. Writes a line for each connection; the stories expect none.
fn fake_bus(socket: &Path, count: &Path) -> Result<()> {
    let listener = UnixListener::bind(socket)?;
    fs::set_permissions(socket, Permissions::from_mode(0o777))?;
    let mut count = OpenOptions::new().create(true).append(true).open(count)?;
    loop {
        let (_stream, _) = listener.accept()?;
        writeln!(count, "a connection")?;
    }
}

/// Acts as jitd on the gate's socket, as root, with answers that jitd never gives.
fn fake_gate(how: &str) -> Result<()> {
    // Removed if jitd.socket was stopped cleanly; an old socket is in the way.
    let _ = fs::remove_file(GATE_SOCKET);
    if let Some(parent) = Path::new(GATE_SOCKET).parent() {
        fs::create_dir_all(parent)?;
    }
    let listener = UnixListener::bind(GATE_SOCKET)?;
    loop {
        let (stream, _) = listener.accept()?;
        let how = how.to_owned();
        std::thread::spawn(move || answer(stream, &how));
    }
}

/// Errors of one connection do not affect the next one.
fn answer(mut stream: UnixStream, how: &str) {
    let noise: Vec<u8> = (0..65_536_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let _ = match how {
        "hangup" => Ok(()),
        "silence" => stream.read_to_end(&mut Vec::new()).map(drop),
        "noise" => stream.write_all(&noise).and_then(|()| stream.read_to_end(&mut Vec::new()).map(drop)),
        // One byte at a time never lets a timeout of a single read expire.
        "drip" => noise.iter().try_for_each(|byte| {
            rest(Duration::from_millis(50));
            stream.write_all(&[*byte])
        }),
        "noise-after-login" => log_in(&mut stream).and_then(|()| {
            stream.write_all(&noise)?;
            stream.read_to_end(&mut Vec::new()).map(drop)
        }),
        "hangup-after-login" => log_in(&mut stream),
        _ => {
            let how = how.to_owned();
            let _ = block_on(speak_bus(stream, how));
            Ok(())
        }
    };
}

/// The server's half of the D-Bus handshake, accepting everything.
fn log_in(stream: &mut UnixStream) -> std::io::Result<()> {
    let mut seen = Vec::new();
    let mut byte = [0];
    let mut greeted = false;
    while stream.read(&mut byte)? == 1 {
        seen.push(byte[0]);
        let line = String::from_utf8_lossy(&seen).into_owned();
        if line.contains("AUTH EXTERNAL") && line.ends_with("\r\n") && !greeted {
            stream.write_all(b"OK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\n")?;
            greeted = true;
        }
        if line.ends_with("BEGIN\r\n") {
            return Ok(());
        }
    }
    Ok(())
}

async fn speak_bus(stream: UnixStream, how: String) -> Result<()> {
    let guid = zbus::Guid::generate();
    stream.set_nonblocking(true)?;
    let builder = Builder::unix_stream(stream).server(guid).p2p();
    let _connection = builder.serve_at(OBJECT_PATH, Gate { how }).build().await?;
    std::future::pending().await
}

/// A gate with the right name and wrong answers.
struct Gate {
    how: String,
}

#[interface(name = "org.jitd.Jit1.Gate")]
impl Gate {
    async fn enter(
        &self,
        _process: OwnedFd,
        _service: String,
        _user: String,
        _ruser: String,
        _tty: String,
        _options: HashMap<String, Variant<'_>>,
    ) -> fdo::Result<(String, Vec<String>, More)> {
        let escape = vec!["jit: \u{1b}[2Jcome in\u{7}".to_owned()];
        match self.how.as_str() {
            "maybe" => Ok(("maybe".to_owned(), escape, More::new())),
            "almost" => Ok(("allowed ".to_owned(), escape, More::new())),
            "flood" => Ok(("denied".to_owned(), vec!["jit: a line".to_owned(); 100_000], More::new())),
            "error" => Err(fdo::Error::Failed("come in".to_owned())),
            "never" => std::future::pending().await,
            other => Err(fdo::Error::Failed(format!("no such play: {other}"))),
        }
    }
}

/// Calls the gate as the present user, for this process, as `pam_jit` would.
async fn enter(way: &str) -> Result<()> {
    let (connection, destination): (Connection, _) = match way {
        "socket" => {
            let stream = UnixStream::connect(GATE_SOCKET).context("the gate's socket")?;
            stream.set_nonblocking(true)?;
            (Builder::unix_stream(stream).p2p().build().await.context("the gate's socket")?, None)
        }
        "bus" => (Builder::address(SYSTEM_BUS_ADDRESS).build().await?, Some(BUS_NAME)),
        _ => bail!(USAGE),
    };
    let process = pidfd_open(getpid(), PidfdFlags::empty())?;
    let options: HashMap<&str, Variant<'_>> = HashMap::new();
    let body = (Fd::from(process.as_fd()), "sudo", "root", "root", "", options);
    let reply =
        connection.call_method(destination, OBJECT_PATH, Some(GATE_INTERFACE), "Enter", &body).await?;
    let body = reply.body();
    let (outcome, text, _more): (String, Vec<String>, HashMap<String, zbus::OwnedVariant>) =
        body.deserialize()?;
    println!("{outcome} {text:?}");
    Ok(())
}

fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}
