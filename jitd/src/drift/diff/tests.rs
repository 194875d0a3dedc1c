//! Differences and their texts.

use super::*;
use crate::drift::account_files::AccountFile;
use crate::drift::grouping::lines;
use crate::drift::print::print_of;
use crate::drift::snapshot::Entry;
use crate::drift::snapshot::samples::{file, snapshot};
use jit_proto::escape::{Escaped, is_unsafe, word};
use jit_proto::time::{BootId, WallTime};
use proptest::prelude::*;

fn of(kind: Kind, entry: Entry) -> Entry {
    Entry { kind, ..entry }
}

fn told(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    lines(&diff(before, after)).into_iter().map(|line| line.text).collect()
}

#[test]
fn what_is_planted_is_named() {
    let before = snapshot(&[("/etc/pam.d/sudo", file("a", 0o644, 0, 1))], &[]);
    let after = snapshot(
        &[
            ("/etc/pam.d/sudo", of(Kind::Pam, file("b", 0o644, 0, 5))),
            ("/etc/sudoers.d/zz", of(Kind::Sudoers, file("c", 0o440, 0, 5))),
        ],
        &[("/var/tmp/.bash", file("d", 0o4755, 0, 5)), ("/elsewhere/bash", file("d", 0o4755, 0, 5))],
    );
    assert_eq!(
        told(&before, &after),
        [
            "added setuid /var/tmp/.bash, owned by root",
            "added /etc/sudoers.d/zz",
            "changed /etc/pam.d/sudo: its content",
        ]
    );
}

#[test]
fn what_a_user_can_do_crowds_out_nothing_that_root_did() {
    let before = snapshot(&[], &[]);
    let mut after = snapshot(&[("/home/zoe/.ssh/authorized_keys", file("k", 0o600, 2007, 5))], &[]);
    for n in 0..1000 {
        let path = format!("/home/amy/.config/systemd/user/{n}.service");
        after.places.insert(path, file("u", 0o644, 2006, 5));
        after.privileged.insert(format!("/var/tmp/{n}"), file("s", 0o4755, 2006, 5));
    }
    after.privileged.insert("/var/tmp/zz".into(), file("s", 0o4755, 0, 5));
    let told = told(&before, &after);
    assert_eq!(told[0], "added setuid /var/tmp/zz, owned by root");
    assert!(told.iter().any(|line| line.contains("/home/zoe/")), "{told:#?}");
    // A user's own files get few lines; each names as many as it has room for.
    let named = told
        .iter()
        .map(|line| line.matches(".service").count() + line.matches("/var/tmp").count())
        .sum::<usize>();
    assert!(told.len() < 30 && named > 200, "{told:#?}");
    assert!(
        told.last().unwrap().ends_with("that are not named here, the gravest of them files of users"),
        "{told:#?}"
    );
}

#[test]
fn what_goes_with_a_boot_is_not_told_and_what_comes_is() {
    let before = snapshot(&[("/run/systemd/transient/a.service", file("a", 0o644, 0, 1))], &[]);
    let mut after = snapshot(&[("/run/systemd/transient/b.service", file("b", 0o644, 0, 1))], &[]);
    assert_eq!(told(&before, &after).len(), 2);
    after.boot_id = BootId("b".into());
    assert_eq!(told(&before, &after), ["added /run/systemd/transient/b.service"]);
}

#[test]
fn another_list_of_paths_is_no_change_of_files() {
    let before = snapshot(&[], &[("/usr/bin/su", file("a", 0o4755, 0, 1))]);
    let mut after = snapshot(&[], &[("/opt/su", file("a", 0o4755, 0, 1))]);
    after.setuid_paths = vec!["/opt".into()];
    assert_eq!(told(&before, &after), Vec::<String>::new());
}

/// A change of a session's first milliseconds is in the fresh snapshot already.
#[test]
fn what_a_session_did_before_the_fresh_look_is_found_at_its_end() {
    let folder = |at| Entry { what: EntryKind::Folder, kind: Kind::Schedules, ..file("", 0o755, 0, at) };
    let before = snapshot(
        &[
            ("/etc/cron.d", folder(1)),
            ("/etc/cron.d/gone", file("g", 0o644, 0, 1)),
            ("/etc/polkit-1", folder(1)),
            ("/etc/polkit-1/gone", file("g", 0o644, 0, 1)),
        ],
        &[],
    );
    let fresh = snapshot(
        &[
            ("/etc/cron.d", folder(120)),
            ("/etc/cron.d/planted", file("p", 0o644, 0, 120)),
            ("/etc/cron.d/upgraded", file("u", 0o644, 0, 60)),
            ("/etc/polkit-1", folder(60)),
        ],
        &[("/var/tmp/bash", file("b", 0o4755, 0, 121))],
    );
    let (base, earlier) = rebased(&before, fresh.clone(), Some(100));
    let earlier: Vec<&str> = earlier.iter().map(|finding| finding.path.as_str()).collect();
    assert_eq!(earlier, ["/etc/cron.d/upgraded", "/etc/polkit-1/gone"]);
    let found: Vec<String> = diff(&base, &fresh).into_iter().map(|finding| finding.path).collect();
    assert_eq!(found, ["/var/tmp/bash", "/etc/cron.d/gone", "/etc/cron.d/planted"]);
    // After the clock was set, times prove nothing.
    assert_eq!(rebased(&before, fresh, None).0, before);
}

/// A package was upgraded, possibly inside the window.
#[test]
fn a_longer_list_of_places_is_no_change_and_hides_none() {
    let before = snapshot(&[("/etc/a", file("a", 0o644, 0, 1)), ("/dropped", file("d", 0o644, 0, 1))], &[]);
    let mut after = snapshot(
        &[
            ("/etc/a", file("changed", 0o644, 0, 1)),
            ("/new/old", file("o", 0o644, 0, 5)),
            ("/new/planted", file("p", 0o644, 0, 120)),
        ],
        &[],
    );
    after.list = "longer".into();
    let adopted = adopted(before, &after, 100);
    assert_eq!(told(&adopted, &after), ["changed /etc/a: its content", "added /new/planted"]);
}

fn entry() -> impl Strategy<Value = Entry> {
    let what = prop_oneof![
        "[a-c]".prop_map(|print| EntryKind::File { print }),
        "\\PC{0,4}|[\\x00-\\x20\\u{202e}]{0,3}".prop_map(|target| EntryKind::Link { target }),
        Just(EntryKind::Folder),
        Just(EntryKind::Special),
        "[ab\\n]".prop_map(|why| EntryKind::Unseen { why }),
        "[ab:\\n\\x1b]{0,9}".prop_map(|text| EntryKind::Accounts {
            print: print_of(text.as_bytes()),
            lines: AccountFile::Passwd.lines(text.as_bytes()),
        }),
    ];
    (what, 0u32..0o10000, 0u32..3, 0u64..3, 0i64..9).prop_map(
        |(what, mode, uid, capabilities, changed_at)| Entry {
            what,
            mode,
            uid,
            gid: 0,
            capabilities,
            changed_at,
            acl: if mode & 1 == 0 { String::new() } else { "uid 7 rwx".into() },
            kind: if mode & 2 == 0 { Kind::Units } else { Kind::Accounts },
        },
    )
}

fn places() -> impl Strategy<Value = BTreeMap<String, Entry>> {
    let name = prop_oneof![
        "/etc/(passwd|sudoers.d/[ab]|cron.d)",
        "/var/tmp/[a-c]",
        "/etc/\\PC{0,4}|/etc/[\\x00-\\x20\\u{80}-\\u{a0}\\u{2028}-\\u{202f}]{0,4}"
    ];
    prop::collection::btree_map(name, entry(), 0..8)
}

fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    (places(), places()).prop_map(|(places, privileged)| Snapshot {
        boot_id: BootId("a".into()),
        list: String::new(),
        setuid_paths: vec!["/".into()],
        places,
        privileged,
        mounts: BTreeMap::new(),
        processes: BTreeMap::new(),
        checked: None,
        taken: WallTime(0),
    })
}

proptest! {
    #[test]
    fn equal_snapshots_differ_in_nothing(one in any_snapshot()) {
        prop_assert_eq!(diff(&one, &one), Vec::new());
    }

    #[test]
    fn every_difference_is_named_once_and_is_safe_to_show(one in any_snapshot(), other in any_snapshot()) {
        let findings = diff(&one, &other);
        for (map, before, after) in
            [(Map::Places, &one.places, &other.places), (Map::Privileged, &one.privileged, &other.privileged)]
        {
            for path in keys(before, after) {
                let alike = match (before.get(path), after.get(path)) {
                    (Some(then), Some(now)) => then.is_like(now),
                    _ => false,
                };
                let named = findings.iter().filter(|f| f.map == map && f.path == *path).count();
                prop_assert_eq!(named, usize::from(!alike), "{:?}", path);
            }
        }
        for finding in &findings {
            prop_assert!(finding.line().contains(&Escaped(&word(&finding.path)).to_string()));
            prop_assert!(!finding.line().chars().any(is_unsafe), "{:?}", finding.line());
            prop_assert!(!finding.line().ends_with(": "), "{:?} does not say what changed", finding.line());
        }
    }

    #[test]
    fn a_baseline_hides_nothing_that_a_session_may_have_done(
        one in any_snapshot(), other in any_snapshot(), began in 0i64..9,
    ) {
        let (base, earlier) = rebased(&one, other.clone(), Some(began));
        let mut found = diff(&base, &other);
        found.extend(earlier);
        prop_assert_eq!(found.len(), diff(&one, &other).len());
        let kept: Snapshot = serde_json::from_str(&serde_json::to_string(&base).unwrap()).unwrap();
        prop_assert_eq!(kept, base);
    }
}

#[test]
fn the_right_to_change_is_told_as_that() {
    let folder = |mode, acl: &str| Entry {
        what: EntryKind::Folder,
        acl: acl.into(),
        ..of(Kind::Rights, file("", mode, 0, 1))
    };
    let before = snapshot(&[("/etc", folder(0o755, "")), ("/usr/sbin", folder(0o755, ""))], &[]);
    let mut after = before.clone();
    after.places.insert("/etc".into(), folder(0o775, "uid 2004 rwx mask rwx"));
    after.places.insert("/usr/sbin".into(), folder(0o777, ""));
    after.places.insert("/home/new".into(), folder(0o755, ""));
    after.privileged.insert("/usr/lib/a".into(), Entry { mode: 0o666, gid: 5, ..file("", 0, 0, 5) });
    assert_eq!(
        told(&before, &after),
        [
            "changed folder /etc: mode 0755 became 0775; its ACL none became (uid 2004 rwx mask rwx)",
            "writable by others than root: /usr/lib/a, owned by root, mode 0666, group 5",
            "changed folder /usr/sbin: mode 0755 became 0777",
        ]
    );
    assert!(diff(&before, &after).iter().all(|finding| finding.kind == Kind::Rights));
}

#[test]
fn content_is_said_only_where_it_was_compared() {
    let before =
        snapshot(&[("/etc/a", file("one", 0o644, 0, 1)), ("/etc/b", file("ino 1", 0o644, 0, 1))], &[]);
    let after =
        snapshot(&[("/etc/a", file("two", 0o644, 0, 1)), ("/etc/b", file("ino 2", 0o644, 0, 1))], &[]);
    assert_eq!(
        told(&before, &after),
        [
            "changed /etc/a: its content",
            "changed /etc/b: its inode, size or times; contents were not compared"
        ]
    );
}

/// FOUND D6: 200 files of noise, in the same folder and elsewhere: the most severe findings come first, and every name
/// is there.
#[test]
fn noise_pushes_nothing_out() {
    let before = snapshot(&[], &[]);
    let mut after = snapshot(
        &[
            ("/etc/sudoers.d/planted", of(Kind::Sudoers, file("s", 0o440, 0, 5))),
            ("/etc/systemd/system/planted.service", of(Kind::Units, file("u", 0o644, 0, 5))),
            ("/usr/local/bin/planted", of(Kind::Programs, file("x", 0o755, 0, 5))),
        ],
        &[("/var/tmp/planted", file("b", 0o4755, 0, 5))],
    );
    for n in 0..200 {
        after
            .places
            .insert(format!("/usr/local/bin/noise-{n:03}"), of(Kind::Programs, file("n", 0o755, 0, 5)));
    }
    let told = told(&before, &after);
    assert!(told.len() < 10, "{told:#?}");
    assert_eq!(
        told[..3],
        [
            "added setuid /var/tmp/planted, owned by root",
            "added /etc/sudoers.d/planted",
            "added /etc/systemd/system/planted.service"
        ]
    );
    let all = told.join("\n");
    assert!(told[3].starts_with("added 201 files in /usr/local/bin: noise-000, noise-001"), "{told:#?}");
    assert!(
        (0..200).all(|n| all.contains(&format!("noise-{n:03}"))) && all.contains(", planted"),
        "{told:#?}"
    );
}

#[test]
fn an_account_is_one_line_whichever_files_it_is_in() {
    let accounts = |file: AccountFile, text: &str| {
        let (print, lines) = (print_of(text.as_bytes()), file.lines(text.as_bytes()));
        Entry {
            what: EntryKind::Accounts { print, lines },
            ..of(Kind::Accounts, self::file("", 0o644, 0, 5))
        }
    };
    let before = snapshot(
        &[
            ("/etc/passwd", accounts(AccountFile::Passwd, "")),
            ("/etc/group", accounts(AccountFile::Group, "")),
            ("/etc/subuid", of(Kind::Accounts, file("a", 0o644, 0, 1))),
        ],
        &[],
    );
    let after = snapshot(
        &[
            ("/etc/passwd", accounts(AccountFile::Passwd, "erin:x:1001:1001::/home/erin:/bin/sh\n")),
            ("/etc/group", accounts(AccountFile::Group, "erin:x:1001:\n")),
            ("/etc/subuid", of(Kind::Accounts, file("b", 0o644, 0, 1))),
        ],
        &[],
    );
    assert_eq!(
        told(&before, &after),
        ["changed /etc/passwd: account erin added (uid 1001, gid 1001, home /home/erin, shell /bin/sh); \
          changed /etc/group: group erin added (gid 1001); changed /etc/subuid: its content"]
    );
}

#[test]
fn what_an_earlier_daemon_wrote_down_still_loads() {
    let old = r#"{"boot_id":"a","list":"1","setuid_paths":["/usr"],"places":{"/etc/a":{"what":{"is":"file","print":"p"},
        "mode":420,"uid":0,"gid":0,"capabilities":0,"changed_at":7}},"privileged":{}}"#;
    let before: Snapshot = serde_json::from_str(old).unwrap();
    let mut after = before.clone();
    after.list = "2".into();
    after.setuid_paths = vec!["/".into()];
    after.mounts.insert("/".into(), file("m", 0, 0, 0));
    let writable = Entry { mode: 0o666, ..file("", 0, 0, 5) };
    after.privileged.insert("/usr/lib/old".into(), writable.clone());
    after.privileged.insert("/usr/lib/new".into(), Entry { changed_at: 200, ..writable });
    after.places.get_mut("/etc/a").unwrap().acl = "uid 7 rwx".into();
    let told: Vec<String> =
        diff(&adopted(before, &after, 100), &after).iter().map(|finding| finding.path.clone()).collect();
    assert_eq!(told, ["/usr/lib/new"], "what was not looked at before is no change unless it is younger");
}

/// A file name that looks like several names, or like the end of the list.
#[test]
fn a_name_in_a_group_stays_one() {
    let mut after = snapshot(&[], &[]);
    for name in ["a, b", "c: its content", "d\ne", "f"] {
        after.places.insert(format!("/etc/cron.d/{name}"), of(Kind::Schedules, file("n", 0o644, 0, 5)));
    }
    let told = told(&snapshot(&[], &[]), &after);
    assert_eq!(told, ["added 4 files in /etc/cron.d: 'a, b', 'c: its content', 'd\\u{a}e', f"]);
}

/// A finding about a process has no folder and no verb, and gets a line of its own.
#[test]
fn processes_are_told_one_by_one() {
    let processes: Vec<Finding> = (0..9)
        .map(|n| {
            let finding = Finding::of(Kind::Processes, format!("process {n} runs as root"));
            Finding { path: format!("{n} 392"), map: Map::Processes, ..finding }
        })
        .collect();
    let told: Vec<String> = lines(&processes).into_iter().map(|line| line.text).collect();
    assert_eq!(told.len(), 9);
    assert_eq!(told[3], "process 3 runs as root");
}

fn running(unit_file: Option<&str>, is_of_unit: bool) -> Running {
    Running {
        line: "process 7 runs".into(),
        started_at: 5,
        exe: "/usr/bin/sleep".into(),
        real_uid: 0,
        unit_file: unit_file.map(str::to_owned),
        is_of_unit,
        wrapper: None,
        is_login: false,
    }
}

#[test]
fn a_unit_that_was_there_explains_what_it_runs_and_nothing_else_does() {
    let unit = "/usr/lib/systemd/system/a.service";
    let before = snapshot(&[(unit, file("u", 0o644, 0, 1))], &[]);
    let finds = |running: Running, after: &Snapshot| unexplained(&running, "7 1", &before, after).is_some();
    assert!(!finds(running(Some(unit), true), &before));
    assert!(finds(running(Some(unit), false), &before), "put into its cgroup");
    assert!(finds(running(None, false), &before), "the unit has no file any more");
    let wrapper = "/usr/sbin/actl";
    let wrapped = || Running { wrapper: Some(wrapper.into()), ..running(Some(unit), true) };
    assert!(finds(wrapped(), &before), "a script that is not known vouches for nothing");
    let with =
        |print: &str| snapshot(&[(unit, file("u", 0o644, 0, 1)), (wrapper, file(print, 0o755, 0, 1))], &[]);
    assert!(unexplained(&wrapped(), "7 1", &with("w"), &with("w")).is_none());
    assert!(unexplained(&wrapped(), "7 1", &with("w"), &with("x")).is_some(), "the script was changed");
    let mut changed = before.clone();
    changed.places.insert(unit.into(), file("v", 0o644, 0, 5));
    assert!(finds(running(Some(unit), true), &changed));
    let mut drop_in = before.clone();
    drop_in.places.insert("/run/systemd/system/a.service.d/x.conf".into(), file("d", 0o644, 0, 5));
    assert!(finds(running(Some(unit), true), &drop_in));
    let mut other = before.clone();
    other.places.insert("/etc/systemd/system/b.service.d/x.conf".into(), file("d", 0o644, 0, 5));
    assert!(!finds(running(Some(unit), true), &other));
    assert!(finds(running(Some("/etc/systemd/system/new.service"), true), &before), "not there before");
}

#[test]
fn a_user_at_a_setuid_program_that_was_there_is_ordinary() {
    let mut user = Running { exe: "/usr/bin/passwd".into(), real_uid: 1000, ..running(None, false) };
    let before = snapshot(&[], &[("/usr/bin/passwd", file("p", 0o4755, 0, 1))]);
    assert!(unexplained(&user, "7 1", &before, &before).is_none());
    assert!(unexplained(&user, "7 1", &snapshot(&[], &[]), &before).is_some(), "it was not there");
    user.real_uid = 0;
    assert!(unexplained(&user, "7 1", &before, &before).is_some());
}
