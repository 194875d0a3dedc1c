//! What is decided, as pure functions: state, event and time go in, the next state and a list of effects come out.
//!
//! Knows no clock, no file, no bus and no randomness; `tests/tidy.rs` holds it to that.

pub mod time;

pub mod context;

pub mod clock_offset;

pub mod people;

pub mod policy;

pub mod ledger;

pub mod decide;

pub mod event;

pub mod step;

pub mod retention;

pub mod caller;

pub mod authority;

mod requests;

mod elevation;

pub mod kinds;

pub mod findings;

mod windows;

mod closing_notice;

mod eligible;

pub mod reaping;

pub mod group_option;

pub mod idle;

mod facts;

pub mod limits;

pub mod alerts;

pub mod notices;

pub mod reconcile;

pub mod show;

#[cfg(test)]
mod invariants;
