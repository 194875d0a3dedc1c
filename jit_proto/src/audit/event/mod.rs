//! The table of audit events: one row has everything about an event.
//!
//! From the row come the event's name and severity, its place in CEF, ECS and OCSF, its rules in Wazuh and Splunk, its
//! entry in the journal's catalog and in jit-audit(5) ([`publish`]), and its part in alerts, reports and the kernel's
//! audit. A new event is a new row in `table.rs`, and the code that records it.

pub mod publish;

mod table;

pub use table::AuditEvent;

/// The severity of an event (RFC 5424 section 6.2.1), by which a SIEM filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// An operator should look now: a guarantee of jitd is in doubt.
    Alert = 1,
    /// A part of jitd or of the host does not work.
    Error = 3,
    /// A denial, or an end before its time.
    Warning = 4,
    /// Worth reading on an ordinary day.
    Notice = 5,
    /// Ordinary operation.
    Info = 6,
}

impl Severity {
    /// Every one, the most severe first.
    pub const ALL: [Self; 5] = [Self::Alert, Self::Error, Self::Warning, Self::Notice, Self::Info];

    /// Its keyword in syslog.conf(5).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
        }
    }
}

/// The outcome of an event, for formats that know only two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was denied, or does not work.
    Failure,
}

/// `event.kind` of the Elastic Common Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EcsKind {
    /// An event.
    Event,
    /// A detection.
    Alert,
}

/// A class of the Open Cybersecurity Schema Framework.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OcsfClass {
    /// Events without a class of their own.
    Base,
    /// Detection Finding (2004).
    DetectionFinding,
    /// Authentication (3002).
    Authentication,
    /// Authorize Session (3003).
    AuthorizeSession,
    /// Entity Management (3004).
    EntityManagement,
    /// User Access Management (3005).
    UserAccess,
    /// Application Lifecycle (6002).
    ApplicationLifecycle,
}

/// An event type of the Splunk app, beside `jitd_request`, which goes by the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Splunk {
    /// `jitd_authentication`.
    Authentication,
    /// `jitd_account_change`.
    AccountChange,
    /// `jitd_session`.
    Session,
    /// `jitd_change`.
    Change,
    /// `jitd_alert`.
    Alert,
}

/// A rule of Wazuh. Events with the same number share one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wazuh {
    /// Its number, 100800 to 100899.
    pub rule: u32,
    /// Its level, 0 to 15: 12 for an alert, 7 to 11 for an error, 5 to 7 for a warning, 3 below that.
    pub level: u8,
    /// Its groups, each followed by a comma.
    pub groups: &'static str,
    /// The technique of MITRE ATT&CK; empty if none.
    pub technique: &'static str,
    /// Its description, with `$(record.FACT)` for a fact.
    pub says: &'static str,
}

/// A type of event of the kernel's audit (linux/audit.h, libaudit's `audit-records.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// `ROLE_ASSIGN`.
    RoleAssign,
    /// `ROLE_REMOVE`.
    RoleRemove,
    /// `USER_MGMT`.
    UserMgmt,
    /// `USYS_CONFIG`.
    UsysConfig,
    /// `RESP_KILL_PROC`, where processes were killed.
    RespKillProc,
    /// `ANOM_RBAC_INTEGRITY_FAIL`.
    AnomRbacIntegrityFail,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The severity.
    pub severity: Severity,
    /// The outcome.
    pub outcome: Outcome,
    /// CEF: severity, 0 to 10, and name.
    pub cef: (u8, &'static str),
    /// ECS: `event.kind`, `event.category` and `event.type`.
    pub ecs: (EcsKind, &'static [&'static str], &'static [&'static str]),
    /// OCSF: class, `activity_id` and `activity_name`.
    pub ocsf: (OcsfClass, u32, &'static str),
    /// OCSF: the title of a detection; empty in other classes.
    pub finding: &'static str,
    /// Splunk: its event types.
    pub splunk: &'static [Splunk],
    /// Wazuh: its rule.
    pub wazuh: Wazuh,
    /// The kernel's audit: the event type, if the kernel is told.
    pub kernel: Option<Kernel>,
    /// The alert rule (jitd.toml(5)) that a single record of this event matches.
    pub alert: Option<&'static str>,
    /// Whether it is a decision of an approver or an operator: the login and the actor are then compared.
    pub is_decision: bool,
    /// Whether a report lists it among the changes of the host and of jitd.
    pub is_change: bool,
    /// The sentence at the head of a report with such events, without their number; empty if none.
    pub attention: &'static str,
    /// The text of jit-audit(5) after the event's sentence, in man(7); empty if none.
    pub manual: &'static str,
}

impl Row {
    /// The default row: every optional value, and invalid required ones, which the compiler then refuses.
    const ORDINARY: Self = Self {
        severity: Severity::Info,
        outcome: Outcome::Success,
        cef: (0, ""),
        ecs: (EcsKind::Event, &[], &[]),
        ocsf: (OcsfClass::Base, 0, ""),
        finding: "",
        splunk: &[],
        wazuh: Wazuh { rule: 0, level: 0, groups: "", technique: "", says: "" },
        kernel: None,
        alert: None,
        is_decision: false,
        is_change: false,
        attention: "",
        manual: "",
    };

    /// Whether the row has every required value.
    const fn is_complete(&self) -> bool {
        let is_finding = matches!(self.ocsf.0, OcsfClass::DetectionFinding);
        !self.cef.1.is_empty()
            && !self.ecs.1.is_empty()
            && !self.ecs.2.is_empty()
            && !self.ocsf.2.is_empty()
            && is_finding != self.finding.is_empty()
            && self.wazuh.rule != 0
            && !self.wazuh.says.is_empty()
    }
}

/// Makes the enum of the rows: `/// SENTENCE`, `VARIANT = "NAME" => Row { ... };`
macro_rules! events {
    ($($(#[doc = $says:literal])+ $variant:ident = $name:literal => $row:expr;)*) => {
        /// An audit event. Its name is the record's `event` and the MSGID of its syslog message (RFC 5424 section
        /// 6.2.7): at most 32 characters of printable ASCII.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
        )]
        pub enum AuditEvent {
            $($(#[doc = $says])+ #[serde(rename = $name)] $variant,)*
        }

        impl AuditEvent {
            /// Every event, in the order of the documentation.
            pub const ALL: &'static [AuditEvent] = &[$(AuditEvent::$variant),*];

            /// The event's name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The event's sentence.
            #[must_use]
            pub fn says(self) -> &'static str {
                match self { $(Self::$variant => concat!($($says),+).trim_ascii(),)* }
            }

            /// The event's row.
            #[must_use]
            pub fn row(self) -> &'static Row {
                match self {
                    $(Self::$variant => {
                        const ROW: &Row = &$row;
                        const { assert!(ROW.is_complete(), concat!($name, ": the row leaves out what every row says")) };
                        ROW
                    })*
                }
            }
        }
    };
}
use events;

impl AuditEvent {
    /// The severity.
    #[must_use]
    pub fn severity(self) -> Severity {
        self.row().severity
    }

    /// The event of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|event| event.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_events_name_is_what_the_line_says() {
        for event in AuditEvent::ALL {
            assert_eq!(serde_json::to_string(event).unwrap(), format!("{:?}", event.name()));
            assert!(event.name().len() <= 32 && event.name().bytes().all(|byte| byte.is_ascii_graphic()));
            assert_eq!(AuditEvent::named(event.name()), Some(*event));
        }
    }
}
