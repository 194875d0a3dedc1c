//! The decisions, as pure functions: state, input and time in, the next state and a list of effects out.
//!
//! Core knows no clock, no file, no bus and no randomness; `tests/tidy.rs` holds it to that.

pub mod time;

pub mod context;

pub mod clock_offset;

pub mod people;

pub mod policy;

pub mod ledger;

pub mod caller;

pub mod authority;

pub mod access_query;

pub mod input;

pub mod command;

pub mod decide;

pub mod observe;

pub mod step;

mod turn;

pub mod effect;

pub mod reply;

mod dispatch;

mod request;

mod grant;

pub mod audit_log;

pub mod session;

pub mod drift;

mod monitoring;

pub mod retention;

pub mod group_option;

mod facts;

pub mod limits;

pub mod alerts;

pub mod notices;

pub mod reconcile;

pub mod views;

#[cfg(test)]
mod invariants;
