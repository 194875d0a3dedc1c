//! What observe mode lets pass, what it records of it, and what it leaves denied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jit_proto::audit::chain::{Head, append};
use jit_proto::audit::observation::{Observation, Observed};
use jit_proto::audit::record::{AuditEvent, Draft, Record};
use jit_proto::identity::{GroupId, Reason, RoleName, SessionId, UserId};
use jit_proto::request::RequestSpec;
use jit_proto::time::{BootId, BootTime, WallTime};
use proptest::prelude::*;

use crate::core::caller::{Caller, Location};
use crate::core::command::Command;
use crate::core::context::Context;
use crate::core::effect::{Commit, Durability, Effect, SessionOrder};
use crate::core::input::{AccessQuery, Input, Named, Process, Stage};
use crate::core::ledger::{GroupAsked, Ledger, MainProcess, SessionState};
use crate::core::people::{Account, People, Person};
use crate::core::policy::{
    DaemonOptions, Mode, OnExpiry, Policy, Role, RoleOptions, RunAs, RunAsGroups, Settings, TicketRule,
};
use crate::core::reply::{Reply, Verdict};
use crate::core::step::step;
use crate::core::time::Now;

const ENTER: Stage = Stage::Enter { tagged: true };
const WWW: u32 = 33;
const OPERATOR: u32 = 9;

fn account(uid: u32) -> Account {
    Account { uid: UserId(uid), name: format!("u{uid}") }
}

fn person(uid: u32) -> Person {
    Person { account: account(uid), groups: BTreeSet::from([GroupId(uid)]), locked: false }
}

fn named(name: &str) -> RoleName {
    RoleName::try_from(name.to_owned()).unwrap()
}

fn role(name: &str, mode: Option<Mode>, members: &[u32], run_as: u32) -> Role {
    Role {
        name: named(name),
        description: String::new(),
        members: People { groups: members.iter().copied().map(GroupId).collect(), ..People::default() },
        run_as: RunAs { written: vec![], users: [UserId(run_as)].into() },
        run_as_groups: RunAsGroups::default(),
        services: ["sudo".to_owned()].into(),
        default_duration: Duration::from_secs(60),
        max_duration: Duration::from_secs(60),
        ticket: TicketRule::default(),
        approvers: People::default(),
        approvals: 1,
        options: RoleOptions { reason_min_length: 0, mode, ..RoleOptions::default() },
        on_expiry: OnExpiry::Terminate,
    }
}

fn policy(mode: Mode, roles: Vec<Role>) -> Policy {
    let options = DaemonOptions { mode, ..DaemonOptions::default() };
    let operators =
        People { users: [(UserId(OPERATOR), account(OPERATOR).name)].into(), ..People::default() };
    Policy {
        digest: "d".into(),
        loaded_at: WallTime(0),
        settings: Settings { options, operators, ..Settings::default() },
        roles: roles.into_iter().map(|role| (role.name.clone(), role)).collect(),
    }
}

struct World {
    ledger: Ledger,
    policy: Option<Policy>,
    drafts: Vec<Draft>,
    last: Vec<Effect>,
    seconds: u64,
}

impl World {
    fn of(policy: Policy) -> Self {
        let mut world = Self {
            ledger: Ledger::default(),
            policy: None,
            drafts: Vec::new(),
            last: Vec::new(),
            seconds: 9,
        };
        world.load(policy);
        world
    }

    fn load(&mut self, policy: Policy) {
        self.policy = Some(policy.clone());
        let holders = self.ledger.grants.values().map(|grant| grant.holder.uid);
        let people = holders.map(|uid| (uid, Some(person(uid.0)))).collect();
        self.input(Input::PolicyLoaded(Arc::new(policy), people));
    }

    fn input(&mut self, input: Input) -> Option<Verdict> {
        let at = self.seconds * 1_000_000;
        let now = Now { wall: WallTime(at), boot: BootTime(at), boot_id: BootId("b".into()) };
        let ledger = std::mem::take(&mut self.ledger);
        let (ledger, effects) = step(ledger, self.policy.as_ref(), input, &Context::default(), &now);
        self.ledger = ledger;
        self.last = effects;
        let commits = self.last.iter().filter_map(|effect| match effect {
            Effect::Commit(commit) => Some(commit),
            _ => None,
        });
        self.drafts.extend(commits.flat_map(|commit| commit.drafts.clone()));
        self.last.iter().find_map(|effect| match effect {
            Effect::Reply(Reply::Gate(verdict)) => Some(verdict.clone()),
            _ => None,
        })
    }

    fn ask(&mut self, query: AccessQuery) -> Verdict {
        self.input(Input::AccessQuery(Box::new(query))).unwrap()
    }

    /// An operator gives somebody a window.
    fn grant(&mut self, uid: u32, role: &str) {
        let caller = Caller {
            person: person(OPERATOR),
            loginuid: Some(UserId(OPERATOR)),
            audit_session: None,
            location: Location::Login { id: "c1".into(), uid: UserId(OPERATOR) },
            process: None,
            exe: None,
            holder: None,
        };
        let reason = Reason::try_from("because".to_owned()).unwrap();
        let spec = RequestSpec { role: named(role), duration: None, reason, ticket: None };
        self.input(Input::Command(Box::new(caller), Command::Grant { holder: account(uid), spec }));
        assert_eq!(self.ledger.grants.len(), 1, "{:?}", self.drafts.last());
    }

    fn of_event(&self, event: AuditEvent) -> Vec<&Draft> {
        self.drafts.iter().filter(|draft| draft.event == event).collect()
    }

    fn observed(&self) -> Vec<&Draft> {
        self.of_event(AuditEvent::AccessObserved)
    }

    fn watches(&self) -> bool {
        self.last.iter().any(|effect| matches!(effect, Effect::Session(SessionOrder::Watch { .. })))
    }
}

fn query(stage: Stage, uid: u32, pid: u32) -> AccessQuery {
    AccessQuery {
        stage,
        process: Process {
            main: MainProcess { pid, start: 1 },
            real_uid: UserId(uid),
            loginuid: Some(UserId(uid)),
            audit_session: Some(pid),
            parent_audit_session: Some(1),
            scope: None,
            login: None,
            argv: vec!["sudo".into(), "id".into()],
            argv_cut: false,
            exe: None,
        },
        person: Some(person(uid)),
        service: "sudo".into(),
        user: Named::Account(account(uid)),
        ruser: Named::Account(account(uid)),
        tty: String::new(),
        group: GroupAsked::Nothing,
        own_groups: BTreeSet::new(),
        line_observes: false,
    }
}

fn becoming(target: u32, query: AccessQuery) -> AccessQuery {
    let name = if target == 0 { "root".to_owned() } else { format!("u{target}") };
    AccessQuery { user: Named::Account(Account { uid: UserId(target), name }), ..query }
}

fn denies(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Denied(_))
}

fn passes(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Observed(_))
}

#[test]
fn a_denied_call_passes_without_a_session_where_the_host_observes() {
    let mut world =
        World::of(policy(Mode::Observe, vec![role("ops", None, &[1], 0), role("db", None, &[2], 0)]));
    let Verdict::Observed(lines) = world.ask(query(ENTER, 1, 50)) else { panic!("{:?}", world.last) };
    assert_eq!(
        lines,
        ["jit: sudo would be denied (no open window); it passes because this host only observes."]
    );
    assert!(world.ledger.sessions.is_empty() && !world.watches());
    let facts = &world.observed()[0].facts;
    assert_eq!(facts.outcome.as_deref(), Some("observed"));
    assert_eq!((facts.user.as_deref(), facts.pid), (Some("u1"), Some(50)));
    assert_eq!(facts.observed_by.as_deref(), Some("host"));
    assert_eq!(facts.eligible_roles.as_deref(), Some(["ops".to_owned()].as_slice()));
    assert_eq!(facts.other_roles.as_deref(), Some(["db".to_owned()].as_slice()));
    // Its session stage passes, says whom it became, and says nothing twice.
    for stage in [Stage::Recheck, Stage::Track] {
        assert_eq!(world.ask(becoming(0, query(stage, 1, 50))), Verdict::Observed(vec![]));
    }
    let records = world.observed();
    assert_eq!((records.len(), records[1].facts.part), (2, Some(2)));
    assert_eq!(records[1].facts.run_as.as_deref(), Some("root"));
    assert!(world.ledger.sessions.is_empty() && world.of_event(AuditEvent::AccessDenied).is_empty());
    // Who has a window is a session as ever.
    world.grant(1, "ops");
    assert_eq!(world.ask(query(ENTER, 1, 51)), Verdict::Allowed);
    assert!(world.watches());
    assert_eq!(world.observed().len(), 2);
}

#[test]
fn nobody_is_told_where_the_notice_is_off() {
    let mut silent = policy(Mode::Observe, vec![]);
    silent.settings.options.observe_notice = false;
    assert_eq!(World::of(silent).ask(query(ENTER, 1, 50)), Verdict::Observed(vec![]));
}

#[test]
fn nothing_observes_unless_it_is_told_to() {
    let mut world = World::of(policy(Mode::Enforce, vec![role("ops", None, &[1], 0)]));
    assert!(denies(&world.ask(query(ENTER, 1, 50))));
    assert!(denies(&world.ask(becoming(0, query(Stage::Recheck, 1, 50)))));
    world.policy = None;
    assert!(denies(&world.ask(query(ENTER, 1, 51))), "without a policy no mode is known");
    let line = AccessQuery { line_observes: true, ..query(ENTER, 1, 52) };
    assert!(passes(&world.ask(line)));
    assert_eq!(world.observed()[0].facts.observed_by.as_deref(), Some("line"));
}

/// Host, and roles that user 1 may request: their mode and whom they let one become; then what the account stage and the
/// session stage towards root come to.
#[test]
fn a_roles_mode_goes_before_the_hosts_for_its_members() {
    use Mode::{Enforce as E, Observe as O};
    type Roles<'a> = &'a [(Option<Mode>, u32)];
    let cases: [(Mode, Roles<'_>, bool, bool); 11] = [
        (E, &[], false, false),
        (O, &[], true, true),
        (E, &[(Some(O), 0)], true, true),
        (E, &[(Some(O), WWW)], true, false),
        (E, &[(None, 0)], false, false),
        (O, &[(None, 0)], true, true),
        (O, &[(Some(E), 0)], false, false),
        (O, &[(Some(E), 0), (Some(O), 0)], true, true),
        (O, &[(Some(E), 0), (None, 0)], true, true),
        (E, &[(Some(E), 0), (Some(O), WWW)], true, false),
        (O, &[(Some(E), 0), (Some(O), WWW)], true, false),
    ];
    for (host, roles, account, session) in cases {
        let of =
            |(n, (mode, run_as)): (usize, &(Option<Mode>, u32))| role(&format!("r{n}"), *mode, &[1], *run_as);
        let mut roles: Vec<Role> = roles.iter().enumerate().map(of).collect();
        // One of others says nothing for this person, and neither does one of another service.
        roles.push(role("others", Some(Mode::Observe), &[2], 0));
        roles.push(Role { services: ["su".to_owned()].into(), ..role("su", Some(Mode::Observe), &[1], 0) });
        let mut world = World::of(policy(host, roles.clone()));
        let entered = world.ask(query(ENTER, 1, 50));
        assert_eq!(passes(&entered), account, "{host:?} {roles:?}");
        if account {
            let rechecked = world.ask(becoming(0, query(Stage::Recheck, 1, 50)));
            assert_eq!(passes(&rechecked), session, "{host:?} {roles:?}");
            assert_eq!(world.of_event(AuditEvent::AccessDenied).len(), usize::from(!session));
        }
    }
}

#[test]
fn switching_to_enforce_takes_effect_between_the_two_stages() {
    let roles = || vec![role("ops", None, &[1], 0)];
    let mut world = World::of(policy(Mode::Observe, roles()));
    assert!(passes(&world.ask(query(ENTER, 1, 50))));
    world.load(policy(Mode::Enforce, roles()));
    assert!(denies(&world.ask(becoming(0, query(Stage::Recheck, 1, 50)))));
    assert!(denies(&world.ask(query(ENTER, 1, 51))));
}

#[test]
fn who_is_not_who_pam_says_passes_by_the_host_and_the_line_and_by_no_role() {
    let spoof = |line_observes| AccessQuery {
        ruser: Named::Account(account(2)),
        line_observes,
        ..query(ENTER, 1, 50)
    };
    let observing = || vec![role("ops", Some(Mode::Observe), &[1, 2], 0)];
    assert!(denies(&World::of(policy(Mode::Enforce, observing())).ask(spoof(false))));
    assert!(passes(&World::of(policy(Mode::Enforce, observing())).ask(spoof(true))));
    let mut world = World::of(policy(Mode::Observe, vec![]));
    assert!(passes(&world.ask(spoof(false))));
    assert!(world.observed()[0].facts.detail.as_deref().unwrap().contains("PAM names u2"));
    // A pid that is another process's: the session stage of a call that nobody knows.
    let mut world = World::of(policy(Mode::Enforce, observing()));
    assert!(passes(&world.ask(query(ENTER, 1, 50))));
    let mut other = becoming(0, query(Stage::Recheck, 3, 50));
    other.process.main.start = 2;
    assert!(denies(&world.ask(other)));
}

#[test]
fn a_session_stage_alone_is_decided_and_recorded_as_a_call() {
    let mut world = World::of(policy(Mode::Enforce, vec![role("www", Some(Mode::Observe), &[1], WWW)]));
    assert!(passes(&world.ask(becoming(WWW, query(Stage::Recheck, 1, 50)))));
    assert!(passes(&world.ask(becoming(WWW, query(Stage::Track, 1, 50)))));
    assert!(denies(&world.ask(becoming(0, query(Stage::Recheck, 1, 51)))));
    let facts = &world.observed()[0].facts;
    assert_eq!((world.observed().len(), facts.part, facts.run_as.as_deref()), (1, None, Some("u33")));
    assert!(world.ledger.sessions.is_empty());
}

#[test]
fn sudoedit_is_the_persons_although_its_session_stage_is_roots() {
    let mut world = World::of(policy(Mode::Enforce, vec![role("ops", Some(Mode::Observe), &[1], 0)]));
    assert!(passes(&world.ask(query(ENTER, 1, 50))));
    let mut edit = becoming(0, query(Stage::Recheck, 1, 50));
    edit.process.real_uid = UserId::ROOT;
    edit.person = Some(Person { account: account(0), groups: BTreeSet::new(), locked: false });
    assert!(passes(&world.ask(edit)));
    let facts = &world.observed()[1].facts;
    assert_eq!((facts.user.as_deref(), facts.uid, facts.part), (Some("u1"), Some(1), Some(2)));
}

#[test]
fn a_window_that_does_not_cover_the_target_holds_the_call_and_ends_it_when_enforced() {
    let roles = || vec![role("www", None, &[1], WWW)];
    let mut world = World::of(policy(Mode::Observe, roles()));
    world.grant(1, "www");
    assert_eq!(world.ask(query(ENTER, 1, 50)), Verdict::Allowed);
    for stage in [Stage::Recheck, Stage::Track] {
        let verdict = world.ask(becoming(0, query(stage, 1, 50)));
        assert!(!denies(&verdict), "{verdict:?}");
    }
    assert_eq!(world.observed().len(), 1);
    assert!(!world.last.iter().any(|it| matches!(it, Effect::Session(SessionOrder::WatchGroups { .. }))));
    world.load(policy(Mode::Observe, roles()));
    let state = |world: &World| world.ledger.sessions[&SessionId(1)].state.clone();
    assert!(matches!(state(&world), SessionState::Open { .. }));
    world.load(policy(Mode::Enforce, roles()));
    assert!(matches!(state(&world), SessionState::Ending { .. }));
}

#[test]
fn the_record_is_on_the_disk_and_the_key_gone_before_the_command_begins() {
    let mut world = World::of(policy(Mode::Observe, vec![]));
    world.ledger.sealed = true;
    let durability = |world: &World| match world.last.first() {
        Some(Effect::Commit(Commit { durability, .. })) => *durability,
        other => panic!("{other:?}"),
    };
    assert!(passes(&world.ask(query(ENTER, 1, 50))));
    assert_eq!(durability(&world), Durability::BeforeTheSession);
    assert!(passes(&world.ask(becoming(0, query(Stage::Recheck, 1, 50)))));
    assert_eq!(durability(&world), Durability::AtOnce);
}

#[test]
fn the_mode_is_told_when_it_changes_and_by_each_start() {
    let roles = |mode| vec![role("db", mode, &[2], 0), role("ops", None, &[1], 0)];
    let mut world = World::of(policy(Mode::Enforce, roles(None)));
    let told = |world: &World| -> Vec<(AuditEvent, String)> {
        let of = |draft: &&Draft| matches!(draft.event, AuditEvent::ObserveBegan | AuditEvent::ObserveEnded);
        let told = world.drafts.iter().filter(of);
        told.map(|draft| (draft.event, draft.facts.detail.clone().unwrap())).collect()
    };
    assert_eq!(told(&world), []);
    world.load(policy(Mode::Enforce, roles(Some(Mode::Observe))));
    world.load(policy(Mode::Enforce, roles(Some(Mode::Observe))));
    world.load(policy(Mode::Observe, roles(Some(Mode::Enforce))));
    world.load(policy(Mode::Enforce, roles(None)));
    let expected = [
        (AuditEvent::ObserveBegan, "role db"),
        (AuditEvent::ObserveBegan, "role ops, the host"),
        (AuditEvent::ObserveEnded, "role db"),
        (AuditEvent::ObserveEnded, "role ops, the host"),
    ];
    assert_eq!(told(&world), expected.map(|(event, what)| (event, what.to_owned())));
    let start = World::of(policy(Mode::Observe, vec![]));
    assert_eq!(told(&start), [(AuditEvent::ObserveBegan, "the host".to_owned())]);
    let loaded = start.of_event(AuditEvent::PolicyLoaded)[0].facts.detail.clone().unwrap();
    assert!(loaded.ends_with("; observing: the host"), "{loaded}");
}

/// The records of the drafts, folded as `jitctl report --observe` folds them; and the lines, for a count of its own.
fn reported(drafts: &[Draft]) -> (Observation, Vec<String>) {
    let mut head = Head::default();
    let lines: Vec<String> =
        drafts.iter().map(|draft| append(&mut head, draft.clone()).unwrap().line.to_string()).collect();
    let mut observed = Observed::default();
    for line in &lines {
        observed.take(&serde_json::from_str::<Record>(line).unwrap());
    }
    (observed.finish(), lines)
}

/// A day of calls: hundred users, each with rhythms of their own, one of them a program that calls every ten seconds; some
/// have a window for a while. The figures of the report are those of a count of what was done.
#[test]
fn a_day_of_calls_is_reported_as_it_was() {
    let everybody: Vec<u32> = (1000..1050).collect();
    let roles = vec![
        role("ops", None, &everybody, 0),
        role("www", None, &(1040..1060).collect::<Vec<_>>(), WWW),
        role("strict", Some(Mode::Enforce), &[1099], 0),
    ];
    let mut world = World::of(policy(Mode::Observe, roles));
    let mut count: BTreeMap<u32, u64> = BTreeMap::new();
    let (mut pid, mut denied, mut covered) = (0, 0_u64, 0_u64);
    for second in 0..24 * 3600_u64 {
        world.seconds = 100 + second;
        for user in 0..100_u32 {
            let every = if user == 7 { 10 } else { 300 + u64::from(user) * 37 };
            if second % every != u64::from(user) % every {
                continue;
            }
            let uid = 1000 + user;
            pid += 1;
            let verdict = world.ask(query(ENTER, uid, pid));
            if uid == 1099 {
                assert!(denies(&verdict));
                denied += 1;
                continue;
            }
            assert!(passes(&verdict));
            *count.entry(uid).or_default() += 1;
            // One in five asks only what it may do, and has no session stage.
            let target = if pid % 2 == 0 { 0 } else { WWW };
            let whole = pid % 5 != 0;
            if whole {
                assert!(passes(&world.ask(becoming(target, query(Stage::Recheck, uid, pid)))));
                let _ = world.ask(becoming(target, query(Stage::Track, uid, pid)));
            }
            let in_ops = everybody.contains(&uid);
            let in_www = (1040..1060).contains(&uid) && (!whole || target == WWW);
            covered += u64::from(uid != 1007 && (in_ops || in_www));
        }
    }
    world.input(Input::Stopping);
    let (report, lines) = reported(&world.drafts);
    let all: u64 = count.values().sum();
    assert!(all > 8640 + 99 * 20, "{all}");
    assert_eq!((report.calls, report.denied), (all, denied));
    let by_user: BTreeMap<u32, u64> = report.people.iter().map(|it| (it.uid.unwrap(), it.calls)).collect();
    assert_eq!(by_user, count);
    let program = &report.people[0];
    assert_eq!(program.uid, Some(1007));
    // 300 at once and one more each minute, at most; nothing of what is above is lost.
    assert!(program.not_recorded > 8640 - 300 - 24 * 60 - 1, "{program:?}");
    assert_eq!(report.not_recorded, program.not_recorded);
    assert_eq!(report.covered, covered + program.covered);
    assert_eq!(report.covered + report.covered_by_other_roles + report.uncovered + report.not_recorded, all);
    // A count by the text of the lines, as grep has it.
    let has = |line: &&String, text: &str| line.contains(text);
    let firsts = lines.iter().filter(|it| has(it, "\"access.observed\"") && !has(it, "\"part\":2")).count();
    assert_eq!(firsts as u64, all - report.not_recorded);
}

proptest! {
    /// However the calls and the changes of the mode come: each call that passed and would have been denied is counted
    /// once, for whom it was.
    #[test]
    fn every_observed_call_is_counted_once(
        steps in prop::collection::vec((0u8..12, 1u32..6, 0u32..40, any::<bool>()), 1..400),
    ) {
        let roles = || vec![role("ops", None, &[1, 2, 3], 0), role("www", Some(Mode::Observe), &[3, 4], WWW)];
        let mut world = World::of(policy(Mode::Observe, roles()));
        let mut count: BTreeMap<u32, u64> = BTreeMap::new();
        for (what, uid, pid, flag) in steps {
            world.seconds += u64::from(pid);
            // A process is one user's.
            let pid = uid * 100 + pid % 8;
            match what {
                0 => world.load(policy(if flag { Mode::Observe } else { Mode::Enforce }, roles())),
                1..6 => if passes(&world.ask(query(ENTER, uid, pid))) {
                    *count.entry(uid).or_default() += 1;
                },
                _ => {
                    let call = world.ledger.observed.find(&[UserId(uid)], MainProcess { pid, start: 1 });
                    let is_new = call.is_none();
                    let stage = if flag { Stage::Recheck } else { Stage::Track };
                    let target = if what % 2 == 0 { 0 } else { WWW };
                    if passes(&world.ask(becoming(target, query(stage, uid, pid)))) && is_new {
                        *count.entry(uid).or_default() += 1;
                    }
                }
            }
            prop_assert!(world.ledger.sessions.is_empty());
        }
        world.input(Input::Stopping);
        let (report, _) = reported(&world.drafts);
        let by_user: BTreeMap<u32, u64> =
            report.people.iter().map(|it| (it.uid.unwrap(), it.calls)).collect();
        prop_assert_eq!(by_user, count);
    }
}
