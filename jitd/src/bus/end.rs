//! The peer of a connection.

/// The peer, which decides about the messages that it may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The bus, on the connection for callers.
    Bus,
    /// The bus, on jitd's connection for its own calls; no calls are accepted there.
    BusForCalls,
    /// One process on jitd's own socket.
    Peer(Peer),
}

/// The process at the other end of jitd's own socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) uid: u32,
    pub(super) pid: u32,
}
