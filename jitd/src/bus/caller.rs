//! Who sends a message on the system bus or the operators' socket: asked of the bus, the kernel and `/proc`, never believed
//! from the message.

use std::io;
use std::os::fd::AsFd;

use jit_proto::identity::{SessionId, UserId};
use zbus::message::Header;
use zbus::{Connection, fdo};

use super::Failure;
use crate::core::event::Caller;
use crate::people::Nss;
use crate::process;

/// Who sent this message. A sender that cannot be asked about any more is nobody, least of all root (CVE-2021-3560).
pub(super) async fn caller(connection: &Connection, header: &Header<'_>) -> Result<Caller, Failure> {
    let credentials = credentials(connection, header).await.map_err(Failure::NotAuthorized)?;
    let uid = UserId(credentials.uid);
    let pid = credentials.pid;
    let looked = tokio::task::spawn_blocking(move || {
        let person = Nss.person(uid)?.ok_or_else(|| format!("uid {uid} has no account on this host"))?;
        let pid = pid.ok_or("the bus does not say which process calls")?;
        let (loginuid, audit_session, scope) = whereabouts(pid)
            .map_err(|error| format!("process {pid}, which connected to the bus, cannot be read: {error}"))?;
        Ok(Caller { person, loginuid, audit_session, scope })
    });
    looked
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?
        .map_err(|why: String| Failure::NotAuthorized(why))
}

/// Whose login, which audit session and which elevated session a process belongs to. The bus names the process that
/// connected; where that has ended, others can still speak through its connection, and nobody knows who they are.
fn whereabouts(pid: u32) -> io::Result<(Option<UserId>, Option<u32>, Option<SessionId>)> {
    let pidfd = process::open_pid(pid)?;
    let loginuid = process::loginuid(pid)?;
    let audit_session = process::audit_session(pid)?;
    let scope = process::cgroup_of(pid)?.as_deref().and_then(process::session_in);
    if process::has_ended(pidfd.as_fd())? {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it has ended"));
    }
    Ok((loginuid, audit_session, scope))
}

/// The pid of a caller that is root.
///
/// # Errors
/// Says why the caller is not.
pub(crate) async fn root_pid(connection: &Connection, header: &Header<'_>) -> Result<u32, String> {
    let credentials = credentials(connection, header).await?;
    match (credentials.uid, credentials.pid) {
        (0, Some(pid)) => Ok(pid),
        (0, None) => Err("the bus does not say which process calls".to_owned()),
        (uid, _) => Err(format!("uid {uid} may not call the gate")),
    }
}

struct Credentials {
    uid: u32,
    pid: Option<u32>,
}

async fn credentials(connection: &Connection, header: &Header<'_>) -> Result<Credentials, String> {
    if !connection.is_bus() {
        // On a socket of our own the kernel names the other end, and a sender in the message is anybody's word.
        let known = connection.peer_creds().await.map_err(|error| error.to_string())?;
        let uid = known.unix_user_id().ok_or("the kernel does not say who calls")?;
        return Ok(Credentials { uid, pid: known.process_id() });
    }
    let sender = header.sender().ok_or("the message has no sender")?.to_owned();
    let bus = fdo::DBusProxy::new(connection).await.map_err(|error| error.to_string())?;
    let known = bus.get_connection_credentials(sender.into()).await;
    let known = known.map_err(|error| format!("the bus does not know the caller any more: {error}"))?;
    let uid = known.unix_user_id().ok_or("the bus does not say who calls")?;
    Ok(Credentials { uid, pid: known.process_id() })
}
