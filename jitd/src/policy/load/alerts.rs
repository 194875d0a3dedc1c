//! Reads `[alerts]`: rules and thresholds.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use jiff::tz::TimeZone;
use toml::Spanned;

use super::Loader;
use super::source::Source;
use crate::core::alerts::{AlertRules, DAYS, Hours, Rule};
use crate::core::policy::DaemonOptions;
use crate::policy::file::{AlertsTable, HoursTable};

/// The folder of time zones (tzfile(5)), and the host's own (localtime(5)).
const ZONES: &str = "/usr/share/zoneinfo";
const LOCAL_ZONE: &str = "/etc/localtime";

impl Loader<'_> {
    pub(super) fn alerts(
        &mut self,
        source: &Source,
        table: AlertsTable,
        options: &DaemonOptions,
    ) -> AlertRules {
        let mut off = BTreeSet::new();
        for name in &table.off {
            match Rule::ALL.iter().find(|rule| rule.name() == name.get_ref()) {
                Some(rule) => drop(off.insert(*rule)),
                None => {
                    let names: Vec<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
                    let message = format!("there is no rule {:?}, but {}", name.get_ref(), names.join(", "));
                    self.problem(source, name.span(), "alerts.off", message);
                }
            }
        }
        let hours = table.outside_hours.and_then(|hours| self.hours(source, &hours));
        AlertRules { off, hours, ..AlertRules::of(options) }
    }

    fn hours(&mut self, source: &Source, table: &Spanned<HoursTable>) -> Option<Hours> {
        let hours = table.get_ref();
        let mut days = BTreeSet::new();
        for name in hours.days.iter().flatten() {
            match DAYS.iter().zip(0u8..).find(|(day, _)| *day == name.get_ref()) {
                Some((_, day)) => drop(days.insert(day)),
                None => {
                    let message = format!("{:?} is none of {}", name.get_ref(), DAYS.join(", "));
                    self.problem(source, name.span(), "alerts.outside_hours.days", message);
                }
            }
        }
        if hours.days.is_none() {
            days.extend(0..5);
        }
        let from = self.minute(source, "alerts.outside_hours.from", &hours.from)?;
        let to = self.minute(source, "alerts.outside_hours.to", &hours.to)?;
        if from >= to {
            let message = format!("{} is not before {}", hours.from.get_ref(), hours.to.get_ref());
            self.problem(source, hours.from.span(), "alerts.outside_hours.from", message);
        }
        let key = "alerts.outside_hours.time_zone";
        match zone(hours.time_zone.as_ref().map(|name| name.get_ref().as_str())) {
            Ok(zone) => Some(Hours { days, from, to, zone }),
            Err(message) => {
                let at = hours.time_zone.as_ref().map_or_else(|| table.span(), Spanned::span);
                self.problem(source, at, key, message);
                None
            }
        }
    }

    /// A time such as `07:30` as the minute of the day; `24:00` is its end.
    fn minute(&mut self, source: &Source, key: &str, written: &Spanned<String>) -> Option<u16> {
        let minute = written.get_ref().split_once(':').and_then(|(hour, minute)| {
            let two_digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            let fit = two_digits(hour) && two_digits(minute);
            let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
            (fit && minute < 60 && hour * 60 + minute <= 24 * 60).then_some(hour * 60 + minute)
        });
        if minute.is_none() {
            let message = format!("{:?} is no time of day; write for example 07:30", written.get_ref());
            self.problem(source, written.span(), key, message);
        }
        minute
    }
}

/// The time zone of this name, or the host's own; a host without one has UTC.
fn zone(name: Option<&str>) -> Result<TimeZone, String> {
    let Some(name) = name else {
        return match fs::read(LOCAL_ZONE) {
            Ok(data) => parsed("local", &data).map_err(|error| format!("{LOCAL_ZONE}: {error}")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(TimeZone::UTC),
            Err(error) => Err(format!("{LOCAL_ZONE} cannot be read: {error}")),
        };
    };
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !plain {
        return Err(format!("{name:?} is no name of a time zone, such as Europe/Berlin"));
    }
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    let path: PathBuf = Path::new(ZONES).join(name);
    let data = fs::read(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    parsed(name, &data).map_err(|error| format!("{}: {error}", path.display()))
}

fn parsed(name: &str, data: &[u8]) -> Result<TimeZone, jiff::Error> {
    TimeZone::tzif(name, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_a_file_below_its_folder_and_nothing_else() {
        assert_eq!(zone(Some("UTC")).unwrap(), TimeZone::UTC);
        for name in ["", "../passwd", "/etc/passwd", "Europe/../../passwd"] {
            assert!(zone(Some(name)).unwrap_err().contains("is no name"), "{name}");
        }
        assert!(zone(Some("Nowhere/Land")).unwrap_err().contains("cannot be read"));
    }
}
