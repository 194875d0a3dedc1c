//! Answers PAM calls: identifies the caller by the kernel, and uses arguments only for what the kernel does not know.

mod socket;

mod silent;

pub mod polkit;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd as StdFd};
use std::sync::Arc;
use std::time::Duration;

use jit_proto::bus::names::GATE_SOCKET;
use jit_proto::pam_protocol::{OPTION_OBSERVE, OPTION_TAGGED, OUTCOME_ALLOWED, OUTCOME_DENIED};
use jit_proto::polkit_protocol::SERVICE_PKEXEC;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, warn};
use zbus::{Guid, OwnedGuid, OwnedVariant};

use silent::Silent;

use crate::core::group_option::{self, Asked};
use crate::core::input::{AccessQuery, Input, Named, Process, Stage};
use crate::core::ledger::GroupAsked;
use crate::core::ledger::MainProcess;
use crate::core::reply::Verdict;
use crate::engine::handle::Handle;
use crate::host::accept::Acceptor;
use crate::host::accounts::IdentityError;
use crate::host::clock::Clock;
use crate::host::identity_cache::IdentityCache;
use crate::host::process::{self, Detail};
use crate::limits::Counter;

/// The timeout of a call; `pam_jit` gives up after 2 s. `silent` limits the time until the question.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// Callers that are served at once, with silent ones; further callers wait in the socket's queue.
const MAX_CALLERS: usize = 1024;

/// The largest PAM item.
const MAX_ITEM_BYTES: usize = 1024;

/// The D-Bus type of an answer: outcome, lines for the person, further values.
pub type Answer = (String, Vec<String>, HashMap<String, OwnedVariant>);

/// Accepts callers until told to stop, and then finishes the calls in progress.
pub async fn serve(
    listener: UnixListener,
    service: GateService,
    counter: Counter,
    mut stop: watch::Receiver<bool>,
) {
    let mut acceptor = Acceptor::new(listener, GATE_SOCKET);
    let silent = Silent::new(counter);
    let guid = OwnedGuid::from(Guid::generate());
    let mut callers = JoinSet::new();
    loop {
        tokio::select! {
            stream = acceptor.next(), if callers.len() < MAX_CALLERS => {
                callers.spawn(one(stream, service.clone(), silent.clone(), guid.clone()));
            }
            Some(_) = callers.join_next() => {}
            _ = stop.changed() => break,
        }
    }
    while callers.join_next().await.is_some() {}
}

async fn one(stream: UnixStream, service: GateService, silent: Silent, guid: OwnedGuid) {
    let call = socket::talk(stream, &service, &silent, &guid);
    if let Err(error) = tokio::time::timeout(CALL_LIMIT, call).await.unwrap_or(Ok(())) {
        debug!("a call of the gate failed: {error}");
    }
}

/// The PAM items of a call, as `pam_jit` read them, and the option `observe` of its line.
pub(crate) struct PamItems {
    /// `PAM_SERVICE`.
    pub(crate) service: String,
    /// `PAM_USER`.
    pub(crate) user: String,
    /// `PAM_RUSER`.
    pub(crate) ruser: String,
    /// `PAM_TTY`.
    pub(crate) tty: String,
    /// The module's line has the option `observe`.
    pub(crate) line_observes: bool,
}

impl PamItems {
    /// The denial for an item that is longer than [`MAX_ITEM_BYTES`].
    pub(crate) fn too_long(&self) -> Option<String> {
        let items = [&self.service, &self.user, &self.ruser, &self.tty];
        let long = items.iter().any(|item| item.len() > MAX_ITEM_BYTES);
        long.then(|| "jit: refused: a PAM item is too long.".to_owned())
    }
}

/// Why the caller of the gate cannot be identified.
#[derive(Debug, thiserror::Error)]
enum LookError {
    /// `/proc` cannot be read.
    #[error("the caller cannot be read: {0}")]
    Caller(io::Error),
    /// The pidfd is not of the process that connected.
    #[error("process {caller} speaks for process {process}")]
    ForAnother { caller: u32, process: u32 },
    /// NSS failed.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// The parts that the gate uses.
#[derive(Clone)]
pub struct GateService {
    engine: Handle,
    lookup: Arc<IdentityCache>,
}

impl GateService {
    /// The channels to the engine and to NSS.
    #[must_use]
    pub fn new(engine: Handle, clock: Clock) -> Self {
        Self { engine, lookup: Arc::new(IdentityCache::new(clock)) }
    }

    /// Asks the engine. Every error is a denial that says so.
    pub(crate) async fn query(&self, stage: Stage, caller_pid: u32, pidfd: StdFd, items: PamItems) -> Answer {
        let name = items.service.clone();
        let refused = |why: &dyn fmt::Display| {
            warn!("a call of the gate is denied: {why}");
            denied(vec![format!("jit: {name} is refused: {why}.")])
        };
        let query = match self.look(stage, caller_pid, &pidfd, items).await {
            Ok(query) => query,
            Err(why) => return refused(&why),
        };
        let (main, uid) = (query.process.main, query.process.real_uid);
        // The module shows nothing in pkexec.
        let tell = |lines: &[String]| {
            if name == SERVICE_PKEXEC {
                polkit::tell(uid, main.pid, lines);
            }
        };
        let pidfd = matches!(stage, Stage::Enter { .. }).then_some(pidfd);
        match self.engine.decide(query, pidfd).await {
            Ok(Verdict::Allowed) => {
                if !matches!(stage, Stage::Enter { .. }) {
                    self.look_for_log(main);
                }
                (OUTCOME_ALLOWED.to_owned(), Vec::new(), HashMap::new())
            }
            Ok(Verdict::Observed(lines)) => {
                tell(&lines);
                (OUTCOME_ALLOWED.to_owned(), lines, HashMap::new())
            }
            Ok(Verdict::Denied(lines)) => {
                tell(&lines);
                denied(lines)
            }
            Err(stopped) => refused(&stopped),
        }
    }

    /// Looks for an I/O log of this sudo, which sudo opens between the two stages; after the answer, so that no sudo
    /// waits for it.
    fn look_for_log(&self, main: MainProcess) {
        let engine = self.engine.clone();
        tokio::spawn(async move {
            tokio::task::yield_now().await;
            let folder = process::io_log(main.pid);
            if let Some(folder) =
                folder.filter(|_| process::start_of(main.pid).is_ok_and(|start| start == main.start))
            {
                // An engine that has stopped records nothing.
                let _ = engine.tell(Input::LogFound(main, folder)).await;
            }
        });
    }

    async fn look(
        &self,
        stage: Stage,
        caller_pid: u32,
        pidfd: &StdFd,
        items: PamItems,
    ) -> Result<AccessQuery, LookError> {
        let entering = matches!(stage, Stage::Enter { .. });
        let detail = if entering { Detail::Whole } else { Detail::Known };
        let process = process::read(pidfd.as_fd(), detail).map_err(LookError::Caller)?;
        if process.main.pid != caller_pid {
            return Err(LookError::ForAnother { caller: caller_pid, process: process.main.pid });
        }
        let user = self.lookup.named(&items.user).await?;
        let group = self.group(&process).await;
        let own_groups = match (&group, &user) {
            (GroupAsked::Group { .. }, Named::Account(account)) => {
                self.lookup.person(account.uid).await?.map(|person| person.groups).unwrap_or_default()
            }
            _ => BTreeSet::new(),
        };
        Ok(AccessQuery {
            stage,
            person: self.lookup.person(process.real_uid).await?,
            group,
            own_groups,
            process,
            user,
            ruser: self.lookup.named(&items.ruser).await?,
            // pkexec sets no PAM_TTY.
            tty: match items.service == SERVICE_PKEXEC && items.tty.is_empty() {
                true => process::terminal_of(caller_pid).unwrap_or_default(),
                false => items.tty,
            },
            service: items.service,
            line_observes: items.line_observes,
        })
    }
}

impl GateService {
    /// The group that a caller's command line requests.
    async fn group(&self, process: &Process) -> GroupAsked {
        // Without the executable the parser is unknown; sudo's rules find the most.
        let program = process::exe_of(process.main.pid).unwrap_or_default();
        let name = match group_option::asked(&program, &process.argv, process.argv_cut) {
            Asked::Nothing => return GroupAsked::Nothing,
            Asked::Unclear(why) => return GroupAsked::Unclear(why),
            Asked::Group(name) => name,
        };
        match self.lookup.group(&name).await {
            Ok(Some(gid)) => GroupAsked::Group { gid, name },
            Ok(None) => GroupAsked::Unclear(format!("there is no group {name:?}")),
            Err(why) => GroupAsked::Unclear(why.to_string()),
        }
    }
}

pub(crate) fn denied(lines: Vec<String>) -> Answer {
    (OUTCOME_DENIED.to_owned(), lines, HashMap::new())
}

pub(crate) fn tagged(options: &HashMap<String, OwnedVariant>) -> bool {
    is_set(options, OPTION_TAGGED)
}

pub(crate) fn line_observes(options: &HashMap<String, OwnedVariant>) -> bool {
    is_set(options, OPTION_OBSERVE)
}

fn is_set(options: &HashMap<String, OwnedVariant>, name: &str) -> bool {
    options.get(name).is_some_and(|value| bool::try_from(value) == Ok(true))
}
