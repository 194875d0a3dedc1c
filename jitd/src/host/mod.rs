//! Reads facts from the host, one per function: accounts, processes, clocks.

#[forbid(unsafe_code)]
pub(crate) mod accept;
#[forbid(unsafe_code)]
pub mod accounts;
#[forbid(unsafe_code)]
pub mod clock;
#[forbid(unsafe_code)]
pub(crate) mod dpkg;
#[forbid(unsafe_code)]
pub(crate) mod identity_cache;
#[forbid(unsafe_code)]
pub(crate) mod priority;
#[forbid(unsafe_code)]
pub mod process;
#[forbid(unsafe_code)]
pub(crate) mod shadow;
#[forbid(unsafe_code)]
pub(crate) mod sockets;
pub(crate) mod sys;
#[forbid(unsafe_code)]
pub(crate) mod terminal;
