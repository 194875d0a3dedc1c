//! What people and scripts ask for.

use crate::core::audit_log::AuditCommand;
use crate::core::authority::CommandKind;
use crate::core::ledger::Request;
use crate::core::people::Account;
use jit_proto::identity::{GrantId, Reason, RequestId, Ticket};
use jit_proto::request::RequestSpec;
use std::time::Duration;

/// What people and scripts can want.
#[derive(Debug, Clone)]
pub enum Command {
    /// Ask for a role.
    Request(RequestSpec),
    /// Take a request back.
    Cancel(RequestId),
    /// Say yes.
    Approve {
        /// To which.
        id: RequestId,
        /// Shorter than asked for.
        duration: Option<Duration>,
        /// In the approver's words.
        comment: String,
    },
    /// Deny a request.
    Deny {
        /// To which.
        id: RequestId,
        /// Why.
        reason: Reason,
    },
    /// Hand a grant back; the only one held if not said.
    Release(Option<GrantId>),
    /// Make a window longer: its holder asks for it, an operator does it.
    Extend {
        /// Whose.
        id: GrantId,
        /// By how much; the role's default if not said.
        duration: Option<Duration>,
        /// Why.
        reason: Reason,
        /// The ticket; the grant's own if not said.
        ticket: Option<Ticket>,
    },
    /// Give a role without a request.
    Grant {
        /// To whom.
        holder: Account,
        /// What they get.
        spec: RequestSpec,
    },
    /// Approve, deny or take back what is decided already: the store remembers what the ledger does not.
    AlreadyClosed {
        /// Which of these.
        kind: CommandKind,
        /// The request as it was left.
        request: Box<Request>,
    },
    /// Take grants away.
    Revoke {
        /// Which.
        which: GrantSelector,
        /// Why.
        reason: Reason,
    },
    /// Something about the audit log itself.
    AuditLog(AuditCommand),
}

/// Which grants.
#[derive(Debug, Clone)]
pub enum GrantSelector {
    /// This one.
    One(GrantId),
    /// All that this person holds.
    Of(Account),
    /// All there are.
    All,
}

impl Command {
    /// What the table of origins calls it. Making somebody else's window longer is a kind of its own, told apart once the
    /// grant is known.
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
