//! What is decided, as pure functions: state, event and time go in, the next state and a list of effects come out.
//!
//! Knows no clock, no file, no bus and no randomness; `tests/tidy.rs` holds it to that.

pub mod time;

pub mod people;

pub mod policy;

pub mod ledger;

pub mod decide;

pub mod event;

pub mod step;

pub mod retention;

mod requests;

mod elevation;

mod windows;

mod eligible;

pub mod reaping;

pub mod group_option;

pub mod idle;

mod facts;

pub mod alerts;

pub mod notices;

pub mod reconcile;

pub mod show;

#[cfg(test)]
mod invariants;
