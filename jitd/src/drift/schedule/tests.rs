//! When scans are made, what they are compared with, and which sessions they cover.

use jit_proto::identity::{RoleName, UserId};
use jit_proto::time::BootId;

use super::*;
use crate::core::ledger::{MainProcess, SessionState};
use crate::core::people::Account;
use crate::drift::snapshot::samples::file as entry_of;
use crate::drift::snapshot::{Checked, Entry};

fn at(seconds: f64) -> Now {
    let micros = (seconds * 1e6) as u64;
    Now {
        wall: WallTime(1_700_000_000_000_000 + micros),
        boot: BootTime(micros),
        boot_id: BootId("a".into()),
    }
}

fn session(id: u64, grant: u64, now: &Now) -> Session {
    let holder = Account { uid: UserId(2004), name: "dave".into() };
    Session {
        id: SessionId(id),
        grant: GrantId(grant),
        role: RoleName::try_from("ops".to_owned()).unwrap(),
        holder,
        parent: None,
        audit_session: None,
        loginuid: None,
        main: MainProcess { pid: 1, start: 1 },
        service: "sudo".into(),
        tty: String::new(),
        argv: Vec::new(),
        started_at: now.wall,
        started: now.boot,
        boot_id: now.boot_id.clone(),
        login: None,
        io_log: None,
        group: crate::core::ledger::GroupAsked::Nothing,
        own_groups: std::collections::BTreeSet::new(),
        drain_deadline: None,
        state: SessionState::Registered,
    }
}

fn host(files: &[(&str, &Now)]) -> Snapshot {
    let entry =
        |at: &Now| Entry { changed_at: i64::try_from(at.wall.0).unwrap(), ..entry_of("p", 0o644, 0, 0) };
    Snapshot {
        boot_id: BootId("a".into()),
        list: String::new(),
        setuid_paths: Vec::new(),
        places: files.iter().map(|(path, at)| ((*path).to_owned(), entry(at))).collect(),
        privileged: BTreeMap::new(),
        mounts: BTreeMap::new(),
        processes: BTreeMap::new(),
        checked: None,
        taken: WallTime(0),
    }
}

/// A schedule that has run for long, with a baseline of one file.
fn schedule() -> Schedule {
    let mut schedule = Schedule::new(None, Open::default(), &at(0.0));
    assert_eq!(schedule.tick(&at(0.0)), [Action::Scan]);
    assert_eq!(
        schedule.scanned(host(&[("/etc/old", &at(0.0))]), Duration::ZERO, &at(0.1)),
        [Action::WriteBaseline]
    );
    assert_eq!(schedule.due(), Some(at(60.1).boot), "the next one while nobody has a session");
    schedule
}

fn told(todo: &[Action]) -> Vec<(Vec<u64>, Vec<&str>)> {
    todo.iter()
        .filter_map(|what| match what {
            Action::Tell(held, findings) => Some((
                held.iter().map(|held| held.grant.0).collect(),
                findings.all.iter().map(|finding| finding.path.as_str()).collect(),
            )),
            _ => None,
        })
        .collect()
}

/// A `sudo cp` that ends before the fresh baseline has been taken.
#[test]
fn a_plant_of_the_first_milliseconds_is_told_at_the_end() {
    let mut schedule = schedule();
    let start = at(1000.0);
    assert_eq!(schedule.opened(&session(1, 7, &start)), [Action::WriteOpen]);
    assert_eq!(schedule.tick(&start), [Action::Scan]);
    schedule.gone(SessionId(1), &at(1000.01));
    let upgraded = at(500.0);
    let planted = at(1000.005);
    let now = host(&[("/etc/old", &at(0.0)), ("/etc/upgraded", &upgraded), ("/etc/planted", &planted)]);
    let todo = schedule.scanned(now.clone(), Duration::ZERO, &at(1000.1));
    assert!(matches!(&todo[..], [Action::TellHost(_, earlier)] if earlier.all.len() == 1), "{todo:?}");
    assert_eq!(schedule.recorded(&at(1000.1)), [Action::WriteBaseline]);
    // The scan took 0.1 s: the next one is due 5 s later at the earliest.
    assert!(schedule.tick(&at(1005.0)).is_empty());
    assert_eq!(schedule.tick(&at(1005.2)), [Action::Scan]);
    let todo = schedule.scanned(now, Duration::ZERO, &at(1005.3));
    assert_eq!(told(&todo), [(vec![7], vec!["/etc/planted"])]);
    assert_eq!(schedule.due(), None, "it waits for the record");
    assert_eq!(schedule.recorded(&at(1005.4)), [Action::WriteBaseline, Action::WriteOpen]);
    assert_eq!(schedule.due(), Some(at(1035.4).boot), "half a minute later, for what came late");
    assert!(schedule.open().held.is_empty() && schedule.open().last.len() == 1, "{:?}", schedule.open());
}

/// The scan had read the folder before the file was created, and was not finished when the session began.
#[test]
fn what_came_during_a_baseline_is_not_laid_at_the_next_ones_door() {
    for ends_meanwhile in [false, true] {
        let mut schedule = Schedule::new(None, Open::default(), &at(0.0));
        assert_eq!(schedule.tick(&at(0.0)), [Action::Scan]);
        schedule.opened(&session(1, 7, &at(0.5)));
        if ends_meanwhile {
            schedule.gone(SessionId(1), &at(0.51));
        }
        assert_eq!(
            schedule.scanned(host(&[("/etc/old", &at(0.0))]), Duration::ZERO, &at(0.6)),
            [Action::WriteBaseline]
        );
        assert_eq!(schedule.tick(&at(0.6)), [Action::Scan], "another baseline");
        let now = host(&[("/etc/old", &at(0.0)), ("/etc/came", &at(0.2)), ("/etc/planted", &at(0.505))]);
        let todo = schedule.scanned(now.clone(), Duration::ZERO, &at(0.7));
        assert!(matches!(&todo[..], [Action::TellHost(_, came)] if came.all.len() == 1), "{todo:?}");
        assert_eq!(schedule.recorded(&at(0.7)), [Action::WriteBaseline]);
        if !ends_meanwhile {
            schedule.gone(SessionId(1), &at(1.0));
        }
        assert_eq!(schedule.tick(&at(20.0)), [Action::Scan]);
        assert_eq!(
            told(&schedule.scanned(now, Duration::ZERO, &at(20.1))),
            [(vec![7], vec!["/etc/planted"])]
        );
    }
}

#[test]
fn a_burst_of_calls_costs_one_scan_every_half_a_minute() {
    let mut schedule = schedule();
    let mut walks = 0;
    for n in 0..6000_u32 {
        let now = at(1000.0 + f64::from(n) * 0.01);
        schedule.opened(&session(n.into(), 7, &now));
        walks += schedule.tick(&now).len();
        schedule.gone(SessionId(n.into()), &now);
        walks += schedule.tick(&now).len();
        if schedule.scanning_since().is_some() {
            schedule.scanned(host(&[("/etc/old", &at(0.0))]), Duration::ZERO, &now);
        }
    }
    assert_eq!(walks, 2, "a baseline at the first call, a look after half a minute");
    assert_eq!(schedule.tick(&at(1063.0)), [Action::Scan], "and one when all is quiet");
}

#[test]
fn who_opens_or_ends_a_session_during_a_scan_is_in_the_next_one_too() {
    let mut schedule = schedule();
    for (id, grant) in [(1, 7), (2, 8), (3, 9)] {
        schedule.opened(&session(id, grant, &at(1000.0)));
    }
    schedule.tick(&at(1000.0));
    schedule.scanned(host(&[("/etc/old", &at(0.0))]), Duration::ZERO, &at(1000.0));
    schedule.gone(SessionId(1), &at(1001.0));
    assert_eq!(schedule.tick(&at(1031.0)), [Action::Scan]);
    schedule.gone(SessionId(2), &at(1031.1));
    schedule.opened(&session(4, 10, &at(1031.1)));
    let todo = schedule.scanned(host(&[]), Duration::ZERO, &at(1031.2));
    assert_eq!(told(&todo), [(vec![7, 8, 9, 10], vec!["/etc/old"])]);
    schedule.recorded(&at(1031.3));
    let open: Vec<u64> = schedule.open().held.keys().map(|grant| grant.0).collect();
    assert_eq!(open, [8, 9, 10], "all but the one that was over before");
    assert!(schedule.due().is_some(), "the end during the scan asks for another one");
}

#[test]
fn a_restart_in_between_hides_nothing() {
    let mut first = schedule();
    first.opened(&session(1, 7, &at(1000.0)));
    let (baseline, open) = (first.baseline().cloned(), first.open().clone());
    let mut second = Schedule::new(baseline.clone(), open, &at(1010.0));
    assert_eq!(second.tick(&at(1010.0)), [Action::Scan]);
    assert_eq!(told(&second.scanned(host(&[]), Duration::ZERO, &at(1010.1))), [(vec![7], vec!["/etc/old"])]);
    // jitd was killed before the file was written: the session is still in the store.
    let mut third = Schedule::new(baseline, Open::default(), &at(1010.0));
    third.found(&session(1, 7, &at(1000.0)), &at(1010.0));
    assert_eq!(third.tick(&at(1010.0)), [Action::Scan]);
    assert_eq!(told(&third.scanned(host(&[]), Duration::ZERO, &at(1010.1))), [(vec![7], vec!["/etc/old"])]);
}

#[test]
fn a_baseline_that_is_gone_while_sessions_were_open_is_told() {
    let mut schedule = Schedule::new(None, Open::default(), &at(1010.0));
    schedule.found(&session(1, 7, &at(1000.0)), &at(1010.0));
    assert_eq!(schedule.tick(&at(1010.0)), [Action::Scan]);
    let todo = schedule.scanned(host(&[("/etc/planted", &at(1005.0))]), Duration::ZERO, &at(1010.1));
    assert_eq!(told(&todo)[0].0, [7]);
    schedule.recorded(&at(1031.3));
    assert_eq!(schedule.tick(&at(1041.0)), [Action::Scan]);
    let todo = schedule.scanned(host(&[("/etc/planted", &at(1005.0))]), Duration::ZERO, &at(1041.1));
    assert_eq!(told(&todo), [(vec![7], vec!["/etc/planted"])]);
}

#[test]
fn a_clock_that_was_set_proves_nothing() {
    let mut schedule = schedule();
    let start = at(1000.0);
    schedule.opened(&session(1, 7, &start));
    assert_eq!(schedule.tick(&start), [Action::Scan]);
    let mut later = at(1000.1);
    later.wall = WallTime(later.wall.0 - 3_600_000_000);
    let now = host(&[("/etc/old", &at(0.0)), ("/etc/backdated", &at(900.0))]);
    schedule.scanned(now.clone(), Duration::ZERO, &later);
    schedule.gone(SessionId(1), &at(1010.0));
    assert_eq!(schedule.tick(&at(1020.0)), [Action::Scan]);
    assert_eq!(
        told(&schedule.scanned(now, Duration::ZERO, &at(1020.1))),
        [(vec![7], vec!["/etc/backdated"])]
    );
}

#[test]
fn a_scan_that_failed_is_made_again() {
    let mut schedule = schedule();
    schedule.opened(&session(1, 7, &at(1000.0)));
    schedule.tick(&at(1000.0));
    schedule.failed(&at(1000.1));
    schedule.gone(SessionId(1), &at(1000.2));
    assert_eq!(schedule.tick(&at(1100.0)), [Action::Scan]);
    schedule.failed(&at(1100.1));
    assert!(schedule.due().is_some());
}

/// FOUND D3: a change that a timer makes after the session is recorded, with the grants before it.
#[test]
fn a_late_plant_is_told_of_the_host_with_the_last_grants() {
    let mut schedule = schedule();
    schedule.opened(&session(1, 7, &at(1000.0)));
    schedule.tick(&at(1000.0));
    schedule.scanned(host(&[("/etc/old", &at(0.0))]), Duration::ZERO, &at(1000.1));
    schedule.gone(SessionId(1), &at(1001.0));
    assert_eq!(schedule.tick(&at(1010.0)), [Action::Scan]);
    assert!(told(&schedule.scanned(host(&[("/etc/old", &at(0.0))]), Duration::ZERO, &at(1010.1))).is_empty());
    assert_eq!(schedule.tick(&at(1030.0)), []);
    assert!(!schedule.tick(&at(1040.2)).is_empty());
    let planted = host(&[("/etc/old", &at(0.0)), ("/etc/late", &at(1015.0))]);
    let todo = schedule.scanned(planted, Duration::ZERO, &at(1040.3));
    let [Action::TellHost(last, findings)] = &todo[..] else { panic!("{todo:?}") };
    assert_eq!(last.iter().map(|held| held.grant.0).collect::<Vec<_>>(), [7]);
    assert_eq!(findings.all[0].path, "/etc/late");
    assert_eq!((findings.since, findings.until), (Some(at(1010.0).wall), at(1040.3).wall));
    // jitd was killed before the finding was recorded: the next one finds it again.
    assert!(!schedule.baseline().unwrap().places.contains_key("/etc/late"));
    assert_eq!(schedule.recorded(&at(1040.4)), [Action::WriteBaseline]);
    assert!(schedule.baseline().unwrap().places.contains_key("/etc/late"));
}

#[test]
fn scans_without_sessions_are_bounded() {
    let mut schedule = schedule();
    let mut walks = 0;
    // A day in steps of ten seconds, with scans of two seconds each.
    for n in 0..8640_u32 {
        let now = at(1000.0 + f64::from(n) * 10.0);
        walks += schedule.tick(&now).len();
        if schedule.scanning_since().is_some() {
            schedule.scanned(
                host(&[("/etc/old", &at(0.0))]),
                Duration::ZERO,
                &at(1002.0 + f64::from(n) * 10.0),
            );
        }
    }
    assert!((48..60).contains(&walks), "{walks}");
}

#[test]
fn programs_are_compared_with_their_packages_once_a_day_and_never_around_a_session() {
    let mut schedule = schedule();
    let mut checks = Vec::new();
    for n in 0..17_280_u32 {
        let now = at(1000.0 + f64::from(n) * 10.0);
        if schedule.tick(&now) == [Action::ScanAndCheck] {
            checks.push(n);
        }
        if schedule.scanning_since().is_some() {
            schedule.scanned(host(&[]), Duration::ZERO, &now);
            schedule.recorded(&now);
        }
    }
    assert_eq!(checks.len(), 2, "{checks:?}");
    schedule.opened(&session(1, 7, &at(900_000.0)));
    assert_eq!(schedule.tick(&at(900_000.0)), [Action::Scan]);
}

/// When a jitd that starts at 200,000 s first compares programs, in seconds, within two days.
fn first_check(checked_at: Option<f64>) -> Option<u64> {
    let checked = checked_at.map(|seconds| Checked { at: at(seconds).wall, ..Checked::default() });
    let baseline = Snapshot { checked, ..host(&[]) };
    let mut schedule = Schedule::new(Some(baseline), Open::default(), &at(200_000.0));
    (0..17_280_u64).map(|n| 200_000 + n * 10).find(|seconds| {
        let now = at(*seconds as f64);
        let todo = schedule.tick(&now);
        if schedule.scanning_since().is_some() {
            schedule.scanned(host(&[]), Duration::ZERO, &now);
            schedule.recorded(&now);
        }
        todo == [Action::ScanAndCheck]
    })
}

#[test]
fn a_restart_neither_repeats_a_comparison_with_packages_nor_puts_it_off() {
    let day = 24 * 3600;
    let soon = 200_060..200_300;
    assert!(first_check(None).is_some_and(|at| soon.contains(&at)));
    let next = 190_000 + day;
    assert!(first_check(Some(190_000.0)).is_some_and(|at| (next..next + 1810).contains(&at)));
    assert!(
        first_check(Some(190_000.0 - day as f64)).is_some_and(|at| soon.contains(&at)),
        "it is a day ago"
    );
    assert!(first_check(Some(201_000.0)).is_some_and(|at| soon.contains(&at)), "the clock was set back");
}
