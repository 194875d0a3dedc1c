//! `policy show`: the policy in force.

use jit_proto::bus::view::{RoleView, SettingView};
use jit_proto::escape::Escaped;
use serde::{Deserialize, Serialize};

use crate::client::{Daemon, view};
use crate::failure::Failure;
use crate::output::Output;
use crate::render::layout::Sheet;
use crate::render::{self, detail, list, local, span};
use crate::role;
use crate::values::TableArgs;

/// The policy in force, as `PolicyShow` returns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PolicyView {
    /// SHA-256 of it, in hex.
    pub(crate) digest: String,
    /// When it was loaded.
    pub(crate) loaded_at: u64,
    /// The maximum of every role's duration.
    pub(crate) max_duration_seconds: u64,
    /// When an undecided request expires.
    pub(crate) request_expiry_seconds: u64,
    /// The time from SIGTERM to SIGKILL at the end of a session.
    pub(crate) grace_seconds: u64,
    /// The times before the end of a window at which its holder is warned, in seconds.
    pub(crate) warn_before_seconds: Vec<u64>,
    /// Who may grant and revoke.
    pub(crate) operators: Vec<String>,
    /// Who may read the audit log.
    pub(crate) auditors: Vec<String>,
    /// The setting of this name (jitd.toml(5)).
    #[serde(default)]
    pub(crate) approve_without_login: bool,
    /// The setting of this name (jitd.toml(5)).
    #[serde(default)]
    pub(crate) approve_as_another_account: bool,
    /// Rules of alerts that are switched off.
    pub(crate) alerts_off: Vec<String>,
    /// The ways of notification: a program, addresses.
    pub(crate) told: Vec<String>,
    /// Every key of `jitd.toml`.
    #[serde(default)]
    pub(crate) settings: Vec<SettingView>,
    /// Every role.
    pub(crate) roles: Vec<RoleView>,
}

impl Daemon {
    pub(crate) async fn policy_show(&self) -> Result<PolicyView, Failure> {
        view("PolicyShow", self.manage("PolicyShow", &()).await?)
    }
}

/// `policy show`.
pub(super) async fn show(args: TableArgs, output: &Output) -> Result<(), Failure> {
    let policy = Daemon::reach().await?.policy_show().await?;
    output.page();
    output.view(&policy, |policy| self::policy(policy, &output.sheet(args.full)))
}

/// The policy in force.
pub(crate) fn policy(policy: &PolicyView, sheet: &Sheet) -> String {
    if policy.digest.is_empty() {
        return "no policy was accepted, so every request is denied; run jitctl policy check\n".to_owned();
    }
    let mut text = format!("policy {}, loaded {}\n", Escaped(&policy.digest), local(policy.loaded_at));
    for line in observing(policy) {
        text += &format!("{line}\n");
    }
    text += &detail("at most", &span(policy.max_duration_seconds));
    text += &detail("requests", &format!("expire after {}", span(policy.request_expiry_seconds)));
    text += &detail("grace", &span(policy.grace_seconds));
    let warned: Vec<String> = policy.warn_before_seconds.iter().map(|seconds| span(*seconds)).collect();
    text += &detail("warnings", &format!("{} before the end", list(&warned)));
    text += &detail("operators", &list(&policy.operators));
    text += &detail("auditors", &list(&policy.auditors));
    let allowed = [
        (policy.approve_without_login, "without a login session"),
        (policy.approve_as_another_account, "as another account than the one that logged in"),
    ];
    let allowed: Vec<String> =
        allowed.into_iter().filter(|(on, _)| *on).map(|(_, how)| how.to_owned()).collect();
    if !allowed.is_empty() {
        text += &detail("approvals", &format!("count also {}", allowed.join(" and ")));
    }
    if !policy.alerts_off.is_empty() {
        text += &detail("no alerts", &list(&policy.alerts_off));
    }
    if !policy.told.is_empty() {
        text += &detail("notified", &list(&policy.told));
    }
    if policy.roles.is_empty() {
        text += "no roles\n";
    } else {
        text += "\n";
        text += &role::table(&policy.roles, sheet);
    }
    text += &block("jitd.toml", &policy.settings);
    for role in &policy.roles {
        text += &block(&format!("role {}", Escaped(&role.name)), &role.settings);
    }
    text
}

/// What of it observes, by the settings that it shows.
fn observing(policy: &PolicyView) -> Vec<String> {
    let mode = |settings: &[SettingView]| {
        let mode = settings.iter().find(|setting| setting.key == "mode" && !setting.is_default)?;
        Some(mode.value.contains("observe"))
    };
    let host = mode(&policy.settings).unwrap_or(false);
    let roles = policy.roles.iter().filter(|role| mode(&role.settings).unwrap_or(host));
    let roles: Vec<String> = roles.map(|role| role.name.clone()).collect();
    render::observing(host, &roles)
}

/// Every setting of a file or a role, a line each.
fn block(name: &str, settings: &[SettingView]) -> String {
    if settings.is_empty() {
        // An older jitd.
        return String::new();
    }
    let width = settings.iter().map(|setting| setting.key.chars().count()).max().unwrap_or(0);
    let mut text = format!("\n{name}:\n");
    for SettingView { key, value, is_default } in settings {
        let origin = if *is_default { "  (default)" } else { "" };
        let key = Escaped(key).to_string();
        text += &format!("    {key:<width$}  {}{origin}\n", Escaped(value));
    }
    text
}
