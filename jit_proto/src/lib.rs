//! The formats that cross a process or outlive one.
//!
//! Knows no socket, no runtime, no file and no clock: it turns values into bytes and back.
#![forbid(unsafe_code)]

pub mod names;

pub mod identity;

pub mod moment;

pub mod escape;

pub mod gate;

pub mod view;

#[cfg(feature = "dict")]
pub mod dict;

pub mod record;

pub mod seal;

pub mod pruned;

pub mod chain;

pub mod known_head;
pub mod message;

pub mod sighting;

pub mod search;

pub mod message_id;

pub mod render;
