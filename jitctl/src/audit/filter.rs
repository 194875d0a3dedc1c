//! The options that filter records.

use clap::Args;
use jit_proto::audit::filter::Filter;
use jit_proto::audit::record::AuditEvent;
use jit_proto::identity::RoleName;

use crate::values::{name, number, text};

/// The outcomes of records (jit-audit(5)).
const OUTCOMES: [&str; 3] = ["allowed", "denied", "observed"];

/// The filter options.
#[derive(Debug, Args)]
pub(crate) struct RecordFilter {
    /// Records about this person, or of what this person did to others
    #[arg(long, value_parser = name())]
    pub(crate) user: Option<String>,
    /// Records of this role
    #[arg(long, value_parser = text::<RoleName>)]
    pub(crate) role: Option<RoleName>,
    /// Records of this grant
    #[arg(long, value_name = "ID", value_parser = number())]
    pub(crate) grant: Option<u64>,
    /// Records of this request
    #[arg(long, value_name = "ID", value_parser = number())]
    pub(crate) request: Option<u64>,
    /// Records of this session
    #[arg(long, value_name = "ID", value_parser = number())]
    pub(crate) session: Option<u64>,
    /// Records of this event; jit-audit(5) lists the names
    #[arg(long, hide_possible_values = true, value_parser = event_names())]
    pub(crate) event: Option<String>,
    /// Records with this outcome: allowed, denied or observed
    #[arg(long, hide_possible_values = true, value_parser = OUTCOMES)]
    pub(crate) outcome: Option<String>,
    /// Records that contain this text, in upper or lower case
    #[arg(long, value_parser = name())]
    pub(crate) text: Option<String>,
}

impl RecordFilter {
    /// The filter.
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            user: self.user.clone(),
            role: self.role.as_ref().map(ToString::to_string),
            grant: self.grant,
            request: self.request,
            session: self.session,
            event: self.event.clone(),
            outcome: self.outcome.clone(),
            text: self.text.clone(),
            ..Filter::default()
        }
    }
}

fn event_names() -> clap::builder::PossibleValuesParser {
    AuditEvent::ALL.iter().map(|event| event.name()).collect::<Vec<_>>().into()
}
