//! One event, one step: the ledger moves on, and effects say what has to be done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jit_proto::audit::chain::Head;
use jit_proto::audit::record::{AuditEvent, Draft, Facts};
use jit_proto::audit::seal::SealKey;
use jit_proto::identity::{RequestId, SessionId, UserId};
use jit_proto::time::BootTime;

use super::context::Context;
use super::event::{
    Change, Changed, Commit, Durability, Effect, Input, Reply, SessionOrder, SinkChange, SinkName, Stage,
};
use super::facts;
use super::ledger::{EndedBy, Ledger, RequestState, Session, SessionState};
use super::limits::{Allowance, Door, Rate};
use super::policy::{Policy, Settings};
use super::reaping::Manner;
use super::retention::{Pruned, Segment};
use super::time::Now;
use super::{closing_notice, elevation, findings, requests, retention, windows};

/// Refusals of one user that are recorded one by one: more than a script with a mistake causes in a day, and with 1 kB
/// each 1.5 MB a day for each user who wants to fill the disk.
const REFUSALS: Rate = Rate { burst: 300, per_minute: 1 };
/// Users are forgotten whose refusals are long past when there are more than this.
const MAX_USERS_REFUSED: usize = 1024;

/// How often the wall clock is written down while a window is open, so that a crash and a clock set back cannot
/// lengthen the window by more than this.
const REMEMBER_CLOCK: Duration = Duration::from_secs(60);

/// Takes one event. The ledger that goes in is used up; if the commit fails, the store has the one to go on from.
#[must_use]
pub fn step(
    ledger: Ledger,
    policy: Option<&Policy>,
    input: Input,
    context: &Context,
    now: &Now,
) -> (Ledger, Vec<Effect>) {
    let mut turn = Turn::new(ledger, policy, context, now);
    turn.commit.durability = durability_of(&input);
    // Whatever happens, what is over is over first: no event is judged by a window that has closed.
    turn.close_what_is_over();
    match input {
        Input::Started { version } => {
            turn.note(AuditEvent::DaemonStarted, facts::detail(format!("version {version}")))
        }
        Input::Stopping => {
            turn.tell_limits(true);
            turn.note(AuditEvent::DaemonStopped, Facts::default());
        }
        Input::Tick => turn.remember_clock(),
        Input::ClockSet { by } => turn.note(AuditEvent::ClockStepped, facts::clock(by)),
        Input::PolicyLoaded(policy, people) => {
            let facts = Facts { policy: Some(policy.digest.clone()), ..facts::roles(&policy) };
            turn.note(AuditEvent::PolicyLoaded, facts);
            turn.revalidate_all(&people);
        }
        Input::PolicyRefused { problems } => turn.note(AuditEvent::PolicyRefused, facts::detail(problems)),
        Input::AccessQuery(query) => {
            let verdict = match query.stage {
                Stage::Enter { tagged } => elevation::enter(&mut turn, &query, tagged),
                Stage::Recheck => elevation::recheck(&mut turn, &query),
                Stage::Track => elevation::track(&mut turn, &query),
            };
            turn.reply = Some(Reply::Gate(verdict));
        }
        Input::Command(caller, command) => {
            let result = requests::command(&mut turn, &caller, command);
            turn.reply = Some(Reply::Command(result));
        }
        Input::Refused { caller, kind, refusal, suppressed } => {
            let account = &caller.person.account;
            if turn.records_refusal(account.uid, &account.name) {
                let facts = facts::refused(&turn.ledger, &caller, kind.word(), &refusal.to_string());
                turn.note(
                    AuditEvent::CommandRefused,
                    Facts { suppressed: (suppressed > 0).then_some(suppressed), ..facts },
                );
            } else if suppressed > 0 {
                turn.ledger.reached.count(Some(account.uid), &account.name, Door::Record, suppressed);
            }
            turn.reply = Some(Reply::Command(Err(refusal)));
        }
        Input::SessionGone(id, report) => elevation::gone(&mut turn, id, &report),
        Input::SessionStuck(id, report) => elevation::stuck(&mut turn, id, &report),
        Input::ScopeTampered { session, found, ends } => {
            elevation::tampered(&mut turn, session, found, ends);
        }
        Input::GroupExceeded(id, found) => elevation::group_exceeded(&mut turn, id, found),
        Input::NotOnDisk(sessions) => {
            let due = turn.now.boot;
            sessions.into_iter().for_each(|id| turn.end_session(id, EndedBy::Unrecorded, due));
        }
        Input::SessionIdle(id) => elevation::idle(&mut turn, id),
        Input::SessionIdledOut(id) => {
            let due = turn.now.boot;
            turn.end_session(id, EndedBy::Idle, due);
        }
        Input::Sink(name, change) => turn.sink(name, change),
        Input::Stacks(found) => turn.stacks(found),
        Input::Prune(segment) => {
            // By settings that are not in force any more nothing goes; without an answer it is tried anew.
            if let Some(policy) = policy.filter(|policy| policy.settings.retention == segment.retention) {
                turn.prune(&segment, policy);
            }
        }
        Input::LogFound(main, folder) => elevation::log_found(&mut turn, main, folder),
        Input::LoginGone(login) => elevation::login_gone(&mut turn, &login),
        Input::LeftBehind { held, found } => findings::left_behind(&mut turn, &held, &found),
        Input::HostChanged { last, found } => findings::host_changed(&mut turn, &last, &found),
        Input::LimitsReached(reached) => {
            reached.iter().for_each(|it| turn.ledger.reached.count(it.uid, &it.name, it.door, it.count));
        }
        Input::RecordBroken { about, detail } => {
            let facts = Facts { about: (about > 0).then_some(about), ..facts::detail(detail) };
            turn.note(AuditEvent::AuditBroken, facts);
        }
        Input::NotTold { about, suppressed, detail } => {
            let facts =
                Facts { about, suppressed: (suppressed > 0).then_some(suppressed), ..facts::detail(detail) };
            turn.note(AuditEvent::NotifyFailed, facts);
        }
    }
    turn.tell_limits(false);
    turn.finish()
}

/// How soon what an event comes to has to be on the disk, if nothing else comes of it.
fn durability_of(input: &Input) -> Durability {
    match input {
        Input::AccessQuery(query) => match query.stage {
            Stage::Enter { .. } => Durability::BeforeTheSession,
            Stage::Recheck | Stage::Track => Durability::WithTheNext,
        },
        Input::SessionGone(..) | Input::NotTold { .. } | Input::LogFound(..) | Input::LimitsReached(_) => {
            Durability::WithTheNext
        }
        Input::Tick | Input::SessionIdle(_) | Input::SessionIdledOut(_) | Input::LoginGone(_) => {
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
    ends.chain(clock).chain(ledger.reached.next_moment(now.boot)).min()
}

/// One step in the making.
pub(super) struct Turn<'a> {
    pub(super) ledger: Ledger,
    pub(super) policy: Option<&'a Policy>,
    pub(super) context: &'a Context,
    pub(super) now: &'a Now,
    commit: Commit,
    after: Vec<Effect>,
    reply: Option<Reply>,
    clock_due: bool,
}

impl<'a> Turn<'a> {
    fn new(mut ledger: Ledger, policy: Option<&'a Policy>, context: &'a Context, now: &'a Now) -> Self {
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
        self.policy.map_or_else(|| Settings::default().grace, |policy| policy.settings.grace)
    }

    /// Puts a record into this step's commit.
    pub(super) fn note(&mut self, event: AuditEvent, facts: Facts) {
        let now = self.now;
        let draft = Draft { event, wall: now.wall, boot: now.boot, boot_id: now.boot_id.clone(), facts };
        self.commit.drafts.push(draft);
    }

    /// Writes down what became of a sink.
    fn sink(&mut self, name: SinkName, change: SinkChange) {
        let sink = Some(name.to_string());
        match change {
            SinkChange::Down { problem } => {
                self.note(AuditEvent::SinkDown, Facts { sink, ..facts::detail(problem) });
            }
            SinkChange::Back => self.note(AuditEvent::SinkBack, Facts { sink, ..Facts::default() }),
        }
    }

    /// Writes down which stacks have begun, or ceased, not to ask.
    fn stacks(&mut self, found: BTreeMap<String, Option<String>>) {
        for (service, problem) in found {
            let known = self.ledger.broken_stacks.contains(&service);
            let facts = Facts { service: Some(service.clone()), detail: problem.clone(), ..Facts::default() };
            match problem {
                Some(_) if !known => {
                    self.note(AuditEvent::StackBroken, facts);
                    self.ledger.broken_stacks.insert(service);
                }
                None if known => {
                    self.note(AuditEvent::StackRestored, facts);
                    self.ledger.broken_stacks.remove(&service);
                }
                _ => {}
            }
        }
    }

    /// Whether one more refusal of this user is recorded by itself. If not it is counted, and the count is recorded: any
    /// local user can be refused again and again, and must not fill the disk by it.
    pub(super) fn records_refusal(&mut self, who: UserId, name: &str) -> bool {
        if who.is_root() {
            return true;
        }
        let now = self.now.boot;
        let known = &mut self.ledger.recorded_refusals;
        if known.len() > MAX_USERS_REFUSED {
            known.retain(|_, allowance| !allowance.is_full(REFUSALS, now));
        }
        let records = known.entry(who).or_insert_with(|| Allowance::full(REFUSALS, now)).take(REFUSALS, now);
        if !records {
            self.ledger.reached.count(Some(who), name, Door::Record, 1);
        }
        records
    }

    /// Records which limits were reached; `all` of them, or those that are due.
    fn tell_limits(&mut self, all: bool) {
        let now = self.now.boot;
        let reached = &mut self.ledger.reached;
        for due in if all { reached.take_all(now) } else { reached.take_due(now) } {
            self.note(AuditEvent::LimitReached, facts::reached(&due));
        }
    }

    /// Begins a seal behind this step's records.
    pub(super) fn seal(&mut self, key: SealKey) {
        self.ledger.sealed = true;
        self.commit.seal = Some(key);
    }

    /// Lets old records go.
    fn prune(&mut self, segment: &Segment, policy: &Policy) {
        self.note(AuditEvent::AuditPruned, retention::facts(segment, &policy.digest));
        let to = Head { seq: segment.to, hash: segment.hash };
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
    pub(super) fn then(&mut self, effect: impl Into<Effect>) {
        self.after.push(effect.into());
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
                self.note(AuditEvent::RequestExpired, facts::request(&request));
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
        request.closed_at = Some(self.now.wall);
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
        self.tell_of_the_end(&session, why);
        self.then(SessionOrder::terminate(&session, manner, due));
        self.put(Change::Session(session));
        let inner: Vec<_> =
            self.ledger.sessions.values().filter(|s| s.parent == Some(id)).map(|s| s.id).collect();
        for child in inner {
            self.end_session(child, EndedBy::Parent, due);
        }
    }

    /// Tells the session's terminal that it ends, before the first signal; several sessions at one terminal tell it once.
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
