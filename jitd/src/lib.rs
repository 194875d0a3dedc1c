//! Just-in-time sudo: the daemon that decides, records and ends.
//!
//! The modules are the stations of the data, in its order: gate, engine with its core and store, sessions and reaper,
//! audit; beside them the bus for people, and the policy.
#![deny(unsafe_code)]

mod daemon;

mod opening;

pub mod recovery;

pub mod gate;

pub mod engine;

pub mod core;

pub mod store;

pub mod sessions;

pub mod reaper;

pub mod survey;

pub mod audit;

pub mod stacks;

pub mod retention;

pub mod verification;

pub mod alerting;

pub mod notify;

pub mod bus;

pub mod rules;

pub mod policy;

pub mod people;

mod shadow;

mod terminal;

pub mod process;

pub mod clock;

pub mod alarm;

mod readiness;

pub mod limits;

mod sockets;

mod command_line;

pub use command_line::main;
