//! Notifies people of audit records through a hook, the mail program and terminals, and records notifications that
//! failed.
//!
//! The notifier has a thread of its own, so that no decision waits for it, and reads the records from the store. It
//! keeps the number of the last record that is done, so that people are notified at least once although the daemon
//! ends.

mod cursor;

mod limit;

mod message;

mod queue;

mod terminals;

mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use jit_proto::audit::record::{AuditEvent, Record};
use jit_proto::identity::{RoleName, UserId};
use tokio::sync::mpsc;
use tracing::{error, warn};

use crate::bus;
use crate::core::input::Input;
use crate::core::notices::{Notices, audience};
use crate::core::policy::{Policy, Role};
use crate::engine::handle::Handle;
use crate::engine::messages::ToNotifier;
use crate::host::accounts::{Directory, Nss};
use crate::host::clock::Clock;
use crate::sessions::systemd::Systemd;
use crate::store::Reader;
use cursor::Cursor;
use limit::Limit;
use message::Message;
use queue::{Outcome, Queue};
use run::{Confinement, Run};

/// After a restart at most this many records are searched for notifications that were not sent.
const MAX_BACKLOG: u64 = 10_000;
/// Records read at a time.
const PAGE: u64 = 256;
/// People are notified of at most this many requests of one person in [`REQUESTS_WITHIN`], so that a flood hides no
/// other.
const MAX_REQUESTS: u32 = 10;
const REQUESTS_WITHIN: Duration = Duration::from_secs(600);
/// One failure of each kind is recorded in this time; the next record has the number of those between.
const FAILURE_WITHIN: Duration = Duration::from_secs(900);
/// The most recipients of one mail.
const MAX_RECIPIENTS: usize = 50;
/// The longest wait for a message.
const IDLE: Duration = Duration::from_secs(3600);

/// A run that has ended.
#[derive(Debug)]
struct Ended {
    way: Way,
    seq: u64,
    outcome: Outcome,
}

/// What the notifier's thread waits for.
enum Next {
    /// A message from the engine; `None` when the engine has ended.
    Message(Option<ToNotifier>),
    /// The end of a run.
    Ended(Ended),
}

/// How people are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Exec,
    Mail,
}

impl Way {
    const ALL: [Self; 2] = [Self::Exec, Self::Mail];

    fn name(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Mail => "mail",
        }
    }
}

/// Starts the notifier's thread. `head` is the last record there is.
///
/// # Errors
/// When no thread can be started.
pub fn start(
    store: &Path,
    head: u64,
    clock: Clock,
    engine: Handle,
) -> std::io::Result<mpsc::UnboundedSender<ToNotifier>> {
    let (sender, mut inbox) = mpsc::unbounded_channel();
    let (runs_ended, mut ended) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut notifier = Notifier {
        store: store.to_owned(),
        reader: None,
        cursor: Cursor::beside(store),
        seen: head,
        early: Vec::new(),
        policy: None,
        queues: BTreeMap::new(),
        requests: BTreeMap::new(),
        failures: BTreeMap::new(),
        systemd: None,
        runs: 0,
        runs_ended,
        clock,
        engine,
    };
    thread::Builder::new().name("notify".into()).spawn(move || {
        runtime.block_on(async move {
            loop {
                let next = async {
                    tokio::select! {
                        message = inbox.recv() => Next::Message(message),
                        Some(run) = ended.recv() => Next::Ended(run),
                    }
                };
                match tokio::time::timeout(notifier.wait(), next).await {
                    Ok(Next::Message(Some(message))) => notifier.take(message).await,
                    Ok(Next::Message(None)) => return,
                    Ok(Next::Ended(run)) => notifier.run_ended(run).await,
                    Err(_) => {}
                }
                notifier.run_what_is_due().await;
                notifier.remember();
            }
        });
    })?;
    Ok(sender)
}

struct Notifier {
    store: PathBuf,
    reader: Option<Reader>,
    cursor: Cursor,
    /// The last record that was considered, or need not be.
    seen: u64,
    /// Records that came before there was a policy.
    early: Vec<u64>,
    policy: Option<Arc<Policy>>,
    queues: BTreeMap<Way, Queue<Arc<Message>>>,
    requests: BTreeMap<UserId, Limit>,
    failures: BTreeMap<&'static str, Limit>,
    systemd: Option<Systemd>,
    runs: u64,
    /// Each run sends its outcome here.
    runs_ended: mpsc::UnboundedSender<Ended>,
    clock: Clock,
    engine: Handle,
}

impl Notifier {
    async fn take(&mut self, message: ToNotifier) {
        match message {
            ToNotifier::Written(records) if self.policy.is_none() => self.early.extend(records),
            ToNotifier::Written(records) => self.look_at(&records).await,
            ToNotifier::Policy(policy) => {
                let first = self.policy.replace(policy).is_none();
                if first {
                    self.catch_up().await;
                    let early = std::mem::take(&mut self.early);
                    self.look_at(&early).await;
                }
            }
        }
    }

    async fn run_ended(&mut self, Ended { way, seq, outcome }: Ended) {
        let now = self.clock.now().boot;
        if let Outcome::Deferred(why) = &outcome {
            // Recorded now: it may take hours until the notifier gives up.
            self.failed(way.name(), Some(seq), &format!("{why}; it is tried again later")).await;
        }
        let failed = self.queues.entry(way).or_default().ended(seq, outcome, now);
        if let Some(why) = failed {
            self.failed(way.name(), Some(seq), &why).await;
        }
    }

    fn notices(&self) -> Notices {
        self.policy.as_ref().map(|policy| policy.settings.notices.clone()).unwrap_or_default()
    }

    /// Searches the records of an earlier daemon for notifications that it did not send.
    async fn catch_up(&mut self) {
        let told = self.cursor.kept().unwrap_or(self.seen);
        if !self.notices().reach_somebody() || told >= self.seen {
            return;
        }
        let first = (told + 1).max((self.seen + 1).saturating_sub(MAX_BACKLOG));
        if first > told + 1 {
            let why =
                format!("records {} to {} were not looked through after a restart", told + 1, first - 1);
            self.failed("backlog", None, &why).await;
        }
        let mut from = first;
        while from <= self.seen {
            let limit = PAGE.min(self.seen - from + 1);
            let page = match self.reader().map(|reader| reader.records(from, limit)) {
                Ok(Ok(page)) => page,
                Ok(Err(problem)) | Err(problem) => {
                    self.failed("backlog", Some(from), &problem.to_string()).await;
                    return;
                }
            };
            for record in &page {
                self.consider(record.seq, &record.line, false).await;
            }
            from += limit;
        }
    }

    /// Considers the records that the engine has named.
    async fn look_at(&mut self, records: &[u64]) {
        for seq in records {
            self.seen = self.seen.max(*seq);
            match self.reader().map(|reader| reader.record(*seq)) {
                Ok(Ok(Some(record))) => self.consider(*seq, &record.line, true).await,
                // Somebody removed the record from the store, which the chain shows.
                Ok(Ok(None)) => {}
                Ok(Err(problem)) | Err(problem) => {
                    self.failed("backlog", Some(*seq), &problem.to_string()).await;
                }
            }
        }
    }

    fn reader(&mut self) -> Result<&Reader, crate::store::StoreError> {
        match &mut self.reader {
            Some(reader) => Ok(reader),
            none => Ok(none.insert(Reader::open(&self.store)?)),
        }
    }

    /// Queues the notifications of a record. Terminals get theirs only while it happens.
    async fn consider(&mut self, seq: u64, line: &str, happens_now: bool) {
        let Ok(record) = serde_json::from_str::<Record>(line) else { return };
        let notices = self.notices();
        let kind = notices.tell(record.event, &record.facts).filter(|_| notices.reach_somebody());
        let at_terminals = happens_now && audience(record.event, &record.facts).is_some();
        let now = self.clock.now().boot;
        if record.event == AuditEvent::RequestMade && (kind.is_some() || at_terminals) {
            self.requests.retain(|_, limit| !limit.is_idle(now));
            let uid = UserId(record.facts.uid.unwrap_or_default());
            let limit = self.requests.entry(uid);
            let limit = limit.or_insert_with(|| Limit::of(MAX_REQUESTS, REQUESTS_WITHIN, now));
            if limit.pass(now).is_none() {
                let why = format!("people are told of {MAX_REQUESTS} requests of one person in ten minutes");
                self.failed("requests", Some(seq), &why).await;
                return;
            }
        }
        let role = self.role(&record).map(|role| role.approvers.clone());
        if at_terminals {
            let (record, approvers) = (record.clone(), role.clone().unwrap_or_default());
            // Nothing waits for this task: a terminal and the user directory may be slow.
            tokio::task::spawn_blocking(move || terminals::tell(&record, &approvers));
        }
        let Some(kind) = kind else { return };
        let approvers = role.as_ref().map(|people| people.written.clone()).unwrap_or_default();
        let mail = notices.mail.clone();
        let user = record.facts.user.clone();
        let written = approvers.clone();
        let expanded =
            tokio::task::spawn_blocking(move || recipients(&mail, user.as_deref(), &written, &Nss));
        let recipients = expanded.await.unwrap_or_default();
        let message = Arc::new(Message {
            kind,
            recipients,
            host: nix::unistd::gethostname()
                .ok()
                .and_then(|name| name.into_string().ok())
                .unwrap_or_default(),
            approvers,
            record,
        });
        let ways = [(Way::Exec, notices.exec.is_some()), (Way::Mail, !message.recipients.is_empty())];
        for (way, _) in ways.iter().filter(|(_, open)| *open) {
            let queue = self.queues.entry(*way).or_default();
            if let Some(given_up) = queue.push(seq, kind.is_urgent(), Arc::clone(&message)) {
                self.failed(way.name(), Some(given_up), "too many wait to be told").await;
            }
        }
    }

    /// The role that a record names, as the policy in force has it.
    fn role(&self, record: &Record) -> Option<&Role> {
        let name = RoleName::try_from(record.facts.role.clone()?).ok()?;
        self.policy.as_ref()?.roles.get(&name)
    }

    /// Starts what may run now.
    async fn run_what_is_due(&mut self) {
        let now = self.clock.now().boot;
        for way in Way::ALL {
            while let Some(next) = self.queues.get_mut(&way).and_then(|queue| queue.next(now)) {
                let ended = |outcome| Ended { way, seq: next.seq, outcome };
                let systemd = match self.systemd().await {
                    Ok(systemd) => systemd,
                    Err(problem) => {
                        let outcome = Outcome::Deferred(format!("PID 1 cannot be asked: {problem}"));
                        // This task has the receiver, so it cannot be closed.
                        let _ = self.runs_ended.send(ended(outcome));
                        continue;
                    }
                };
                self.runs += 1;
                let unit = format!("jit-notify-{}-{}.service", std::process::id(), self.runs);
                let (notices, runs_ended) = (self.notices(), self.runs_ended.clone());
                let what = Arc::clone(&next.what);
                let seq = next.seq;
                tokio::spawn(async move {
                    let outcome = tell(&systemd, way, unit, &notices, &what).await;
                    // Fails only when the daemon ends.
                    let _ = runs_ended.send(Ended { way, seq, outcome });
                });
            }
        }
    }

    /// PID 1, over a connection of the notifier's own, which is opened for the first notification.
    async fn systemd(&mut self) -> zbus::Result<Systemd> {
        if let Some(systemd) = &self.systemd {
            return Ok(systemd.clone());
        }
        let systemd = Systemd::on(bus::connect().await?).await?;
        Ok(self.systemd.insert(systemd).clone())
    }

    /// How long to wait for a message.
    fn wait(&self) -> Duration {
        let now = self.clock.now().boot;
        let due = self.queues.values().filter_map(Queue::due).min();
        due.map_or(IDLE, |due| due.since(now).min(IDLE))
    }

    /// Keeps the number of the last record before which all is done.
    fn remember(&mut self) {
        if self.policy.is_some() {
            let oldest = self.queues.values().filter_map(Queue::oldest).min();
            self.cursor.keep(oldest.map_or(self.seen, |oldest| oldest - 1));
        }
    }

    /// Records that a notification failed. That record causes no notification.
    async fn failed(&mut self, what: &'static str, about: Option<u64>, why: &str) {
        warn!("notify, {what}: {why}");
        let now = self.clock.now().boot;
        let limit = self.failures.entry(what).or_insert_with(|| Limit::of(1, FAILURE_WITHIN, now));
        let Some(suppressed) = limit.pass(now) else { return };
        let event = Input::NotTold { about, suppressed, detail: format!("{what}: {why}") };
        if self.engine.tell(event).await.is_err() {
            error!("engine stopped; a notification failure could not be recorded");
        }
    }
}

/// The recipients of a mail: the addresses, and in place of `{user}` and `{approvers}` the login names that may stand
/// in a header; at most [`MAX_RECIPIENTS`].
fn recipients(
    written: &[String],
    user: Option<&str>,
    approvers: &[String],
    names: &dyn Directory,
) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let plain = |name: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
        !name.is_empty() && name.len() <= 64 && !name.starts_with('-') && name.bytes().all(fits)
    };
    for entry in written {
        match entry.as_str() {
            "{user}" => all.extend(user.filter(|name| plain(name)).map(str::to_owned)),
            "{approvers}" => {
                for approver in approvers {
                    let people = match approver.strip_prefix('@') {
                        Some(group) => names.listed_in(group).unwrap_or_default(),
                        None => vec![approver.clone()],
                    };
                    all.extend(people.into_iter().filter(|name| plain(name)));
                }
            }
            address => all.push(address.to_owned()),
        }
    }
    let mut seen = BTreeSet::new();
    all.retain(|address| seen.insert(address.clone()));
    all.truncate(MAX_RECIPIENTS);
    all
}

/// Sends one notification.
async fn tell(systemd: &Systemd, way: Way, unit: String, notices: &Notices, what: &Message) -> Outcome {
    let (program, arguments, confinement, input): (_, &[&str], _, _) = match way {
        Way::Exec => (notices.exec.as_ref(), &[], Confinement::Strict, what.json()),
        Way::Mail => (
            notices.sendmail.as_ref(),
            // sendmail(8): no line with a dot alone ends the mail, and the headers name the recipients.
            &["-i", "-t"],
            Confinement::MailProgram,
            what.mail(&what.recipients, &notices.user),
        ),
    };
    // The settings name no program any more.
    let Some(program) = program else { return Outcome::Done };
    let run = Run { unit, program, arguments, user: &notices.user, limit: notices.timeout, confinement };
    match run::run(systemd, &run, &input).await {
        Outcome::Failed(why) => Outcome::Failed(format!("{}: {why}", program.named.display())),
        Outcome::Deferred(why) => Outcome::Deferred(format!("{}: {why}", program.named.display())),
        Outcome::Done => Outcome::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::people::Account;
    use crate::host::accounts::IdentityError;
    use jit_proto::identity::GroupId;

    struct Leads;

    impl Directory for Leads {
        fn user(&self, _: &str) -> Result<Option<Account>, IdentityError> {
            Ok(None)
        }

        fn group(&self, _: &str) -> Result<Option<GroupId>, IdentityError> {
            Ok(None)
        }

        fn listed_in(&self, group: &str) -> Option<Vec<String>> {
            (group == "leads").then(|| vec!["bob".into(), "carol".into(), "-oQ/tmp".into()])
        }
    }

    #[test]
    fn a_mail_goes_to_the_person_and_to_those_who_may_approve() {
        let all = |written: &[&str], user: &str| {
            let written: Vec<String> = written.iter().map(|&entry| entry.to_owned()).collect();
            recipients(&written, Some(user), &["@leads".into(), "bob".into(), "@none".into()], &Leads)
        };
        assert_eq!(all(&["ops@example.org", "{user}"], "alice"), ["ops@example.org", "alice"]);
        assert_eq!(all(&["{approvers}"], "alice"), ["bob", "carol"]);
        assert!(all(&["{user}"], "x\nBcc: y").is_empty() && all(&["{user}"], "-t").is_empty());
    }
}
