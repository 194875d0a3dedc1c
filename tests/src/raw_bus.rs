//! The system bus without a library, for programs in a host that write their own messages and do not read the answers.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_proto::bus::names::SYSTEM_BUS_ADDRESS;
use zbus::Message;

/// A connection to the bus before its handshake.
///
/// # Errors
/// When there is no bus.
pub fn connect() -> Result<UnixStream> {
    let path = SYSTEM_BUS_ADDRESS.strip_prefix("unix:path=").context("an address of another kind")?;
    UnixStream::connect(path).with_context(|| format!("cannot connect to {path}"))
}

/// A connection to the bus after Hello.
///
/// # Errors
/// When the bus refuses the connection.
pub fn log_in() -> Result<UnixStream> {
    let mut bus = connect()?;
    bus.set_read_timeout(Some(Duration::from_secs(2)))?;
    let uid: String =
        rustix::process::getuid().as_raw().to_string().bytes().map(|b| format!("{b:02x}")).collect();
    write!(bus, "\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n")?;
    let hello = Message::method_call("/org/freedesktop/DBus", "Hello")
        .destination("org.freedesktop.DBus")
        .interface("org.freedesktop.DBus")
        .build(&())?;
    bus.write_all(hello.data())?;
    let mut come = [0; 4096];
    // The bus has answered both.
    ensure!(bus.read(&mut come)? > 0 && come.starts_with(b"OK"), "the bus does not take the handshake");
    Ok(bus)
}
