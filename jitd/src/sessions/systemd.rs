//! Asks PID 1 for scopes, which PID 1 ends by itself at their deadline (org.freedesktop.systemd1(5)).

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jit_proto::bus::names::{SLICE, scope_name, session_of_scope};
use jit_proto::identity::SessionId;
use jit_proto::time::micros;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use zbus::{Connection, MatchRule, MessageStream, OwnedVariant, Variant};

use super::limit::{Held, STOP_LIMIT};

/// The timeout of a job.
const JOB_LIMIT: Duration = Duration::from_secs(10);

/// PID 1's error for an unknown unit.
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// PID 1 on the system bus.
#[derive(Clone)]
pub struct Systemd {
    bus: Connection,
    jobs: Arc<Mutex<Jobs>>,
}

/// Jobs with a waiting task, and results that arrived before their task waited.
#[derive(Default)]
struct Jobs {
    waiting: HashMap<String, oneshot::Sender<String>>,
    early: Vec<(String, String)>,
}

/// Why a scope was not made.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// PID 1 or the bus returned an error.
    #[error("PID 1 did not make {scope}: {error}")]
    Bus {
        /// The scope.
        scope: String,
        /// The error.
        #[source]
        error: zbus::Error,
    },
    /// The job ended without success.
    #[error("PID 1 did not make {scope}: its job ended as {result:?}")]
    Job {
        /// The scope.
        scope: String,
        /// The result of the job.
        result: String,
    },
    /// A unit of that name exists and is not active.
    #[error("PID 1 still has an earlier {scope}")]
    Stale {
        /// The scope.
        scope: String,
    },
}

impl Systemd {
    /// Subscribes to the ends of jobs.
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

    /// Makes a session's scope with one process, and returns when it is active. An existing scope stays as it is.
    /// Returns the deadline that it was made with, in microseconds, or `None` if it existed.
    ///
    /// One process and not all: given a list with one that has just exited, systemd 252 moves the others and then drops
    /// the unit, which leaves them in a cgroup that PID 1 does not know (measured). The others are moved afterwards.
    ///
    /// # Errors
    /// When PID 1 does not make it, as when the process has exited.
    pub async fn make_scope(
        &self,
        session: SessionId,
        generation: u32,
        pid: u32,
        last: Duration,
    ) -> Result<Option<u64>, ScopeError> {
        let runtime_max = micros(last.max(Duration::from_secs(1)));
        let scope = scope_name(session, generation);
        let properties: Vec<(&str, Variant<'_>)> = vec![
            ("Description", Variant::from(format!("Just-in-time session {session}"))),
            ("Slice", Variant::from(SLICE)),
            ("PIDs", Variant::from(vec![pid])),
            ("Delegate", Variant::from(true)),
            ("CollectMode", Variant::from("inactive-or-failed")),
            ("SendSIGHUP", Variant::from(true)),
            ("TimeoutStopUSec", Variant::from(micros(STOP_LIMIT))),
            ("RuntimeMaxUSec", Variant::from(runtime_max)),
        ];
        let bus_error = |error| ScopeError::Bus { scope: scope.clone(), error };
        let job = match self.start_transient(&scope, properties).await {
            Err(zbus::Error::MethodError(name, ..))
                if name.as_str() == "org.freedesktop.systemd1.UnitExists" =>
            {
                let active = self.is_active(&scope).await.map_err(bus_error)?;
                return if active { Ok(None) } else { Err(ScopeError::Stale { scope }) };
            }
            other => other.map_err(bus_error)?,
        };
        let result = self.end_of(job.as_str(), JOB_LIMIT).await;
        if result == "done" { Ok(Some(runtime_max)) } else { Err(ScopeError::Job { scope, result }) }
    }

    /// Starts a transient unit; returns its start job.
    ///
    /// # Errors
    /// When PID 1 or the bus returns an error.
    pub async fn start_transient(
        &self,
        unit: &str,
        properties: Vec<(&str, Variant<'_>)>,
    ) -> zbus::Result<zbus::OwnedObjectPath> {
        let auxiliary: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
        let reply = self.manager("StartTransientUnit", &(unit, "fail", properties, auxiliary)).await?;
        reply.body().deserialize()
    }

    /// The invocation of a session's scope, by which the journal knows its messages (systemd.exec(5),
    /// `$INVOCATION_ID`): 32 hexadecimal digits. `None` where PID 1 gave it none.
    ///
    /// # Errors
    /// When PID 1 does not know the unit, or does not answer.
    pub async fn invocation(&self, session: SessionId, generation: u32) -> zbus::Result<Option<String>> {
        let id = self.property(&scope_name(session, generation), "Unit", "InvocationID").await?;
        let id = Vec::<u8>::try_from(id)?;
        Ok((id.len() == 16).then(|| hex::encode(id)))
    }

    /// PID 1's properties of a scope; `None` for an unknown unit.
    ///
    /// # Errors
    /// When PID 1 or the bus returns an error.
    pub(super) async fn held(&self, scope: &str) -> zbus::Result<Option<Held>> {
        let reply = match self.manager("GetUnit", &(scope,)).await {
            Err(zbus::Error::MethodError(name, ..)) if name.as_str() == NO_SUCH_UNIT => return Ok(None),
            other => other?,
        };
        let path: zbus::OwnedObjectPath = reply.body().deserialize()?;
        let unit = self.all_properties(path.as_str(), "Unit").await?;
        let own = self.all_properties(path.as_str(), "Scope").await?;
        let held = || -> Option<Held> {
            Some(Held {
                active_state: text(&unit, "ActiveState")?,
                sub_state: text(&unit, "SubState")?,
                fragment_path: text(&unit, "FragmentPath")?,
                drop_in_paths: Vec::<String>::try_from(unit.get("DropInPaths")?.try_clone().ok()?).ok()?,
                need_daemon_reload: bool::try_from(unit.get("NeedDaemonReload")?).ok()?,
                active_enter: u64::try_from(unit.get("ActiveEnterTimestampMonotonic")?).ok()?,
                control_group: text(&own, "ControlGroup")?,
                runtime_max: u64::try_from(own.get("RuntimeMaxUSec")?).ok()?,
                // Since systemd 250.
                runtime_extra: own
                    .get("RuntimeRandomizedExtraUSec")
                    .map_or(Some(0), |v| u64::try_from(v).ok())?,
                timeout_stop: u64::try_from(own.get("TimeoutStopUSec")?).ok()?,
                kill_mode: text(&own, "KillMode")?,
                kill_signal: i32::try_from(own.get("KillSignal")?).ok()?,
                final_kill_signal: i32::try_from(own.get("FinalKillSignal")?).ok()?,
                send_sigkill: bool::try_from(own.get("SendSIGKILL")?).ok()?,
            })
        };
        held()
            .map(Some)
            .ok_or_else(|| zbus::Error::Failure(format!("PID 1 did not return every property of {scope}")))
    }

    async fn all_properties(
        &self,
        path: &str,
        interface: &str,
    ) -> zbus::Result<HashMap<String, OwnedVariant>> {
        let interface = format!("org.freedesktop.systemd1.{interface}");
        let properties = Some("org.freedesktop.DBus.Properties");
        let systemd = Some("org.freedesktop.systemd1");
        let reply = self.bus.call_method(systemd, path, properties, "GetAll", &(interface,)).await?;
        reply.body().deserialize()
    }

    /// Whether PID 1 has a unit from a file; what is not told is no. It is asked what it has loaded, and not what lies on the
    /// disk, which it may not have read yet.
    pub async fn has_file(&self, unit: &str) -> bool {
        let fragment = async {
            let path: zbus::OwnedObjectPath =
                self.manager("LoadUnit", &(unit,)).await?.body().deserialize()?;
            let unit = self.all_properties(path.as_str(), "Unit").await?;
            zbus::Result::Ok(text(&unit, "FragmentPath"))
        };
        fragment.await.is_ok_and(|fragment| fragment.is_some_and(|path| !path.is_empty()))
    }

    /// Stops a unit in any state. A missing unit is no error.
    ///
    /// # Errors
    /// When PID 1 or the bus returns an error.
    pub async fn stop(&self, unit: &str) -> zbus::Result<()> {
        match self.manager("StopUnit", &(unit, "replace")).await {
            Err(zbus::Error::MethodError(name, ..)) if name.as_str() == NO_SUCH_UNIT => Ok(()),
            other => other.map(drop),
        }
    }

    /// Subscribes to changes of units, and reports which sessions' scopes changed: `None` for all.
    ///
    /// # Errors
    /// When the bus refuses a match rule, or PID 1 the subscription.
    pub async fn changes(&self, sender: mpsc::Sender<Option<SessionId>>) -> zbus::Result<()> {
        let rule =
            || MatchRule::builder().msg_type(zbus::message::Type::Signal).sender("org.freedesktop.systemd1");
        let manager = "org.freedesktop.systemd1.Manager";
        let rules = [
            rule().interface(manager).member("Reloading").build()?,
            rule().interface(manager).member("UnitRemoved").build()?,
            // Each change of a scope's state.
            rule()
                .interface("org.freedesktop.DBus.Properties")
                .member("PropertiesChanged")
                .arg(0, "org.freedesktop.systemd1.Scope")
                .build()?,
        ];
        for rule in rules {
            let mut stream = MessageStream::for_match_rule(rule, &self.bus, NonZeroUsize::new(256)).await?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Some(message) = tokio_stream::StreamExt::next(&mut stream).await {
                    let Ok(message) = message else { continue };
                    let Some(about) = changed(&message) else { continue };
                    if sender.send(about).await.is_err() {
                        return;
                    }
                }
            });
        }
        // Without a subscriber PID 1 sends no signals about units.
        self.manager("Subscribe", &()).await.map(drop)
    }

    /// Whether the unit is active in PID 1, so that its deadline holds.
    async fn is_active(&self, unit: &str) -> zbus::Result<bool> {
        let state = self.property(unit, "Unit", "ActiveState").await?;
        Ok(<&str>::try_from(&*state).is_ok_and(|state| state == "active"))
    }

    /// A property of a loaded unit.
    ///
    /// # Errors
    /// When PID 1 holds no such unit.
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

    /// Releases a unit that was started with `AddRef`.
    ///
    /// # Errors
    /// When PID 1 or the bus returns an error.
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

    /// The result of a job in PID 1's terms; "no answer" after the timeout.
    pub async fn end_of(&self, job: &str, limit: Duration) -> String {
        let receiver = match lock(&self.jobs).wait(job) {
            Ok(result) => return result,
            Err(receiver) => receiver,
        };
        let ended = tokio::time::timeout(limit, receiver).await;
        ended.ok().and_then(Result::ok).unwrap_or_else(|| "no answer".to_owned())
    }
}

/// What a signal of PID 1 concerns: nothing of jitd's, one session's scope, or all of them.
fn changed(message: &zbus::Message) -> Option<Option<SessionId>> {
    let header = message.header();
    let body = message.body();
    match header.member()?.as_str() {
        // The argument is true when a reload begins.
        "Reloading" => body.deserialize::<bool>().ok().filter(|begins| !begins).map(|_| None),
        "UnitRemoved" => {
            let (unit, _): (String, zbus::OwnedObjectPath) = body.deserialize().ok()?;
            session_of_scope(&unit).map(|(session, _)| Some(session))
        }
        _ => {
            let path = header.path()?.as_str().strip_prefix("/org/freedesktop/systemd1/unit/")?;
            let unit = path.replace("_2d", "-").replace("_2e", ".");
            session_of_scope(&unit).map(|(session, _)| Some(session))
        }
    }
}

fn text(properties: &HashMap<String, OwnedVariant>, name: &str) -> Option<String> {
    <&str>::try_from(&**properties.get(name)?).ok().map(str::to_owned)
}

impl Jobs {
    /// Results that are kept until a task asks for them.
    const MAX_EARLY: usize = 256;

    fn end(&mut self, job: &str, result: String) {
        if let Some(waiting) = self.waiting.remove(job) {
            // The waiting task has given up.
            let _ = waiting.send(result);
            return;
        }
        if self.early.len() >= Self::MAX_EARLY {
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
