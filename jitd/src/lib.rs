//! Just-in-time sudo: the daemon that decides, records and ends.
//!
//! The modules are the stations of the data, in its order: gate, engine with its core and store, sessions and reaper,
//! audit; beside them the bus for people, and the policy.
#![deny(unsafe_code)]

pub mod audit;
pub mod bus;
mod command_line;
pub mod core;
mod daemon;
pub mod drift;
pub mod engine;
pub mod gate;
pub mod host;
pub mod limits;
pub mod notify;
mod opening;
pub mod policy;
pub mod reaper;
pub mod recovery;
pub mod retention;
pub mod sessions;
pub mod stacks;
pub mod store;
pub mod verification;

pub use command_line::main;
