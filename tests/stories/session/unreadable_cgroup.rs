//! A cgroup whose members cannot be read is not taken for an empty one.

use std::time::Duration;

use anyhow::{Result, ensure};
use jit_tests::clock::{wait_until, wall_micros};
use jit_tests::host::{GRACE, play};
use jit_tests::people::DAVE;
use jit_tests::plan::{Plan, Release};

use crate::session::end::end_of;

const LIMIT: Duration = Duration::from_secs(20);
const INSIDE: &str = "exec 9>/var/tmp/line; echo here >&9; setsid sleep 1000 & sleep 1000";

/// A tree that systemd delegates to a user, as user managers do, made threaded, with the user's shell in it.
const TREE: &str = "
    c=/sys/fs/cgroup/daves; mkdir $c $c/t; echo threaded >$c/t/cgroup.type
    chown dave $c/cgroup.procs $c/cgroup.threads $c/t $c/t/cgroup.procs $c/t/cgroup.threads
    echo $1 >$c/cgroup.procs; echo $1 >$c/t/cgroup.threads
    cat $c/t/cgroup.type; cat $c/t/cgroup.procs";

#[test]
fn a_sudo_in_a_threaded_cgroup_is_held_and_ends_in_time() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        for masked in [false, true] {
            let mut dave = host.login(DAVE)?;
            host.root(&["rm", "-f", "/var/tmp/line"])?.ok()?;
            let lifeline = host.lifeline("/var/tmp/line")?;
            let shell = dave.run("echo $$")?.line().to_owned();
            host.root(&["bash", "-c", TREE, "tree", &shell])?.says("threaded")?.says("not supported")?;
            host.grant(DAVE, "ops", "8s")?;
            let end = end_of(host, DAVE)?;
            dave.run(&format!("sudo -n bash -c '{INSIDE}' >/dev/null 2>&1 &"))?.ok()?;
            lifeline.taken(LIMIT)?;
            let all = "cat /sys/fs/cgroup/jit.slice/jit-*.scope/cgroup.procs | wc -l";
            wait_until("sudo and all that it started are in the scope", LIMIT, || {
                let count: u32 = host.root_sh(all)?.line().parse().unwrap_or(0);
                Ok(count >= 4)
            })?;
            if masked {
                host.root_sh("systemctl mask --runtime --now jitd.socket jitd.service")?;
            }
            ensure!(wall_micros() < end, "the machine is too slow for this story");
            let gone = lifeline.let_go(LIMIT)?;
            let late = Duration::from_micros(gone.saturating_sub(end));
            ensure!(gone >= end && late <= GRACE + Duration::from_secs(2), "gone {late:?} after the end");
            if !masked {
                host.no_session_left(LIMIT)?;
                let ended = host.record("session.ended", |record| record["ended_by"] == "expired")?;
                ensure!(ended["left"] == 0 && ended["escaped"] == 0, "{ended}");
                drop(dave);
                wait_until("the tree is empty", LIMIT, || {
                    Ok(host.root_sh("rmdir /sys/fs/cgroup/daves/t /sys/fs/cgroup/daves")?.status == 0)
                })?;
            }
        }
        Ok(())
    })
}

/// Root in a window hides its own scope behind a file system, with its tag washed off.
#[test]
fn a_scope_that_is_hidden_behind_a_mount_is_ended_all_the_same() -> Result<()> {
    const HIDE: &str = "exec 9>/var/tmp/line; echo here >&9; trap \"\" TERM HUP
        until grep -q jit.slice /proc/self/cgroup; do :; done
        echo 0 >/proc/self/loginuid; touch /var/tmp/hidden
        while :; do sleep 1; done";
    play(&Plan::new(Release::Trixie), |host| {
        for restart in [false, true] {
            let mut dave = host.login(DAVE)?;
            host.root(&["rm", "-f", "/var/tmp/line", "/var/tmp/hidden"])?.ok()?;
            let lifeline = host.lifeline("/var/tmp/line")?;
            let grant = host.grant(DAVE, "ops", "30m")?.to_string();
            host.write("/var/tmp/hide", HIDE)?;
            dave.run("sudo -n bash -c 'setsid bash /var/tmp/hide & wait' >/dev/null 2>&1 &")?.ok()?;
            lifeline.taken(LIMIT)?;
            wait_until("it has washed its tag off", LIMIT, || Ok(host.has("/var/tmp/hidden")))?;
            host.root(&["mount", "-t", "tmpfs", "none", "/sys/fs/cgroup/jit.slice"])?.ok()?;
            if restart {
                host.root(&["systemctl", "restart", "jitd.service"])?;
            }
            host.root(&["jitctl", "revoke", &grant, "--reason", "a story"])?;
            if restart {
                // Nothing of it can be read any more, and nothing says that it has ended.
                host.record("session.stuck", |record| record["left"] != 0)?;
                ensure!(lifeline.is_held()?, "this story shows nothing");
                let open = host.jitctl(&["sessions"])?;
                ensure!(open[0]["state"] == "ending", "{open}");
                host.root(&["umount", "/sys/fs/cgroup/jit.slice"])?.ok()?;
            }
            lifeline.let_go(LIMIT)?;
            host.no_session_left(LIMIT)?;
            let ended =
                host.record("session.ended", |record| record["grant"].as_u64() == grant.parse().ok())?;
            ensure!(ended["left"] == 0 && ended["ended_by"] == "revoked", "{ended}");
            if !restart {
                host.root(&["umount", "/sys/fs/cgroup/jit.slice"])?.ok()?;
            }
        }
        Ok(())
    })
}
