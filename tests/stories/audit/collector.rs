//! Every record reaches a collector on another machine, whatever is killed or down on the way there.
//!
//! The collector is a second syslog daemon on the same host, with the configurations that the package ships and
//! certificates made here.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::paths;
use jit_tests::people::MALLORY;
use jit_tests::plan::{Plan, Release};
use serde_json::Value;

/// A queue on the disk is emptied at some hundred records a second.
const LIMIT: Duration = Duration::from_secs(90);
/// Where each of the two collectors keeps what this host sent.
const KEPT: &str = "/var/log/jitd-hosts/127.0.0.1.log";
/// So many records are made while something is away.
const MANY: u64 = 1000;
/// How often something is killed, and at least so many records are made around each of these times.
const KILLS: u64 = 6;
const SOME: u64 = 200;

/// An authority, the collector's certificate, and two hosts' of which the collector knows one.
const CERTIFICATES: &str = r#"
set -e
mkdir -p "$1"; cd "$1"
key="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
openssl req -x509 $key -days 30 -keyout ca.key -out ca.pem -subj "/CN=authority"
for who in collector=collector.example.org host=web1.hosts.example.org stranger=web1.elsewhere.example.org; do
    openssl req $key -keyout ${who%=*}.key -out request.pem -subj "/CN=${who#*=}"
    openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out ${who%=*}.pem \
        -extfile <(printf "subjectAltName=DNS:${who#*=}\n")
done
"#;

/// Speaks RELP to the collector with somebody's certificate, or with none, and waits until it hangs up.
const SPEAK: &str = r#"
cd /etc/rsyslog.d/jitd
frame() { printf '%s %s %s %s\n' "$1" "$2" "${#3}" "$3"; }
[ "$1" = nobody ] || mine="-cert $1.pem -key $1.key"
{ frame 1 open $'relp_version=0\nrelp_software=story\ncommands=syslog'; frame 2 syslog "<84>1 - $1 - - - - hello from $1"
  printf '3 close 0\n'; } | timeout 20 openssl s_client -quiet -connect collector.example.org:20514 -CAfile ca.pem $mine
"#;

fn shipped(file: &str) -> Result<String> {
    let path = paths::repository().join("packaging/siem").join(file);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Installs the files in the order in which the README has it done, and begins with an empty copy.
fn set_up(host: &Host, daemon: &str, certificates: &str) -> Result<()> {
    host.install("stopwatch")?;
    host.write("/etc/hosts", "127.0.0.1 localhost collector.example.org\n")?;
    host.root(&["bash", "-c", CERTIFICATES, "certificates", certificates])?.ok()?;
    host.write("/etc/systemd/system/jitd-syslog.socket", &shipped("systemd/jitd-syslog.socket")?)?;
    host.write("/etc/systemd/system/jitd.service.d/jitd-syslog.conf", &shipped("systemd/jitd-syslog.conf")?)?;
    host.write(
        &format!("/etc/systemd/system/{daemon}.service.d/jitd.conf"),
        &shipped("systemd/never-give-up.conf")?,
    )?;
    host.root(&["systemctl", "daemon-reload"])?.ok()?;
    host.root(&["systemctl", "start", "collector.service"])?.ok()?;
    let install = format!(
        "systemctl stop syslog.socket {daemon}.service; systemctl enable --now jitd-syslog.socket && \
         systemctl start {daemon}.service && systemctl restart jitd.service"
    );
    host.root_sh(&install)?.ok().map(drop)
}

fn unit(command: &str) -> String {
    format!(
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=notify\nRestart=always\nRestartSec=0\nExecStart={command}\n"
    )
}

/// Begins to make at least so many records, as fast as the gate answers. Root calls, who is let pass: each of these calls is
/// recorded however many there are. Others' denials are only counted above a limit.
fn begin(host: &Host, records: u64) -> Result<Child> {
    let script = format!(
        "made=0; while [ $made -lt {records} ]; do \
         set -- $(echo go | stopwatch root 1 | tail -n 1) && made=$((made + $1 + $2)) || exit 1; done"
    );
    let mut command = host.command()?;
    Ok(command.args(["bash", "-c", &script]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?)
}

fn ended(mut many: Child) -> Result<()> {
    let status = many.wait()?;
    let mut said = String::new();
    many.stderr.take().context("a pipe")?.read_to_string(&mut said)?;
    ensure!(status.success(), "making records: {status}: {said}");
    Ok(())
}

fn made(host: &Host) -> Result<u64> {
    host.jitctl(&["status"])?["records"].as_u64().context("records")
}

fn kept(host: &Host) -> usize {
    host.read(KEPT).unwrap_or_default().lines().count()
}

/// Kills a unit's main process and waits for the next one.
fn kill(host: &Host, unit: &str) -> Result<()> {
    let main = || {
        Ok::<_, anyhow::Error>(host.root(&["systemctl", "show", "-P", "MainPID", unit])?.line().to_owned())
    };
    let before = main()?;
    host.root(&["kill", "-KILL", &before])?.ok()?;
    wait_until(&format!("{unit} is back"), LIMIT, || {
        let now = main()?;
        Ok(now != "0" && now != before && host.root(&["systemctl", "is-active", unit])?.status == 0)
    })
}

/// Numbers in the copy: those that are missing in it, and those that are there more than once.
fn told(host: &Host) -> Result<(BTreeSet<u64>, BTreeSet<u64>)> {
    let (mut seen, mut repeated, mut highest) = (BTreeSet::new(), BTreeSet::new(), 0);
    // A heartbeat has the number of a record, and is none.
    for line in host.read(KEPT)?.lines().filter(|line| !line.contains(" daemon.heartbeat [")) {
        let number = line.split(" [jit@32473 seq=\"").nth(1).and_then(|rest| rest.split('"').next());
        let number = number.with_context(|| format!("a line of somebody else: {line}"))?.parse()?;
        if !seen.insert(number) {
            repeated.insert(number);
        } else {
            ensure!(number > highest, "record {number} came after record {highest}");
            highest = number;
        }
    }
    let first = *seen.first().context("nothing arrived")?;
    Ok(((first..highest).filter(|number| !seen.contains(number)).collect(), repeated))
}

/// Waits for the last record.
fn arrived(host: &Host) -> Result<()> {
    let marked = format!(" [jit@32473 seq=\"{}\"", made(host)?);
    let has_it = || {
        let copy = host.read(KEPT).unwrap_or_default();
        Ok(copy.lines().any(|line| line.contains(&marked) && !line.contains(" daemon.heartbeat [")))
    };
    wait_until("the collector has the last record", LIMIT, has_it)
        .with_context(|| format!("{:?}", told(host)))
}

/// Waits for the last record; then the copy is whole, and agrees with the store. More may be recorded meanwhile: that
/// the syslog daemon took long, for one.
fn whole(host: &Host) -> Result<()> {
    let made = made(host)?;
    arrived(host)?;
    let verified = host.root(&["jitctl", "--json", "audit", "verify", "--input", KEPT, "--store"])?;
    let verdict = verified.json()?;
    let messages: &Value = &verdict["parts"][0];
    ensure!(verdict["whole"] == true && messages["source"] == "messages", "{verdict}");
    ensure!(messages["records"].as_u64() >= Some(made), "{verdict}");
    let (missing, _) = told(host)?;
    ensure!(missing.iter().all(|seq| *seq > made), "missing: {missing:?}");
    Ok(())
}

/// Waits for the last record; then at most so many are missing, and it is said that they are.
fn missing_at_most(host: &Host, most: u64) -> Result<()> {
    arrived(host)?;
    let (missing, _) = told(host)?;
    ensure!(missing.len() as u64 <= most, "missing: {missing:?}");
    let verified = host.root(&["jitctl", "--json", "audit", "verify", "--input", KEPT, "--store"])?;
    let verdict: Value = serde_json::from_str(&verified.stdout)?;
    match missing.first() {
        None => verified.ok().map(drop),
        Some(first) => {
            verified.exits(7)?.holds(verdict["bad_seq"] == *first, "the first missing record").map(drop)
        }
    }
}

/// The host's syslog daemon is away in every way it can be, while records are made.
fn away(host: &Host, daemon: &str) -> Result<()> {
    // Hanging, and jitd itself starts again meanwhile: what the socket does not take waits in the store.
    host.root(&["systemctl", "kill", "--signal=STOP", daemon])?.ok()?;
    ended(begin(host, MANY)?)?;
    let unsent = host.jitctl(&["status"])?["unsent"].as_u64().context("unsent")?;
    ensure!(unsent > 0, "{daemon} took everything although it hangs");
    host.root(&["systemctl", "restart", "jitd.service"])?.ok()?;
    host.root(&["systemctl", "kill", "--signal=CONT", daemon])?.ok()?;
    whole(host)?;
    for _ in 0..KILLS / 2 {
        let before = made(host)?;
        let some = begin(host, SOME)?;
        wait_until("more records are made", LIMIT, || Ok(made(host)? > before + 50))?;
        host.root(&["systemctl", "restart", daemon])?.ok()?;
        ended(some)?;
    }
    whole(host)?;
    // Killed, it may have had one in hand.
    for _ in 0..KILLS / 2 {
        let before = made(host)?;
        let some = begin(host, SOME)?;
        wait_until("more records are made", LIMIT, || Ok(made(host)? > before + 50))?;
        kill(host, daemon)?;
        ended(some)?;
    }
    missing_at_most(host, KILLS / 2)
}

fn rsyslog_and_its_collector(host: &Host) -> Result<()> {
    host.write("/etc/rsyslog.d/60-jitd.conf", &shipped("rsyslog/60-jitd.conf")?)?;
    host.write(
        "/etc/collector/rsyslog.conf",
        &format!("global(workDirectory=\"/var/spool/collector\")\n{}", shipped("rsyslog/collector.conf")?),
    )?;
    host.root(&["mkdir", "-p", "/var/spool/collector"])?.ok()?;
    let command = "/usr/sbin/rsyslogd -n -f /etc/collector/rsyslog.conf -i /run/collector.pid";
    host.write("/etc/systemd/system/collector.service", &unit(command))?;
    set_up(host, "rsyslog", "/etc/rsyslog.d/jitd")
}

fn relp() -> Plan {
    Plan::new(Release::Trixie).with_debian(&["rsyslog-relp", "openssl"])
}

#[test]
fn a_relp_collector_killed_again_and_again_has_every_record_in_order() -> Result<()> {
    play(&relp(), |host| {
        rsyslog_and_its_collector(host)?;
        whole(host)?;
        for _ in 0..KILLS {
            let before = kept(host);
            let some = begin(host, SOME)?;
            wait_until("more records arrive", LIMIT, || Ok(kept(host) > before + 50))?;
            kill(host, "collector.service")?;
            ended(some)?;
        }
        whole(host)?;
        // Only what was under way comes again, and no more of it than librelp sends without an answer (omrelp,
        // `windowSize`).
        let (_, repeated) = told(host)?;
        let most = KILLS * 128;
        ensure!(repeated.len() as u64 <= most, "came more than once after {KILLS} kills: {repeated:?}");
        Ok(())
    })
}

#[test]
fn an_rsyslog_that_hangs_or_dies_or_starts_anew_loses_none_but_what_it_has_in_hand() -> Result<()> {
    play(&relp(), |host| {
        rsyslog_and_its_collector(host)?;
        away(host, "rsyslog.service")
    })
}

#[test]
fn nobody_gets_in_between() -> Result<()> {
    play(&relp(), |host| {
        rsyslog_and_its_collector(host)?;
        whole(host)?;
        let forged = format!(
            "1 2026-11-22T06:21:15.854724Z web1 jitd 1 access.allowed [jit@32473 seq=\"1\" hash=\"{0}\" prev=\"{0}\"] forged",
            "0".repeat(64)
        );
        let mut mallory = host.login(MALLORY)?;
        // Somebody who is not root: neither on jitd's own socket, nor through the one for everybody.
        mallory
            .run(&format!("logger --socket /run/jitd-syslog '{forged}'; echo $?"))?
            .says("Permission denied")?;
        mallory.run(&format!("logger '{forged}'"))?.ok()?;
        whole(host)?;
        ensure!(!host.read(KEPT)?.contains("forged"), "a forged line was taken");
        // Nor somebody who is no host of the collector's; one that is can, which shows that they speak as they should.
        for (who, may) in [("stranger", false), ("nobody", false), ("host", true)] {
            let said = host.root(&["bash", "-c", SPEAK, "speak", who])?;
            ensure!(host.read(KEPT)?.contains(&format!("hello from {who}")) == may, "{who}: {}", said.text());
        }
        Ok(())
    })
}

fn syslog_ng_and_its_collector(host: &Host) -> Result<()> {
    host.write("/etc/syslog-ng/conf.d/jitd.conf", &shipped("syslog-ng/jitd.conf")?)?;
    host.write(
        "/etc/systemd/system/jitd-syslog.socket.d/syslog-ng.conf",
        &shipped("systemd/syslog-ng.conf")?,
    )?;
    host.write(
        "/etc/collector/syslog-ng.conf",
        &format!("@version: 4.4\n{}", shipped("syslog-ng/collector.conf")?),
    )?;
    host.root(&["mkdir", "-p", "/var/lib/collector"])?.ok()?;
    let command = "/usr/sbin/syslog-ng -F -f /etc/collector/syslog-ng.conf -R /var/lib/collector/persist \
                   -c /run/collector.ctl -p /run/collector.pid";
    host.write("/etc/systemd/system/collector.service", &unit(command))?;
    set_up(host, "syslog-ng", "/etc/syslog-ng/jitd")
}

#[test]
fn a_syslog_ng_that_hangs_or_dies_or_starts_anew_loses_none_but_what_it_has_in_hand() -> Result<()> {
    play(&Plan::new(Release::Trixie).with_debian(&["syslog-ng-core", "openssl"]), |host| {
        syslog_ng_and_its_collector(host)?;
        let socket = host.root(&["stat", "-c", "%a %U", "/run/jitd-syslog"])?;
        socket.ok()?.says("600 root")?;
        whole(host)?;
        away(host, "syslog-ng.service")?;
        // TLS confirms nothing: what was under way to a collector that is killed may be lost. Then it is told which.
        let before = kept(host);
        let some = begin(host, SOME)?;
        wait_until("more records arrive", LIMIT, || Ok(kept(host) > before + 50))?;
        kill(host, "collector.service")?;
        ended(some)?;
        missing_at_most(host, SOME)
    })
}
