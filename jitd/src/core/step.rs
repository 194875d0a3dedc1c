//! One event, one step: the ledger moves on, and effects say what has to be done.

use std::collections::BTreeMap;
use std::time::Duration;

use jit_proto::chain::Head;
use jit_proto::identity::{RequestId, SessionId};
use jit_proto::moment::BootTime;
use jit_proto::record::{Draft, Event as What, Facts};
use jit_proto::seal::SealKey;

use super::event::{Change, Changed, Commit, Durability, Effect, Event, Reply, SinkChange, SinkName, Stage};
use super::facts;
use super::ledger::{EndedBy, Ledger, RequestState, Session, SessionState};
use super::policy::{Policy, Settings};
use super::reaping::Manner;
use super::retention::{Pruned, Segment};
use super::time::Now;
use super::{elevation, requests, retention, windows};

/// How often the wall clock is written down while a window is open, so that a crash and a clock set back cannot
/// lengthen the window by more than this.
const REMEMBER_CLOCK: Duration = Duration::from_secs(60);

/// Takes one event. The ledger that goes in is used up; if the commit fails, the store has the one to go on from.
#[must_use]
pub fn step(ledger: Ledger, policy: Option<&Policy>, event: Event, now: &Now) -> (Ledger, Vec<Effect>) {
    let mut turn = Turn::new(ledger, policy, now);
    turn.commit.durability = durability_of(&event);
    // Whatever happens, what is over is over first: no event is judged by a window that has closed.
    turn.close_what_is_over();
    match event {
        Event::Started { version } => {
            turn.note(What::DaemonStarted, facts::detail(format!("version {version}")))
        }
        Event::Stopping => turn.note(What::DaemonStopped, Facts::default()),
        Event::Tick => turn.remember_clock(),
        Event::ClockSet { by } => turn.note(What::ClockStepped, facts::clock(by)),
        Event::PolicyLoaded(policy, people) => {
            let facts = Facts { policy: Some(policy.digest.clone()), ..facts::roles(&policy) };
            turn.note(What::PolicyLoaded, facts);
            turn.look_at_everybody(&people);
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
        Event::ScopeTampered { session, found, ends } => {
            elevation::tampered(&mut turn, session, found, ends);
        }
        Event::GroupExceeded(id, found) => elevation::group_exceeded(&mut turn, id, found),
        Event::NotOnDisk(sessions) => {
            let due = turn.now.boot;
            sessions.into_iter().for_each(|id| turn.end_session(id, EndedBy::Unrecorded, due));
        }
        Event::SessionIdle(id) => elevation::idle(&mut turn, id),
        Event::SessionIdledOut(id) => {
            let due = turn.now.boot;
            turn.end_session(id, EndedBy::Idle, due);
        }
        Event::Sink(name, change) => turn.sink(name, change),
        Event::Stacks(found) => turn.stacks(found),
        Event::Prune(segment) => {
            // By settings that are not in force any more nothing goes; without an answer it is tried anew.
            if let Some(policy) = policy.filter(|policy| policy.settings.retention == segment.retention) {
                turn.prune(&segment, policy);
            }
        }
        Event::LogFound(main, folder) => elevation::log_found(&mut turn, main, folder),
        Event::LoginGone(login) => elevation::login_gone(&mut turn, &login),
        Event::LeftBehind { held, findings, detail } => {
            elevation::left_behind(&mut turn, &held, &findings, &detail);
        }
        Event::NotTold { about, suppressed, detail } => {
            let facts =
                Facts { about, suppressed: (suppressed > 0).then_some(suppressed), ..facts::detail(detail) };
            turn.note(What::NotifyFailed, facts);
        }
    }
    turn.finish()
}

/// How soon what an event comes to has to be on the disk, if nothing else comes of it.
fn durability_of(event: &Event) -> Durability {
    match event {
        Event::Knock(knock) => match knock.stage {
            Stage::Enter { .. } => Durability::BeforeTheSession,
            Stage::Recheck | Stage::Track => Durability::WithTheNext,
        },
        Event::SessionGone(..) | Event::NotTold { .. } | Event::LogFound(..) => Durability::WithTheNext,
        Event::Tick | Event::SessionIdle(_) | Event::SessionIdledOut(_) | Event::LoginGone(_) => {
            Durability::BeforeTheSession
        }
        _ => Durability::AtOnce,
    }
}

/// The next moment on the boot clock at which something is due; `None` if nothing is.
#[must_use]
pub fn next_deadline(ledger: &Ledger, policy: Option<&Policy>, now: &Now) -> Option<BootTime> {
    let requests = ledger.requests.values().map(|request| now.boot.after(request.expires.remaining(now)));
    let ends = requests.chain(windows::next_moments(ledger, policy, now));
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

    /// Writes down what became of a sink.
    fn sink(&mut self, name: SinkName, change: SinkChange) {
        let sink = Some(name.to_string());
        match change {
            SinkChange::Down { problem } => {
                self.note(What::SinkDown, Facts { sink, ..facts::detail(problem) });
            }
            SinkChange::Back => self.note(What::SinkBack, Facts { sink, ..Facts::default() }),
        }
    }

    /// Writes down which stacks have begun, or ceased, not to ask.
    fn stacks(&mut self, found: BTreeMap<String, Option<String>>) {
        for (service, problem) in found {
            let known = self.ledger.broken_stacks.contains(&service);
            let facts = Facts { service: Some(service.clone()), detail: problem.clone(), ..Facts::default() };
            match problem {
                Some(_) if !known => {
                    self.note(What::StackBroken, facts);
                    self.ledger.broken_stacks.insert(service);
                }
                None if known => {
                    self.note(What::StackRestored, facts);
                    self.ledger.broken_stacks.remove(&service);
                }
                _ => {}
            }
        }
    }

    /// Begins a seal behind this step's records.
    pub(super) fn seal(&mut self, key: SealKey) {
        self.ledger.sealed = true;
        self.commit.seal = Some(key);
    }

    /// Lets old records go.
    fn prune(&mut self, segment: &Segment, policy: &Policy) {
        self.note(What::AuditPruned, retention::facts(segment, &policy.digest));
        let to = Head { seq: segment.to, hash: segment.hash.clone() };
        self.commit.prune = Some(Pruned { to, newest: segment.newest });
        self.reply = Some(Reply::Pruned);
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

    /// What this step writes has to be on the disk before anything follows it.
    pub(super) fn at_once(&mut self) {
        self.commit.durability = Durability::AtOnce;
    }

    /// What this step writes is to reach the disk soon, and nothing waits for it.
    pub(super) fn soon(&mut self) {
        self.commit.durability = self.commit.durability.max(Durability::BeforeTheSession);
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
        self.look_at_windows();
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

    /// Starts to end a session, and those started from inside it. `due` is when it should have ended.
    pub(super) fn end_session(&mut self, id: SessionId, why: EndedBy, due: BootTime) {
        let manner = Manner::Ask(self.grace());
        let Some(session) = self.ledger.sessions.get_mut(&id).filter(|session| !session.is_ending()) else {
            return;
        };
        session.state = SessionState::Ending { run_as: session.run_as().cloned(), why, due };
        let session: Session = session.clone();
        self.then(Effect::terminate(&session, manner, due));
        self.put(Change::Session(session));
        let inner: Vec<_> =
            self.ledger.sessions.values().filter(|s| s.parent == Some(id)).map(|s| s.id).collect();
        for child in inner {
            self.end_session(child, EndedBy::Parent, due);
        }
    }

    fn remember_clock(&mut self) {
        if self.clock_due {
            // An empty commit still writes the highest wall time.
            let durability = Durability::BeforeTheSession;
            self.after.insert(0, Effect::Commit(Commit { durability, ..Commit::default() }));
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
