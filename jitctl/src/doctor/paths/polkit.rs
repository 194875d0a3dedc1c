//! pkexec and run0: what polkit answers for people of this host who have no window.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use jit_host::accounts::members_of_group;
use jit_host::program::{output_of, run};
use jit_proto::identity::PROBE_ACCOUNT;

use super::{Path, State};
use crate::doctor::checks::INSTALL_RULE;
use crate::doctor::finding::Look;
use crate::doctor::host::Host;

const PKCHECK: &str = "/usr/bin/pkcheck";
const SERVICE: &str = "/usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service";
/// Groups whose members polkit takes for administrators by default, in one distribution or another.
const ADMINISTRATORS: [&str; 3] = ["sudo", "wheel", "admin"];
/// Of more people than these polkit is not asked.
const MAX_PEOPLE: usize = 10;

/// A way to root that polkit decides about.
struct Asked {
    name: &'static str,
    /// What has to be there for it.
    program: &'static str,
    set_uid: bool,
    action: &'static str,
}

const ASKED: [Asked; 3] = [
    Asked {
        name: "pkexec",
        program: "/usr/bin/pkexec",
        set_uid: true,
        action: "org.freedesktop.policykit.exec",
    },
    Asked {
        name: "run0",
        program: "/usr/bin/run0",
        set_uid: false,
        action: "org.freedesktop.systemd1.manage-units",
    },
    Asked {
        name: "systemd-run",
        program: "/usr/bin/systemd-run",
        set_uid: false,
        action: "org.freedesktop.systemd1.manage-units",
    },
];

/// Asks polkit about each that is there.
pub(super) fn asked(host: &Host, look: &mut Look) -> Vec<Path> {
    let is_there = |asked: &&Asked| {
        let mode = std::fs::metadata(host.path(asked.program)).map(|meta| meta.permissions().mode());
        mode.is_ok_and(|mode| !asked.set_uid || mode & 0o4000 != 0)
    };
    let people = people(host);
    ASKED.iter().filter(is_there).map(|asked| asked.ask(host, &people, look)).collect()
}

/// The probe, and people who may become root some way: members of roles and polkit's administrators.
fn people(host: &Host) -> Vec<String> {
    let mut people = BTreeSet::new();
    for group in ADMINISTRATORS {
        people.extend(members_of_group(group));
    }
    for member in host.told.roles.iter().flatten().flat_map(|role| &role.members) {
        match member.strip_prefix('@') {
            Some(group) => people.extend(members_of_group(group)),
            None => drop(people.insert(member.clone())),
        }
    }
    people.remove("root");
    let mut asked = vec![PROBE_ACCOUNT.to_owned()];
    asked.extend(people.into_iter().take(MAX_PEOPLE));
    asked
}

impl Asked {
    fn ask(&self, host: &Host, people: &[String], look: &mut Look) -> Path {
        let path = |state: State, how: String| Path {
            name: self.name.to_owned(),
            state,
            how,
            service: String::new(),
            argv: Vec::new(),
        };
        if !host.has(SERVICE) {
            return path(
                State::Closed,
                "polkit is not installed, so that nobody but root is let through".to_owned(),
            );
        }
        let mut answers = Vec::new();
        for person in people {
            match answer(person, self.action) {
                Ok(answer) => answers.push((person.as_str(), answer)),
                Err(why) => {
                    return path(State::Unknown, format!("polkit was not asked about {person}: {why}"));
                }
            }
        }
        let (state, how) = judge(self.action, &answers);
        if state == State::Open {
            look.open(
                format!("path/{}", self.name),
                format!("{} needs no window: {how}", self.name),
                "polkit does not ask jitd: whoever it lets through is root, and neither contained nor ended",
                INSTALL_RULE,
            );
        }
        path(state, how)
    }
}

/// What polkit says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    No,
    AfterPassword,
    Yes,
}

/// What polkit says about a process of that person, who need not be logged in.
fn answer(person: &str, action: &str) -> Result<Answer, String> {
    let number = |option: &str| -> Result<u32, String> {
        output_of("/usr/bin/id", &[option, "--", person])?
            .trim()
            .parse()
            .map_err(|_| "id prints no number".to_owned())
    };
    let (uid, gid) = (number("-u")?, number("-g")?);
    let process = Subject::of(uid, gid)?;
    let subject = format!("{},{},{uid}", process.0.id(), process.start()?);
    let ended = run(PKCHECK, &["--action-id", action, "--process", &subject])?;
    // pkcheck(1), "RETURN VALUE".
    match ended.status {
        Some(0) => Ok(Answer::Yes),
        Some(1) => Ok(Answer::No),
        Some(2 | 3) => Ok(Answer::AfterPassword),
        _ => Err(format!("{PKCHECK} failed: {}", ended.errors.trim())),
    }
}

/// A process that waits; it ends with this value.
struct Subject(Child);

impl Subject {
    fn of(uid: u32, gid: u32) -> Result<Self, String> {
        let mut sleep = Command::new("/usr/bin/sleep");
        sleep.arg("60").uid(uid).gid(gid).env_clear().current_dir("/");
        sleep.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        sleep.spawn().map(Self).map_err(|why| format!("no process of uid {uid} can be started: {why}"))
    }

    /// When it was started, as proc_pid_stat(5) counts, field 22.
    fn start(&self) -> Result<String, String> {
        let path = format!("/proc/{}/stat", self.0.id());
        let stat = std::fs::read_to_string(&path).map_err(|why| format!("{path} cannot be read: {why}"))?;
        let behind_name = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
        behind_name.split(' ').nth(19).map(str::to_owned).ok_or_else(|| format!("{path} is not understood"))
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // It has ended by itself, or does now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn judge(action: &str, answers: &[(&str, Answer)]) -> (State, String) {
    let who = |wanted: Answer| -> Vec<&str> {
        answers.iter().filter(|(_, answer)| *answer == wanted).map(|(person, _)| *person).collect()
    };
    let (yes, password) = (who(Answer::Yes), who(Answer::AfterPassword));
    let mut parts = Vec::new();
    if !yes.is_empty() {
        parts.push(format!("yes to {}", yes.join(", ")));
    }
    if !password.is_empty() {
        parts.push(format!("after a password to {}", password.join(", ")));
    }
    match parts.is_empty() {
        true => {
            let people: Vec<&str> = answers.iter().map(|(person, _)| *person).collect();
            (State::Closed, format!("polkit was asked for {action} and says no to {}", people.join(", ")))
        }
        false => (State::Open, format!("polkit was asked for {action} and says {}", parts.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_no_to_everybody_closes_a_path() {
        let no = ("jit-doctor", Answer::No);
        assert_eq!(judge("a", &[no, ("alice", Answer::No)]).0, State::Closed);
        for other in [Answer::Yes, Answer::AfterPassword] {
            let (state, how) = judge("a", &[no, ("alice", other)]);
            assert_eq!(state, State::Open);
            assert!(how.contains("alice") && !how.contains("jit-doctor"), "{how}");
        }
    }

    #[test]
    fn a_subject_has_a_start_and_ends_with_its_value() {
        let own = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        // Nobody but root starts a process of another group list.
        let Ok(subject) = Subject::of(own.0, own.1) else { return };
        assert!(subject.start().unwrap().parse::<u64>().is_ok());
    }
}
