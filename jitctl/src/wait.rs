//! Waiting until a request is decided, over signals, restarts of the daemon and its absence.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use jit_proto::names::{BUS_NAME, MANAGER_INTERFACE, OBJECT_PATH, error};
use jit_proto::view::RequestView;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use zbus::{MatchRule, MessageStream, message};

use crate::call::Daemon;
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// How soon to ask again when the daemon holds its name but did not answer: no signal announces its recovery.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Tells when something about some request may have changed. Signals carry ids only and anybody can send one, so
/// they say no more than "look again".
#[derive(Debug)]
pub(crate) struct Watch {
    changed: Arc<Notify>,
    /// Dropping the set ends the listeners.
    _listeners: JoinSet<()>,
}

impl Watch {
    /// Begins to listen. What changes after this returns is not missed.
    pub(crate) async fn begin(daemon: &Daemon) -> Result<Self, Failure> {
        let request_changed = MatchRule::builder()
            .msg_type(message::Type::Signal)
            .sender(BUS_NAME)
            .path(OBJECT_PATH)
            .interface(MANAGER_INTERFACE)
            .member("RequestChanged")
            .build()?;
        let daemon_came_or_went = MatchRule::builder()
            .msg_type(message::Type::Signal)
            .sender("org.freedesktop.DBus")
            .interface("org.freedesktop.DBus")
            .member("NameOwnerChanged")
            .add_arg(BUS_NAME)
            .build()?;
        let changed = Arc::new(Notify::new());
        let mut listeners = JoinSet::new();
        for rule in [request_changed, daemon_came_or_went] {
            let signals = MessageStream::for_match_rule(rule, daemon.connection(), None).await?;
            listeners.spawn(listen(signals, Arc::clone(&changed)));
        }
        Ok(Self { changed, _listeners: listeners })
    }

    /// Waits until something may have changed since the last call.
    async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// Empties the stream as fast as signals come, so that a flood of them never keeps the connection from reading the
/// answer to a call.
async fn listen(mut signals: MessageStream, changed: Arc<Notify>) {
    while poll_fn(|context| Pin::new(&mut signals).poll_next(context)).await.is_some() {
        changed.notify_one();
    }
    // The bus is gone: whoever waits finds out by asking.
    changed.notify_one();
}

/// Waits until a request is no longer pending.
pub(crate) async fn until_decided(
    daemon: &Daemon,
    watch: &Watch,
    id: u64,
    output: &Output,
) -> Result<RequestView, Failure> {
    let mut absent = false;
    loop {
        match daemon.show(id).await {
            Ok(shown) => {
                let request = shown.request.ok_or_else(|| {
                    Failure::new(Exit::NoSuch, error::NO_SUCH, &format!("request {id} is not there any more"))
                })?;
                if request.state != "pending" {
                    return Ok(request);
                }
                if absent {
                    output.talk("jitd is back");
                    absent = false;
                }
                watch.changed().await;
            }
            Err(failure) if failure.exit == Exit::Unreachable && !daemon.connection().is_closed() => {
                if !absent {
                    output.talk(&format!("{failure}; waiting for it to come back"));
                    absent = true;
                }
                // Changed or not, the next thing is to ask again.
                let _ = tokio::time::timeout(AGAIN_AFTER, watch.changed()).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}
