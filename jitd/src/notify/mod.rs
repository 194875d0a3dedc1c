//! Tells people of what is in the record: runs a hook and the mail program, and records when somebody was not told.
//!
//! It reads the records that it is pointed to from the store, on a thread of its own, so no decision waits for it; and it
//! remembers how far it came, so that people are told at least once, whenever the daemon ends.

mod cursor;

mod limit;

mod message;

mod queue;

mod run;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use jit_proto::identity::{RoleName, UserId};
use jit_proto::record::Record;
use tokio::sync::mpsc;
use tracing::{error, warn};

use crate::bus;
use crate::clock::Clock;
use crate::core::event::Event;
use crate::core::notices::{Kind, Notices};
use crate::core::policy::Policy;
use crate::engine::Handle;
use crate::sessions::systemd::Systemd;
use crate::store::Reader;
use cursor::Cursor;
use limit::Limit;
use message::Message;
use queue::{Outcome, Queue};
use run::{Confinement, Run};

/// After a restart no more records are looked through for what people were not told.
const MOST_BEHIND: u64 = 10_000;
/// Records read at a time.
const PAGE: u64 = 256;
/// Of so many requests of one person people are told within that time; more would only bury the rest.
const MOST_REQUESTS: u32 = 10;
const REQUESTS_WITHIN: Duration = Duration::from_secs(600);
/// One failure of each way is recorded in this time; the next one says how many there were.
const FAILURE_WITHIN: Duration = Duration::from_secs(900);
/// With nothing to do it looks up this often.
const IDLE: Duration = Duration::from_secs(3600);

/// What the notifier is told.
#[derive(Debug)]
pub enum ToNotifier {
    /// These records are written, and may be something to people.
    Written(Vec<u64>),
    /// A policy has come into force.
    Policy(Arc<Policy>),
    /// A program that told of a record has ended.
    Ended(Ended),
}

/// A run that has ended.
#[derive(Debug)]
pub struct Ended {
    way: Way,
    seq: u64,
    outcome: Outcome,
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
        sender: sender.clone(),
        clock,
        engine,
    };
    thread::Builder::new().name("notify".into()).spawn(move || {
        runtime.block_on(async move {
            loop {
                match tokio::time::timeout(notifier.wait(), inbox.recv()).await {
                    Ok(Some(message)) => notifier.take(message).await,
                    Ok(None) => return,
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
    /// The last record that was looked at, or need not be.
    seen: u64,
    /// Records that came before there was a policy.
    early: Vec<u64>,
    policy: Option<Arc<Policy>>,
    queues: BTreeMap<Way, Queue<Arc<Message>>>,
    requests: BTreeMap<UserId, Limit>,
    failures: BTreeMap<&'static str, Limit>,
    systemd: Option<Systemd>,
    runs: u64,
    sender: mpsc::UnboundedSender<ToNotifier>,
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
            ToNotifier::Ended(Ended { way, seq, outcome }) => {
                let now = self.clock.now().boot;
                let failed = self.queues.entry(way).or_default().ended(seq, outcome, now);
                if let Some(why) = failed {
                    self.failed(way.name(), Some(seq), &why).await;
                }
            }
        }
    }

    fn notices(&self) -> Notices {
        self.policy.as_ref().map(|policy| policy.settings.notices.clone()).unwrap_or_default()
    }

    /// Looks for what people were not told before the last end of the daemon.
    async fn catch_up(&mut self) {
        let told = self.cursor.kept().unwrap_or(self.seen);
        if !self.notices().reach_somebody() || told >= self.seen {
            return;
        }
        let first = (told + 1).max((self.seen + 1).saturating_sub(MOST_BEHIND));
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
                self.consider(record.seq, &record.line).await;
            }
            from += limit;
        }
    }

    /// Looks at records that are said to be something to people.
    async fn look_at(&mut self, records: &[u64]) {
        for seq in records {
            self.seen = self.seen.max(*seq);
            if !self.notices().reach_somebody() {
                continue;
            }
            match self.reader().map(|reader| reader.record(*seq)) {
                Ok(Ok(Some(record))) => self.consider(*seq, &record.line).await,
                // Somebody removed it; the chain says so.
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

    /// Puts a record before those who want to be told of it.
    async fn consider(&mut self, seq: u64, line: &str) {
        let Ok(record) = serde_json::from_str::<Record>(line) else { return };
        let notices = self.notices();
        let Some(kind) = notices.tell(record.event, &record.facts) else { return };
        let now = self.clock.now().boot;
        if kind == Kind::Request {
            self.requests.retain(|_, limit| !limit.is_idle(now));
            let uid = UserId(record.facts.uid.unwrap_or_default());
            let limit = self.requests.entry(uid);
            let limit = limit.or_insert_with(|| Limit::of(MOST_REQUESTS, REQUESTS_WITHIN, now));
            if limit.pass(now).is_none() {
                let why = format!("people are told of {MOST_REQUESTS} requests of one person in ten minutes");
                self.failed("requests", Some(seq), &why).await;
                return;
            }
        }
        let message = Arc::new(Message {
            kind,
            host: nix::unistd::gethostname()
                .ok()
                .and_then(|name| name.into_string().ok())
                .unwrap_or_default(),
            approvers: self.approvers(&record),
            record,
        });
        let ways = [(Way::Exec, notices.exec.is_some()), (Way::Mail, !notices.mail.is_empty())];
        for (way, _) in ways.iter().filter(|(_, open)| *open) {
            let queue = self.queues.entry(*way).or_default();
            if let Some(given_up) = queue.push(seq, kind.is_urgent(), Arc::clone(&message)) {
                self.failed(way.name(), Some(given_up), "too many wait to be told").await;
            }
        }
    }

    /// Who may approve what a record asks for, as the role names them.
    fn approvers(&self, record: &Record) -> Vec<String> {
        let role = record.facts.role.clone().and_then(|name| RoleName::try_from(name).ok());
        let policy = self.policy.as_ref();
        let role = role.and_then(|name| policy.and_then(|policy| policy.roles.get(&name)));
        role.map(|role| role.approvers.written.clone()).unwrap_or_default()
    }

    /// Starts what may run now.
    async fn run_what_is_due(&mut self) {
        let now = self.clock.now().boot;
        for way in Way::ALL {
            while let Some(next) = self.queues.get_mut(&way).and_then(|queue| queue.next(now)) {
                let ended = |outcome| ToNotifier::Ended(Ended { way, seq: next.seq, outcome });
                let systemd = match self.systemd().await {
                    Ok(systemd) => systemd,
                    Err(problem) => {
                        let outcome = Outcome::Later(format!("PID 1 cannot be asked: {problem}"));
                        // Its receiver is this very task.
                        let _ = self.sender.send(ended(outcome));
                        continue;
                    }
                };
                self.runs += 1;
                let unit = format!("jit-notify-{}-{}.service", std::process::id(), self.runs);
                let (notices, sender) = (self.notices(), self.sender.clone());
                let what = Arc::clone(&next.what);
                let seq = next.seq;
                tokio::spawn(async move {
                    let outcome = tell(&systemd, way, unit, &notices, &what).await;
                    // The notifier ends with the daemon only.
                    let _ = sender.send(ToNotifier::Ended(Ended { way, seq, outcome }));
                });
            }
        }
    }

    /// PID 1, by a connection of the notifier's own; a host on which nobody is told has none.
    async fn systemd(&mut self) -> zbus::Result<Systemd> {
        if let Some(systemd) = &self.systemd {
            return Ok(systemd.clone());
        }
        let systemd = Systemd::on(bus::connect().await?).await?;
        Ok(self.systemd.insert(systemd).clone())
    }

    /// How long there is nothing to do, if nothing comes.
    fn wait(&self) -> Duration {
        let now = self.clock.now().boot;
        let due = self.queues.values().filter_map(Queue::due).min();
        due.map_or(IDLE, |due| due.since(now).min(IDLE))
    }

    /// Keeps how far people have been told.
    fn remember(&mut self) {
        if self.policy.is_some() {
            let oldest = self.queues.values().filter_map(Queue::oldest).min();
            self.cursor.keep(oldest.map_or(self.seen, |oldest| oldest - 1));
        }
    }

    /// Records that somebody was not told. Nobody is told of that in turn.
    async fn failed(&mut self, what: &'static str, about: Option<u64>, why: &str) {
        warn!("notify, {what}: {why}");
        let now = self.clock.now().boot;
        let limit = self.failures.entry(what).or_insert_with(|| Limit::of(1, FAILURE_WITHIN, now));
        let Some(suppressed) = limit.pass(now) else { return };
        let event = Event::NotTold { about, suppressed, detail: format!("{what}: {why}") };
        if self.engine.tell(event).await.is_err() {
            error!("the engine has ended; nobody records that somebody was not told");
        }
    }
}

/// Tells of one record in one way.
async fn tell(systemd: &Systemd, way: Way, unit: String, notices: &Notices, what: &Message) -> Outcome {
    let (program, arguments, confinement, input): (_, &[&str], _, _) = match way {
        Way::Exec => (notices.exec.as_ref(), &[], Confinement::Strict, what.json()),
        Way::Mail => (
            notices.sendmail.as_ref(),
            // As every program of that name takes them: no line ends the mail, and the headers name who gets it.
            &["-i", "-t"],
            Confinement::MailProgram,
            what.mail(&notices.mail, &notices.user),
        ),
    };
    // It is not in the settings any more.
    let Some(program) = program else { return Outcome::Done };
    let run = Run { unit, program, arguments, user: &notices.user, limit: notices.timeout, confinement };
    match run::run(systemd, &run, &input).await {
        Outcome::Failed(why) => Outcome::Failed(format!("{}: {why}", program.named.display())),
        Outcome::Later(why) => Outcome::Later(format!("{}: {why}", program.named.display())),
        Outcome::Done => Outcome::Done,
    }
}
