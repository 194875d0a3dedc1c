//! The operators' socket: the interfaces of the system bus for root and the group jit-operators, beside the bus, so
//! that a flood of the bus delays no revocation.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use jit_proto::bus::names::{OBJECT_PATH, OPERATOR_SOCKET};
use jit_proto::identity::UserId;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};
use zbus::{Guid, OwnedGuid};

use super::audit::Audit;
use super::end::{End, Peer};
use super::intake::Intake;
use super::manager::Manager;
use super::stream::LimitedSocket;
use super::{signals, wait_for_end};
use crate::core::effect::Changed;
use crate::core::limits::Limited;
use crate::host::accept::Acceptor;
use crate::host::process;
use crate::limits::Counter;

/// Connections of all operators, without root's.
const MAX_CONNECTIONS: usize = 32;
/// Connections of one operator.
const MAX_OF_ONE: usize = 8;
/// Connections of root, in addition.
const MAX_OF_ROOT: usize = 16;
/// The timeout of a handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(1);

/// The parts that the socket uses.
#[derive(Clone)]
pub(super) struct Operators {
    pub(super) manager: Manager,
    pub(super) audit: Audit,
    pub(super) counter: Counter,
    pub(super) heads: watch::Receiver<u64>,
}

/// Accepts connections until jitd stops.
pub(super) async fn serve(
    listener: UnixListener,
    operators: Operators,
    changes: broadcast::Receiver<Changed>,
) {
    let mut acceptor = Acceptor::new(listener, OPERATOR_SOCKET);
    let guid = OwnedGuid::from(Guid::generate());
    let mut open: BTreeMap<UserId, usize> = BTreeMap::new();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            stream = acceptor.next() => {
                let peer = match peer_of(&stream) {
                    Ok(peer) => peer,
                    Err(error) => {
                        warn!("{OPERATOR_SOCKET}: {error}");
                        continue;
                    }
                };
                let uid = UserId(peer.uid);
                if !has_room(&open, uid) {
                    operators.counter.count(Some(uid), Limited::Operators);
                    continue;
                }
                *open.entry(uid).or_default() += 1;
                let (operators, changes, guid) = (operators.clone(), changes.resubscribe(), guid.clone());
                connections.spawn(async move {
                    if let Err(error) = one(stream, peer, operators, changes, guid).await {
                        debug!("a connection to {OPERATOR_SOCKET} failed: {error}");
                    }
                    uid
                });
            }
            Some(ended) = connections.join_next() => match ended {
                Ok(uid) => if let Some(count) = open.get_mut(&uid) {
                    *count -= 1;
                    open.retain(|_, count| *count > 0);
                },
                Err(error) => warn!("a connection to {OPERATOR_SOCKET} ended with an internal error: {error}"),
            },
        }
    }
}

fn has_room(open: &BTreeMap<UserId, usize>, uid: UserId) -> bool {
    let own = open.get(&uid).copied().unwrap_or(0);
    if uid.is_root() {
        return own < MAX_OF_ROOT;
    }
    let others: usize = open.iter().filter(|(uid, _)| !uid.is_root()).map(|(_, count)| count).sum();
    own < MAX_OF_ONE && others < MAX_CONNECTIONS
}

/// A pidfd of the process that connected (SO_PEERPIDFD, Linux 6.5); on older kernels, of the process that has its pid
/// now.
fn pidfd_of(stream: &UnixStream, peer: Peer) -> io::Result<OwnedFd> {
    match nix::sys::socket::getsockopt(stream, nix::sys::socket::sockopt::PeerPidfd) {
        Ok(pidfd) => Ok(pidfd),
        Err(nix::Error::ENOPROTOOPT) => process::open_pid(peer.pid),
        Err(error) => Err(error.into()),
    }
}

/// The peer's credentials, from the kernel (unix(7), SO_PEERCRED).
fn peer_of(stream: &UnixStream) -> io::Result<Peer> {
    let known = stream.peer_cred()?;
    let pid = known.pid().and_then(|pid| u32::try_from(pid).ok());
    let pid = pid.ok_or_else(|| io::Error::other("the kernel does not say which process connects"))?;
    Ok(Peer { uid: known.uid(), pid })
}

async fn one(
    stream: UnixStream,
    peer: Peer,
    operators: Operators,
    changes: broadcast::Receiver<Changed>,
    guid: OwnedGuid,
) -> zbus::Result<()> {
    let Operators { manager, audit, counter, heads } = operators;
    let (intake, beside) = Intake::new(counter, End::Peer(peer));
    let pidfd = pidfd_of(&stream, peer)?;
    let socket = LimitedSocket::new(stream, Arc::clone(&intake), End::Peer(peer), Some(pidfd));
    let building = zbus::connection::Builder::socket(socket)
        .server(guid)
        .p2p()
        .serve_at(OBJECT_PATH, manager)
        .serve_at(OBJECT_PATH, audit)
        .build();
    let built = tokio::time::timeout(HANDSHAKE_WITHIN, building).await;
    let connection = built.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    // The tasks end with this function, and the connection with the last of them.
    let mut beside_it = JoinSet::new();
    beside_it.spawn(beside.run(intake, connection.clone()));
    beside_it.spawn(signals::forward(connection.clone(), changes));
    beside_it.spawn(signals::tell_heads(connection.clone(), heads));
    wait_for_end(&connection).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_operator_takes_no_more_than_a_share_and_nobody_takes_roots_places() {
        let alice = UserId(1000);
        assert!(has_room(&BTreeMap::from([(alice, MAX_OF_ONE - 1)]), alice));
        assert!(!has_room(&BTreeMap::from([(alice, MAX_OF_ONE)]), alice));
        let full: BTreeMap<_, _> = (1000..1004).map(|uid| (UserId(uid), MAX_OF_ONE)).collect();
        assert_eq!(full.values().sum::<usize>(), MAX_CONNECTIONS);
        assert!(!has_room(&full, UserId(2000)));
        assert!(has_room(&full, UserId::ROOT));
        assert!(!has_room(&BTreeMap::from([(UserId::ROOT, MAX_OF_ROOT)]), UserId::ROOT));
    }
}
