//! The rows of the table of audit events.
//!
//! Long because it is one table: a row for each event, in the order of the documentation. The comment above a row is
//! its sentence: the journal's catalog and jit-audit(5) print it, and `manual` is the text of jit-audit(5) after it, in
//! man(7).

use super::{
    EcsKind::{Alert, Event},
    Kernel, OcsfClass,
    OcsfClass::{
        ApplicationLifecycle, Authentication, AuthorizeSession, Base, DetectionFinding, EntityManagement,
        UserAccess,
    },
    Outcome::Failure,
    Row, Severity, Splunk, Wazuh, events,
};

/// The defaults of a row.
const ORDINARY: Row = Row::ORDINARY;

/// An activity without a number in OCSF, described by its name.
const OTHER: u32 = 99;
/// A new detection.
const FOUND: (OcsfClass, u32, &str) = (DetectionFinding, 1, "Create");

/// Groups in Wazuh: jitd's own, and paragraphs of PCI DSS, GDPR, HIPAA, NIST 800-53 and TSC.
mod groups {
    pub(super) const LOG: &str = "pci_dss_10.2.6,pci_dss_10.5.2,pci_dss_10.5.5,gdpr_II_5.1.f,hipaa_164.312.b,hipaa_164.312.c.1,nist_800_53_AU.9,tsc_CC7.2,tsc_CC7.3,";
    pub(super) const START: &str = "service_start,pci_dss_10.2.6,pci_dss_10.5.2,pci_dss_10.5.5,gdpr_II_5.1.f,hipaa_164.312.b,hipaa_164.312.c.1,nist_800_53_AU.9,tsc_CC7.2,tsc_CC7.3,";
    pub(super) const STOP: &str = "service_availability,pci_dss_10.2.6,pci_dss_10.5.2,pci_dss_10.5.5,gdpr_II_5.1.f,hipaa_164.312.b,hipaa_164.312.c.1,nist_800_53_AU.9,tsc_CC7.2,tsc_CC7.3,";
    pub(super) const CONFIGURATION: &str =
        "config_changed,pci_dss_10.2.7,gdpr_IV_35.7.d,hipaa_164.312.b,nist_800_53_CM.3,tsc_CC7.2,tsc_CC8.1,";
    pub(super) const REQUEST: &str = "pci_dss_7.1,pci_dss_10.2.5,gdpr_IV_32.2,hipaa_164.312.a.1,hipaa_164.312.b,nist_800_53_AC.6,nist_800_53_AU.14,tsc_CC6.1,tsc_CC6.8,tsc_CC7.2,";
    pub(super) const ACCOUNT: &str = "account_changed,pci_dss_7.1,pci_dss_10.2.5,gdpr_IV_32.2,hipaa_164.312.a.1,hipaa_164.312.b,nist_800_53_AC.6,nist_800_53_AU.14,tsc_CC6.1,tsc_CC6.8,tsc_CC7.2,";
    pub(super) const PERSISTENCE: &str = "pci_dss_11.5,pci_dss_10.2.2,pci_dss_10.2.5,gdpr_IV_32.2,hipaa_164.312.a.1,hipaa_164.312.b,nist_800_53_AC.6,nist_800_53_AU.14,tsc_CC6.8,tsc_CC7.2,";
    pub(super) const DENIED: &str = "authentication_failed,pci_dss_10.2.4,pci_dss_10.2.5,gdpr_IV_35.7.d,gdpr_IV_32.2,hipaa_164.312.a.1,hipaa_164.312.b,nist_800_53_AC.7,nist_800_53_AU.14,tsc_CC6.1,tsc_CC7.2,";
    pub(super) const ALLOWED: &str = "authentication_success,pci_dss_10.2.2,pci_dss_10.2.5,gdpr_IV_32.2,hipaa_164.312.a.1,hipaa_164.312.b,nist_800_53_AC.6,nist_800_53_AU.14,tsc_CC6.8,tsc_CC7.2,";
    pub(super) const SESSION: &str = "pci_dss_10.2.2,pci_dss_10.2.5,gdpr_IV_32.2,hipaa_164.312.a.1,hipaa_164.312.b,nist_800_53_AC.6,nist_800_53_AU.14,tsc_CC6.8,tsc_CC7.2,";
    pub(super) const TAMPERING: &str =
        "pci_dss_10.2.5,gdpr_IV_32.2,hipaa_164.312.b,nist_800_53_AU.14,tsc_CC6.8,tsc_CC7.2,";
}

/// A rule of Wazuh: number, level, groups, technique of MITRE ATT&CK (empty if none), description.
const fn wazuh(
    rule: u32,
    level: u8,
    groups: &'static str,
    technique: &'static str,
    says: &'static str,
) -> Wazuh {
    Wazuh { rule, level, groups, technique, says }
}

/// The single rule of Wazuh for all problems of the audit log.
const LOG_IS_WRONG: Wazuh =
    wazuh(100_862, 12, groups::LOG, "T1565.001", "The audit log of jitd: $(record.event): $(record.detail)");

events! {
    /// The daemon started.
    DaemonStarted = "daemon.started" => Row {
        severity: Severity::Notice,
        cef: (3, "Daemon started"),
        ecs: (Event, &["process"], &["start"]),
        ocsf: (ApplicationLifecycle, 3, "Start"),
        splunk: &[Splunk::Change],
        wazuh: wazuh(100_810, 3, groups::START, "", "jitd started."),
        is_change: true,
        manual: r"
.I detail
names the version.
A start without a stop before it means that the daemon was killed or that the machine went down.
",
        ..ORDINARY
    };

    /// The daemon was told to stop.
    DaemonStopped = "daemon.stopped" => Row {
        severity: Severity::Warning,
        cef: (5, "Daemon stopped"),
        ecs: (Event, &["process"], &["end"]),
        ocsf: (ApplicationLifecycle, 4, "Stop"),
        splunk: &[Splunk::Change],
        wazuh: wazuh(100_811, 7, groups::STOP, "T1562.001", "jitd was told to stop: nobody but root can elevate."),
        is_change: true,
        ..ORDINARY
    };

    /// A policy came into force.
    PolicyLoaded = "policy.loaded" => Row {
        severity: Severity::Notice,
        cef: (4, "Policy loaded"),
        ecs: (Event, &["configuration"], &["change"]),
        ocsf: (EntityManagement, 3, "Update"),
        splunk: &[Splunk::Change],
        wazuh: wazuh(100_812, 3, groups::CONFIGURATION, "", "A policy of jitd came into force."),
        kernel: Some(Kernel::UsysConfig),
        is_change: true,
        manual: r"
.I policy
is its digest;
.I detail
names its roles.
",
        ..ORDINARY
    };

    /// The daemon did not accept a policy; the policy in force stays.
    PolicyRefused = "policy.refused" => Row {
        severity: Severity::Warning,
        outcome: Failure,
        cef: (5, "Policy refused"),
        ecs: (Event, &["configuration"], &["change"]),
        ocsf: (EntityManagement, 3, "Update"),
        splunk: &[Splunk::Change],
        wazuh: wazuh(100_813, 5, groups::CONFIGURATION, "", "A policy of jitd was not accepted: $(record.detail)"),
        kernel: Some(Kernel::UsysConfig),
        is_change: true,
        attention: "A policy was not accepted",
        manual: r"
.I detail
holds the problems.
",
        ..ORDINARY
    };

    /// The wall clock was set by a second or more.
    ClockStepped = "clock.stepped" => Row {
        severity: Severity::Warning,
        cef: (6, "Clock stepped"),
        ecs: (Event, &["configuration"], &["change"]),
        ocsf: (Base, OTHER, "Clock Stepped"),
        wazuh: wazuh(100_814, 5, groups::LOG, "T1070.006", "The wall clock was set: $(record.detail)"),
        alert: Some("clock"),
        is_change: true,
        attention: "The clock was set",
        ..ORDINARY
    };

    /// A PAM stack that should ask jitd does not.
    StackBroken = "stack.broken" => Row {
        severity: Severity::Alert,
        outcome: Failure,
        cef: (10, "PAM stack does not ask"),
        ecs: (Alert, &["configuration"], &["change"]),
        ocsf: FOUND,
        finding: "A PAM stack does not ask jitd",
        splunk: &[Splunk::Change, Splunk::Alert],
        wazuh: wazuh(
            100_870, 12, groups::CONFIGURATION, "T1556.003", "A PAM stack does not ask jitd any more: $(record.detail)"
        ),
        alert: Some("stack-broken"),
        is_change: true,
        attention: "A PAM stack does not ask",
        manual: r#"
.I service
names the stack;
.I detail
says how it can be passed, with file and line.
With each heartbeat the daemon reads the stack of each service that a role opens, and of its sister
.RB ( sudo\-i " beside " sudo ),
where they have one.
The alert names the service; a stack that is broken again after it was restored raises another one.
"#,
        ..ORDINARY
    };

    /// The PAM stack asks jitd again.
    StackRestored = "stack.restored" => Row {
        severity: Severity::Notice,
        cef: (4, "PAM stack asks again"),
        ecs: (Event, &["configuration"], &["change"]),
        ocsf: (DetectionFinding, 3, "Close"),
        finding: "A PAM stack asks jitd again",
        splunk: &[Splunk::Change],
        wazuh: wazuh(100_871, 3, groups::CONFIGURATION, "", "A PAM stack asks jitd again: $(record.detail)"),
        is_change: true,
        ..ORDINARY
    };

    /// jitd began to observe: it lets calls pass that it would deny.
    ObserveBegan = "observe.began" => Row {
        severity: Severity::Alert,
        cef: (9, "Observe mode began"),
        ecs: (Alert, &["configuration"], &["change"]),
        ocsf: FOUND,
        finding: "jitd observes and denies nobody",
        splunk: &[Splunk::Change, Splunk::Alert],
        wazuh: wazuh(
            100_815, 12, groups::CONFIGURATION, "T1562.001", "jitd observes and lets calls pass: $(record.detail)"
        ),
        alert: Some("observing"),
        is_change: true,
        attention: "jitd began to observe, and let calls pass that it would have denied",
        manual: r#"
.I detail
names the host, or the roles, with
.B "mode = \(dqobserve\(dq"
.RB ( jitd.toml (5),
.BR jit\-roles (5));
.I policy
is the digest of the policy that says so.
A start of the daemon with such a policy is a beginning as well.
"#,
        ..ORDINARY
    };

    /// jitd observes no longer: it denies again.
    ObserveEnded = "observe.ended" => Row {
        severity: Severity::Notice,
        cef: (4, "Observe mode ended"),
        ecs: (Event, &["configuration"], &["change"]),
        ocsf: (DetectionFinding, 3, "Close"),
        finding: "jitd denies again",
        splunk: &[Splunk::Change],
        wazuh: wazuh(100_816, 3, groups::CONFIGURATION, "", "jitd denies again: $(record.detail)"),
        is_change: true,
        manual: r#"
.IR detail " and " policy
as of
.BR observe.began .
"#,
        ..ORDINARY
    };

    /// What jitctl doctor finds open on this host is not what it found before.
    DoctorChanged = "doctor.changed" => Row {
        severity: Severity::Warning,
        cef: (7, "Findings of doctor changed"),
        ecs: (Event, &["configuration"], &["change"]),
        ocsf: FOUND,
        finding: "jitctl doctor finds other things open than before",
        splunk: &[Splunk::Change],
        wazuh: wazuh(100_878, 7, groups::CONFIGURATION, "", "jitctl doctor: $(record.detail)"),
        alert: Some("doctor-changed"),
        is_change: true,
        attention: "jitctl doctor found something else open than before",
        manual: r#"
.I open
names everything that is open now,
.I detail
what of that is new and what was mended;
.I actor
is whoever ran
.BR "jitctl doctor \-\-record" ,
as the shipped timer does.
An alert is raised where something is open.
"#,
        ..ORDINARY
    };

    /// A local user reached a limit on the work that one user can cause.
    LimitReached = "limit.reached" => Row {
        severity: Severity::Warning,
        outcome: Failure,
        cef: (7, "Limit for one user reached"),
        ecs: (Alert, &["iam"], &["info"]),
        ocsf: FOUND,
        finding: "A local user reached a limit of jitd",
        splunk: &[Splunk::Alert],
        wazuh: wazuh(100_877, 7, groups::LOG, "", "jitd: $(record.user) reached a limit: $(record.detail)"),
        alert: Some("limit-reached"),
        is_change: true,
        attention: "A user reached a limit",
        manual: r"
.I detail
says which one, and
.I suppressed
counts what was denied, dropped, or not recorded one by one since the last such record.
There is one such record for a user and a limit in a quarter of an hour, and one alert,
.BR limit-reached ,
for the host.
Denials of the gate and of commands are recorded one by one up to 300 at once and one a minute after that for each user
other than root; what is allowed is always recorded.
Of calls that passed because jitd observes, the record of those that were not recorded one by one has
.I outcome
.BR observed .
",
        ..ORDINARY
    };

    /// A sink takes no records.
    SinkDown = "sink.down" => Row {
        severity: Severity::Error,
        outcome: Failure,
        cef: (8, "Audit records not forwarded"),
        ecs: (Event, &["configuration"], &["info"]),
        ocsf: (ApplicationLifecycle, OTHER, "Forwarding Stopped"),
        splunk: &[Splunk::Alert],
        wazuh: wazuh(100_872, 10, groups::LOG, "T1562.006", "jitd cannot forward its records: $(record.detail)"),
        alert: Some("sink-down"),
        is_change: true,
        attention: "Records were not forwarded",
        manual: r"
Records have been waiting for
.I sink
for ten seconds or more;
.I detail
is why.
",
        ..ORDINARY
    };

    /// The sink takes records again, and has taken all that waited.
    SinkBack = "sink.back" => Row {
        severity: Severity::Notice,
        cef: (4, "Audit records forwarded again"),
        ecs: (Event, &["configuration"], &["info"]),
        ocsf: (ApplicationLifecycle, OTHER, "Forwarding Resumed"),
        wazuh: wazuh(100_873, 3, groups::LOG, "", "jitd forwards its records again."),
        is_change: true,
        ..ORDINARY
    };

    /// A user requested a role.
    RequestMade = "request.made" => Row {
        severity: Severity::Info,
        cef: (2, "Privilege requested"),
        ecs: (Event, &["iam"], &["user", "info"]),
        ocsf: (EntityManagement, 1, "Create"),
        wazuh: wazuh(100_820, 3, groups::REQUEST, "", "$(record.user) asks for $(record.role): $(record.reason)"),
        kernel: Some(Kernel::UserMgmt),
        manual: r#"
.IR user ", " uid ", " role ", " request ", " reason ", " ticket ", " seconds .
"#,
        ..ORDINARY
    };

    /// An approver approved a request.
    RequestApproved = "request.approved" => Row {
        severity: Severity::Info,
        cef: (3, "Request approved"),
        ecs: (Event, &["iam"], &["admin", "info"]),
        ocsf: (EntityManagement, 3, "Update"),
        wazuh: wazuh(
            100_821, 3, groups::REQUEST, "", "$(record.actor) approved $(record.role) for $(record.user)."
        ),
        kernel: Some(Kernel::UserMgmt),
        is_decision: true,
        manual: r#"
As
.BR request.made ,
with
.IR actor " and " actor_uid ;
.I detail
is the approver's comment.
"#,
        ..ORDINARY
    };

    /// An approver denied a request.
    RequestDenied = "request.denied" => Row {
        severity: Severity::Warning,
        cef: (4, "Request denied"),
        ecs: (Event, &["iam"], &["admin", "info"]),
        ocsf: (EntityManagement, OTHER, "Deny"),
        wazuh: wazuh(
            100_822, 5, groups::REQUEST, "", "$(record.actor) denied $(record.role) to $(record.user)."
        ),
        kernel: Some(Kernel::UserMgmt),
        is_decision: true,
        manual: r#"
As
.BR request.made ,
with
.IR actor " and " actor_uid ;
.I detail
is why.
"#,
        ..ORDINARY
    };

    /// The requester cancelled the request.
    RequestCancelled = "request.cancelled" => Row {
        severity: Severity::Info,
        cef: (1, "Request cancelled"),
        ecs: (Event, &["iam"], &["user", "info"]),
        ocsf: (EntityManagement, 4, "Delete"),
        wazuh: wazuh(100_823, 3, groups::REQUEST, "", "$(record.user) cancelled a request for $(record.role)."),
        kernel: Some(Kernel::UserMgmt),
        ..ORDINARY
    };

    /// Nobody decided on the request in time.
    RequestExpired = "request.expired" => Row {
        severity: Severity::Info,
        cef: (1, "Request expired"),
        ecs: (Event, &["iam"], &["user", "info"]),
        ocsf: (EntityManagement, OTHER, "Expire"),
        wazuh: wazuh(100_824, 3, groups::REQUEST, "", "Nobody decided on $(record.role) for $(record.user)."),
        kernel: Some(Kernel::UserMgmt),
        ..ORDINARY
    };

    /// A window opened.
    GrantStarted = "grant.started" => Row {
        severity: Severity::Notice,
        cef: (5, "Privilege granted"),
        ecs: (Event, &["iam"], &["user", "change"]),
        ocsf: (UserAccess, 3, "Assign Role"),
        splunk: &[Splunk::AccountChange],
        wazuh: wazuh(
            100_830, 3, groups::ACCOUNT, "T1548.003", "$(record.user) may use $(record.role) until $(record.until)."
        ),
        kernel: Some(Kernel::RoleAssign),
        is_decision: true,
        manual: r#"
.IR user ", " uid ", " role ", " grant ", " approvers ", " reason ", " ticket ", " until ", " seconds ;
.I request
where it began with one, and
.IR actor ", " actor_uid " and " loginuid
where an operator granted it.
"#,
        ..ORDINARY
    };

    /// The deadline of a window was moved back, by a request of its holder or by an operator.
    GrantExtended = "grant.extended" => Row {
        severity: Severity::Notice,
        cef: (5, "Grant extended"),
        ecs: (Event, &["iam"], &["user", "change"]),
        ocsf: (UserAccess, OTHER, "Extend"),
        splunk: &[Splunk::AccountChange],
        wazuh: wazuh(
            100_831,
            3,
            groups::ACCOUNT,
            "T1548.003",
            "$(record.user) may use $(record.role) for longer, until $(record.until)."
        ),
        kernel: Some(Kernel::RoleAssign),
        is_decision: true,
        ..ORDINARY
    };

    /// The deadline of a window was moved forward, because its role allows less than it did.
    GrantShortened = "grant.shortened" => Row {
        severity: Severity::Notice,
        cef: (4, "Grant shortened"),
        ecs: (Event, &["iam"], &["user", "change"]),
        ocsf: (UserAccess, OTHER, "Shorten"),
        splunk: &[Splunk::AccountChange],
        wazuh: wazuh(
            100_832, 3, groups::ACCOUNT, "", "$(record.user) may use $(record.role) for a shorter time."
        ),
        kernel: Some(Kernel::RoleRemove),
        ..ORDINARY
    };

    /// The holder was warned that the window closes soon.
    GrantWarned = "grant.warned" => Row {
        severity: Severity::Info,
        cef: (1, "Holder warned"),
        ecs: (Event, &["iam"], &["user", "info"]),
        ocsf: (UserAccess, OTHER, "Warn"),
        wazuh: wazuh(100_833, 3, groups::REQUEST, "", "$(record.user) was warned that $(record.role) ends soon."),
        ..ORDINARY
    };

    /// A window closed at its deadline.
    GrantExpired = "grant.expired" => Row {
        severity: Severity::Info,
        cef: (2, "Grant expired"),
        ecs: (Event, &["iam"], &["user", "change"]),
        ocsf: (UserAccess, 4, "Remove Role"),
        splunk: &[Splunk::AccountChange],
        wazuh: wazuh(100_834, 3, groups::ACCOUNT, "", "The window of $(record.user) for $(record.role) expired."),
        kernel: Some(Kernel::RoleRemove),
        ..ORDINARY
    };

    /// The holder released the grant.
    GrantReleased = "grant.released" => Row {
        severity: Severity::Info,
        cef: (2, "Grant released"),
        ecs: (Event, &["iam"], &["user", "change"]),
        ocsf: (UserAccess, 4, "Remove Role"),
        splunk: &[Splunk::AccountChange],
        wazuh: wazuh(100_835, 3, groups::ACCOUNT, "", "$(record.user) released $(record.role)."),
        kernel: Some(Kernel::RoleRemove),
        ..ORDINARY
    };

    /// The daemon closed a window in which nothing had run for as long as its role allows.
    GrantUnused = "grant.unused" => Row {
        severity: Severity::Info,
        cef: (2, "Unused grant handed back"),
        ecs: (Event, &["iam"], &["user", "change"]),
        ocsf: (UserAccess, 4, "Remove Role"),
        splunk: &[Splunk::AccountChange],
        wazuh: wazuh(
            100_836, 3, groups::ACCOUNT, "", "$(record.role) of $(record.user) was closed because nothing ran under it."
        ),
        kernel: Some(Kernel::RoleRemove),
        ..ORDINARY
    };

    /// An operator or approver revoked a grant.
    GrantRevoked = "grant.revoked" => Row {
        severity: Severity::Warning,
        cef: (6, "Grant revoked"),
        ecs: (Event, &["iam"], &["admin", "change"]),
        ocsf: (UserAccess, 4, "Remove Role"),
        splunk: &[Splunk::AccountChange],
        wazuh: wazuh(
            100_837,
            6,
            groups::ACCOUNT,
            "",
            "$(record.actor) revoked $(record.role) of $(record.user): $(record.detail)"
        ),
        kernel: Some(Kernel::RoleRemove),
        is_decision: true,
        manual: r#"
.IR actor ", " actor_uid ;
.I detail
is why.
"#,
        ..ORDINARY
    };

    /// The daemon closed a window because its holder or its role is no longer what it was granted to.
    GrantWithdrawn = "grant.withdrawn" => Row {
        severity: Severity::Warning,
        cef: (6, "Grant withdrawn"),
        ecs: (Event, &["iam"], &["admin", "change"]),
        ocsf: (UserAccess, 4, "Remove Role"),
        splunk: &[Splunk::AccountChange],
        wazuh: wazuh(100_838, 6, groups::ACCOUNT, "", "$(record.user) lost $(record.role): $(record.detail)"),
        kernel: Some(Kernel::RoleRemove),
        manual: r"
.I detail
says what changed.
",
        ..ORDINARY
    };

    /// A place where privilege is kept changed while sessions of the grant were open, or shortly after them.
    GrantLeftBehind = "grant.left_behind" => Row {
        severity: Severity::Alert,
        cef: (9, "Privilege left behind"),
        ecs: (Alert, &["configuration", "iam"], &["change"]),
        ocsf: FOUND,
        finding: "Privilege left behind by an elevated session",
        splunk: &[Splunk::Alert],
        wazuh: wazuh(
            100_839,
            12,
            groups::PERSISTENCE,
            "T1098",
            "Places where privilege is kept changed while, or shortly after, $(record.user) used $(record.role): \
             $(record.left_behind)"
        ),
        alert: Some("left-behind"),
        manual: r#"
.IR user ", " uid ", " role ", " grant ;
.I left_behind
names what changed, the gravest first, and
.I finding
the gravest kind of it;
.I detail
repeats the first, says how many more there are, and between which moments they came: between the beginning of the drift
scan before and the end of this one.
It does not say who changed them, which the scan cannot know.
A scan that found much makes several records, so that each fits into its syslog message whole;
.I part
counts them.
All that was found is named, as far as 60,000 bytes go for each grant; what does not fit is the least grave, and is counted.
Many files of one kind in one folder are one line.
What a package manager changed is one line of low rank where it fits the checksums of its packages, which lie on the host
and do not speak for new set-uid files, accounts, sudoers or keys.
.I left_behind
also names processes that run as root or with capabilities, began while a session was open, are in none, and are still there
a second later, unless a unit that was there before says to run them.
The record is made a few seconds after the last session has ended, half a minute after the first one while others are open.
A change is recorded once, for every grant that had a session open since the scan before; so somebody else's change in that
time is in the record as well, and of two people both are named.
Which places these are, and what the scan does not see, is in
.IR /usr/share/doc/jitd/SECURITY.md .
"#,
        ..ORDINARY
    };

    /// A place where privilege is kept changed while no grant had a session open.
    HostChanged = "host.changed" => Row {
        severity: Severity::Warning,
        cef: (7, "Places of privilege changed"),
        ecs: (Event, &["configuration"], &["change"]),
        ocsf: FOUND,
        finding: "Places where privilege is kept changed while nobody had a session",
        splunk: &[Splunk::Change],
        wazuh: wazuh(
            100_883,
            7,
            groups::PERSISTENCE,
            "T1098",
            "Places where privilege is kept changed while nobody had a session: $(record.left_behind)"
        ),
        alert: Some("host-changed"),
        is_change: true,
        attention: "A place where privilege is kept changed while nobody had a session",
        manual: r#"
.IR left_behind ", " finding ", " part " and " detail
are as in
.BR grant.left_behind ;
.I detail
names the last grants that had sessions before it.
Scans are made half a minute after the last one that followed a session, then after spans that double up to half an hour,
and when a session begins.
Once a day they compare the programs and libraries in the system's folders with the checksums of their packages.
"#,
        ..ORDINARY
    };

    /// The daemon denied a command that somebody sent.
    CommandRefused = "command.refused" => Row {
        severity: Severity::Warning,
        outcome: Failure,
        cef: (5, "Command refused"),
        ecs: (Event, &["iam"], &["admin", "info"]),
        ocsf: (EntityManagement, OTHER, "Refuse"),
        wazuh: wazuh(100_840, 5, groups::DENIED, "", "$(record.actor) was denied a command of jitd: $(record.detail)"),
        kernel: Some(Kernel::UserMgmt),
        manual: r#"
.IR actor ", " actor_uid ", " loginuid ", " audit_session ", " session ", " origin ", " unit ", " pid ", " exe ;
.I detail
is what and why.
Of the commands of one uid that only look and are denied, five a minute are recorded;
.I suppressed
says how many were not.
"#,
        ..ORDINARY
    };

    /// The gate allowed an elevation and registered a session.
    AccessAllowed = "access.allowed" => Row {
        severity: Severity::Info,
        cef: (3, "Elevation allowed"),
        ecs: (Event, &["authentication"], &["start"]),
        ocsf: (AuthorizeSession, 1, "Assign Privileges"),
        splunk: &[Splunk::Authentication],
        wazuh: wazuh(
            100_841,
            3,
            groups::ALLOWED,
            "T1548.003",
            "$(record.user) passed $(record.service) under $(record.role): $(record.argv)"
        ),
        manual: r#"
.IR user ", " uid ", " loginuid ", " audit_session ", " service ", " tty ", " pid ", " argv ", " exe ", " session ,
and the grant that allowed it.
It says that sudo may go on, not that a command ran.
"#,
        ..ORDINARY
    };

    /// The gate denied an elevation.
    AccessDenied = "access.denied" => Row {
        severity: Severity::Warning,
        outcome: Failure,
        cef: (6, "Elevation denied"),
        ecs: (Event, &["authentication"], &["start"]),
        ocsf: (AuthorizeSession, 1, "Assign Privileges"),
        splunk: &[Splunk::Authentication],
        wazuh: wazuh(
            100_842, 5, groups::DENIED, "T1548.003", "$(record.user) was denied $(record.service): $(record.detail)"
        ),
        manual: r"
As
.BR access.allowed ;
.I detail
is the reason.
",
        ..ORDINARY
    };

    /// The gate would have denied an elevation, and let it pass because jitd observes.
    AccessObserved = "access.observed" => Row {
        severity: Severity::Notice,
        cef: (5, "Elevation observed"),
        ecs: (Event, &["authentication"], &["start"]),
        ocsf: (AuthorizeSession, 1, "Assign Privileges"),
        splunk: &[Splunk::Authentication],
        wazuh: wazuh(
            100_844, 3, groups::ALLOWED, "T1548.003",
            "$(record.user) passed $(record.service) and would have been denied: $(record.detail)"
        ),
        manual: r#"
As
.BR access.denied ;
.I observed_by
is who let it pass,
.I eligible_roles
the roles that the person may request and that would have covered it, and
.I other_roles
those that would have covered it and that the person may not request; of either the first 16.
Where the target user becomes known later, a second record of the same process has
.I run_as
and
.I part
2: it is the same call, and not another one.
No session belongs to such a call, and nothing of it is ended.
"#,
        ..ORDINARY
    };

    /// A process whose real uid is 0 passed the gate.
    AccessRoot = "access.root" => Row {
        severity: Severity::Info,
        cef: (3, "Root passed"),
        ecs: (Event, &["authentication"], &["start"]),
        ocsf: (AuthorizeSession, 1, "Assign Privileges"),
        splunk: &[Splunk::Authentication],
        wazuh: wazuh(100_843, 3, groups::SESSION, "", "Root passed the gate of jitd."),
        manual: r#"
.IR session " and " grant
where that was inside a session.
"#,
        ..ORDINARY
    };

    /// An elevated session opened: its target is known, and its command is about to run.
    SessionOpened = "session.opened" => Row {
        severity: Severity::Info,
        cef: (3, "Elevated session opened"),
        ecs: (Event, &["session"], &["start"]),
        ocsf: (Authentication, 7, "Account Switch"),
        splunk: &[Splunk::Session],
        wazuh: wazuh(
            100_850,
            3,
            groups::SESSION,
            "T1548.003",
            "$(record.user) works as $(record.run_as) under $(record.role)."
        ),
        manual: r"
.I run_as
is the target.
",
        ..ORDINARY
    };

    /// The grant of a session ended, and the session goes on under another grant of the same person.
    SessionMoved = "session.moved" => Row {
        severity: Severity::Info,
        cef: (2, "Elevated session moved to another grant"),
        ecs: (Event, &["session"], &["info"]),
        ocsf: (Authentication, OTHER, "Move"),
        splunk: &[Splunk::Session],
        wazuh: wazuh(100_851, 3, groups::SESSION, "", "A session of $(record.user) goes on under another grant."),
        ..ORDINARY
    };

    /// The person was warned on the terminal that the session ends soon because it is idle.
    SessionWarned = "session.warned" => Row {
        severity: Severity::Info,
        cef: (1, "Idle session warned"),
        ecs: (Event, &["session"], &["info"]),
        ocsf: (Authentication, OTHER, "Warn"),
        splunk: &[Splunk::Session],
        wazuh: wazuh(100_852, 3, groups::SESSION, "", "$(record.user) was warned that an idle session ends soon."),
        ..ORDINARY
    };

    /// A session ended: no process of it is left.
    SessionEnded = "session.ended" => Row {
        severity: Severity::Info,
        cef: (3, "Elevated session ended"),
        ecs: (Event, &["session"], &["end"]),
        ocsf: (Authentication, 2, "Logoff"),
        splunk: &[Splunk::Session],
        wazuh: wazuh(100_853, 3, groups::SESSION, "", "A session of $(record.user) ended: $(record.ended_by)."),
        kernel: Some(Kernel::RespKillProc),
        manual: r"
.I ended_by
is why; where the daemon ended it, the record says what that took.
",
        ..ORDINARY
    };

    /// A session could not be proven empty; the daemon tries again.
    SessionStuck = "session.stuck" => Row {
        severity: Severity::Alert,
        outcome: Failure,
        cef: (10, "Elevated session could not be ended"),
        ecs: (Alert, &["session"], &["info"]),
        ocsf: FOUND,
        finding: "An elevated session could not be proven empty",
        splunk: &[Splunk::Alert],
        wazuh: wazuh(
            100_854,
            12,
            groups::SESSION,
            "T1548.003",
            "A session of $(record.user) could not be ended: processes with privilege may be left."
        ),
        alert: Some("session-stuck"),
        manual: r"
A session whose processes cannot be read counts as not empty.
",
        ..ORDINARY
    };

    /// A process of a session had a group that its role does not give; the daemon ends the session.
    SessionGroup = "session.group" => Row {
        severity: Severity::Alert,
        outcome: Failure,
        cef: (10, "Elevated session had a foreign group"),
        ecs: (Alert, &["session"], &["info"]),
        ocsf: FOUND,
        finding: "An elevated session had a group that its role does not give",
        splunk: &[Splunk::Alert],
        wazuh: wazuh(
            100_865,
            12,
            groups::TAMPERING,
            "T1548",
            "A process in a session of $(record.user) had a group that $(record.role) does not give."
        ),
        alert: Some("group"),
        is_change: true,
        attention: "A session had a group that its role does not give",
        manual: r"
The group is neither the target's own nor one of the role's
.RB ( run_as_groups
in
.BR jit\-roles (5));
.I detail
names process and group.
",
        ..ORDINARY
    };

    /// PID 1 does not hold a session's scope as jitd had it made, or files of jitd's units were changed.
    ScopeTampered = "scope.tampered" => Row {
        severity: Severity::Alert,
        outcome: Failure,
        cef: (10, "Limit of an elevated session tampered with"),
        ecs: (Alert, &["configuration"], &["change"]),
        ocsf: FOUND,
        finding: "The limit of an elevated session was tampered with",
        splunk: &[Splunk::Alert],
        wazuh: wazuh(
            100_866,
            12,
            groups::TAMPERING,
            "T1548",
            "The limit of a session, or a unit of jitd, was tampered with: $(record.detail)"
        ),
        alert: Some("scope-tampered"),
        is_change: true,
        attention: "The limit of a session, or a unit of jitd, was tampered with",
        manual: r"
The scope was abandoned, its limit or the way it ends is another, its files were changed, or drop-ins reach it.
.I detail
names what was found and what was done: the daemon moves the session into a new scope with the limit that its window has,
or ends the session
.RI ( ended_by
tampered) where PID 1 cannot be made to hold that limit.
Without
.I session
the record is about files that reach all scopes, or units of jitd, and that were changed while sessions were open.
Files that were there before the first of these sessions began are not in it.
At a start of the daemon it is about units of jitd that are not the ones that this jitd was built with.
",
        ..ORDINARY
    };

    /// From the next record on, the audit log is sealed.
    AuditSealed = "audit.sealed" => Row {
        severity: Severity::Notice,
        cef: (5, "Audit record sealed"),
        ecs: (Event, &["configuration"], &["change"]),
        ocsf: (EntityManagement, 3, "Update"),
        splunk: &[Splunk::Change],
        wazuh: wazuh(100_860, 3, groups::LOG, "", "The audit log of jitd is sealed from here on."),
        is_decision: true,
        is_change: true,
        manual: r#"
.IR actor ", " actor_uid ", " loginuid ", " seal_key .
"#,
        ..ORDINARY
    };

    /// From the next record on, the audit log is sealed under another key.
    AuditResealed = "audit.resealed" => Row {
        severity: Severity::Alert,
        cef: (6, "Audit record sealed anew"),
        ecs: (Event, &["configuration"], &["change"]),
        ocsf: (EntityManagement, 3, "Update"),
        splunk: &[Splunk::Change, Splunk::Alert],
        wazuh: wazuh(
            100_861,
            12,
            groups::LOG,
            "T1565.001",
            "The audit log of jitd is sealed under another key: $(record.seal_key)"
        ),
        alert: Some("chain"),
        is_decision: true,
        is_change: true,
        manual: r#"
.IR actor ", " actor_uid ", " loginuid ", " seal_key .
This record is sealed under the old key.
"#,
        ..ORDINARY
    };

    /// From this record on, the audit log is not sealed: the key is lost, or does not fit the store.
    AuditUnsealed = "audit.unsealed" => Row {
        severity: Severity::Alert,
        outcome: Failure,
        cef: (10, "Audit record not sealed any more"),
        ecs: (Alert, &["configuration"], &["change"]),
        ocsf: FOUND,
        finding: "The audit log is not sealed any more",
        splunk: &[Splunk::Change, Splunk::Alert],
        wazuh: LOG_IS_WRONG,
        kernel: Some(Kernel::AnomRbacIntegrityFail),
        alert: Some("chain"),
        is_change: true,
        attention: "The audit log lost its seal",
        manual: r"
.I detail
is why.
",
        ..ORDINARY
    };

    /// Old records were removed from the store, by a limit in the settings.
    AuditPruned = "audit.pruned" => Row {
        severity: Severity::Notice,
        cef: (5, "Old audit records removed"),
        ecs: (Event, &["configuration"], &["deletion"]),
        ocsf: (EntityManagement, 4, "Delete"),
        splunk: &[Splunk::Change],
        wazuh: wazuh(100_863, 3, groups::LOG, "", "Old audit records of jitd were removed: $(record.detail)"),
        is_change: true,
        manual: r#"
.IR pruned_from ", " pruned_to ", " pruned_hash ", " pruned_newest ", " pruned_by ", " retention_seconds ", " policy ;
.I detail
says how many there were and which file has them.
"#,
        ..ORDINARY
    };

    /// The audit log, or the files it is kept in, are not what was written.
    AuditBroken = "audit.broken" => Row {
        severity: Severity::Alert,
        outcome: Failure,
        cef: (10, "Audit record not what was written"),
        ecs: (Alert, &["configuration"], &["change"]),
        ocsf: FOUND,
        finding: "The audit log is not what was written",
        splunk: &[Splunk::Change, Splunk::Alert],
        wazuh: LOG_IS_WRONG,
        kernel: Some(Kernel::AnomRbacIntegrityFail),
        alert: Some("chain"),
        is_change: true,
        attention: "The audit log was found broken",
        manual: r"
.I detail
says what was found, and
.I about
is the number of the first record that is wrong, where it is about one.
Either the daemon's own verification (see
.BR jitd (8),
VERIFICATION) found it, or files of the store were removed, replaced or cut while the daemon ran; then nobody but root
passes the gate until they are back.
",
        ..ORDINARY
    };

    /// The store ends before a record that this host has written, or has another one in its place.
    AuditRolledBack = "audit.rolled_back" => Row {
        severity: Severity::Alert,
        outcome: Failure,
        cef: (10, "Audit record ends before a known record"),
        ecs: (Alert, &["configuration"], &["change"]),
        ocsf: FOUND,
        finding: "The audit log ends before a record that was written",
        splunk: &[Splunk::Change, Splunk::Alert],
        wazuh: LOG_IS_WRONG,
        kernel: Some(Kernel::AnomRbacIntegrityFail),
        alert: Some("chain"),
        is_change: true,
        attention: "The audit log ended before a record that was written",
        manual: r"
The daemon compares when it starts;
.I detail
names that record and when it was written.
",
        ..ORDINARY
    };

    /// A damaged store was set aside (jitd --recover), and the audit log begins anew.
    AuditRecovered = "audit.recovered" => Row {
        severity: Severity::Alert,
        cef: (10, "Damaged audit record set aside"),
        ecs: (Alert, &["configuration"], &["change"]),
        ocsf: FOUND,
        finding: "A damaged audit log was set aside",
        splunk: &[Splunk::Change, Splunk::Alert],
        wazuh: LOG_IS_WRONG,
        alert: Some("chain"),
        is_change: true,
        attention: "A damaged audit log was set aside",
        manual: r"
It is the first record of a new store:
.I detail
says where the old one is, what was wrong with it, and the last record known of it.
",
        ..ORDINARY
    };

    /// An operator acknowledged a problem of the audit log.
    AuditAcknowledged = "audit.acknowledged" => Row {
        severity: Severity::Notice,
        cef: (5, "Audit problem acknowledged"),
        ecs: (Event, &["configuration"], &["change"]),
        ocsf: (DetectionFinding, 3, "Close"),
        finding: "A problem of the audit log was acknowledged",
        splunk: &[Splunk::Change],
        wazuh: wazuh(
            100_867,
            3,
            groups::LOG,
            "",
            "$(record.actor) acknowledged a problem of the audit log of jitd: $(record.reason)"
        ),
        is_decision: true,
        is_change: true,
        attention: "A problem of the audit log was acknowledged",
        manual: r#"
.IR actor ", " actor_uid ", " loginuid " and " reason ;
.I about
is the number of the record that told of the problem:
.BR audit.broken ", " audit.rolled_back " or " audit.recovered .
"#,
        ..ORDINARY
    };

    /// A rule over the audit log was met, and somebody should look.
    AlertRaised = "alert.raised" => Row {
        severity: Severity::Alert,
        cef: (8, "Alert raised"),
        ecs: (Alert, &["iam"], &["info"]),
        ocsf: FOUND,
        finding: "A rule over the audit log was met",
        splunk: &[Splunk::Alert],
        wazuh: wazuh(100_874, 12, groups::SESSION, "", "jitd raised an alert: $(record.detail)"),
        attention: "An alert was raised",
        manual: r#"
.IR alert " (the rule, see"
.BR jitd.toml (5)),
.IR about ", " suppressed ,
and of the record that raised it
.IR user ", " uid ", " actor ", " actor_uid ", " role ", " request ", " grant ", " session ;
.I detail
says in words what it is.
It stands behind the record that it is about, and was written with it.
"#,
        ..ORDINARY
    };

    /// A notification was not delivered: a hook or the mail program failed, or there were too many.
    NotifyFailed = "notify.failed" => Row {
        severity: Severity::Error,
        outcome: Failure,
        cef: (7, "Somebody could not be told"),
        ecs: (Event, &["process"], &["info"]),
        ocsf: (Base, OTHER, "Not Told"),
        wazuh: wazuh(100_875, 7, groups::LOG, "", "jitd could not deliver a notification: $(record.detail)"),
        attention: "A notification was not delivered",
        manual: r#"
.IR about ", " suppressed ;
.I detail
names the way
.RB ( exec ", " mail ,
.BR requests " that were too many, or the " backlog
after a restart), and says why.
"#,
        ..ORDINARY
    };
}
