//! Privilege that outlives sessions, and its records in the audit log.

pub mod kind;

pub mod finding;

pub(in crate::core) mod record;
