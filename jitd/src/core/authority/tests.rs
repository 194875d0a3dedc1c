use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jit_proto::audit::record::AuditEvent;
use jit_proto::identity::{GrantId, GroupId, Reason, RequestId, RoleName, SessionId, UserId};
use jit_proto::request::RequestSpec;
use jit_proto::time::{BootId, BootTime, WallTime};

use super::*;
use crate::core::command::{Command, GrantSelector};
use crate::core::context::Context;
use crate::core::effect::Effect;
use crate::core::input::Input;
use crate::core::ledger::GroupAsked;
use crate::core::ledger::{MainProcess, RequestState, Session, SessionState};
use crate::core::people::People;
use crate::core::policy::{
    DaemonOptions, OnExpiry, Role, RoleOptions, RunAs, RunAsGroups, Settings, TicketRule,
};
use crate::core::reply::{Done, Reply};
use crate::core::step::step;
use crate::core::time::{Deadline, Now};

const REQ: u32 = 1;
const APP: u32 = 2;
const APP2: u32 = 3;
const OP: u32 = 4;
const MEMBERS: u32 = 100;
const APPROVERS: u32 = 101;

fn now() -> Now {
    Now { wall: WallTime(1_000_000), boot: BootTime(1_000_000), boot_id: BootId("b".into()) }
}

fn person(uid: u32) -> Person {
    let groups: &[u32] = match uid {
        REQ => &[MEMBERS],
        APP | APP2 => &[MEMBERS, APPROVERS],
        _ => &[],
    };
    let account = Account { uid: UserId(uid), name: format!("u{uid}") };
    Person { account, groups: groups.iter().map(|group| GroupId(*group)).collect(), locked: false }
}

/// A caller who logged in as `login` and calls as `uid`.
fn at_login(uid: u32, login: u32) -> Caller {
    Caller {
        person: person(uid),
        loginuid: Some(UserId(login)),
        audit_session: Some(login),
        location: Location::Login { id: "c1".into(), uid: UserId(login) },
        process: Some(MainProcess { pid: 9, start: 9 }),
        exe: Some("/usr/bin/jitctl".into()),
        holder: None,
    }
}

fn elsewhere(uid: u32, loginuid: Option<u32>, location: Location) -> Caller {
    Caller { loginuid: loginuid.map(UserId), audit_session: loginuid, location, ..at_login(uid, uid) }
}

/// A caller with `uid` in the scope of REQ's open session.
fn in_window(uid: u32) -> Caller {
    let location = Location::Window { session: SessionId(1), unit: "jit-1.scope".into() };
    Caller { location, audit_session: None, holder: Some(person(REQ)), ..at_login(uid, REQ) }
}

fn people(users: &[u32], groups: &[u32]) -> People {
    People {
        written: Vec::new(),
        users: users.iter().map(|uid| (UserId(*uid), format!("u{uid}"))).collect(),
        groups: groups.iter().map(|group| GroupId(*group)).collect(),
    }
}

fn with(options: DaemonOptions) -> Settings {
    Settings { options, ..Settings::default() }
}

fn policy(approvals: u32, settings: Settings) -> Policy {
    let role = Role {
        name: ops(),
        description: String::new(),
        members: people(&[], &[MEMBERS]),
        run_as: RunAs { written: Vec::new(), users: BTreeSet::from([UserId::ROOT]) },
        run_as_groups: RunAsGroups::default(),
        services: BTreeSet::from(["sudo".to_owned()]),
        default_duration: Duration::from_secs(600),
        max_duration: Duration::from_secs(3600),
        ticket: TicketRule::default(),
        approvers: people(&[], &[APPROVERS]),
        approvals,
        options: RoleOptions { reason_min_length: 0, ..RoleOptions::default() },
        on_expiry: OnExpiry::Terminate,
    };
    let settings = Settings { operators: people(&[OP], &[]), ..settings };
    Policy {
        digest: String::new(),
        loaded_at: WallTime(0),
        settings,
        roles: BTreeMap::from([(role.name.clone(), role)]),
    }
}

struct World {
    ledger: Ledger,
    policy: Policy,
    records: Vec<jit_proto::audit::record::Draft>,
}

impl World {
    fn new(approvals: u32, settings: Settings) -> Self {
        Self { ledger: Ledger::default(), policy: policy(approvals, settings), records: Vec::new() }
    }

    fn ask(&mut self, caller: &Caller, command: Command) -> Result<Done, Refusal> {
        let event = Input::Command(Box::new(caller.clone()), command);
        let (ledger, effects) =
            step(std::mem::take(&mut self.ledger), Some(&self.policy), event, &Context::default(), &now());
        self.ledger = ledger;
        let mut answer = None;
        for effect in effects {
            match effect {
                Effect::Commit(commit) => self.records.extend(commit.drafts),
                Effect::Reply(Reply::Command(result)) => answer = Some(result),
                _ => {}
            }
        }
        answer.unwrap()
    }

    fn request(&mut self, caller: &Caller) -> RequestId {
        let command = Command::Request(spec());
        let Ok(Done::Request(id)) = self.ask(caller, command) else { panic!("no request") };
        id
    }

    fn approve(&mut self, caller: &Caller, id: RequestId) -> Result<Done, Refusal> {
        self.ask(caller, Command::Approve { id, duration: None, comment: String::new() })
    }

    /// REQ has a window with one session open.
    fn with_window(mut self) -> (Self, GrantId) {
        let holder = person(REQ).account;
        let command = Command::Grant { holder, spec: spec() };
        let Ok(Done::Grant(grant)) = self.ask(&at_login(OP, OP), command) else { panic!("no grant") };
        let session = Session {
            id: SessionId(1),
            grant,
            role: ops(),
            holder: person(REQ).account,
            parent: None,
            audit_session: Some(77),
            loginuid: Some(UserId(REQ)),
            main: MainProcess { pid: 1, start: 1 },
            service: "sudo".into(),
            tty: String::new(),
            argv: Vec::new(),
            started_at: now().wall,
            started: now().boot,
            boot_id: now().boot_id,
            login: None,
            io_log: None,
            group: GroupAsked::Nothing,
            own_groups: BTreeSet::new(),
            drain_deadline: None,
            state: SessionState::Open { run_as: Account { uid: UserId::ROOT, name: "root".into() } },
        };
        self.ledger.sessions.insert(session.id, session);
        (self, grant)
    }

    fn last(&self, event: AuditEvent) -> &jit_proto::audit::record::Facts {
        &self.records.iter().rev().find(|record| record.event == event).unwrap().facts
    }
}

fn ops() -> RoleName {
    RoleName::try_from("ops".to_owned()).unwrap()
}

fn reason() -> Reason {
    Reason::try_from("because".to_owned()).unwrap()
}

fn spec() -> RequestSpec {
    RequestSpec { role: ops(), duration: None, reason: reason(), ticket: None }
}

fn grant_to(uid: u32) -> Command {
    let holder = person(uid).account;
    Command::Grant { holder, spec: spec() }
}

#[test]
fn one_login_is_one_approval_whatever_accounts_it_becomes() {
    let both = with(DaemonOptions {
        approve_as_another_account: true,
        approve_without_login: true,
        ..DaemonOptions::default()
    });
    let mut world = World::new(2, both);
    let id = world.request(&at_login(REQ, REQ));
    world.approve(&at_login(APP, APP), id).unwrap();
    // The same login through su; the same account through another login; a job of at that the first login left.
    for again in [
        at_login(APP2, APP),
        at_login(APP, APP2),
        elsewhere(APP2, Some(APP), Location::SystemUnit("atd.service".into())),
    ] {
        assert!(matches!(world.approve(&again, id), Err(Refusal::AlreadyDecided(_))), "{again:?}");
    }
    world.approve(&at_login(APP2, APP2), id).unwrap();
    assert!(world.ledger.requests.is_empty());
}

#[test]
fn nobody_approves_what_they_asked_for_under_another_account_either_way_round() {
    let both = with(DaemonOptions { approve_as_another_account: true, ..DaemonOptions::default() });
    // APP logged in and requests as REQ; then approves as APP.
    let mut world = World::new(1, both.clone());
    let id = world.request(&at_login(REQ, APP));
    assert!(matches!(world.approve(&at_login(APP, APP), id), Err(Refusal::SelfApproval(_))));
    // REQ requests, and approves as APP in the same login.
    let mut world = World::new(1, both);
    let id = world.request(&at_login(REQ, REQ));
    assert!(matches!(world.approve(&at_login(APP, REQ), id), Err(Refusal::SelfApproval(_))));
    // Root in the window has written another login uid; logind still knows the login.
    let mut written = at_login(APP, REQ);
    written.loginuid = Some(UserId(APP));
    assert!(world.approve(&written, id).is_err());
    world.approve(&at_login(APP2, APP2), id).unwrap();
}

#[test]
fn decisions_count_only_from_a_login_of_the_very_account_unless_settings_say_so() {
    let strict = Settings::default();
    let without = with(DaemonOptions { approve_without_login: true, ..DaemonOptions::default() });
    let another = with(DaemonOptions { approve_as_another_account: true, ..DaemonOptions::default() });
    let atd = || Location::SystemUnit("atd.service".into());
    let unit = || Location::UserUnit("run-1.service".into());
    for (caller, settings, may) in [
        (at_login(APP, APP), &strict, true),
        (at_login(APP, OP), &strict, false),
        (at_login(APP, OP), &without, false),
        (at_login(APP, OP), &another, true),
        (elsewhere(APP, Some(APP), atd()), &strict, false),
        (elsewhere(APP, Some(APP), atd()), &without, true),
        (elsewhere(APP, Some(OP), atd()), &without, false),
        (elsewhere(APP, Some(APP), unit()), &strict, false),
        (elsewhere(APP, None, atd()), &strict, false),
        (elsewhere(APP, None, Location::Elsewhere("/".into())), &strict, false),
        (elsewhere(APP, None, Location::Login { id: "c1".into(), uid: UserId(APP) }), &strict, false),
    ] {
        let mut world = World::new(1, settings.clone());
        let id = world.request(&at_login(REQ, REQ));
        assert_eq!(world.approve(&caller, id).is_ok(), may, "{caller:?}");
        let event = if may { AuditEvent::RequestApproved } else { AuditEvent::CommandRefused };
        let facts = world.last(event);
        assert_eq!(facts.origin.as_deref(), Some(caller.origin(&world.ledger).word()));
        assert_eq!(facts.loginuid, caller.loginuid.map(|uid| uid.0));
    }
}

/// su in a terminal that is a user unit, as on a desktop: pam_systemd opens a login of the target account.
#[test]
fn who_became_another_in_a_login_of_its_own_may_stop_and_not_decide() {
    let became = |uid: u32, loginuid: u32, login: u32| {
        elsewhere(uid, Some(loginuid), Location::Login { id: "c3".into(), uid: UserId(login) })
    };
    let mut world = World::new(1, Settings::default());
    let id = world.request(&at_login(REQ, REQ));
    let by_su = became(APP, REQ, APP);
    assert_eq!(by_su.origin(&world.ledger), Origin::OtherAccount);
    assert!(matches!(world.approve(&by_su, id), Err(Refusal::NotAuthorized(_))));
    for command in CommandKind::ALL {
        let from = |origin| command.rule(origin);
        assert_eq!(from(became(0, REQ, 0).origin(&world.ledger)), from(Origin::OtherAccount), "{command:?}");
        // Root in a person's login with another person's login uid: the sign that root rewrote it.
        assert_eq!(
            from(became(0, APP, REQ).origin(&world.ledger)),
            from(Origin::RewrittenLoginUid),
            "{command:?}"
        );
        assert_eq!(
            from(became(APP, OP, REQ).origin(&world.ledger)),
            from(Origin::RewrittenLoginUid),
            "{command:?}"
        );
    }
    assert_eq!(CommandKind::RevokeAll.rule(Origin::OtherAccount), Rule::Allowed);
    // Root of that login is not a login of root.
    assert_ne!(became(0, REQ, 0).origin(&world.ledger), Origin::RootLogin);
}

#[test]
fn an_operator_grants_to_nobody_that_they_are_themselves() {
    let another = with(DaemonOptions { approve_as_another_account: true, ..DaemonOptions::default() });
    let mut world = World::new(1, another);
    assert!(matches!(world.ask(&at_login(OP, REQ), grant_to(REQ)), Err(Refusal::SelfApproval(_))));
    assert!(matches!(world.ask(&at_login(OP, OP), grant_to(OP)), Err(Refusal::SelfApproval(_))));
    world.ask(&at_login(OP, REQ), grant_to(APP)).unwrap();
    let mut strict = World::new(1, Settings::default());
    assert!(matches!(strict.ask(&at_login(OP, REQ), grant_to(APP)), Err(Refusal::NotAuthorized(_))));
}

#[test]
fn from_a_window_nobody_decides_and_the_holder_has_what_is_theirs() {
    let both = with(DaemonOptions {
        approve_as_another_account: true,
        approve_without_login: true,
        ..DaemonOptions::default()
    });
    let mut left_scope = in_window(0);
    (left_scope.location, left_scope.audit_session) = (Location::Elsewhere("/".into()), Some(77));
    for inside in [in_window(0), left_scope] {
        let (mut world, grant) = World::new(1, both.clone()).with_window();
        let id = world.request(&at_login(APP2, APP2));
        for uid in [0, REQ, APP, OP] {
            let caller = Caller { person: person(uid), ..inside.clone() };
            let extend = |id| Command::Extend { id, duration: None, reason: reason(), ticket: None };
            let which = GrantSelector::One(grant);
            for command in [
                Command::Approve { id, duration: None, comment: String::new() },
                Command::Deny { id, reason: reason() },
                grant_to(APP2),
                Command::Revoke { which, reason: reason() },
                Command::Revoke { which: GrantSelector::All, reason: reason() },
                Command::Cancel(id),
                extend(GrantId(99)),
            ] {
                let what = format!("{uid} {command:?}");
                assert!(world.ask(&caller, command).is_err(), "{what}");
                let facts = world.last(AuditEvent::CommandRefused);
                assert_eq!(facts.session, Some(1), "{what}");
                assert!(facts.origin.as_deref().unwrap().starts_with("window"), "{what}");
                assert_eq!(facts.actor_uid, Some(uid), "{what}");
            }
            // Allowed for the holder, and for nobody else.
            let own = uid == 0 || uid == REQ;
            let asked = world.ask(&caller, Command::Request(spec()));
            assert_eq!(asked.is_ok(), own, "{uid}");
            if let Ok(Done::Request(asked)) = asked {
                assert_eq!(world.ledger.requests[&asked].requester.uid, UserId(REQ));
                world.ask(&caller, Command::Cancel(asked)).unwrap();
            }
            let extended = world.ask(&caller, extend(grant));
            assert_eq!(extended.is_ok(), own, "{uid}");
            if let Ok(Done::Request(more)) = extended {
                world.ask(&caller, Command::Cancel(more)).unwrap();
            }
        }
        let root = Caller { person: person(0), ..inside.clone() };
        assert_eq!(world.ask(&root, Command::Release(None)), Ok(Done::Grant(grant)));
        assert_eq!(world.last(AuditEvent::GrantReleased).session, Some(1));
    }
}

#[test]
fn what_has_been_decided_is_told_to_whom_it_concerns_and_to_nobody_else() {
    let mut world = World::new(1, Settings::default());
    let id = world.request(&at_login(REQ, REQ));
    let mut denied = world.ledger.requests[&id].clone();
    denied.state = RequestState::Denied { by: person(APP).account, reason: reason() };
    denied.closed_at = Some(WallTime(1_000_000));
    let command = || Command::AlreadyClosed { kind: CommandKind::Approve, request: Box::new(denied.clone()) };
    let told = world.ask(&at_login(APP2, APP2), command());
    let expected = "request 1 was denied by u2 at 1970-01-01T00:00:01";
    assert!(matches!(&told, Err(Refusal::AlreadyDecided(text)) if text.starts_with(expected)), "{told:?}");
    assert!(matches!(world.ask(&at_login(9, 9), command()), Err(Refusal::NoSuch(_))));
    // An operator may see the request, and is no approver.
    let operator = world.approve(&at_login(OP, OP), id);
    assert!(matches!(operator, Err(Refusal::NotAuthorized(_))), "{operator:?}");
    assert!(matches!(world.approve(&at_login(9, 9), id), Err(Refusal::NoSuch(_))));
}

#[test]
fn who_could_not_be_read_may_nothing() {
    let ledger = Ledger::default();
    let policy = policy(1, with(DaemonOptions { approve_without_login: true, ..DaemonOptions::default() }));
    for kind in CommandKind::ALL {
        for uid in [0, OP] {
            let caller = elsewhere(uid, None, Location::Unreadable("it has ended".into()));
            assert!(admit(&ledger, Some(&policy), &caller, kind).is_err(), "{kind:?}");
        }
    }
}

#[test]
fn no_command_that_opens_something_is_allowed_from_a_window() {
    for kind in CommandKind::ALL.into_iter().filter(|kind| kind.changes()) {
        for origin in Origin::ALL.into_iter().filter(|origin| origin.is_window()) {
            assert!(matches!(kind.rule(origin), Rule::CallOwner | Rule::Refused(_)), "{kind:?} {origin:?}");
        }
    }
}

/// Both the table and later rules can refuse; any local user can cause that as often as the bus allows.
#[test]
fn what_the_table_refuses_does_not_fill_the_record_either() {
    let mut world = World::new(1, Settings::default());
    let mut refuse = |uid, suppressed| {
        let refusal = Refusal::NotAuthorized("not for you".into());
        let caller = Box::new(at_login(uid, uid));
        let event = Input::Refused { caller, kind: CommandKind::RevokeAll, refusal, suppressed };
        let (ledger, effects) =
            step(std::mem::take(&mut world.ledger), Some(&world.policy), event, &Context::default(), &now());
        world.ledger = ledger;
        let answer = effects.iter().any(|it| matches!(it, Effect::Reply(Reply::Command(Err(_)))));
        assert!(answer, "it is refused, recorded or not");
        for effect in effects {
            if let Effect::Commit(commit) = effect {
                world.records.extend(commit.drafts);
            }
        }
    };
    (0..1000).for_each(|_| refuse(REQ, 0));
    refuse(REQ, 7);
    (0..1000).for_each(|_| refuse(UserId::ROOT.0, 0));
    let of = |event, uid| {
        let is = |it: &&jit_proto::audit::record::Draft| it.event == event && it.facts.actor_uid == Some(uid);
        world.records.iter().filter(is).count()
    };
    assert_eq!(of(AuditEvent::CommandRefused, REQ), 300);
    assert_eq!(of(AuditEvent::CommandRefused, 0), 1000, "root's are recorded always");
    assert_eq!(world.records.iter().filter(|it| it.event == AuditEvent::LimitReached).count(), 1);
    // The first refusal was reported at once; 699 remain, with the last one and the seven that it counted.
    let held_back = world.ledger.reached.take_all(now().boot).iter().map(|due| due.count).sum::<u64>();
    assert_eq!(held_back, 707);
}

#[test]
fn a_loop_of_requests_and_cancellations_writes_no_more_than_a_loop_of_refusals() {
    let mut world = World::new(1, Settings::default());
    let caller = at_login(REQ, REQ);
    let command = || Command::Request(spec());
    let mut made = 0;
    for _ in 0..2_000 {
        match world.ask(&caller, command()) {
            Ok(Done::Request(id)) => {
                made += 1;
                world.ask(&caller, Command::Cancel(id)).unwrap();
            }
            Err(Refusal::PolicyDenied(why)) => assert!(why.contains("more each minute"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(made, 300);
    let written = world.records.len();
    assert!(written <= 3 * 300 + 1, "{written} records of 2,000 requests");
    // Other users are not delayed.
    assert!(world.ask(&at_login(APP, APP), command()).is_ok());
}

#[test]
fn an_extension_without_room_is_not_approved_and_stays_pending() {
    let mut world = World::new(1, Settings::default());
    let Ok(Done::Grant(grant)) = world.ask(&at_login(OP, OP), grant_to(REQ)) else { panic!("no grant") };
    let extend = |duration| Command::Extend { id: grant, duration, reason: reason(), ticket: None };
    let Ok(Done::Request(id)) = world.ask(&at_login(REQ, REQ), extend(None)) else { panic!("no request") };
    // An operator grants the holder all that the role allows before an approver decides.
    let most = world.policy.roles[&ops()].max_duration;
    world.ask(&at_login(OP, OP), extend(Some(most))).unwrap();
    let before = world.ledger.clone();
    let Err(Refusal::PolicyDenied(why)) = world.approve(&at_login(APP, APP), id) else { panic!("approved") };
    assert!(why.contains("all that its role allows") && why.ends_with("stays pending"), "{why}");
    assert_eq!((&world.ledger.requests, &world.ledger.grants), (&before.requests, &before.grants));
    assert!(!world.records.iter().any(|record| record.event == AuditEvent::RequestApproved));
    let told = world.last(AuditEvent::CommandRefused).detail.clone().unwrap_or_default();
    assert!(told.contains("stays pending"), "{told}");
    // With a shorter window there is room again.
    world.ledger.grants.get_mut(&grant).unwrap().ends = Deadline::after(Duration::from_secs(60), &now());
    world.approve(&at_login(APP, APP), id).unwrap();
    assert_eq!(world.last(AuditEvent::GrantExtended).request, Some(id.0));
}

#[test]
fn a_request_expires_when_its_role_says_and_otherwise_when_jitd_toml_does() {
    let hour = Duration::from_secs(3600);
    let minutes = Duration::from_secs(600);
    for (of_role, expected) in [(None, hour), (Some(minutes), minutes)] {
        let mut world = World::new(1, Settings::default());
        world.policy.roles.values_mut().for_each(|role| role.options.request_expiry = of_role);
        let id = world.request(&at_login(REQ, REQ));
        assert_eq!(world.ledger.requests[&id].expires.remaining(&now()), expected);
    }
}

#[test]
fn who_is_locked_out_decides_nothing_in_a_login_that_was_there_before() {
    let ledger = Ledger::default();
    let policy = policy(1, Settings { auditors: people(&[APP2], &[]), ..Settings::default() });
    for uid in [REQ, APP, APP2, OP] {
        let mut caller = at_login(uid, uid);
        caller.person.locked = true;
        let admitted: Vec<&str> = CommandKind::ALL
            .into_iter()
            .filter(|kind| admit(&ledger, Some(&policy), &caller, *kind).is_ok())
            .map(CommandKind::word)
            .collect();
        let own = ["cancel", "release", "pending", "show", "grants", "sessions", "roles", "status"];
        assert_eq!(admitted, own, "uid {uid}");
        let Err(Refusal::NotAuthorized(why)) = admit(&ledger, Some(&policy), &caller, CommandKind::Approve)
        else {
            panic!("uid {uid} approves");
        };
        assert!(why.contains(&format!("the account of u{uid} is locked")), "{why}");
    }
}

#[test]
fn an_account_that_got_the_uid_of_another_inherits_nothing() {
    let ledger = Ledger::default();
    let policy = policy(1, Settings::default());
    let mut caller = at_login(OP, OP);
    assert!(admit(&ledger, Some(&policy), &caller, CommandKind::RevokeAll).is_ok());
    caller.person.account.name = "somebody-new".to_owned();
    assert!(admit(&ledger, Some(&policy), &caller, CommandKind::RevokeAll).is_err());
    assert!(!is_operator(Some(&policy), &ledger, &caller));
}
