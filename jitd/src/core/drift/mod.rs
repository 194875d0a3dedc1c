//! Privilege that outlives sessions, and what the audit log says about it.

pub mod kind;

pub mod finding;

pub(in crate::core) mod record;
