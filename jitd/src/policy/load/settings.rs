//! Reads `jitd.toml`, except its tables `[alerts]` and `[notify]`.

use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::source::Source;
use super::{Loader, hours};
use crate::core::policy::{DaemonOptions, Settings, SinkSettings};
use crate::core::retention::Retention;
use crate::policy::file::SettingsFile;
use crate::policy::form;

impl Loader<'_> {
    pub(super) fn settings(&mut self, source: &Source) -> Settings {
        let Some((file, mut values)) = self.parse::<SettingsFile>(source, &form::SETTINGS) else {
            return Settings::default();
        };
        let mut options = DaemonOptions::default();
        for (key, form::WrittenValue { written, value }) in values.remove("").unwrap_or_default() {
            value.into_iter().for_each(|value| options.set(key, value));
            options.written.insert(key, written);
        }
        let standard = Settings::default();
        let archive = self.archive(source, file.archive, standard.retention.archive);
        let sockets = file.syslog_socket.map(|socket| vec![socket]);
        let sockets = self.paths(source, "syslog_socket", sockets, vec![standard.sinks.syslog_socket]);
        let sinks = SinkSettings::of(&options);
        Settings {
            warn_before: self.warn_before(source, file.warn_before.as_deref(), standard.warn_before),
            operators: self.people(source, "operators", &file.operators),
            auditors: self.people(source, "auditors", &file.auditors),
            sinks: match sockets.into_iter().next() {
                Some(syslog_socket) => SinkSettings { syslog_socket, ..sinks },
                None => sinks,
            },
            setuid_paths: self.paths(source, "setuid_paths", file.setuid_paths, standard.setuid_paths),
            retention: Retention { archive, ..Retention::of(&options) },
            alerts: self.alerts(source, file.alerts, &options),
            notices: self.notices(source, file.notify, &options),
            options,
        }
    }

    pub(super) fn archive(
        &mut self,
        source: &Source,
        written: Option<Spanned<String>>,
        standard: Option<PathBuf>,
    ) -> Option<PathBuf> {
        match written {
            None => standard,
            Some(word) if word.get_ref() == "off" => None,
            Some(path) => self.paths(source, "archive", Some(vec![path]), Vec::new()).pop(),
        }
    }

    pub(super) fn warn_before(
        &mut self,
        source: &Source,
        written: Option<&[Spanned<String>]>,
        standard: Vec<Duration>,
    ) -> Vec<Duration> {
        let Some(written) = written else { return standard };
        let mut spans: Vec<Duration> =
            written.iter().map(|span| self.span(source, "warn_before", Some(span), hours(1))).collect();
        spans.sort_unstable_by(|left, right| right.cmp(left));
        spans.dedup();
        spans
    }
}
