//! Calls to the daemon, over the operators' socket or the system bus, one function per method.

use std::time::Duration;

use jit_proto::audit::filter::Filter;
use jit_proto::bus::dict::{Dict, from_dict, to_dict};
use jit_proto::bus::names::{
    AUDIT_INTERFACE, BUS_NAME, MANAGER_INTERFACE, OBJECT_PATH, OPERATOR_SOCKET, SYSTEM_BUS_ADDRESS,
};
use jit_proto::bus::view::{
    GrantView, ProblemView, RecordView, RequestView, RoleView, SessionView, StatusView,
};
use jit_proto::time::micros;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use zbus::connection::Builder;
use zbus::{Connection, DynamicType, OwnedVariant, Variant};

use crate::failure::{Failure, NO_REPLY, no_answer, no_bus, of_call};

/// Timeout of a call. The daemon answers within milliseconds unless it hangs.
const REPLY_WITHIN: Duration = Duration::from_secs(30);
/// Timeout of a verification, which reads every record.
const VERIFIED_WITHIN: Duration = Duration::from_secs(600);
/// Timeout of a search, which may read every record; the first one may have to make the index.
const FOUND_WITHIN: Duration = Duration::from_secs(120);
/// Timeout of the handshake; zbus itself has none.
const CONNECTED_WITHIN: Duration = Duration::from_secs(2);
/// After this time without an answer, the daemon is pinged.
const SILENT_FOR: Duration = Duration::from_secs(2);
/// Timeout of that ping, which a running daemon answers at once.
const PONG_WITHIN: Duration = Duration::from_secs(2);

/// A call to the daemon over the bus takes at most as long as this many round trips to the bus.
const HOPS: u32 = 10;

/// Maximum number of records in one answer of `Read`.
pub(crate) const MAX_RECORDS: u64 = 1000;

/// A request and its grant, as `Show` returns them; either may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShowView {
    /// The request; `None` if an operator granted without one.
    pub(crate) request: Option<RequestView>,
    /// The grant; `None` while the request is not approved.
    pub(crate) grant: Option<GrantView>,
}

/// A connection to the daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    connection: Connection,
}

impl Daemon {
    /// Connects; whether the daemon is running is known after the first call.
    pub(crate) async fn reach() -> Result<Self, Failure> {
        Self::reach_within(REPLY_WITHIN).await
    }

    /// Connects for a call that reads the whole audit log.
    pub(crate) async fn reach_for_verification() -> Result<Self, Failure> {
        Self::reach_within(VERIFIED_WITHIN).await
    }

    /// Connects for searches, which may read every text.
    pub(crate) async fn reach_for_search() -> Result<Self, Failure> {
        Self::reach_within(FOUND_WITHIN).await
    }

    /// Connects to the system bus, whose signals also arrive after an absence of the daemon.
    pub(crate) async fn reach_on_the_bus() -> Result<Self, Failure> {
        Self::reach_over_the_bus(REPLY_WITHIN).await
    }

    /// Root and operators use their own socket, which others cannot flood; everybody else uses the bus.
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

    /// What is wrong with the policy on disk.
    pub(crate) async fn policy_check(&self) -> Result<Vec<ProblemView>, Failure> {
        views("PolicyCheck", self.manage("PolicyCheck", &()).await?)
    }

    pub(crate) async fn status(&self) -> Result<StatusView, Failure> {
        view("Status", self.manage("Status", &()).await?)
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

    /// The host name for filters of this host's records.
    pub(crate) async fn host(&self) -> Result<String, Failure> {
        let properties = "org.freedesktop.DBus.Properties";
        let value: OwnedVariant = self.call(properties, "Get", &(AUDIT_INTERFACE, "Host")).await?;
        match &*value {
            Variant::Str(name) => Ok(name.as_str().to_owned()),
            other => Err(Failure::strange_answer("Host", &other.value_signature())),
        }
    }

    /// The destination of calls: a name on the bus, none on a socket.
    fn name(&self) -> Option<&'static str> {
        self.connection.is_bus().then_some(BUS_NAME)
    }

    /// Whether the daemon answers at all. A refusal is an answer too.
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

    /// The bus's own response time: on a flooded bus every answer is slow, whatever the daemon does.
    async fn round_trip(&self) -> Duration {
        let begun = tokio::time::Instant::now();
        let bus = "org.freedesktop.DBus";
        // An error takes as long as an answer.
        let _ =
            self.connection.call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "GetId", &()).await;
        begun.elapsed()
    }

    /// Calls a method of the Manager interface.
    pub(crate) async fn manage<B, R>(&self, method: &str, body: &B) -> Result<R, Failure>
    where
        B: Serialize + DynamicType,
        R: for<'d> zbus::wire::DynamicDeserialize<'d>,
    {
        self.call(MANAGER_INTERFACE, method, body).await
    }

    /// Calls a method of any of the daemon's interfaces.
    pub(crate) async fn call<B, R>(&self, interface: &str, method: &str, body: &B) -> Result<R, Failure>
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

/// A connection over the operators' socket; `None` if the caller may not use it, or nothing listens.
async fn operators_socket(reply: Duration) -> Result<Option<Connection>, Failure> {
    let Ok(stream) = UnixStream::connect(OPERATOR_SOCKET).await else { return Ok(None) };
    // The peer has to be root.
    if !stream.peer_cred().is_ok_and(|peer| peer.uid() == 0) {
        return Ok(None);
    }
    let Ok(stream) = stream.into_std() else { return Ok(None) };
    let building = Builder::unix_stream(stream).p2p().method_timeout(reply).build();
    match tokio::time::timeout(CONNECTED_WITHIN, building).await {
        Ok(Ok(connection)) => Ok(Some(connection)),
        // All its connections may be in use; the bus has others.
        Ok(Err(_)) => Ok(None),
        Err(_) => Err(no_answer()),
    }
}

/// A duration for the bus; 0 is the role's default, which no requested duration equals.
pub(crate) fn span(duration: Option<Duration>) -> u64 {
    duration.map_or(0, micros)
}

/// A value of a dictionary.
pub(crate) fn value<'a>(value: impl Into<Variant<'a>>) -> Result<OwnedVariant, Failure> {
    Ok(OwnedVariant::try_from(value.into())?)
}

/// The view in the answer to a method.
pub(crate) fn view<T: DeserializeOwned>(method: &str, dict: Dict) -> Result<T, Failure> {
    from_dict(dict).map_err(|why| Failure::strange_answer(method, &why))
}

/// The views in the answer to a method.
pub(crate) fn views<T: DeserializeOwned>(method: &str, dicts: Vec<Dict>) -> Result<Vec<T>, Failure> {
    dicts.into_iter().map(|dict| view(method, dict)).collect()
}
