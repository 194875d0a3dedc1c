//! Answers polkit's rule, through the helper that polkitd runs: may this person use pkexec, or have PID 1 do something.
//!
//! Only polkitd can reach the socket (0600), and it asks one question after the other. Whatever goes wrong on the way is a
//! refusal, which polkit passes on without a word; so the reason is written to the person's terminal as well.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jit_host::pam_stack;
use jit_proto::bus::names::POLKIT_SOCKET;
use jit_proto::identity::UserId;
use jit_proto::polkit_protocol::{MAX_QUESTION_BYTES, NO, Question, SERVICE_PKEXEC, SERVICE_SYSTEMCTL, YES};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::GateService;
use super::socket::receive;
use crate::core::input::{AccessQuery, Named, Process, Stage};
use crate::core::ledger::{GroupAsked, MainProcess};
use crate::core::limits::{Allowances, Limited, Rate};
use crate::core::people::Person;
use crate::core::reply::Verdict;
use crate::host::accept::Acceptor;
use crate::host::clock::boot_now;
use crate::host::process::{self, Detail};
use crate::host::terminal;
use crate::limits::Counter;
use crate::sessions::systemd::Systemd;

/// The helper gives up after a second; an answer that comes later is read by nobody.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// polkitd waits for each helper, so more than a few at once are not its.
const MAX_CALLERS: usize = 16;
/// How often one user may have polkit ask: as often as a script calls systemctl, and not so often that polkitd does nothing
/// else. What comes above that is refused before anything is read or recorded.
const QUESTIONS: Rate = Rate { burst: 200, per_minute: 120 };

/// PID 1 does something with a unit, or makes one.
const MANAGE_UNITS: &str = "org.freedesktop.systemd1.manage-units";
/// What else PID 1 does that makes root: unit files, its own environment, reading all of it anew.
const MANAGE_PID_1: [&str; 3] = [
    "org.freedesktop.systemd1.manage-unit-files",
    "org.freedesktop.systemd1.reload-daemon",
    "org.freedesktop.systemd1.set-environment",
];

/// What the questions of polkit are answered with.
#[derive(Clone)]
pub struct PolkitService {
    gate: GateService,
    systemd: Systemd,
    counter: Counter,
    allowances: Arc<Mutex<Allowances>>,
    /// The question that was refused last, until it is asked again as another action.
    refused: Arc<Mutex<Option<Refused>>>,
}

/// A refused question of a process.
#[derive(PartialEq, Eq)]
struct Refused {
    subject: MainProcess,
    question: Question,
}

impl PolkitService {
    /// The way to the engine, to PID 1, and where refusals are counted.
    #[must_use]
    pub fn new(gate: GateService, systemd: Systemd, counter: Counter) -> Self {
        Self { gate, systemd, counter, allowances: Arc::default(), refused: Arc::default() }
    }
}

/// Answers until the daemon ends.
pub async fn serve(listener: UnixListener, service: PolkitService) {
    let mut acceptor = Acceptor::new(listener, POLKIT_SOCKET);
    let mut callers = JoinSet::new();
    loop {
        tokio::select! {
            stream = acceptor.next(), if callers.len() < MAX_CALLERS => {
                callers.spawn(one(stream, service.clone()));
            }
            Some(_) = callers.join_next() => {}
        }
    }
}

/// One question. Without a YES in time the helper refuses by itself.
async fn one(mut stream: UnixStream, service: PolkitService) {
    let answered = tokio::time::timeout(ANSWER_WITHIN, async {
        let (question, pidfd) = asked(&stream).await?;
        let answer = if service.is_allowed(question, pidfd).await { YES } else { NO };
        stream.write_all(answer).await
    });
    match answered.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!("a question of polkit has no answer: {error}"),
        Err(_) => warn!("a question of polkit was not answered within {ANSWER_WITHIN:?}"),
    }
}

/// The whole question, and the pidfd that comes with it.
async fn asked(stream: &UnixStream) -> io::Result<(Question, OwnedFd)> {
    let (mut come, mut passed) = (Vec::with_capacity(1024), Vec::new());
    loop {
        if let Some(question) = Question::from_bytes(&come).map_err(io::Error::other)? {
            let pidfd = passed.pop().ok_or_else(|| io::Error::other("no pidfd came with it"))?;
            return Ok((question, pidfd));
        }
        if come.len() > MAX_QUESTION_BYTES {
            return Err(io::Error::other("it is too long"));
        }
        stream.readable().await?;
        let read = || receive(stream, &mut come, &mut passed);
        match stream.try_io(tokio::io::Interest::READABLE, read) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// What an action comes to here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// pkexec runs a program.
    Pkexec,
    /// PID 1 does something with a unit that has a file, or with all of them.
    Systemctl,
    /// PID 1 makes a unit of what the caller sends, as run0 and systemd-run do.
    NewUnit,
    /// Something that the rule does not ask about.
    Other,
}

impl PolkitService {
    async fn is_allowed(&self, question: Question, pidfd: OwnedFd) -> bool {
        let process = match process::read(pidfd.as_fd(), Detail::Whole) {
            Ok(process) => process,
            Err(error) => {
                warn!("polkit is refused: the subject cannot be read: {error}");
                return false;
            }
        };
        let (uid, pid) = (process.real_uid, process.main.pid);
        if !self.takes_one(uid) {
            self.counter.count(Some(uid), Limited::Polkit);
            return false;
        }
        let subject = process.main;
        if self.was_refused(subject, &question) {
            return false;
        }
        let verdict = match self.query(&question, process).await {
            Ok(query) => {
                let decided = self.gate.engine.decide(query, None).await;
                decided.unwrap_or_else(|stopped| Verdict::Denied(vec![format!("jit: refused: {stopped}.")]))
            }
            Err(lines) => Verdict::Denied(lines),
        };
        match verdict {
            // What was read about the subject belongs to the process behind the pidfd only as long as that is there.
            Verdict::Allowed => process::has_ended(pidfd.as_fd()).is_ok_and(|ended| !ended),
            Verdict::Denied(lines) | Verdict::Observed(lines) => {
                tell(uid, pid, &lines);
                let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                *refused = Some(Refused { subject, question });
                false
            }
        }
    }

    /// Whether this is the question that was refused last, asked again as an action that implies the refused one. It has been
    /// recorded, and told, once.
    fn was_refused(&self, subject: MainProcess, question: &Question) -> bool {
        let last = self.refused.lock().unwrap_or_else(PoisonError::into_inner).take();
        last.is_some_and(|last| {
            let again = Question { action: last.question.action.clone(), ..question.clone() };
            last.question.action != question.action && last == Refused { subject, question: again }
        })
    }

    fn takes_one(&self, uid: UserId) -> bool {
        let mut allowances = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
        allowances.take(uid, QUESTIONS, boot_now())
    }

    /// What the core is asked, or the lines of a refusal that needs no record.
    async fn query(&self, question: &Question, mut process: Process) -> Result<AccessQuery, Vec<String>> {
        let refused = |what: &str, why: &dyn std::fmt::Display| {
            warn!("polkit is refused ({}): {why}", question.action);
            vec![format!("jit: {what} is refused: {why}.")]
        };
        let (service, what) = match self.kind_of(question).await {
            Kind::Pkexec => (SERVICE_PKEXEC, "pkexec"),
            Kind::Systemctl => (SERVICE_SYSTEMCTL, "systemctl"),
            Kind::NewUnit => {
                let why = "PID 1 does not tell polkit what a new unit is to run; use sudo";
                return Err(refused("run0", &why));
            }
            Kind::Other => return Err(refused("this", &"jitd is not asked about this action")),
        };
        let lookup = &self.gate.lookup;
        let person = lookup.person(process.real_uid).await.map_err(|why| refused(what, &why))?;
        let subject = lookup.named(&question.subject).await.map_err(|why| refused(what, &why))?;
        if !is_the_subject(&subject, person.as_ref()) {
            let why = "the process that polkit names is not the person's whom polkit names";
            return Err(refused(what, &why));
        }
        if service == SERVICE_PKEXEC {
            // A session that the module does not open is contained by nobody and ended by nobody.
            let look = || pam_stack::inspect(BTreeSet::from([SERVICE_PKEXEC.to_owned()]));
            match tokio::task::spawn_blocking(look).await.map(|mut found| found.remove(SERVICE_PKEXEC)) {
                Ok(Some(None)) => {}
                Ok(Some(Some(fault))) => return Err(refused(what, &fault)),
                Ok(None) | Err(_) => return Err(refused(what, &"its PAM stack cannot be read")),
            }
        }
        let target = if question.target.is_empty() { "root" } else { &question.target };
        let user = lookup.named(target).await.map_err(|why| refused(what, &why))?;
        (process.argv, process.argv_cut) = command_line(question);
        Ok(AccessQuery {
            stage: Stage::Authorize { session_follows: service == SERVICE_PKEXEC },
            tty: process::terminal_of(process.main.pid).unwrap_or_default(),
            process,
            person,
            service: service.to_owned(),
            user,
            ruser: Named::Unset,
            group: GroupAsked::Nothing,
            own_groups: BTreeSet::new(),
            line_observes: false,
        })
    }

    async fn kind_of(&self, question: &Question) -> Kind {
        let Question { action, program, verb, unit, .. } = question;
        if !program.is_empty() {
            return Kind::Pkexec;
        }
        let is_about_all = MANAGE_PID_1.contains(&action.as_str());
        if !is_about_all && action != MANAGE_UNITS {
            return Kind::Other;
        }
        // A refused action is asked for again as each action that implies it (polkit(8), `org.freedesktop.policykit.imply`),
        // with the details of the refused one: what is asked is what the details say.
        if is_about_all && verb.is_empty() && unit.is_empty() {
            return Kind::Systemctl;
        }
        if verb == "start" || verb.is_empty() || unit.is_empty() {
            // The caller chooses a new unit's name; one that has a file cannot be made anew (systemd, "already loaded or has a
            // fragment file"). Where PID 1 tells nothing, it could be any.
            let has_file = !unit.is_empty() && !verb.is_empty() && self.systemd.has_file(unit).await;
            return if has_file { Kind::Systemctl } else { Kind::NewUnit };
        }
        Kind::Systemctl
    }
}

/// Whether the process that the pidfd is on is the person's whom polkit has for its subject: a pid that was given to another
/// process meanwhile is not.
fn is_the_subject(subject: &Named, person: Option<&Person>) -> bool {
    match (subject, person) {
        (Named::Account(subject), Some(person)) => subject.uid == person.account.uid,
        _ => false,
    }
}

/// What the record shows as the command line: that of the caller is pkexec's parent's, and of PID 1's callers says less.
fn command_line(question: &Question) -> (Vec<String>, bool) {
    let Question { action, program, command_line, is_cut, verb, unit, .. } = question;
    let words = match (program.is_empty(), unit.is_empty()) {
        (false, _) => vec!["pkexec".to_owned(), command_line.clone()],
        (true, false) => vec!["systemctl".to_owned(), verb.clone(), unit.clone()],
        (true, true) => vec!["systemctl".to_owned(), action.clone()],
    };
    (words, *is_cut)
}

/// Writes the lines to the terminal that a process runs at, if it is the person's.
pub(super) fn tell(uid: UserId, pid: u32, lines: &[String]) {
    if let Some(tty) = process::terminal_of(pid) {
        terminal::tell(uid, &tty, lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::people::Account;

    fn account(uid: u32) -> Account {
        Account { uid: UserId(uid), name: format!("u{uid}") }
    }

    #[test]
    fn a_process_of_somebody_else_is_never_the_subject() {
        let person = |uid| Person { account: account(uid), groups: BTreeSet::new(), locked: false };
        assert!(is_the_subject(&Named::Account(account(1000)), Some(&person(1000))));
        assert!(!is_the_subject(&Named::Account(account(1000)), Some(&person(1001))));
        assert!(!is_the_subject(&Named::Account(account(1000)), Some(&person(0))));
        assert!(!is_the_subject(&Named::Account(account(1000)), None));
        assert!(!is_the_subject(&Named::Unknown("u1000".to_owned()), Some(&person(1000))));
        assert!(!is_the_subject(&Named::Unset, Some(&person(1000))));
    }
}
