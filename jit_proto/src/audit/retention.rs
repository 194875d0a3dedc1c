//! What `audit.pruned` says, and how far it explains a chain that does not begin with its first record.
//!
//! Records leave a store from its beginning, and the record that says so stays behind them: which ones, the hash of the
//! last, why, and how young the youngest was. A beginning is explained by the last such record in the chain if it reaches
//! up to it and names the hash that the first record there has as its `prev`. Whoever holds root can write one as well;
//! what it says about age is then what shows it.

use std::time::Duration;

use crate::audit::hash::RecordHash;
use crate::audit::record::{AuditEvent, Facts, Record};
use crate::time::{WallTime, in_days, micros};

/// No retention is shorter, so that a slip of the pen costs nothing.
pub const MIN_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);
/// A limit of size removes nothing younger, so that nobody pushes out what was just written by writing more.
pub const MIN_AGE: Duration = Duration::from_secs(24 * 3600);
/// No more is told than this.
const MAX_DOUBTS: usize = 16;

/// Which limit records were removed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// They were older than `retention`.
    Age,
    /// The store was larger than `retention_size`.
    Size,
}

impl Limit {
    /// The word in records, which is the setting's name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Age => "retention",
            Self::Size => "retention_size",
        }
    }
}

/// Records that were removed, as `audit.pruned` says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The record that says so.
    pub seq: u64,
    /// The first one.
    pub from: u64,
    /// The last one.
    pub to: u64,
    /// The last one's hash, which is the `prev` of the first one kept.
    pub hash: RecordHash,
}

impl Removal {
    fn of(seq: u64, facts: &Facts) -> Option<Self> {
        let (from, to) = (facts.pruned_from?, facts.pruned_to?);
        let hash = RecordHash::parse(facts.pruned_hash.as_deref()?)?;
        (0 < from && from <= to && to < seq).then_some(Self { seq, from, to, hash })
    }
}

/// What there is to doubt about a removal: that what was removed was younger than its limit lets go.
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

/// Walks the removals beside the chain.
#[derive(Debug, Default)]
pub struct RemovalWalk {
    begins: Option<RecordHash>,
    removals: Vec<Removal>,
    doubts: Vec<String>,
}

impl RemovalWalk {
    /// The chain begins with a record that names this one before it.
    pub(crate) fn begin_behind(&mut self, prev: Option<RecordHash>) {
        self.begins = prev;
    }

    /// Takes the next record of the chain, whose hash was found right.
    ///
    /// # Errors
    /// Says what is wrong with it.
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

    /// Ends the walk over a chain that began with this record: is there something that explains it?
    ///
    /// # Errors
    /// The first record that is missing and was removed by nobody who said so, and what is wrong.
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
                "missing: the record begins with {first}, and none in it says that those before were removed"
            );
            return Err((1, problem));
        };
        // They follow each other, so that what lies before the first one is all that none of them speaks of.
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

/// Whether the youngest of some records is old enough to be removed by a limit.
#[must_use]
pub fn is_over(newest: WallTime, now: WallTime, age: Duration) -> bool {
    now.0.checked_sub(newest.0).is_some_and(|gone| gone > micros(age))
}
