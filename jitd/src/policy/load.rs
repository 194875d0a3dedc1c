//! From files to a policy: ownership, form, values, names.

mod alerts;

mod notices;

mod warnings;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jit_proto::audit::retention::MIN_RETENTION;
use jit_proto::bus::view::{ProblemView, Severity};
use jit_proto::identity::{RoleName, UserId};
use jit_proto::time::{WallTime, format_duration, in_days, parse_keeping, parse_size, parse_span};
use nix::fcntl::OFlag;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use toml::Spanned;
use toml::de::DeTable;

pub use warnings::warnings_outside;

use super::file::{OnExpiryWord, RoleTable, RolesFile, SettingsFile};
use super::form;
use crate::core::people::People;
use crate::core::policy::{OnExpiry, Policy, Role, RunAs, RunAsGroups, Settings, SinkSettings, TicketRule};
use crate::core::retention::Retention;
use crate::host::accounts::Directory;

/// No policy file is larger.
const MAX_BYTES: u64 = 1 << 20;
/// No limit of the store's size is lower.
const MIN_SIZE: u64 = 1 << 20;

/// A sign of life comes no more often.
const MIN_HEARTBEAT: Duration = Duration::from_secs(1);
/// A file of JSON lines may become at least as large, in bytes.
const MIN_FILE_BYTES: u64 = 64 << 10;

/// Reads the policy under `root` (`/etc/jitd`).
///
/// # Errors
/// Everything that is wrong with it, in the order of the files. Nothing of it is then in force.
pub fn load(root: &Path, names: &dyn Directory, loaded_at: WallTime) -> Result<Policy, Vec<ProblemView>> {
    let (policy, mut problems) = check(root, names, loaded_at);
    problems.retain(|problem| problem.severity == Severity::Error);
    policy.ok_or(problems)
}

/// Reads the policy under `root`; says what is wrong with it, and what in it cannot work although it is accepted. There
/// is a policy only where nothing is wrong.
#[must_use]
pub fn check(root: &Path, names: &dyn Directory, loaded_at: WallTime) -> (Option<Policy>, Vec<ProblemView>) {
    let mut loader = Loader::new(names);
    loader.check_folder(root);
    let settings_path = root.join("jitd.toml");
    let settings = match loader.read(&settings_path) {
        Some(source) => loader.settings(&source),
        None => Settings::default(),
    };
    let mut roles: BTreeMap<RoleName, Role> = BTreeMap::new();
    let mut places: BTreeMap<RoleName, String> = BTreeMap::new();
    let folder = root.join("roles.d");
    loader.check_folder(&folder);
    for path in loader.role_files(&folder) {
        let Some(source) = loader.read(&path) else { continue };
        let Some(file) = loader.parse::<RolesFile>(&source, form::ROLES) else { continue };
        for (name, table) in file.role {
            let Some(role) = loader.role(&source, &name, &table, &settings) else { continue };
            let key = format!("role.{}", role.name);
            if let Some(place) = places.get(&role.name) {
                loader.problem(&source, table.span(), &key, format!("this role is in {place} already"));
                continue;
            }
            places.insert(role.name.clone(), source.path.display().to_string());
            roles.insert(role.name.clone(), role);
        }
    }
    loader.warn_about_the_whole(root, &settings, &roles);
    let Loader { problems, hasher, .. } = loader;
    let policy = (!problems.iter().any(is_error)).then(|| {
        let digest = hex::encode(hasher.finalize());
        Policy { digest, loaded_at, settings, roles }
    });
    (policy, problems)
}

fn is_error(problem: &ProblemView) -> bool {
    problem.severity == Severity::Error
}

/// Where the records go, by the settings alone: for when the rest is not accepted. `None` if they have a mistake as well.
#[must_use]
pub fn sinks(root: &Path, names: &dyn Directory) -> Option<SinkSettings> {
    let mut loader = Loader::new(names);
    loader.check_folder(root);
    let settings = loader
        .read(&root.join("jitd.toml"))
        .map_or_else(Settings::default, |source| loader.settings(&source));
    (!loader.problems.iter().any(is_error)).then_some(settings.sinks)
}

struct Loader<'a> {
    names: &'a dyn Directory,
    problems: Vec<ProblemView>,
    hasher: Sha256,
}

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn line_of(&self, span: &Range<usize>) -> u64 {
        let before = self.text.as_bytes().iter().take(span.start);
        1 + before.filter(|byte| **byte == b'\n').count() as u64
    }
}

impl<'a> Loader<'a> {
    fn new(names: &'a dyn Directory) -> Self {
        Self { names, problems: Vec::new(), hasher: Sha256::new() }
    }
}

impl Loader<'_> {
    fn problem(&mut self, source: &Source, span: Range<usize>, key: &str, message: String) {
        let line = source.line_of(&span);
        let file = source.path.display().to_string();
        self.problems.push(ProblemView {
            file,
            line,
            key: key.to_owned(),
            message,
            severity: Severity::Error,
        });
    }

    fn problem_of_file(&mut self, path: &Path, message: String) {
        let file = path.display().to_string();
        let severity = Severity::Error;
        self.problems.push(ProblemView { file, line: 0, key: String::new(), message, severity });
    }

    /// Whoever may write a folder may replace what is in it.
    fn check_folder(&mut self, path: &Path) {
        match fs::symlink_metadata(path) {
            Ok(meta) if !meta.is_dir() => self.problem_of_file(path, "it is no folder".to_owned()),
            Ok(meta) => self.check_owner(path, &meta),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => self.problem_of_file(path, format!("it cannot be looked at: {error}")),
        }
    }

    fn check_owner(&mut self, path: &Path, meta: &fs::Metadata) {
        if meta.uid() != 0 {
            self.problem_of_file(path, format!("it belongs to uid {}, not to root", meta.uid()));
        }
        if meta.mode() & 0o022 != 0 {
            let mode = meta.mode() & 0o7777;
            self.problem_of_file(path, format!("others than root may write it (mode {mode:04o})"));
        }
    }

    fn role_files(&mut self, folder: &Path) -> Vec<PathBuf> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                self.problem_of_file(folder, format!("it cannot be read: {error}"));
                return Vec::new();
            }
        };
        let mut paths = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) if entry.path().extension().is_some_and(|ext| ext == "toml") => {
                    paths.push(entry.path())
                }
                Ok(_) => {}
                Err(error) => self.problem_of_file(folder, format!("it cannot be read: {error}")),
            }
        }
        paths.sort();
        paths
    }

    /// Reads one file that only root may write. The open file is what is checked, and a link is not followed.
    fn read(&mut self, path: &Path) -> Option<Source> {
        let opened = fs::OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits())
            .open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.problem_of_file(path, format!("it cannot be opened: {error}"));
                return None;
            }
        };
        let meta = match file.metadata() {
            Ok(meta) => meta,
            Err(error) => {
                self.problem_of_file(path, format!("it cannot be looked at: {error}"));
                return None;
            }
        };
        if !meta.is_file() {
            self.problem_of_file(path, "it is no plain file".to_owned());
            return None;
        }
        self.check_owner(path, &meta);
        let mut text = String::new();
        match file.take(MAX_BYTES + 1).read_to_string(&mut text) {
            Ok(_) if text.len() as u64 > MAX_BYTES => {
                self.problem_of_file(path, format!("it is larger than {MAX_BYTES} bytes"));
                None
            }
            Ok(_) => {
                self.hasher.update(path.display().to_string().as_bytes());
                self.hasher.update([0]);
                self.hasher.update((text.len() as u64).to_be_bytes());
                self.hasher.update(text.as_bytes());
                Some(Source { path: path.to_owned(), text })
            }
            Err(error) => {
                self.problem_of_file(path, format!("it cannot be read: {error}"));
                None
            }
        }
    }

    /// Reads a file's tables. What is no TOML is named and not read; what does not fit is named, and the rest is read.
    fn parse<T: DeserializeOwned>(&mut self, source: &Source, keys: &'static [form::Key]) -> Option<T> {
        let (mut table, errors) = DeTable::parse_recoverable(&source.text);
        if !errors.is_empty() {
            errors.iter().for_each(|error| self.syntax(source, "", error));
            return None;
        }
        for form::Deviation { span, key, message } in form::check(&mut table, keys) {
            self.problem(source, span, &key, message);
        }
        let deserializer = toml::Deserializer::from(table);
        match serde_path_to_error::deserialize(deserializer) {
            Ok(value) => Some(value),
            Err(error) => {
                // `Spanned` shows in the path under a name of its own.
                let path = error.path().to_string();
                let words = path.split('.').filter(|word| !word.starts_with('$') && !word.is_empty());
                let key = words.collect::<Vec<_>>().join(".");
                self.syntax(source, &key, error.inner());
                None
            }
        }
    }

    fn syntax(&mut self, source: &Source, key: &str, error: &toml::de::Error) {
        let span = error.span().unwrap_or(0..0);
        self.problem(source, span, key, error.message().to_owned());
    }

    fn settings(&mut self, source: &Source) -> Settings {
        let Some(file) = self.parse::<SettingsFile>(source, form::SETTINGS) else {
            return Settings::default();
        };
        let standard = Settings::default();
        Settings {
            max_duration: self.span(
                source,
                "max_duration",
                file.max_duration.as_ref(),
                standard.max_duration,
            ),
            request_expiry: self.span(
                source,
                "request_expiry",
                file.request_expiry.as_ref(),
                standard.request_expiry,
            ),
            grace: self.span(source, "grace", file.grace.as_ref(), standard.grace),
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
        }
    }

    fn age(
        &mut self,
        source: &Source,
        written: Option<&Spanned<String>>,
        standard: Option<Duration>,
    ) -> Option<Duration> {
        let Some(written) = written else { return standard };
        if written.get_ref() == "forever" {
            return None;
        }
        let age = parse_keeping(written.get_ref()).and_then(|age| match age < MIN_RETENTION {
            true => Err(format!("{} is less than {}", in_days(age), in_days(MIN_RETENTION))),
            false => Ok(age),
        });
        age.map(Some).unwrap_or_else(|message| {
            self.problem(source, written.span(), "retention", message);
            standard
        })
    }

    fn size(&mut self, source: &Source, written: Option<&Spanned<String>>) -> Option<u64> {
        let written = written?;
        let size = parse_size(written.get_ref()).and_then(|size| match size < MIN_SIZE {
            true => Err(format!("{:?} is less than {}M", written.get_ref(), MIN_SIZE >> 20)),
            false => Ok(size),
        });
        size.map_err(|message| self.problem(source, written.span(), "retention_size", message)).ok()
    }

    fn archive(
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

    fn sinks(&mut self, source: &Source, file: &SettingsFile, standard: SinkSettings) -> SinkSettings {
        let socket = file.syslog_socket.clone().map(|socket| vec![socket]);
        let sockets = self.paths(source, "syslog_socket", socket, vec![standard.syslog_socket.clone()]);
        let size = file.json_lines_max_size.as_ref();
        let keep = file.json_lines_keep.as_ref();
        if let Some(none) = keep.filter(|keep| *keep.get_ref() == 0) {
            let message = "at least one file has to be kept beside the one that is written".to_owned();
            self.problem(source, none.span(), "json_lines_keep", message);
        }
        let heartbeat = self.span(source, "heartbeat", file.heartbeat.as_ref(), standard.heartbeat);
        if let Some(written) = file.heartbeat.as_ref().filter(|_| heartbeat < MIN_HEARTBEAT) {
            let message =
                format!("{} is less than {}", format_duration(heartbeat), format_duration(MIN_HEARTBEAT));
            self.problem(source, written.span(), "heartbeat", message);
        }
        let within = file.require_forwarding_within.as_ref();
        SinkSettings {
            syslog_socket: sockets.into_iter().next().unwrap_or(standard.syslog_socket),
            syslog_enterprise: file.syslog_enterprise.unwrap_or(standard.syslog_enterprise),
            journal: file.journal.unwrap_or(standard.journal),
            json_lines: file.json_lines.unwrap_or(standard.json_lines),
            json_lines_max_size: size.map_or(standard.json_lines_max_size, |size| {
                let least = MIN_FILE_BYTES;
                let read = parse_size(size.get_ref()).and_then(|bytes| {
                    if bytes < least {
                        Err(format!("{:?} is less than 64K", size.get_ref()))
                    } else {
                        Ok(bytes)
                    }
                });
                read.unwrap_or_else(|message| {
                    self.problem(source, size.span(), "json_lines_max_size", message);
                    standard.json_lines_max_size
                })
            }),
            json_lines_keep: keep.map_or(standard.json_lines_keep, |keep| *keep.get_ref()),
            heartbeat,
            require_forwarding_within: within
                .map(|within| self.span(source, "require_forwarding_within", Some(within), Duration::ZERO)),
        }
    }

    fn role(
        &mut self,
        source: &Source,
        name: &str,
        table: &Spanned<RoleTable>,
        settings: &Settings,
    ) -> Option<Role> {
        let before = self.problems.iter().filter(|problem| is_error(problem)).count();
        let key = |last: &str| format!("role.{name}.{last}");
        let parsed = RoleName::try_from(name.to_owned());
        if let Err(error) = &parsed {
            self.problem(source, table.span(), &format!("role.{name}"), error.to_string());
        }
        let role = table.get_ref();
        if role.members.is_empty() {
            self.problem(source, table.span(), &key("members"), "nobody could ask for this role".to_owned());
        }
        let approval = role.approval.as_ref();
        if approval.is_some_and(|approval| approval.from.is_empty()) {
            let message = "nobody could approve this role".to_owned();
            self.problem(source, table.span(), &key("approval.from"), message);
        }
        // Where the table is missing, `form` has said so, and there will be no role.
        let (from, count) = approval
            .map_or_else(|| (&[][..], Spanned::new(0..0, 1)), |it| (it.from.as_slice(), it.count.clone()));
        if *count.get_ref() < 1 {
            let message = "at least one other person has to approve".to_owned();
            self.problem(source, count.span(), &key("approval.count"), message);
        }
        let ceiling = settings.max_duration;
        let max_duration =
            self.span(source, &key("max_duration"), role.max_duration.as_ref(), ceiling.min(hours(2)));
        if max_duration > ceiling {
            let at = role.max_duration.as_ref().map_or(0..0, Spanned::span);
            let message = format!(
                "{} is above the ceiling of {} in jitd.toml",
                format_duration(max_duration),
                format_duration(ceiling)
            );
            self.problem(source, at, &key("max_duration"), message);
        }
        let usual = max_duration.min(Duration::from_secs(1800));
        let default_duration =
            self.span(source, &key("default_duration"), role.default_duration.as_ref(), usual);
        if default_duration > max_duration {
            let at = role.default_duration.as_ref().map_or(0..0, Spanned::span);
            let message = format!(
                "{} is above max_duration, {}",
                format_duration(default_duration),
                format_duration(max_duration)
            );
            self.problem(source, at, &key("default_duration"), message);
        }
        let members = self.people(source, &key("members"), &role.members);
        let approvers = self.people(source, &key("approval.from"), from);
        self.warn_about_people(source, table.span(), name, role, *count.get_ref());
        let run_as = self.run_as(source, &key("run_as"), role.run_as.as_deref());
        let run_as_groups = self.run_as_groups(source, &key("run_as_groups"), &role.run_as_groups, &run_as);
        let services = self.services(source, &key("services"), role.services.as_deref());
        let pattern = role.ticket.pattern.as_ref().and_then(|written| {
            regex_lite::Regex::new(written.get_ref())
                .map_err(|error| {
                    self.problem(source, written.span(), &key("ticket.pattern"), error.to_string());
                })
                .ok()
        });
        let reason_min_length = *role.reason.min_length.get_ref();
        if reason_min_length > 250 {
            let message = "more than 250 characters would only be filled with noise".to_owned();
            self.problem(source, role.reason.min_length.span(), &key("reason.min_length"), message);
        }
        let unused_for =
            role.unused_for.as_ref().map(|span| self.span(source, &key("unused_for"), Some(span), hours(1)));
        let idle_timeout = role
            .idle_timeout
            .as_ref()
            .map(|span| self.span(source, &key("idle_timeout"), Some(span), hours(1)));
        let on_expiry = self.on_expiry(source, &key("on_expiry_limit"), role, ceiling);
        let name = parsed.ok()?;
        let after = self.problems.iter().filter(|problem| is_error(problem)).count();
        (after == before).then(|| Role {
            name,
            description: role.description.clone(),
            members,
            run_as,
            run_as_groups,
            services,
            default_duration,
            max_duration,
            reason_min_length,
            ticket: TicketRule { required: role.ticket.required, pattern },
            approvers,
            approvals: *count.get_ref(),
            unused_for,
            idle_timeout,
            end_with_login: role.end_with_login,
            without_forwarding: role.without_forwarding,
            on_expiry,
        })
    }

    fn on_expiry(&mut self, source: &Source, key: &str, role: &RoleTable, ceiling: Duration) -> OnExpiry {
        let word = role.on_expiry.as_ref().map_or(OnExpiryWord::Terminate, |word| *word.get_ref());
        match (word, &role.on_expiry_limit) {
            (OnExpiryWord::Terminate, None) => OnExpiry::Terminate,
            (OnExpiryWord::Terminate, Some(limit)) => {
                let message = "it goes with on_expiry = \"deny-new\" only".to_owned();
                self.problem(source, limit.span(), key, message);
                OnExpiry::Terminate
            }
            (OnExpiryWord::DenyNew, limit) => {
                let at_most = self.span(source, key, limit.as_ref(), hours(1).min(ceiling));
                if at_most > ceiling {
                    let at = limit.as_ref().map_or(0..0, Spanned::span);
                    let (most, ceiling) = (format_duration(at_most), format_duration(ceiling));
                    let message = format!("{most} is above the ceiling of {ceiling} in jitd.toml");
                    self.problem(source, at, key, message);
                }
                OnExpiry::DenyNew { at_most }
            }
        }
    }

    fn warn_before(
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

    fn span(
        &mut self,
        source: &Source,
        key: &str,
        written: Option<&Spanned<String>>,
        standard: Duration,
    ) -> Duration {
        let Some(written) = written else { return standard };
        parse_span(written.get_ref()).unwrap_or_else(|message| {
            self.problem(source, written.span(), key, message);
            standard
        })
    }

    fn paths(
        &mut self,
        source: &Source,
        key: &str,
        written: Option<Vec<Spanned<String>>>,
        standard: Vec<PathBuf>,
    ) -> Vec<PathBuf> {
        let Some(written) = written else { return standard };
        for path in &written {
            let plain = Path::new(path.get_ref())
                .components()
                .all(|part| matches!(part, std::path::Component::RootDir | std::path::Component::Normal(_)));
            if !plain || !path.get_ref().starts_with('/') {
                let message =
                    format!("{:?} is no path that begins at / and goes straight down", path.get_ref());
                self.problem(source, path.span(), key, message);
            }
        }
        written.into_iter().map(|path| PathBuf::from(path.into_inner())).collect()
    }

    fn people(&mut self, source: &Source, key: &str, written: &[Spanned<String>]) -> People {
        let mut people = People::default();
        for entry in written {
            let name = entry.get_ref();
            let found = match name.strip_prefix('@') {
                Some(group) => {
                    self.names.group(group).map(|id| id.map(|id| people.groups.insert(id)).is_some())
                }
                None => self.names.user(name).map(|id| id.map(|id| people.users.insert(id)).is_some()),
            };
            self.found(source, entry, key, found);
            people.written.push(name.clone());
        }
        people
    }

    fn run_as(&mut self, source: &Source, key: &str, written: Option<&[Spanned<String>]>) -> RunAs {
        let Some(written) = written else {
            return RunAs { written: vec!["root".to_owned()], users: BTreeSet::from([UserId::ROOT]) };
        };
        let mut run_as = RunAs::default();
        for entry in written {
            let user = self.names.user(entry.get_ref());
            self.found(source, entry, key, user.map(|id| id.map(|id| run_as.users.insert(id)).is_some()));
            run_as.written.push(entry.get_ref().clone());
        }
        run_as
    }

    fn run_as_groups(
        &mut self,
        source: &Source,
        key: &str,
        written: &[Spanned<String>],
        run_as: &RunAs,
    ) -> RunAsGroups {
        let mut groups = RunAsGroups::default();
        if let Some(first) = written.first()
            && run_as.is_anybody()
        {
            let message = "run_as covers root, and so every group: name no groups here".to_owned();
            self.problem(source, first.span(), key, message);
        }
        for entry in written {
            let name = entry.get_ref();
            match self.names.group(name) {
                Ok(Some(id)) => drop(groups.groups.insert(id)),
                Ok(None) => {
                    let message = format!("there is no group {name:?} on this host");
                    self.problem(source, entry.span(), key, message);
                }
                Err(error) => {
                    let message = format!("group {name:?} cannot be looked up: {error}");
                    self.problem(source, entry.span(), key, message);
                }
            }
            groups.written.push(name.clone());
        }
        groups
    }

    fn found(&mut self, source: &Source, entry: &Spanned<String>, key: &str, found: Result<bool, String>) {
        let name = entry.get_ref();
        let kind = if name.starts_with('@') { "group" } else { "user" };
        let bare = name.trim_start_matches('@');
        let message = match found {
            Ok(true) => return,
            Ok(false) => format!("there is no {kind} {bare:?} on this host"),
            Err(error) => format!("{kind} {bare:?} cannot be looked up: {error}"),
        };
        self.problem(source, entry.span(), key, message);
    }

    fn services(
        &mut self,
        source: &Source,
        key: &str,
        written: Option<&[Spanned<String>]>,
    ) -> BTreeSet<String> {
        let Some(written) = written else {
            return BTreeSet::from(["sudo".to_owned(), "sudo-i".to_owned()]);
        };
        let mut services = BTreeSet::new();
        for entry in written {
            let name = entry.get_ref();
            let plain =
                name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@'));
            if name.is_empty() || !plain {
                self.problem(source, entry.span(), key, format!("{name:?} is no name of a PAM service"));
            }
            services.insert(name.clone());
        }
        services
    }
}

fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3600)
}
