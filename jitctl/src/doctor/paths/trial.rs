//! Tries of sudo, sudo-rs, su and doas: the program itself, with its own PAM stack, as an account that has no window.

use std::os::unix::fs::PermissionsExt;

use jit_host::program::Ended;
use jit_proto::identity::PROBE_ACCOUNT;

use super::probe::Probe;
use super::{Path, State};
use crate::doctor::host::Host;

/// A file of the host that a try has a copy of, with a rule more.
#[derive(Debug, Clone, Copy)]
enum Rule {
    Sudoers,
    SudoersRs,
    Doas,
    Su(&'static str),
}

/// A way to become another user.
pub(super) struct Trial {
    name: &'static str,
    /// The set-uid program.
    program: &'static str,
    /// The rules that its user has for this try.
    rule: Rule,
    service: &'static str,
    words: &'static [&'static str],
}

const ID: &str = "/usr/bin/id";
/// Becoming oneself asks for no password, as NOPASSWD and a warm ticket do not: sudo runs the account stage alone.
const AS_ITSELF: [&str; 2] = ["-u", PROBE_ACCOUNT];

/// Every try.
pub(super) const TRIALS: [Trial; 9] = [
    sudo("sudo", "/usr/bin/sudo", &["-n", AS_ITSELF[0], AS_ITSELF[1], "--", ID, "-u"], "sudo"),
    sudo("sudo -i", "/usr/bin/sudo", &["-n", "-i", AS_ITSELF[0], AS_ITSELF[1]], "sudo-i"),
    sudo("sudoedit", "/usr/bin/sudoedit", &["-n", AS_ITSELF[0], AS_ITSELF[1], "/etc/hostname"], "sudo"),
    Trial {
        rule: Rule::SudoersRs,
        ..sudo("sudo-rs", "/usr/bin/sudo-rs", &["-n", AS_ITSELF[0], AS_ITSELF[1], "--", ID, "-u"], "sudo")
    },
    Trial {
        rule: Rule::SudoersRs,
        ..sudo("sudo-rs -i", "/usr/bin/sudo-rs", &["-n", "-i", AS_ITSELF[0], AS_ITSELF[1]], "sudo")
    },
    su("su", &[PROBE_ACCOUNT, "-c", "/usr/bin/id -u"], "su"),
    su("su -", &["-", PROBE_ACCOUNT, "-c", "/usr/bin/id -u"], "su-l"),
    Trial {
        program: "/usr/bin/su-rs",
        name: "su-rs",
        ..su("su", &[PROBE_ACCOUNT, "-c", "/usr/bin/id -u"], "su")
    },
    Trial {
        name: "doas",
        program: "/usr/bin/doas",
        rule: Rule::Doas,
        service: "doas",
        words: &["-n", AS_ITSELF[0], AS_ITSELF[1], ID, "-u"],
    },
];

const fn sudo(
    name: &'static str,
    program: &'static str,
    words: &'static [&'static str],
    service: &'static str,
) -> Trial {
    Trial { name, program, rule: Rule::Sudoers, service, words }
}

const fn su(name: &'static str, words: &'static [&'static str], service: &'static str) -> Trial {
    Trial { name, program: "/usr/bin/su", rule: Rule::Su(service), service, words }
}

impl Trial {
    /// Tries it; none where this host does not have it.
    pub(super) fn run(&self, host: &Host, probe: &Probe) -> Option<Path> {
        let path = |state: State, how: String| {
            let (name, service) = (self.name.to_owned(), self.service.to_owned());
            Some(Path { name, state, how, service, argv: Vec::new() })
        };
        // A link such as sudoedit's leads to what is set-uid.
        let meta = std::fs::metadata(host.path(self.program)).ok()?;
        if meta.permissions().mode() & 0o4000 == 0 {
            return path(
                State::Closed,
                format!("{} is not set-uid, so that it makes nobody root", self.program),
            );
        }
        if matches!(self.rule, Rule::Doas) && !host.has(DOAS) {
            return path(State::Closed, format!("there is no {DOAS}, so that doas lets nobody through"));
        }
        let files = match self.files(host) {
            Ok(files) => files,
            Err(why) => return path(State::Unknown, why),
        };
        let files: Vec<(&str, String)> =
            files.iter().map(|(over, text)| (over.as_str(), text.clone())).collect();
        // Whatever the editor is, it changes nothing.
        let editor =
            ["/usr/bin/env", "EDITOR=/usr/bin/true", "SUDO_EDITOR=/usr/bin/true", "VISUAL=/usr/bin/true"];
        let words = [editor.as_slice(), &[self.program], self.words].concat();
        match probe.run(&files, &words) {
            Ok(ended) => {
                let (state, how) = judge(self.program, &ended);
                let argv = [self.program].iter().chain(self.words).map(|&word| word.to_owned()).collect();
                path(state, how).map(|path| Path { argv, ..path })
            }
            Err(why) => path(State::Unknown, why),
        }
    }

    /// The files of the host that this try sees otherwise.
    fn files(&self, host: &Host) -> Result<Vec<(String, String)>, String> {
        let read = |file: &str| match host.read(file) {
            Ok(Some(text)) => Ok(text),
            Ok(None) => Err(format!("{file} is not there")),
            Err(why) => Err(format!("{file} cannot be read: {why}")),
        };
        match self.rule {
            Rule::Sudoers => Ok(vec![(SUDOERS.to_owned(), with_sudo_rule(&read(SUDOERS)?, true))]),
            Rule::SudoersRs => {
                // sudo-rs has a file of its own before the common one.
                let file = [SUDOERS_RS, SUDOERS].into_iter().find(|file| host.has(file)).unwrap_or(SUDOERS);
                Ok(vec![(file.to_owned(), with_sudo_rule(&read(file)?, false))])
            }
            Rule::Doas => Ok(vec![(DOAS.to_owned(), with_doas_rule(&read(DOAS)?))]),
            Rule::Su(service) => {
                let file = ["/etc/pam.d", "/usr/lib/pam.d"].map(|folder| format!("{folder}/{service}"));
                let file = file.into_iter().find(|file| host.has(file));
                let file = file.ok_or_else(|| format!("{service} has no PAM stack of its own"))?;
                let text = with_right_password(&read(&file)?);
                Ok(vec![(file, text)])
            }
        }
    }
}

const SUDOERS: &str = "/etc/sudoers";
const SUDOERS_RS: &str = "/etc/sudoers-rs";
const DOAS: &str = "/etc/doas.conf";

/// Lets the account become itself, without a password, and nothing else. No mail tells of a try.
fn with_sudo_rule(sudoers: &str, mails: bool) -> String {
    let quiet = match mails {
        true => format!(
            "Defaults:{PROBE_ACCOUNT} !mail_always, !mail_badpass, !mail_no_perms, !mail_no_user, !lecture\n"
        ),
        false => String::new(),
    };
    format!("{sudoers}\n{quiet}{PROBE_ACCOUNT} ALL=({PROBE_ACCOUNT}) NOPASSWD: ALL\n")
}

fn with_doas_rule(conf: &str) -> String {
    format!("{conf}\npermit nopass {PROBE_ACCOUNT} as {PROBE_ACCOUNT}\n")
}

/// The stack after the right password was typed: its `auth` lines come to nothing for whoever becomes the account, and
/// deny everybody else. All other lines are as they are.
fn with_right_password(stack: &str) -> String {
    format!(
        "auth requisite pam_succeed_if.so quiet user = {PROBE_ACCOUNT}\nauth [success=done default=die] pam_permit.so\n{stack}"
    )
}

/// What a try has come to. Only a denial in the gate's own words proves that the gate denies.
fn judge(program: &str, ended: &Ended) -> (State, String) {
    let said = format!("{}\n{}", ended.errors, ended.output);
    let line = |begin: &str| said.lines().map(str::trim).find(|line| line.starts_with(begin));
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("nothing");
    // The account's shell says so when it is started.
    let shell = said.contains("This account is currently not available");
    match (ended.status, line("jit: ")) {
        (Some(0), _) => (State::Open, format!("{program} ran as {PROBE_ACCOUNT}, and was not denied")),
        _ if shell => (State::Open, format!("{program} ran as {PROBE_ACCOUNT}, and was not denied")),
        (Some(_), Some(_)) => (State::Closed, denied()),
        (status, None) => (
            State::Unknown,
            format!("{program} ended with status {} and without jitd's words: {last}", status.unwrap_or(-1)),
        ),
        (None, Some(_)) => (State::Unknown, format!("{program} was ended by a signal: {last}")),
    }
}

/// How it is known that a path is closed.
pub(in crate::doctor) fn denied() -> String {
    format!(
        "ran as {PROBE_ACCOUNT}, whom a rule seen by this run alone lets become itself without a password: denied by jitd"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(status: Option<i32>, output: &str, errors: &str) -> State {
        judge("/usr/bin/sudo", &Ended { status, output: output.into(), errors: errors.into() }).0
    }

    #[test]
    fn only_the_gates_own_words_prove_that_a_path_is_closed() {
        let denied = "jit: sudo is refused: jit-doctor has no open window on this host.\nsudo: a password is required\n";
        assert_eq!(state(Some(1), "", denied), State::Closed);
        assert_eq!(state(Some(0), "990\n", ""), State::Open);
        assert_eq!(state(Some(0), "990\n", denied), State::Open, "whatever was said, it ran");
        assert_eq!(state(Some(1), "This account is currently not available.\n", ""), State::Open);
        assert_eq!(state(Some(1), "", "sudo: a password is required\n"), State::Unknown);
        assert_eq!(state(Some(125), "", "mount: permission denied\n"), State::Unknown);
        assert_eq!(state(None, "", denied), State::Unknown);
    }

    #[test]
    fn the_rules_of_a_try_let_the_account_become_itself_and_nobody_else() {
        let sudoers = with_sudo_rule("root ALL=(ALL) ALL", true);
        assert!(sudoers.ends_with("\njit-doctor ALL=(jit-doctor) NOPASSWD: ALL\n"), "{sudoers}");
        assert!(with_doas_rule("").ends_with("\npermit nopass jit-doctor as jit-doctor\n"));
        let su = with_right_password("account required pam_unix.so\n");
        let first = su.lines().next().unwrap();
        assert_eq!(first, "auth requisite pam_succeed_if.so quiet user = jit-doctor");
        assert!(su.ends_with("account required pam_unix.so\n"));
    }
}
