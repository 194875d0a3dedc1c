//! A role that is limited to some users gives no group that it does not name, whichever option of sudo asks for it.

use anyhow::{Context, Result, ensure};
use jit_tests::host::{Host, play};
use jit_tests::people::DAVE;
use jit_tests::plan::{Plan, Release};

use crate::gate::denied::sudos;

/// Every spelling that gives a group to sudo, and to sudo-rs.
const BOTH: [&str; 7] = [
    "-n -u nobody -g shadow",
    "-n -u nobody -gshadow",
    "-u nobody -ng shadow",
    "-unobody -ngshadow",
    "-n -u nobody --group=shadow",
    "-n -u nobody --group shadow",
    "-n -u nobody A=b -g shadow",
];
/// Those that only sudo knows.
const SUDO: [&str; 5] = [
    "-n -u nobody --gr=shadow",
    "-n -u nobody -g '#42'",
    "-n -u nobody -E -g shadow",
    "-n -P -u nobody",
    "-n -u nobody -g disk",
];

fn no_group_is_given(release: Release) -> Result<()> {
    play(&Plan::new(release), |host| {
        for &sudo in sudos(release) {
            let mut dave = host.login(DAVE)?;
            let grant = host.grant(DAVE, "as-nobody", "30m")?.to_string();
            dave.run(&format!("{sudo} -n -u nobody id -u"))?.ok()?.says("65534")?;
            let only_sudo = if sudo == "sudo" { &SUDO[..] } else { &[] };
            for options in BOTH.iter().chain(only_sudo) {
                let output = dave.run(&format!("{sudo} {options} sh -c 'id; head -c 4 /etc/shadow'"))?;
                output.fails().with_context(|| (*options).to_owned())?;
                output.never_says("uid=")?.never_says("root")?;
                if sudo == "sudo" {
                    // sudo-rs shows nothing of what a session stage says.
                    output.says("no open window of dave gives")?;
                }
            }
            // A group alone leaves one who one is.
            dave.run(&format!("{sudo} -n -g shadow head -c 4 /etc/shadow"))?.fails()?.never_says("root")?;
            // What is nobody's own anyway may be asked for, and what is the command's is no group.
            dave.run(&format!("{sudo} -n -u nobody -g nogroup id -g"))?.ok()?.says("65534")?;
            dave.run(&format!("{sudo} -n -u nobody -- echo -g shadow"))?.ok()?.says("-g shadow")?;
            let denied = host.record("access.denied", |record| record["run_as_group"] == "shadow")?;
            ensure!(denied["user"] == "dave" && denied["service"] == "sudo", "{denied}");
            if sudo == "sudo" {
                let edit = dave.run("EDITOR=cat sudoedit -n -u nobody -g shadow /etc/shadow")?;
                edit.fails()?.never_says("root:")?;
            }
            host.root(&["jitctl", "revoke", &grant, "--reason", "a story"])?.ok()?;

            // A role gives those that it names, and no other.
            let grant = host.grant(DAVE, "as-nobody-adm", "30m")?.to_string();
            dave.run(&format!("{sudo} -n -u nobody -g adm id -gn"))?.ok()?.says("adm")?;
            dave.run(&format!("{sudo} -n -u nobody -g shadow id"))?.fails()?.never_says("uid=")?;
            let opened = host.record("session.opened", |record| record["run_as_group"] == "adm")?;
            ensure!(opened["run_as"] == "nobody", "{opened}");
            host.root(&["jitctl", "revoke", &grant, "--reason", "a story"])?.ok()?;

            // Who may become root may have every group.
            let grant = host.grant(DAVE, "ops", "30m")?.to_string();
            dave.run(&format!("{sudo} -n -g shadow id -gn"))?.ok()?.says("shadow")?;
            host.root(&["jitctl", "revoke", &grant, "--reason", "a story"])?.ok()?;
        }
        whoever_has_one_all_the_same(host)
    })
}

/// What sudo gives without being asked on its command line is found once the command runs, and the session ends.
fn whoever_has_one_all_the_same(host: &Host) -> Result<()> {
    let mut dave = host.login(DAVE)?;
    host.write("/etc/sudoers.d/zz-groups", "Defaults preserve_groups\n")?;
    host.root(&["chmod", "0440", "/etc/sudoers.d/zz-groups"])?.ok()?;
    host.grant(DAVE, "as-nobody", "30m")?;
    dave.run("sudo -n -u nobody sleep 1000")?.fails()?;
    let told = host.record("session.group", |record| record["user"] == "dave")?;
    ensure!(told["detail"].as_str().is_some_and(|detail| detail.contains("2004")), "{told}");
    host.record("session.ended", |record| {
        record["session"] == told["session"] && record["ended_by"] == "group" && record["left"] == 0
    })?;
    host.record("alert.raised", |record| record["alert"] == "group" && record["about"] == told["seq"])?;
    host.root(&["rm", "/etc/sudoers.d/zz-groups"])?.ok()?;
    Ok(())
}

#[test]
fn a_limited_role_gives_no_group_that_it_does_not_name_on_trixie() -> Result<()> {
    no_group_is_given(Release::Trixie)
}

#[test]
fn a_limited_role_gives_no_group_that_it_does_not_name_on_bookworm() -> Result<()> {
    no_group_is_given(Release::Bookworm)
}
