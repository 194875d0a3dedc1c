//! Parses `audit.pruned`, and checks whether it explains a chain that does not begin with record 1.
//!
//! Records are removed from the beginning of a store, and the record about that stays: which ones, the hash of the
//! last, the limit, and the time of the newest. A later beginning is explained by the last such record in the chain, if
//! it reaches up to the beginning and has the hash that the first record has as its `prev`. Root can write such a
//! record too; the times in it then show that the records were too young.

use std::time::Duration;

use crate::audit::hash::RecordHash;
use crate::audit::record::{AuditEvent, Facts, Record};
use crate::time::{WallTime, in_days, micros};

/// The shortest retention, so that a typing error removes nothing.
pub const MIN_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);
/// A limit of size removes only older records, so that a user cannot displace new records by causing more.
pub const MIN_AGE: Duration = Duration::from_secs(24 * 3600);
/// Doubts that are reported.
const MAX_DOUBTS: usize = 16;

/// The limit by which records were removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// They were older than `retention`.
    Age,
    /// The store was larger than `retention_size`.
    Size,
}

impl Limit {
    /// Its name in records, which is the setting's.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Age => "retention",
            Self::Size => "retention_size",
        }
    }
}

/// Removed records, by `audit.pruned`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The number of that record.
    pub seq: u64,
    /// The first removed one.
    pub from: u64,
    /// The last removed one.
    pub to: u64,
    /// The hash of the last one, which is the `prev` of the first one kept.
    pub hash: RecordHash,
}

impl Removal {
    fn of(seq: u64, facts: &Facts) -> Option<Self> {
        let (from, to) = (facts.pruned_from?, facts.pruned_to?);
        let hash = RecordHash::parse(facts.pruned_hash.as_deref()?)?;
        (0 < from && from <= to && to < seq).then_some(Self { seq, from, to, hash })
    }
}

/// The doubt about a removal: its newest record was younger than the limit allows.
fn doubt(record: &Record) -> Option<String> {
    let Record { seq, time, facts, .. } = record;
    let read = |text: &str| WallTime::from_rfc3339(text);
    let age =
        read(time).zip(facts.pruned_newest.as_deref().and_then(read)).map(|(at, newest)| at.since(newest));
    let Some(age) = age else {
        return Some(format!(
            "record {seq} does not say how young the youngest record was that it says was removed"
        ));
    };
    let retention = facts.retention_seconds.map(Duration::from_secs);
    let (limit, least) = match (facts.pruned_by.as_deref(), retention) {
        (Some(by), Some(retention)) if by == Limit::Age.word() => ("the retention it names", retention),
        (Some(by), _) if by == Limit::Size.word() => ("a limit of size lets go", MIN_AGE),
        _ => return Some(format!("record {seq} does not say by which limit records were removed")),
    };
    if age < least {
        let (age, least) = (in_days(age), in_days(least));
        return Some(format!(
            "record {seq} says that records were removed which were {age} old, which is younger than {limit}: {least}"
        ));
    }
    let short = retention.filter(|retention| *retention < MIN_RETENTION)?;
    let (short, least) = (in_days(short), in_days(MIN_RETENTION));
    Some(format!("record {seq} names a retention of {short}, and jitd takes none below {least}"))
}

/// Checks the removals in a chain.
#[derive(Debug, Default)]
pub struct RemovalWalk {
    begins: Option<RecordHash>,
    removals: Vec<Removal>,
    doubts: Vec<String>,
}

impl RemovalWalk {
    /// The chain begins with a record with this `prev`.
    pub(crate) fn begin_behind(&mut self, prev: Option<RecordHash>) {
        self.begins = prev;
    }

    /// Takes the next record of the chain, whose hash is verified.
    ///
    /// # Errors
    /// The problem of the record.
    pub(crate) fn step(&mut self, event: &str, line: &str) -> Result<(), String> {
        if event != AuditEvent::AuditPruned.name() {
            return Ok(());
        }
        let record: Record =
            serde_json::from_str(line).map_err(|error| format!("it is no audit record: {error}"))?;
        let removal = Removal::of(record.seq, &record.facts)
            .ok_or("it says that records were removed, but not which ones")?;
        if let Some(last) = self.removals.last()
            && removal.from != last.to + 1
        {
            let Removal { from, .. } = removal;
            return Err(format!(
                "it says that records were removed from {from} on, but record {} says up to {}: what lies between \
                 was removed by nobody who said so",
                last.seq, last.to
            ));
        }
        self.doubts.extend(doubt(&record).filter(|_| self.doubts.len() < MAX_DOUBTS));
        self.removals.push(removal);
        Ok(())
    }

    /// Ends the check of a chain that began with this record: is the beginning explained?
    ///
    /// # Errors
    /// The first record that is missing without an explanation, and the problem.
    pub(crate) fn finish(
        self,
        first: u64,
        anywhere: bool,
    ) -> Result<(Option<Removal>, Vec<String>), (u64, String)> {
        if first <= 1 || anywhere {
            return Ok((None, self.doubts));
        }
        let Some(last) = self.removals.last() else {
            let problem = format!(
                "missing: the audit log begins with record {first}, and no record says that earlier ones were removed"
            );
            return Err((1, problem));
        };
        // Removals follow each other, so the records before the first one are all that none of them covers.
        let Some(removal) =
            self.removals.iter().find(|removal| removal.from < first && first <= removal.to + 1)
        else {
            let Removal { seq, to, .. } = last;
            let missing = if first > to + 1 { to + 1 } else { 1 };
            return Err((
                missing,
                format!(
                    "missing: the next one there is record {first}, and record {seq} says that others were removed"
                ),
            ));
        };
        if removal.to + 1 == first && self.begins != Some(removal.hash) {
            let seq = removal.seq;
            let problem =
                format!("it does not follow the last record that was removed, whose hash is in record {seq}");
            return Err((first, problem));
        }
        Ok((Some(removal.clone()), self.doubts))
    }
}

/// Whether the newest of some records is old enough to be removed by a limit.
#[must_use]
pub fn is_over(newest: WallTime, now: WallTime, age: Duration) -> bool {
    now.0.checked_sub(newest.0).is_some_and(|gone| gone > micros(age))
}
