//! Of what people are told beside the record, and how they are reached.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use jit_proto::audit::record::{AuditEvent, Facts};

use super::alerts::Rule;
use super::policy::DaemonOptions;

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Somebody asks for a role.
    Request,
    /// A window opens, as approved.
    Activation,
    /// A window opens without a request.
    Emergency,
    /// A rule over the record was met.
    Alert,
    /// Privilege was left behind.
    LeftBehind,
    /// A request was denied.
    Denial,
    /// A request lapsed: nobody decided in time.
    Lapse,
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Self; 7] = [
        Self::Request,
        Self::Activation,
        Self::Emergency,
        Self::Alert,
        Self::LeftBehind,
        Self::Denial,
        Self::Lapse,
    ];

    /// Its name in the settings and in what is handed over.
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

    /// Whether it goes before what happens every day, of which anybody may cause any number.
    #[must_use]
    pub fn is_urgent(self) -> bool {
        matches!(self, Self::Emergency | Self::Alert | Self::LeftBehind)
    }
}

/// What a record is to people, if it is anything to them.
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

/// Who is told of a record at their terminals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Those who may approve what it asks for.
    Approvers,
    /// Who asked.
    Requester,
}

/// Whom a record concerns at their terminals, if anybody.
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

/// What may stand for addresses in `mail`: the person that a record is about, and those who may approve its role. Each is
/// the login name, which the mail program delivers as it does for local people.
pub const PLACEHOLDERS: [&str; 2] = ["{user}", "{approvers}"];

/// `[notify]` of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notices {
    /// Run for each notice, with the notice on its standard input.
    pub exec: Option<Program>,
    /// Who gets a mail.
    pub mail: Vec<String>,
    /// What takes mail; needed where somebody gets one.
    pub sendmail: Option<Program>,
    /// The account that both run as.
    pub user: String,
    /// Of what people are told.
    pub about: BTreeSet<Kind>,
    /// A program that takes longer is killed.
    pub timeout: Duration,
}

impl Default for Notices {
    fn default() -> Self {
        Self::of(&DaemonOptions::default())
    }
}

/// A program that only root can change, as it was found when the settings were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// As the settings name it.
    pub named: PathBuf,
    /// What that is, every link followed.
    pub real: PathBuf,
}

impl Notices {
    /// The timeout as it is written; all kinds, and nobody who gets them.
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

    /// Whether anybody is reached at all.
    #[must_use]
    pub fn reach_somebody(&self) -> bool {
        self.exec.is_some() || !self.mail.is_empty()
    }

    /// How people are reached, for those who look at the policy.
    #[must_use]
    pub fn ways(&self) -> Vec<String> {
        let exec = self.exec.iter().map(|hook| format!("exec {}", hook.named.display()));
        exec.chain(self.mail.iter().map(|address| format!("mail {address}"))).collect()
    }

    /// As what people are told of a record, if they are. What an alert only repeats is told once.
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
