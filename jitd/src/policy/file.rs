//! The types that serde reads once `form` has checked a file: values that need more checks than their rows have.

use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// `jitd.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SettingsFile {
    pub(super) warn_before: Option<Vec<Spanned<String>>>,
    pub(super) operators: Vec<Spanned<String>>,
    pub(super) auditors: Vec<Spanned<String>>,
    pub(super) syslog_socket: Option<Spanned<String>>,
    pub(super) setuid_paths: Option<Vec<Spanned<String>>>,
    pub(super) archive: Option<Spanned<String>>,
    pub(super) alerts: AlertsTable,
    pub(super) notify: NotifyTable,
}

/// `[alerts]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AlertsTable {
    pub(super) off: Vec<Spanned<String>>,
    pub(super) outside_hours: Option<Spanned<HoursTable>>,
}

/// `outside_hours = { days = ["mon"], from = "07:00", to = "19:00", time_zone = "Europe/Berlin" }`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HoursTable {
    pub(super) days: Option<Vec<Spanned<String>>>,
    pub(super) from: Spanned<String>,
    pub(super) to: Spanned<String>,
    pub(super) time_zone: Option<Spanned<String>>,
}

/// `[notify]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NotifyTable {
    pub(super) exec: Option<Spanned<String>>,
    pub(super) mail: Vec<Spanned<String>>,
    pub(super) sendmail: Option<Spanned<String>>,
    pub(super) user: Option<Spanned<String>>,
    pub(super) about: Option<Vec<Spanned<String>>>,
}

/// `roles.d/*.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RolesFile {
    #[serde(default)]
    pub(super) role: BTreeMap<String, Spanned<RoleTable>>,
}

/// `[role.NAME]`.
#[derive(Debug, Deserialize)]
pub(super) struct RoleTable {
    #[serde(default)]
    pub(super) description: String,
    // `form` reports a missing one, and the loader continues.
    #[serde(default)]
    pub(super) members: Vec<Spanned<String>>,
    pub(super) run_as: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) run_as_groups: Vec<Spanned<String>>,
    pub(super) services: Option<Vec<Spanned<String>>>,
    pub(super) default_duration: Option<Spanned<String>>,
    pub(super) max_duration: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) ticket: TicketTable,
    pub(super) on_expiry: Option<Spanned<OnExpiryWord>>,
    pub(super) on_expiry_limit: Option<Spanned<String>>,
    pub(super) approval: Option<ApprovalTable>,
}

/// `on_expiry = "..."`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum OnExpiryWord {
    Terminate,
    DenyNew,
}

/// `ticket = { required = true, pattern = "..." }`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TicketTable {
    pub(super) required: bool,
    pub(super) pattern: Option<Spanned<String>>,
}

/// `[role.NAME.approval]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApprovalTable {
    #[serde(default)]
    pub(super) from: Vec<Spanned<String>>,
    #[serde(default = "one")]
    pub(super) count: Spanned<u32>,
}

fn one() -> Spanned<u32> {
    Spanned::new(0..0, 1)
}
