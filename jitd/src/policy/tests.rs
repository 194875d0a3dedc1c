use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use jit_proto::bus::view::{ProblemView, Severity};
use jit_proto::identity::{GroupId, RoleName, UserId};
use jit_proto::time::WallTime;

use super::load;
use crate::core::people::Account;
use crate::core::policy::{DAEMON, DaemonOptions, Kind, Policy, ROLE, Setting, Standard, shown};
use crate::host::accounts::{Directory, IdentityError};

struct Few;

impl Directory for Few {
    fn user(&self, name: &str) -> Result<Option<Account>, IdentityError> {
        let uid = match name {
            "root" => UserId::ROOT,
            "alice" => UserId(1000),
            "bob" => UserId(1001),
            "far" => return Err(IdentityError::Users(nix::Error::EHOSTDOWN)),
            _ => return Ok(None),
        };
        Ok(Some(Account { uid, name: name.to_owned() }))
    }

    fn group(&self, name: &str) -> Result<Option<GroupId>, IdentityError> {
        Ok(match name {
            "webops" => Some(GroupId(100)),
            "leads" => Some(GroupId(101)),
            _ => None,
        })
    }
}

const EXAMPLE: &str = r#"
[role.web-admin]
description      = "Look after the web tier"
members          = ["@webops", "alice"]
run_as           = ["root"]
services         = ["sudo", "sudo-i"]
default_duration = "30m"
max_duration     = "2h"
reason           = { min_length = 10 }
ticket           = { required = true, pattern = "^INC-[0-9]+$" }
[role.web-admin.approval]
from  = ["@leads", "bob"]
count = 1
"#;

/// Loads a policy of these files. The tests of owners need root, as the daemon does.
fn loaded(settings: &str, roles: &[(&str, &str)], spoil: impl Fn(&Path)) -> Result<Policy, Vec<ProblemView>> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("jitd");
    fs::create_dir_all(root.join("roles.d")).unwrap();
    fs::write(root.join("jitd.toml"), settings).unwrap();
    for (name, text) in roles {
        fs::write(root.join("roles.d").join(name), text).unwrap();
    }
    for path in [root.clone(), root.join("roles.d")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    spoil(&root);
    load(&root, &Few, WallTime(1))
}

fn check(settings: &str, role: &str, line: u64, key: &str, message: &str) {
    let problems = loaded(settings, &[("web.toml", role)], |_| {}).expect_err("it should not load");
    let found =
        problems.iter().find(|p| p.message.contains(message)).unwrap_or_else(|| panic!("{problems:?}"));
    assert_eq!((found.line, found.key.as_str()), (line, key), "{found:?}");
}

#[test]
fn retention_is_six_years_with_an_archive_if_nothing_is_said() {
    let kept = |settings| loaded(settings, &[("web.toml", EXAMPLE)], |_| {}).unwrap().settings.retention;
    let days = |days: u64| Some(Duration::from_secs(days * 24 * 3600));
    let standard = kept("");
    assert_eq!((standard.age, standard.size), (days(6 * 366), None));
    assert_eq!(standard.archive.as_deref(), Some(Path::new("/var/lib/jitd/archive")));
    let other = kept("retention = \"18mo\"\nretention_size = \"2G\"\narchive = \"/srv/audit\"");
    assert_eq!((other.age, other.size), (days(18 * 31), Some(2 << 30)));
    assert_eq!(other.archive.as_deref(), Some(Path::new("/srv/audit")));
    let none = kept("retention = \"forever\"\narchive = \"off\"");
    assert_eq!((none.age, none.archive), (None, None));
}

#[test]
fn a_retention_that_may_be_a_slip_of_the_pen_is_refused() {
    check("\nretention = \"18m\"", EXAMPLE, 2, "retention", "minutes or months");
    check("retention = \"6\"", EXAMPLE, 1, "retention", "\"6y\"");
    check("retention = \"29d\"", EXAMPLE, 1, "retention", "29 days is too low; write at least 30 days");
    check("retention_size = \"512\"", EXAMPLE, 1, "retention_size", "\"512M\"");
    check("retention_size = \"4K\"", EXAMPLE, 1, "retention_size", "\"4K\" is too low; write at least 1M");
    check("archive = \"backup\"", EXAMPLE, 1, "archive", "no path");
}

#[test]
fn the_example_loads() {
    let policy = loaded("operators = [\"bob\"]", &[("web.toml", EXAMPLE)], |_| {}).unwrap();
    let role = &policy.roles[&RoleName::try_from("web-admin".to_owned()).unwrap()];
    assert_eq!(role.max_duration, Duration::from_secs(7200));
    assert!(role.members.groups.contains(&GroupId(100)) && role.members.users.contains_key(&UserId(1000)));
    assert!(role.run_as.covers(UserId(4711)), "whoever may become root may become anybody");
    assert_eq!(policy.settings.options.max_duration, Duration::from_secs(8 * 3600));
}

#[test]
fn a_limited_role_may_name_groups() {
    let limited =
        EXAMPLE.replace("run_as           = [\"root\"]", "run_as = [\"bob\"]\nrun_as_groups = [\"leads\"]");
    let policy = loaded("", &[("web.toml", &limited)], |_| {}).unwrap();
    let role = policy.roles.values().next().unwrap();
    assert_eq!(role.run_as_groups.groups, [GroupId(101)].into());
    assert_eq!(role.run_as_groups.written, ["leads"]);
    let unknown = limited.replace("\"leads\"]", "\"nobody-knows\"]");
    check("", &unknown, 6, "role.web-admin.run_as_groups", "there is no group \"nobody-knows\"");
    // Without root they would test nothing, and pass.
    let root = limited.replace("[\"bob\"]", "[\"root\"]");
    check("", &root, 6, "role.web-admin.run_as_groups", "covers root");
}

#[test]
fn nothing_at_all_is_a_policy_without_roles() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(load(&folder.path().join("none"), &Few, WallTime(1)).unwrap().roles.len(), 0);
}

#[test]
fn each_mistake_is_named_by_line_and_key() {
    check("", &EXAMPLE.replace("description", "desciption"), 3, "role.web-admin.desciption", "unknown field");
    check("", &EXAMPLE.replace("2h", "9h"), 8, "role.web-admin.max_duration", "above the ceiling of 8h");
    check("max_duration = \"1h\"", EXAMPLE, 8, "role.web-admin.max_duration", "above the ceiling of 1h");
    check("", &EXAMPLE.replace("@webops", "@webopz"), 4, "role.web-admin.members", "no group \"webopz\"");
    check(
        "",
        &EXAMPLE.replace("\"bob\"", "\"bobby\""),
        12,
        "role.web-admin.approval.from",
        "no user \"bobby\"",
    );
    check(
        "",
        &EXAMPLE.replace("\"bob\"", "\"far\""),
        12,
        "role.web-admin.approval.from",
        "the user directory cannot be asked: EHOSTDOWN",
    );
    check(
        "",
        &EXAMPLE.replace("count = 1", "count = 0"),
        13,
        "role.web-admin.approval.count",
        "0 is too low; write at least 1",
    );
    check("", &EXAMPLE.replace("30m", "30 bananas"), 7, "role.web-admin.default_duration", "is no duration");
    check("", &EXAMPLE.replace("30m", "3h"), 7, "role.web-admin.default_duration", "above max_duration");
    check("", &EXAMPLE.replace("[0-9]+", "[0-9"), 10, "role.web-admin.ticket.pattern", "");
    check(
        "",
        &EXAMPLE.replace("\"sudo\",", "\"../sudo\","),
        6,
        "role.web-admin.services",
        "no name of a PAM service",
    );
    check("", &EXAMPLE.replace("role.web-admin", "role.\"Web Admin\""), 2, "role.Web Admin", "no role name");
    check("oprators = []", EXAMPLE, 1, "oprators", "unknown field");
    check("", "[role.x]\nmembers = [", 2, "", "");
}

#[test]
fn each_mistake_in_alerts_and_notices_is_named() {
    let cases = [
        ("[alerts]\noff = [\"denial\"]", "alerts.off", "there is no rule \"denial\", but denials, "),
        ("[alerts]\nrepeat_after = \"often\"", "alerts.repeat_after", "is no duration"),
        ("[alerts]\ndenials = { count = 0 }", "alerts.denials.count", "write from 1 to 1000"),
        ("[alerts]\ndenials = { counts = 5 }", "alerts.denials.counts", "unknown field"),
        ("[alerts]\nspike = { factor = 0 }", "alerts.spike.factor", "at least 1"),
        (
            "[alerts]\noutside_hours = { from = \"8:00\", to = \"18:00\" }",
            "alerts.outside_hours.from",
            "is no time of day",
        ),
        (
            "[alerts]\noutside_hours = { from = \"08:00\", to = \"24:01\" }",
            "alerts.outside_hours.to",
            "is no time of day",
        ),
        (
            "[alerts]\noutside_hours = { from = \"18:00\", to = \"08:00\" }",
            "alerts.outside_hours.from",
            "18:00 is not before 08:00",
        ),
        (
            "[alerts]\noutside_hours = { from = \"08:00\", to = \"18:00\", days = [\"monday\"] }",
            "alerts.outside_hours.days",
            "none of mon, tue",
        ),
        (
            "[alerts]\noutside_hours = { from = \"08:00\", to = \"18:00\", time_zone = \"../passwd\" }",
            "alerts.outside_hours.time_zone",
            "is no name of a time zone",
        ),
        ("[notify]\nexec = \"hook\"", "notify.exec", "begins at /"),
        ("[notify]\nexec = \"/nowhere/hook\"", "notify.exec", "/nowhere/hook: No such file"),
        ("[notify]\nexec = \"/etc/passwd\"", "notify.exec", "/etc/passwd is no program"),
        ("[notify]\nabout = [\"sessions\"]", "notify.about", "none of request, activation"),
        ("[notify]\ntimeout = \"1h\"", "notify.timeout", "from 1s to 10m"),
        ("[notify]\nmail = [\"a b@example.org\"]", "notify.mail", "is no mail address"),
        ("[notify]\nmail = [\"-oQ/tmp/x\"]", "notify.mail", "is no mail address"),
        ("[notify]\nmail = [\"x@y\\nBcc: z\"]", "notify.mail", "is no mail address"),
    ];
    for (settings, key, message) in cases {
        check(settings, EXAMPLE, 2, key, message);
    }
    let user = |user: &str| format!("[notify]\nexec = \"/bin/sh\"\nuser = \"{user}\"\n");
    check(&user("root"), EXAMPLE, 3, "notify.user", "has uid 0");
    check(&user("nobody1"), EXAMPLE, 3, "notify.user", "no user \"nobody1\"");
    let anybodys = tempfile::NamedTempFile::new().unwrap();
    let exec = format!("[notify]\nexec = \"{}\"\n", anybodys.path().display());
    check(&exec, EXAMPLE, 2, "notify.exec", "others than root may write /tmp");
}

#[test]
fn alerts_and_notices_are_as_the_settings_say() {
    let settings = "[alerts]\noff = [\"clock\"]\noutside_hours = { from = \"08:00\", to = \"24:00\", days = [\"sat\"], \
        time_zone = \"UTC\" }\ndenials = { count = 3 }\n[notify]\nexec = \"/bin/sh\"\nuser = \"alice\"\n\
        about = [\"alert\"]\n";
    let settings = loaded(settings, &[], |_| {}).unwrap().settings;
    let hours = settings.alerts.hours.as_ref().unwrap();
    assert_eq!((hours.from, hours.to, hours.days.len()), (480, 1440, 1));
    assert_eq!(settings.alerts.denials.count, 3);
    assert!(!settings.alerts.watches(crate::core::alerts::Rule::Clock));
    let hook = settings.notices.exec.as_ref().unwrap();
    assert_eq!(hook.named, Path::new("/bin/sh"));
    assert!(hook.real.is_absolute() && !hook.real.is_symlink());
    let usual = loaded("", &[], |_| {}).unwrap().settings;
    assert!(!usual.notices.reach_somebody() && usual.alerts.hours.is_none());
}

#[test]
fn a_role_stands_in_one_file_only() {
    let problems = loaded("", &[("a.toml", EXAMPLE), ("b.toml", EXAMPLE)], |_| {}).unwrap_err();
    assert!(problems[0].file.ends_with("b.toml") && problems[0].message.contains("a.toml"), "{problems:?}");
}

#[test]
fn what_others_may_write_is_not_believed() {
    let open_file = |root: &Path| {
        fs::set_permissions(root.join("roles.d/web.toml"), fs::Permissions::from_mode(0o666)).unwrap();
    };
    let open_folder =
        |root: &Path| fs::set_permissions(root.join("roles.d"), fs::Permissions::from_mode(0o777)).unwrap();
    let foreign =
        |root: &Path| std::os::unix::fs::chown(root.join("roles.d/web.toml"), Some(1000), None).unwrap();
    let link = |root: &Path| {
        fs::rename(root.join("roles.d/web.toml"), root.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(root.join("elsewhere"), root.join("roles.d/web.toml")).unwrap();
    };
    type Spoil<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Spoil<'_>); 4] = [
        ("others than root may write it (mode 0666)", &open_file),
        ("others than root may write it (mode 0777)", &open_folder),
        ("it belongs to uid 1000, not to root", &foreign),
        ("it cannot be opened", &link),
    ];
    for (message, spoil) in cases {
        let problems = loaded("", &[("web.toml", EXAMPLE)], spoil).unwrap_err();
        assert!(problems.iter().any(|p| p.message.contains(message)), "{message}: {problems:?}");
    }
}

#[test]
fn paths_for_privileged_files_go_straight_down_from_the_root() {
    let policy = loaded("setuid_paths = [\"/usr\", \"/srv/www\"]\n", &[], |_| {}).unwrap();
    assert_eq!(policy.settings.setuid_paths, ["/usr", "/srv/www"].map(std::path::PathBuf::from));
    assert!(loaded("", &[], |_| {}).unwrap().settings.setuid_paths.contains(&"/".into()));
    for path in ["usr", "", "/usr/../etc", "../etc"] {
        let settings = format!("grace = \"1s\"\nsetuid_paths = [\"/opt\", \"{path}\"]\n");
        check(&settings, EXAMPLE, 2, "setuid_paths", "is no path that begins at /");
    }
}

#[test]
fn each_mistake_about_sinks_is_named() {
    check("journal = true\nheartbeat = \"100ms\"", EXAMPLE, 2, "heartbeat", "too low; write at least 1s");
    check("json_lines_keep = 0", EXAMPLE, 1, "json_lines_keep", "0 is too low; write at least 1");
    check(
        "json_lines_max_size = \"1K\"",
        EXAMPLE,
        1,
        "json_lines_max_size",
        "\"1K\" is too low; write at least 64K",
    );
    check("json_lines_max_size = \"64\"", EXAMPLE, 1, "json_lines_max_size", "is no size");
    check("syslog_socket = \"dev/log\"", EXAMPLE, 1, "syslog_socket", "is no path");
    check("require_forwarding_within = \"soon\"", EXAMPLE, 1, "require_forwarding_within", "is no duration");
}

#[test]
fn nobody_is_refused_for_records_that_wait_unless_the_settings_say_so() {
    let sinks = |settings| loaded(settings, &[("web.toml", EXAMPLE)], |_| {}).unwrap().settings.sinks;
    assert_eq!(sinks("").require_forwarding_within, None);
    let set = sinks("require_forwarding_within = \"5m\"\njson_lines = true\nsyslog_enterprise = 7");
    assert_eq!(set.require_forwarding_within, Some(Duration::from_secs(300)));
    assert!(set.json_lines && set.journal);
    assert_eq!(set.syslog_enterprise, 7);
}

#[test]
fn the_example_of_alerts_and_notices_is_right_where_it_stands() {
    let shipped = include_str!("../../../packaging/etc/jitd/jitd.toml");
    let from = shipped.find("#[alerts]").unwrap();
    let mut example = String::new();
    for line in shipped[from..].lines() {
        // Sentences have a space after the mark. The people and programs of the examples do not exist on the test's
        // host.
        match line.strip_prefix('#') {
            Some(line) if !line.starts_with(' ') && !line.contains('/') => example += &format!("{line}\n"),
            _ => {}
        }
    }
    let example = example.replace("mail     = [\"ops@example.org\"]\n", "");
    let settings =
        loaded(&example, &[], |_| {}).unwrap_or_else(|problems| panic!("{problems:?}\n{example}")).settings;
    let usual = loaded("", &[], |_| {}).unwrap().settings;
    assert_eq!(settings.alerts.denials, usual.alerts.denials);
    assert_eq!(settings.alerts.spike, usual.alerts.spike);
    assert_eq!(settings.alerts.repeat_after, usual.alerts.repeat_after);
    assert_eq!((settings.notices.about, settings.notices.user), (usual.notices.about, usual.notices.user));
    assert_eq!(settings.notices.timeout, usual.notices.timeout);
}

#[test]
fn every_problem_of_a_file_is_named_in_one_round_and_in_plain_words() {
    let role = "[role.web-admin]\nmembers = \"alice\"\nmax_duration = 30\ndefault_duraton = \"5m\"\nrun_as = [\"nobody1\"]\n\
        end_with_login = \"yes\"\nticket = { required = 1 }\n[role.other]\nmembers = [\"bob\", 7]\n";
    let settings = "grace = 5\n[alerts]\noutside_hours = { from = \"08:00\" }\n[notify]\nmails = []\n";
    let problems = loaded(settings, &[("web.toml", role)], |_| {}).unwrap_err();
    let found: Vec<(u64, &str, &str)> =
        problems.iter().map(|p| (p.line, p.key.as_str(), p.message.as_str())).collect();
    for (line, key, part) in [
        (1, "grace", "must be a text in quotes such as \"30m\"; this is a number without quotes"),
        (
            3,
            "alerts.outside_hours.to",
            "required key is missing; it holds a text in quotes such as \"19:00\"",
        ),
        (5, "notify.mails", "unknown field, expected one of exec, mail,"),
        (1, "role.web-admin.approval", "required key is missing"),
        (
            2,
            "role.web-admin.members",
            "must be a list of texts such as [\"alice\", \"@webops\"]; this is a text",
        ),
        (3, "role.web-admin.max_duration", "this is a number without quotes"),
        (4, "role.web-admin.default_duraton", "unknown field"),
        (5, "role.web-admin.run_as", "no user \"nobody1\""),
        (6, "role.web-admin.end_with_login", "must be true or false, without quotes; this is a text"),
        (7, "role.web-admin.ticket.required", "must be true or false"),
        (8, "role.other.approval", "required key is missing"),
        (9, "role.other.members", "must be a list of texts"),
    ] {
        assert!(
            found.iter().any(|(l, k, message)| (*l, *k) == (line, key) && message.contains(part)),
            "{line} {key} {part}: {found:#?}"
        );
    }
}

#[test]
fn a_service_that_this_host_does_not_have_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("roles.d")).unwrap();
    for path in [folder.path().to_owned(), folder.path().join("roles.d")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let role = format!("{MINIMAL_ROLE}\n\nrole.x.services = [\"sudoo\"]\n");
    fs::write(folder.path().join("roles.d/x.toml"), role).unwrap();
    let (policy, found) = super::check(folder.path(), &Few, WallTime(1));
    assert!(policy.is_some(), "{found:?}");
    let warning = found.iter().find(|it| it.key == "role.x.services").unwrap_or_else(|| panic!("{found:?}"));
    assert_eq!((warning.line, warning.severity), (5, Severity::Warning));
    assert_eq!(warning.message, "there is no PAM service \"sudoo\" on this host: no /etc/pam.d/sudoo");
}

/// A policy without the data about its source.
fn meaning(settings: &str, role: &str) -> String {
    let mut policy =
        loaded(settings, &[("x.toml", role)], |_| {}).unwrap_or_else(|problems| panic!("{problems:?}"));
    policy.digest.clear();
    policy.settings.options.written.clear();
    policy.roles.values_mut().for_each(|role| role.options.written.clear());
    format!("{policy:?}")
}

const MINIMAL_ROLE: &str = "role.x.members = [\"alice\"]\nrole.x.approval.from = [\"bob\"]\n";

/// A line that sets a key, in files that are valid with and without it.
fn with(row: &Setting, value: &str) -> (String, String) {
    let role = |line: &str| (String::new(), format!("{MINIMAL_ROLE}{line}"));
    match row.key {
        "members" => (String::new(), MINIMAL_ROLE.replace("[\"alice\"]", value)),
        "approval.from" => (String::new(), MINIMAL_ROLE.replace("[\"bob\"]", value)),
        "on_expiry_limit" => {
            role(&format!("role.x.on_expiry = \"deny-new\"\nrole.x.on_expiry_limit = {value}"))
        }
        "run_as_groups" => role(&format!("role.x.run_as = [\"bob\"]\nrole.x.run_as_groups = {value}")),
        key if ROLE.iter().any(|known| std::ptr::eq(known, row)) => role(&format!("role.x.{key} = {value}")),
        "notify.mail" => (
            format!("notify.sendmail = \"/bin/sh\"\nnotify.user = \"alice\"\nnotify.mail = {value}"),
            MINIMAL_ROLE.into(),
        ),
        "notify.exec" => (format!("notify.user = \"alice\"\nnotify.exec = {value}"), MINIMAL_ROLE.into()),
        "notify.sendmail" => (
            format!("notify.mail = [\"root\"]\nnotify.user = \"alice\"\nnotify.sendmail = {value}"),
            MINIMAL_ROLE.into(),
        ),
        "alerts.outside_hours.from" => {
            (format!("alerts.outside_hours = {{ to = \"20:00\", from = {value} }}"), MINIMAL_ROLE.into())
        }
        "alerts.outside_hours.to" => {
            (format!("alerts.outside_hours = {{ from = \"01:00\", to = {value} }}"), MINIMAL_ROLE.into())
        }
        key if key.starts_with("alerts.outside_hours.") => (
            format!(
                "alerts.outside_hours.from = \"01:00\"\nalerts.outside_hours.to = \"20:00\"\n{key} = {value}"
            ),
            MINIMAL_ROLE.into(),
        ),
        key => (format!("{key} = {value}"), MINIMAL_ROLE.into()),
    }
}

/// A value other than the default.
fn another(row: &Setting) -> String {
    match (row.key, row.kind) {
        ("members" | "approval.from" | "operators" | "auditors", _) => "[\"root\", \"@webops\"]",
        ("run_as", _) => "[\"alice\"]",
        ("run_as_groups", _) => "[\"leads\"]",
        ("services", _) => "[\"su\"]",
        ("warn_before", _) => "[\"2m\"]",
        ("alerts.off", _) => "[\"clock\"]",
        ("alerts.outside_hours.days", _) => "[\"sun\"]",
        ("alerts.outside_hours.from", _) => "\"02:00\"",
        ("alerts.outside_hours.to", _) => "\"22:00\"",
        ("alerts.outside_hours.time_zone", _) => "\"UTC\"",
        ("notify.exec" | "notify.sendmail", _) => "\"/bin/cat\"",
        ("notify.mail", _) => "[\"ops@example.org\"]",
        ("notify.user", _) => "\"alice\"",
        ("notify.about", _) => "[\"alert\"]",
        ("setuid_paths", _) => "[\"/srv\"]",
        ("archive" | "syslog_socket", _) => "\"/srv/jit\"",
        ("description", _) => "\"what it is for\"",
        ("ticket.pattern", _) => "\"^A$\"",
        (_, Kind::Choice(words)) => return format!("{:?}", words.last().unwrap()),
        (_, Kind::Duration { .. }) => "\"7m\"",
        (_, Kind::Age { .. }) => "\"forever\"",
        (_, Kind::Size { .. }) => "\"3M\"",
        (_, Kind::Number { .. }) => "7",
        (_, Kind::Flag) => return (row.default != Standard::Value("true")).to_string(),
        (key, _) => panic!("{key}: this test needs a value that differs from the default"),
    }
    .to_owned()
}

#[test]
fn every_setting_of_the_table_is_read_and_its_default_is_the_one_it_names() {
    let standard = meaning("", MINIMAL_ROLE);
    for row in DAEMON.iter().chain(ROLE) {
        if let Standard::Value(value) = row.default
            && !matches!(row.key, "run_as_groups" | "notify.sendmail" | "notify.mail" | "notify.exec")
        {
            let (settings, role) = with(row, value);
            assert_eq!(meaning(&settings, &role), standard, "{} = {value} is the default", row.key);
        }
        let (settings, role) = with(row, &another(row));
        let read = meaning(&settings, &role);
        assert_ne!(read, standard, "{} = {} means nothing", row.key, another(row));
    }
}

#[test]
fn every_row_of_a_simple_kind_of_jitd_toml_fills_its_field() {
    for row in
        DAEMON.iter().filter(|row| !matches!(row.kind, Kind::Text(_) | Kind::Texts(_) | Kind::Choice(_)))
    {
        let (settings, role) = with(row, &another(row));
        let mut options = loaded(&settings, &[("x.toml", &role)], |_| {}).unwrap().settings.options;
        options.written.clear();
        assert_ne!(options, DaemonOptions::default(), "{} names no field", row.key);
    }
}

#[test]
fn policy_show_has_every_setting_with_its_value_or_its_default() {
    let settings = "grace = \"9s\"\nalerts.denials = { count = 3 }\n";
    let role =
        format!("{MINIMAL_ROLE}role.x.without_forwarding = true\nrole.x.reason = {{ min_length = 0x14 }}\n");
    let policy = loaded(settings, &[("x.toml", &role)], |_| {}).unwrap();
    let of_role = &policy.roles.values().next().unwrap().options.written;
    let lines = |rows, written| {
        let shown = shown(rows, written);
        shown.into_iter().map(|it| format!("{} {} {}", it.key, it.value, it.is_default)).collect::<Vec<_>>()
    };
    let (settings, role) = (lines(DAEMON, &policy.settings.options.written), lines(ROLE, of_role));
    assert_eq!((settings.len(), role.len()), (DAEMON.len(), ROLE.len()));
    for line in ["grace \"9s\" false", "alerts.denials.count 3 false", "request_expiry \"1h\" true"] {
        assert!(settings.iter().any(|it| it == line), "{line}: {settings:?}");
    }
    for line in ["without_forwarding true false", "members [\"alice\"] false", "end_with_login false true"] {
        assert!(role.iter().any(|it| it == line), "{line}: {role:?}");
    }
    assert!(role.iter().any(|it| it.starts_with("reason.min_length ") && it.ends_with("false")), "{role:?}");
}

#[test]
fn problems_are_in_the_order_of_files_and_lines() {
    let role = "[role.b]\nmembers = [\"nobody1\"]\nrun_as = 7\n[role.a]\nmembers = [\"nobody2\"]\n";
    let problems =
        loaded("grace = 5\noperators = [\"nobody3\"]\n", &[("web.toml", role)], |_| {}).unwrap_err();
    let places: Vec<(&str, u64)> =
        problems.iter().map(|problem| (problem.file.as_str(), problem.line)).collect();
    assert!(places.len() >= 6 && places.is_sorted(), "{places:?}");
}

/// The members of groups in the tests.
struct Groups;

impl Directory for Groups {
    fn user(&self, name: &str) -> Result<Option<Account>, IdentityError> {
        Few.user(name)
    }

    fn group(&self, name: &str) -> Result<Option<GroupId>, IdentityError> {
        Few.group(name)
    }

    fn listed_in(&self, group: &str) -> Option<Vec<String>> {
        Some(if group == "webops" { vec!["alice".into()] } else { Vec::new() })
    }
}

#[test]
fn what_cannot_work_is_a_warning_at_its_line_and_refuses_nothing() {
    let warned = |settings: &str, members: &str, from: &str, count: u32| {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("roles.d")).unwrap();
        for path in [folder.path().to_owned(), folder.path().join("roles.d")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(folder.path().join("jitd.toml"), settings).unwrap();
        if !members.is_empty() {
            let role = format!(
                "[role.x]\nmembers = [{members}]\n[role.x.approval]\nfrom = [{from}]\ncount = {count}\n"
            );
            fs::write(folder.path().join("roles.d/x.toml"), role).unwrap();
        }
        let (policy, warnings) = super::check(folder.path(), &Groups, WallTime(1));
        assert!(policy.is_some() && load(folder.path(), &Groups, WallTime(1)).is_ok(), "{warnings:?}");
        assert!(warnings.iter().all(|warning| warning.severity == Severity::Warning));
        let found = warnings.into_iter().map(|it| format!("{}:{} {}", it.line, it.key, it.message));
        found.collect::<Vec<_>>()
    };
    let operators = "operators = [\"bob\"]\n";
    assert!(warned(operators, "\"@webops\"", "\"bob\"", 1).is_empty());
    for (settings, members, from, count, expected) in [
        (
            operators,
            "\"@webops\"",
            "\"alice\"",
            1,
            "4:role.x.approval.from nobody approves their own request",
        ),
        (operators, "\"alice\", \"bob\"", "\"bob\"", 1, "there are not 1 for bob; they cannot get it"),
        (
            operators,
            "\"alice\"",
            "\"bob\"",
            2,
            "5:role.x.approval.count it takes 2 different approvers, and there are 1: bob",
        ),
        (operators, "\"@leads\"", "\"bob\"", 1, "2:role.x.members group \"leads\" has no members"),
        (operators, "", "", 1, "0: there is no role"),
        ("", "\"alice\"", "\"bob\"", 1, "0:operators nobody but root can grant or revoke"),
    ] {
        let found = warned(settings, members, from, count);
        assert!(found.iter().any(|it| it.contains(expected)), "{expected}: {found:?}");
    }
}
