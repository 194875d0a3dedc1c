//! A trial of stacks before they are in force: a real PAM transaction over a copy of all stacks, in a child process.
//!
//! As somebody without a window it has to end in jitd's denial, as root it has to go through the whole stack. Inside a window
//! nothing is tried: that would use somebody's grant, and the audit log would name a person for what this program did; root
//! takes the same way through the stack.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jit_host::pam_edit::Lines;
use jit_host::pam_stack::FOLDERS;
use jit_host::program::output_of;
use serde::Serialize;

use super::files::failed;
use crate::failure::Failure;

/// Below `/run`, which no full disk fills; only root can look into it.
const COPY: &str = "/run/jitd-pam-trial";
const TIMEOUT: &str = "/usr/bin/timeout";
/// Longest that a stage may take: a module may wait for a server.
const SECONDS: &str = "30";
/// Who has no window: an account that nobody is (nobody(5) of Debian's base-passwd).
const NOBODY: (&str, &str) = ("65534", "nobody");
const ROOT: (&str, &str) = ("0", "root");
/// `PAM_PERM_DENIED`, the only code with which jitd's module denies.
const DENIED: &str = "6";

/// What came of the trial of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Trial {
    /// The service.
    pub(super) service: String,
    /// `as_expected`, `failed`, or `not_tried` where it could not be run.
    pub(super) outcome: Outcome,
    /// A clause: what happened.
    pub(super) message: String,
}

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// The stack does what it is to do.
    AsExpected,
    /// It does not.
    Failed,
    /// The transaction could not be run.
    NotTried,
}

/// Tries stacks that are not in force: `texts` in place of those of their services, which deny nobody where they observe.
/// Where the `host` observes (`mode` of jitd.toml), jitd denies nobody, whatever the lines say.
pub(super) fn of(texts: &[(&str, Lines, &str)], observe: bool, host: bool) -> Result<Vec<Trial>, Failure> {
    let copy = Copy::make(texts)?;
    let trials = texts.iter().map(|(service, lines, _)| trial(&copy, service, *lines, observe, host));
    Ok(trials.collect())
}

/// A copy of every stack; it is removed with this.
struct Copy;

impl Copy {
    fn make(texts: &[(&str, Lines, &str)]) -> Result<Self, Failure> {
        let remove = || match fs::remove_dir_all(COPY) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
            _ => Ok(()),
        };
        let folder = Path::new(COPY);
        remove()
            .and_then(|()| DirBuilder::new().mode(0o700).create(folder))
            .map_err(|why| failed("cannot make", folder, &why))?;
        let copy = Self;
        // The administrator's stacks last: they come before those of packages (pam.conf(5)).
        for source in FOLDERS.iter().rev() {
            for entry in
                fs::read_dir(source).into_iter().flatten().flatten().filter(|entry| entry.path().is_file())
            {
                let to = folder.join(entry.file_name());
                fs::copy(entry.path(), &to).map_err(|why| failed("cannot copy", &entry.path(), &why))?;
            }
        }
        for (service, _, text) in texts {
            let to = folder.join(service);
            fs::write(&to, text).map_err(|why| failed("cannot write", &to, &why))?;
        }
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // What stays is in a folder that only root can look into, and goes with the next trial.
        let _ = fs::remove_dir_all(COPY);
    }
}

fn trial(_copy: &Copy, service: &str, lines: Lines, observe: bool, host: bool) -> Trial {
    let found = match lines {
        Lines::Gate if observe => run(service, NOBODY, &["account"]).and_then(|said| {
            let passed = passes_observed(&said);
            let root = run(service, ROOT, &["account", "session"]).map(|said| passes(&said, 3))?;
            Ok(passed.and(root).map(|()| "denies nobody: it observes, and lets root through".to_owned()))
        }),
        Lines::Gate => {
            run(service, NOBODY, &["account"]).map(|said| denied(&said, host)).and_then(|denied| match denied
            {
                Ok(line) => {
                    let passed = run(service, ROOT, &["account", "session"]).map(|said| passes(&said, 3))?;
                    Ok(passed.map(|()| format!("{line}, and lets root through")))
                }
                Err(why) => Ok(Err(why)),
            })
        }
        Lines::Enter | Lines::Track => run(service, ROOT, &["session"])
            .map(|said| passes(&said, 2).map(|()| "opens a session as root".to_owned())),
    };
    let (outcome, message) = match found {
        Ok(Ok(message)) => (Outcome::AsExpected, message),
        Ok(Err(message)) => (Outcome::Failed, message),
        Err(why) => (Outcome::NotTried, why),
    };
    Trial { service: service.to_owned(), outcome, message }
}

/// What the child prints; `Err` where it could not run the transaction.
fn run(service: &str, (uid, user): (&str, &str), stages: &[&str]) -> Result<String, String> {
    let program = program();
    let program = program.to_str().filter(|_| program.exists());
    let program = program.ok_or("jitd-pam-trial is not installed beside this jitctl")?;
    let words = [&["--kill-after=5", SECONDS, program, COPY, service, uid, user], stages].concat();
    output_of(TIMEOUT, &words)
}

fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let prefix = own.parent().and_then(Path::parent).unwrap_or(Path::new("/usr"));
    prefix.join("libexec/jitd-pam-trial")
}

/// Whether somebody without a window is denied by jitd, unless the host observes: a clause that says so, or what happened
/// instead.
fn denied(said: &str, host_observes: bool) -> Result<String, String> {
    let line = messages(said).find(|line| line.starts_with("jit:"));
    match (results(said).next(), line) {
        (Some(("account", DENIED, _)), Some(line)) => Ok(format!("denies without a window ({line})")),
        // By the answer alone it cannot be told whether the gate was asked.
        (Some(("account", "0", _)), _) if host_observes => {
            Ok("lets everybody through while jitd observes".to_owned())
        }
        (Some(("account", "0", _)), _) => {
            Err("it lets somebody through who has no window: the gate is not asked".to_owned())
        }
        (Some((stage, code, meaning)), _) => Err(format!(
            "it denies, but not by jitd's answer: {stage} ended with {meaning} ({code}){}",
            all(said)
        )),
        (None, _) => Err("the account stage did not answer".to_owned()),
    }
}

/// Whether jitd does not deny somebody without a window. What another module says of that account is not jitd's.
fn passes_observed(said: &str) -> Result<(), String> {
    match messages(said).find(|line| line.starts_with("jit:") && line.contains(" is refused")) {
        Some(line) => Err(format!("it denies, and is to observe: {line}")),
        None if results(said).next().is_some() => Ok(()),
        None => Err("the account stage did not answer".to_owned()),
    }
}

/// Whether every stage succeeded, so many of them.
fn passes(said: &str, stages: usize) -> Result<(), String> {
    match results(said).find(|(_, code, _)| *code != "0") {
        Some((stage, code, meaning)) => {
            Err(format!("it does not let root through: {stage} ended with {meaning} ({code}){}", all(said)))
        }
        None if results(said).count() == stages => Ok(()),
        None => Err("it does not let root through: a stage did not answer".to_owned()),
    }
}

/// What modules said, for the end of a sentence.
fn all(said: &str) -> String {
    messages(said).map(|line| format!("; it said: {line}")).collect()
}

fn messages(said: &str) -> impl Iterator<Item = &str> {
    said.lines().filter_map(|line| line.strip_prefix("message "))
}

/// Stage, code and meaning of each answer.
fn results(said: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let answers = said.lines().filter(|line| !line.starts_with("message "));
    answers.filter_map(|line| {
        let (stage, rest) = line.split_once(' ')?;
        let (code, meaning) = rest.split_once(' ')?;
        Some((stage, code, meaning))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_denial_of_jitd_is_one() {
        let ours = "message jit: sudo is refused: nobody has no open window on this host.\naccount 6 Permission denied\n";
        let clause =
            "denies without a window (jit: sudo is refused: nobody has no open window on this host.)";
        assert_eq!(denied(ours, false).as_deref(), Ok(clause));
        assert_eq!(denied(ours, true).as_deref(), Ok(clause), "it may be enforced all the same");
        assert!(denied("account 0 Success\n", true).is_ok_and(|clause| clause.contains("observes")));
        assert!(denied("account 28 Module is unknown\n", true).is_err());
        for (said, part) in [
            ("account 0 Success\n", "lets somebody through"),
            ("message jit: hello\naccount 0 Success\n", "lets somebody through"),
            ("account 6 Permission denied\n", "not by jitd's answer"),
            ("message jit: x\naccount 28 Module is unknown\n", "Module is unknown (28); it said: jit: x"),
            ("", "did not answer"),
        ] {
            let found = denied(said, false).unwrap_err();
            assert!(found.contains(part), "{said}: {found}");
        }
    }

    #[test]
    fn root_has_to_pass_every_stage() {
        let all = "account 0 Success\ncredentials 0 Success\nsession 0 Success\n";
        assert_eq!(passes(all, 3), Ok(()));
        assert!(passes("account 0 Success\n", 3).is_err());
        let broken =
            passes("account 0 Success\ncredentials 0 Success\nsession 14 Cannot make/remove an entry\n", 3);
        assert!(broken.unwrap_err().contains("session ended with Cannot make/remove an entry (14)"));
    }
}
