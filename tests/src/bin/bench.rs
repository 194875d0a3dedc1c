//! `make bench`: what the gate costs sudo, beside its alternatives, measured on a booted Debian 13 host.
//!
//! All variants are run by one person with one sudoers rule, as `sudo -n true` with the same binary and, where sudo is
//! compared with sudo, the same service name: each has a mount namespace of its own in which `/etc/pam.d/sudo` is
//! another file, and nothing else differs. A small program inside the host forks, executes, waits and reads
//! CLOCK_MONOTONIC; nothing of the build machine is inside the measured time. In each round every variant runs once, in
//! a new random order, and ratios are medians of the ratios within the rounds, so that a slowdown of the machine
//! affects both sides. Between two runs the machine gets a short rest: the work that one run leaves, such as the move
//! into the session's scope, is not counted to the next. Runs without a rest show the total cost.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench is there to be read")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jit_tests::accounts;
use jit_tests::clock::{rest, wait_until};
use jit_tests::host::Host;
use jit_tests::paths;
use jit_tests::people::{DAVE, uid};
use jit_tests::plan::{Plan, Release};
use jit_tests::{polkit_cost, precision};
use serde_json::{Value, json};

/// The duration of calls for each number of callers.
const GATE_SECONDS: u64 = 5;
const CALLERS: [usize; 3] = [1, 8, 64];
/// The number of accounts without a window in each of the three runs; each calls the gate a few hundred times.
const DENIED: u32 = 320;
const WARM_UP: usize = 5;
/// Runs in a row without a rest.
const ROW: u32 = 100;
/// Trees of a thousand processes that are ended.
const TREES: usize = 20;

/// Variants: name, stack, command. The first is the reference.
const VARIANTS: [(&str, &str, &str); 9] = [
    ("sudo", "plain", "sudo -n true"),
    ("sudo, pam_jit", "jit", "sudo -n true"),
    ("sudo, pam_jit on the system bus", "bus", "sudo -n true"),
    ("sudo, pam_exec and a script", "exec", "sudo -n true"),
    ("sudo-rs", "plain", "sudo-rs -n true"),
    ("sudo-rs, pam_jit", "jit", "sudo-rs -n true"),
    ("pkexec", "plain", "pkexec true"),
    ("run0", "plain", "run0 true"),
    ("sudo, pam_jit without a tag", "untagged", "sudo -n true"),
];
const JIT: usize = 1;
const EXEC: usize = 3;
const PKEXEC: usize = 6;
const RUN0: usize = 7;
/// For sudo-rs there is a fairer comparison than with sudo.
const SUDO_RS: [usize; 2] = [4, 5];

/// The alternative without jitd: a file for each grant, looked up by a script.
const SCRIPT: &str = "#!/bin/sh\n# A grant is a file with its end, in seconds since the epoch.\n\
    grant=/run/grants/$PAM_RUSER\n[ -r \"$grant\" ] || exit 1\nread -r end <\"$grant\"\n[ \"$(date +%s)\" -lt \"$end\" ]\n";
const POLKIT: &str = "polkit.addRule(function(action, subject) {\n\
    \x20   if (subject.user == \"dave\") { return polkit.Result.YES; }\n});\n";

fn main() -> Result<()> {
    let Options { runs, pause, sealed } = options()?;
    eprintln!("booting a Debian 13 host ...");
    let plan = Plan::new(Release::Trixie).named("bench");
    let host = Host::boot(&plan)?;
    if sealed {
        host.root(&["jitctl", "audit", "seal", "--init"])?.ok()?;
    }
    let mut workers = prepare(&host)?;
    let resident_at_rest = resident(&host)?;

    let times = measure(&mut workers, runs, pause)?;
    let rows = in_a_row(&mut workers)?;
    drop(workers);
    host.no_session_left(Duration::from_secs(60))?;
    let resident_after = resident(&host)?;
    let cpu = cpu_of_a_sudo(&host)?;
    let gate = call_the_gate(&host)?;
    host.root(&["jitctl", "revoke", "--all", "--reason", "the next part of the bench"])?.ok()?;
    host.no_session_left(Duration::from_secs(60))?;
    let trees = end_trees(&host)?;
    eprintln!("200 windows that close within a second ...");
    let late = precision::measure(&host, 200)?;
    let resident_most = resident(&host)?;
    eprintln!("pkexec without and with jitd's rule ...");
    let pkexec = polkit_cost::measure(&host)?;
    host.root_with(&["jitctl", "audit", "verify"], b"", Duration::from_secs(120))?.ok()?;

    let ends = Ends { cpu, trees, late, pkexec };
    let residents = [resident_at_rest, resident_after, resident_most];
    let mut report = report(runs, &times, &rows, &gate, residents, &ends)?;
    report["sealed"] = json!(sealed);
    let path = paths::target().join("bench.json");
    fs::write(&path, serde_json::to_string_pretty(&report)? + "\n")?;
    print!("{}", table(&report));
    println!("\nas JSON: {}", path.display());
    ensure!(
        gate.iter().all(|way| way["failed"] == 0),
        "calls of the gate failed; their numbers above count for nothing"
    );
    Ok(())
}

struct Options {
    /// Rounds that are counted.
    runs: usize,
    /// The rest between two runs.
    pause: Duration,
    /// Whether the audit log is sealed.
    sealed: bool,
}

fn options() -> Result<Options> {
    let (mut runs, mut pause, mut sealed) = (200, 40, false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--sealed" {
            sealed = true;
            continue;
        }
        let value = words.next().with_context(|| format!("{word} wants a number"))?;
        match word.as_str() {
            "--runs" => runs = value.parse()?,
            "--pause-ms" => pause = value.parse()?,
            _ => bail!("usage: bench [--runs N] [--pause-ms N] [--sealed]"),
        }
    }
    ensure!(runs >= 1, "at least one run");
    Ok(Options { runs, pause: Duration::from_millis(pause), sealed })
}

fn prepare(host: &Host) -> Result<Vec<Worker>> {
    host.install("stopwatch")?;
    let jit = host.read("/etc/pam.d/sudo")?;
    let plain: String =
        jit.lines().filter(|line| !line.contains("pam_jit.so")).map(|line| format!("{line}\n")).collect();
    let on_bus: String = jit
        .lines()
        .map(|line| {
            if line.contains("pam_jit.so") && !line.starts_with('#') {
                format!("{line} bus=system\n")
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    let untagged: String = on_bus.replace("bus=system", "tag=no");
    let exec = format!("account required pam_exec.so quiet /usr/local/bin/look-up-grant\n{plain}");
    for (name, stack) in
        [("plain", &plain), ("jit", &jit), ("bus", &on_bus), ("exec", &exec), ("untagged", &untagged)]
    {
        host.write(&format!("/etc/bench/{name}"), stack)?;
    }
    host.write_program("/usr/local/bin/look-up-grant", SCRIPT)?;
    host.write("/etc/polkit-1/rules.d/50-bench.rules", POLKIT)?;
    host.root_sh("mkdir -p /run/grants; date -d '+1 day' +%s > /run/grants/dave; systemctl restart polkit")?
        .ok()?;
    host.grant(DAVE, "ops", "2h")?;
    ["plain", "jit", "bus", "exec", "untagged"].into_iter().map(|stack| Worker::start(host, stack)).collect()
}

/// A process in the host that runs commands with one of the stacks.
struct Worker {
    stack: &'static str,
    _child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Worker {
    fn start(host: &Host, stack: &'static str) -> Result<Self> {
        let mut command = host.command()?;
        command
            .args(["systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--property=PAMName=login"])
            .arg(format!("--property=BindReadOnlyPaths=/etc/bench/{stack}:/etc/pam.d/sudo"))
            .arg(format!("--uid={DAVE}"))
            .args(["--setenv=PATH=/usr/local/bin:/usr/bin:/bin", "/usr/local/bin/stopwatch", "time"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().context("a pipe")?;
        let stdout = BufReader::new(child.stdout.take().context("a pipe")?);
        Ok(Self { stack, _child: child, stdin, stdout })
    }

    /// Nanoseconds for this many runs of a command.
    fn run(&mut self, times: u32, command: &str) -> Result<f64> {
        writeln!(self.stdin, "{times} {command}")?;
        self.stdin.flush()?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        let (took, failed) =
            line.trim().split_once(' ').with_context(|| format!("the worker said {line:?}"))?;
        ensure!(failed == "0", "{command} with the stack {:?} failed {failed} of {times} times", self.stack);
        Ok(took.parse::<f64>()?)
    }
}

fn worker<'a>(workers: &'a mut [Worker], stack: &str) -> Result<&'a mut Worker> {
    workers.iter_mut().find(|worker| worker.stack == stack).with_context(|| format!("no worker {stack}"))
}

/// Times in nanoseconds, a list per variant, in the order of the rounds.
fn measure(workers: &mut [Worker], runs: usize, pause: Duration) -> Result<Vec<Vec<f64>>> {
    let mut times = vec![Vec::with_capacity(runs); VARIANTS.len()];
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for round in 0..runs + WARM_UP {
        if round % 50 == 0 {
            eprintln!("round {round} of {}", runs + WARM_UP);
        }
        for variant in dice.order(VARIANTS.len()) {
            let (_, stack, command) = VARIANTS[variant];
            let took = worker(workers, stack)?.run(1, command)?;
            if round >= WARM_UP {
                times[variant].push(took);
            }
            rest(pause);
        }
    }
    Ok(times)
}

/// Milliseconds per run in a row without rests, with and without `pam_jit`.
fn in_a_row(workers: &mut [Worker]) -> Result<[f64; 2]> {
    eprintln!("runs in a row ...");
    let mut most = [Vec::new(), Vec::new()];
    for _ in 0..3 {
        for (index, stack) in ["plain", "jit"].into_iter().enumerate() {
            most[index].push(worker(workers, stack)?.run(ROW, "sudo -n true")? / f64::from(ROW) / 1e6);
        }
    }
    Ok(most.map(|mut times| quantile(&mut times, 0.5)))
}

/// Calls of the gate per second, each decision on disk before the next is made.
fn call_the_gate(host: &Host) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    let seconds = GATE_SECONDS.to_string();
    let accounts = accounts::add(host, DENIED * CALLERS.len() as u32)?;
    // A denial is the bare call: connect, decide, commit, answer. An allowed call also starts a process and a session.
    for (row, (way, callers)) in
        ["denied", "allowed"].into_iter().flat_map(|way| CALLERS.map(|n| (way, n))).enumerate()
    {
        eprintln!("the gate, {way}, with {callers} callers ...");
        let recorded = accounts::records(host)?;
        let mut running = Vec::new();
        for caller in 0..callers as u32 {
            let mut command = host.command()?;
            if way == "denied" {
                let each = DENIED / callers as u32;
                let first = accounts + row as u32 * DENIED + caller * each;
                let (first, each) = (first.to_string(), each.to_string());
                command.args(["/usr/local/bin/stopwatch", "denied", &seconds, &first, &each]);
            } else {
                // As in sudo: the real uid is the person's, the effective one root's.
                let person = format!("--ruid={}", uid(DAVE));
                command.args(["setpriv", &person, "/usr/local/bin/stopwatch", "allowed", &seconds]);
            }
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
            let mut stdout = BufReader::new(child.stdout.take().context("a pipe")?);
            stdout.read_line(&mut String::new())?;
            running.push((child, stdout));
        }
        for (child, _) in &mut running {
            child.stdin.take().context("a pipe")?.write_all(b"go\n")?;
        }
        let (mut calls, mut failed, mut longest) = (0_u64, 0_u64, 0_u64);
        for (mut child, mut stdout) in running {
            let mut line = String::new();
            stdout.read_line(&mut line)?;
            ensure!(child.wait()?.success(), "a caller of the gate failed: {line:?}");
            let numbers: Vec<u64> = line.split_whitespace().flat_map(str::parse).collect();
            let [went_well, went_wrong, slowest] = numbers[..] else { bail!("a caller said {line:?}") };
            calls += went_well;
            failed += went_wrong;
            longest = longest.max(slowest);
        }
        let recorded = accounts::records(host)? - recorded;
        ensure!(recorded >= calls, "{way}: {calls} calls, and only {recorded} records of them");
        found.push(json!({ "answer": way, "callers": callers, "calls_per_second": calls / GATE_SECONDS, "failed": failed, "longest_ms": longest as f64 / 1e3 }));
        if let Err(error) = host.no_session_left(Duration::from_secs(60)) {
            eprintln!("{error:#}");
        }
    }
    Ok(found)
}

/// The measured costs of ends of sessions, and of the daemon's part in a sudo.
struct Ends {
    /// Microseconds of the daemon's processor time for one sudo, on a host with many idle processes.
    cpu: u64,
    /// Milliseconds to end a tree of a thousand processes: by jitd, from the kill on, and by a bare cgroup.kill.
    trees: [Vec<f64>; 2],
    /// Milliseconds from the deadline to the first signal.
    late: Vec<u64>,
    /// What one pkexec takes without jitd's rule and with it.
    pkexec: polkit_cost::Cost,
}

/// Processor time of the daemon for one sudo, among 2,000 idle processes.
fn cpu_of_a_sudo(host: &Host) -> Result<u64> {
    eprintln!("a sudo among 2,000 idle processes ...");
    host.root_sh(
        "systemd-run --quiet --unit=idle perl -e 'for (1..2000) { fork() or do { sleep 1000; exit } } sleep 1000'; \
         while [ $(pgrep -c perl) -lt 2000 ]; do :; done",
    )?
    .ok()?;
    let used = || -> Result<u64> {
        let stat = host.root_sh("grep usage_usec /sys/fs/cgroup/system.slice/jitd.service/cpu.stat")?;
        Ok(stat.ok()?.stdout.split_whitespace().nth(1).context("usage_usec")?.parse()?)
    };
    let mut dave = host.login(DAVE)?;
    dave.run("sudo -n true")?.ok()?;
    let before = used()?;
    dave.run(&format!("for n in $(seq {ROW}); do sudo -n true; done"))?.ok()?;
    host.no_session_left(Duration::from_secs(60))?;
    let after = used()?;
    host.root(&["systemctl", "stop", "idle.service"])?.ok()?;
    Ok((after - before) / u64::from(ROW))
}

/// Ends trees of a thousand processes that ignore signals, in turn by jitd and by a bare cgroup.kill.
fn end_trees(host: &Host) -> Result<[Vec<f64>; 2]> {
    host.write("/usr/local/lib/tree.pl", include_str!("../../host/tree.pl"))?;
    host.root(&["mkdir", "-p", "/sys/fs/cgroup/plain"])?.ok()?;
    let limit = Duration::from_secs(60);
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..TREES {
        eprintln!("a tree of 1,000 processes, {} of {TREES} ...", round + 1);
        let lifeline = host.lifeline("/var/tmp/line")?;
        let grant = host.grant(DAVE, "ops", "30m")?;
        let mut dave = host.login(DAVE)?;
        dave.run("sudo -n perl /usr/local/lib/tree.pl 1000 & true")?.ok()?;
        lifeline.taken(limit)?;
        wait_until("the tree is in its scope", limit, || {
            let inside = host.root_sh("cat /sys/fs/cgroup/jit.slice/jit-*.scope/cgroup.procs | wc -l")?;
            Ok(inside.line().parse::<u64>().unwrap_or(0) >= 1000)
        })?;
        host.root(&["jitctl", "revoke", &grant.to_string(), "--reason", "the tree is to end"])?.ok()?;
        lifeline.let_go(limit)?;
        host.no_session_left(limit)?;
        let ended = host.record("session.ended", |record| record["grant"] == grant)?;
        ensure!(ended["left"] == 0, "{ended}");
        times[0].push(ended["kill_ms"].as_f64().context("kill_ms")?);

        host.root(&["rm", "/var/tmp/line"])?.ok()?;
        let lifeline = host.lifeline("/var/tmp/line")?;
        let plain =
            "echo 0 > /sys/fs/cgroup/plain/cgroup.procs; perl /usr/local/lib/tree.pl 1000 >/dev/null 2>&1 &";
        host.root_sh(plain)?.ok()?;
        lifeline.taken(limit)?;
        let killed = host.root(&["/usr/local/bin/stopwatch", "kill", "/sys/fs/cgroup/plain"])?;
        times[1].push(killed.ok()?.line().parse::<f64>()? / 1e3);
        host.root(&["rm", "/var/tmp/line"])?.ok()?;
    }
    Ok(times)
}

/// Resident memory of the daemon in KiB.
fn resident(host: &Host) -> Result<u64> {
    let line =
        host.root_sh("grep VmRSS /proc/$(systemctl show --property=MainPID --value jitd.service)/status")?;
    let kib = line.ok()?.stdout.split_whitespace().nth(1).context("VmRSS")?.parse()?;
    Ok(kib)
}

fn report(
    runs: usize,
    times: &[Vec<f64>],
    rows: &[f64; 2],
    gate: &[Value],
    resident: [u64; 3],
    ends: &Ends,
) -> Result<Value> {
    let [jit_tree, plain_tree] = ends.trees.clone().map(|mut times| quantile(&mut times, 0.5));
    let mut late: Vec<f64> = ends.late.iter().map(|late| *late as f64).collect();
    let late_p99 = quantile(&mut late, 0.99);
    let plain = times.first().context("times")?;
    let variants: Vec<Value> = VARIANTS
        .iter()
        .zip(times)
        .map(|((name, _, command), own)| {
            json!({
                "name": name,
                "command": command,
                "median_ms": quantile(&mut own.clone(), 0.5) / 1e6,
                "p99_ms": quantile(&mut own.clone(), 0.99) / 1e6,
                "ratio_to_sudo": paired(own, plain),
            })
        })
        .collect();
    let ratio = |index: usize| variants[index]["ratio_to_sudo"].as_f64().unwrap_or(f64::NAN);
    let median = |index: usize| variants[index]["median_ms"].as_f64().unwrap_or(f64::NAN);
    let aims = json!([
        { "aim": "sudo with pam_jit over plain sudo at most 1.15", "met": ratio(JIT) <= 1.15 },
        { "aim": "faster than sudo with pam_exec and a script", "met": median(JIT) < median(EXEC) },
        { "aim": "faster than pkexec", "met": median(JIT) < median(PKEXEC) },
        { "aim": "faster than run0", "met": median(JIT) < median(RUN0) },
        { "aim": "pkexec with jitd over plain pkexec at most 1.15", "met": ends.pkexec.ratio <= 1.15 },
        { "aim": "jitd resident under 20 MB", "met": resident.iter().all(|kib| *kib < 20 * 1024) },
        { "aim": "1,000 processes gone within 150 ms of the kill", "met": jit_tree <= 150.0 },
        { "aim": "at most twice as long as a bare cgroup.kill", "met": jit_tree <= 2.0 * plain_tree },
        { "aim": "99 % of 200 first signals within 50 ms of their deadlines", "met": late_p99 <= 50.0 },
        { "aim": "at most 5 ms of jitd's processor time for a sudo", "met": ends.cpu <= 5000 },
    ]);
    Ok(json!({
        "runs": runs,
        "aims": aims,
        "variants": variants,
        "sudo_rs_ratio": paired(&times[SUDO_RS[1]], &times[SUDO_RS[0]]),
        "in_a_row_ms": { "sudo": rows[0], "pam_jit": rows[1], "ratio": rows[1] / rows[0] },
        "pkexec": ends.pkexec.text(),
        "gate": gate,
        "tree_of_1000_ms": { "jitd": jit_tree, "cgroup_kill": plain_tree, "ratio": jit_tree / plain_tree },
        "first_signal_ms": { "median": quantile(&mut late, 0.5), "p99": late_p99, "most": quantile(&mut late, 1.0) },
        "cpu_of_a_sudo_us": ends.cpu,
        "daemon_resident_kib": { "at_rest": resident[0], "after_the_runs": resident[1], "after_the_gate": resident[2] },
    }))
}

fn paired(own: &[f64], other: &[f64]) -> f64 {
    let mut ratios: Vec<f64> = own.iter().zip(other).map(|(own, other)| own / other).collect();
    quantile(&mut ratios, 0.5)
}

fn quantile(values: &mut [f64], at: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let index = (last as f64 * at).round() as usize;
    values.get(index.min(last)).copied().unwrap_or(f64::NAN)
}

fn table(report: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let mut text = format!(
        "\n{:<34} {:>10} {:>10} {:>14}\n",
        format!("{} runs each{}", report["runs"], if report["sealed"] == true { ", sealed" } else { "" }),
        "median",
        "p99",
        "over sudo"
    );
    for variant in report["variants"].as_array().into_iter().flatten() {
        text += &format!(
            "{:<34} {:>7.2} ms {:>7.2} ms {:>13.2}x\n",
            variant["name"].as_str().unwrap_or_default(),
            number(&variant["median_ms"]),
            number(&variant["p99_ms"]),
            number(&variant["ratio_to_sudo"])
        );
    }
    let row = &report["in_a_row_ms"];
    text += &format!(
        "\nsudo-rs with pam_jit over sudo-rs: {:.2}x\n{ROW} in a row without a rest: sudo {:.2} ms, with pam_jit {:.2} ms: {:.2}x\n",
        number(&report["sudo_rs_ratio"]),
        number(&row["sudo"]),
        number(&row["pam_jit"]),
        number(&row["ratio"])
    );
    text += &format!("{}\n", report["pkexec"].as_str().unwrap_or_default());
    for gate in report["gate"].as_array().into_iter().flatten() {
        text += &format!(
            "the gate, {}, {:>2} callers: {:>6} calls/s, each on disk before the next is decided; the slowest took {:.1} ms\n",
            gate["answer"].as_str().unwrap_or_default(),
            gate["callers"],
            gate["calls_per_second"],
            number(&gate["longest_ms"])
        );
    }
    let (tree, late) = (&report["tree_of_1000_ms"], &report["first_signal_ms"]);
    text += &format!(
        "a tree of 1,000 processes, from the kill to proven empty: {:.0} ms, by a bare cgroup.kill {:.0} ms: {:.2}x\n",
        number(&tree["jitd"]),
        number(&tree["cgroup_kill"]),
        number(&tree["ratio"])
    );
    text += &format!(
        "200 windows that close within a second, from the deadline to the first signal: median {:.0} ms, p99 {:.0} ms\n",
        number(&late["median"]),
        number(&late["p99"])
    );
    text += &format!(
        "jitd's processor time for one sudo among 2,000 idle processes: {:.2} ms\n",
        number(&report["cpu_of_a_sudo_us"]) / 1e3
    );
    let resident = &report["daemon_resident_kib"];
    text += &format!(
        "jitd, resident: {:.1} MB at rest, {:.1} MB after the runs, {:.1} MB after the gate was called like this\n",
        number(&resident["at_rest"]) / 1024.0,
        number(&resident["after_the_runs"]) / 1024.0,
        number(&resident["after_the_gate"]) / 1024.0
    );
    text.push('\n');
    for aim in report["aims"].as_array().into_iter().flatten() {
        let met = if aim["met"] == true { "met" } else { "MISSED" };
        text += &format!("{met:<7} {}\n", aim["aim"].as_str().unwrap_or_default());
    }
    text
}

/// Random orders, the same in every bench.
struct Dice(u64);

impl Dice {
    fn order(&mut self, length: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..length).collect();
        for last in (1..length).rev() {
            // xorshift64 (Marsaglia 2003)
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            order.swap(last, (self.0 % (last as u64 + 1)) as usize);
        }
        order
    }
}
