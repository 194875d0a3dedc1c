//! What is answered.

use jit_proto::identity::{GrantId, RequestId};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To an access query.
    Gate(Verdict),
    /// To a command.
    Command(Result<Done, Refusal>),
    /// It is recorded that old records go, and the first of them have gone.
    Pruned,
}

/// The gate's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Refused; the lines are for the person.
    Denied(Vec<String>),
    /// Let through.
    Allowed,
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// This request.
    Request(RequestId),
    /// This grant.
    Grant(GrantId),
    /// These grants.
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
    /// The policy says no.
    #[error("{0}")]
    PolicyDenied(String),
    /// It is their own.
    #[error("{0}")]
    SelfApproval(String),
    /// Too late, or a second time.
    #[error("{0}")]
    AlreadyDecided(String),
    /// There is none, or the caller is no party to it.
    #[error("{0}")]
    NoSuch(String),
    /// It could not be written down.
    #[error("{0}")]
    CannotRecord(String),
}
