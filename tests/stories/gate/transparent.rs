//! In an open window sudo and sudo-rs behave as without the module: exit status, output, and what the command sees.

use anyhow::{Result, ensure};
use jit_tests::host::{Host, play};
use jit_tests::login::Login;
use jit_tests::output::Output;
use jit_tests::people::{ALICE, DAVE};
use jit_tests::plan::{Plan, Release};

use crate::gate::denied::sudos;

/// As somebody whom sudoers asks for no password. `$S` is the sudo; each line runs in an empty folder, without a ticket.
const NO_PASSWORD: [&str; 62] = [
    // How it ends.
    "$S -n true",
    "$S -n false",
    "$S -n sh -c 'exit 42'",
    "$S -n sh -c 'exit 255'",
    "$S -n sh -c 'kill -TERM $$'",
    // The shell that waits names its child's pid; sudo itself says nothing.
    "{ $S -n sh -c 'kill -KILL $$'; } 2>/dev/null",
    "$S -n sh -c 'kill -INT $$'",
    "$S -n sh -c 'kill -PIPE $$'",
    "$S -n no-such-command",
    "$S -n /etc/passwd",
    "$S -n ./missing",
    "$S -n /",
    // Streams.
    "echo data | $S -n cat",
    "$S -n sh -c 'echo out; echo err >&2'",
    "$S -n sh -c 'echo out' | tr a-z A-Z",
    "$S -n cat </etc/hostname",
    "$S -n head -c 100000 /dev/zero | wc -c",
    "$S -n tty",
    // Whom it becomes.
    "$S -n id",
    "$S -n -u nobody id",
    "$S -n -u '#0' id",
    "$S -n -u '#65534' id",
    "$S -n -u no-such-user id",
    "$S -n -g adm id",
    "$S -n -g no-such-group id",
    "$S -n -u nobody -g adm id",
    "$S -n -u dave id -G",
    // Shells.
    "$S -n -i pwd",
    "$S -n -i sh -c 'echo $0 $HOME $SHELL $LOGNAME $USER'",
    "$S -n -i -u nobody id",
    "echo 'id -un; pwd' | $S -n -s",
    "SHELL=/bin/sh $S -n -s echo one two",
    "$S -n -s 'echo a; echo b'",
    "echo 'exit 7' | $S -n -i",
    // The environment.
    "$S -n env | sort",
    "A=b $S -n env | grep ^A=",
    "$S -n A=b env | grep ^A=",
    "A=b $S -n -E env | grep ^A=",
    "A=b B=c $S -n --preserve-env=A env | grep -E '^(A|B)='",
    "HOME=/tmp $S -n -H sh -c 'echo $HOME'",
    "PATH=/nowhere:$PATH $S -n sh -c 'echo $PATH'",
    "LD_PRELOAD=/nowhere.so IFS=x ENV=/nowhere $S -n env | grep -E '^(LD_|IFS|ENV)'",
    "LANG=de_DE.UTF-8 LC_ALL=C TZ=UTC TERM=vt100 $S -n env | grep -E '^(L|T)' | sort",
    // What a process inherits.
    "umask 077; $S -n sh -c umask",
    "cd /tmp && $S -n pwd",
    "$S -n ls /proc/self/fd",
    "exec 5</etc/hostname; $S -n ls /proc/self/fd; exec 5<&-",
    "(ulimit -n 100; $S -n sh -c 'ulimit -n; ulimit -c')",
    "nice -n 5 $S -n nice",
    "$S -n grep -E '^(Sig(Blk|Ign|Cgt)|Cap|NoNewPrivs|Seccomp)' /proc/self/status",
    "(trap '' USR1 HUP; $S -n grep SigIgn /proc/self/status)",
    "$S -n cat /proc/self/loginuid /proc/self/oom_score_adj",
    // Signals to sudo.
    "$S -n sh -c 'echo >up; exec sleep 100' & while [ ! -e up ]; do :; done; $S -n kill -TERM $!; wait $!",
    "$S -n sh -c 'trap \"echo caught; exit 9\" USR1; echo >up; while :; do sleep 0.1; done' & \
     while [ ! -e up ]; do :; done; $S -n kill -USR1 $!; wait $!",
    // Options that run nothing.
    "$S -l",
    "$S -n -l id",
    "$S -n -l no-such-command",
    "$S -n -v",
    "$S -k",
    "$S -n -k id -un",
    // One inside of another.
    "$S -n $S -n id -un",
    "$S -n -u dave $S -n id -un",
];

/// As somebody who has to type a password.
const PASSWORD: [&str; 13] = [
    "$S -n true",
    "$S -n -v",
    "$S -n -l",
    "echo correct-horse | $S -S id -un",
    "echo correct-horse | $S -S -p 'the password: ' id -un",
    "echo correct-horse | $S -S -u nobody id -un",
    "echo correct-horse | $S -S -v && $S -n id -un",
    "echo correct-horse | $S -S -v && $S -k && $S -n id -un",
    "echo correct-horse | $S -S -k id -un; $S -n true",
    "echo correct-horse | $S -S -l",
    "printf 'wrong\\ncorrect-horse\\n' | $S -S id -un",
    "printf 'wrong\\nwrong\\nwrong\\n' | $S -S id -un",
    "$S -S id -un </dev/null",
];

/// What only sudo has, or each has in its own words.
const SUDO_ONLY: [&str; 17] = [
    "sudo -n -b sh -c 'echo in the background >f; echo done >g'; while [ ! -s g ]; do :; done; cat f",
    "sudo -n -P id -G",
    "sudo -n -C 6 true",
    "sudo -n -D /tmp pwd",
    "sudo -n -T 1 true",
    "sudo -n -B true",
    "sudo -n -ll",
    "sudo -n -h localhost id -un",
    "sudo -K",
    "sudo -n -U nobody -l",
    "sudo -V | head -n 1",
    "sudo --no-such-option",
    "sudo",
    "echo abc >f; EDITOR='sed -i s/b/B/' sudoedit -n f; echo $?; cat f",
    "EDITOR='cp /etc/hostname' sudo -n -e new; echo $?; cat new; stat -c '%U %a' new",
    "EDITOR=false sudoedit -n f",
    "EDITOR='cp /etc/hostname' sudoedit -n -u nobody f",
];

/// A line of a table, with the sudo it is for.
struct Case {
    user: &'static str,
    sudo: &'static str,
    line: &'static str,
}

fn cases(release: Release) -> Vec<Case> {
    let mut cases = Vec::new();
    for &sudo in sudos(release) {
        cases.extend(NO_PASSWORD.map(|line| Case { user: DAVE, sudo, line }));
        cases.extend(PASSWORD.map(|line| Case { user: ALICE, sudo, line }));
    }
    cases.extend(SUDO_ONLY.map(|line| Case { user: DAVE, sudo: "sudo", line }));
    cases
}

fn run(case: &Case, dave: &mut Login, alice: &mut Login) -> Result<Output> {
    let login = if case.user == DAVE { dave } else { alice };
    login.run(&format!("S={}; rm -rf ~/w; mkdir ~/w; cd ~/w; $S -K", case.sudo))?;
    login.run(case.line)
}

/// The stacks without the module's lines.
fn take_the_lines_out(host: &Host) -> Result<()> {
    for service in ["sudo", "sudo-i"] {
        let path = format!("/etc/pam.d/{service}");
        let stack = host.read(&path)?;
        let without = stack.lines().filter(|line| !line.contains("pam_jit.so"));
        host.write(&path, &without.map(|line| format!("{line}\n")).collect::<String>())?;
    }
    Ok(())
}

fn behaves_as_without_the_module(release: Release) -> Result<()> {
    play(&Plan::new(release), |host| {
        take_the_lines_out(host)?;
        let (mut dave, mut alice) = (host.login(DAVE)?, host.login(ALICE)?);
        // sudo lectures each person once.
        alice.run("echo correct-horse | sudo -S true")?.ok()?;
        let cases = cases(release);
        let mut without = Vec::new();
        for case in &cases {
            without.push(run(case, &mut dave, &mut alice)?);
        }
        for service in ["sudo", "sudo-i"] {
            host.gate(service, "")?;
        }
        dave.run("sudo -n true")?.fails()?.says("jit: sudo is refused")?;
        host.grant(DAVE, "ops", "2h")?;
        host.grant(ALICE, "ops", "2h")?;
        let mut different = Vec::new();
        for (case, without) in cases.iter().zip(&without) {
            let with = run(case, &mut dave, &mut alice)?;
            if (with.status, &with.stdout, &with.stderr) != (without.status, &without.stdout, &without.stderr)
            {
                different.push(format!(
                    "{} as {}, without the module:\n{without}\nwith it:\n{with}",
                    case.sudo, case.user
                ));
            }
        }
        ensure!(
            different.is_empty(),
            "{} of {} lines behave otherwise in a window:\n{}",
            different.len(),
            cases.len(),
            different.join("\n\n")
        );
        Ok(())
    })
}

#[test]
fn sudo_behaves_in_a_window_as_without_the_module_on_trixie() -> Result<()> {
    behaves_as_without_the_module(Release::Trixie)
}

#[test]
fn sudo_behaves_in_a_window_as_without_the_module_on_bookworm() -> Result<()> {
    behaves_as_without_the_module(Release::Bookworm)
}
