//! A model of what surrounds the core: people, a policy, a store that loses what was not committed, clocks that jump.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jit_proto::audit::chain::{Head, Sealed, append};
use jit_proto::audit::record::AuditEvent;
use jit_proto::identity::{GrantId, Reason, RequestId, RoleName, SessionId, UserId};
use jit_proto::request::RequestSpec;
use jit_proto::time::{BootId, BootTime, WallTime, micros};
use proptest::prelude::*;

use crate::core::caller::{Caller, Location};
use crate::core::clock_offset::ClockOffset;
use crate::core::command::{Command, GrantSelector};
use crate::core::context::Context;
use crate::core::effect::{Change, Commit, Effect, SessionOrder};
use crate::core::input::{AccessQuery, Input, Named, Process, Stage};
use crate::core::ledger::GroupAsked;
use crate::core::ledger::{GrantState, Ledger, MainProcess, RequestState, SessionState};
use crate::core::people::{Account, People, Person};
use crate::core::policy::{
    Mode, OnExpiry, Policy, Role, RoleOptions, RunAs, RunAsGroups, Settings, TicketRule,
};
use crate::core::reconcile::reconcile;
use crate::core::reply::{Reply, Verdict};
use crate::core::session::termination::EndReport;
use crate::core::step::{next_deadline, step};
use crate::core::time::Now;

pub(super) const OPERATOR: UserId = UserId(1009);
const WINDOW: Duration = Duration::from_secs(600);
/// The duration of extensions.
const MORE: Duration = Duration::from_secs(200);
/// The drain time of the role with `deny-new`.
const LINGER: Duration = Duration::from_secs(90);
/// The uncertainty about the wall clock after a crash (`REMEMBER_CLOCK`), and a little more.
const CLOCK_SLACK: Duration = Duration::from_secs(62);

/// An event of the model.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    Request {
        who: u8,
        role: bool,
    },
    Approve {
        who: u8,
        id: u64,
        as_login: u8,
    },
    Deny {
        who: u8,
        id: u64,
    },
    Cancel {
        who: u8,
        id: u64,
    },
    Release {
        who: u8,
        id: u64,
    },
    Give {
        who: u8,
        to: u8,
        role: bool,
    },
    Revoke {
        who: u8,
        id: u64,
    },
    Enter {
        who: u8,
        tagged: bool,
    },
    /// polkit asks about something that opens no session.
    Authorize {
        who: u8,
    },
    Session {
        stage: bool,
        nth: u8,
        target: u8,
    },
    Gone {
        nth: u8,
    },
    /// A holder requests an extension, or an operator extends a window.
    Extend {
        who: u8,
        id: u64,
    },
    /// The policy is loaded again: with or without this person, with or without the second role, and observing or not.
    Reload {
        without: u8,
        second: bool,
        observe: bool,
    },
    /// A login ended.
    Logout,
    Pass {
        seconds: u64,
    },
    /// The wall clock is set, by hours or by less than a second.
    StepWall {
        micros: i64,
    },
    /// jitd dies after this many effects of its next step, and starts again.
    Crash {
        after: usize,
    },
    Reboot {
        wall: i64,
    },
}

pub(super) fn happening() -> impl Strategy<Value = Happening> {
    let who = 0u8..6;
    let id = 1u64..8;
    prop_oneof![
        4 => (who.clone(), any::<bool>()).prop_map(|(who, role)| Happening::Request { who, role }),
        6 => (who.clone(), id.clone(), who.clone())
            .prop_map(|(who, id, as_login)| Happening::Approve { who, id, as_login }),
        1 => (who.clone(), id.clone()).prop_map(|(who, id)| Happening::Deny { who, id }),
        1 => (who.clone(), id.clone()).prop_map(|(who, id)| Happening::Cancel { who, id }),
        1 => (who.clone(), id.clone()).prop_map(|(who, id)| Happening::Release { who, id }),
        3 => (6u8..10, who.clone(), any::<bool>()).prop_map(|(who, to, role)| Happening::Give { who, to, role }),
        1 => (0u8..10, id).prop_map(|(who, id)| Happening::Revoke { who, id }),
        6 => (who.clone(), any::<bool>()).prop_map(|(who, tagged)| Happening::Enter { who, tagged }),
        2 => who.clone().prop_map(|who| Happening::Authorize { who }),
        4 => (any::<bool>(), 0u8..4, who).prop_map(|(stage, nth, target)| Happening::Session { stage, nth, target }),
        2 => (0u8..4).prop_map(|nth| Happening::Gone { nth }),
        3 => (0u8..10, 1u64..8).prop_map(|(who, id)| Happening::Extend { who, id }),
        1 => (0u8..12, prop::bool::weighted(0.8), any::<bool>())
            .prop_map(|(without, second, observe)| Happening::Reload { without, second, observe }),
        1 => Just(Happening::Logout),
        4 => (0u64..900).prop_map(|seconds| Happening::Pass { seconds }),
        2 => (-100_000_000_000i64..100_000_000_000).prop_map(|micros| Happening::StepWall { micros }),
        2 => (-999_999i64..999_999).prop_map(|micros| Happening::StepWall { micros }),
        2 => (0usize..6).prop_map(|after| Happening::Crash { after }),
        1 => (-100_000i64..100_000).prop_map(|wall| Happening::Reboot { wall }),
    ]
}

/// The state that survives jitd.
#[derive(Default)]
pub(super) struct FakeStore {
    pub(super) ledger: Ledger,
    pub(super) records: Vec<Sealed>,
    pub(super) head: Head,
}

pub(super) struct World {
    pub(super) ledger: Ledger,
    pub(super) store: FakeStore,
    pub(super) terminated: BTreeSet<SessionId>,
    pub(super) unrecorded: Option<SessionId>,
    pub(super) overlong: Option<String>,
    /// A call passed because jitd observes, while the policy in force does not.
    pub(super) observed_wrongly: bool,
    pub(super) last_effects: Vec<Effect>,
    pub(super) last_now: Now,
    policy: Policy,
    wall: i64,
    /// The sum of all settings of the wall clock, in microseconds.
    offset: i64,
    clock_offset: ClockOffset,
    boot: u64,
    boots: u32,
    /// The time that has really passed, over all boots.
    elapsed: Duration,
    granted: BTreeMap<GrantId, Duration>,
    /// The upper bound of the extensions of each window.
    extended: BTreeMap<GrantId, Duration>,
    tags: u32,
    crash_after: Option<usize>,
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self {
            ledger: Ledger::default(),
            store: FakeStore::default(),
            terminated: BTreeSet::new(),
            unrecorded: None,
            overlong: None,
            observed_wrongly: false,
            last_effects: Vec::new(),
            last_now: Now { wall: WallTime(0), boot: BootTime(0), boot_id: BootId("0".into()) },
            policy: policy(),
            wall: 1_800_000_000_000_000,
            offset: 0,
            clock_offset: ClockOffset::starting_at(0),
            boot: 10_000_000,
            boots: 0,
            elapsed: Duration::ZERO,
            granted: BTreeMap::new(),
            extended: BTreeMap::new(),
            tags: 100,
            crash_after: None,
        };
        world.last_now = world.now();
        world
    }

    pub(super) fn let_happen(&mut self, happening: &Happening) {
        match happening.clone() {
            Happening::Request { who, role } => self.command(who, who, Command::Request(spec(role))),
            Happening::Approve { who, id, as_login } => {
                let approve = Command::Approve { id: RequestId(id), duration: None, comment: String::new() };
                self.command(who, as_login, approve);
            }
            Happening::Deny { who, id } => {
                self.command(who, who, Command::Deny { id: RequestId(id), reason: reason() })
            }
            Happening::Cancel { who, id } => self.command(who, who, Command::Cancel(RequestId(id))),
            Happening::Release { who, id } => self.command(who, who, Command::Release(Some(GrantId(id)))),
            Happening::Give { who, to, role } => {
                self.command(who, who, Command::Grant { holder: account(to), spec: spec(role) })
            }
            Happening::Revoke { who, id } => {
                self.command(
                    who,
                    who,
                    Command::Revoke { which: GrantSelector::One(GrantId(id)), reason: reason() },
                );
            }
            Happening::Enter { who, tagged } => {
                self.tags += 1;
                let process = self.process(who, tagged.then_some(self.tags), None);
                self.query(Stage::Enter { tagged }, who, process, Named::Account(account(who)));
            }
            Happening::Authorize { who } => {
                let process = self.process(who, None, None);
                let stage = Stage::Authorize { session_follows: false };
                self.query(
                    stage,
                    who,
                    process,
                    Named::Account(Account { uid: UserId::ROOT, name: "root".into() }),
                );
            }
            Happening::Session { stage, nth, target } => {
                let Some(session) = self.ledger.sessions.values().nth(nth.into()).cloned() else { return };
                let who = u8::try_from(session.holder.uid.0 - 1000).unwrap();
                let process = self.process(who, session.audit_session, Some(session.id));
                let stage = if stage { Stage::Recheck } else { Stage::Track };
                let target = if target == 0 {
                    Account { uid: UserId::ROOT, name: "root".into() }
                } else {
                    account(target)
                };
                self.query(stage, who, process, Named::Account(target));
            }
            Happening::Extend { who, id } => {
                let more =
                    Command::Extend { id: GrantId(id), duration: Some(MORE), reason: reason(), ticket: None };
                self.command(who, who, more);
            }
            Happening::Reload { without, second, observe } => {
                let mut policy = policy();
                policy.settings.options.mode = if observe { Mode::Observe } else { Mode::Enforce };
                for role in policy.roles.values_mut() {
                    role.members.users.remove(&account(without).uid);
                }
                if !second {
                    policy.roles.remove(&role_name(true));
                }
                self.policy = policy;
                let holders = self.ledger.grants.values().map(|grant| grant.holder.clone());
                let people = holders.map(|holder| {
                    let groups = BTreeSet::new();
                    (holder.uid, Some(Person { account: holder, groups, locked: false }))
                });
                let people: BTreeMap<_, _> = people.collect();
                self.event(Input::PolicyLoaded(Arc::new(self.policy.clone()), people));
            }
            Happening::Logout => self.event(Input::LoginGone("c1".into())),
            Happening::Gone { nth } => {
                if let Some(id) = self.ledger.sessions.keys().nth(nth.into()).copied() {
                    self.event(Input::SessionGone(id, EndReport::default()));
                }
            }
            Happening::Pass { seconds } => self.pass(Duration::from_secs(seconds)),
            Happening::StepWall { micros } => {
                self.wall += micros;
                self.offset += micros;
                let shift = self.clock_offset.set_to(self.offset);
                self.event(shift.map_or(Input::Tick, |by| Input::ClockSet { by }));
            }
            Happening::Crash { after } => self.crash_after = Some(after),
            Happening::Reboot { wall } => {
                self.wall += wall * 1_000_000;
                self.boot = 5_000_000;
                self.elapsed += Duration::from_secs(5);
                self.boots += 1;
                self.restart();
            }
        }
    }

    /// Passes time, and runs the core at each time that it asked for.
    fn pass(&mut self, span: Duration) {
        let end = self.boot + micros(span);
        while let Some(due) =
            next_deadline(&self.ledger, Some(&self.policy), &self.now()).filter(|due| due.0 <= end)
        {
            self.advance(due.0.saturating_sub(self.boot).max(1));
            self.event(Input::Tick);
        }
        self.advance(end.saturating_sub(self.boot));
    }

    fn advance(&mut self, span: u64) {
        self.boot += span;
        self.wall += i64::try_from(span).unwrap();
        self.elapsed += Duration::from_micros(span);
    }

    fn now(&self) -> Now {
        Now {
            wall: WallTime(u64::try_from(self.wall.max(0)).unwrap()),
            boot: BootTime(self.boot),
            boot_id: BootId(self.boots.to_string()),
        }
    }

    fn command(&mut self, who: u8, login: u8, command: Command) {
        let caller = Caller {
            person: person(who),
            loginuid: Some(account(login).uid),
            audit_session: None,
            location: Location::Login { id: "c1".into(), uid: account(login).uid },
            process: None,
            exe: None,
            holder: None,
        };
        self.event(Input::Command(Box::new(caller), command));
    }

    fn query(&mut self, stage: Stage, who: u8, process: Process, user: Named) {
        let query = AccessQuery {
            group: GroupAsked::Nothing,
            own_groups: BTreeSet::new(),
            stage,
            process,
            person: Some(person(who)),
            service: "sudo".into(),
            user,
            ruser: Named::Account(account(who)),
            tty: String::new(),
            line_observes: false,
        };
        self.event(Input::AccessQuery(Box::new(query)));
    }

    fn process(&self, who: u8, audit_session: Option<u32>, scope: Option<SessionId>) -> Process {
        Process {
            main: MainProcess { pid: self.tags, start: u64::from(self.tags) },
            real_uid: account(who).uid,
            loginuid: Some(account(who).uid),
            audit_session,
            parent_audit_session: Some(1),
            scope,
            login: Some("c1".into()),
            argv: vec!["sudo".into()],
            argv_cut: false,
            exe: None,
        }
    }

    fn event(&mut self, event: Input) {
        let now = self.now();
        let ledger = std::mem::take(&mut self.ledger);
        let (ledger, effects) = step(ledger, Some(&self.policy), event, &Context::default(), &now);
        self.ledger = ledger;
        self.last_now = now;
        let crash = self.crash_after.take();
        let performed = crash.unwrap_or(effects.len()).min(effects.len());
        for effect in &effects[..performed] {
            self.perform(effect);
        }
        self.last_effects = effects;
        if crash.is_some() {
            self.restart();
        }
    }

    /// Starts jitd with the contents of the store only.
    fn restart(&mut self) {
        self.terminated.clear();
        let now = self.now();
        let (ledger, effects) = reconcile(self.store.ledger.clone(), &BTreeSet::new(), &now);
        self.ledger = ledger;
        effects.iter().for_each(|effect| self.perform(effect));
        self.event(Input::Started { version: "test" });
    }

    fn perform(&mut self, effect: &Effect) {
        match effect {
            Effect::Commit(commit) => self.commit(commit.clone()),
            Effect::Session(SessionOrder::Terminate { session, .. }) => {
                self.terminated.insert(session.id);
            }
            Effect::Session(SessionOrder::Watch { session, .. }) => {
                let recorded = self.store.ledger.sessions.contains_key(&session.id)
                    && self
                        .store
                        .records
                        .iter()
                        .any(|r| r.line.contains(&format!("\"session\":{}", session.id)));
                if !recorded {
                    self.unrecorded = Some(session.id);
                }
            }
            Effect::Reply(Reply::Gate(Verdict::Allowed)) => self.somebody_passed(),
            Effect::Reply(Reply::Gate(Verdict::Observed(_))) => {
                self.observed_wrongly |= self.policy.settings.options.mode != Mode::Observe;
            }
            _ => {}
        }
    }

    /// Checks that no grant with a session is live for longer than its window, its extensions and what crashes cost.
    fn somebody_passed(&mut self) {
        for grant in self.ledger.sessions.values().map(|session| session.grant).collect::<BTreeSet<_>>() {
            let Some(since) = self.granted.get(&grant) else { continue };
            let used = self.elapsed.saturating_sub(*since);
            let live = self.ledger.grants.contains_key(&grant);
            let more = self.extended.get(&grant).copied().unwrap_or_default();
            if live && used > WINDOW + more + CLOCK_SLACK * (self.boots + 1) {
                self.overlong = Some(format!("grant {grant} is open after {used:?}"));
            }
        }
    }

    fn commit(&mut self, commit: Commit) {
        for change in commit.changes {
            match change {
                Change::Request(r) if r.state == RequestState::Pending => {
                    drop(self.store.ledger.requests.insert(r.id, r))
                }
                Change::Request(r) => drop(self.store.ledger.requests.remove(&r.id)),
                Change::Grant(g) if g.state == GrantState::Live => {
                    self.granted.entry(g.id).or_insert(self.elapsed);
                    if commit
                        .drafts
                        .iter()
                        .any(|d| d.event == AuditEvent::GrantExtended && d.facts.grant == Some(g.id.0))
                    {
                        *self.extended.entry(g.id).or_default() += MORE;
                    }
                    self.store.ledger.grants.insert(g.id, g);
                }
                Change::Grant(g) => drop(self.store.ledger.grants.remove(&g.id)),
                Change::Session(s) if matches!(s.state, SessionState::Ended { .. }) => {
                    self.store.ledger.sessions.remove(&s.id);
                }
                Change::Session(s) => drop(self.store.ledger.sessions.insert(s.id, s)),
            }
        }
        let FakeStore { ledger, records, head } = &mut self.store;
        ledger.highest_wall = self.ledger.highest_wall.max(ledger.highest_wall);
        ledger.next_id = ledger.next_id.max(self.ledger.next_id);
        ledger.next_session = ledger.next_session.max(self.ledger.next_session);
        records.extend(commit.drafts.into_iter().map(|draft| append(head, draft).unwrap()));
    }
}

pub(super) fn is_restart(effects: &[Effect]) -> bool {
    !effects.iter().any(|effect| matches!(effect, Effect::Reply(_)))
}

pub(super) fn approvals_needed(role: &RoleName) -> usize {
    if role.as_str() == "two" { 2 } else { 1 }
}

fn account(n: u8) -> Account {
    Account { uid: UserId(1000 + u32::from(n)), name: format!("user{n}") }
}

fn person(n: u8) -> Person {
    Person { account: account(n), groups: BTreeSet::new(), locked: false }
}

fn spec(role: bool) -> RequestSpec {
    RequestSpec { role: role_name(role), duration: Some(WINDOW), reason: reason(), ticket: None }
}

fn reason() -> Reason {
    Reason::try_from("because it has to be".to_owned()).unwrap()
}

fn role_name(two: bool) -> RoleName {
    RoleName::try_from(if two { "two" } else { "one" }.to_owned()).unwrap()
}

fn policy() -> Policy {
    let users = (0..6).map(account).map(|account| (account.uid, account.name));
    let everybody = People { users: users.collect(), ..People::default() };
    let role = |two: bool| Role {
        name: role_name(two),
        description: String::new(),
        members: everybody.clone(),
        run_as: RunAs {
            written: vec![],
            users: if two { BTreeSet::from([UserId::ROOT]) } else { BTreeSet::from([account(1).uid]) },
        },
        run_as_groups: RunAsGroups::default(),
        services: BTreeSet::from(["sudo".to_owned()]),
        default_duration: WINDOW,
        max_duration: WINDOW,
        ticket: TicketRule::default(),
        approvers: everybody.clone(),
        approvals: if two { 2 } else { 1 },
        options: RoleOptions {
            unused_for: (!two).then_some(WINDOW / 3),
            end_with_login: two,
            ..RoleOptions::default()
        },
        on_expiry: if two { OnExpiry::Terminate } else { OnExpiry::DenyNew { at_most: LINGER } },
    };
    let operators = People { users: [(OPERATOR, account(9).name)].into(), ..People::default() };
    Policy {
        digest: "d".into(),
        loaded_at: WallTime(0),
        settings: Settings { operators, ..Settings::default() },
        roles: [false, true].into_iter().map(|two| (role_name(two), role(two))).collect(),
    }
}
