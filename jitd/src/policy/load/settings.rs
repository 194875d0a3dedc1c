//! Reads `jitd.toml`, but for its tables `[alerts]` and `[notify]`.

use std::path::PathBuf;
use std::time::Duration;

use jit_proto::time::{parse_keeping, parse_size};
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
        Settings {
            max_duration: self.span(
                source,
                "max_duration",
                file.max_duration.as_ref(),
                standard.max_duration,
            ),
            warn_before: self.warn_before(source, file.warn_before.as_deref(), standard.warn_before),
            approve_without_login: file.approve_without_login,
            approve_as_another_account: file.approve_as_another_account,
            operators: self.people(source, "operators", &file.operators),
            auditors: self.people(source, "auditors", &file.auditors),
            sinks: self.sinks(source, &file, standard.sinks),
            setuid_paths: self.paths(source, "setuid_paths", file.setuid_paths, standard.setuid_paths),
            retention: Retention {
                age: self.age(source, file.retention.as_ref(), standard.retention.age),
                size: self.size(source, file.retention_size.as_ref()),
                archive: self.archive(source, file.archive, standard.retention.archive),
            },
            alerts: self.alerts(source, file.alerts),
            notices: self.notices(source, file.notify),
            options,
        }
    }

    pub(super) fn age(
        &mut self,
        source: &Source,
        written: Option<&Spanned<String>>,
        standard: Option<Duration>,
    ) -> Option<Duration> {
        let Some(written) = written else { return standard };
        if written.get_ref() == "forever" {
            return None;
        }
        let age = parse_keeping(written.get_ref());
        age.map(Some).unwrap_or_else(|message| {
            self.problem(source, written.span(), "retention", message);
            standard
        })
    }

    pub(super) fn size(&mut self, source: &Source, written: Option<&Spanned<String>>) -> Option<u64> {
        let written = written?;
        let size = parse_size(written.get_ref());
        size.map_err(|message| self.problem(source, written.span(), "retention_size", message)).ok()
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

    pub(super) fn sinks(
        &mut self,
        source: &Source,
        file: &SettingsFile,
        standard: SinkSettings,
    ) -> SinkSettings {
        let socket = file.syslog_socket.clone().map(|socket| vec![socket]);
        let sockets = self.paths(source, "syslog_socket", socket, vec![standard.syslog_socket.clone()]);
        let size = file.json_lines_max_size.as_ref();
        let heartbeat = self.span(source, "heartbeat", file.heartbeat.as_ref(), standard.heartbeat);
        let within = file.require_forwarding_within.as_ref();
        SinkSettings {
            syslog_socket: sockets.into_iter().next().unwrap_or(standard.syslog_socket),
            syslog_enterprise: file.syslog_enterprise.unwrap_or(standard.syslog_enterprise),
            journal: file.journal.unwrap_or(standard.journal),
            json_lines: file.json_lines.unwrap_or(standard.json_lines),
            json_lines_max_size: size.map_or(standard.json_lines_max_size, |size| {
                let read = parse_size(size.get_ref());
                read.unwrap_or_else(|message| {
                    self.problem(source, size.span(), "json_lines_max_size", message);
                    standard.json_lines_max_size
                })
            }),
            json_lines_keep: file.json_lines_keep.unwrap_or(standard.json_lines_keep),
            heartbeat,
            require_forwarding_within: within
                .map(|within| self.span(source, "require_forwarding_within", Some(within), Duration::ZERO)),
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
