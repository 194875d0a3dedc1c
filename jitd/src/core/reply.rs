//! Answers of the core.

use jit_proto::identity::{GrantId, RequestId};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To an access query.
    Gate(Verdict),
    /// To a command.
    Command(Result<Done, Refusal>),
    /// The removal of expired records is recorded, and the first of them are removed.
    Pruned,
}

/// The gate's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Denied; the lines are for the person.
    Denied(Vec<String>),
    /// Allowed.
    Allowed,
    /// Let through because jitd observes: it would have been refused. The lines are for the person.
    Observed(Vec<String>),
}

/// The result of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// The request.
    Request(RequestId),
    /// The grant.
    Grant(GrantId),
    /// The grants.
    Grants(Vec<GrantId>),
    /// It is in the audit log.
    Recorded,
}

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The caller may not do this.
    #[error("{0}")]
    NotAuthorized(String),
    /// The policy refuses it.
    #[error("{0}")]
    PolicyDenied(String),
    /// The request or grant is the caller's own.
    #[error("{0}")]
    SelfApproval(String),
    /// It is decided already, or this person has decided.
    #[error("{0}")]
    AlreadyDecided(String),
    /// It does not exist, or the caller is no party to it.
    #[error("{0}")]
    NoSuch(String),
    /// It could not be recorded.
    #[error("{0}")]
    CannotRecord(String),
}
