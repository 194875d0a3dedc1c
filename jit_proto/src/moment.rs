//! Points in time on the two clocks, as numbers; reading the clocks is done elsewhere.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment of `CLOCK_REALTIME`, in microseconds since 1970-01-01 UTC. It can be stepped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(pub u64);

/// A moment of `CLOCK_BOOTTIME`, in microseconds since boot, suspend included (clock_gettime(2)). It never
/// goes back, and means nothing without the boot it was read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootTime(pub u64);

/// Which boot: `/proc/sys/kernel/random/boot_id` (random(4)).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub String);

impl WallTime {
    /// This moment plus a span; saturates.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }

    /// Time from `earlier` to this moment; zero if it lies behind.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// RFC 3339 in UTC, always with six digits behind the second, so that equal moments are equal texts.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        match self.to_timestamp() {
            Some(timestamp) => format!("{timestamp:.6}"),
            None => format!("@{}us", self.0),
        }
    }

    /// Reads what [`WallTime::to_rfc3339`] writes, or any other RFC 3339 text from 1970 on.
    #[must_use]
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let timestamp: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(timestamp.as_microsecond()).ok().map(Self)
    }

    /// RFC 3339 in the local time zone, with its offset.
    #[must_use]
    pub fn to_local_rfc3339(self) -> String {
        match self.to_timestamp() {
            Some(timestamp) => {
                let zoned = timestamp.to_zoned(jiff::tz::TimeZone::system());
                format!("{:.6}", timestamp.display_with_offset(zoned.offset()))
            }
            None => format!("@{}us", self.0),
        }
    }

    /// Date, time of day and seconds in the local time zone, for people.
    #[must_use]
    pub fn to_local(self) -> String {
        match self.to_timestamp() {
            Some(timestamp) => {
                let zoned = timestamp.to_zoned(jiff::tz::TimeZone::system());
                zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
            }
            None => format!("@{}us", self.0),
        }
    }

    fn to_timestamp(self) -> Option<jiff::Timestamp> {
        i64::try_from(self.0).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok())
    }
}

impl BootTime {
    /// This moment plus a span; saturates.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }

    /// Time from `earlier` to this moment; zero if it lies behind.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// A span as people write it: `30m`, `2h`, `1h 30m`, `90s`.
#[must_use]
pub fn spoken(span: Duration) -> String {
    let total = span.as_secs();
    let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
    let parts: Vec<String> = [(hours, "h"), (minutes, "m"), (seconds, "s")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// Reads a span such as `30m`, `1h 30m`, `2h30m` or `PT30M`: positive, at most a year, whole microseconds.
///
/// # Errors
/// Says in one sentence what is wrong with the text.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let signed: jiff::SignedDuration = text
        .trim()
        .parse()
        .map_err(|_| format!("{text:?} is no duration; write for example 30m or \"1h 30m\""))?;
    let span = Duration::try_from(signed).map_err(|_| format!("{text:?} is negative"))?;
    if span < Duration::from_millis(1) {
        return Err(format!("{text:?} is no time at all"));
    }
    if span > Duration::from_secs(366 * 24 * 3600) {
        return Err(format!("{text:?} is more than a year"));
    }
    Ok(span)
}

/// A span in whole microseconds, saturating.
#[must_use]
pub fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_has_always_six_digits() {
        assert_eq!(WallTime(0).to_rfc3339(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(WallTime(1_795_328_475_854_724).to_rfc3339(), "2026-11-22T06:21:15.854724Z");
        for moment in [WallTime(0), WallTime(1_795_328_475_854_724)] {
            assert_eq!(WallTime::from_rfc3339(&moment.to_rfc3339()), Some(moment));
        }
        assert_eq!(WallTime::from_rfc3339("yesterday"), None);
        assert_eq!(WallTime::from_rfc3339("1969-12-31T23:59:59Z"), None);
    }

    #[test]
    fn spans_are_read_as_people_write_them() {
        for (text, seconds) in
            [("30m", 1800), ("1h 30m", 5400), ("2h30m", 9000), ("PT30M", 1800), ("90s", 90)]
        {
            assert_eq!(parse_span(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for bad in ["", "soon", "-5m", "0s", "30", "9999999h"] {
            assert!(parse_span(bad).is_err(), "{bad:?}");
        }
        assert_eq!(spoken(Duration::from_secs(5400)), "1h 30m");
        assert_eq!(spoken(Duration::ZERO), "0s");
    }
}
