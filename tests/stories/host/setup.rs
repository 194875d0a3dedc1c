//! The first ten minutes: from the package to the first denied and the first allowed sudo, with what README says to type.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::host::{Host, play};
use jit_tests::login::Login;
use jit_tests::paths;
use jit_tests::people::{ALICE, BOB};
use jit_tests::plan::{Plan, Release};

const LIMIT: Duration = Duration::from_secs(120);
/// What is below these is somebody's who opens a way to root.
const STATE: &str = "sha256sum /etc/pam.d/* /etc/jitd/* /etc/jitd/roles.d/* 2>/dev/null; ls /etc/pam.d /etc/jitd/roles.d; \
    systemctl list-timers --all --no-legend 'jit*' | awk '{print $NF}'";

fn put_package(host: &Host) -> Result<()> {
    let path = paths::package()?;
    let name = path.file_name().context("a package has a name")?.to_string_lossy().into_owned();
    let script = format!("mkdir -p /root/dist && cat >/root/dist/{name}");
    host.root_with(&["sh", "-c", &script], &fs::read(&path)?, LIMIT)?.ok()?;
    Ok(())
}

/// The lines of README under "Install": who types, and what.
fn commands() -> Result<Vec<(String, String)>> {
    let readme = fs::read_to_string(paths::repository().join("README.md"))?;
    let section = readme.split("\n## Install\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let lines = section.context("README has no section Install")?.lines();
    let typed = lines.filter_map(|line| line.strip_prefix("    "));
    let split = |line: &str| {
        let (prompt, command) = line.split_once(['#', '$'])?;
        let command = command.split("   ").find(|part| !part.trim().is_empty())?;
        Some((prompt.trim().to_owned(), command.trim().to_owned()))
    };
    Ok(typed.filter_map(split).collect())
}

/// Five commands, copied from README, and the sudos between them.
#[test]
fn five_commands_of_the_readme_lead_to_a_denied_and_an_allowed_sudo() -> Result<()> {
    let typed = commands()?;
    let others = typed.iter().filter(|(_, command)| !command.starts_with("sudo ")).count();
    ensure!(others <= 5, "README has {others} commands: {typed:?}");
    for release in [Release::Bookworm, Release::Trixie] {
        play(&Plan::new(release).bare(), |host| {
            put_package(host)?;
            let before = host
                .root_sh("cat /etc/pam.d/* | sha256sum; ls /etc/pam.d; getent passwd; getent group")?
                .stdout;
            let (mut alice, mut bob) = (host.login(ALICE)?, host.login(BOB)?);
            let mut sudos = 0;
            for (who, command) in &typed {
                let person: Option<&mut Login> = match who.as_str() {
                    "alice" => Some(&mut alice),
                    "bob" => Some(&mut bob),
                    _ => None,
                };
                match person {
                    None if command.contains("apt install") => {
                        let line = format!("cd /root && DEBIAN_FRONTEND=noninteractive {command}");
                        host.root_with(&["sh", "-c", &line], b"", LIMIT)?.ok()?;
                    }
                    None => drop(host.root_with(&["sh", "-c", command], b"", LIMIT)?.ok()?),
                    Some(person) if command.starts_with("sudo ") => {
                        let line = command.replacen("sudo", "echo correct-horse | sudo -S", 1);
                        let came = person.run(&line)?;
                        sudos += 1;
                        if sudos == 1 {
                            came.fails()?.says("jit: sudo is refused")?;
                        } else {
                            came.ok()?;
                        }
                    }
                    Some(person) => drop(person.run(command)?.ok()?),
                }
            }
            ensure!(sudos == 2, "README shows {sudos} sudos");
            ensure!(
                host.root_sh("systemctl list-timers --all --no-legend 'jit-pam*'")?.stdout.trim().is_empty()
            );

            let purge = "DEBIAN_FRONTEND=noninteractive apt-get purge -y jitd";
            host.root_with(&["sh", "-c", purge], b"", LIMIT)?.ok()?;
            let after = host
                .root_sh("cat /etc/pam.d/* | sha256sum; ls /etc/pam.d; getent passwd; getent group")?
                .stdout;
            ensure!(before == after, "before:\n{before}\nafter:\n{after}");
            alice.run("echo correct-horse | sudo -S id -u")?.ok()?.says("0")?.never_says("jit:")?;
            host.root_sh("! grep -ls pam_jit /etc/pam.d/*; ! ls -d /sys/fs/cgroup/jit.slice 2>/dev/null; \
                ! systemctl list-unit-files --no-legend | grep -i jit; ! systemctl list-units --all --no-legend | grep -i '[ /]jit'")?.ok()?;
            Ok(())
        })?;
    }
    Ok(())
}

/// What is wrong with the answers is said before anything is changed, and what fails later is taken back.
#[test]
fn a_setup_that_does_not_come_to_its_end_leaves_nothing() -> Result<()> {
    play(&Plan::new(Release::Trixie).gating(&[]).with_policy("", &[]), |host| {
        let before = host.root_sh(STATE)?.stdout;
        let setup =
            |words: &str| host.root_with(&["sh", "-c", &format!("jitctl setup --yes {words}")], b"", LIMIT);
        for (words, said) in [
            ("--requesters alice --approvers bob", "--role is missing"),
            ("--role web-admin --approvers bob", "--requesters is missing"),
            (
                "--role web-admin --requesters alice --approvers alice",
                "nobody approves a request of their own",
            ),
            ("--role web-admin --requesters alise --approvers bob", "no user \"alise\""),
            ("--role web-admin --requesters @nosuch --approvers bob", "no group \"nosuch\""),
            ("--role web-admin --requesters alice --approvers bob", "--mode is missing"),
            (
                "--role web-admin --requesters alice --approvers bob --run-as nobodyhere",
                "no user \"nobodyhere\"",
            ),
            ("--role dba --requesters alice --approvers bob", "no user \"postgres\""),
        ] {
            setup(words)?.fails()?.says(said)?;
            ensure!(host.root_sh(STATE)?.stdout == before, "{words} has changed something");
        }
        host.login(ALICE)?
            .run("jitctl setup --yes --role web-admin --requesters alice --approvers bob")?
            .fails()?
            .says("only root can set up the host")?;
        // The module is broken: the trial of the stack fails after the role was written.
        host.root_sh("module=$(dpkg -L jitd | grep pam_jit.so); mv $module /root/; echo broken >$module")?
            .ok()?;
        let right = "--role web-admin --requesters alice --approvers bob --mode enforce";
        setup(right)?.fails()?;
        ensure!(host.root_sh(STATE)?.stdout == before, "a setup that failed has left something");
        ensure!(
            host.jitctl(&["policy", "show"])?["roles"].as_array().is_some_and(Vec::is_empty),
            "the role is in force"
        );
        host.root_sh("module=$(dpkg -L jitd | grep pam_jit.so); mv /root/pam_jit.so $module")?.ok()?;
        setup(&format!("{right} --dry-run"))?.ok()?.says("[role.web-admin]")?;
        ensure!(host.root_sh(STATE)?.stdout == before, "a dry run has changed something");
        setup(right)?.ok()?.says("jitctl pam confirm")?;
        setup(right)?.fails()?.says("is there already")?;
        host.login(ALICE)?.run("echo correct-horse | sudo -S true")?.fails()?.says("jit: sudo is refused")?;
        Ok(())
    })
}
