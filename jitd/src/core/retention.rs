//! Which records are removed from the beginning of the store, by age or by size.

use std::path::PathBuf;
use std::time::Duration;

use jit_proto::audit::chain::Head;
use jit_proto::audit::hash::RecordHash;
use jit_proto::audit::record::Facts;
use jit_proto::audit::retention::{Limit, MIN_AGE, is_over};
use jit_proto::time::{WallTime, in_days};

use super::policy::DaemonOptions;

/// Records removed at once: limits the size of the archive file and of the record about it.
pub const MAX_BATCH: u64 = 50_000;
/// Removal starts when the oldest record has outlived the retention by this part of it, so that records are not removed
/// every day.
const SLACK_PART: u32 = 64;
/// The upper bound of that part.
const MAX_SLACK: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long records are kept in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// The age at which records expire; `None` keeps them for ever. At least
    /// [`jit_proto::audit::retention::MIN_RETENTION`].
    pub age: Option<Duration>,
    /// The bytes in use above which the oldest records are removed, if they are older than [`MIN_AGE`].
    pub size: Option<u64>,
    /// The folder of the archive; `None` keeps no copy.
    pub archive: Option<PathBuf>,
}

impl Retention {
    /// The limits from the settings; the default archive.
    #[must_use]
    pub fn of(options: &DaemonOptions) -> Self {
        Self {
            age: options.retention.0,
            size: options.retention_size,
            archive: Some(PathBuf::from("/var/lib/jitd/archive")),
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self::of(&DaemonOptions::default())
    }
}

/// The contents of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stock {
    /// Number of the first record.
    pub first: u64,
    /// Time of the first record.
    pub oldest: WallTime,
    /// Number of the last record.
    pub last: u64,
    /// The last record that every sink has: later ones are not removed.
    pub handed: u64,
    /// Bytes in use.
    pub bytes: u64,
}

/// The records that are removed now: from the first one up to the first that is not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneBatch {
    /// The limit that applies.
    pub limit: Limit,
    age: Duration,
    last: u64,
    now: WallTime,
}

impl PruneBatch {
    /// Whether this record is included, if all before it are.
    #[must_use]
    pub fn includes(&self, seq: u64, written_at: WallTime) -> bool {
        seq <= self.last && is_over(written_at, self.now, self.age)
    }
}

/// The records to remove, if any.
#[must_use]
pub fn due(retention: &Retention, stock: &Stock, now: WallTime) -> Option<PruneBatch> {
    let max = stock.last.min(stock.handed).min(stock.first + MAX_BATCH - 1);
    if let Some(age) = retention.age
        && is_over(stock.oldest, now, age.saturating_add(MAX_SLACK.min(age / SLACK_PART)))
    {
        return Some(PruneBatch { limit: Limit::Age, age, last: max, now });
    }
    let size = retention.size.filter(|size| stock.bytes > *size)?;
    // Down to nine tenths, so that the next record does not exceed the size again.
    let excess = stock.bytes - size / 10 * 9;
    let records = (stock.last + 1).saturating_sub(stock.first);
    let part = u128::from(excess) * u128::from(records) / u128::from(stock.bytes.max(1));
    let last = stock.first + u64::try_from(part).unwrap_or(u64::MAX);
    let batch = PruneBatch { limit: Limit::Size, age: MIN_AGE, last: max.min(last), now };
    batch.includes(stock.first, stock.oldest).then_some(batch)
}

/// Records that can be removed: they are in the archive, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The first record.
    pub from: u64,
    /// The last record.
    pub to: u64,
    /// The hash of the last record.
    pub hash: RecordHash,
    /// Time of the newest of them.
    pub newest: WallTime,
    /// The limit that applies.
    pub limit: Limit,
    /// The settings of the removal.
    pub retention: Retention,
    /// The archive file.
    pub kept_in: Option<PathBuf>,
}

/// How far records are removed, or to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// The last removed record, which the first kept one has as its `prev`.
    pub to: Head,
    /// Time of the newest removed record: requests and grants that were closed by then are removed as well.
    pub newest: WallTime,
}

impl Default for Pruned {
    fn default() -> Self {
        Self { to: Head::default(), newest: WallTime(0) }
    }
}

/// The facts of the record of a removal.
pub(super) fn facts(segment: &Segment, policy: &str) -> Facts {
    let Segment { from, to, hash, newest, limit, retention, kept_in } = segment;
    let limits = match (limit, retention.age, retention.size) {
        (Limit::Size, _, Some(size)) => format!("the store was larger than {size} bytes"),
        (_, Some(age), _) => format!("older than {}", in_days(age)),
        _ => limit.word().to_owned(),
    };
    let kept = match kept_in {
        Some(path) => format!("kept in {}", path.display()),
        None => "not kept".to_owned(),
    };
    Facts {
        policy: Some(policy.to_owned()),
        pruned_from: Some(*from),
        pruned_to: Some(*to),
        pruned_hash: Some(hash.to_string()),
        pruned_newest: Some(newest.to_rfc3339()),
        pruned_by: Some(limit.word().to_owned()),
        retention_seconds: retention.age.map(|age| age.as_secs()),
        detail: Some(format!("{} records, {limits}; {kept}", to - from + 1)),
        ..Facts::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600 * 1_000_000;

    fn stock(oldest: u64) -> Stock {
        Stock { first: 101, oldest: WallTime(oldest * DAY), last: 1100, handed: 1100, bytes: 1_000_000 }
    }

    fn of(age: Option<u64>, size: Option<u64>) -> Retention {
        Retention { age: age.map(|days| Duration::from_secs(days * 24 * 3600)), size, archive: None }
    }

    #[test]
    fn records_go_by_age_when_the_oldest_is_over_by_some_more() {
        let now = WallTime(1000 * DAY);
        let half_a_year = of(Some(192), None);
        // 192 days, and three of them more.
        assert_eq!(due(&half_a_year, &stock(806), now), None);
        let batch = due(&half_a_year, &stock(804), now).unwrap();
        assert_eq!(batch.limit, Limit::Age);
        assert!(batch.includes(101, WallTime(804 * DAY)) && batch.includes(1100, WallTime(807 * DAY)));
        assert!(!batch.includes(102, WallTime(809 * DAY)), "it is younger than the retention");
        assert!(!batch.includes(102, WallTime(1001 * DAY)), "it is of a clock that was ahead");
        assert!(!batch.includes(1101, WallTime(1)), "it is behind the last one there was");
        assert_eq!(due(&of(None, None), &stock(1), now), None);
    }

    #[test]
    fn records_go_by_size_and_never_the_youngest() {
        let now = WallTime(1000 * DAY);
        assert_eq!(due(&of(None, Some(1_000_000)), &stock(1), now), None);
        let batch = due(&of(None, Some(500_000)), &stock(1), now).unwrap();
        // 550,000 bytes of 1,000,000 in 1,000 records.
        assert!(batch.includes(651, WallTime(1)) && !batch.includes(652, WallTime(1)));
        assert!(!batch.includes(102, WallTime(999 * DAY + DAY / 2)));
        assert_eq!(due(&of(None, Some(500_000)), &stock(999), now), None);
    }

    #[test]
    fn nothing_goes_that_a_sink_still_waits_for() {
        let now = WallTime(10_000 * DAY);
        for retention in [of(Some(30), None), of(None, Some(1000))] {
            let batch = due(&retention, &Stock { handed: 150, ..stock(1) }, now).unwrap();
            assert!(batch.includes(150, WallTime(1)) && !batch.includes(151, WallTime(1)));
        }
        assert_eq!(due(&of(None, Some(1000)), &Stock { handed: 100, ..stock(1) }, now), None);
    }

    #[test]
    fn a_removal_has_an_end() {
        let stock = Stock { last: 9_000_000, handed: 9_000_000, ..stock(1) };
        let batch = due(&of(Some(30), None), &stock, WallTime(10_000 * DAY)).unwrap();
        assert!(
            batch.includes(101 + MAX_BATCH - 1, WallTime(1)) && !batch.includes(101 + MAX_BATCH, WallTime(1))
        );
    }
}
