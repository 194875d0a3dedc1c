//! The commands of people and scripts.

use crate::core::audit_log::AuditCommand;
use crate::core::authority::CommandKind;
use crate::core::ledger::Request;
use crate::core::people::Account;
use jit_proto::identity::{GrantId, Reason, RequestId, Ticket};
use jit_proto::request::RequestSpec;
use std::time::Duration;

/// A command of a person or script.
#[derive(Debug, Clone)]
pub enum Command {
    /// Request a role.
    Request(RequestSpec),
    /// Cancel a request.
    Cancel(RequestId),
    /// Approve a request.
    Approve {
        /// The request.
        id: RequestId,
        /// A duration shorter than the requested one.
        duration: Option<Duration>,
        /// The approver's comment.
        comment: String,
    },
    /// Deny a request.
    Deny {
        /// The request.
        id: RequestId,
        /// The reason for the denial.
        reason: Reason,
    },
    /// Release a grant; `None` is the only one held.
    Release(Option<GrantId>),
    /// Extend a window: its holder requests that, an operator does it.
    Extend {
        /// The grant.
        id: GrantId,
        /// The additional time; `None` is the role's default.
        duration: Option<Duration>,
        /// The reason.
        reason: Reason,
        /// The ticket; `None` is the grant's own.
        ticket: Option<Ticket>,
    },
    /// Grant a role without a request.
    Grant {
        /// The new holder.
        holder: Account,
        /// The role, duration, reason and ticket.
        spec: RequestSpec,
    },
    /// Approve, deny or cancel a request that is closed already. The store still has it; the ledger has not.
    AlreadyClosed {
        /// Approve, deny or cancel.
        kind: CommandKind,
        /// The request as it was closed.
        request: Box<Request>,
    },
    /// Revoke grants.
    Revoke {
        /// The grants.
        which: GrantSelector,
        /// The reason.
        reason: Reason,
    },
    /// A command about the audit log.
    AuditLog(AuditCommand),
}

/// The grants that are revoked.
#[derive(Debug, Clone)]
pub enum GrantSelector {
    /// One grant.
    One(GrantId),
    /// All grants of this person.
    Of(Account),
    /// All live grants.
    All,
}

impl Command {
    /// Its kind in the table of origins. Whether an extension is of another person's window is known only once the
    /// grant is.
    #[must_use]
    pub fn kind(&self) -> CommandKind {
        match self {
            Self::Request(_) => CommandKind::Request,
            Self::Cancel(_) => CommandKind::Cancel,
            Self::Approve { .. } => CommandKind::Approve,
            Self::Deny { .. } => CommandKind::Deny,
            Self::Release(_) => CommandKind::Release,
            Self::Extend { .. } => CommandKind::Extend,
            Self::Grant { .. } => CommandKind::Grant,
            Self::AlreadyClosed { kind, .. } => *kind,
            Self::Revoke { which: GrantSelector::One(_), .. } => CommandKind::Revoke,
            Self::Revoke { which: GrantSelector::Of(_), .. } => CommandKind::RevokeUser,
            Self::Revoke { which: GrantSelector::All, .. } => CommandKind::RevokeAll,
            Self::AuditLog(command) => command.kind(),
        }
    }
}
