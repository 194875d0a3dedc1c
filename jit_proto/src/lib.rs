//! The formats that cross a process or outlive one.
//!
//! Knows no socket, no runtime, no file and no clock: it turns values into bytes and back.

#![forbid(unsafe_code)]

pub mod audit;
pub mod bus;
pub mod escape;
pub mod identity;
pub mod pam_protocol;
pub mod request;
pub mod time;
