//! Runs inside the hosts: makes another process fork, and its child execute a shell script, by ptrace(2). So root in a
//! window gets a process that descends from a daemon and not from the session.
//!
//! `inject PID SCRIPT` prints the pid of the child.
#![allow(clippy::print_stdout, reason = "what it prints is read by the stories")]

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [pid, script] => {
            println!("{}", fork_and_run(pid.parse()?, script)?);
            Ok(())
        }
        _ => bail!("usage: inject PID SCRIPT"),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn fork_and_run(_pid: i32, _script: &str) -> Result<i32> {
    bail!("the registers of this architecture are not known here")
}

#[cfg(target_arch = "x86_64")]
fn fork_and_run(pid: i32, script: &str) -> Result<i32> {
    use anyhow::{Context, ensure};
    use nix::sys::ptrace;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::Pid;

    /// The instruction `syscall`, in the order of memory.
    const SYSCALL: i64 = 0x050f;
    /// Numbers of system calls (arch/x86/entry/syscalls/syscall_64.tbl).
    const FORK: u64 = 57;
    const EXECVE: u64 = 59;

    let pid = Pid::from_raw(pid);
    ptrace::attach(pid).context("attach")?;
    waitpid(pid, None)?;
    let saved = ptrace::getregs(pid)?;
    // A waiting daemon has just made a system call.
    let call = saved.rip - 2;
    ensure!(
        ptrace::read(pid, call as ptrace::AddressType)? & 0xffff == SYSCALL,
        "it is not in a system call"
    );
    ptrace::setoptions(pid, ptrace::Options::PTRACE_O_TRACEFORK)?;
    let mut regs = saved;
    (regs.rip, regs.rax, regs.orig_rax) = (call, FORK, u64::MAX);
    ptrace::setregs(pid, regs)?;
    ptrace::cont(pid, None)?;
    let forked = waitpid(pid, None)?;
    ensure!(matches!(forked, WaitStatus::PtraceEvent(..)), "it did not fork: {forked:?}");
    let child = Pid::from_raw(i32::try_from(ptrace::getevent(pid)?)?);
    waitpid(child, None)?;

    // Words and pointers below the child's stack: execve("/bin/sh", ["sh", "-c", SCRIPT], NULL).
    let mut at = (saved.rsp - 16 * 1024) & !15;
    let mut pointers = Vec::new();
    for word in ["/bin/sh", "sh", "-c", script] {
        pointers.push(at);
        let mut bytes = word.as_bytes().to_vec();
        bytes.resize((word.len() / 8 + 1) * 8, 0);
        for eight in bytes.chunks_exact(8) {
            let value = i64::from_ne_bytes(eight.try_into()?);
            ptrace::write(child, at as ptrace::AddressType, value)?;
            at += 8;
        }
    }
    let arguments = at;
    for pointer in pointers[1..].iter().copied().chain([0]) {
        ptrace::write(child, at as ptrace::AddressType, i64::try_from(pointer)?)?;
        at += 8;
    }
    let mut regs = saved;
    (regs.rip, regs.rax, regs.orig_rax) = (call, EXECVE, u64::MAX);
    (regs.rdi, regs.rsi, regs.rdx) = (pointers[0], arguments, 0);
    ptrace::setregs(child, regs)?;
    ptrace::detach(child, None)?;

    // The parent returns from its fork, and continues.
    ptrace::step(pid, None)?;
    waitpid(pid, None)?;
    ptrace::setregs(pid, saved)?;
    ptrace::detach(pid, None)?;
    Ok(child.as_raw())
}
