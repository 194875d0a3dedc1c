//! The harness: boots real Debian hosts, installs the package, and lets people work there.
//!
//! Knows no internals of the daemon: it types commands and reads their output.
#![forbid(unsafe_code)]

pub mod clock;

pub mod people;

pub mod paths;

mod stream;

pub mod output;

mod layers;

mod machine;

mod watchdog;

pub mod times;

pub mod plan;

pub mod disk;

pub mod host;

pub mod login;

pub mod lifeline;

pub mod precision;

pub mod polkit_cost;

pub mod length;

pub mod floods;

pub mod raw_bus;

pub mod accounts;
