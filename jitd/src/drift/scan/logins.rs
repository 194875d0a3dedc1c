//! Asks logind for its sessions (org.freedesktop.login1(5)): a scope that is only named like a login's is none.

use std::time::Duration;

use tracing::debug;

use super::processes::Logins;

const LOGIND: &str = "org.freedesktop.login1";
/// The timeout of the call.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The sessions that logind knows, with their uids; `None` where logind does not answer. Blocks; for threads without a
/// runtime.
pub(super) fn known() -> Option<Logins> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asked = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        let answer = runtime.block_on(async { tokio::time::timeout(TIMEOUT, ask()).await });
        answer.map_err(|_| format!("no answer within {TIMEOUT:?}"))?.map_err(|error| error.to_string())
    });
    asked
        .inspect_err(|problem| {
            debug!("logind did not list its sessions, so no scope counts as a login: {problem}");
        })
        .ok()
}

async fn ask() -> zbus::Result<Logins> {
    let bus = crate::bus::connect().await?;
    let manager = Some("org.freedesktop.login1.Manager");
    let reply =
        bus.call_method(Some(LOGIND), "/org/freedesktop/login1", manager, "ListSessions", &()).await?;
    let sessions: Vec<(String, u32, String, String, zbus::OwnedObjectPath)> = reply.body().deserialize()?;
    Ok(sessions.into_iter().map(|(id, uid, ..)| (id, uid)).collect())
}
