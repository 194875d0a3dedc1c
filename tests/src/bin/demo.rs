//! `make demo`: the whole story on a booted Debian host, told to a person who watches.
//!
//! Everything shown is typed into real shells of a real host and printed as it comes back; the demo ends with status 0
//! only if each step went as it is told. `KEEP=1` or `--keep` leaves the host up and says how to enter it.
#![allow(clippy::print_stdout, reason = "a demo is there to be seen")]

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::{now, rest, wait_until};
use jit_tests::host::{Host, end_kept};
use jit_tests::login::Login;
use jit_tests::output::Output;
use jit_tests::people::PASSWORD;
use jit_tests::plan::{Plan, Release};

const LIMIT: Duration = Duration::from_secs(30);
/// The window of the demo: long enough to look around in, short enough to wait for.
const WINDOW: &str = "12s";
const PROMPT: &str = "[sudo] password for alice: ";

const SETTINGS: &str = "grace     = \"2s\"\noperators = [\"@jit-operators\"]\nauditors  = [\"@adm\"]\n";
const ROLE: &str = include_str!("../../host/roles.d/web-admin.toml");

fn main() -> Result<()> {
    if std::env::args().any(|word| word == "--end") {
        println!("{} ended", end_kept()?);
        return Ok(());
    }
    let keep = std::env::args().any(|word| word == "--keep") || wanted_by_environment();
    let begun = now();
    let release =
        if std::env::args().any(|word| word == "--bookworm") { Release::Bookworm } else { Release::Trixie };
    say(&format!("Booting a Debian host ({}) with the package on it ...", release.name()));
    let plan = Plan::new(release).gating(&["sudo", "sudo-i", "su", "runuser-l"]).named("web1");
    let host = Host::boot(&plan)?;
    host.root(&["rm", "/etc/jitd/roles.d/stories.toml"])?.ok()?;
    host.write("/etc/jitd/jitd.toml", SETTINGS)?;
    host.write("/etc/jitd/roles.d/web-admin.toml", ROLE)?;
    host.root(&["systemctl", "reload", "jitd"])?.ok()?;
    say(&format!(
        "It is up after {:.1} s: this machine's kernel, and a PID 1, users, disk and clock of its own.",
        begun.elapsed().as_secs_f64()
    ));
    say("alice looks after the web tier and is in sudoers, bob leads the team, carol audits.");
    println!(
        "\n--- /etc/jitd/roles.d/web-admin.toml\n{}---",
        ROLE.trim_start_matches("# The example of the documentation.\n")
    );

    let told = tell(&host);
    if let Err(error) = &told {
        println!("\nThe demo went another way than it is told:\n{error:#}\n{}", host.journal());
    }
    if keep {
        told.and_then(|()| stay(host))
    } else {
        told?;
        say(&format!(
            "The whole story took {:.0} s. KEEP=1 leaves the host up to look around.",
            begun.elapsed().as_secs_f64()
        ));
        Ok(())
    }
}

#[allow(clippy::disallowed_methods, reason = "`make demo KEEP=1` hands it over in the environment")]
fn wanted_by_environment() -> bool {
    std::env::var_os("KEEP").is_some_and(|value| !value.is_empty() && value != "0")
}

fn tell(host: &Host) -> Result<()> {
    let mut alice = Person::at_terminal(host, "alice")?;
    let mut bob = Person::new(host, "bob")?;
    let mut carol = Person::new(host, "carol")?;

    chapter("1. Nobody keeps root: the right password is not enough");
    let refused = alice.sudo("sudo systemctl restart cron")?;
    refused.fails()?.says("jit: sudo is refused: alice has no open window on this host.")?;
    refused.says("jitctl request web-admin --for 30m")?;

    chapter("2. She asks, as she was told to");
    let ask = format!("jitctl request web-admin --for {WINDOW} --reason 'INC-42 cron hangs' --ticket INC-42");
    alice.types(&ask)?.ok()?.says("web-admin")?;
    let id = host.jitctl(&["pending"])?[0]["id"].to_string();
    let own = alice.types(&format!("jitctl approve {id}"))?;
    own.exits(3)?;

    chapter("3. Somebody else decides");
    bob.types("jitctl pending")?.ok()?.says("INC-42 cron hangs")?;
    bob.types(&format!("jitctl approve {id}"))?.ok()?;

    chapter("4. Inside the window sudo works, as ever");
    alice.sudo("sudo systemctl restart cron")?.ok()?;
    alice.types("systemctl is-active cron; sudo id")?.ok()?.says("active")?.says("uid=0(root)")?;

    chapter("5. A root shell, with things in the background that do not want to go");
    let lifeline = host.lifeline("/var/tmp/line")?;
    let shell = alice.begins("sudo -s")?;
    let root = "alice (root)";
    alice.types_as(root, "exec 9>/var/tmp/line; echo here >&9; id -un")?.ok()?.says("root")?;
    alice.types_as(root, "setsid sleep 1000 &")?;
    alice.types_as(root, "( ( trap '' TERM HUP INT; exec sleep 1000 ) & )")?;
    lifeline.taken(LIMIT)?;
    Person::new(host, "alice")?.types("jitctl sessions")?.ok()?.says("sudo -s")?;

    chapter("6. The window closes by itself");
    count_down(host)?;
    lifeline.let_go(LIMIT).context("what she started is still there")?;
    println!("        (the shell, the setsid child and the one that ignores SIGTERM are gone)");
    host.no_session_left(LIMIT)?;
    let after = alice.finishes(&shell)?;
    after.fails()?;
    alice.types("jitctl sessions")?.ok()?.never_says("sudo -s")?;
    let late = alice.types("sudo -n systemctl restart cron")?;
    late.fails()?.says("jit: sudo is refused: alice has no open window on this host.")?;

    chapter("7. Every step is in the record, and the record is whole");
    host.record("grant.expired", |record| record["user"] == "alice")?;
    let ended = host.record("session.ended", |record| record["ended_by"] == "expired")?;
    ensure!(ended["killed"].as_u64().unwrap_or(0) >= 3 && ended["left"] == 0, "{ended}");
    carol.types("jitctl audit show --last 30")?.ok()?.says("session.ended")?.says("killed=")?;
    carol.types("jitctl audit verify")?.ok()?.says("records are whole")?;

    chapter("8. Who has been at the record is found out");
    let sql = "UPDATE records SET line = replace(line, 'cron hangs', 'cron is fine') WHERE seq = \
        (SELECT min(seq) FROM records WHERE line LIKE '%cron hangs%')";
    println!(
        "root# sqlite3 /var/lib/jitd/jit.db \"UPDATE records SET line = replace(line, 'cron hangs', 'cron is fine') ...\""
    );
    host.root(&["cp", "/var/lib/jitd/jit.db", "/root/before.db"])?.ok()?;
    host.root(&["sqlite3", "/var/lib/jitd/jit.db", sql])?.ok()?;
    carol.types("jitctl audit verify; echo \"exit status $?\"")?.ok()?.says("exit status 7")?;
    let back = sql.replace("'cron hangs', 'cron is fine'", "'cron is fine', 'cron hangs'");
    let back = back.replace("'%cron hangs%'", "'%cron is fine%'");
    host.root(&["sqlite3", "/var/lib/jitd/jit.db", &back])?.ok()?;
    println!("root# (puts it back)");
    carol.types("jitctl audit verify")?.ok()?.says("records are whole")?;
    Ok(())
}

/// Shows what is left of the window, once a second, until it is over.
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
    say("The host stays up. As root of this machine, to enter it:");
    for user in ["alice", "bob", "carol", "root"] {
        println!("    {user:<6} {}", login(user));
    }
    println!("    Everybody's password is {PASSWORD}.");
    println!("To end it:\n    {} --end", demo.display());
    Ok(())
}

fn say(sentence: &str) {
    println!("\n# {sentence}");
}

fn chapter(title: &str) {
    println!("\n=== {title}");
    // A breath for whoever reads along.
    rest(Duration::from_millis(300));
}

/// Somebody whose typing is shown.
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
