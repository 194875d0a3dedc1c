//! Where privilege is kept on a host: the list that is surveyed.

use crate::core::kinds::Kind;

/// A file, or a folder with everything in it down to a depth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Where.
    pub(super) path: &'static str,
    /// How many levels of folders are looked into; 0 for a file.
    pub(super) depth: u32,
    /// Whether contents are compared; otherwise inode, size and times stand for them, and folders below the depth are left
    /// out without a word.
    pub(super) read: bool,
}

const fn file(path: &'static str) -> Place {
    Place { path, depth: 0, read: true }
}

const fn tree(path: &'static str) -> Place {
    Place { path, depth: 8, read: true }
}

/// Programs, libraries and other large things, so many levels deep.
const fn by_times(path: &'static str, depth: u32) -> Place {
    Place { path, depth, read: false }
}

/// What is the same on every host, by what it is about. A place that is not there is no mistake; one that comes is a
/// finding. Where one place lies in another, the one that comes later in this list says what it is about.
pub(super) const PLACES: &[(Kind, &[Place])] = &[
    (
        Kind::Other,
        &[
            tree("/etc/security"),
            tree("/etc/default"),
            tree("/etc/sysconfig"),
            tree("/etc/network"),
            tree("/etc/netplan"),
            tree("/etc/NetworkManager/dispatcher.d"),
            tree("/usr/lib/NetworkManager/dispatcher.d"),
            tree("/etc/networkd-dispatcher"),
            tree("/etc/dhcp"),
            tree("/etc/dhcpcd.conf"),
            tree("/etc/ppp"),
            tree("/etc/wpa_supplicant"),
            tree("/etc/openvpn"),
            tree("/etc/wireguard"),
            tree("/etc/acpi"),
            tree("/etc/pm"),
            tree("/etc/bluetooth"),
            tree("/etc/xinetd.d"),
            file("/etc/xinetd.conf"),
            file("/etc/inetd.conf"),
            file("/etc/exports"),
            tree("/etc/exports.d"),
            tree("/etc/snmp"),
            tree("/etc/docker"),
            tree("/etc/containers"),
            tree("/etc/subversion"),
        ],
    ),
    (
        Kind::Accounts,
        &[
            file("/etc/passwd"),
            file("/etc/group"),
            file("/etc/shadow"),
            file("/etc/gshadow"),
            file("/etc/subuid"),
            file("/etc/subgid"),
            file("/etc/nsswitch.conf"),
            file("/etc/login.defs"),
            file("/etc/adduser.conf"),
            file("/etc/deluser.conf"),
            tree("/etc/adduser"),
            file("/etc/shells"),
            tree("/etc/skel"),
            tree("/etc/sysusers.d"),
            tree("/run/sysusers.d"),
            tree("/usr/lib/sysusers.d"),
            tree("/usr/local/lib/sysusers.d"),
            tree("/etc/userdb"),
            tree("/run/userdb"),
            tree("/run/host/userdb"),
            tree("/usr/lib/userdb"),
            tree("/etc/sssd"),
            file("/etc/nslcd.conf"),
            tree("/etc/ldap"),
            file("/etc/krb5.conf"),
            tree("/etc/krb5.conf.d"),
            file("/etc/krb5.keytab"),
            tree("/etc/credstore"),
            tree("/etc/credstore.encrypted"),
            tree("/run/credstore"),
            tree("/usr/lib/credstore"),
            file("/etc/libuser.conf"),
        ],
    ),
    (
        Kind::Sudoers,
        &[
            file("/etc/sudoers"),
            tree("/etc/sudoers.d"),
            file("/etc/sudoers-rs"),
            file("/etc/sudo.conf"),
            file("/etc/sudo_logsrvd.conf"),
            tree("/usr/libexec/sudo"),
            tree("/usr/lib/sudo"),
            file("/etc/doas.conf"),
            tree("/etc/doas.d"),
            tree("/etc/polkit-1"),
            tree("/usr/share/polkit-1"),
            tree("/usr/local/share/polkit-1"),
            tree("/run/polkit-1"),
            tree("/var/lib/polkit-1"),
            tree("/etc/dbus-1"),
            tree("/run/dbus-1"),
            tree("/usr/share/dbus-1/system.d"),
            tree("/usr/share/dbus-1/system-services"),
            tree("/usr/local/share/dbus-1"),
            tree("/usr/lib/dbus-1"),
            file("/usr/share/dbus-1/system.conf"),
            file("/usr/share/dbus-1/session.conf"),
            tree("/usr/share/dbus-1/session.d"),
            tree("/etc/apparmor.d"),
            tree("/etc/selinux"),
        ],
    ),
    (
        Kind::Pam,
        &[
            file("/etc/pam.conf"),
            tree("/etc/pam.d"),
            tree("/usr/lib/pam.d"),
            tree("/usr/share/pam"),
            tree("/usr/share/pam-configs"),
            tree("/usr/lib/security"),
            tree("/usr/lib64/security"),
            file("/etc/security/pam_env.conf"),
            file("/etc/security/access.conf"),
            file("/etc/security/group.conf"),
            file("/etc/security/time.conf"),
            file("/etc/security/namespace.init"),
            tree("/etc/authselect"),
        ],
    ),
    (
        Kind::Keys,
        &[
            tree("/etc/ssh"),
            tree("/usr/lib/ssh"),
            tree("/usr/share/openssh"),
            file("/etc/hosts.equiv"),
            file("/etc/hosts.allow"),
            file("/etc/hosts.deny"),
            file("/etc/securetty"),
            file("/etc/nologin"),
        ],
    ),
    (
        Kind::Units,
        &[
            by_times("/usr/lib/systemd", 1),
            tree("/etc/systemd"),
            tree("/run/systemd/system"),
            tree("/run/systemd/system.conf.d"),
            tree("/run/systemd/user.conf.d"),
            tree("/run/systemd/logind.conf.d"),
            tree("/run/systemd/sleep.conf.d"),
            tree("/run/systemd/transient"),
            tree("/run/systemd/system.control"),
            tree("/run/systemd/system.attached"),
            tree("/etc/systemd/system.attached"),
            tree("/run/systemd/generator"),
            tree("/run/systemd/generator.early"),
            tree("/run/systemd/generator.late"),
            tree("/run/systemd/system-generators"),
            tree("/run/systemd/user-generators"),
            tree("/run/systemd/system-environment-generators"),
            tree("/run/systemd/user-environment-generators"),
            tree("/run/systemd/network"),
            tree("/run/systemd/user"),
            tree("/run/systemd/nspawn"),
            tree("/run/systemd/dnssd"),
            tree("/run/portables"),
            tree("/run/extensions"),
            tree("/run/confexts"),
            tree("/run/machines"),
            by_times("/etc/portables", 2),
            by_times("/etc/extensions", 2),
            by_times("/var/lib/portables", 2),
            by_times("/var/lib/extensions", 2),
            by_times("/var/lib/confexts", 2),
            by_times("/usr/lib/confexts", 2),
            by_times("/var/lib/machines", 1),
            // The user manager of root; those of others run nothing that their users could not.
            tree("/run/user/0/systemd/transient"),
            tree("/run/user/0/systemd/user"),
            tree("/run/user/0/systemd/user.control"),
            tree("/run/user/0/systemd/generator"),
            tree("/usr/lib/systemd/system"),
            tree("/usr/lib/systemd/user"),
            tree("/usr/lib/systemd/system.conf.d"),
            tree("/usr/lib/systemd/user.conf.d"),
            tree("/usr/lib/systemd/logind.conf.d"),
            tree("/usr/lib/systemd/sleep.conf.d"),
            tree("/usr/lib/systemd/network"),
            tree("/usr/lib/systemd/nspawn"),
            tree("/usr/lib/systemd/system-preset"),
            tree("/usr/lib/systemd/user-preset"),
            tree("/usr/lib/systemd/system-generators"),
            tree("/usr/lib/systemd/user-generators"),
            tree("/usr/lib/systemd/system-environment-generators"),
            tree("/usr/lib/systemd/user-environment-generators"),
            tree("/usr/lib/systemd/system-shutdown"),
            tree("/usr/lib/systemd/system-sleep"),
            tree("/usr/local/lib/systemd"),
            tree("/usr/local/share/systemd"),
            tree("/usr/share/systemd/user"),
            tree("/etc/xdg/systemd"),
            tree("/etc/xdg/autostart"),
            tree("/var/lib/systemd/linger"),
            tree("/etc/init.d"),
            tree("/etc/rc.local"),
            tree("/etc/rc0.d"),
            tree("/etc/rc1.d"),
            tree("/etc/rc2.d"),
            tree("/etc/rc3.d"),
            tree("/etc/rc4.d"),
            tree("/etc/rc5.d"),
            tree("/etc/rc6.d"),
            tree("/etc/rcS.d"),
            file("/etc/inittab"),
            tree("/etc/init"),
            tree("/etc/runit"),
            tree("/etc/supervisor"),
            tree("/etc/tmpfiles.d"),
            tree("/run/tmpfiles.d"),
            tree("/usr/lib/tmpfiles.d"),
            tree("/usr/local/lib/tmpfiles.d"),
            tree("/etc/binfmt.d"),
            tree("/run/binfmt.d"),
            tree("/usr/lib/binfmt.d"),
            tree("/usr/local/lib/binfmt.d"),
            tree("/usr/share/binfmts"),
            tree("/var/lib/binfmts"),
            tree("/etc/repart.d"),
            tree("/etc/sysupdate.d"),
        ],
    ),
    (
        Kind::Schedules,
        &[
            file("/etc/crontab"),
            file("/etc/anacrontab"),
            tree("/etc/cron.d"),
            tree("/etc/cron.hourly"),
            tree("/etc/cron.daily"),
            tree("/etc/cron.weekly"),
            tree("/etc/cron.monthly"),
            tree("/etc/cron.yearly"),
            file("/etc/cron.allow"),
            file("/etc/cron.deny"),
            file("/etc/at.allow"),
            file("/etc/at.deny"),
            tree("/var/spool/cron"),
            tree("/var/spool/at"),
            tree("/var/spool/anacron"),
            file("/etc/logrotate.conf"),
            tree("/etc/logrotate.d"),
            tree("/etc/update-motd.d"),
            tree("/etc/periodic"),
            tree("/etc/unattended-upgrades"),
        ],
    ),
    (
        Kind::Loader,
        &[
            file("/etc/ld.so.preload"),
            file("/etc/ld.so.conf"),
            tree("/etc/ld.so.conf.d"),
            file("/etc/ld.so.cache"),
            file("/etc/environment"),
            tree("/etc/environment.d"),
            tree("/run/environment.d"),
            tree("/usr/lib/environment.d"),
            file("/etc/locale.conf"),
            file("/etc/gai.conf"),
        ],
    ),
    (
        Kind::Programs,
        &[
            // What root's commands are looked for in first.
            tree("/usr/local/sbin"),
            tree("/usr/local/bin"),
            by_times("/usr/local/lib", 2),
            by_times("/usr/local/libexec", 4),
            by_times("/usr/bin", 1),
            by_times("/usr/sbin", 1),
            by_times("/usr/games", 1),
            by_times("/usr/lib", 1),
            by_times("/usr/lib64", 1),
            by_times("/usr/lib32", 1),
            by_times("/usr/libexec", 4),
            by_times("/usr/lib/openssh", 1),
            by_times("/usr/lib/cron", 2),
            by_times("/usr/lib/dbus-1.0", 1),
            by_times("/usr/lib/policykit-1", 1),
            by_times("/usr/lib/polkit-1", 1),
            by_times("/usr/lib/udev", 1),
            by_times("/usr/lib/init", 1),
            by_times("/usr/lib/lsb", 2),
            by_times("/usr/lib/sftp-server", 1),
            by_times("/usr/lib/python3/dist-packages", 1),
            by_times("/etc/python3", 2),
            by_times("/etc/perl", 4),
            tree("/etc/alternatives"),
            tree("/etc/ImageMagick-6"),
        ],
    ),
    (
        Kind::Shells,
        &[
            file("/etc/profile"),
            tree("/etc/profile.d"),
            file("/etc/bash.bashrc"),
            file("/etc/bash.bash_logout"),
            file("/etc/bashrc"),
            file("/etc/bash_completion"),
            tree("/etc/bash_completion.d"),
            by_times("/usr/share/bash-completion", 2),
            file("/etc/zshenv"),
            file("/etc/zprofile"),
            file("/etc/zshrc"),
            tree("/etc/zsh"),
            tree("/etc/fish"),
            tree("/etc/csh"),
            file("/etc/csh.cshrc"),
            file("/etc/csh.login"),
            file("/etc/csh.logout"),
            file("/etc/inputrc"),
            file("/etc/gitconfig"),
            tree("/etc/vim"),
            tree("/etc/xdg/nvim"),
            tree("/usr/local/share/vim"),
            file("/etc/nanorc"),
            tree("/etc/emacs"),
            file("/etc/screenrc"),
            file("/etc/tmux.conf"),
            file("/etc/wgetrc"),
            file("/etc/lesskey"),
            file("/etc/sysless"),
            file("/etc/mailcap"),
            file("/etc/aliases"),
            file("/etc/mail.rc"),
            file("/etc/gdb/gdbinit"),
            tree("/etc/postfix"),
            tree("/etc/exim4"),
            file("/etc/npmrc"),
            file("/etc/pip.conf"),
            tree("/etc/ansible"),
        ],
    ),
    (
        Kind::Kernel,
        &[
            file("/etc/modules"),
            tree("/etc/modules-load.d"),
            tree("/usr/lib/modules-load.d"),
            tree("/run/modules-load.d"),
            tree("/usr/local/lib/modules-load.d"),
            tree("/etc/modprobe.d"),
            tree("/usr/lib/modprobe.d"),
            tree("/run/modprobe.d"),
            tree("/usr/local/lib/modprobe.d"),
            tree("/etc/depmod.d"),
            tree("/usr/lib/depmod.d"),
            tree("/run/depmod.d"),
            tree("/etc/dkms"),
            tree("/etc/udev"),
            tree("/usr/lib/udev/rules.d"),
            tree("/usr/lib/udev/hwdb.d"),
            tree("/run/udev/rules.d"),
            tree("/usr/local/lib/udev"),
            file("/etc/sysctl.conf"),
            tree("/etc/sysctl.d"),
            tree("/run/sysctl.d"),
            tree("/usr/lib/sysctl.d"),
            tree("/usr/local/lib/sysctl.d"),
            file("/proc/sys/kernel/core_pattern"),
            file("/proc/sys/kernel/modprobe"),
            file("/proc/sys/kernel/hotplug"),
            file("/proc/sys/kernel/poweroff_cmd"),
            file("/proc/sys/kernel/unprivileged_bpf_disabled"),
            file("/proc/sys/kernel/modules_disabled"),
            file("/proc/sys/kernel/yama/ptrace_scope"),
            file("/proc/sys/fs/protected_symlinks"),
            file("/proc/sys/fs/protected_hardlinks"),
            file("/proc/sys/fs/protected_regular"),
            file("/proc/sys/fs/suid_dumpable"),
            by_times("/boot", 4),
            by_times("/efi", 4),
            file("/etc/fstab"),
            file("/etc/crypttab"),
            file("/etc/veritytab"),
            file("/etc/integritytab"),
            file("/etc/mdadm/mdadm.conf"),
            tree("/etc/lvm"),
            file("/etc/default/grub"),
            tree("/etc/default/grub.d"),
            tree("/etc/grub.d"),
            tree("/etc/initramfs-tools"),
            tree("/usr/share/initramfs-tools"),
            tree("/etc/initramfs"),
            tree("/etc/dracut.conf.d"),
            file("/etc/dracut.conf"),
            tree("/usr/lib/dracut/modules.d"),
            tree("/etc/kernel"),
            tree("/usr/lib/kernel"),
            tree("/usr/share/kernel"),
            tree("/run/kernel"),
            file("/etc/kernel-img.conf"),
            tree("/etc/kexec.conf"),
            tree("/etc/lilo.conf"),
        ],
    ),
    (
        Kind::WayOut,
        &[
            file("/etc/rsyslog.conf"),
            tree("/etc/rsyslog.d"),
            tree("/etc/syslog-ng"),
            file("/etc/syslog.conf"),
            tree("/run/systemd/journald.conf.d"),
            tree("/usr/lib/systemd/journald.conf.d"),
            file("/usr/lib/systemd/journald.conf"),
            tree("/etc/audit"),
            tree("/etc/audisp"),
            tree("/etc/fluent-bit"),
            tree("/etc/vector"),
            tree("/etc/filebeat"),
            by_times("/var/ossec/etc", 2),
            file("/etc/resolv.conf"),
            tree("/run/systemd/resolve/resolv.conf"),
            tree("/run/systemd/resolved.conf.d"),
            tree("/etc/resolvconf"),
            file("/etc/hosts"),
            file("/etc/host.conf"),
            file("/etc/hostname"),
            file("/etc/machine-id"),
            file("/etc/nftables.conf"),
            tree("/etc/nftables"),
            tree("/etc/iptables"),
            tree("/etc/ufw"),
            tree("/etc/firewalld"),
            file("/etc/ca-certificates.conf"),
            tree("/etc/ca-certificates"),
            tree("/etc/ssl"),
            tree("/etc/pki"),
            tree("/usr/local/share/ca-certificates"),
            by_times("/usr/share/ca-certificates", 4),
            tree("/etc/gnutls"),
            tree("/etc/p11-kit"),
            tree("/etc/chrony"),
            file("/etc/ntp.conf"),
        ],
    ),
    (
        Kind::Packages,
        &[
            file("/etc/apt/apt.conf"),
            tree("/etc/apt"),
            by_times("/usr/share/keyrings", 2),
            by_times("/usr/lib/apt", 3),
            tree("/etc/dpkg"),
            by_times("/usr/lib/dpkg", 3),
            by_times("/var/lib/dpkg/status", 0),
            file("/var/lib/dpkg/statoverride"),
            file("/var/lib/dpkg/diversions"),
            by_times("/var/lib/dpkg/info", 1),
            tree("/var/lib/dpkg/alternatives"),
            tree("/etc/debconf.conf"),
            tree("/usr/share/debconf"),
            tree("/etc/yum.repos.d"),
            tree("/etc/yum"),
            tree("/etc/dnf"),
            tree("/etc/needrestart"),
            tree("/etc/apt-listchanges"),
            tree("/etc/flatpak"),
        ],
    ),
    (
        Kind::Gate,
        &[tree("/etc/jitd"), file("/usr/libexec/jitd"), file("/usr/bin/jitctl"), tree("/usr/lib/jitd")],
    ),
];

/// In each folder of `/usr/lib` for an architecture, and what it is about.
pub(super) const IN_LIBRARIES: &[(Kind, Place)] = &[
    (Kind::Programs, by_times("", 1)),
    (Kind::Programs, by_times("systemd", 1)),
    (Kind::Pam, tree("security")),
];

/// In every home.
pub(super) const IN_HOMES: &[Place] = &[
    file(".ssh/authorized_keys"),
    file(".ssh/authorized_keys2"),
    file(".ssh/rc"),
    file(".ssh/environment"),
    file(".rhosts"),
    file(".shosts"),
    file(".k5login"),
    file(".k5users"),
    file(".google_authenticator"),
    file(".pam_environment"),
    tree(".config/systemd/user"),
    tree(".local/share/systemd/user"),
];

/// In the homes of accounts with uid 0: what root's shells, editors and other tools read.
pub(super) const IN_ROOTS_HOMES: &[Place] = &[
    file(".profile"),
    file(".bashrc"),
    file(".bash_profile"),
    file(".bash_login"),
    file(".bash_logout"),
    file(".bash_aliases"),
    file(".bash_completion"),
    tree(".bash_completion.d"),
    tree(".local/share/bash-completion"),
    file(".zshenv"),
    file(".zprofile"),
    file(".zshrc"),
    file(".zlogin"),
    file(".zlogout"),
    file(".cshrc"),
    file(".tcshrc"),
    file(".login"),
    file(".logout"),
    file(".kshrc"),
    file(".inputrc"),
    file(".ssh/config"),
    file(".forward"),
    file(".procmailrc"),
    file(".vimrc"),
    tree(".vim"),
    file(".exrc"),
    file(".nanorc"),
    file(".emacs"),
    tree(".emacs.d"),
    file(".gitconfig"),
    tree(".config/git"),
    tree(".config/nvim"),
    tree(".config/nano"),
    tree(".config/fish"),
    tree(".config/environment.d"),
    tree(".config/user-tmpfiles.d"),
    tree(".config/autostart"),
    file(".screenrc"),
    file(".tmux.conf"),
    tree(".config/tmux"),
    file(".selected_editor"),
    file(".lesskey"),
    file(".lessfilter"),
    file(".wgetrc"),
    file(".curlrc"),
    file(".netrc"),
    file(".mailcap"),
    file(".mailrc"),
    file(".gdbinit"),
    file(".psqlrc"),
    file(".my.cnf"),
    file(".pythonrc"),
    file(".perldb"),
    file(".npmrc"),
    file(".xprofile"),
    file(".xsession"),
    file(".sudo_as_admin_successful"),
    tree("bin"),
    tree(".local/bin"),
    tree(".local/lib"),
    tree(".gnupg"),
    tree(".docker"),
    tree(".kube"),
];

/// Stands for the list above and for how entries are made: what an earlier daemon found is compared with as far as it
/// goes.
pub(super) fn list() -> String {
    let list = format!("2 {PLACES:?} {IN_LIBRARIES:?} {IN_HOMES:?} {IN_ROOTS_HOMES:?}");
    super::account_files::print_of(list.as_bytes())
}

/// The login whose scope this path is the unit of, by its name (`session-ID.scope`). Only logind can say whether there is
/// such a login.
pub(super) fn login_of_scope(path: &str) -> Option<&str> {
    path.strip_prefix("/run/systemd/transient/session-")?.strip_suffix(".scope")
}

/// Whether this is the unit of a scope of ours, by its name; what it says has to be looked at as well. A drop-in of one
/// is a finding.
pub(super) fn may_be_our_scope(path: &str) -> bool {
    let name = path.strip_prefix("/run/systemd/transient/jit-").and_then(|name| name.strip_suffix(".scope"));
    name.is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
    })
}

/// Whether that is what `sessions::systemd` asks PID 1 for, with a limit (systemd.scope(5), systemd.unit(5)).
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
        for other in ["jit-7.scope.d/x.conf", "jit-x.scope", "jit-7.service", "jit-.scope"] {
            assert!(!may_be_our_scope(&format!("/run/systemd/transient/{other}")), "{other}");
        }
    }

    #[test]
    fn no_place_is_listed_twice() {
        let mut seen = std::collections::BTreeSet::new();
        for place in PLACES.iter().flat_map(|(_, places)| *places) {
            assert!(seen.insert(place.path), "{}", place.path);
        }
        for path in ["jit-7.scope.d/x.conf", "jit-7.scope.d", "jit-x.scope", "jit-7.service"] {
            assert!(!may_be_our_scope(&format!("/run/systemd/transient/{path}")), "{path}");
        }
    }
}
