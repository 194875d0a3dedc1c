//! What a person asks for: the one value that jitctl fills in, jitd judges and the ledger keeps.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::{Reason, RoleName, Ticket};

/// What a request, an operator's grant or an extension asks for. A new field of a request is added here.
///
/// `D` is [`Option<Duration>`] as long as nobody has judged it (none: the role's default), and [`Duration`] in
/// [`AcceptedSpec`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestSpec<D = Option<Duration>> {
    /// The role; of an extension, the role of the grant.
    pub role: RoleName,
    /// For how long, from the approval on; of an extension, how much longer.
    pub duration: D,
    /// What the approvers decide on, and what the audit log keeps.
    pub reason: Reason,
    /// The ticket, where one was named.
    pub ticket: Option<Ticket>,
}

/// What was asked for, with the duration that the rules of its role give.
pub type AcceptedSpec = RequestSpec<Duration>;

impl RequestSpec {
    /// The same with a duration that was decided.
    #[must_use]
    pub fn lasting(self, duration: Duration) -> AcceptedSpec {
        let Self { role, duration: _, reason, ticket } = self;
        RequestSpec { role, duration, reason, ticket }
    }
}

impl<D> RequestSpec<D> {
    /// The ticket as formats carry it that have no absent value: empty where none was named.
    #[must_use]
    pub fn ticket_text(&self) -> &str {
        self.ticket.as_ref().map_or("", Ticket::as_str)
    }
}
