//! The contents of a request: one value that jitctl fills in, jitd judges and the ledger keeps.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::{Reason, RoleName, Ticket};

/// The contents of a request, an operator's grant or an extension. A new field of a request is added here.
///
/// `D` is [`Option<Duration>`] before the request is judged (`None`: the role's default), and [`Duration`] in
/// [`AcceptedSpec`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestSpec<D = Option<Duration>> {
    /// The role; of an extension, the role of the grant.
    pub role: RoleName,
    /// The duration from the approval on; of an extension, the additional time.
    pub duration: D,
    /// The reason, for the approvers and the audit log.
    pub reason: Reason,
    /// The ticket, if one was named.
    pub ticket: Option<Ticket>,
}

/// A request with the duration that the rules of its role give.
pub type AcceptedSpec = RequestSpec<Duration>;

impl RequestSpec {
    /// The same with a decided duration.
    #[must_use]
    pub fn lasting(self, duration: Duration) -> AcceptedSpec {
        let Self { role, duration: _, reason, ticket } = self;
        RequestSpec { role, duration, reason, ticket }
    }
}

impl<D> RequestSpec<D> {
    /// The ticket for formats without an absent value: empty if none was named.
    #[must_use]
    pub fn ticket_text(&self) -> &str {
        self.ticket.as_ref().map_or("", Ticket::as_str)
    }
}
