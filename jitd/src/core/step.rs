//! One event, one step: the ledger moves on, and effects say what has to be done.

use std::time::Duration;

use jit_proto::identity::{GrantId, RequestId};
use jit_proto::moment::BootTime;
use jit_proto::record::{Draft, Event as What, Facts};
use jit_proto::seal::SealKey;

use super::event::{Change, Changed, Commit, Effect, Event, Reply, Stage};
use super::facts;
use super::ledger::{EndedBy, GrantState, Ledger, RequestState, Session, SessionState};
use super::policy::{Policy, Settings};
use super::time::Now;
use super::{elevation, requests};

/// How often the wall clock is written down while a window is open, so that a crash and a clock set back cannot
/// lengthen the window by more than this.
const REMEMBER_CLOCK: Duration = Duration::from_secs(60);

/// Takes one event. The ledger that goes in is used up; if the commit fails, the store has the one to go on from.
#[must_use]
pub fn step(ledger: Ledger, policy: Option<&Policy>, event: Event, now: &Now) -> (Ledger, Vec<Effect>) {
    let mut turn = Turn::new(ledger, policy, now);
    turn.commit.durable = !follows_a_decision(&event);
    // Whatever happens, what is over is over first: no event is judged by a window that has closed.
    turn.close_what_is_over();
    match event {
        Event::Started { version } => {
            turn.note(What::DaemonStarted, facts::detail(format!("version {version}")))
        }
        Event::Stopping => turn.note(What::DaemonStopped, Facts::default()),
        Event::Tick => turn.remember_clock(),
        Event::PolicyLoaded(policy) => {
            let facts = Facts { policy: Some(policy.digest.clone()), ..facts::roles(&policy) };
            turn.note(What::PolicyLoaded, facts);
        }
        Event::PolicyRefused { problems } => turn.note(What::PolicyRefused, facts::detail(problems)),
        Event::Knock(knock) => {
            let verdict = match knock.stage {
                Stage::Enter { tagged } => elevation::enter(&mut turn, &knock, tagged),
                Stage::Recheck => elevation::recheck(&mut turn, &knock),
                Stage::Track => elevation::track(&mut turn, &knock),
            };
            turn.reply = Some(Reply::Gate(verdict));
        }
        Event::Command(caller, command) => {
            let result = requests::command(&mut turn, &caller, command);
            turn.reply = Some(Reply::Command(result));
        }
        Event::SessionGone(id, report) => elevation::gone(&mut turn, id, &report),
        Event::SessionStuck(id, report) => elevation::stuck(&mut turn, id, &report),
    }
    turn.finish()
}

/// Whether an event tells how a decision that is on the disk already went on.
fn follows_a_decision(event: &Event) -> bool {
    match event {
        Event::Knock(knock) => matches!(knock.stage, Stage::Recheck | Stage::Track),
        Event::SessionGone(..) => true,
        _ => false,
    }
}

/// The next moment on the boot clock at which something is due; `None` if nothing is.
#[must_use]
pub fn next_deadline(ledger: &Ledger, now: &Now) -> Option<BootTime> {
    let requests = ledger.requests.values().map(|request| &request.expires);
    let grants = ledger.grants.values().map(|grant| &grant.ends);
    let ends = requests.chain(grants).map(|deadline| now.boot.after(deadline.remaining(now)));
    let clock = (!ledger.grants.is_empty()).then(|| {
        let unseen = now.wall.since(ledger.highest_wall);
        now.boot.after(REMEMBER_CLOCK.saturating_sub(unseen).max(Duration::from_secs(1)))
    });
    ends.chain(clock).min()
}

/// One step in the making.
pub(super) struct Turn<'a> {
    pub(super) ledger: Ledger,
    pub(super) policy: Option<&'a Policy>,
    pub(super) now: &'a Now,
    commit: Commit,
    after: Vec<Effect>,
    reply: Option<Reply>,
    clock_due: bool,
}

impl<'a> Turn<'a> {
    fn new(mut ledger: Ledger, policy: Option<&'a Policy>, now: &'a Now) -> Self {
        let clock_due = now.wall.since(ledger.highest_wall) >= REMEMBER_CLOCK;
        ledger.highest_wall = ledger.highest_wall.max(now.wall);
        Self { ledger, policy, now, commit: Commit::default(), after: Vec::new(), reply: None, clock_due }
    }

    pub(super) fn grace(&self) -> Duration {
        self.policy.map_or_else(|| Settings::default().grace, |policy| policy.settings.grace)
    }

    /// Puts a record into this step's commit.
    pub(super) fn note(&mut self, event: What, facts: Facts) {
        let now = self.now;
        let draft = Draft { event, wall: now.wall, boot: now.boot, boot_id: now.boot_id.clone(), facts };
        self.commit.drafts.push(draft);
    }

    /// Begins a seal behind this step's records.
    pub(super) fn seal(&mut self, key: SealKey) {
        self.ledger.sealed = true;
        self.commit.seal = Some(key);
    }

    /// Adds to the last record of this kind in this step.
    pub(super) fn amend_last(&mut self, event: What, amend: impl FnOnce(&mut Facts)) {
        if let Some(draft) = self.commit.drafts.iter_mut().rev().find(|draft| draft.event == event) {
            amend(&mut draft.facts);
        }
    }

    /// Puts an object's new state into this step's commit.
    pub(super) fn put(&mut self, change: Change) {
        self.after.push(Effect::Notify(match &change {
            Change::Request(request) => Changed::Request(request.id),
            Change::Grant(grant) => Changed::Grant(grant.id),
            Change::Session(session) => Changed::Session(session.id),
        }));
        self.commit.changes.push(change);
    }

    /// Adds an effect that follows the commit.
    pub(super) fn then(&mut self, effect: Effect) {
        self.after.push(effect);
    }

    /// Closes requests and windows whose time has come.
    fn close_what_is_over(&mut self) {
        let now = self.now;
        let lapsed: Vec<RequestId> = self
            .ledger
            .requests
            .values()
            .filter(|request| request.expires.has_passed(now))
            .map(|request| request.id)
            .collect();
        for id in lapsed {
            if let Some(request) = self.close_request(id, RequestState::Expired) {
                self.note(What::RequestExpired, facts::request(&request));
            }
        }
        let over: Vec<GrantId> = self
            .ledger
            .grants
            .values()
            .filter(|grant| grant.ends.has_passed(now))
            .map(|grant| grant.id)
            .collect();
        for id in over {
            self.commit.durable = true;
            self.close_grant(id, GrantState::Expired, EndedBy::Expired, What::GrantExpired);
        }
    }

    /// Takes a request out of the ledger in its last state.
    pub(super) fn close_request(
        &mut self,
        id: RequestId,
        state: RequestState,
    ) -> Option<super::ledger::Request> {
        let mut request = self.ledger.requests.remove(&id)?;
        request.state = state;
        self.put(Change::Request(request.clone()));
        Some(request)
    }

    /// Closes a window and ends what runs in it.
    pub(super) fn close_grant(&mut self, id: GrantId, state: GrantState, why: EndedBy, event: What) {
        let Some(mut grant) = self.ledger.grants.remove(&id) else { return };
        grant.state = state;
        self.note(event, facts::grant(&grant));
        self.put(Change::Grant(grant));
        let sessions: Vec<_> = self.ledger.under(id).map(|session| session.id).collect();
        for session in sessions {
            self.end_session(session, why);
        }
    }

    /// Starts to end a session, and those started from inside it.
    pub(super) fn end_session(&mut self, id: jit_proto::identity::SessionId, why: EndedBy) {
        let grace = self.grace();
        let since = self.now.boot;
        let Some(session) = self.ledger.sessions.get_mut(&id).filter(|session| !session.is_ending()) else {
            return;
        };
        session.state = SessionState::Ending { run_as: session.run_as().cloned(), why, since };
        let session: Session = session.clone();
        self.then(Effect::terminate(&session, grace));
        self.put(Change::Session(session));
        let inner: Vec<_> =
            self.ledger.sessions.values().filter(|s| s.parent == Some(id)).map(|s| s.id).collect();
        for child in inner {
            self.end_session(child, EndedBy::Parent);
        }
    }

    fn remember_clock(&mut self) {
        if self.clock_due {
            // An empty commit still writes the highest wall time.
            self.after.insert(0, Effect::Commit(Commit::default()));
        }
    }

    fn finish(self) -> (Ledger, Vec<Effect>) {
        let mut effects = Vec::with_capacity(self.after.len() + 2);
        if !self.commit.changes.is_empty() || !self.commit.drafts.is_empty() {
            effects.push(Effect::Commit(self.commit));
        }
        effects.extend(self.after);
        effects.extend(self.reply.map(Effect::Reply));
        (self.ledger, effects)
    }
}
