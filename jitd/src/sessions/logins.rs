//! Reports the ends of logins (org.freedesktop.login1(5)).

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use tokio_stream::StreamExt;
use tracing::{debug, warn};
use zbus::{Connection, MatchRule, MessageStream};

use crate::core::input::Input;
use crate::engine::handle::Handle;

const LOGIND: &str = "org.freedesktop.login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const PATH: &str = "/org/freedesktop/login1";

/// Tells the engine of each login that ends, until the bus or the engine ends; first of those that ended while jitd was
/// not running.
///
/// # Errors
/// When the bus refuses the match rule.
pub async fn watch(bus: Connection, engine: Handle) -> zbus::Result<()> {
    let rule = MatchRule::builder()
        .msg_type(zbus::message::Type::Signal)
        .sender(LOGIND)
        .path(PATH)
        .interface(MANAGER)
        .member("SessionRemoved")
        .build()?;
    let mut stream = MessageStream::for_match_rule(rule, &bus, NonZeroUsize::new(256)).await?;
    tokio::spawn(async move {
        if let Err(error) = catch_up(&bus, &engine).await {
            // A host without logind has no login sessions.
            debug!("logind does not list its sessions: {error}");
        }
        while let Some(message) = stream.next().await {
            let Ok(message) = message else { continue };
            let Ok((login, _)) = message.body().deserialize::<(String, zbus::OwnedObjectPath)>() else {
                warn!("logind sent a SessionRemoved signal of an unknown type");
                continue;
            };
            if engine.tell(Input::LoginGone(login)).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

async fn catch_up(bus: &Connection, engine: &Handle) -> zbus::Result<()> {
    let Ok(known) = engine.look(|snapshot| logins(snapshot.ledger)).await else { return Ok(()) };
    if known.is_empty() {
        return Ok(());
    }
    let reply = bus.call_method(Some(LOGIND), PATH, Some(MANAGER), "ListSessions", &()).await?;
    let body = reply.body();
    let there: Vec<(String, u32, String, String, zbus::OwnedObjectPath)> = body.deserialize()?;
    let there: BTreeSet<String> = there.into_iter().map(|(id, ..)| id).collect();
    for gone in known.difference(&there) {
        if engine.tell(Input::LoginGone(gone.clone())).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn logins(ledger: &crate::core::ledger::Ledger) -> BTreeSet<String> {
    ledger.sessions.values().filter_map(|session| session.login.clone()).collect()
}
