//! Asks PID 1 for scopes, which it ends on its own if nobody else does (org.freedesktop.systemd1(5)).

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jit_proto::identity::SessionId;
use jit_proto::moment::micros;
use jit_proto::names::{SLICE, scope_name};
use tokio::sync::oneshot;
use zbus::{Connection, MatchRule, MessageStream, Variant};

/// A job that takes longer than this is not waited for.
const JOB_LIMIT: Duration = Duration::from_secs(10);
/// From PID 1's own SIGTERM to its SIGKILL, when it has to end a scope itself: the grace is over by then.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// PID 1 on the system bus.
#[derive(Clone)]
pub struct Systemd {
    bus: Connection,
    jobs: Arc<Mutex<Jobs>>,
}

/// Jobs that somebody waits for, and results that came before somebody did.
#[derive(Default)]
struct Jobs {
    waiting: HashMap<String, oneshot::Sender<String>>,
    early: Vec<(String, String)>,
}

/// Why there is no scope.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// PID 1 or the bus says no.
    #[error("PID 1 did not make {scope}: {error}")]
    Bus {
        /// Which scope.
        scope: String,
        /// What it said.
        #[source]
        error: zbus::Error,
    },
    /// The job came to another end.
    #[error("PID 1 did not make {scope}: its job ended as {result:?}")]
    Job {
        /// Which scope.
        scope: String,
        /// How it ended.
        result: String,
    },
    /// There is a unit of that name, and it is not active.
    #[error("PID 1 has not got rid of the {scope} before yet")]
    Stale {
        /// Which scope.
        scope: String,
    },
}

impl Systemd {
    /// Starts to listen for the ends of jobs.
    ///
    /// # Errors
    /// When the bus refuses the match rule.
    pub async fn on(bus: Connection) -> zbus::Result<Self> {
        let rule = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender("org.freedesktop.systemd1")
            .path("/org/freedesktop/systemd1")
            .interface("org.freedesktop.systemd1.Manager")
            .member("JobRemoved")
            .build()?;
        let mut stream = MessageStream::for_match_rule(rule, &bus, NonZeroUsize::new(256)).await?;
        let jobs = Arc::new(Mutex::new(Jobs::default()));
        let ended = Arc::clone(&jobs);
        tokio::spawn(async move {
            while let Some(message) = tokio_stream::StreamExt::next(&mut stream).await {
                let Ok(message) = message else { continue };
                let body = message.body();
                let Ok((_, job, unit, result)) =
                    body.deserialize::<(u32, zbus::OwnedObjectPath, String, String)>()
                else {
                    continue;
                };
                if unit.starts_with("jit-") {
                    lock(&ended).end(job.as_str(), result);
                }
            }
        });
        Ok(Self { bus, jobs })
    }

    /// Makes a session's scope and moves a process into it. Returns when it is there. Where the scope is there already,
    /// it stays as it is.
    ///
    /// One process and not all of them: of a list with one that has just ended systemd 252 moves the others and then
    /// gives the unit up, so that they are in a cgroup that PID 1 does not know (measured). The rest is moved here.
    ///
    /// # Errors
    /// When PID 1 does not make it, which it does not if the process is gone.
    pub async fn make_scope(
        &self,
        session: SessionId,
        generation: u32,
        pid: u32,
        last: Duration,
    ) -> Result<(), ScopeError> {
        let scope = scope_name(session, generation);
        let properties: Vec<(&str, Variant<'_>)> = vec![
            ("Description", Variant::from(format!("Just-in-time session {session}"))),
            ("Slice", Variant::from(SLICE)),
            ("PIDs", Variant::from(vec![pid])),
            ("Delegate", Variant::from(true)),
            ("CollectMode", Variant::from("inactive-or-failed")),
            ("SendSIGHUP", Variant::from(true)),
            ("TimeoutStopUSec", Variant::from(micros(STOP_LIMIT))),
            ("RuntimeMaxUSec", Variant::from(micros(last.max(Duration::from_secs(1))))),
        ];
        let bus_error = |error| ScopeError::Bus { scope: scope.clone(), error };
        let job = match self.start_transient(&scope, properties).await {
            Err(zbus::Error::MethodError(name, ..))
                if name.as_str() == "org.freedesktop.systemd1.UnitExists" =>
            {
                let active = self.is_active(&scope).await.map_err(bus_error)?;
                return if active { Ok(()) } else { Err(ScopeError::Stale { scope }) };
            }
            other => other.map_err(bus_error)?,
        };
        let result = self.end_of(job.as_str(), JOB_LIMIT).await;
        if result == "done" { Ok(()) } else { Err(ScopeError::Job { scope, result }) }
    }

    /// Asks for a unit of its own; returns the job that starts it.
    ///
    /// # Errors
    /// When PID 1 or the bus says no.
    pub async fn start_transient(
        &self,
        unit: &str,
        properties: Vec<(&str, Variant<'_>)>,
    ) -> zbus::Result<zbus::OwnedObjectPath> {
        let auxiliary: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
        let reply = self.manager("StartTransientUnit", &(unit, "fail", properties, auxiliary)).await?;
        reply.body().deserialize()
    }

    /// Under which invocation a session's scope runs, by which the journal knows what is in it (systemd.exec(5),
    /// `$INVOCATION_ID`): 32 hexadecimal digits. `None` where PID 1 gave it none.
    ///
    /// # Errors
    /// When there is no such unit, or PID 1 does not answer.
    pub async fn invocation(&self, session: SessionId, generation: u32) -> zbus::Result<Option<String>> {
        let id = self.property(&scope_name(session, generation), "Unit", "InvocationID").await?;
        let id = Vec::<u8>::try_from(id)?;
        Ok((id.len() == 16).then(|| hex::encode(id)))
    }

    /// Whether PID 1 holds this unit, and so its time limit.
    async fn is_active(&self, unit: &str) -> zbus::Result<bool> {
        let state = self.property(unit, "Unit", "ActiveState").await?;
        Ok(<&str>::try_from(&*state).is_ok_and(|state| state == "active"))
    }

    /// What PID 1 says of a unit that it holds.
    ///
    /// # Errors
    /// When it holds no such unit.
    pub async fn property(
        &self,
        unit: &str,
        interface: &str,
        name: &str,
    ) -> zbus::Result<zbus::OwnedVariant> {
        let reply = self.manager("GetUnit", &(unit,)).await?;
        let path: zbus::OwnedObjectPath = reply.body().deserialize()?;
        let properties = Some("org.freedesktop.DBus.Properties");
        let wanted = (format!("org.freedesktop.systemd1.{interface}"), name);
        let systemd = Some("org.freedesktop.systemd1");
        let reply = self.bus.call_method(systemd, path.as_str(), properties, "Get", &wanted).await?;
        reply.body().deserialize()
    }

    /// Lets go of a unit that was started with `AddRef`.
    ///
    /// # Errors
    /// When PID 1 or the bus says no.
    pub async fn unref(&self, unit: &str) -> zbus::Result<()> {
        self.manager("UnrefUnit", &(unit,)).await.map(drop)
    }

    async fn manager<B>(&self, method: &str, body: &B) -> zbus::Result<zbus::Message>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let systemd = Some("org.freedesktop.systemd1");
        let manager = Some("org.freedesktop.systemd1.Manager");
        self.bus.call_method(systemd, "/org/freedesktop/systemd1", manager, method, body).await
    }

    /// How a job ended, in PID 1's words; "no answer" where it did not within the limit.
    pub async fn end_of(&self, job: &str, limit: Duration) -> String {
        let receiver = match lock(&self.jobs).wait(job) {
            Ok(result) => return result,
            Err(receiver) => receiver,
        };
        let ended = tokio::time::timeout(limit, receiver).await;
        ended.ok().and_then(Result::ok).unwrap_or_else(|| "no answer".to_owned())
    }
}

impl Jobs {
    /// Results kept for somebody who has not asked yet.
    const MOST_EARLY: usize = 256;

    fn end(&mut self, job: &str, result: String) {
        if let Some(waiting) = self.waiting.remove(job) {
            // Whoever waited has given up.
            let _ = waiting.send(result);
            return;
        }
        if self.early.len() >= Self::MOST_EARLY {
            self.early.remove(0);
        }
        self.early.push((job.to_owned(), result));
    }

    fn wait(&mut self, job: &str) -> Result<String, oneshot::Receiver<String>> {
        if let Some(at) = self.early.iter().position(|(early, _)| early == job) {
            return Ok(self.early.swap_remove(at).1);
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(job.to_owned(), sender);
        Err(receiver)
    }
}

fn lock(jobs: &Mutex<Jobs>) -> std::sync::MutexGuard<'_, Jobs> {
    jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
