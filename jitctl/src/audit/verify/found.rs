//! The result of a verification for each source, and whether the sources agree.

use jit_proto::audit::chain::Broken;
use jit_proto::bus::view::VerifyView;
use jit_proto::time::WallTime;
use serde::Serialize;

use crate::render;

/// How late a heartbeat may come, in microseconds.
const LATE: u64 = 30_000_000;

/// The results of a verification, source by source, up to the first error.
#[derive(Default)]
pub(super) struct Verification {
    pub(super) parts: Vec<(Source, VerifyView)>,
    pub(super) repeated: u64,
    /// Records with cut messages, and records whose content could not be compared for another reason.
    pub(super) unchecked: (Vec<u64>, Vec<u64>),
    pub(super) silence: Option<Silence>,
    pub(super) broken: Option<(Source, VerifyView)>,
}

/// How long a copy has received nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Silence {
    /// The time of its last message.
    #[serde(serialize_with = "as_text")]
    pub(super) last: WallTime,
    /// When the next heartbeat was due; none if the copy has no heartbeat.
    #[serde(serialize_with = "as_text_or_none")]
    pub(super) due: Option<WallTime>,
    /// The time that the copy is compared with.
    #[serde(serialize_with = "as_text")]
    pub(super) until: WallTime,
    /// Whether `--until` set that time.
    #[serde(skip)]
    pub(super) asked: bool,
}

impl Silence {
    /// Whether the next heartbeat is overdue by more than [`LATE`].
    pub(super) fn too_long(&self) -> bool {
        self.due.is_none_or(|due| self.until.0 > due.0.saturating_add(LATE))
    }

    pub(super) fn told(&self) -> String {
        let last = self.last.to_rfc3339();
        let Some(due) = self.due else {
            return format!(
                "the last message is of {last}; the copy has no heartbeat that says when the next one was due, so it is not \
                 known whether the copy ends early\n"
            );
        };
        if !self.too_long() {
            return String::new();
        }
        let (due, until) = (due.to_rfc3339(), self.until.to_rfc3339());
        let silent = render::span(self.until.0.saturating_sub(self.last.0) / 1_000_000);
        format!(
            "the copy ends early: its last message is of {last}, a heartbeat was due at {due}; silent for {silent} \
             until {until}\n"
        )
    }
}

fn as_text<S: serde::Serializer>(at: &WallTime, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&at.to_rfc3339())
}

fn as_text_or_none<S: serde::Serializer>(at: &Option<WallTime>, to: S) -> Result<S::Ok, S::Error> {
    at.map(WallTime::to_rfc3339).serialize(to)
}

/// A source of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Source {
    Messages,
    Export,
    Store,
}

impl Verification {
    pub(super) fn whole(&mut self, source: Source, view: VerifyView) {
        self.parts.push((source, view));
    }

    pub(super) fn broken(&mut self, source: Source, first: u64, last: u64, broken: Broken) {
        let Broken { seq: bad_seq, problem } = broken;
        let view = VerifyView { records: last, bad_seq, problem, first, ..VerifyView::default() };
        self.broken.get_or_insert((source, view));
    }

    /// The first of these records that is in no source, nor the `prev` of any record.
    pub(super) fn not_compared(&self, heads: &[u64]) -> Option<u64> {
        let read = |seq: u64| self.parts.iter().any(|(_, part)| part.first <= seq + 1 && seq <= part.records);
        heads.iter().copied().find(|seq| !read(*seq))
    }

    /// How an export continues in the store, which need not begin with record 1.
    pub(super) fn joined(&self) -> String {
        let of = |wanted| self.parts.iter().find(|(source, _)| *source == wanted).map(|(_, view)| view);
        let (Some(export), Some(store)) = (of(Source::Export), of(Source::Store)) else {
            return String::new();
        };
        let (from, end, next, to) = (export.first, export.records, store.first, store.records);
        match () {
            () if from >= next => String::new(),
            () if end + 1 < next => {
                format!("records {} to {} are neither in the export nor in the store\n", end + 1, next - 1)
            }
            () => format!("the export continues in the store: records {from} to {to} are whole and linked\n"),
        }
    }
}
