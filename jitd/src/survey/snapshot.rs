//! What was found in the places where privilege is kept, and what differs between two such findings.

use std::collections::{BTreeMap, BTreeSet};

use jit_proto::escape::{Escaped, word};
use jit_proto::moment::BootId;
use serde::{Deserialize, Serialize};

use super::accounts::{Account, AccountFile, changes};

/// Most lines that are told of one survey.
const MOST_LINES: usize = 64;
/// Of these, most that are about files of one and the same user who is not root: with them nobody can crowd out root's.
const MOST_LINES_OF_A_USER: usize = 8;
/// A line is cut after so many bytes.
const LONGEST_LINE: usize = 2000;
/// What a boot empties.
const GONE_WITH_THE_BOOT: &str = "/run/";

/// What was there at one moment. Paths are texts of [`super::text`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// In which boot.
    pub(super) boot_id: BootId,
    /// Which list of places it was ([`super::places::list`]).
    pub(super) list: String,
    /// Below which paths privileged files were looked for.
    pub(super) setuid_paths: Vec<String>,
    /// The places where privilege is configured.
    pub(super) places: BTreeMap<String, Entry>,
    /// Files that give privilege to whoever runs them.
    pub(super) privileged: BTreeMap<String, Entry>,
}

/// What was found at one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// What it is.
    pub(super) what: What,
    /// Permission bits, those of set-uid and set-gid included.
    pub(super) mode: u32,
    /// Whose.
    pub(super) uid: u32,
    /// Of which group.
    pub(super) gid: u32,
    /// Permitted file capabilities (capabilities(7)), as a mask; 0 for none.
    pub(super) capabilities: u64,
    /// When the inode last changed, in microseconds of the wall clock. Two entries that differ in nothing else are alike.
    pub(super) changed_at: i64,
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub(super) enum What {
    /// A plain file.
    File {
        /// Stands for its content.
        print: String,
    },
    /// One of the files of accounts.
    Accounts {
        /// Stands for its content.
        print: String,
        /// Its lines by name.
        lines: BTreeMap<String, Account>,
    },
    /// A folder.
    Folder,
    /// A symbolic link; it is not followed.
    Link {
        /// Where it points.
        target: String,
    },
    /// FIFO or socket.
    Special,
    /// A device.
    Device {
        /// `block` or `character`, and its numbers.
        which: String,
    },
    /// It could not be looked at.
    Unseen {
        /// Why.
        why: String,
    },
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// Where.
    pub(super) path: String,
    /// Whether it is about a file that gives privilege to whoever runs it.
    privileged: bool,
    /// Whose file it is or was.
    uid: u32,
    /// Whether it tells that something could not be looked at.
    unseen: bool,
    /// For people; control characters are escaped.
    pub(super) line: String,
}

impl Entry {
    /// Something that could not be looked at.
    pub(super) fn unseen(why: String, uid: u32) -> Self {
        Self { what: What::Unseen { why }, mode: 0, uid, gid: 0, capabilities: 0, changed_at: 0 }
    }

    fn is_like(&self, other: &Self) -> bool {
        let Self { what, mode, uid, gid, capabilities, changed_at: _ } = self;
        (what, mode, uid, gid, capabilities)
            == (&other.what, &other.mode, &other.uid, &other.gid, &other.capabilities)
    }
}

impl Snapshot {
    /// Nothing at all, as before the first survey.
    pub(super) fn nothing_like(other: &Self) -> Self {
        Self { places: BTreeMap::new(), privileged: BTreeMap::new(), ..other.clone() }
    }

    /// Whether privileged files were looked for there.
    fn covers(&self, path: &str) -> bool {
        self.setuid_paths.iter().any(|root| {
            path.strip_prefix(root.trim_end_matches('/'))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// When the folder that holds this path last changed, as far as that is known.
    fn folder_changed_at(&self, path: &str) -> Option<i64> {
        let (folder, _) = path.rsplit_once('/')?;
        self.places.get(folder).map(|entry| entry.changed_at)
    }
}

/// An earlier daemon's snapshot, as if it had known the list of places of a later one: what it did not look at was there
/// already, unless that changed after `began`, in microseconds of the wall clock.
pub(super) fn adopted(mut before: Snapshot, after: &Snapshot, began: i64) -> Snapshot {
    if before.list != after.list {
        before.list.clone_from(&after.list);
        before.places.retain(|path, _| after.places.contains_key(path));
        for (path, entry) in after.places.iter().filter(|(_, entry)| entry.changed_at < began) {
            before.places.entry(path.clone()).or_insert_with(|| entry.clone());
        }
    }
    before
}

/// Everything that differs, the gravest first.
pub(super) fn diff(before: &Snapshot, after: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    let rebooted = before.boot_id != after.boot_id;
    for path in keys(&before.places, &after.places) {
        let (then, now) = (before.places.get(path), after.places.get(path));
        let emptied = rebooted && path.starts_with(GONE_WITH_THE_BOOT);
        if now.is_none() && emptied {
            continue;
        }
        findings.extend(difference(path, then, now, false));
    }
    for path in keys(&before.privileged, &after.privileged) {
        // A path that was not looked at both times tells nothing.
        if before.covers(path) && after.covers(path) {
            let (then, now) = (before.privileged.get(path), after.privileged.get(path));
            findings.extend(difference(path, then, now, true));
        }
    }
    findings.sort_by(|one, other| (one.rank(), &one.path).cmp(&(other.rank(), &other.path)));
    findings
}

fn keys<'a>(before: &'a BTreeMap<String, Entry>, after: &'a BTreeMap<String, Entry>) -> BTreeSet<&'a String> {
    before.keys().chain(after.keys()).collect()
}

impl Finding {
    /// There is nothing to compare with, although sessions were open.
    pub(super) fn baseline_is_gone() -> Self {
        let line = "what an earlier survey found is not in /var/lib/jitd, if there was one: changes before now are known \
                    by their times only";
        Self { path: String::new(), privileged: false, uid: 0, unseen: false, line: line.to_owned() }
    }

    /// What root alone can do comes before what users can do to their own files.
    fn rank(&self) -> u8 {
        match (self.unseen, self.uid, self.privileged) {
            (false, 0, false) => 0,
            (false, 0, true) => 1,
            (false, _, false) => 2,
            (false, _, true) => 3,
            (true, _, _) => 4,
        }
    }
}

fn difference(path: &str, then: Option<&Entry>, now: Option<&Entry>, privileged: bool) -> Option<Finding> {
    let path_word = word(path);
    let shown = Escaped(&path_word);
    let line = match (then, now) {
        (None, None) => return None,
        (Some(then), Some(now)) if then.is_like(now) => return None,
        (_, Some(Entry { what: What::Unseen { why }, .. })) => {
            format!("could not look at {shown}: {}", Escaped(why))
        }
        (None | Some(Entry { what: What::Unseen { .. }, .. }), Some(now)) => {
            format!("added {}{shown}{}", now.kind(privileged), now.description(privileged))
        }
        (Some(then), None) => format!("removed {}{shown}", then.kind(privileged)),
        (Some(then), Some(now)) => {
            format!("changed {}{shown}: {}", now.kind(privileged), now.changes_since(then, path))
        }
    };
    let entry = now.or(then)?;
    // A file that was root's and is somebody's now is no less grave, nor the other way round.
    let uid = then.map_or(entry.uid, |then| then.uid).min(entry.uid);
    let unseen = matches!(entry.what, What::Unseen { .. });
    Some(Finding { path: path.to_owned(), privileged, uid, unseen, line })
}

impl Entry {
    fn kind(&self, privileged: bool) -> String {
        let mut words = String::new();
        if self.mode & 0o4000 != 0 && matches!(self.what, What::File { .. }) {
            words.push_str("setuid ");
        }
        if self.mode & 0o2000 != 0 && matches!(self.what, What::File { .. }) {
            words.push_str("setgid ");
        }
        match &self.what {
            What::Folder => words.push_str("folder "),
            What::Link { .. } => words.push_str("link "),
            What::Special => words.push_str("special file "),
            What::Device { which } => words.push_str(&format!("{} device ", Escaped(which))),
            What::File { .. } if privileged && words.is_empty() => words.push_str("file with capabilities "),
            What::File { .. } | What::Accounts { .. } | What::Unseen { .. } => {}
        }
        words
    }

    fn description(&self, privileged: bool) -> String {
        let mut words = String::new();
        if let What::Link { target } = &self.what {
            words.push_str(&format!(" to {}", Escaped(&word(target))));
        }
        if privileged || self.uid != 0 {
            words.push_str(&format!(", owned by {}", owner(self.uid)));
        }
        if matches!(self.what, What::Device { .. }) {
            words.push_str(&format!(", mode {:04o}", self.mode));
        }
        if privileged && self.mode & 0o2000 != 0 {
            words.push_str(&format!(", group {}", self.gid));
        }
        if self.capabilities != 0 {
            words.push_str(&format!(", capabilities {:#x}", self.capabilities));
        }
        words
    }

    /// How it differs from what it was; at least one phrase.
    fn changes_since(&self, then: &Self, path: &str) -> String {
        let mut phrases = Vec::new();
        match (&then.what, &self.what) {
            (What::Accounts { lines: before, .. }, What::Accounts { lines: after, .. }) => {
                if let Some(file) = AccountFile::named(path) {
                    let changed = changes(file, before, after);
                    phrases.extend(changed.iter().map(|phrase| Escaped(phrase).to_string()));
                }
                if phrases.is_empty() && then.what != self.what {
                    phrases.push("its content".to_owned());
                }
            }
            (before, after) if before == after => {}
            (What::File { .. }, What::File { .. }) => phrases.push("its content".to_owned()),
            (_, What::Link { target }) => phrases.push(format!("it links to {} now", Escaped(&word(target)))),
            _ => phrases.push("it is of another kind now".to_owned()),
        }
        if then.mode != self.mode {
            phrases.push(format!("mode {:04o} became {:04o}", then.mode, self.mode));
        }
        if then.uid != self.uid {
            phrases.push(format!("its owner {} became {}", owner(then.uid), owner(self.uid)));
        }
        if then.gid != self.gid {
            phrases.push(format!("its group {} became {}", then.gid, self.gid));
        }
        if then.capabilities != self.capabilities {
            phrases.push(format!("capabilities {:#x} became {:#x}", then.capabilities, self.capabilities));
        }
        phrases.join("; ")
    }
}

fn owner(uid: u32) -> String {
    if uid == 0 { "root".to_owned() } else { format!("uid {uid}") }
}

/// The lines to tell: at most 64, and then how many more there are. The ones that root alone can have caused come
/// first, and one user's own files get a few lines only.
pub(super) fn lines(findings: &[Finding]) -> Vec<String> {
    let mut of_user: BTreeMap<u32, usize> = BTreeMap::new();
    let mut lines = Vec::new();
    for finding in findings {
        let count = of_user.entry(finding.uid).or_default();
        *count += 1;
        let crowding = finding.uid != 0 && *count > MOST_LINES_OF_A_USER;
        if lines.len() < MOST_LINES && !crowding {
            let end = finding.line.char_indices().map(|(at, _)| at).find(|at| *at >= LONGEST_LINE);
            lines.push(
                end.and_then(|end| finding.line.get(..end))
                    .map_or_else(|| finding.line.clone(), |start| format!("{start}...")),
            );
        }
    }
    let more = findings.len() - lines.len();
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

/// What to compare with later, when sessions have begun while `fresh` was being taken: what may have been changed since
/// `began` stays as it was before, so that it is found at their end. The rest becomes part of what is compared with, and
/// is returned. `began` is in microseconds of the wall clock; without it, everything may be of the sessions' doing.
pub(super) fn rebased(before: &Snapshot, fresh: Snapshot, began: Option<i64>) -> (Snapshot, Vec<Finding>) {
    let Some(began) = began else { return (before.clone(), Vec::new()) };
    let mut base = fresh;
    let mut earlier = Vec::new();
    for finding in diff(before, &base) {
        let now = if finding.privileged {
            base.privileged.get(&finding.path)
        } else {
            base.places.get(&finding.path)
        };
        let touched = match now {
            Some(Entry { what: What::Unseen { .. }, .. }) => false,
            Some(now) => now.changed_at >= began,
            None => base.folder_changed_at(&finding.path).is_none_or(|at| at >= began),
        };
        if !touched {
            earlier.push(finding);
            continue;
        }
        let (map, then) = if finding.privileged {
            (&mut base.privileged, before.privileged.get(&finding.path))
        } else {
            (&mut base.places, before.places.get(&finding.path))
        };
        match then {
            Some(then) => drop(map.insert(finding.path, then.clone())),
            None => drop(map.remove(&finding.path)),
        }
    }
    (base, earlier)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_proto::escape::is_unsafe;
    use proptest::prelude::*;

    pub(super) fn file(print: &str, mode: u32, uid: u32, changed_at: i64) -> Entry {
        Entry { what: What::File { print: print.into() }, mode, uid, gid: 0, capabilities: 0, changed_at }
    }

    fn snapshot(places: &[(&str, Entry)], privileged: &[(&str, Entry)]) -> Snapshot {
        let map =
            |list: &[(&str, Entry)]| list.iter().map(|(path, e)| ((*path).to_owned(), e.clone())).collect();
        Snapshot {
            boot_id: BootId("a".into()),
            list: String::new(),
            setuid_paths: vec!["/var/tmp".into(), "/usr/".into()],
            places: map(places),
            privileged: map(privileged),
        }
    }

    fn told(before: &Snapshot, after: &Snapshot) -> Vec<String> {
        lines(&diff(before, after))
    }

    #[test]
    fn what_is_planted_is_named() {
        let before = snapshot(&[("/etc/pam.d/sudo", file("a", 0o644, 0, 1))], &[]);
        let after = snapshot(
            &[("/etc/pam.d/sudo", file("b", 0o644, 0, 5)), ("/etc/sudoers.d/zz", file("c", 0o440, 0, 5))],
            &[("/var/tmp/.bash", file("d", 0o4755, 0, 5)), ("/elsewhere/bash", file("d", 0o4755, 0, 5))],
        );
        assert_eq!(
            told(&before, &after),
            [
                "changed /etc/pam.d/sudo: its content",
                "added /etc/sudoers.d/zz",
                "added setuid /var/tmp/.bash, owned by root"
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
        assert_eq!(told.last().unwrap(), &format!("and {} more", 2002 - (told.len() - 1)));
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

    /// A plant of a session's first milliseconds is in the fresh snapshot already.
    #[test]
    fn what_a_session_did_before_the_fresh_look_is_found_at_its_end() {
        let folder = |at| Entry { what: What::Folder, ..file("", 0o755, 0, at) };
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
        assert_eq!(found, ["/etc/cron.d/gone", "/etc/cron.d/planted", "/var/tmp/bash"]);
        // A clock that was set proves nothing.
        assert_eq!(rebased(&before, fresh, None).0, before);
    }

    /// The package was upgraded, perhaps inside the window.
    #[test]
    fn a_longer_list_of_places_is_no_change_and_hides_none() {
        let before =
            snapshot(&[("/etc/a", file("a", 0o644, 0, 1)), ("/dropped", file("d", 0o644, 0, 1))], &[]);
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
            "[a-c]".prop_map(|print| What::File { print }),
            "\\PC{0,4}|[\\x00-\\x20\\u{202e}]{0,3}".prop_map(|target| What::Link { target }),
            Just(What::Folder),
            Just(What::Special),
            "[ab\\n]".prop_map(|why| What::Unseen { why }),
            "[ab:\\n\\x1b]{0,9}".prop_map(|text| What::Accounts {
                print: super::super::accounts::print_of(text.as_bytes()),
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
            for (privileged, before, after) in
                [(false, &one.places, &other.places), (true, &one.privileged, &other.privileged)]
            {
                for path in keys(before, after) {
                    let alike = match (before.get(path), after.get(path)) {
                        (Some(then), Some(now)) => then.is_like(now),
                        _ => false,
                    };
                    let named = findings.iter().filter(|f| f.privileged == privileged && f.path == *path).count();
                    prop_assert_eq!(named, usize::from(!alike), "{:?}", path);
                }
            }
            for finding in &findings {
                prop_assert!(finding.line.contains(&Escaped(&word(&finding.path)).to_string()));
                prop_assert!(!finding.line.chars().any(is_unsafe), "{:?}", finding.line);
                prop_assert!(!finding.line.ends_with(": "), "{:?} does not say what changed", finding.line);
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
}
