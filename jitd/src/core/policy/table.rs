//! Every key of `jitd.toml` and of a role, one row each.
//!
//! From a row come the check of the files (`policy::form`), the entry of the manual page, and the line of
//! `jitctl policy show`. **To add a setting** that is a flag, a number, a duration, an age or a size: add its row here with
//! the field that it fills (`=> field: type = default`), write the rule that reads `role.options.field` or
//! `settings.options.field` with its test, let
//! `JIT_WRITE_MANUAL=1 cargo test -p jitd --lib policy::manual` write the manual page, and tell of it in CHANGELOG.md. A
//! setting of another kind also needs a field in `policy::file` and its check in `policy::load`. The file is long because
//! it is one table.

use std::collections::BTreeMap;
use std::time::Duration;

use jit_proto::audit::retention::MIN_RETENTION;

use super::setting::{Age, FieldValue, Kind, Mode, Setting, Standard, Value};
use Standard::{Required, RequiredInTable, Value as Is, Words};

const SECOND: Duration = Duration::from_secs(1);
const SPAN: Kind = Kind::Duration { min: Duration::ZERO, max: Duration::MAX };
const PEOPLE: Kind = Kind::Texts("[\"alice\", \"@webops\"]");

const fn number(min: u32, max: u32) -> Kind {
    Kind::Number { min, max }
}

/// Makes the rows, and a type with a field for each row that names one.
macro_rules! settings {
    ($(#[$about:meta])* $rows:ident => $fields:ident {
        $( $key:literal, $kind:expr, $default:expr $(=> $field:ident : $type:ty = $initial:expr)?; $doc:literal )*
    }) => {
        $(#[$about])*
        pub const $rows: &[Setting] = &[
            $( Setting { key: $key, kind: $kind, default: $default, doc: $doc } ),*
        ];

        #[doc = concat!("The values of simple kinds that a row of [`", stringify!($rows), "`] names a field for.")]
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $fields {
            $($( #[doc = $doc] pub $field: $type, )?)*
            /// The keys that the file sets, each value as TOML.
            pub written: BTreeMap<&'static str, String>,
        }

        impl Default for $fields {
            fn default() -> Self {
                Self { $($( $field: $initial, )?)* written: BTreeMap::new() }
            }
        }

        impl $fields {
            /// Sets the field of a key, if its row names one.
            pub fn set(&mut self, key: &str, value: Value) {
                match key {
                    $($( $key => if let Some(value) = FieldValue::from_value(value) { self.$field = value }, )?)*
                    _ => {}
                }
            }
        }
    };
}

settings! {
    /// The keys of `[role.NAME]`.
    ROLE => RoleOptions {
        "members", PEOPLE, Required;
        "Who may request the role. The list is not empty."

        "approval.from", PEOPLE, Required;
        "Who may approve a request. The list is not empty."

        "approval.count", number(1, u32::MAX), Is("1");
        "How many different people have to approve a request. The requester is never one of them, and a person who is in \
         two of the groups counts once."

        "description", Kind::Text("\"Look after the web tier\""), Is("\"\"");
        "What the role is for."

        "run_as", Kind::Texts("[\"root\"]"), Is("[\"root\"]");
        "The users as whom the holder may run commands. `root` covers every user, since root can become any user, and \
         every group (`sudo -g`). A role that does not name root gives a user's own groups (those that NSS lists for \
         the user) and those of `run_as_groups`."

        "run_as_groups", Kind::Texts("[\"adm\"]"), Is("[]");
        "The groups that the holder may name with `sudo -g` where `run_as` does not name root, beside the groups of the \
         target user. Without a user (`sudo -g GROUP`) the holder keeps their own user id and gets a group named here.\n\
         jitd reads the group from the command line of sudo, as sudo and sudo-rs read it. It denies a command line that \
         it does not understand or cannot read to the end of the options, and it denies `-P`. While the command runs, \
         jitd checks the groups of its processes: a process whose real or supplementary group is neither one of the \
         user's own nor named here ends the session and raises an alert (`session.group` in jit-audit(5)); so does an \
         effective group that no set-gid program gave. Groups added by `preserve_groups` in sudoers or by pam_group(8) \
         count as neither."

        "services", Kind::Texts("[\"sudo\", \"sudo-i\"]"), Is("[\"sudo\", \"sudo-i\"]");
        "The PAM services that the role opens. `sudo -i` has a service of its own on Debian. `su` and `doas` are opened \
         only where they are named here, and gated only where their PAM stack names pam_jit(8). `jitctl policy check` \
         warns of a service that has no file in `/etc/pam.d`.\n\
         `polkit-1` opens pkexec, and `systemctl`, which is no PAM service, opens what PID 1 does for systemctl(1): units \
         that have a file, unit files, `daemon-reload`, `set-environment`. Both take effect after `jitctl polkit enable`. \
         What systemctl starts is in no session, and goes on after the window: such a role is root without an end. No \
         role opens run0 and systemd-run."

        "mode", Kind::Choice(Mode::WORDS), Words("mode of jitd.toml") => mode: Option<Mode> = None;
        "With `observe` jitd denies no call of a member that the role would cover if a window were open: it records the call \
         as `access.observed` (jit-audit(5)) and lets it pass. With `enforce` jitd denies such calls, also where `mode` in \
         jitd.toml(5) is `observe`. Of a member of several roles that would cover the call, one that observes is enough for it \
         to pass. A call whose caller jitd cannot tell for certain is denied."

        "default_duration", SPAN, Words("\"30m\", or max_duration if that is shorter");
        "The window of a request that names no duration."

        "max_duration", SPAN, Words("\"2h\", or max_duration of jitd.toml if that is shorter");
        "The longest window that a request may name. It is not above `max_duration` in jitd.toml(5)."

        "unused_for", SPAN, Words("never") => unused_for: Option<Duration> = None;
        "jitd closes a grant under which no session has been open for this long."

        "idle_timeout", SPAN, Words("never") => idle_timeout: Option<Duration> = None;
        "jitd ends a session when for this long nobody has typed at its terminal and nothing in it has used the \
         processor. One minute before, or a quarter of the timeout if that is less, it writes a warning to the \
         terminal. It checks at intervals of an eighth of the timeout, one minute at most, so a session ends late by no \
         more than that. The kernel notes input in steps of eight seconds; a timeout of less than half a minute is too \
         short for people. A process that only waits, such as `sleep`, does not count as activity; a process that \
         redraws its output, such as `top`, does."

        "end_with_login", Kind::Flag, Is("false") => end_with_login: bool = false;
        "Whether jitd ends a session when the login from which it was started ends. A desktop terminal below \
         `user@UID.service` belongs to no login of its own, and its sessions are not ended by this."

        "without_forwarding", Kind::Flag, Is("false") => without_forwarding: bool = false;
        "Whether the role also opens windows while audit records wait for syslog longer than \
         `require_forwarding_within` in jitd.toml(5) allows. For emergencies."

        "on_expiry", Kind::Choice(&["terminate", "deny-new"]), Is("\"terminate\"");
        "What happens to sessions when the window expires. With `terminate` jitd ends them. With `deny-new` it denies new \
         commands and lets running ones finish, for work that must not be interrupted, such as dpkg(1). When a grant is \
         revoked, released or withdrawn, jitd ends its sessions at once in either case."

        "on_expiry_limit", SPAN, Words("\"1h\", or max_duration of jitd.toml if that is shorter");
        "With `deny-new` only: jitd ends the sessions that are left this long after the window has expired."

        "request_expiry", SPAN, Words("request_expiry of jitd.toml") => request_expiry: Option<Duration> = None;
        "A pending request for this role expires after this time."

        "reason.min_length", number(0, 250), Is("10") => reason_min_length: u32 = 10;
        "The minimum length of a reason, in characters. Spaces at its beginning and end do not count."

        "ticket.required", Kind::Flag, Is("false");
        "Whether a request has to name a ticket."

        "ticket.pattern", Kind::Text("\"^INC-[0-9]+$\""), Words("any ticket");
        "A regular expression that the ticket has to match. Anchor it with `^` and `$`."
    }
}

settings! {
    /// The keys of `jitd.toml`.
    DAEMON => DaemonOptions {
        "mode", Kind::Choice(Mode::WORDS), Is("\"enforce\"") => mode: Mode = Mode::Enforce;
        "With `observe` jitd denies no call that it can record: it records what it would deny as `access.observed` \
         (jit-audit(5)) and lets it pass, without a session, and ends nothing of it. What passes under an open window is a \
         session as ever. `jitctl report --observe` counts what `enforce` would have denied. While the mode is `observe`, jitd \
         protects nothing; `jitctl status` says so, and an alert tells of the change.\n\
         A role may have a `mode` of its own; a call that a role of the caller with `enforce` would cover, and none with \
         `observe`, is denied. What jitd cannot record it denies in either mode, and so it does everything while no policy is \
         in force; only the option `observe` of pam_jit(8) lets calls pass whatever happens."

        "observe_notice", Kind::Flag, Is("true") => observe_notice: bool = true;
        "Whether a person whose call passes because jitd observes is told, in one line, that it would be denied."

        "max_duration", SPAN, Is("\"8h\"") => max_duration: Duration = Duration::from_secs(8 * 3600);
        "No role may allow a longer window."

        "request_expiry", SPAN, Is("\"1h\"") => request_expiry: Duration = Duration::from_secs(3600);
        "A pending request expires after this time."

        "grace", SPAN, Is("\"5s\"") => grace: Duration = Duration::from_secs(5);
        "The time between SIGTERM and SIGKILL when jitd ends a session."

        "warn_before", Kind::Texts("[\"5m\", \"1m\"]"), Is("[\"5m\", \"1m\"]");
        "How long before a window expires jitd warns its holder, at the terminals of the open sessions and by a signal on \
         the bus. A window that is shorter than one of these times does not begin with a warning."

        "operators", PEOPLE, Words("nobody; as installed [\"@jit-operators\"]");
        "Who may grant and revoke without a request, never for themselves. Root may as well, unless it is root through a \
         window."

        "auditors", PEOPLE, Words("nobody; as installed [\"@adm\"]");
        "Who may read and verify the audit log, beside root and the operators."

        "approve_without_login", Kind::Flag, Is("false") => approve_without_login: bool = false;
        "Whether a call that needs a login session also counts without one. Requesting, approving, denying, granting, \
         and extending another person's window count only from a login session that systemd-logind(8) knows, such as \
         one over ssh or at the console. So does beginning a seal from a process without a login uid that is in no \
         unit of the system, such as one that nsenter(1) or a container engine starts on the host. With `true` these \
         calls count as well from `at`, `cron`, units of `systemd --user`, system services, and processes without a \
         login uid, all of which another account can start. A host without pam_systemd(8), and a desktop whose \
         terminals are user units, need it. Inside a window such a call never counts."

        "approve_as_another_account", Kind::Flag, Is("false") => approve_as_another_account: bool = false;
        "Whether approving, denying, granting, and extending another person's window also count from an account that \
         somebody became with su(1) or sudo(8). Otherwise they count only from the account that logged in: its login uid, \
         and the user of its logind session. A person still counts once, and never for their own request under any \
         account."

        "setuid_paths", Kind::Texts("[\"/usr\", \"/opt\"]"), Is("[\"/\"]");
        "Below these paths the drift scan looks for files that give privilege to whoever runs them (set-uid, set-gid, \
         file capabilities), for devices, and, in `/usr`, `/opt`, `/boot` and `/etc`, for what others than root may \
         write. It runs when sessions have ended, and at intervals without a session; see `grant.left_behind` and \
         `host.changed` in jit-audit(5).\n\
         It reads every local mount once, including what one mount hides and another one shows. It reads ten million \
         files in folders of root, and one million in those of each other user and in those that anybody may write; it \
         reports when there are more. It does not enter file systems that another machine or a process answers for \
         (NFS, CIFS, FUSE and similar) or the kernel's own, and it does not see files that can be reached only behind \
         a mount. The list does not change what else the scan covers. The scan takes a few microseconds of processor \
         time a file, and the interval between two scans grows with it."

        "retention", Kind::Age { min: MIN_RETENTION }, Is("\"6y\"") => retention: Age = Age(Some(Duration::from_secs(6 * 366 * 24 * 3600)));
        "Older records are removed from the store, together with requests and grants that were over by then. 45 CFR \
         164.316(b)(2)(i) asks for six years. Units are years, months, weeks and days (`y`, `mo`, `w`, `d`); a year counts \
         as 366 days and a month as 31. `forever` keeps all records.\n\
         Expired records are removed in batches. A batch starts when the oldest record has outlived the retention by \
         1/64 of it, or by one month, whichever is less."

        "retention_size", Kind::Size { min: 1 << 20 }, Words("no limit") => retention_size: Option<u64> = None;
        "When the database has more bytes in use, the oldest records that are older than a day are removed until nine \
         tenths of this are in use. A number and `K`, `M`, `G` or `T`, powers of 1,024. The database file does not shrink; \
         free space in it is used before it grows.\n\
         A user who can cause many denials can fill the limit and displace older records; these remain in the archive. \
         Leave this unset, or keep `archive` set, where that matters."

        "archive", Kind::Text("\"/var/lib/jitd/archive\""), Is("\"/var/lib/jitd/archive\"");
        "The folder into which jitd writes records before it removes them from the store, as files \
         `audit-FIRST-LAST-HASH.jsonl` that only root can read; see jit-audit(5). `off` keeps no copy. jitd creates the \
         folder and never deletes a file of removed records: move them to where they are to be kept. The folder must \
         belong to root, and nobody else may write it. Another place needs a drop-in for the service with \
         `ReadWritePaths=`. When the file would take more than half of the free space, no record is removed."

        "syslog_enterprise", number(0, u32::MAX), Is("32473") => syslog_enterprise: u32 = 32473;
        "The private enterprise number in the structured data of syslog messages (`jit@NUMBER`, RFC 5424 section 7.2.2). \
         RFC 5612 reserves 32473 for documentation."

        "syslog_socket", Kind::Text("\"/dev/log\""), Is("\"/dev/log\"");
        "The socket of the syslog daemon. On a host with systemd `/dev/log` belongs to journald. There jitd writes each \
         record once into the journal, and journald forwards it as one line of `jitd[PID]` if the syslog daemon takes it \
         at once, and drops it otherwise. A socket of the syslog daemon's own gets RFC 5424 messages and loses none; \
         `jitctl audit forward` has rsyslog open one (jitctl(1), `/usr/share/doc/jitd/siem/README.md`)."

        "journal", Kind::Flag, Is("true") => journal: bool = true;
        "Whether jitd writes audit records to the journal with a field for each fact (jit-audit(5)). Where \
         `syslog_socket` is journald's, the text of a record is in the journal in any case, and this adds the fields. \
         Where it is not, a journald that forwards to a syslog daemon sends that daemon a second message for each record: \
         a sentence without structured data. Set this to `false` there if the copies disturb."

        "json_lines", Kind::Flag, Is("false") => json_lines: bool = false;
        "Whether jitd writes audit records to `/var/log/jitd/audit.jsonl`, one line each, in the format of `jitctl audit \
         export`. The folder is root's; use an ACL to let an agent read it."

        "json_lines_max_size", Kind::Size { min: 64 << 10 }, Is("\"64M\"") => json_lines_max_size: u64 = 64 << 20;
        "Before the file grows larger it is renamed to `audit.jsonl.1`, and the numbers of older files go up by one. The \
         chain continues from one file to the next. When another program has moved the file, jitd starts a new one."

        "json_lines_keep", number(1, u32::MAX), Is("8") => json_lines_keep: u32 = 8;
        "How many renamed files are kept."

        "heartbeat", Kind::Duration { min: SECOND, max: Duration::MAX }, Is("\"60s\"") => heartbeat: Duration = Duration::from_secs(60);
        "The interval at which jitd sends a heartbeat to syslog and the journal, and checks the PAM stacks of the services \
         that roles open."

        "require_forwarding_within", SPAN, Words("not set") => require_forwarding_within: Option<Duration> = None;
        "While an audit record has waited for syslog longer than this, jitd denies every sudo: no audit, no sudo. Roles \
         with `without_forwarding` are excepted (jit-roles(5)), and root is. Running sessions go on. A record waits until \
         the syslog daemon has read it; what that daemon does with it then is its own matter."

        "alerts.off", Kind::Texts("[\"first-use\"]"), Is("[]");
        "Rules that are switched off, by the names below."

        "alerts.repeat_after", SPAN, Is("\"15m\"") => alerts_repeat_after: Duration = Duration::from_secs(15 * 60);
        "A rule raises at most one alert about the same person in this time. The next alert says how many were held back."

        "alerts.denials.count", number(1, 1000), Is("5") => denials_count: u32 = 5;
        "Rule `denials`: so many denials of one person, at sudo or over the bus, within `denials.within` raise an alert."

        "alerts.denials.within", SPAN, Is("\"10m\"") => denials_within: Duration = Duration::from_secs(10 * 60);
        "The time for `denials.count`."

        "alerts.outside_hours.days", Kind::Texts("[\"mon\", \"tue\"]"), Words("Monday to Friday");
        "Rule `outside-hours`: a window opened outside these days (`mon` to `sun`) and hours raises an alert. The rule is \
         off unless the table `outside_hours` is set."

        "alerts.outside_hours.from", Kind::Text("\"07:00\""), RequiredInTable;
        "The beginning of the hours, inclusive."

        "alerts.outside_hours.to", Kind::Text("\"19:00\""), RequiredInTable;
        "The end of the hours, exclusive. `24:00` is the end of the day."

        "alerts.outside_hours.time_zone", Kind::Text("\"Europe/Berlin\""), Words("the host's, /etc/localtime, or UTC");
        "The time zone of the hours: a file below `/usr/share/zoneinfo`."

        "alerts.spike.factor", number(1, u32::MAX), Is("3") => spike_factor: u32 = 3;
        "Rule `spike`: a person who elevated within an hour more than `factor` times as often as in the busiest hour of \
         their usual day, and more than `at_least` times, raises an alert. The usual day is the median of the last 30 \
         days, in UTC, on which the person elevated; with fewer than five such days there is no usual day yet."

        "alerts.spike.at_least", number(0, u32::MAX), Is("20") => spike_at_least: u32 = 20;
        "The count above which rule `spike` applies."

        "notify.exec", Kind::Text("\"/usr/libexec/jitd-webhook\""), Words("none");
        "A program that jitd runs for each notice, with one line of JSON on its standard input: `version` (1), `kind`, \
         `host`, `record` (as in jit-audit(5)), and for a request `tell`, its approvers as the role names them.\n\
         It runs as a service of its own that PID 1 starts, `jit-notify-...service`: as `user`, without capabilities or a \
         way to get them, on a read-only system, with a clean environment and an empty `/tmp`. It may use the network. \
         Its output goes to the journal. `/usr/libexec/jitd-webhook` sends each notice to a web address with curl(1), at \
         least once; its head says how to set it up."

        "notify.mail", Kind::Texts("[\"ops@example.org\", \"{approvers}\"]"), Is("[]");
        "Addresses to which jitd sends a mail for each notice, 50 at most. `{user}` stands for the person that the notice \
         is about, and `{approvers}` for those who may approve its role, the members of groups one by one: login names, \
         which the mail program delivers to as it does to local users. jitd refuses the setting on a host without a mail \
         program. The subject names kind, number, person and role, and nothing else that a person wrote."

        "notify.sendmail", Kind::Text("\"/usr/sbin/sendmail\""), Is("\"/usr/sbin/sendmail\"");
        "The program that takes the mail, run with `-i` and `-t` as `user`. It is not confined further, since mail \
         programs gain their privilege by set-user-id or set-group-id and deliver in the background."

        "notify.user", Kind::Text("\"jit-notify\""), Is("\"jit-notify\"");
        "The account under which `exec` and `sendmail` run. The package creates the default one. Its uid is not 0."

        "notify.about", Kind::Texts("[\"request\", \"alert\"]"), Words("all");
        "The kinds of notices that are sent: `request` (somebody requests a role), `activation` (a window opens, as \
         approved), `emergency` (without a request), `alert`, `left-behind`, `denial` (a request is denied) and `lapse` (a \
         request expired undecided)."

        "notify.timeout", Kind::Duration { min: SECOND, max: Duration::from_secs(600) }, Is("\"30s\"") => notify_timeout: Duration = Duration::from_secs(30);
        "jitd ends `exec` after this time, with every process it started, and of `sendmail` the program itself."
    }
}
