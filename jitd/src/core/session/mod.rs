//! Sessions: who is let in, how a session ends, when it is idle.

pub(in crate::core) mod admission;

pub(in crate::core) mod ended;

pub mod termination;

pub mod idle;

pub(in crate::core) mod closing_notice;
