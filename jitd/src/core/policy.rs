//! The policy in force: roles and settings, every value checked and every name resolved when it was loaded.

mod setting;

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use jit_proto::bus::view::SettingView;
use jit_proto::identity::{GroupId, Reason, RoleName, Ticket, UserId};
use jit_proto::time::{WallTime, format_duration};

use super::alerts::AlertRules;
use super::notices::Notices;
use super::people::People;
use super::retention::Retention;
pub use setting::{Age, BadValue, Kind, Mode, Setting, Standard, Value};
pub use table::{DAEMON, DaemonOptions, ROLE, RoleOptions};

/// The contents of `/etc/jitd`.
#[derive(Debug, Clone)]
pub struct Policy {
    /// SHA-256 over the files, in hex.
    pub digest: String,
    /// When it was loaded.
    pub loaded_at: WallTime,
    /// The settings.
    pub settings: Settings,
    /// The roles by name.
    pub roles: BTreeMap<RoleName, Role>,
}

impl Policy {
    /// The PAM services that its roles open.
    #[must_use]
    pub fn services(&self) -> BTreeSet<String> {
        self.roles.values().flat_map(|role| role.services.iter().cloned()).collect()
    }

    /// What becomes of the denied calls that a role would cover: what the role says, or else what `jitd.toml` says.
    #[must_use]
    pub fn mode_of(&self, role: &Role) -> Mode {
        role.options.mode.unwrap_or(self.settings.options.mode)
    }
}

/// `jitd.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The times before the end of a window at which its holder is warned; the longest first.
    pub warn_before: Vec<Duration>,
    /// Who may grant and revoke without a request.
    pub operators: People,
    /// Who may read the audit log.
    pub auditors: People,
    /// Where audit records are written.
    pub sinks: SinkSettings,
    /// The paths below which the drift scan looks for files that give privilege.
    pub setuid_paths: Vec<PathBuf>,
    /// How long records are kept in the store.
    pub retention: Retention,
    /// The rules of alerts.
    pub alerts: AlertRules,
    /// The notifications.
    pub notices: Notices,
    /// The settings of simple kinds, by their rows.
    pub options: DaemonOptions,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            warn_before: vec![Duration::from_secs(300), Duration::from_secs(60)],
            operators: People::default(),
            auditors: People::default(),
            sinks: SinkSettings::default(),
            setuid_paths: vec![PathBuf::from("/")],
            retention: Retention::default(),
            alerts: AlertRules::default(),
            notices: Notices::default(),
            options: DaemonOptions::default(),
        }
    }
}

/// Every row of a table with its value: from the file, or the default.
#[must_use]
pub fn shown(rows: &[Setting], written: &BTreeMap<&'static str, String>) -> Vec<SettingView> {
    let view = |row: &Setting| SettingView {
        key: row.key.to_owned(),
        value: written.get(row.key).cloned().unwrap_or_else(|| row.default.value().to_owned()),
        is_default: !written.contains_key(row.key),
    };
    rows.iter().map(view).collect()
}

/// Where audit records are written, and whether access depends on that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSettings {
    /// The socket of the syslog daemon.
    pub syslog_socket: PathBuf,
    /// Private enterprise number in the structured data of syslog messages (RFC 5424 section 7.2.2).
    pub syslog_enterprise: u32,
    /// Whether records are written to the journal, with a field for each fact.
    pub journal: bool,
    /// Whether records are written to a file of JSON lines.
    pub json_lines: bool,
    /// The size in bytes at which that file is rotated.
    pub json_lines_max_size: u64,
    /// The number of rotated files that are kept.
    pub json_lines_keep: u32,
    /// The interval of the heartbeat.
    pub heartbeat: Duration,
    /// While a record waits for syslog longer than this, every sudo is denied.
    pub require_forwarding_within: Option<Duration>,
}

impl SinkSettings {
    /// The settings of simple kinds as the options have them; the default socket.
    #[must_use]
    pub fn of(options: &DaemonOptions) -> Self {
        Self {
            syslog_socket: PathBuf::from("/dev/log"),
            syslog_enterprise: options.syslog_enterprise,
            journal: options.journal,
            json_lines: options.json_lines,
            json_lines_max_size: options.json_lines_max_size,
            json_lines_keep: options.json_lines_keep,
            heartbeat: options.heartbeat,
            require_forwarding_within: options.require_forwarding_within,
        }
    }
}

impl Default for SinkSettings {
    fn default() -> Self {
        Self::of(&DaemonOptions::default())
    }
}

/// A role.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name.
    pub name: RoleName,
    /// Its description.
    pub description: String,
    /// Who may request it.
    pub members: People,
    /// The target users.
    pub run_as: RunAs,
    /// The groups beside those of the target user, where `run_as` is limited.
    pub run_as_groups: RunAsGroups,
    /// PAM services it opens.
    pub services: BTreeSet<String>,
    /// The duration of a request that names none.
    pub default_duration: Duration,
    /// The longest duration that a request may name.
    pub max_duration: Duration,
    /// The rule for tickets.
    pub ticket: TicketRule,
    /// Who may approve.
    pub approvers: People,
    /// The number of different approvers that a request needs; at least 1.
    pub approvals: u32,
    /// What happens to sessions when the window expires.
    pub on_expiry: OnExpiry,
    /// The settings of simple kinds, by their rows.
    pub options: RoleOptions,
}

/// What happens to a grant's sessions when its window expires. When a grant is revoked, released or withdrawn, its
/// sessions always end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnExpiry {
    /// The sessions end.
    #[default]
    Terminate,
    /// New commands are denied, and running ones may finish, for work that must not be interrupted.
    DenyNew {
        /// The time after which the sessions end.
        at_most: Duration,
    },
}

/// The target users of a role. Root can become any user, so a role that names root covers every user and group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunAs {
    /// As the file has it.
    pub written: Vec<String>,
    /// The users named.
    pub users: BTreeSet<UserId>,
}

impl RunAs {
    /// Whether it covers this target.
    #[must_use]
    pub fn covers(&self, target: UserId) -> bool {
        self.is_anybody() || self.users.contains(&target)
    }

    /// Whether it covers every user.
    #[must_use]
    pub fn is_anybody(&self) -> bool {
        self.users.contains(&UserId::ROOT)
    }
}

/// The groups that a role gives beside those of the target user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunAsGroups {
    /// As the file has it.
    pub written: Vec<String>,
    /// The groups named.
    pub groups: BTreeSet<GroupId>,
}

/// The rule for tickets.
#[derive(Debug, Clone, Default)]
pub struct TicketRule {
    /// Whether a request needs a ticket.
    pub required: bool,
    /// The pattern that a ticket has to match, anchored as the file has it.
    pub pattern: Option<regex_lite::Regex>,
}

impl Role {
    /// The duration of a request for this role.
    ///
    /// # Errors
    /// A sentence for the requester.
    pub fn duration(&self, asked: Option<Duration>) -> Result<Duration, String> {
        let duration = asked.unwrap_or(self.default_duration);
        if duration > self.max_duration {
            let (asked, most) = (format_duration(duration), format_duration(self.max_duration));
            return Err(format!("role {} is given for {most} at most, not for {asked}", self.name));
        }
        Ok(duration)
    }

    /// Whether a reason is long enough.
    ///
    /// # Errors
    /// A sentence for the requester.
    pub fn accepts_reason(&self, reason: &Reason) -> Result<(), String> {
        let length = reason.as_str().chars().count();
        let least = self.options.reason_min_length;
        if length < least as usize {
            return Err(format!(
                "role {} wants a reason of at least {least} characters, not {length}",
                self.name
            ));
        }
        Ok(())
    }

    /// Whether a ticket satisfies the rule.
    ///
    /// # Errors
    /// A sentence for the requester.
    pub fn accepts_ticket(&self, ticket: Option<&Ticket>) -> Result<(), String> {
        match (ticket, &self.ticket.pattern) {
            (None, _) if self.ticket.required => Err(format!("role {} wants a ticket", self.name)),
            (Some(ticket), Some(pattern)) if !pattern.is_match(ticket.as_str()) => {
                Err(format!("role {} wants a ticket that matches {}", self.name, pattern.as_str()))
            }
            _ => Ok(()),
        }
    }

    /// The command line that requests this role.
    #[must_use]
    pub fn request_line(&self) -> String {
        let span = format_duration(self.default_duration).replace(' ', "");
        let ticket = if self.ticket.required { " --ticket TICKET" } else { "" };
        format!("jitctl request {} --for {span} --reason \"...\"{ticket}", self.name)
    }
}
