//! Just-in-time sudo: the daemon that decides, records and ends sessions.
//!
//! The modules follow the path of a call: gate, engine with its core and store, sessions, audit; beside them the bus
//! for people, and the policy.
#![deny(unsafe_code, reason = "it is for `host::sys` alone; every other module forbids it")]

#[forbid(unsafe_code)]
pub mod audit;
#[forbid(unsafe_code)]
pub mod bus;
#[forbid(unsafe_code)]
mod command_line;
#[forbid(unsafe_code)]
pub mod core;
#[forbid(unsafe_code)]
mod daemon;
#[forbid(unsafe_code)]
pub mod drift;
#[forbid(unsafe_code)]
pub mod engine;
#[forbid(unsafe_code)]
pub mod gate;
pub mod host;
#[forbid(unsafe_code)]
pub mod limits;
#[forbid(unsafe_code)]
pub mod notify;
#[forbid(unsafe_code)]
mod opening;
#[forbid(unsafe_code)]
mod pam_watch;
#[forbid(unsafe_code)]
pub mod policy;
#[forbid(unsafe_code)]
pub mod recovery;
#[forbid(unsafe_code)]
pub mod retention;
#[forbid(unsafe_code)]
pub mod sessions;
#[forbid(unsafe_code)]
pub mod store;
#[forbid(unsafe_code)]
pub mod verification;

pub use command_line::main;
