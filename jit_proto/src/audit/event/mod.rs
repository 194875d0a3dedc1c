//! The table of audit events: one row holds everything that is said of an event anywhere.
//!
//! From the row come the event's name and severity, its place in CEF, ECS and OCSF, its rules in Wazuh and Splunk, its entry in
//! the journal's catalog and in jit-audit(5) ([`publish`]), and what alerts, reports and the kernel's audit make of it. A new
//! event is a new row in `table.rs`, and the code that records it.

pub mod publish;

mod table;

pub use table::AuditEvent;

/// How much an event matters (RFC 5424 section 6.2.1); what a SIEM filters by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Somebody should look now: the promise itself is in doubt.
    Alert = 1,
    /// Something that should work does not.
    Error = 3,
    /// A denial, or an end before its time.
    Warning = 4,
    /// Worth reading on an ordinary day.
    Notice = 5,
    /// The ordinary course of things.
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

/// How an event went, for formats that know no more than two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done, whatever it was.
    Success,
    /// Something was denied, or does not work.
    Failure,
}

/// `event.kind` of the Elastic Common Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EcsKind {
    /// Something happened.
    Event,
    /// A detection says that somebody should look.
    Alert,
}

/// A class of the Open Cybersecurity Schema Framework.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OcsfClass {
    /// For what has no class of its own.
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

/// A rule of Wazuh. Events that name the same number have one rule together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wazuh {
    /// Its number, 100800 to 100899.
    pub rule: u32,
    /// Its level, 0 to 15: 12 for an alert, 7 to 11 for an error, 5 to 7 for a warning, 3 for what is below.
    pub level: u8,
    /// Its groups, each with a comma behind it.
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
    /// How much it matters.
    pub severity: Severity,
    /// How it went.
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
    /// The kernel's audit: its type there, where the kernel is told of it.
    pub kernel: Option<Kernel>,
    /// The alert rule (jitd.toml(5)) for which one such record is enough.
    pub alert: Option<&'static str>,
    /// Whether it tells what an approver or an operator decided: who logged in and who acted are compared then.
    pub is_decision: bool,
    /// Whether a report lists it among the changes of the host and of jitd.
    pub is_change: bool,
    /// What a report says at its head where there was one, without the number; empty if nothing.
    pub attention: &'static str,
    /// What jit-audit(5) says behind the event's sentence, in man(7); empty if nothing.
    pub manual: &'static str,
}

impl Row {
    /// A row with everything that may be left out, and nothing of what may not: that is refused when it is compiled.
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

    /// Whether it says what every row has to say.
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
        /// What happened. The text is the record's `event` and the MSGID of its syslog message (RFC 5424 section
        /// 6.2.7): at most 32 characters of printable ASCII.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
        )]
        pub enum AuditEvent {
            $($(#[doc = $says])+ #[serde(rename = $name)] $variant,)*
        }

        impl AuditEvent {
            /// Every event there is, in the order of the documentation.
            pub const ALL: &'static [AuditEvent] = &[$(AuditEvent::$variant),*];

            /// The event's name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What happened, in a sentence.
            #[must_use]
            pub fn says(self) -> &'static str {
                match self { $(Self::$variant => concat!($($says),+).trim_ascii(),)* }
            }

            /// Everything that is said of it elsewhere.
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
    /// How much it matters.
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
