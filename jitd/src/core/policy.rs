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
pub use setting::{Age, BadValue, Kind, Setting, Standard, Value};
pub use table::{DAEMON, DaemonOptions, ROLE, RoleOptions};

/// Everything that `/etc/jitd` says.
#[derive(Debug, Clone)]
pub struct Policy {
    /// SHA-256 over the files, in hex.
    pub digest: String,
    /// When it was read.
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
}

/// `jitd.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long before the end of a window its holder is told; the longest first.
    pub warn_before: Vec<Duration>,
    /// Who may grant and revoke without a request.
    pub operators: People,
    /// Who may read the audit record.
    pub auditors: People,
    /// Where the audit records go.
    pub sinks: SinkSettings,
    /// Below these paths, files that give privilege to whoever runs them are looked for.
    pub setuid_paths: Vec<PathBuf>,
    /// How long the record is kept in the store.
    pub retention: Retention,
    /// What is alerted to.
    pub alerts: AlertRules,
    /// Who is told of what.
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

/// Every row of a table with its value: as the file says it, or the default.
#[must_use]
pub fn shown(rows: &[Setting], written: &BTreeMap<&'static str, String>) -> Vec<SettingView> {
    let view = |row: &Setting| SettingView {
        key: row.key.to_owned(),
        value: written.get(row.key).cloned().unwrap_or_else(|| row.default.value().to_owned()),
        is_default: !written.contains_key(row.key),
    };
    rows.iter().map(view).collect()
}

/// Where the audit records go, and what is asked of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSettings {
    /// The socket of the syslog daemon.
    pub syslog_socket: PathBuf,
    /// Private enterprise number in the structured data of syslog messages (RFC 5424 section 7.2.2).
    pub syslog_enterprise: u32,
    /// Whether they go to the journal, with fields of their own.
    pub journal: bool,
    /// Whether they go into a file of JSON lines.
    pub json_lines: bool,
    /// Bytes after which that file gets the next name.
    pub json_lines_max_size: u64,
    /// How many of those are kept.
    pub json_lines_keep: u32,
    /// A sign of life goes out so often.
    pub heartbeat: Duration,
    /// While a record waits for syslog longer than this, nobody is let through.
    pub require_forwarding_within: Option<Duration>,
}

impl SinkSettings {
    /// The settings of simple kinds as they are written; the usual socket.
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

/// What may be asked for.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name.
    pub name: RoleName,
    /// What it is for.
    pub description: String,
    /// Who may ask.
    pub members: People,
    /// Whom it lets one become.
    pub run_as: RunAs,
    /// Which groups it gives beside the target's own, where `run_as` limits it.
    pub run_as_groups: RunAsGroups,
    /// PAM services it opens.
    pub services: BTreeSet<String>,
    /// What a request gets that names no duration.
    pub default_duration: Duration,
    /// What a request may ask for at most.
    pub max_duration: Duration,
    /// What a ticket has to look like.
    pub ticket: TicketRule,
    /// Who may approve.
    pub approvers: People,
    /// How many different approvers it takes; at least 1.
    pub approvals: u32,
    /// What becomes of sessions when the window closes.
    pub on_expiry: OnExpiry,
    /// The settings of simple kinds, by their rows.
    pub options: RoleOptions,
}

/// What becomes of a grant's sessions when its window closes by itself. A grant that is revoked, released or withdrawn
/// always ends them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnExpiry {
    /// They end.
    #[default]
    Terminate,
    /// Nothing new begins, and what runs may finish, for work that must not be cut.
    DenyNew {
        /// Then it ends all the same.
        at_most: Duration,
    },
}

/// Whom a role lets one become. Root may become anybody, so a role that names root covers every user and group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunAs {
    /// As the file says it.
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

    /// Whether it covers everybody.
    #[must_use]
    pub fn is_anybody(&self) -> bool {
        self.users.contains(&UserId::ROOT)
    }
}

/// Which groups a role gives beside those of the user that one becomes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunAsGroups {
    /// As the file says it.
    pub written: Vec<String>,
    /// The groups named.
    pub groups: BTreeSet<GroupId>,
}

/// What a ticket has to look like.
#[derive(Debug, Clone, Default)]
pub struct TicketRule {
    /// Whether a request without one is refused.
    pub required: bool,
    /// What it has to match, anchored as the file says it.
    pub pattern: Option<regex_lite::Regex>,
}

impl Role {
    /// The duration a request gets, or why it gets none.
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

    /// Whether a ticket is there and looks right.
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

    /// The line somebody types to ask for this role.
    #[must_use]
    pub fn request_line(&self) -> String {
        let span = format_duration(self.default_duration).replace(' ', "");
        let ticket = if self.ticket.required { " --ticket TICKET" } else { "" };
        format!("jitctl request {} --for {span} --reason \"...\"{ticket}", self.name)
    }
}
