//! Without a window nobody but root elevates; the denial says what to type.

use anyhow::{Context, Result, ensure};
use jit_tests::host::{Host, play};
use jit_tests::login::Login;
use jit_tests::output::Output;
use jit_tests::people::{ALICE, BOB, DAVE, MALLORY, PASSWORD};
use jit_tests::plan::{Plan, Release};

/// The sudos of a release.
pub(crate) fn sudos(release: Release) -> &'static [&'static str] {
    match release {
        Release::Bookworm => &["sudo"],
        Release::Trixie => &["sudo", "sudo-rs"],
    }
}

/// Somebody with two shells: sudo-rs shows what PAM says at a terminal only, and its lines are typed there.
pub(crate) struct Shells {
    plain: Login,
    terminal: Login,
}

impl Shells {
    /// Logs in twice.
    pub(crate) fn of(host: &Host, user: &str) -> Result<Self> {
        Ok(Self { plain: host.login(user)?, terminal: host.login_at_terminal(user)? })
    }

    /// The shell for a line.
    pub(crate) fn fit_for(&mut self, line: &str) -> &mut Login {
        if line.contains("sudo-rs") { &mut self.terminal } else { &mut self.plain }
    }

    /// Types a line in the shell for it.
    pub(crate) fn run(&mut self, line: &str) -> Result<Output> {
        self.fit_for(line).run(line)
    }
}

/// Logs in where a sudo can show what PAM says.
pub(crate) fn at(host: &Host, user: &str, sudo: &str) -> Result<Login> {
    if sudo == "sudo-rs" { host.login_at_terminal(user) } else { host.login(user) }
}

/// It was refused by the gate, and what it would have done was not done.
#[track_caller]
pub(crate) fn refused(output: &Output, host: &Host) -> Result<()> {
    output.fails()?.never_says("uid=0")?;
    output.holds(!host.has("/etc/ran"), "no trace of a command that ran")?;
    Ok(())
}

const SAID: &str = "is refused";

fn every_way_is_refused(release: Release) -> Result<()> {
    play(&Plan::new(release), |host| {
        for &sudo in sudos(release) {
            let mut dave = at(host, DAVE, sudo)?;
            let mut alice = at(host, ALICE, sudo)?;
            let mut mallory = at(host, MALLORY, sudo)?;
            let typed = format!("echo {PASSWORD} | {sudo} -S sh -c 'id; touch /etc/ran'");
            let right_password = alice.run(&typed)?;
            refused(&right_password, host)?;
            right_password.says("jit: sudo is refused: alice has no open window on this host.")?;

            // NOPASSWD, in the ways there are to say it.
            for options in ["", "-n", "-i", "-n -i", "-u nobody", "-n -u nobody", "-g shadow", "-u '#0'"] {
                let output = dave.run(&format!("{sudo} {options} sh -c 'id; touch /etc/ran'"))?;
                refused(&output, host)?;
                output.says(SAID)?.never_says("uid=65534")?;
            }
            let shell = dave.run(&format!("echo 'id; touch /etc/ran' | {sudo} -n -s"))?;
            refused(&shell, host)?;
            shell.says(SAID)?;
            let stranger = mallory.run(&format!("{sudo} -n sh -c 'id; touch /etc/ran'"))?;
            refused(&stranger, host)?;
            stranger
                .says("jit: sudo is refused: mallory has no open window")?
                .never_says("jitctl request")?;
        }
        // Ways that only sudo has.
        let mut dave = host.login(DAVE)?;
        for line in [
            "EDITOR='cp /etc/passwd' sudoedit /etc/ran",
            "EDITOR='cp /etc/passwd' sudo -n -e /etc/ran",
            "sudo -n -b sh -c 'id; touch /etc/ran'",
            "sudo -n -E LD_PRELOAD=x sh -c 'id; touch /etc/ran'",
        ] {
            let output = dave.run(line)?;
            refused(&output, host)?;
            output.says(SAID)?;
        }
        // Some sudos know of no such user, and say so first.
        refused(&dave.run("sudo -n -u '#4242' sh -c 'id; touch /etc/ran'")?, host)?;
        let denied = host.record("access.denied", |record| record["user"] == "mallory")?;
        ensure!(denied["outcome"] == "denied" && denied["service"] == "sudo", "{denied}");
        ensure!(host.jitctl(&["sessions"])?.as_array().is_some_and(Vec::is_empty), "a session is open");
        Ok(())
    })
}

#[test]
fn every_way_of_sudo_is_refused_on_trixie() -> Result<()> {
    every_way_is_refused(Release::Trixie)
}

#[test]
fn every_way_of_sudo_is_refused_on_bookworm() -> Result<()> {
    every_way_is_refused(Release::Bookworm)
}

fn a_warm_ticket_is_refused(release: Release) -> Result<()> {
    play(&Plan::new(release), |host| {
        for &sudo in sudos(release) {
            let mut alice = at(host, ALICE, sudo)?;
            let window = host.grant(ALICE, "ops", "30m")?.to_string();
            alice.run(&format!("echo {PASSWORD} | {sudo} -S true"))?.ok()?;
            alice.run(&format!("{sudo} -n id -u"))?.ok()?.says("0")?;
            host.root(&["jitctl", "revoke", &window, "--reason", "a story"])?.ok()?;
            // The gate's own words show that sudo got as far as the gate: the ticket was good.
            let output = alice.run(&format!("{sudo} -n sh -c 'id; touch /etc/ran'"))?;
            refused(&output, host)?;
            output.says("jit: sudo is refused: alice has no open window on this host.")?;
        }
        Ok(())
    })
}

#[test]
fn a_warm_ticket_is_refused_on_trixie() -> Result<()> {
    a_warm_ticket_is_refused(Release::Trixie)
}

#[test]
fn a_warm_ticket_is_refused_on_bookworm() -> Result<()> {
    a_warm_ticket_is_refused(Release::Bookworm)
}

/// sudo always asks PAM to be silent, and with `-n` it can ask for nothing; the text has to be seen all the same.
#[test]
fn the_refusal_names_the_line_to_type() -> Result<()> {
    play(&Plan::new(Release::Trixie).gating(&["sudo", "sudo-i", "su", "doas"]), |host| {
        let mut dave = Shells::of(host, DAVE)?;
        dave.run("sudo -n true")?.fails()?.says("jit: all of them are listed by: jitctl roles")?;
        // Not more of them than are named one by one.
        host.root_sh("rm /etc/jitd/roles.d/ends.toml; systemctl reload jitd.service")?.ok()?;
        for line in ["sudo -n true", "sudo-rs -n true", "doas true"] {
            let output = dave.run(line)?;
            output.fails()?;
            output.says("has no open window on this host")?;
            if line != "doas true" {
                output.says("jitctl request web-admin --for 30m --reason \"...\" --ticket")?;
            }
            let request = line_to_type(&output, "ops")?;
            let made = dave.run(&format!("{} --json", request.replace("...", "as the refusal said")))?;
            let id = made.json()?["id"].to_string();
            dave.run(line)?.fails()?.says(&format!("jit: request {id} (ops) is waiting for approval"))?;
            dave.run(&format!("jitctl cancel {id}"))?.ok()?;
        }
        let su = dave.run(&format!("echo {PASSWORD} | su -c true"))?;
        su.fails()?.says("jit: su is refused: dave has no open window")?;

        // At a terminal, too.
        dave.terminal.run("sudo true")?.fails()?.says("jit: sudo is refused")?.says("jitctl request ops")?;
        Ok(())
    })
}

fn line_to_type(refusal: &Output, role: &str) -> Result<String> {
    let text = refusal.text();
    let line = text.lines().find(|line| line.contains(&format!("jitctl request {role} ")));
    let line = line.with_context(|| format!("no line to type for {role}:\n{refusal}"))?;
    Ok(line.split_at(line.find("jitctl").unwrap_or(0)).1.trim().to_owned())
}

#[test]
fn su_is_untouched_unless_its_stack_names_the_module() -> Result<()> {
    let su = format!("echo {PASSWORD} | su -c 'id -u'");
    let login_su = format!("echo {PASSWORD} | su - -c 'id -u'");
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release), |host| {
            let mut alice = host.login(ALICE)?;
            for line in [&su, &login_su] {
                alice.run(line)?.ok()?.holds(true, "")?.never_says("jit:")?;
            }
            Ok(())
        })?;
        play(&Plan::new(release).gating(&["su"]), |host| {
            let mut alice = host.login(ALICE)?;
            let mut dave = host.login(DAVE)?;
            for line in [&su, &login_su] {
                alice.run(line)?.fails()?.says("is refused: alice has no open window")?;
            }
            host.grant(ALICE, "ops", "30m")?;
            for line in [&su, &login_su] {
                alice.run(line)?.ok()?.says("0")?;
            }
            // sudo's stack does not name the module here.
            dave.run("sudo -n id -u")?.ok()?.says("0")?;
            // root becomes whom it wants.
            host.login("root")?.run("su alice -c 'id -un'")?.ok()?.says("alice")?;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn doas_is_refused_without_a_window_and_works_with_one() -> Result<()> {
    play(&Plan::new(Release::Trixie).gating(&["doas"]), |host| {
        let mut dave = host.login(DAVE)?;
        let output = dave.run("doas sh -c 'id; touch /etc/ran'")?;
        refused(&output, host)?;
        output.says("jit: doas is refused: dave has no open window")?;
        host.login(BOB)?.run("doas id")?.fails()?;
        host.grant(DAVE, "ops", "30m")?;
        dave.run("doas id -u")?.ok()?.says("0")?;
        Ok(())
    })
}
