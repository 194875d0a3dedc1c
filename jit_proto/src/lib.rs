//! The formats of messages between processes and of stored data.
//!
//! Knows no socket, no runtime, no file and no clock: it converts values to bytes and back.

#![forbid(unsafe_code)]

pub mod audit;
pub mod bus;
pub mod escape;
pub mod identity;
pub mod pam_protocol;
pub mod polkit_protocol;
pub mod request;
pub mod time;
