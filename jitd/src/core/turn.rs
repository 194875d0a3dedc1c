//! One step in progress: the ledger as it changes, and the effects so far.

use crate::core::context::Context;
use crate::core::effect::{Change, Changed, Commit, Durability, Effect, SessionOrder};
use crate::core::ledger::{EndedBy, Ledger, RequestState, Session, SessionState};
use crate::core::limits::{Limited, Rate};
use crate::core::policy::{Policy, Settings};
use crate::core::reply::Reply;
use crate::core::retention;
use crate::core::retention::{Pruned, Segment};
use crate::core::session::closing_notice;
use crate::core::session::termination::Manner;
use crate::core::time::Now;
use jit_proto::audit::chain::Head;
use jit_proto::audit::record::{AuditEvent, Draft, Facts};
use jit_proto::audit::seal::SealKey;
use jit_proto::identity::{RequestId, SessionId, UserId};
use jit_proto::time::BootTime;
use std::collections::BTreeSet;
use std::time::Duration;

/// Single records of refusals of one user: more than a script with a mistake causes in a day, and at 1 kB each 1.5 MB a
/// day for a user who tries to fill the disk.
const REFUSALS: Rate = Rate { burst: 300, per_minute: 1 };

/// The interval at which the wall clock is stored while a window is open. A crash and a clock set back cannot lengthen
/// the window by more than this.
pub(super) const REMEMBER_CLOCK: Duration = Duration::from_secs(60);

/// One step in progress.
pub(super) struct Turn<'a> {
    pub(super) ledger: Ledger,
    pub(super) policy: Option<&'a Policy>,
    pub(super) context: &'a Context,
    pub(super) now: &'a Now,
    pub(super) commit: Commit,
    after: Vec<Effect>,
    pub(super) reply: Option<Reply>,
    clock_due: bool,
}

impl<'a> Turn<'a> {
    pub(super) fn new(
        mut ledger: Ledger,
        policy: Option<&'a Policy>,
        context: &'a Context,
        now: &'a Now,
    ) -> Self {
        let clock_due = now.wall.since(ledger.highest_wall) >= REMEMBER_CLOCK;
        ledger.highest_wall = ledger.highest_wall.max(now.wall);
        Self {
            ledger,
            policy,
            context,
            now,
            commit: Commit::default(),
            after: Vec::new(),
            reply: None,
            clock_due,
        }
    }

    pub(super) fn grace(&self) -> Duration {
        self.policy.map_or_else(|| Settings::default().options.grace, |policy| policy.settings.options.grace)
    }

    /// Adds a record to this step's commit.
    pub(super) fn note(&mut self, event: AuditEvent, facts: Facts) {
        let now = self.now;
        let draft = Draft { event, wall: now.wall, boot: now.boot, boot_id: now.boot_id.clone(), facts };
        self.commit.drafts.push(draft);
    }

    /// Whether the next refusal of this user gets a record of its own. If not, it is counted, and the count is
    /// recorded: any local user can cause refusals without end, and must not fill the disk with them.
    pub(super) fn records_refusal(&mut self, who: UserId, name: &str) -> bool {
        self.records_one_more(who, name, Limited::Record)
    }

    /// The same of a call that passes because jitd observes: it takes from the same allowance, and is counted apart.
    pub(super) fn records_observed(&mut self, who: UserId, name: &str) -> bool {
        self.records_one_more(who, name, Limited::Observed)
    }

    fn records_one_more(&mut self, who: UserId, name: &str, limited: Limited) -> bool {
        let records = self.ledger.recorded_refusals.take(who, REFUSALS, self.now.boot);
        if !records {
            self.ledger.reached.count(Some(who), name, limited, 1);
        }
        records
    }

    /// Begins a seal after this step's records.
    pub(super) fn seal(&mut self, key: SealKey) {
        self.ledger.sealed = true;
        self.commit.seal = Some(key);
    }

    /// Removes expired records.
    pub(super) fn prune(&mut self, segment: &Segment, policy: &Policy) {
        self.note(AuditEvent::AuditPruned, retention::facts(segment, &policy.digest));
        let to = Head { seq: segment.to, hash: segment.hash };
        self.commit.prune = Some(Pruned { to, newest: segment.newest });
        self.reply = Some(Reply::Pruned);
    }

    /// Adds an object's new state to this step's commit.
    pub(super) fn put(&mut self, change: Change) {
        self.after.push(Effect::Notify(match &change {
            Change::Request(request) => Changed::Request(request.id),
            Change::Grant(grant) => Changed::Grant(grant.id),
            Change::Session(session) => Changed::Session(session.id),
        }));
        self.commit.changes.push(change);
    }

    /// Adds an effect that follows the commit.
    pub(super) fn then(&mut self, effect: impl Into<Effect>) {
        self.after.push(effect.into());
    }

    /// Requires that this step's commit is on the disk before any effect that follows.
    pub(super) fn at_once(&mut self) {
        self.commit.durability = Durability::AtOnce;
    }

    /// Requires that this step's commit reaches the disk soon; nothing waits for it.
    pub(super) fn soon(&mut self) {
        self.commit.durability = self.commit.durability.max(Durability::BeforeTheSession);
    }

    /// Removes a request from the ledger in its last state.
    pub(super) fn close_request(
        &mut self,
        id: RequestId,
        state: RequestState,
    ) -> Option<super::ledger::Request> {
        let mut request = self.ledger.requests.remove(&id)?;
        request.state = state;
        request.closed_at = Some(self.now.wall);
        self.put(Change::Request(request.clone()));
        Some(request)
    }

    /// Starts to end a session, and those started from inside it. `due` is when it should have ended.
    pub(super) fn end_session(&mut self, id: SessionId, why: EndedBy, due: BootTime) {
        let manner = Manner::Graceful(self.grace());
        let Some(session) = self.ledger.sessions.get_mut(&id).filter(|session| !session.is_ending()) else {
            return;
        };
        session.state = SessionState::Ending { run_as: session.run_as().cloned(), why, due };
        let session: Session = session.clone();
        self.tell_of_the_end(&session, why);
        self.then(SessionOrder::terminate(&session, manner, due));
        self.put(Change::Session(session));
        let inner: Vec<_> =
            self.ledger.sessions.values().filter(|s| s.parent == Some(id)).map(|s| s.id).collect();
        for child in inner {
            self.end_session(child, EndedBy::Parent, due);
        }
    }

    /// Writes to the session's terminal that it ends, before the first signal; a terminal with several sessions gets
    /// one message.
    fn tell_of_the_end(&mut self, session: &Session, why: EndedBy) {
        if session.tty.is_empty() {
            return;
        }
        let closed = self.commit.changes.iter().rev().find_map(|change| match change {
            Change::Grant(grant) if grant.id == session.grant => Some(grant),
            _ => None,
        });
        let role = self.policy.and_then(|policy| policy.roles.get(&session.role));
        let told = closing_notice::lines(session, why, closed, role);
        let is_told = |effect: &Effect| match effect {
            Effect::Tell { terminals, lines, .. } => *lines == told && terminals.contains(&session.tty),
            _ => false,
        };
        if !told.is_empty() && !self.after.iter().any(is_told) {
            let terminals = BTreeSet::from([session.tty.clone()]);
            self.then(Effect::Tell { holder: session.holder.uid, terminals, lines: told });
        }
    }

    pub(super) fn remember_clock(&mut self) {
        if self.clock_due {
            self.after.insert(0, Effect::Commit(Commit::clock_only()));
        }
    }

    pub(super) fn finish(self) -> (Ledger, Vec<Effect>) {
        let mut effects = Vec::with_capacity(self.after.len() + 2);
        if !self.commit.changes.is_empty() || !self.commit.drafts.is_empty() {
            effects.push(Effect::Commit(self.commit));
        }
        effects.extend(self.after);
        effects.extend(self.reply.map(Effect::Reply));
        (self.ledger, effects)
    }
}
