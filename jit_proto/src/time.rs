//! Times on the two clocks, as numbers; this file reads no clock.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A time of `CLOCK_REALTIME`, in microseconds since 1970-01-01 UTC. The clock can be set.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(pub u64);

/// A time of `CLOCK_BOOTTIME`, in microseconds since boot, suspend included (clock_gettime(2)). The clock never goes
/// back; a time means nothing in another boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootTime(pub u64);

/// The id of a boot: `/proc/sys/kernel/random/boot_id` (random(4)).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub String);

/// The arithmetic of times on both clocks, which cannot be mixed.
macro_rules! arithmetic_of {
    ($($moment:ident)+) => {$(
        impl $moment {
            /// This time plus a duration; saturates.
            #[must_use]
            pub fn after(self, span: Duration) -> Self {
                Self(self.0.saturating_add(micros(span)))
            }

            /// The time from `earlier` to this one; zero if `earlier` is later.
            #[must_use]
            pub fn since(self, earlier: Self) -> Duration {
                Duration::from_micros(self.0.saturating_sub(earlier.0))
            }
        }
    )+};
}
arithmetic_of!(WallTime BootTime);

impl WallTime {
    /// RFC 3339 in UTC, always with six fractional digits, so that equal times have equal texts.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        match self.to_timestamp() {
            Some(timestamp) => format!("{timestamp:.6}"),
            None => format!("@{}us", self.0),
        }
    }

    /// Parses the output of [`WallTime::to_rfc3339`], or any other RFC 3339 text from 1970 on.
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

    /// Date, time of day, seconds and offset from UTC in the local time zone, for people.
    #[must_use]
    pub fn to_local(self) -> String {
        self.to_local_in(&jiff::tz::TimeZone::system())
    }

    /// As [`WallTime::to_local`], in another time zone.
    #[must_use]
    pub fn to_local_in(self, zone: &jiff::tz::TimeZone) -> String {
        match self.to_timestamp() {
            Some(timestamp) => timestamp.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string(),
            None => format!("@{}us", self.0),
        }
    }

    fn to_timestamp(self) -> Option<jiff::Timestamp> {
        i64::try_from(self.0).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok())
    }
}

/// A duration as people write it: `30m`, `2h`, `1h 30m`, `90s`.
#[must_use]
pub fn format_duration(span: Duration) -> String {
    let total = span.as_secs();
    let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
    let parts: Vec<String> = [(hours, "h"), (minutes, "m"), (seconds, "s")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// Parses a duration such as `30m`, `1h 30m`, `2h30m`, `1d` or `PT30M`: positive, at most a year, whole microseconds. A
/// day is 24 hours, whatever the clocks do on it; longer units are refused, since their length depends on the calendar.
///
/// # Errors
/// A sentence about the problem, and what to write.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let trimmed = text.trim();
    if !trimmed.is_empty() && trimmed.chars().all(|c| c.is_ascii_digit()) {
        return Err(format!(
            "{text:?} has no unit; write \"{trimmed}m\" for minutes, \"{trimmed}h\" for hours or \"{trimmed}d\" for days"
        ));
    }
    let signed = trimmed.parse::<jiff::SignedDuration>().ok().or_else(|| in_days_of_24_hours(trimmed));
    let signed = signed
        .ok_or_else(|| format!("{text:?} is no duration; write for example 30m, \"1h 30m\", 24h or 1d"))?;
    let span = Duration::try_from(signed).map_err(|_| format!("{text:?} is negative"))?;
    if span < Duration::from_millis(1) {
        return Err(format!("{text:?} is no time at all"));
    }
    if span > Duration::from_secs(366 * 24 * 3600) {
        return Err(format!("{text:?} is more than a year"));
    }
    Ok(span)
}

fn in_days_of_24_hours(text: &str) -> Option<jiff::SignedDuration> {
    let span: jiff::Span = text.parse().ok()?;
    if span.get_years() != 0 || span.get_months() != 0 || span.get_weeks() != 0 {
        return None;
    }
    span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()
}

/// Parses a time to keep something: `6y`, `18mo`, `90d`, `12w`, or several of these. A year counts as 366 days and a
/// month as 31, so that nothing expires early by the calendar.
///
/// # Errors
/// A sentence about the problem. `m` is refused, which elsewhere is a minute.
pub fn parse_keeping(text: &str) -> Result<Duration, String> {
    const DAY: u64 = 24 * 3600;
    let unreadable =
        || format!("{text:?} is no time to keep something; write for example \"6y\", \"18mo\" or \"90d\"");
    let mut seconds: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(unreadable());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, behind) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| unreadable())?;
        let behind = behind.trim_start();
        let letters = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        let days = match unit {
            "y" | "year" | "years" => 366,
            "mo" | "month" | "months" => 31,
            "w" | "week" | "weeks" => 7,
            "d" | "day" | "days" => 1,
            "m" | "min" | "M" => {
                return Err(format!(
                    "{text:?}: m could be minutes or months; write \"{number}mo\" for months"
                ));
            }
            _ => return Err(unreadable()),
        };
        seconds = number
            .checked_mul(days * DAY)
            .and_then(|more| seconds.checked_add(more))
            .ok_or_else(unreadable)?;
        rest = behind.trim_start();
    }
    if seconds > 100 * 366 * DAY {
        return Err(format!("{text:?} is more than a hundred years; \"forever\" is how to say that"));
    }
    Ok(Duration::from_secs(seconds))
}

/// An age for people: in days, and in hours below that.
#[must_use]
pub fn in_days(span: Duration) -> String {
    match span.as_secs() / (24 * 3600) {
        0 => format_duration(span),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

/// Parses a size such as `512M`, `2G` or `2GiB`: powers of 1,024, and always with a unit.
///
/// # Errors
/// A sentence about the problem.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let unreadable = || format!("{text:?} is no size; write for example \"512M\" or \"2G\"");
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(unreadable)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| unreadable())?;
    let shift = match unit.trim_start() {
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return Err(unreadable()),
    };
    number.checked_mul(1 << shift).ok_or_else(unreadable)
}

/// Parses a time as people write it: RFC 3339, `2026-11-25`, `2026-11-25 14:30`, `2026-11-25T14:30[Europe/Berlin]`,
/// `today`, `yesterday`, `now`, or a duration back from now such as `2h`, `2h ago` or `7 days ago`. A day stands for
/// its beginning in the local time zone.
///
/// # Errors
/// A sentence about the problem. A time of day that the local clocks show twice, or never, on that day is refused, with
/// the two texts that are unambiguous.
pub fn parse_moment(text: &str, now: WallTime) -> Result<WallTime, String> {
    parse_moment_in(text, now, jiff::tz::TimeZone::system())
}

/// As [`parse_moment`], in another time zone.
///
/// # Errors
/// As [`parse_moment`].
pub fn parse_moment_in(text: &str, now: WallTime, zone: jiff::tz::TimeZone) -> Result<WallTime, String> {
    let text = text.trim();
    let unreadable = || {
        format!(
            "{text:?} is no moment; write for example 2026-11-25, \"2026-11-25 14:30\", \"2h ago\" or RFC 3339"
        )
    };
    if text.contains('[') {
        let parser =
            jiff::fmt::temporal::DateTimeParser::new().disambiguation(jiff::tz::Disambiguation::Reject);
        let zoned = parser.parse_zoned(text).map_err(|why| format!("{text:?} is no moment: {why}"))?;
        return of_timestamp(zoned.timestamp()).ok_or_else(unreadable);
    }
    if let Some(moment) = WallTime::from_rfc3339(text) {
        return Ok(moment);
    }
    let here = now.to_timestamp().ok_or_else(unreadable)?.to_zoned(zone.clone());
    let zoned = match text {
        "now" => return Ok(now),
        // A day begins where its clocks begin, also if they skip or repeat midnight.
        "today" => here.date().to_zoned(zone).ok(),
        "yesterday" => here.date().yesterday().ok().and_then(|day| day.to_zoned(zone).ok()),
        _ if text.starts_with(|c: char| c.is_ascii_digit()) => {
            if let Ok(day) = text.parse::<jiff::civil::Date>()
                && text.len() <= "2026-11-25".len()
            {
                day.to_zoned(zone).ok()
            } else if let Ok(civil) = text.parse::<jiff::civil::DateTime>() {
                return one_moment(text, civil, &zone).and_then(|at| of_timestamp(at).ok_or_else(unreadable));
            } else {
                text.parse::<jiff::Span>()
                    .ok()
                    .map(|span| if span.is_negative() { span } else { -span })
                    .and_then(|back| here.checked_add(back).ok())
            }
        }
        _ => None,
    };
    of_timestamp(zoned.ok_or_else(unreadable)?.timestamp()).ok_or_else(unreadable)
}

fn of_timestamp(timestamp: jiff::Timestamp) -> Option<WallTime> {
    u64::try_from(timestamp.as_microsecond()).ok().map(WallTime)
}

/// The only time at which the clocks of a time zone show this.
fn one_moment(
    text: &str,
    civil: jiff::civil::DateTime,
    zone: &jiff::tz::TimeZone,
) -> Result<jiff::Timestamp, String> {
    use jiff::tz::AmbiguousOffset;

    let found = zone.to_ambiguous_zoned(civil);
    let unreadable = |why: jiff::Error| format!("{text:?} is no moment: {why}");
    let (problem, offsets) = match found.offset() {
        AmbiguousOffset::Unambiguous { .. } => {
            return found.compatible().map(|zoned| zoned.timestamp()).map_err(unreadable);
        }
        AmbiguousOffset::Fold { before, after } => ("is two moments", [before, after]),
        AmbiguousOffset::Gap { before, after } => ("does not exist", [after, before]),
    };
    let mut meant = Vec::new();
    for offset in offsets {
        let at = offset.to_timestamp(civil).map_err(unreadable)?;
        meant.push(at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string());
    }
    let zone = zone.iana_name().unwrap_or("the local time zone");
    let meant = meant.join(" or ");
    Err(format!("{text:?} {problem} in {zone}, where the clocks are set on that day; write {meant}"))
}

/// A duration in whole microseconds, saturating.
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
        for (text, hours) in [("1d", 24), ("1 day", 24), ("2d 3h", 51), ("P1DT2H", 26), ("24h", 24)] {
            assert_eq!(parse_span(text), Ok(Duration::from_secs(hours * 3600)), "{text}");
        }
        for bad in ["", "soon", "-5m", "0s", "30", "9999999h", "1w", "1mo", "1y", "-1d", "400d"] {
            assert!(parse_span(bad).is_err(), "{bad:?}");
        }
        let bare = parse_span("30").unwrap_err();
        assert!(bare.contains("\"30m\"") && bare.contains("\"30h\""), "{bare}");
        assert!(parse_span("1w").unwrap_err().contains("24h"));
        assert_eq!(format_duration(Duration::from_secs(5400)), "1h 30m");
        assert_eq!(format_duration(Duration::ZERO), "0s");
    }

    #[test]
    fn what_is_kept_is_counted_in_whole_days_and_never_in_minutes() {
        let days = |days: u64| Ok(Duration::from_secs(days * 24 * 3600));
        for (text, kept) in
            [("6y", 2196), ("18mo", 558), ("1y 6mo", 552), ("90d", 90), ("12w", 84), (" 2 years ", 732)]
        {
            assert_eq!(parse_keeping(text), days(kept), "{text}");
        }
        let minutes = parse_keeping("18m").unwrap_err();
        assert!(minutes.contains("\"18mo\""), "{minutes}");
        for bad in ["", "6", "y", "6h", "-6y", "6.5y", "6y!", "101y", "99999999999999999999y", "forever"] {
            assert!(parse_keeping(bad).is_err(), "{bad:?}");
        }
        assert_eq!(in_days(Duration::from_secs(49 * 3600)), "2 days");
    }

    #[test]
    fn a_size_has_a_unit() {
        assert_eq!(parse_size("512M"), Ok(512 << 20));
        assert_eq!(parse_size(" 2 GiB "), Ok(2 << 30));
        for bad in ["", "512", "M", "2GB", "-2G", "99999999T", "1.5G"] {
            assert!(parse_size(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now = WallTime::from_rfc3339("2026-11-25T14:30:00Z").unwrap();
        let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(1));
        for (text, moment) in [
            ("2026-11-22T06:21:15Z", "2026-11-22T06:21:15Z"),
            ("2026-11-22T06:21:15+02:00", "2026-11-22T04:21:15Z"),
            ("2026-11-22", "2026-11-21T23:00:00Z"),
            (" 2026-11-22 08:30 ", "2026-11-22T07:30:00Z"),
            ("2026-11-22T08:30:05", "2026-11-22T07:30:05Z"),
            ("today", "2026-11-24T23:00:00Z"),
            ("yesterday", "2026-11-23T23:00:00Z"),
            ("now", "2026-11-25T14:30:00Z"),
            ("2h ago", "2026-11-25T12:30:00Z"),
            ("2h", "2026-11-25T12:30:00Z"),
            ("1h 30m ago", "2026-11-25T13:00:00Z"),
            ("7 days ago", "2026-11-18T14:30:00Z"),
            ("1 month ago", "2026-10-25T14:30:00Z"),
        ] {
            let read = parse_moment_in(text, now, zone.clone()).map(WallTime::to_rfc3339);
            let meant = WallTime::from_rfc3339(moment).unwrap().to_rfc3339();
            assert_eq!(read, Ok(meant), "{text}");
        }
        for bad in ["", "soon", "2026-13-01", "1900-01-01", "ago", "-3", "99999 years ago"] {
            assert!(parse_moment_in(bad, now, zone.clone()).is_err(), "{bad:?}");
        }
    }

    /// New York, by its rule, so that no time zone database is needed.
    fn new_york() -> jiff::tz::TimeZone {
        jiff::tz::TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap()
    }

    #[test]
    fn a_time_that_the_clocks_show_twice_or_never_is_refused_with_what_to_write() {
        let now = WallTime::from_rfc3339("2026-11-25T14:30:00Z").unwrap();
        let read = |text: &str| parse_moment_in(text, now, new_york());
        let twice = read("2026-11-01 01:30").unwrap_err();
        let (first, second) = ("2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-05:00");
        assert!(twice.contains("two moments") && twice.ends_with(&format!("{first} or {second}")), "{twice}");
        let never = read("2026-03-08 02:30").unwrap_err();
        let (before, after) = ("2026-03-08T01:30:00-05:00", "2026-03-08T03:30:00-04:00");
        assert!(
            never.contains("does not exist") && never.ends_with(&format!("{before} or {after}")),
            "{never}"
        );
        // The suggested texts are accepted, and mean what they say.
        for (text, moment) in [
            (first, "2026-11-01T05:30:00Z"),
            (second, "2026-11-01T06:30:00Z"),
            (before, "2026-03-08T06:30:00Z"),
            (after, "2026-03-08T07:30:00Z"),
            ("2026-11-01 01:30-05:00", "2026-11-01T06:30:00Z"),
            ("2026-11-01 00:59", "2026-11-01T04:59:00Z"),
            ("2026-03-08 03:00", "2026-03-08T07:00:00Z"),
            ("2026-11-01", "2026-11-01T04:00:00Z"),
        ] {
            assert_eq!(read(text), Ok(WallTime::from_rfc3339(moment).unwrap()), "{text}");
        }
        // A zone in brackets is used or refused, never ignored.
        assert!(read("2026-11-22T08:30[Nowhere/Nothing]").is_err());
        assert_eq!(
            read("2026-11-22T08:30+00:00[+00:00]"),
            Ok(WallTime::from_rfc3339("2026-11-22T08:30:00Z").unwrap())
        );
    }

    #[test]
    fn a_local_time_names_its_offset() {
        let at = WallTime::from_rfc3339("2026-11-22T06:21:15Z").unwrap();
        assert_eq!(at.to_local_in(&new_york()), "2026-11-22 01:21:15 -05:00");
        let summer = WallTime::from_rfc3339("2026-06-22T06:21:15Z").unwrap();
        assert_eq!(summer.to_local_in(&new_york()), "2026-06-22 02:21:15 -04:00");
    }
}
