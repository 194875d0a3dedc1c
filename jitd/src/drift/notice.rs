//! Tells the unit of a notice (`notify::run`) from what is only named like one.

/// Whether this is the unit of a notice (`notify::run`), by its name. Anybody may take that name, so what it says has to be
/// looked at as well.
pub(super) fn may_be_a_notice(path: &str) -> bool {
    let name = path.strip_prefix("/run/systemd/transient/jit-notify-");
    name.is_some_and(|name| name.ends_with(".service") && !name.contains('/'))
}

/// What the unit of a notice says, and no other.
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

/// Whether a unit of that name runs something as somebody who is not root, and says nothing that would give it more than
/// that: who made it, and what it runs, is then no matter of privilege (systemd.exec(5)).
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
        // Prefixes that take the privileges back (systemd.service(5), "Special executable prefixes").
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_like_a_notice_has_to_be_one() {
        let notice = "# This is a transient unit file, created programmatically via the systemd API. Action not edit.\n\
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
}
