//! `make demo`: a request, a window and its end on a booted Debian host, for a viewer.
//!
//! Everything shown is typed into real shells of a real host and printed as it comes back; the demo exits with status 0
//! only if each step went as announced. `KEEP=1` or `--keep` leaves the host up and prints how to enter it.
#![allow(clippy::print_stdout, reason = "a demo is there to be seen")]

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::{now, rest, wait_until};
use jit_tests::host::{Host, end_kept};
use jit_tests::login::Login;
use jit_tests::output::Output;
use jit_tests::paths;
use jit_tests::people::PASSWORD;
use jit_tests::plan::{Plan, Release};

const LIMIT: Duration = Duration::from_secs(30);
/// The window of the demo: long enough to look around, short enough to wait for.
const WINDOW: &str = "25s";
/// The additional time of the extension.
const MORE: &str = "5s";
const PROMPT: &str = "[sudo] password for alice: ";

const SETTINGS: &str = "grace = \"2s\"\nwarn_before = [\"20s\", \"5s\"]\noperators = [\"@jit-operators\"]\nauditors = [\"@adm\"]\n";
const ROLE: &str = r#"[role.web-admin]
description      = "Look after the web tier"
members          = ["alice"]
default_duration = "30m"
max_duration     = "2h"
ticket           = { required = true, pattern = "^INC-[0-9]+$" }
[role.web-admin.approval]
from = ["bob"]
"#;
/// The path of the report, below the checkout.
const REPORT: &str = "dist/demo-report.html";

fn main() -> Result<()> {
    if std::env::args().any(|word| word == "--end") {
        println!("{} ended", end_kept()?);
        return Ok(());
    }
    let keep = std::env::args().any(|word| word == "--keep") || wanted_by_environment();
    let begun = now();
    let release =
        if std::env::args().any(|word| word == "--bookworm") { Release::Bookworm } else { Release::Trixie };
    let plan = Plan::new(release)
        .gating(&["sudo", "sudo-i"])
        .named("web1")
        .with_policy(SETTINGS, &[("web-admin.toml", ROLE)]);
    step("the host's files")?;
    Host::prepare(&plan)?;
    println!("ready after {:.0} s", begun.elapsed().as_secs_f64());
    step(&format!("booting Debian ({}) with the package on it", release.name()))?;
    let booting = now();
    let host = Host::boot(&plan)?;
    println!("up after {:.1} s", booting.elapsed().as_secs_f64());
    let sound = host.records()?;
    let alerts =
        |record: &&serde_json::Value| record["event"] == "stack.broken" || record["event"] == "alert.raised";
    ensure!(!sound.iter().any(|record| alerts(&record)), "a healthy host raises no alert: {sound:#?}");
    host.root(&["jitctl", "status", "--exit-code"])?.ok()?;
    say(
        "The host has its own PID 1, users, disk and clock. alice is in sudoers, bob approves, carol is an auditor. One role:",
    );
    print!("{ROLE}");

    let played = play(&host);
    if let Err(error) = &played {
        println!("\nA step of the demo failed:\n{error:#}\n{}", host.evidence());
    }
    if keep {
        played.and_then(|()| stay(host))
    } else {
        played?;
        say(&format!(
            "The demo took {:.0} s. KEEP=1 leaves the host up to look around.",
            begun.elapsed().as_secs_f64()
        ));
        Ok(())
    }
}

#[allow(clippy::disallowed_methods, reason = "`make demo KEEP=1` hands it over in the environment")]
fn wanted_by_environment() -> bool {
    std::env::var_os("KEEP").is_some_and(|value| !value.is_empty() && value != "0")
}

fn play(host: &Host) -> Result<()> {
    let mut alice = Person::at_terminal(host, "alice")?;
    let mut bob = Person::at_terminal(host, "bob")?;
    let mut carol = Person::new(host, "carol")?;
    // Logged in beforehand: the drift scan reports a login that begins while a session is open.
    let mut elsewhere = Person::new(host, "alice")?;

    chapter("1. root seals the audit log, with a key that leaves the host");
    let mut root = Person::at_terminal(host, "root")?;
    root.types("jitctl audit seal --init")?.ok()?.says("The audit log is sealed")?;

    chapter("2. Without a window sudo is denied: the right password is not enough");
    let refused = alice.sudo("sudo systemctl restart cron")?;
    refused.fails()?.says("jit: sudo is refused: alice has no open window on this host.")?;
    refused.says("jitctl request web-admin --for 30m")?;

    chapter("3. alice types the line that the denial names; bob is notified at his terminal");
    let ask = format!("jitctl request web-admin --for {WINDOW} --reason 'INC-42 cron hangs' --ticket INC-42");
    alice.types(&ask)?.ok()?.says("web-admin")?;
    bob.is_notified("jit: alice asks for web-admin")?;
    let id = host.jitctl(&["pending"])?[0]["id"].to_string();
    alice.types(&format!("jitctl approve --yes {id}"))?.exits(3)?;

    chapter("4. bob approves; alice could not");
    bob.types(&format!("jitctl show {id}"))?.ok()?.says("INC-42 cron hangs")?;
    bob.types(&format!("jitctl approve --yes {id}"))?.ok()?;

    chapter("5. In the window sudo works as usual");
    alice.sudo("sudo systemctl restart cron")?.ok()?;

    chapter(
        "6. alice starts a root shell and a process that ignores SIGTERM, and plants a sudoers rule for later",
    );
    let lifeline = host.lifeline("/var/tmp/line")?;
    let shell = alice.begins("sudo -s")?;
    let inside = "alice (root)";
    alice.types_as(inside, "exec 9>/var/tmp/line; echo here >&9; id -un")?.ok()?.says("root")?;
    alice.types_as(inside, "( ( trap '' TERM HUP INT; exec sleep 1000 ) & )")?;
    alice.types_as(inside, "echo 'alice ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/later")?;
    lifeline.taken(LIMIT)?;

    chapter("7. alice is warned, requests an extension, and bob approves it");
    alice.is_notified("jit: the window of alice for web-admin closes in")?;
    let more = format!("jitctl extend {id} --for {MORE} --reason 'INC-42 nearly there'");
    elsewhere.types(&more)?.ok()?;
    let extension = host.jitctl(&["pending"])?[0]["id"].to_string();
    bob.types(&format!("jitctl approve --yes {extension}"))?.ok()?;

    chapter("8. The window closes on time, and every process that was started in it ends");
    count_down(host)?;
    alice.is_notified("jit: the window of alice for web-admin has closed")?;
    lifeline.let_go(LIMIT).context("a process of the window is still there")?;
    host.no_session_left(LIMIT)?;
    alice.finishes(&shell)?.fails()?;
    println!("        (the shell and the process that ignores SIGTERM are gone)");

    chapter("9. jitd finds what alice left behind");
    let mut found = String::new();
    wait_until("the audit log names what was left behind", LIMIT, || {
        let records = host.records()?;
        let left = records.iter().find(|record| {
            record["event"] == "grant.left_behind" && record.to_string().contains("/etc/sudoers.d/later")
        });
        found = left.map(|record| record["left_behind"].to_string()).unwrap_or_default();
        Ok(left.is_some())
    })?;
    println!("        {found}");
    host.root(&["rm", "/etc/sudoers.d/later"])?.ok()?;

    chapter("10. Every step is in the audit log, and verification finds it whole");
    let ended = host.record("session.ended", |record| record["ended_by"] == "expired")?;
    ensure!(ended["killed"].as_u64().unwrap_or(0) >= 2 && ended["left"] == 0, "{ended}");
    carol.types("jitctl audit verify")?.ok()?.says("whole")?;
    carol.types("jitctl report --since today --output report.html")?.ok()?;
    let report = host.read("/home/carol/report.html")?;
    let kept = paths::repository().join(REPORT);
    kept.parent().map(std::fs::create_dir_all).transpose()?;
    std::fs::write(&kept, report).with_context(|| format!("cannot write {}", kept.display()))?;
    println!("        (copied to {REPORT}, for a browser)");

    chapter("11. root changes a record in the database: verification names it");
    let sql = "UPDATE records SET line = replace(line, 'cron hangs', 'cron is fine') WHERE seq = \
        (SELECT min(seq) FROM records WHERE line LIKE '%cron hangs%')";
    println!(
        "root# sqlite3 /var/lib/jitd/jit.db \"UPDATE records SET line = replace(line, 'cron hangs', ...\""
    );
    host.root(&["sqlite3", "/var/lib/jitd/jit.db", sql])?.ok()?;
    carol.types("jitctl audit verify; echo \"exit status $?\"")?.ok()?.says("exit status 7")?;
    Ok(())
}

/// Shows how many seconds of the window are left, until it closes.
fn count_down(host: &Host) -> Result<()> {
    let mut shown = u64::MAX;
    wait_until("the window closes", LIMIT, || {
        let grants = host.jitctl(&["grants"])?;
        let left = grants[0]["remaining_seconds"].as_u64().unwrap_or(0);
        if left != shown {
            print!("{}", if shown == u64::MAX { format!("        {left}") } else { format!(" .. {left}") });
            std::io::stdout().flush()?;
            shown = left;
        }
        Ok(grants.as_array().is_some_and(Vec::is_empty))
    })?;
    println!();
    Ok(())
}

fn stay(host: Host) -> Result<()> {
    let leader = host.keep()?;
    let demo = std::env::current_exe()?;
    let login = |user: &str| {
        format!(
            "nsenter --all --target {leader} systemd-run --quiet --pty --wait --collect -p PAMName=login -p WorkingDirectory=~ --uid={user} bash -l"
        )
    };
    say("The host stays up. To enter it, as root of this machine:");
    for user in ["alice", "bob", "carol", "root"] {
        println!("    {user:<6} {}", login(user));
    }
    println!("    The password of each is {PASSWORD}.");
    println!("To end it:\n    {} --end", demo.display());
    Ok(())
}

fn say(sentence: &str) {
    println!("\n# {sentence}");
}

/// Prints a line that names the step.
fn step(what: &str) -> Result<()> {
    print!("... {what}: ");
    std::io::stdout().flush().context("cannot write to stdout")
}

fn chapter(title: &str) {
    println!("\n=== {title}");
    // Time to read along.
    rest(Duration::from_millis(300));
}

/// A person whose input and output the demo prints.
struct Person {
    name: String,
    shell: Login,
}

impl Person {
    fn new(host: &Host, name: &str) -> Result<Self> {
        Ok(Self { name: name.to_owned(), shell: host.login(name)? })
    }

    fn at_terminal(host: &Host, name: &str) -> Result<Self> {
        Ok(Self { name: name.to_owned(), shell: host.login_at_terminal(name)? })
    }

    fn types(&mut self, line: &str) -> Result<Output> {
        let name = self.name.clone();
        self.types_as(&name, line)
    }

    fn types_as(&mut self, name: &str, line: &str) -> Result<Output> {
        println!("{name}{} {line}", if name.contains("root") { '#' } else { '$' });
        let output = self.shell.run(line)?;
        show(&output);
        Ok(output)
    }

    /// A sudo that asks for the password.
    fn sudo(&mut self, line: &str) -> Result<Output> {
        println!("{}$ {line}", self.name);
        let typed = self.shell.start(line)?;
        self.shell.expect(PROMPT, LIMIT).context("sudo asks for no password")?;
        println!("{PROMPT}(she types the right one)");
        self.shell.type_in(&format!("{PASSWORD}\n"))?;
        let output = self.shell.finish(&typed, LIMIT)?;
        show(&output);
        Ok(output)
    }

    /// Waits until a message reaches the terminal, and prints it.
    fn is_notified(&mut self, text: &str) -> Result<()> {
        self.shell.expect(text, LIMIT).with_context(|| format!("{} is not notified", self.name))?;
        let rest = self.shell.expect("\n", LIMIT)?;
        println!("        (at the terminal of {}) {text}{}", self.name, rest.trim_end());
        Ok(())
    }

    fn begins(&mut self, line: &str) -> Result<jit_tests::login::Typed> {
        println!("{}$ {line}", self.name);
        self.shell.start(line)
    }

    fn finishes(&mut self, typed: &jit_tests::login::Typed) -> Result<Output> {
        self.shell.finish(typed, LIMIT)
    }
}

fn show(output: &Output) {
    for line in output.text().lines().filter(|line| !line.is_empty()) {
        println!("{line}");
    }
}
