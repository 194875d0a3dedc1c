//! The harness: boots real Debian hosts, puts the package on them, and lets people work there.
//!
//! Knows nothing of the daemon's insides: it types commands and reads what they print.
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

pub mod length;

pub mod floods;

pub mod raw_bus;

pub mod accounts;
