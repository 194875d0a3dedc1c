//! The shape of the tree: no circles among modules, a pure core, no long file without its reason, the field's words.
//!
//! `cargo test -p jit_tests --test tidy -- --nocapture` prints what is left where something is allowed for now.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod graph;
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use graph::{Crate, circles};
use jit_tests::paths;
use source::Source;

/// The crates by the folder of their modules; `main.rs` or `lib.rs` is the root of each.
const CRATES: [&str; 8] = [
    "jit_host/src",
    "jit_proto/src",
    "jitd/src",
    "jitctl/src",
    "pam_jit/src",
    "pam_trial/src",
    "tests/src",
    "tests/stories",
];

/// Lines of code, without comments, blank lines and tests, above which a file says in its first lines why it is one.
const MAX_LINES: usize = 450;
/// How that reason begins, in the `//!` lines at the head of the file.
const REASON: &str = "Long because ";
const HEAD_LINES: usize = 12;

/// Circles that are allowed, each by all of its files, with the reason.
const CIRCLES_ALLOWED: [(&[&str], &str); 0] = [];
/// How many other circles there may be; it only ever becomes smaller.
const CIRCLES_LEFT: usize = 0;
/// How many files may be long and say no reason; it only ever becomes smaller.
const LONG_LEFT: usize = 0;
/// How many places may use a word that is not the field's; it only ever becomes smaller.
const WORDS_LEFT: usize = 0;

/// What the core may name besides itself: values without a clock, a file, a bus or a runtime.
const CORE_MAY_USE: [&str; 5] = ["std", "jit_proto", "serde", "thiserror", "jiff"];

/// Words that stand nowhere, in any case, also inside of others. In halves, as this file is searched too.
const NOWHERE: [&str; 4] =
    [concat!("mani", "eth"), concat!("kno", "ck"), concat!("late", "ly"), concat!("spo", "ken")];

/// Names that no code has: identifiers as a whole.
const NO_NAMES: [&str; 55] = [
    "Behind",
    "Surveyor",
    "Sighting",
    "Trail",
    "Said",
    "Front",
    "Doomed",
    "Own",
    "Wish",
    "MindIdleness",
    "Gather",
    "Prolong",
    "LEISURE",
    "FEW",
    "DEEPEST",
    "FRESH",
    "take_along",
    "go_by",
    "not_written",
    "look_at_holder",
    "look_at_everybody",
    "look_at_windows",
    "move_the_switch",
    "switch_at",
    "be_nice",
    "elevator",
    "Survey",
    "Kept",
    "Whose",
    "Later",
    "Alarm",
    "alarm",
    "Course",
    "course",
    "Habit",
    "habit",
    "Place",
    "Door",
    "door",
    "Elevator",
    "MindGroups",
    "mind_groups",
    "mind_idleness",
    "going_on",
    "take_away",
    "has_tag",
    "Leisure",
    "leisure",
    "deadman",
    "straddle",
    "hear",
    "mind",
    "go_on",
    "bring_onto_the_disk",
    "in_",
];
/// How no constant begins: the word that is searched for is `MAX_` or `MIN_`.
const NO_PREFIXES: [&str; 3] = ["MOST_", "LONGEST_", "LEAST_"];

fn crates() -> Vec<Crate> {
    let root = paths::repository();
    let there = CRATES.iter().filter(|folder| root.join(folder).is_dir());
    there.map(|folder| Crate::read(&root, folder)).collect()
}

/// The files of the repository that end like this.
fn files(endings: &[&str]) -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(paths::repository())
        .output()
        .unwrap();
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let text = String::from_utf8(listed.stdout).unwrap();
    let wanted = |path: &&str| endings.iter().any(|ending| path.ends_with(ending));
    let files: Vec<String> = text.lines().filter(wanted).map(str::to_owned).collect();
    files.into_iter().filter(|path| paths::repository().join(path).is_file()).collect()
}

/// Fails when there is more than may be left, and prints what is left.
fn at_most(left: usize, what: &str, found: &[String]) {
    let report = format!("{} {what}, {left} allowed:\n  {}", found.len(), found.join("\n  "));
    assert!(found.len() <= left, "{report}");
    println!("{report}");
}

#[test]
fn modules_import_each_other_in_no_circle() {
    let mut found = Vec::new();
    for krate in crates() {
        for circle in circles(&krate) {
            let files: BTreeSet<&str> = circle.files.iter().map(String::as_str).collect();
            let allowed = CIRCLES_ALLOWED
                .iter()
                .any(|(allowed, _)| allowed.iter().copied().collect::<BTreeSet<_>>() == files);
            if !allowed {
                found.push(format!("{}\n    {}", circle.files.join("\n  "), circle.imports.join("\n    ")));
            }
        }
    }
    at_most(CIRCLES_LEFT, "circles of imports", &found);
}

#[test]
fn the_core_depends_on_the_formats_only() {
    let krate = Crate::read(&paths::repository(), "jitd/src");
    let outside = krate.imports_from("jitd/src/core/", |path| !path.starts_with("jitd/src/core/"));
    assert!(outside.is_empty(), "the core imports the rest of the daemon:\n{}", outside.join("\n"));
    let names: BTreeSet<&str> = krate
        .other_crates("jitd/src/core/")
        .into_iter()
        .filter(|name| !CORE_MAY_USE.contains(name))
        .collect();
    assert!(names.is_empty(), "the core uses {names:?}; it may use {CORE_MAY_USE:?}");
}

#[test]
fn the_delivery_of_records_depends_on_the_core_and_on_data_only() {
    let krate = Crate::read(&paths::repository(), "jitd/src");
    let machine = "jitd/src/audit/delivery";
    // `audit/mod.rs` as the module in which its types are visible.
    let may_use = ["core/", "audit/delivery", "audit/heartbeat.rs", "audit/sink.rs", "audit/mod.rs"]
        .map(|path| format!("jitd/src/{path}"));
    let outside =
        krate.imports_from(machine, |path| !may_use.iter().any(|known| path.starts_with(known.as_str())));
    assert!(outside.is_empty(), "{machine} imports what acts:\n{}", outside.join("\n"));
    let crates = krate.other_crates(machine);
    assert_eq!(crates, BTreeSet::from(["jit_proto", "std"]));
}

#[test]
fn a_long_file_says_why_it_is_one() {
    let root = paths::repository();
    let mut found = Vec::new();
    let modules: Vec<String> =
        crates().iter().flat_map(Crate::modules).map(|module| module.path.clone()).collect();
    let programs = files(&[".rs"]).into_iter().filter(|path| path.contains("/src/bin/"));
    for path in modules.into_iter().chain(programs) {
        let text = fs::read_to_string(root.join(&path)).unwrap();
        let lines = Source::new(&text).lines_of_code();
        let mut head = text.lines().take(HEAD_LINES).filter(|line| line.starts_with("//!"));
        if lines > MAX_LINES && !head.any(|line| line.contains(REASON)) {
            found.push(format!("{path}: {lines} lines of code, and no `//! {REASON}...`"));
        }
    }
    at_most(LONG_LEFT, "files are long without a reason", &found);
}

#[test]
fn names_and_prose_use_the_words_of_the_field() {
    let root = paths::repository();
    let mut found = Vec::new();
    for path in files(&[".rs", ".md", ".toml", ".sh", "Makefile"]).into_iter().chain(packaging()) {
        let Ok(text) = fs::read_to_string(root.join(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            let mut words: Vec<&str> = NOWHERE.iter().filter(|word| lower.contains(*word)).copied().collect();
            if path.ends_with(".rs") && !path.starts_with("tests/tidy/") {
                words.extend(names_in(line));
            }
            for word in words {
                found.push(format!("{path}:{}: {word}: {}", number + 1, line.trim()));
            }
        }
    }
    at_most(WORDS_LEFT, "places use a word that is not the field's", &found);
}

fn packaging() -> Vec<String> {
    files(&[""])
        .into_iter()
        .filter(|path| path.starts_with("packaging/") || path.starts_with("systemd/"))
        .collect()
}

/// The names of a line that no code has.
fn names_in(line: &str) -> Vec<&str> {
    let code = line.split("//").next().unwrap_or_default();
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|name| NO_NAMES.contains(name) || NO_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        .collect()
}

#[test]
fn the_list_of_crates_is_that_of_the_workspace() {
    let root = paths::repository();
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let members = manifest.lines().find(|line| line.starts_with("members")).unwrap();
    for member in members.split('"').skip(1).step_by(2) {
        assert!(
            CRATES.iter().any(|folder| Path::new(folder).starts_with(member)),
            "{member} is not looked at"
        );
    }
}
