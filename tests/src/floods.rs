//! The floods that a local user can cause, as a table, and the conditions that hold during each.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::clock::{now, wait_until};
use crate::host::Host;
use crate::login::Login;
use crate::people::{ALICE, BOB, DAVE, MALLORY, OSCAR};

/// The kind of a flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Calls without a reply, on many connections.
    NoReply,
    /// Calls whose answers are never read.
    Unread,
    /// Calls whose answers are read, 32 in flight on each connection.
    Answered,
    /// A connection for each call.
    Churn,
    /// As many connections as possible, each held after one call.
    Held,
    /// Half handshakes and half messages.
    Half,
    /// Calls with an unknown header field.
    Malformed,
    /// Signals sent to every connection on the bus, with forged interfaces.
    Signals,
    /// Lines for syslog that look like records.
    Syslog,
    /// Sudos that are stopped between their audit session and their answer.
    StoppedSudos,
    /// Sudos without a pause.
    Sudos,
}

/// One flood.
#[derive(Debug, Clone, Copy)]
pub struct Flood {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub how: How,
    /// The method that is called.
    pub method: &'static str,
    /// The length of its text, in bytes.
    pub size: usize,
}

macro_rules! floods {
    ($($name:literal: $how:ident $method:literal $size:literal;)*) => {
        /// Every flood.
        pub const FLOODS: &[Flood] = &[
            $(Flood { name: $name, how: How::$how, method: $method, size: $size },)*
        ];
    };
}

floods! {
    "show-no-reply": NoReply "Show" 0;
    "show-unread": Unread "Show" 0;
    "show-answered": Answered "Show" 0;
    "status-no-reply": NoReply "Status" 0;
    "status-answered": Answered "Status" 0;
    "grants-unread": Unread "Grants" 0;
    "sessions-answered": Answered "Sessions" 0;
    "request-answered": Answered "Request" 40;
    "request-long": Answered "Request" 60_000;
    "request-huge": Unread "Request" 8_000_000;
    "request-huge-no-reply": NoReply "Request" 30_000_000;
    "revoke-answered": Answered "Revoke" 0;
    "revoke-user-answered": Answered "RevokeUser" 0;
    "search-answered": Answered "Search" 0;
    "read-unread": Unread "Read" 0;
    "policy-check-answered": Answered "PolicyCheck" 0;
    "introspect-answered": Answered "Introspect" 0;
    "get-all-answered": Answered "GetAll" 0;
    "ping-answered": Answered "Ping" 0;
    "unknown-answered": Answered "NoSuchMethod" 0;
    "churn": Churn "Show" 0;
    "held": Held "Show" 0;
    "half": Half "Show" 0;
    "malformed": Malformed "Show" 0;
    "signals": Signals "SessionRemoved" 0;
    "signals-huge": Signals "SessionRemoved" 30_000_000;
    "syslog": Syslog "" 0;
    "stopped-sudos": StoppedSudos "" 0;
    "sudos": Sudos "" 0;
}

impl Flood {
    /// By its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        FLOODS.iter().copied().find(|flood| flood.name == name)
    }
}

/// How long a flood is played.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// How often it begins anew; at least once.
    pub rounds: u32,
    /// How long it is each time.
    pub seconds: u32,
    /// So many sudos are measured before it and in it, each time.
    pub sudos: u32,
}

/// The result of a flood.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its name.
    pub name: &'static str,
    /// Median of a sudo outside of it and in it.
    pub sudo: (Duration, Duration),
    /// The same for sudos that ask nothing of the gate: what the flood costs the machine.
    pub ungated: (Duration, Duration),
    /// Time of a revocation by root.
    pub revoke: Duration,
    /// Time of an approval by another person.
    pub approve: Duration,
    /// Time of a status by another person.
    pub status: Duration,
    /// Peak private memory of the daemon, in bytes.
    pub peak: u64,
    /// Number of sudos of a person with a window that were denied or failed.
    pub held_up: u32,
    /// Number of sudos of a person without a window that were allowed.
    pub became_root: u32,
    /// Number of those that were denied.
    pub refused: u32,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, sudo: (quiet, flooded), revoke, approve, status, peak, .. } = self;
        let ratio = slower(self.sudo);
        let ungated = slower(self.ungated);
        write!(
            f,
            "{name}: sudo {quiet:.1?} -> {flooded:.1?} ({ratio:.2} times; without the gate {ungated:.2} times), revoke {revoke:.0?}, approve {approve:.0?}, \
             status {status:.0?}, {:.1} MB; {} became root, {} held up, {} refused",
            *peak as f64 / 1e6,
            self.became_root,
            self.held_up,
            self.refused
        )
    }
}

/// How many times longer the second is.
#[must_use]
pub fn slower((quiet, flooded): (Duration, Duration)) -> f64 {
    flooded.as_secs_f64() / quiet.as_secs_f64()
}

/// A sudo of whom the gate is not asked: what a flood costs the machine is what it costs that one.
const UNGATED: &str = "sed /pam_jit/d /etc/pam.d/sudo >/etc/pam.d/sudo-ungated; umask 227; \
    printf 'Defaults:bob pam_service=sudo-ungated\\nbob ALL=(ALL:ALL) NOPASSWD: /usr/bin/true\\n' >/etc/sudoers.d/zz-ungated; \
    visudo --check --quiet";

/// The people around a flood: the flooding user, a holder, an approver.
#[derive(Debug)]
pub struct Scene {
    flooder: Login,
    worker: Login,
    approver: Login,
    asker: Login,
}

impl Scene {
    /// Lets them log in.
    ///
    /// # Errors
    /// When that fails.
    pub fn set(host: &Host) -> Result<Self> {
        host.install("flood")?;
        host.root_sh(UNGATED)?.ok()?;
        host.grant(OSCAR, "ops", "2h")?;
        Ok(Self {
            flooder: host.login(MALLORY)?,
            worker: host.login(OSCAR)?,
            approver: host.login(BOB)?,
            asker: host.login(ALICE)?,
        })
    }

    /// Plays one flood `rounds` times, `seconds` long, with so many sudos before each and in each; root revokes and somebody
    /// approves in the last.
    ///
    /// # Errors
    /// When a step does not end; not when it is slow.
    pub fn play(&mut self, host: &Host, flood: Flood, times: Times) -> Result<Outcome> {
        let Times { rounds, seconds, sudos } = times;
        let grant = host.grant(DAVE, "ops", "30m")?;
        let asked = self.asker.run("jitctl --json request ops --reason 'in the middle of a flood'")?;
        let request = asked.json()?["id"].to_string();
        let mut outcome = Outcome {
            name: flood.name,
            sudo: Default::default(),
            ungated: Default::default(),
            revoke: Duration::ZERO,
            approve: Duration::ZERO,
            status: Duration::ZERO,
            peak: 0,
            held_up: 0,
            became_root: 0,
            refused: 0,
        };
        let mut quiet = Sudos::default();
        let mut flooded = Sudos::default();
        let mut last = None;
        for _ in 0..rounds {
            if let Some(before) = last.take() {
                self.flooder.finish(&before, Duration::from_secs(u64::from(seconds) + 60))?;
            }
            outcome.held_up += self.sudos(sudos, &mut quiet)?;
            let typed = self.flooder.start(&format!("flood {} {seconds}", flood.name))?;
            wait_until("the flood has begun", Duration::from_secs(10), || {
                Ok(!host.root(&["pgrep", "--exact", "flood"])?.stdout.is_empty())
            })?;
            outcome.held_up += self.sudos(sudos, &mut flooded)?;
            last = Some(typed);
        }
        let typed = last.context("no round")?;
        outcome.sudo = (median(quiet.gated)?, median(flooded.gated)?);
        outcome.ungated = (median(quiet.ungated)?, median(flooded.ungated)?);
        outcome.peak = memory(host)?.0;
        let begun = now();
        host.root_with(
            &["jitctl", "revoke", &grant.to_string(), "--reason", "in the middle of a flood"],
            b"",
            Duration::from_secs(30),
        )?
        .ok()?;
        outcome.revoke = begun.elapsed();
        let approved =
            self.approver.run_within(&format!("jitctl approve {request}"), Duration::from_secs(40))?;
        approved.ok()?;
        outcome.approve = approved.took;
        let status = self.asker.run_within("jitctl status", Duration::from_secs(40))?;
        status.ok()?;
        outcome.status = status.took;
        outcome.peak = outcome.peak.max(memory(host)?.0);
        self.flooder.finish(&typed, Duration::from_secs(u64::from(seconds) + 60))?;
        outcome.peak = outcome.peak.max(memory(host)?.0);
        let without = self.flooder.run("sudo -n id")?;
        if without.stdout.contains("uid=0") {
            outcome.became_root += 1;
        } else {
            outcome.refused += 1;
        }
        host.root(&["jitctl", "revoke", "--user", ALICE, "--reason", "the flood is over"])?;
        Ok(outcome)
    }

    /// So many sudos, in turn with as many that ask nothing of the gate; returns how many failed.
    fn sudos(&mut self, count: u32, took: &mut Sudos) -> Result<u32> {
        let mut failed = 0;
        for _ in 0..count {
            let gated = self.worker.run("sudo -n true")?;
            failed += u32::from(gated.status != 0);
            took.gated.push(gated.took);
            let ungated = self.approver.run("sudo -n true")?;
            ungated.ok()?;
            took.ungated.push(ungated.took);
        }
        Ok(failed)
    }
}

/// How long sudos took.
#[derive(Debug, Default)]
struct Sudos {
    gated: Vec<Duration>,
    ungated: Vec<Duration>,
}

fn median(mut times: Vec<Duration>) -> Result<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied().context("no sudo was measured")
}

/// The daemon's private memory, and its peak memory with files, in bytes (proc_pid_status(5), `RssAnon` and `VmHWM`;
/// not every host has a memory controller).
///
/// # Errors
/// When that cannot be read.
pub fn memory(host: &Host) -> Result<(u64, u64)> {
    let status =
        host.root_sh("cat /proc/$(systemctl show --property=MainPID --value jitd.service)/status")?;
    status.ok()?;
    let figure = |key: &str| -> Result<u64> {
        let line = status.stdout.lines().find_map(|line| line.strip_prefix(key)).context("no such figure")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes * 1024)
    };
    Ok((figure("RssAnon:")?, figure("VmHWM:")?))
}

/// Checks that PID 1 did not restart the daemon, and that the daemon stayed below the memory limit of its unit.
///
/// # Errors
/// When it has not.
pub fn was_never_ended(host: &Host) -> Result<()> {
    let shown = host.root_sh(
        "systemctl show --property=NRestarts --value jitd.service; sed -n 's/^MemoryMax=//p' \
         /usr/lib/systemd/system/jitd.service | numfmt --from=iec",
    )?;
    let mut lines = shown.ok()?.stdout.lines();
    let restarts = lines.next().context("NRestarts")?;
    ensure!(restarts == "0", "jitd was started again {restarts} times");
    let most: u64 = lines.next().context("MemoryMax")?.parse()?;
    let (_, peak) = memory(host)?;
    ensure!(peak < most, "jitd has had {peak} bytes, and its unit allows {most}");
    Ok(())
}
