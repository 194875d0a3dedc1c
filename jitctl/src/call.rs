//! Calls to the daemon, over the operators' socket or the system bus, one function a method.

use std::time::Duration;

use jit_proto::audit::chain::Head;
use jit_proto::audit::filter::Filter;
use jit_proto::audit::hash::RecordHash;
use jit_proto::bus::dict::{Dict, from_dict, to_dict};
use jit_proto::bus::names::{
    AUDIT_INTERFACE, BUS_NAME, MANAGER_INTERFACE, OBJECT_PATH, OPERATOR_SOCKET, SYSTEM_BUS_ADDRESS,
};
use jit_proto::bus::view::{
    GrantView, ProblemView, RecordView, RequestView, RoleView, SealView, SessionView, StatusView, VerifyView,
};
use jit_proto::time::micros;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use zbus::connection::Builder;
use zbus::{Connection, DynamicType, Fd, OwnedVariant, Variant};

use crate::failure::{Failure, NO_REPLY, no_answer, no_bus, of_call};

/// How long a call may take. The daemon answers within milliseconds; this is for one that hangs.
const REPLY_WITHIN: Duration = Duration::from_secs(30);
/// Verifying reads every record there is.
const VERIFIED_WITHIN: Duration = Duration::from_secs(600);
/// Searching a text may read every record there is, and the first search may have to make the index.
const FOUND_WITHIN: Duration = Duration::from_secs(120);
/// How long the other end may take to say hello; zbus itself would wait for ever.
const CONNECTED_WITHIN: Duration = Duration::from_secs(2);
/// When no answer has come for so long, the daemon is asked whether it is there at all.
const SILENT_FOR: Duration = Duration::from_secs(2);
/// A daemon that is there answers that at once, whatever else it does.
const PONG_WITHIN: Duration = Duration::from_secs(2);

/// Over the bus to the daemon and back is as long as so many round trips to the bus, at most.
const HOPS: u32 = 10;

/// Most records that one `Read` answers with.
pub(crate) const MAX_RECORDS: u64 = 1000;

/// A request and the grant that came of it, as `Show` answers; either may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShowView {
    /// The request; none where an operator gave the grant without one.
    pub(crate) request: Option<RequestView>,
    /// The grant; none as long as the request is not approved.
    pub(crate) grant: Option<GrantView>,
}

/// The policy in force, as `PolicyShow` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PolicyView {
    /// SHA-256 of it, in hex.
    pub(crate) digest: String,
    /// When it was loaded.
    pub(crate) loaded_at: u64,
    /// Ceiling over every role.
    pub(crate) max_duration_seconds: u64,
    /// How long a request waits for its approvals.
    pub(crate) request_expiry_seconds: u64,
    /// From SIGTERM to SIGKILL at the end of a session.
    pub(crate) grace_seconds: u64,
    /// How long before the end of a window its holder is told, in seconds.
    pub(crate) warn_before_seconds: Vec<u64>,
    /// Who may grant and revoke.
    pub(crate) operators: Vec<String>,
    /// Who may read the audit record.
    pub(crate) auditors: Vec<String>,
    /// Whether approvals and grants count that come from no login session.
    #[serde(default)]
    pub(crate) approve_without_login: bool,
    /// Whether they count from another account than the one that logged in.
    #[serde(default)]
    pub(crate) approve_as_another_account: bool,
    /// Rules of alerts that are switched off.
    pub(crate) alerts_off: Vec<String>,
    /// How people are told: a program, addresses.
    pub(crate) told: Vec<String>,
    /// Every role.
    pub(crate) roles: Vec<RoleView>,
}

/// What somebody asks for.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) role: &'a str,
    /// None for the role's default.
    pub(crate) duration: Option<Duration>,
    pub(crate) reason: &'a str,
    pub(crate) ticket: Option<&'a str>,
}

/// The daemon, as this process reaches it.
#[derive(Debug)]
pub(crate) struct Daemon {
    connection: Connection,
}

impl Daemon {
    /// Connects; whether the daemon is on the bus shows at the first call.
    pub(crate) async fn reach() -> Result<Self, Failure> {
        Self::reach_within(REPLY_WITHIN).await
    }

    /// Connects for a call that reads the whole record.
    pub(crate) async fn reach_for_verification() -> Result<Self, Failure> {
        Self::reach_within(VERIFIED_WITHIN).await
    }

    /// Connects for searches, one of which may have to look into every text there is.
    pub(crate) async fn reach_for_search() -> Result<Self, Failure> {
        Self::reach_within(FOUND_WITHIN).await
    }

    /// Connects to the system bus, which tells of changes also when the daemon has been away.
    pub(crate) async fn reach_on_the_bus() -> Result<Self, Failure> {
        Self::reach_over_the_bus(REPLY_WITHIN).await
    }

    /// Root and operators have a socket of their own, which nobody else can flood; everybody else has the bus.
    async fn reach_within(reply: Duration) -> Result<Self, Failure> {
        match operators_socket(reply).await? {
            Some(connection) => Ok(Self { connection }),
            None => Self::reach_over_the_bus(reply).await,
        }
    }

    async fn reach_over_the_bus(reply: Duration) -> Result<Self, Failure> {
        let building = Builder::address(SYSTEM_BUS_ADDRESS).method_timeout(reply).build();
        let connection = tokio::time::timeout(CONNECTED_WITHIN, building)
            .await
            .map_err(|_| no_bus(&format!("no answer within {} seconds", CONNECTED_WITHIN.as_secs())))??;
        Ok(Self { connection })
    }

    /// The connection, for signals.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) async fn request(&self, wish: &Wish<'_>) -> Result<u64, Failure> {
        let body =
            (wish.role, span(wish.duration), wish.reason, wish.ticket.unwrap_or_default(), Dict::new());
        self.manage("Request", &body).await
    }

    pub(crate) async fn cancel(&self, id: u64) -> Result<(), Failure> {
        self.manage("Cancel", &(id, Dict::new())).await
    }

    pub(crate) async fn approve(
        &self,
        id: u64,
        duration: Option<Duration>,
        comment: Option<&str>,
    ) -> Result<RequestView, Failure> {
        let mut options = Dict::new();
        if let Some(duration) = duration {
            options.insert("duration".to_owned(), value(micros(duration))?);
        }
        if let Some(comment) = comment {
            options.insert("comment".to_owned(), value(comment)?);
        }
        view("Approve", self.manage("Approve", &(id, options)).await?)
    }

    pub(crate) async fn deny(&self, id: u64, reason: &str) -> Result<(), Failure> {
        self.manage("Deny", &(id, reason, Dict::new())).await
    }

    /// Hands a grant back; without a number, the only one the caller holds.
    pub(crate) async fn release(&self, grant: Option<u64>) -> Result<u64, Failure> {
        self.manage("Release", &(grant.unwrap_or(0), Dict::new())).await
    }

    /// Asks for more of a window, or gives it; returns the number of the request or of the grant.
    pub(crate) async fn extend(
        &self,
        grant: u64,
        duration: Option<Duration>,
        reason: &str,
        ticket: Option<&str>,
    ) -> Result<u64, Failure> {
        let mut options = Dict::new();
        if let Some(ticket) = ticket {
            options.insert("ticket".to_owned(), value(ticket)?);
        }
        self.manage("Extend", &(grant, span(duration), reason, options)).await
    }

    pub(crate) async fn grant(&self, user: &str, wish: &Wish<'_>) -> Result<u64, Failure> {
        let mut options = Dict::new();
        if let Some(ticket) = wish.ticket {
            options.insert("ticket".to_owned(), value(ticket)?);
        }
        self.manage("Grant", &(user, wish.role, span(wish.duration), wish.reason, options)).await
    }

    pub(crate) async fn revoke(&self, grant: u64, reason: &str) -> Result<(), Failure> {
        self.manage("Revoke", &(grant, reason, Dict::new())).await
    }

    pub(crate) async fn revoke_user(&self, user: &str, reason: &str) -> Result<Vec<u64>, Failure> {
        self.manage("RevokeUser", &(user, reason, Dict::new())).await
    }

    pub(crate) async fn revoke_all(&self, reason: &str) -> Result<Vec<u64>, Failure> {
        self.manage("RevokeAll", &(reason, Dict::new())).await
    }

    pub(crate) async fn pending(&self) -> Result<Vec<RequestView>, Failure> {
        views("Pending", self.manage("Pending", &()).await?)
    }

    pub(crate) async fn show(&self, id: u64) -> Result<ShowView, Failure> {
        view("Show", self.manage("Show", &id).await?)
    }

    pub(crate) async fn grants(&self) -> Result<Vec<GrantView>, Failure> {
        views("Grants", self.manage("Grants", &()).await?)
    }

    pub(crate) async fn sessions(&self) -> Result<Vec<SessionView>, Failure> {
        views("Sessions", self.manage("Sessions", &()).await?)
    }

    pub(crate) async fn roles(&self) -> Result<Vec<RoleView>, Failure> {
        views("Roles", self.manage("Roles", &()).await?)
    }

    pub(crate) async fn status(&self) -> Result<StatusView, Failure> {
        view("Status", self.manage("Status", &()).await?)
    }

    pub(crate) async fn policy_check(&self) -> Result<Vec<ProblemView>, Failure> {
        views("PolicyCheck", self.manage("PolicyCheck", &()).await?)
    }

    pub(crate) async fn policy_show(&self) -> Result<PolicyView, Failure> {
        view("PolicyShow", self.manage("PolicyShow", &()).await?)
    }

    /// Records from a number on, or the last ones if that is 0; at most [`MAX_RECORDS`].
    pub(crate) async fn read(&self, from: u64, limit: u64) -> Result<Vec<RecordView>, Failure> {
        views("Read", self.call(AUDIT_INTERFACE, "Read", &(from, limit)).await?)
    }

    /// Records that match, from a number on, or the last ones if that is 0; at most [`MAX_RECORDS`].
    pub(crate) async fn search(
        &self,
        filter: &Filter,
        from: u64,
        limit: u64,
    ) -> Result<Vec<RecordView>, Failure> {
        let filter = to_dict(filter).map_err(|why| Failure::strange_answer("the filter", &why))?;
        views("Search", self.call(AUDIT_INTERFACE, "Search", &(filter, from, limit)).await?)
    }

    /// The name that the host's records are found under.
    pub(crate) async fn host(&self) -> Result<String, Failure> {
        let properties = "org.freedesktop.DBus.Properties";
        let value: OwnedVariant = self.call(properties, "Get", &(AUDIT_INTERFACE, "Host")).await?;
        match &*value {
            Variant::Str(name) => Ok(name.as_str().to_owned()),
            other => Err(Failure::strange_answer("Host", &other.value_signature())),
        }
    }

    pub(crate) async fn verify(&self) -> Result<VerifyView, Failure> {
        view("Verify", self.call(AUDIT_INTERFACE, "Verify", &()).await?)
    }

    /// The end of the chain as the running daemon knows it.
    pub(crate) async fn head(&self) -> Result<Head, Failure> {
        let (seq, hash): (u64, String) = self.call(AUDIT_INTERFACE, "Head", &()).await?;
        let hash = RecordHash::parse(&hash).ok_or_else(|| Failure::strange_answer("Head", &hash))?;
        Ok(Head { seq, hash })
    }

    /// Begins a seal; its first key is written into the pipe.
    pub(crate) async fn seal(&self, key_out: Fd<'_>, rotate: bool) -> Result<SealView, Failure> {
        let options = Dict::from([("rotate".to_owned(), value(rotate)?)]);
        view("Seal", self.call(AUDIT_INTERFACE, "Seal", &(key_out, options)).await?)
    }

    /// Whom calls are for: on the bus a name, on a socket whoever is at the other end.
    fn name(&self) -> Option<&'static str> {
        self.connection.is_bus().then_some(BUS_NAME)
    }

    /// Whether the daemon answers anything at all. A refusal is an answer too.
    async fn is_there(&self) -> Result<(), Failure> {
        let peer = "org.freedesktop.DBus.Peer";
        let ping = self.connection.call_method(self.name(), OBJECT_PATH, Some(peer), "Ping", &());
        let patience = if self.connection.is_bus() { self.round_trip().await * HOPS } else { Duration::ZERO };
        match tokio::time::timeout(PONG_WITHIN.max(patience), ping).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(zbus::Error::MethodError(name, ..))) if name.as_str() != NO_REPLY => Ok(()),
            Ok(Err(other)) => Err(of_call(other, self.connection.is_bus())),
            Err(_) => Err(no_answer()),
        }
    }

    /// How long the bus itself takes to answer: where somebody floods it, everybody's answers take long, and the daemon is
    /// not to blame.
    async fn round_trip(&self) -> Duration {
        let begun = tokio::time::Instant::now();
        let bus = "org.freedesktop.DBus";
        // That it has failed says as much as an answer.
        let _ =
            self.connection.call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "GetId", &()).await;
        begun.elapsed()
    }

    async fn manage<B, R>(&self, method: &str, body: &B) -> Result<R, Failure>
    where
        B: Serialize + DynamicType,
        R: for<'d> zbus::wire::DynamicDeserialize<'d>,
    {
        self.call(MANAGER_INTERFACE, method, body).await
    }

    async fn call<B, R>(&self, interface: &str, method: &str, body: &B) -> Result<R, Failure>
    where
        B: Serialize + DynamicType,
        R: for<'d> zbus::wire::DynamicDeserialize<'d>,
    {
        let call = self.connection.call_method(self.name(), OBJECT_PATH, Some(interface), method, body);
        tokio::pin!(call);
        let reply = match tokio::time::timeout(SILENT_FOR, &mut call).await {
            Ok(reply) => reply,
            Err(_) => {
                self.is_there().await?;
                call.await
            }
        };
        let reply = reply.map_err(|found| of_call(found, self.connection.is_bus()))?;
        reply.body().deserialize().map_err(|why| Failure::strange_answer(method, &why))
    }
}

/// A connection over the operators' socket; `None` where this is not for us, or nobody is there.
async fn operators_socket(reply: Duration) -> Result<Option<Connection>, Failure> {
    let Ok(stream) = UnixStream::connect(OPERATOR_SOCKET).await else { return Ok(None) };
    // Whoever is not root has no business at the other end.
    if !stream.peer_cred().is_ok_and(|peer| peer.uid() == 0) {
        return Ok(None);
    }
    let Ok(stream) = stream.into_std() else { return Ok(None) };
    let building = Builder::unix_stream(stream).p2p().method_timeout(reply).build();
    match tokio::time::timeout(CONNECTED_WITHIN, building).await {
        Ok(Ok(connection)) => Ok(Some(connection)),
        // All its places may be taken; the bus has others.
        Ok(Err(_)) => Ok(None),
        Err(_) => Err(no_answer()),
    }
}

/// A span as the bus carries it; 0 stands for the role's default, which no span that was asked for is.
fn span(duration: Option<Duration>) -> u64 {
    duration.map_or(0, micros)
}

fn value<'a>(value: impl Into<Variant<'a>>) -> Result<OwnedVariant, Failure> {
    Ok(OwnedVariant::try_from(value.into())?)
}

fn view<T: DeserializeOwned>(method: &str, dict: Dict) -> Result<T, Failure> {
    from_dict(dict).map_err(|why| Failure::strange_answer(method, &why))
}

fn views<T: DeserializeOwned>(method: &str, dicts: Vec<Dict>) -> Result<Vec<T>, Failure> {
    dicts.into_iter().map(|dict| view(method, dict)).collect()
}
