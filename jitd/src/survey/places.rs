//! Where privilege is kept on a host: the list that is surveyed.

/// A file, or a folder with everything in it down to a depth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Where.
    pub(super) path: &'static str,
    /// How many levels of folders are looked into; 0 for a file.
    pub(super) depth: u32,
}

const fn file(path: &'static str) -> Place {
    Place { path, depth: 0 }
}

const fn tree(path: &'static str) -> Place {
    Place { path, depth: 8 }
}

/// What is the same on every host. A place that is not there is no mistake; one that comes is a finding.
pub(super) const PLACES: &[Place] = &[
    // Accounts.
    file("/etc/passwd"),
    file("/etc/group"),
    file("/etc/shadow"),
    file("/etc/gshadow"),
    file("/etc/subuid"),
    file("/etc/subgid"),
    file("/etc/nsswitch.conf"),
    file("/etc/login.defs"),
    file("/etc/shells"),
    tree("/etc/sysusers.d"),
    tree("/usr/lib/sysusers.d"),
    // Who may become whom.
    file("/etc/sudoers"),
    tree("/etc/sudoers.d"),
    file("/etc/sudo.conf"),
    file("/etc/doas.conf"),
    tree("/etc/doas.d"),
    tree("/etc/polkit-1"),
    tree("/usr/share/polkit-1"),
    tree("/usr/local/share/polkit-1"),
    tree("/run/polkit-1"),
    tree("/var/lib/polkit-1"),
    tree("/etc/dbus-1"),
    tree("/usr/share/dbus-1/system.d"),
    tree("/usr/share/dbus-1/system-services"),
    // How they prove it.
    file("/etc/pam.conf"),
    tree("/etc/pam.d"),
    tree("/usr/lib/pam.d"),
    tree("/etc/security"),
    tree("/usr/lib/security"),
    tree("/usr/lib64/security"),
    tree("/etc/ssh"),
    file("/etc/hosts.equiv"),
    file("/etc/securetty"),
    // What runs by itself.
    file("/etc/crontab"),
    file("/etc/anacrontab"),
    tree("/etc/cron.d"),
    tree("/etc/cron.hourly"),
    tree("/etc/cron.daily"),
    tree("/etc/cron.weekly"),
    tree("/etc/cron.monthly"),
    tree("/var/spool/cron"),
    tree("/var/spool/at"),
    tree("/etc/systemd"),
    tree("/run/systemd/system"),
    tree("/run/systemd/transient"),
    tree("/run/systemd/system.control"),
    tree("/run/systemd/generator"),
    tree("/run/systemd/generator.early"),
    tree("/run/systemd/generator.late"),
    tree("/run/systemd/user"),
    // The user manager of root; those of others run nothing that their users could not.
    tree("/run/user/0/systemd/transient"),
    tree("/run/user/0/systemd/user"),
    tree("/run/user/0/systemd/user.control"),
    tree("/usr/lib/systemd/system"),
    tree("/usr/lib/systemd/user"),
    tree("/usr/lib/systemd/system.conf.d"),
    tree("/usr/lib/systemd/system-generators"),
    tree("/usr/lib/systemd/user-generators"),
    tree("/usr/lib/systemd/system-environment-generators"),
    tree("/usr/lib/systemd/user-environment-generators"),
    tree("/usr/lib/systemd/system-shutdown"),
    tree("/usr/lib/systemd/system-sleep"),
    tree("/usr/local/lib/systemd"),
    tree("/var/lib/systemd/linger"),
    tree("/etc/init.d"),
    file("/etc/rc.local"),
    tree("/etc/tmpfiles.d"),
    tree("/usr/lib/tmpfiles.d"),
    tree("/etc/logrotate.d"),
    tree("/etc/update-motd.d"),
    file("/etc/apt/apt.conf"),
    tree("/etc/apt/apt.conf.d"),
    tree("/etc/dpkg"),
    tree("/etc/default"),
    tree("/etc/sysconfig"),
    tree("/etc/network"),
    tree("/etc/NetworkManager/dispatcher.d"),
    tree("/etc/dhcp"),
    tree("/etc/kernel"),
    tree("/etc/initramfs-tools"),
    // What root's commands are looked for in first.
    tree("/usr/local/sbin"),
    tree("/usr/local/bin"),
    // What every program, or every shell, reads first.
    file("/etc/ld.so.preload"),
    file("/etc/ld.so.conf"),
    tree("/etc/ld.so.conf.d"),
    file("/etc/environment"),
    tree("/etc/environment.d"),
    file("/etc/profile"),
    tree("/etc/profile.d"),
    file("/etc/bash.bashrc"),
    file("/etc/bashrc"),
    file("/etc/zshenv"),
    tree("/etc/zsh"),
    // The kernel.
    file("/etc/modules"),
    tree("/etc/modules-load.d"),
    tree("/usr/lib/modules-load.d"),
    tree("/run/modules-load.d"),
    tree("/etc/modprobe.d"),
    tree("/usr/lib/modprobe.d"),
    tree("/run/modprobe.d"),
    tree("/etc/udev"),
    tree("/usr/lib/udev/rules.d"),
    tree("/run/udev/rules.d"),
    file("/etc/sysctl.conf"),
    tree("/etc/sysctl.d"),
    file("/proc/sys/kernel/core_pattern"),
    file("/proc/sys/kernel/modprobe"),
    // What keeps all this.
    tree("/etc/jitd"),
    file("/usr/libexec/jitd"),
    file("/usr/bin/jitctl"),
];

/// Below `/usr/lib`, in each folder for an architecture: PAM's modules.
pub(super) const MODULES: &str = "security";

/// In every home.
pub(super) const IN_HOMES: &[Place] = &[
    file(".ssh/authorized_keys"),
    file(".ssh/authorized_keys2"),
    file(".ssh/rc"),
    file(".ssh/environment"),
    file(".rhosts"),
    file(".shosts"),
    file(".k5login"),
    tree(".config/systemd/user"),
];

/// In the homes of accounts with uid 0: what their shells read.
pub(super) const IN_ROOTS_HOMES: &[Place] = &[
    file(".profile"),
    file(".bashrc"),
    file(".bash_profile"),
    file(".bash_login"),
    file(".bash_logout"),
    file(".bash_aliases"),
    file(".zshenv"),
    file(".zprofile"),
    file(".zshrc"),
    file(".zlogin"),
    file(".ssh/config"),
    file(".forward"),
];

/// Stands for the list above and for how entries are made: what an earlier daemon found is compared with as far as it
/// goes.
pub(super) fn list() -> String {
    let list = format!("1 {PLACES:?} {MODULES} {IN_HOMES:?} {IN_ROOTS_HOMES:?}");
    super::accounts::print_of(list.as_bytes())
}

/// Scopes that come and go with sessions: our own, and those of logins. A scope holds processes that somebody else
/// started, and starts none itself; ours are ended with their sessions.
pub(super) fn is_noise(path: &str) -> bool {
    let Some(name) = path.strip_prefix("/run/systemd/transient/") else { return false };
    // Nothing of ours makes drop-ins for our scopes: whoever does means to lift their limits.
    if name.starts_with("jit-") {
        return name.ends_with(".scope") && !name.contains('/');
    }
    let name = name.split('/').next().unwrap_or_default();
    let name = name.strip_suffix(".d").unwrap_or(name);
    name.ends_with(".scope") && name.starts_with("session-")
}

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
    fn only_scopes_of_sessions_are_noise() {
        for noise in ["jit-7.scope", "session-c1.scope", "session-3.scope.d/50-x.conf"] {
            assert!(is_noise(&format!("/run/systemd/transient/{noise}")), "{noise}");
        }
        for plant in [
            "run-u7.service",
            "jit-7.service",
            "session-3.service",
            "run-r1.timer",
            "x.scope",
            "jit-7.scope.d/x.conf",
            "jit-7.scope.d",
        ] {
            assert!(!is_noise(&format!("/run/systemd/transient/{plant}")), "{plant}");
        }
        assert!(!is_noise("/etc/systemd/system/session-1.scope"));
    }
}
