//! Reads `[alerts]`: rules and thresholds.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use jiff::tz::TimeZone;
use thiserror::Error;
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
            Err(error) => {
                let at = hours.time_zone.as_ref().map_or_else(|| table.span(), Spanned::span);
                self.problem(source, at, key, error.to_string());
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

/// Why a time zone cannot be used.
#[derive(Debug, Error)]
enum ZoneError {
    /// The name is none of a file below [`ZONES`].
    #[error("{0:?} is no name of a time zone, such as Europe/Berlin")]
    Name(String),
    /// Its file cannot be read.
    #[error("{} cannot be read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Its file holds no time zone.
    #[error("{}: {error}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        #[source]
        error: jiff::Error,
    },
}

/// The time zone of this name, or the host's own; a host without one has UTC.
fn zone(name: Option<&str>) -> Result<TimeZone, ZoneError> {
    let Some(name) = name else {
        return match zone_in("local", PathBuf::from(LOCAL_ZONE)) {
            Err(ZoneError::Read { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                Ok(TimeZone::UTC)
            }
            found => found,
        };
    };
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !plain {
        return Err(ZoneError::Name(name.to_owned()));
    }
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    zone_in(name, Path::new(ZONES).join(name))
}

fn zone_in(name: &str, path: PathBuf) -> Result<TimeZone, ZoneError> {
    match fs::read(&path) {
        Ok(data) => TimeZone::tzif(name, &data).map_err(|error| ZoneError::Format { path, error }),
        Err(error) => Err(ZoneError::Read { path, error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_a_file_below_its_folder_and_nothing_else() {
        assert_eq!(zone(Some("UTC")).unwrap(), TimeZone::UTC);
        for name in ["", "../passwd", "/etc/passwd", "Europe/../../passwd"] {
            let expected = format!("{name:?} is no name of a time zone, such as Europe/Berlin");
            assert_eq!(zone(Some(name)).unwrap_err().to_string(), expected);
        }
        let expected =
            "/usr/share/zoneinfo/Nowhere/Land cannot be read: No such file or directory (os error 2)";
        assert_eq!(zone(Some("Nowhere/Land")).unwrap_err().to_string(), expected);
    }
}
