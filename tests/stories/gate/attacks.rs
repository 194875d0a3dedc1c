//! Attacks, each a shell script: by somebody without a window, by somebody with one, and by root inside of one. For
//! each the story counts who became root without a right to it, whether somebody with a right to it was delayed, and
//! how many calls were denied. `make test-hostile` plays them together with the floods.

#![allow(clippy::print_stdout, reason = "the counts are there to be read")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::host::{Host, play};
use jit_tests::login::Login;
use jit_tests::people::{ALICE, DAVE, MALLORY, PASSWORD};
use jit_tests::plan::{Plan, Release};
use serde_json::Value;

/// The innocent's sudo may take this long while somebody else attacks.
const HELD_UP: Duration = Duration::from_secs(2);
const END_LIMIT: Duration = Duration::from_secs(20);

/// What an attack would do as root.
const PROOF: &str = "touch /etc/became";

/// As somebody with every right in sudoers, no password to type, and no window: name and script. `$P` is what is to run.
const WITHOUT_A_WINDOW: [(&str, &str); 16] = [
    (
        "each option of sudo",
        "for o in -i -s -H -E -b '-u root' '-u #0' '-g root' '-g shadow' '-C 5' -P -k '-h localhost'; do sudo -n $o sh -c \"$P\"; sudo-rs -n $o sh -c \"$P\"; done",
    ),
    (
        "sudoedit",
        "EDITOR='cp /dev/null' sudoedit -n /etc/became; EDITOR='cp /dev/null' sudo -n -e /etc/became",
    ),
    (
        "closed and missing descriptors",
        "sudo -n sh -c \"$P\" <&-; sudo -n sh -c \"$P\" <&- >&- 2>&-; (ulimit -n 5; sudo -n sh -c \"$P\"); (ulimit -n 8; sudo -n sh -c \"$P\"; sudo-rs -n sh -c \"$P\")",
    ),
    (
        "limits",
        "for l in '-f 0' '-u 1' '-s 64' '-t 1' '-v 20000' '-d 1000' '-l 0' '-q 0' '-i 0'; do (ulimit $l; sudo -n sh -c \"$P\"); done",
    ),
    ("ignored signals", "trap '' PIPE CHLD HUP INT TERM USR1 ALRM; sudo -n sh -c \"$P\""),
    (
        "another argv[0]",
        "for n in su doas sudo-i login pkexec ''; do (exec -a \"$n\" sudo -n sh -c \"$P\"); (exec -a \"$n\" sudo-rs -n sh -c \"$P\"); done",
    ),
    (
        "a namespace of one's own",
        "unshare --user --map-root-user sudo -n sh -c \"$P\"; unshare --user --map-root-user --mount sh -c 'mount --bind /dev/null /etc/pam.d/sudo; sudo -n sh -c \"$P\"'",
    ),
    ("a user unit", "systemd-run --user --pipe --wait --quiet sudo -n sh -c \"$P\""),
    (
        "a loader variable",
        "LD_PRELOAD=/tmp/e.so LD_LIBRARY_PATH=/tmp LD_AUDIT=/tmp/e.so GLIBC_TUNABLES=x=y sudo -n sh -c \"$P\"",
    ),
    ("another bus", "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/tmp/bus sudo -n sh -c \"$P\""),
    (
        "stopped and continued",
        "for n in $(seq 8); do sudo -n sh -c \"$P\" & kill -STOP $!; kill -CONT $!; done; wait",
    ),
    ("killed in mid-call", "for n in $(seq 20); do sudo -n sh -c \"$P\" & kill -KILL $!; done; wait"),
    (
        "commands of others",
        "jitctl grant mallory ops --for 1h --reason 'I would like it'; jitctl approve 1; jitctl revoke --all --reason 'nobody else'; jitctl extend 1 --for 1h --reason 'some more'; jitctl audit seal --init; jitctl audit show; jitctl policy show",
    ),
    ("the gate itself", "hostile enter socket; hostile enter bus"),
    (
        "the daemon's interfaces",
        "for m in Reload RevokeAll Grants Status; do busctl --system call org.jitd.Jit1 /org/jitd/Jit1 org.jitd.Jit1.Manager $m; done; busctl --system call org.jitd.Jit1 /org/jitd/Jit1 org.jitd.Jit1.Gate Enter",
    ),
    (
        "large texts",
        "jitctl request ops --reason \"$(head -c 100000 /dev/zero | tr '\\0' x)\"; sudo -n \"$(head -c 100000 /dev/zero | tr '\\0' x)\"; sudo -n sh -c \"$P\" $(seq 20000)",
    ),
];

/// As the holder of a window that lets him become nobody, and who has asked for a role that is root (`$R`) and knows the
/// passwords of both of its approvers' accounts.
const WITH_A_WINDOW: [(&str, &str); 8] = [
    (
        "another target",
        "for o in '-u root' '-u #0' -i -s; do sudo -n $o sh -c \"$P\"; sudo-rs -n $o sh -c \"$P\"; done",
    ),
    (
        "a group",
        "for g in shadow disk root adm; do for u in '-u nobody' ''; do sudo -n $u -g $g cat /etc/shadow; sudo -n $u --group=$g cat /etc/shadow; sudo -n $u -ng $g cat /etc/shadow; sudo-rs -n $u -g $g cat /etc/shadow; done; done | grep -q '^root:' && echo BECAME",
    ),
    ("approving for oneself", "jitctl approve $R; jitctl grant dave ops --for 1h --reason 'I would like it'"),
    (
        "approving by su to another account",
        "echo correct-horse | su bob -c \"jitctl approve $R\"; echo correct-horse | su carol -c \"jitctl approve $R\"; echo correct-horse | su oscar -c \"jitctl grant dave ops --for 1h --reason 'I would like it'\"",
    ),
    ("approving by login at su", "echo correct-horse | su - bob -c \"jitctl approve $R\""),
    (
        "approving by at",
        "echo correct-horse | su bob -c \"echo 'jitctl approve $R >/tmp/at.\\$\\$ 2>&1' | at now\"; echo correct-horse | su oscar -c \"echo \\\"jitctl grant dave ops --for 1h --reason 'I would like it'\\\" | at now\"",
    ),
    (
        "approving by a user unit",
        "echo correct-horse | su - bob -c \"XDG_RUNTIME_DIR=/run/user/2002 systemd-run --user --pipe --wait jitctl approve $R\"",
    ),
    (
        "more of it without a word",
        "jitctl extend $G --for 2h --reason 'I would like it'; jitctl release 4711; for n in $(seq 12); do jitctl request ops --for 1m --reason \"again, for the $n. time\"; done",
    ),
];

/// As root inside a window of dave's. `$R` is a request of his own, `$O` the grant of somebody else.
const AS_ROOT_INSIDE: [(&str, &str); 9] = [
    (
        "approving as another",
        "setpriv --reuid bob --regid bob --init-groups jitctl approve $R; sudo -n -u bob jitctl approve $R",
    ),
    (
        "approving with another login uid",
        "for n in 2002 2003 4294967295; do sh -c \"echo $n >/proc/self/loginuid; setpriv --reuid bob --regid bob --init-groups jitctl approve $R\"; done",
    ),
    (
        "granting as an operator",
        "jitctl grant dave ops --for 8h --reason 'I would like it'; setpriv --reuid oscar --regid oscar --init-groups jitctl grant dave ops --for 2h --reason 'I would like it'; sh -c \"echo 2005 >/proc/self/loginuid; setpriv --reuid oscar --regid oscar --init-groups jitctl grant dave ops --for 2h --reason 'I would like it'\"",
    ),
    (
        "revoking others",
        "jitctl revoke $O --reason 'it stands in my way'; jitctl revoke --user alice --reason 'it stands in my way'; sh -c \"echo 2005 >/proc/self/loginuid; setpriv --reuid oscar --regid oscar --init-groups jitctl revoke --all --reason 'all'\"",
    ),
    ("a seal of one's own", "jitctl audit seal --init; jitctl audit seal --rotate"),
    (
        "deciding as one who is denied",
        "setpriv --reuid bob --regid bob --init-groups jitctl deny $R --reason 'it would look good'",
    ),
    (
        "leaving the cgroup",
        "(echo $BASHPID >/sys/fs/cgroup/cgroup.procs; setsid sleep 4713) >/dev/null 2>&1 &",
    ),
    (
        "daemons of one's own",
        "for n in 1 2 3; do setsid sh -c 'trap \"\" TERM HUP; (setsid sleep 4713 &) ; sleep 4713' >/dev/null 2>&1 & done",
    ),
    (
        "PID 1's deadline",
        "s=$(basename $(cut -d: -f3 </proc/self/cgroup)); mkdir -p /run/systemd/system/$s.d; printf '[Scope]\\nRuntimeMaxSec=infinity\\n' >/run/systemd/system/$s.d/x.conf; systemctl daemon-reload; systemctl set-property --runtime $s RuntimeMaxSec=infinity; setsid sleep 4713 >/dev/null 2>&1 &",
    ),
];

/// What an attack came to.
struct Outcome {
    became_root: u32,
    held_up: u32,
    refused: usize,
}

/// Counts what was refused since the record of this number.
fn refused_since(host: &Host, seq: u64) -> Result<(usize, u64)> {
    let records = host.records()?;
    let last = records.last().and_then(|record| record["seq"].as_u64()).unwrap_or(0);
    let refused = |record: &&Value| {
        record["seq"].as_u64() > Some(seq)
            && (record["event"] == "access.denied" || record["event"] == "command.refused")
    };
    Ok((records.iter().filter(refused).count(), last))
}

/// Runs an attack beside somebody who has a right to what she does.
fn attack(
    host: &Host,
    attacker: &mut Login,
    innocent: &mut Login,
    line: &str,
    since: u64,
) -> Result<(Outcome, u64)> {
    let attacking = attacker.start(line)?;
    let mut held_up = 0;
    for _ in 0..3 {
        let sudo = innocent.run(&format!("echo {PASSWORD} | sudo -S true"))?;
        held_up += u32::from(sudo.status != 0 || sudo.took > HELD_UP);
    }
    let output = attacker.finish(&attacking, Duration::from_secs(120))?;
    let became = host.has("/etc/became") || output.stdout.contains("BECAME");
    if became {
        println!("{output}");
    }
    let (refused, last) = refused_since(host, since)?;
    Ok((Outcome { became_root: u32::from(became), held_up, refused }, last))
}

/// Plays all attacks of a kind; returns what they came to together.
fn play_all(host: &Host, attacker: &mut Login, kind: &str, attacks: &[(&str, String)]) -> Result<Outcome> {
    let mut innocent = host.login(ALICE)?;
    let mut all = Outcome { became_root: 0, held_up: 0, refused: 0 };
    let (_, mut since) = refused_since(host, 0)?;
    for (name, line) in attacks {
        let (one, last) = attack(host, attacker, &mut innocent, line, since)?;
        since = last;
        println!(
            "{kind}, {name}: {} became root, {} held up, {} refused",
            one.became_root, one.held_up, one.refused
        );
        all.became_root += one.became_root;
        all.held_up += one.held_up;
        all.refused += one.refused;
    }
    println!("{kind}: {} became root, {} held up, {} refused", all.became_root, all.held_up, all.refused);
    Ok(all)
}

/// The grants that are live, by number.
fn live(host: &Host) -> Result<Vec<u64>> {
    let grants = host.jitctl(&["grants"])?;
    Ok(grants.as_array().into_iter().flatten().filter_map(|grant| grant["id"].as_u64()).collect())
}

#[test]
fn who_has_no_window_becomes_nobody_and_holds_nobody_up() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.install("hostile")?;
        let granted = host.grant(ALICE, "ops", "1h")?;
        let mut mallory = host.login(MALLORY)?;
        let line = |script: &str| format!("export P='{PROOF}'; ({script}) 2>&1");
        let attacks: Vec<_> = WITHOUT_A_WINDOW.iter().map(|(name, script)| (*name, line(script))).collect();
        let all = play_all(host, &mut mallory, "without a window", &attacks)?;
        ensure!(all.became_root == 0 && all.held_up == 0, "an attack came through, see above");
        ensure!(all.refused > 40, "only {} refusals are on record", all.refused);
        ensure!(live(host)? == [granted], "the grants are {:?}", live(host)?);
        ensure!(
            host.root(&["pgrep", "-u", "root", "-f", "touch /etc/became"])?.status != 0,
            "something waits"
        );
        Ok(())
    })
}

#[test]
fn who_has_a_window_gets_no_more_than_it_says() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let others = host.grant(ALICE, "ops", "1h")?;
        let own = host.grant(DAVE, "as-nobody", "1h")?;
        let mut dave = host.login(DAVE)?;
        let asked =
            dave.run("jitctl --json request twice --reason 'a role that is root'")?.json()?["id"].to_string();
        let line = |script: &str| format!("export P='{PROOF}' R={asked} G={own}; ({script}) 2>&1");
        let attacks: Vec<_> = WITH_A_WINDOW.iter().map(|(name, script)| (*name, line(script))).collect();
        let all = play_all(host, &mut dave, "with a window", &attacks)?;
        ensure!(all.became_root == 0 && all.held_up == 0, "an attack came through, see above");
        // What at runs is on its way for a moment.
        jit_tests::clock::wait_until("at has nothing left to do", END_LIMIT, || {
            Ok(host.root_sh("ls /var/spool/cron/atjobs | wc -l; pgrep -c jitctl")?.stdout == "0\n0\n")
        })?;
        let mut grants = live(host)?;
        grants.sort_unstable();
        let mut expected = [others, own];
        expected.sort_unstable();
        ensure!(grants == expected, "the grants are {grants:?}, not {expected:?}");
        let shown = host.jitctl(&["show", &asked])?;
        let approvals = shown["request"]["approvals"].as_array().map_or(0, Vec::len);
        ensure!(approvals == 0 && shown["request"]["state"] == "pending", "{shown}");
        ensure!(all.refused > 20, "only {} refusals are on record", all.refused);
        Ok(())
    })
}

#[test]
fn root_inside_a_window_gets_no_other_and_does_not_outlive_it() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        let others = host.grant(ALICE, "ops", "1h")?;
        let own = host.grant(DAVE, "ops", "1h")?;
        let mut dave = host.login(DAVE)?;
        let asked =
            dave.run("jitctl --json request twice --reason 'a role that is root'")?.json()?["id"].to_string();
        let line = |script: &str| {
            let quoted = script.replace('\'', "'\\''");
            format!("export R={asked} O={others}; (sudo -n --preserve-env=R,O bash -c '{quoted}') 2>&1")
        };
        let attacks: Vec<_> = AS_ROOT_INSIDE.iter().map(|(name, script)| (*name, line(script))).collect();
        let all = play_all(host, &mut dave, "as root inside a window", &attacks)?;
        ensure!(all.held_up == 0, "somebody was held up, see above");
        ensure!(all.refused > 10, "only {} refusals are on record", all.refused);
        let shown = host.jitctl(&["show", &asked])?;
        let approvals = shown["request"]["approvals"].as_array().map_or(0, Vec::len);
        ensure!(approvals == 0 && shown["request"]["state"] == "pending", "{shown}");
        let mut grants = live(host)?;
        grants.sort_unstable();
        let mut expected = [others, own];
        expected.sort_unstable();
        ensure!(grants == expected, "the grants are {grants:?}, not {expected:?}");
        host.root(&["jitctl", "revoke", &own.to_string(), "--reason", "that is enough"])?.ok()?;
        host.no_session_left(END_LIMIT)?;
        let alive = host.root(&["pgrep", "-a", "-x", "sleep"])?;
        alive.holds(!alive.stdout.contains("4713"), "nothing lives on")?;
        let seal = host.jitctl(&["status"])?;
        ensure!(host.records()?.iter().all(|record| record["event"] != "audit.sealed"), "{seal}");
        dave.run("sudo -n true")?.fails()?;
        host.root(&["jitctl", "audit", "verify"])?.ok().context("the record")?;
        Ok(())
    })
}
