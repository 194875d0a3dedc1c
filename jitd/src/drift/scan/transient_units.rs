//! Recognises the transient units of jitd and of logins by their contents, not only by their names.

/// Whether this is the name of a notice's unit (`notify::run`). Anybody can use the name, so the contents are checked
/// as well.
pub(super) fn may_be_a_notice(path: &str) -> bool {
    let name = path.strip_prefix("/run/systemd/transient/jit-notify-");
    name.is_some_and(|name| name.ends_with(".service") && !name.contains('/'))
}

/// The lines of a notice's unit; no others may be in it.
const OF_A_NOTICE: [&str; 31] = [
    "CapabilityBoundingSet",
    "CollectMode",
    "Description",
    "ExecStart",
    "KeyringMode",
    "KillMode",
    "LimitCORE",
    "LockPersonality",
    "MemoryMax",
    "Nice",
    "NoNewPrivileges",
    "PrivateDevices",
    "PrivateTmp",
    "ProtectClock",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectProc",
    "ProtectSystem",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "TasksMax",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "Type",
    "UMask",
    "User",
    "WorkingDirectory",
];

/// Whether the unit runs its program as a user other than root, without any setting that gives more privilege: then
/// neither its author nor its program matters (systemd.exec(5)).
pub(super) fn keeps_no_privilege(unit: &str) -> bool {
    let mut has_user = false;
    for line in unit.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        if line.starts_with('[') && line.ends_with(']') {
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { return false };
        if !OF_A_NOTICE.contains(&key) || value.ends_with('\\') {
            return false;
        }
        // Prefixes that restore privilege (systemd.service(5), "Special executable prefixes").
        let mut prefixes = value.chars().take_while(|c| matches!(c, '@' | '-' | ':' | '+' | '!' | '|'));
        if key == "ExecStart" && prefixes.any(|c| matches!(c, '+' | '!' | '|')) {
            return false;
        }
        if key == "User" {
            let is_name = value.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
            if !is_name || value == "root" {
                return false;
            }
            has_user = true;
        }
    }
    has_user
}

/// The login of a scope, by the path of its unit (`session-ID.scope`). Only logind can say whether the login exists.
pub(super) fn login_of_scope(path: &str) -> Option<&str> {
    path.strip_prefix("/run/systemd/transient/session-")?.strip_suffix(".scope")
}

/// Whether this is the name of a scope of jitd's; the contents are checked as well. A drop-in of one is a finding.
pub(super) fn may_be_our_scope(path: &str) -> bool {
    let name = path.strip_prefix("/run/systemd/transient/jit-").and_then(|name| name.strip_suffix(".scope"));
    name.is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
    })
}

/// Whether these are the contents that `sessions::systemd` asks PID 1 for, with a deadline (systemd.scope(5),
/// systemd.unit(5)).
pub(super) fn is_our_scope(unit: &str) -> bool {
    const KEYS: [&str; 8] = [
        "Description",
        "Slice",
        "Delegate",
        "CollectMode",
        "SendSIGHUP",
        "TimeoutStopSec",
        "RuntimeMaxSec",
        "OOMPolicy",
    ];
    let mut is_limited = false;
    for line in
        unit.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';', '[']))
    {
        let Some((key, value)) = line.split_once('=') else { return false };
        if !KEYS.contains(&key) {
            return false;
        }
        if key == "RuntimeMaxSec" {
            is_limited = value.starts_with(|c: char| c.is_ascii_digit());
        }
    }
    is_limited
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_like_a_notice_has_to_be_one() {
        let notice = "# This is a transient unit file, created programmatically via the systemd API. Do not edit.\n\
            [Unit]\nDescription=Just-in-time sudo: tells somebody\n\n[Service]\nType=oneshot\n\
            ExecStart=@\"/usr/local/libexec/told\" \"/usr/local/libexec/told\"\nUser=jit-notify\nNice=10\n";
        assert!(keeps_no_privilege(notice));
        for other in [
            notice.replace("User=jit-notify\n", ""),
            notice.replace("jit-notify", "root"),
            notice.replace("jit-notify", "0"),
            notice.replace("=@", "=@+"),
            notice.replace("=@", "=!"),
            format!("{notice}AmbientCapabilities=CAP_SETUID\n"),
            format!("{notice}ExecStartPre=/root/sh\n"),
            format!("{notice}Group=disk\n"),
            format!("{notice}User=\n"),
            format!("{notice}Nice=1\\\n"),
        ] {
            assert!(!keeps_no_privilege(&other), "{other}");
        }
        assert!(may_be_a_notice("/run/systemd/transient/jit-notify-1-2.service"));
        for other in [
            "transient/jit-notify-1.service.d/x.conf",
            "transient/jit-notify-1.timer",
            "system/jit-notify-1.service",
        ] {
            assert!(!may_be_a_notice(&format!("/run/systemd/{other}")), "{other}");
        }
    }

    #[test]
    fn the_scope_of_a_login_is_told_by_its_name_and_its_drop_ins_are_not_it() {
        assert_eq!(login_of_scope("/run/systemd/transient/session-c1.scope"), Some("c1"));
        for other in ["session-3.scope.d/50-x.conf", "session-3.service", "x.scope", "run-u7.service"] {
            assert_eq!(login_of_scope(&format!("/run/systemd/transient/{other}")), None, "{other}");
        }
        assert_eq!(login_of_scope("/etc/systemd/system/session-1.scope"), None);
    }

    #[test]
    fn a_scope_of_ours_has_to_say_what_ours_say() {
        let ours = "# transient\n[Unit]\nDescription=Just-in-time session 7\nCollectMode=inactive-or-failed\n\n[Scope]\n\
                    Slice=jit.slice\nDelegate=yes\nSendSIGHUP=yes\nTimeoutStopSec=1s\nRuntimeMaxSec=30min\n";
        assert!(is_our_scope(ours));
        for other in [
            ours.replace("30min", "infinity"),
            ours.replace("RuntimeMaxSec=30min\n", ""),
            format!("{ours}RuntimeMaxSec=\n"),
            format!("{ours}ExecStart=/root/sh\n"),
        ] {
            assert!(!is_our_scope(&other), "{other}");
        }
        assert!(may_be_our_scope("/run/systemd/transient/jit-7.scope"));
        assert!(may_be_our_scope("/run/systemd/transient/jit-7-2.scope"));
        for other in ["jit-7.scope.d/x.conf", "jit-7.scope.d", "jit-x.scope", "jit-7.service", "jit-.scope"] {
            assert!(!may_be_our_scope(&format!("/run/systemd/transient/{other}")), "{other}");
        }
    }
}
