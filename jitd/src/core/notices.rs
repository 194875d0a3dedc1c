//! Notifications of people beside the audit log: kinds, and the ways of delivery.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use jit_proto::audit::record::{AuditEvent, Facts};

use super::alerts::Rule;
use super::policy::DaemonOptions;

/// The kind of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A role was requested.
    Request,
    /// A window opened, as approved.
    Activation,
    /// A window opened without a request.
    Emergency,
    /// A rule raised an alert.
    Alert,
    /// A session left changes that give privilege.
    LeftBehind,
    /// A request was denied.
    Denial,
    /// A request expired undecided.
    Lapse,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Request,
        Self::Activation,
        Self::Emergency,
        Self::Alert,
        Self::LeftBehind,
        Self::Denial,
        Self::Lapse,
    ];

    /// Its name in the settings and in the notice.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Activation => "activation",
            Self::Emergency => "emergency",
            Self::Alert => "alert",
            Self::LeftBehind => "left-behind",
            Self::Denial => "denial",
            Self::Lapse => "lapse",
        }
    }

    /// Whether it is delivered before kinds that any user can cause in any number.
    #[must_use]
    pub fn is_urgent(self) -> bool {
        matches!(self, Self::Emergency | Self::Alert | Self::LeftBehind)
    }
}

/// The kind of notice that a record causes, if any.
#[must_use]
pub fn kind_of(event: AuditEvent, facts: &Facts) -> Option<Kind> {
    Some(match event {
        AuditEvent::RequestMade => Kind::Request,
        AuditEvent::GrantStarted if facts.request.is_some() => Kind::Activation,
        AuditEvent::GrantStarted => Kind::Emergency,
        AuditEvent::AlertRaised => Kind::Alert,
        AuditEvent::GrantLeftBehind => Kind::LeftBehind,
        AuditEvent::RequestDenied => Kind::Denial,
        AuditEvent::RequestExpired => Kind::Lapse,
        _ => return None,
    })
}

/// The people whose terminals get a message about a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The approvers of the request.
    Approvers,
    /// The requester.
    Requester,
}

/// The people whose terminals get a message about this record, if any.
#[must_use]
pub fn audience(event: AuditEvent, facts: &Facts) -> Option<Audience> {
    Some(match event {
        AuditEvent::RequestMade => Audience::Approvers,
        AuditEvent::RequestApproved | AuditEvent::RequestDenied | AuditEvent::RequestExpired => {
            Audience::Requester
        }
        AuditEvent::GrantStarted | AuditEvent::GrantExtended if facts.request.is_some() => {
            Audience::Requester
        }
        _ => return None,
    })
}

/// Placeholders for addresses in `mail`: the person that a record is about, and the approvers of its role. Each stands
/// for a login name, to which the mail program delivers locally.
pub const PLACEHOLDERS: [&str; 2] = ["{user}", "{approvers}"];

/// `[notify]` of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notices {
    /// The program that runs for each notice, with the notice on its standard input.
    pub exec: Option<Program>,
    /// The addresses that get a mail.
    pub mail: Vec<String>,
    /// The mail program; required where `mail` has addresses.
    pub sendmail: Option<Program>,
    /// The account that both programs run as.
    pub user: String,
    /// The kinds that are sent.
    pub about: BTreeSet<Kind>,
    /// The time after which a program is killed.
    pub timeout: Duration,
}

impl Default for Notices {
    fn default() -> Self {
        Self::of(&DaemonOptions::default())
    }
}

/// A program that only root can change, resolved when the settings were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its path in the settings.
    pub named: PathBuf,
    /// Its path with every link resolved.
    pub real: PathBuf,
}

impl Notices {
    /// The timeout from the settings; all kinds, and no receivers.
    #[must_use]
    pub fn of(options: &DaemonOptions) -> Self {
        Self {
            exec: None,
            mail: Vec::new(),
            sendmail: None,
            user: "jit-notify".to_owned(),
            about: BTreeSet::from(Kind::ALL),
            timeout: options.notify_timeout,
        }
    }

    /// Whether there is a receiver.
    #[must_use]
    pub fn reach_somebody(&self) -> bool {
        self.exec.is_some() || !self.mail.is_empty()
    }

    /// The ways of delivery, for `policy show`.
    #[must_use]
    pub fn ways(&self) -> Vec<String> {
        let exec = self.exec.iter().map(|hook| format!("exec {}", hook.named.display()));
        exec.chain(self.mail.iter().map(|address| format!("mail {address}"))).collect()
    }

    /// The kind of notice that a record causes, if it is sent. What an alert only repeats is sent once.
    #[must_use]
    pub fn tell(&self, event: AuditEvent, facts: &Facts) -> Option<Kind> {
        let kind = kind_of(event, facts).filter(|kind| self.about.contains(kind))?;
        let repeats = |rule: Rule, told: Kind| {
            kind == Kind::Alert && facts.alert.as_deref() == Some(rule.name()) && self.about.contains(&told)
        };
        let again = repeats(Rule::LeftBehind, Kind::LeftBehind) || repeats(Rule::Emergency, Kind::Emergency);
        (!again).then_some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_alert_only_repeats_is_told_once() {
        let mut notices = Notices::default();
        let alert = |rule: Rule| Facts { alert: Some(rule.name().to_owned()), ..Facts::default() };
        assert_eq!(notices.tell(AuditEvent::AlertRaised, &alert(Rule::LeftBehind)), None);
        assert_eq!(notices.tell(AuditEvent::AlertRaised, &alert(Rule::Denials)), Some(Kind::Alert));
        assert_eq!(notices.tell(AuditEvent::GrantLeftBehind, &Facts::default()), Some(Kind::LeftBehind));
        notices.about = BTreeSet::from([Kind::Alert]);
        assert_eq!(notices.tell(AuditEvent::AlertRaised, &alert(Rule::LeftBehind)), Some(Kind::Alert));
        assert_eq!(notices.tell(AuditEvent::GrantLeftBehind, &Facts::default()), None);
    }

    #[test]
    fn a_window_without_a_request_is_an_emergency() {
        let requested = Facts { request: Some(1), ..Facts::default() };
        assert_eq!(kind_of(AuditEvent::GrantStarted, &requested), Some(Kind::Activation));
        assert_eq!(kind_of(AuditEvent::GrantStarted, &Facts::default()), Some(Kind::Emergency));
        assert_eq!(kind_of(AuditEvent::AccessDenied, &Facts::default()), None);
        assert_eq!(kind_of(AuditEvent::NotifyFailed, &Facts::default()), None, "no notice of a notice");
    }
}
