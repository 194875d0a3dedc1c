//! Asks the host one thing each: who somebody is, what a process is, what time it is.

pub mod accounts;
pub mod clock;
pub(crate) mod fd;
pub mod process;
pub(crate) mod shadow;
pub(crate) mod sockets;
pub(crate) mod terminal;
