//! The contents of a report, as data; `html`, `markdown` and `csv` write it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Deref;

use jit_proto::audit::record::AuditEvent;
use jit_proto::audit::render::words;
use jit_proto::bus::view::VerifyView;
use serde::{Serialize, Serializer};

use super::standing::Standing;

/// The host and the period.
#[derive(Debug, Clone, Serialize)]
pub(super) struct About {
    pub(super) host: String,
    /// The version of jitctl.
    pub(super) version: &'static str,
    pub(super) made_at: String,
    pub(super) since: String,
    pub(super) until: String,
}

/// The whole report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    pub(super) about: About,
    pub(super) records: Span,
    pub(super) chain: VerifyView,
    /// The number of each event in the period, as `audit search --count` prints it.
    pub(super) figures: BTreeMap<&'static str, u64>,
    pub(super) attention: Vec<Note>,
    pub(super) windows: Vec<Window>,
    /// Requests of the period without a window in it.
    pub(super) requests: Vec<Asked>,
    pub(super) denials: Vec<Denial>,
    pub(super) refused_commands: Vec<Refused>,
    pub(super) left_behind: Vec<Finding>,
    pub(super) changes: Vec<Change>,
    pub(super) standing: Standing,
    pub(super) controls: Vec<Control>,
    #[serde(skip)]
    pub(super) bounds: (u64, u64),
    /// Allowed and denied elevations, for the charts.
    #[serde(skip)]
    pub(super) moments: Vec<Moment>,
}

/// A finding that a reader should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// The finding.
    pub(super) text: String,
    /// The id of its section.
    pub(super) place: String,
}

impl Deref for Note {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Note {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// A note that links to the section with this id.
pub(super) fn note(place: &str, text: String) -> Note {
    Note { text, place: place.to_owned() }
}

/// One control.
#[derive(Debug, Serialize)]
pub(super) struct Control {
    /// Its citation.
    pub(super) id: &'static str,
    /// Its name.
    pub(super) name: &'static str,
    /// What it asks, in a sentence.
    pub(super) asks: &'static str,
    /// The figures and records of this report that answer it.
    pub(super) shows: Vec<String>,
    /// What neither this report nor jitd shows.
    pub(super) not_shown: &'static str,
}

/// The records that the report was made from.
#[derive(Debug, Default, Serialize)]
pub(super) struct Span {
    pub(super) count: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    /// Records of the period that cannot be parsed; the chain's result has the first broken one.
    pub(super) unreadable: u64,
}

/// A window.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Window {
    pub(super) grant: u64,
    pub(super) user: String,
    pub(super) uid: Option<u32>,
    pub(super) role: String,
    pub(super) reason: String,
    pub(super) ticket: String,
    pub(super) approvers: Vec<String>,
    pub(super) approvals: Vec<Approval>,
    /// The operator who granted it without a request.
    pub(super) given_by: Option<String>,
    pub(super) requested: Option<String>,
    pub(super) started: Option<String>,
    pub(super) until: Option<String>,
    pub(super) extensions: Vec<String>,
    pub(super) ended: Option<Ended>,
    pub(super) runs: Vec<Run>,
    #[serde(skip)]
    pub(super) started_us: Option<u64>,
    #[serde(skip)]
    pub(super) ended_us: Option<u64>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Approval {
    pub(super) by: String,
    pub(super) at: String,
    pub(super) comment: String,
}

/// How a window ended.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Ended {
    pub(super) at: String,
    pub(super) how: &'static str,
    pub(super) by: Option<String>,
    pub(super) why: Option<String>,
}

/// A call of sudo that was allowed, and its session.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Run {
    pub(super) seq: u64,
    pub(super) at: String,
    pub(super) session: Option<u64>,
    pub(super) service: String,
    pub(super) run_as: String,
    pub(super) argv: Vec<String>,
    pub(super) tty: String,
    pub(super) audit_session: Option<u32>,
    pub(super) ended: Option<String>,
    pub(super) ended_by: Option<String>,
    pub(super) killed: Option<u64>,
    pub(super) escaped: Option<u64>,
    pub(super) left: Option<u64>,
    pub(super) stuck: bool,
}

/// A request and its result.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Asked {
    pub(super) request: u64,
    pub(super) at: String,
    pub(super) user: String,
    pub(super) role: String,
    pub(super) reason: String,
    pub(super) ticket: String,
    pub(super) state: &'static str,
    pub(super) by: Option<String>,
    pub(super) why: Option<String>,
}

/// A call of sudo that was denied.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Denial {
    pub(super) seq: u64,
    pub(super) at: String,
    pub(super) user: String,
    pub(super) uid: Option<u32>,
    pub(super) service: String,
    pub(super) tty: String,
    pub(super) argv: Vec<String>,
    pub(super) why: String,
}

/// A command of a person or script that was denied.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Refused {
    pub(super) seq: u64,
    pub(super) at: String,
    pub(super) by: String,
    pub(super) what: String,
}

/// A drift finding.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    pub(super) seq: u64,
    pub(super) at: String,
    pub(super) user: String,
    pub(super) role: String,
    pub(super) grant: Option<u64>,
    pub(super) changes: Vec<String>,
}

/// An event of the policy, the daemon or the clock.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Change {
    pub(super) seq: u64,
    pub(super) at: String,
    pub(super) event: &'static str,
    pub(super) by: Option<String>,
    pub(super) policy: Option<String>,
    pub(super) detail: String,
}

/// An elevation for the charts.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    pub(super) at: u64,
    pub(super) user: String,
    pub(super) allowed: bool,
}

impl Report {
    /// The number of an event in the period.
    pub(super) fn figure(&self, event: AuditEvent) -> u64 {
        self.figures.get(event.name()).copied().unwrap_or(0)
    }

    /// Windows that an operator opened without a request.
    pub(super) fn direct(&self) -> impl Iterator<Item = &Window> {
        self.windows.iter().filter(|window| window.given_by.is_some())
    }

    /// The number of people with a window.
    pub(super) fn people(&self) -> u64 {
        let names: BTreeSet<&str> = self.windows.iter().map(|window| window.user.as_str()).collect();
        names.len() as u64
    }

    /// All sessions, each with its window.
    pub(super) fn runs(&self) -> impl Iterator<Item = (&Window, &Run)> {
        self.windows.iter().flat_map(|window| window.runs.iter().map(move |run| (window, run)))
    }

    /// The number of processes that were killed with their session.
    pub(super) fn killed(&self) -> u64 {
        self.runs().filter_map(|(_, run)| run.killed).sum()
    }
}

/// The sentences about removed records, after the number of records; empty if none were removed.
pub(super) fn removed(chain: &VerifyView) -> String {
    match (chain.pruned_by_record, chain.first) {
        (0, _) => String::new(),
        (by, 2) => format!("; record 1 was removed earlier, as record {by} says"),
        (by, first) => format!("; records 1 to {} were removed earlier, as record {by} says", first - 1),
    }
}

pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A command line as one text.
pub(super) fn command(argv: &[String]) -> String {
    words(argv.iter().map(String::as_str))
}
