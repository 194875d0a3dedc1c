//! Who can be at the other end of a connection.

/// Who is at the other end, and what it may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The bus, where anybody calls.
    Bus,
    /// The bus, on a connection with which jitd itself calls others; nobody has business to call there.
    BusForCalls,
    /// One process on a socket of our own, which calls.
    Peer(Peer),
}

/// The process at the other end of a socket of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) uid: u32,
    pub(super) pid: u32,
}
