//! What a person asks for: the same from the command line to the ledger.

use std::time::Duration;

use crate::identity::{Reason, RoleName, Ticket};

/// A role, for how long, why, and the ticket it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestSpec {
    /// The role.
    pub role: RoleName,
    /// None for the role's default.
    pub duration: Option<Duration>,
    /// The reason; approvers decide on it.
    pub reason: Reason,
    /// The ticket, where there is one.
    pub ticket: Option<Ticket>,
}
