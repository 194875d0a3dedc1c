//! Counts calls and connections above a limit, and reports them to the engine once a second at most, so that a flood of
//! refusals is not one of inputs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jit_proto::identity::UserId;
use tokio::sync::Notify;

use crate::core::input::{Input, Reached};
use crate::core::limits::Limited;
use crate::engine::handle::Handle;
use crate::host::accounts::Nss;
use crate::host::clock::pause;

/// The interval of reports.
const GATHER: Duration = Duration::from_secs(1);

/// The counts.
#[derive(Debug, Clone, Default)]
pub struct Counter {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    counts: Mutex<Counts>,
    counted: Notify,
}

type Counts = BTreeMap<(Option<UserId>, Limited), u64>;

impl Counter {
    /// Counts one call or connection of this user, if the user is known.
    pub fn count(&self, uid: Option<UserId>, limited: Limited) {
        let mut counts = self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((uid, limited)).or_default() += 1;
        if counts.len() == 1 {
            self.shared.counted.notify_one();
        }
    }

    /// Reports counts to the engine, until that ends.
    pub async fn run(self, engine: Handle) {
        loop {
            self.shared.counted.notified().await;
            let counts =
                std::mem::take(&mut *self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner));
            // Names are from NSS, which may be slow; a count is reported without one too.
            let named = tokio::task::spawn_blocking(move || counts.into_iter().map(named).collect()).await;
            let Ok(reached) = named else { continue };
            if engine.tell(Input::LimitsReached(reached)).await.is_err() {
                return;
            }
            pause(GATHER).await;
        }
    }
}

fn named(((uid, limited), count): ((Option<UserId>, Limited), u64)) -> Reached {
    let person = uid.and_then(|uid| Nss.person(uid).ok().flatten());
    Reached { uid, name: person.map_or(String::new(), |person| person.account.name), limited, count }
}
