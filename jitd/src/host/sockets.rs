//! Takes the listening sockets that PID 1 holds for jitd (sd_listen_fds(3)), by the names in their units
//! (systemd.socket(5), `FileDescriptorName=`).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use super::sys;

/// The names in jitd.socket, jitd-operator.socket and jitd-polkit.socket.
const GATE: &str = "gate";
const OPERATORS: &str = "operators";
const POLKIT: &str = "polkit";
/// The name of the gate's socket in an older unit, which set none.
const OLD_GATE: &str = "jitd.socket";

/// The listening sockets.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// The gate's socket.
    pub(crate) gate: UnixListener,
    /// The operators' socket; `None` if its unit is not active.
    pub(crate) operators: Option<UnixListener>,
    /// That of polkit's rule; none where its unit does not run, as after an installation.
    pub(crate) polkit: Option<UnixListener>,
}

/// The sockets that PID 1 passed to this process.
///
/// # Errors
/// When jitd was not started by its socket units, or was passed something else.
pub(crate) fn handed() -> io::Result<Sockets> {
    let (mut gate, mut operators, mut polkit) = (None, None, None);
    for (descriptor, name) in sys::passed_by_pid_1()? {
        let place = match name.as_str() {
            GATE | OLD_GATE => &mut gate,
            OPERATORS => &mut operators,
            POLKIT => &mut polkit,
            _ => return Err(invalid(format!("a socket that is called {name:?} was handed over"))),
        };
        if place.replace(listener(descriptor)?).is_some() {
            return Err(invalid(format!("two sockets that are called {name:?} were handed over")));
        }
    }
    let gate = gate.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "no socket was handed over by PID 1; jitd is started by jitd.socket and jitd.service",
        )
    })?;
    Ok(Sockets { gate, operators, polkit })
}

fn listener(descriptor: OwnedFd) -> io::Result<UnixListener> {
    if rustix::net::sockopt::socket_domain(&descriptor)? != rustix::net::AddressFamily::UNIX {
        return Err(invalid("the socket handed over is not a local one".to_owned()));
    }
    let listener = UnixListener::from(descriptor);
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::CLOEXEC)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
