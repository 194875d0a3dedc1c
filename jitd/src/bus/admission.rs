//! Admits every command: identifies the caller, and asks the table of origins.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jit_proto::identity::{RequestId, UserId};
use tokio::time::Instant;
use zbus::Connection;
use zbus::message::Header;

use super::Failure;
use super::caller::{FirstCallers, caller, holder};
use crate::core::authority::{CommandKind, admit};
use crate::core::caller::Caller;
use crate::core::ledger::Request;
use crate::core::reply::Refusal;
use crate::engine::handle::Handle;

/// Recorded refusals of reading commands per uid,
const MAX_RECORDED: u32 = 5;
/// within this time; the next recorded one says how many were not.
const RECORDED_WITHIN: Duration = Duration::from_secs(60);
/// Uids that are remembered; above this, refusals for further uids are not recorded.
const MAX_UIDS: usize = 1024;

/// The check before every method of every interface.
#[derive(Clone)]
pub(super) struct Admission {
    engine: Handle,
    refused: Arc<Mutex<HashMap<UserId, Refused>>>,
    first_callers: Arc<FirstCallers>,
}

/// The refused reading commands of one uid.
#[derive(Debug, Clone, Copy)]
struct Refused {
    since: Instant,
    recorded: u32,
    suppressed: u64,
}

impl Admission {
    pub(super) fn new(engine: Handle) -> Self {
        Self { engine, refused: Arc::default(), first_callers: Arc::default() }
    }

    /// The caller, if this command is allowed from their origin.
    ///
    /// # Errors
    /// When it is not allowed, which is recorded, or the caller cannot be identified.
    pub(super) async fn admit(
        &self,
        connection: &Connection,
        header: &Header<'_>,
        kind: CommandKind,
    ) -> Result<Caller, Failure> {
        self.judge(caller(connection, header, &self.first_callers).await?, kind).await
    }

    /// As [`Self::admit`], for a caller who was identified already.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub(super) async fn judge(&self, mut caller: Caller, kind: CommandKind) -> Result<Caller, Failure> {
        let asked = caller.clone();
        let first = self
            .engine
            .look(move |snapshot| match asked.session(snapshot.ledger) {
                Some(session) => Err(session.holder.clone()),
                None => {
                    Ok(admit(snapshot.ledger, snapshot.policy.map(AsRef::as_ref), &asked, kind).map(drop))
                }
            })
            .await?;
        let admitted = match first {
            Ok(admitted) => admitted,
            Err(account) => {
                let looked = tokio::task::spawn_blocking(move || holder(&account)).await;
                let looked = looked.map_err(|error| Failure::Failed(error.to_string()))?;
                caller.holder = looked.map_err(|error| Failure::NotAuthorized(error.to_string()))?;
                let asked = caller.clone();
                let look = self.engine.look(move |snapshot| {
                    admit(snapshot.ledger, snapshot.policy.map(AsRef::as_ref), &asked, kind).map(drop)
                });
                look.await?
            }
        };
        match admitted {
            Ok(()) => Ok(caller),
            Err(refusal) => {
                self.record(caller, kind, refusal.clone()).await?;
                Err(refusal.into())
            }
        }
    }

    /// A closed request from the store.
    pub(super) async fn closed(&self, id: u64) -> Result<Option<Box<Request>>, Failure> {
        let found = self.engine.look(move |snapshot| {
            if snapshot.ledger.requests.contains_key(&RequestId(id)) {
                return Ok(None);
            }
            snapshot.store.request(id)
        });
        Ok(found.await??.map(Box::new))
    }

    async fn record(&self, caller: Caller, kind: CommandKind, refusal: Refusal) -> Result<(), Failure> {
        let suppressed = if kind.changes() { Some(0) } else { self.is_recorded(caller.person.account.uid) };
        if let Some(suppressed) = suppressed {
            // The caller gets the refusal from the function that refuses.
            let _ = self.engine.refuse(caller, kind, refusal, suppressed).await?;
        }
        Ok(())
    }

    /// Whether this refusal of a reading command is recorded, and how many of this uid were not since the last recorded
    /// one.
    fn is_recorded(&self, uid: UserId) -> Option<u64> {
        let now = Instant::now();
        let mut refused = self.refused.lock().ok()?;
        if refused.len() >= MAX_UIDS {
            refused.retain(|_, it| now.duration_since(it.since) < RECORDED_WITHIN);
        }
        if refused.len() >= MAX_UIDS && !refused.contains_key(&uid) {
            return None;
        }
        let it = refused.entry(uid).or_insert(Refused { since: now, recorded: 0, suppressed: 0 });
        if now.duration_since(it.since) >= RECORDED_WITHIN {
            (it.since, it.recorded) = (now, 0);
        }
        if it.recorded >= MAX_RECORDED {
            it.suppressed += 1;
            return None;
        }
        it.recorded += 1;
        Some(std::mem::take(&mut it.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_looks_of_one_uid_are_recorded_a_few_times_and_then_counted() {
        let (engine, _inbox) = Handle::new();
        let admission = Admission::new(engine);
        let seen: Vec<_> = (0..8).map(|_| admission.is_recorded(UserId(7))).collect();
        assert_eq!(seen, [Some(0), Some(0), Some(0), Some(0), Some(0), None, None, None]);
        assert_eq!(admission.is_recorded(UserId(8)), Some(0));
        admission.refused.lock().unwrap().get_mut(&UserId(7)).unwrap().since -= RECORDED_WITHIN;
        assert_eq!(admission.is_recorded(UserId(7)), Some(3));
        for uid in 0..5000 {
            let _ = admission.is_recorded(UserId(uid));
        }
        assert!(admission.refused.lock().unwrap().len() <= MAX_UIDS);
    }
}
