//! The commands of CONTRIBUTING.md work on a clean checkout: a clone of the commit, with the target folder of this one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jit_tests::clock::now;
use jit_tests::length;
use jit_tests::paths;

/// The section whose commands are run, each as a newcomer types it.
const SECTION: &str = "## Every day";

/// The commands of the section: indented lines, each to its comment.
fn commands(text: &str) -> Vec<String> {
    let section =
        text.lines().skip_while(|line| *line != SECTION).skip(1).take_while(|line| !line.starts_with("## "));
    let indented = section.filter_map(|line| line.strip_prefix("    "));
    indented.map(|line| line.split('#').next().unwrap_or_default().trim().to_owned()).collect()
}

/// A clone that is removed at the end.
struct Checkout(PathBuf);

impl Checkout {
    fn of(repository: &Path) -> Self {
        let folder = paths::target().join("checkout");
        let _ = fs::remove_dir_all(&folder);
        let mut clone = Command::new("git");
        clone.args(["clone", "--quiet"]).arg(repository).arg(&folder);
        assert!(clone.status().unwrap().success(), "{clone:?} failed");
        Self(folder)
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How many tests passed, by what they printed.
fn passed(text: &str) -> u32 {
    let results = text.lines().filter_map(|line| line.split_once("test result: ok. "));
    results.filter_map(|(_, counts)| counts.split(' ').next()?.parse::<u32>().ok()).sum()
}

#[test]
fn the_everyday_commands_work_on_a_clean_checkout() {
    let checkout = Checkout::of(&paths::repository());
    let commands = commands(&fs::read_to_string(checkout.0.join("CONTRIBUTING.md")).unwrap());
    assert!(commands.len() >= 4, "only {commands:?}");
    let all = length::is_full();
    for line in commands {
        // What builds everything anew, or boots hosts, is run by `make soak`; here its recipe is read to the end.
        let line = match line.strip_prefix("make ") {
            Some(target) if !all => format!("make -n {target}"),
            _ => line,
        };
        let begun = now();
        let mut command = Command::new("sh");
        command.args(["-c", &line]).current_dir(&checkout.0);
        // What the make that runs this test hands down is not what somebody has who types the line.
        for name in
            ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "CARGO_MANIFEST_DIR", "RUST_TEST_THREADS", "JIT_TIMES"]
        {
            command.env_remove(name);
        }
        let output = command.env("CARGO_TARGET_DIR", paths::target()).output().unwrap();
        println!("{:8.1} s  {line}", begun.elapsed().as_secs_f64());
        let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        assert!(output.status.success(), "{line}: {}\n{stdout}\n{stderr}", output.status);
        // A filter that fits no test ends well, and shows nothing.
        let tests = ["cargo test", "make story", "make quick"].iter().any(|start| line.starts_with(start));
        assert!(!tests || passed(&stdout) > 0, "{line} ran no test:\n{stdout}");
    }
}
