//! Runs one PAM transaction over the stacks of a folder (`pam_start_confdir(3)`) and prints what came of each stage.
//!
//! For `jitctl pam enable`, which starts it as root: `jitd-pam-trial FOLDER SERVICE UID USER STAGE...`, with the stages
//! `account` and `session`. A program of its own, so that jitctl links no libpam (one older than 1.4 lacks the call), and a
//! module that crashes or changes its process takes nothing else along. It reads nothing, asks nobody and knows no policy.
//!
//! Output, a line each: `message TEXT` for what a module says, `STAGE CODE MEANING` for what a stage answered. The exit
//! status is 0 where the transaction could be run, whatever its answers; else 2, with the reason on standard error.

mod libpam;

use std::ffi::CString;
use std::process::ExitCode;

use nix::unistd::{Uid, setresuid};

use crate::libpam::{Stage, Transaction};

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "what this program is for")]
fn main() -> ExitCode {
    match run() {
        Ok(lines) => {
            lines.iter().for_each(|line| println!("{line}"));
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("jitd-pam-trial: {why}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<Vec<String>, String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, service, uid, user, stages @ ..] = &words[..] else {
        return Err("usage: jitd-pam-trial FOLDER SERVICE UID USER account|session...".to_owned());
    };
    let uid: u32 = uid.parse().map_err(|_| format!("{uid:?} is no uid"))?;
    let stages: Vec<Stage> = stages.iter().map(|stage| stage.parse()).collect::<Result<_, _>>()?;
    // As sudo has it: the caller's real uid, and root's effective one.
    setresuid(Uid::from_raw(uid), Uid::from_raw(0), Uid::from_raw(0))
        .map_err(|why| format!("cannot become uid {uid} with the effective uid 0: {why}"))?;
    let text = |word: &String| CString::new(word.as_str()).map_err(|_| format!("{word:?} holds a zero byte"));
    let mut transaction = Transaction::start(&text(folder)?, &text(service)?, &text(user)?)?;
    for stage in stages {
        if !transaction.run(stage) {
            break;
        }
    }
    Ok(transaction.end())
}
