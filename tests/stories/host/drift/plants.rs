//! What somebody who is root once can plant in order to be root again: a command and what is told of it.

/// The kinds of findings, the gravest first, as the daemon orders them.
pub(super) const KINDS: [&str; 21] = [
    "set-uid",
    "accounts",
    "sudoers",
    "pam",
    "keys",
    "rights",
    "gate",
    "units",
    "schedules",
    "processes",
    "loader",
    "programs",
    "shells",
    "kernel",
    "way-out",
    "packages",
    "mounts",
    "other",
    "own-files",
    "shipped",
    "unseen",
];

/// Two hundred files that mean nothing, in folders where plants are too.
pub(super) const NOISE: &str = "\
for n in $(seq -w 0 99); do echo '# noise' >/usr/local/bin/noise-0$n; done
for n in $(seq -w 0 99); do echo '# noise' >/etc/systemd/system/noise-1$n.service; done
";

/// One plant.
pub(super) struct Plant {
    pub(super) command: String,
    /// A path, or the begin of a line.
    pub(super) expected: String,
}

impl Plant {
    /// Whether a line names it, alone or with others of its folder.
    pub(super) fn is_named(&self, lines: &[&str]) -> bool {
        let expected = self.expected.as_str();
        let grouped = expected.rsplit_once('/').is_some_and(|(folder, name)| {
            let head = format!(" files in {folder}: ");
            lines.iter().any(|line| {
                let names = line.split_once(&head).map(|(_, names)| names).unwrap_or_default();
                names.split(", ").any(|one| one.split(':').next() == Some(name))
            })
        });
        // A path is named as a whole word, so that one does not stand for another that begins like it.
        let alone = lines.iter().any(|line| {
            line.match_indices(expected).any(|(at, _)| {
                let after = line[at + expected.len()..].chars().next();
                !expected.starts_with('/') || after.is_none_or(|c| matches!(c, ' ' | ',' | ':' | ';'))
            })
        });
        alone || grouped
    }
}

/// Files that are written, or added to, with a line that means nothing.
const FILES: &[&str] = &[
    // Units, generators and what PID 1 reads.
    "/etc/systemd/system/planted.service",
    "/etc/systemd/system/planted.timer",
    "/etc/systemd/system/planted.path",
    "/etc/systemd/system/cron.service.d/planted.conf",
    "/etc/systemd/system.conf.d/planted.conf",
    "/etc/systemd/logind.conf.d/planted.conf",
    "/etc/systemd/network/planted.network",
    "/etc/systemd/user/planted.service",
    "/etc/systemd/system.attached/planted.service",
    "/etc/systemd/system-generators/planted",
    "/etc/systemd/user-generators/planted",
    "/etc/systemd/system-environment-generators/planted",
    "/etc/systemd/system-preset/planted.preset",
    "/run/systemd/system/planted.service",
    "/run/systemd/system.conf.d/planted.conf",
    "/run/systemd/system.attached/planted.service",
    "/run/systemd/system.control/planted.service",
    "/run/systemd/system-generators/planted",
    "/run/systemd/user-generators/planted",
    "/run/systemd/system-environment-generators/planted",
    "/run/systemd/generator/planted.service",
    "/run/systemd/transient/jit-99.scope.d/planted.conf",
    "/etc/systemd/system/scope.d/planted.conf",
    "/usr/lib/systemd/system/planted.service",
    "/usr/lib/systemd/user/planted.service",
    "/usr/lib/systemd/system-generators/planted",
    "/usr/lib/systemd/system-shutdown/planted",
    "/usr/lib/systemd/system-sleep/planted",
    "/usr/local/lib/systemd/system/planted.service",
    "/var/lib/systemd/linger/dave",
    "/etc/init.d/planted",
    "/etc/rc.local",
    "/etc/rc3.d/S99planted",
    "/etc/tmpfiles.d/planted.conf",
    "/run/tmpfiles.d/planted.conf",
    "/usr/lib/tmpfiles.d/planted.conf",
    "/etc/binfmt.d/planted.conf",
    "/run/binfmt.d/planted.conf",
    "/usr/lib/binfmt.d/planted.conf",
    "/etc/xdg/autostart/planted.desktop",
    // Accounts.
    "/etc/nsswitch.conf",
    "/etc/login.defs",
    "/etc/shells",
    "/etc/subuid",
    "/etc/subgid",
    "/etc/skel/.planted",
    "/etc/sysusers.d/planted.conf",
    "/run/sysusers.d/planted.conf",
    "/usr/lib/sysusers.d/planted.conf",
    "/etc/userdb/planted.user",
    "/run/userdb/planted.user",
    "/usr/lib/userdb/planted.user",
    "/etc/krb5.conf",
    // Who may become whom.
    "/etc/sudoers",
    "/etc/sudoers.d/planted",
    "/etc/sudo.conf",
    "/etc/doas.conf",
    "/usr/libexec/sudo/planted.so",
    "/etc/polkit-1/rules.d/planted.rules",
    "/usr/share/polkit-1/actions/planted.policy",
    "/usr/share/dbus-1/system-services/planted.service",
    "/usr/local/share/dbus-1/system-services/planted.service",
    "/usr/share/dbus-1/session.d/planted.conf",
    // PAM.
    "/etc/pam.d/su",
    "/etc/pam.d/common-auth",
    "/etc/pam.d/planted",
    "/usr/lib/pam.d/planted",
    "/usr/lib/ARCH/security/pam_planted.so",
    "/usr/share/pam-configs/planted",
    "/etc/security/access.conf",
    "/etc/security/pam_env.conf",
    // Keys.
    "/root/.ssh/authorized_keys",
    "/root/.ssh/authorized_keys2",
    "/root/.ssh/rc",
    "/root/.ssh/environment",
    "/root/.rhosts",
    "/root/.k5login",
    "/home/oscar/.ssh/authorized_keys",
    "/etc/ssh/sshd_config.d/planted.conf",
    "/etc/ssh/ssh_config.d/planted.conf",
    "/etc/hosts.equiv",
    "/etc/hosts.allow",
    // jitd.
    "/etc/jitd/roles.d/planted",
    // What runs at set times.
    "/etc/crontab",
    "/etc/cron.d/planted",
    "/etc/cron.hourly/planted",
    "/etc/cron.daily/planted",
    "/etc/cron.weekly/planted",
    "/etc/cron.monthly/planted",
    "/var/spool/cron/crontabs/root",
    "/etc/at.allow",
    "/etc/logrotate.conf",
    "/etc/logrotate.d/planted",
    "/etc/update-motd.d/planted",
    // The linker and the environment.
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d/planted.conf",
    "/etc/environment",
    "/etc/environment.d/planted.conf",
    "/run/environment.d/planted.conf",
    "/usr/lib/environment.d/planted.conf",
    // Programs and libraries.
    "/usr/local/bin/planted",
    "/usr/local/sbin/planted",
    "/usr/local/lib/libplanted.so",
    "/usr/bin/planted",
    "/usr/sbin/planted",
    "/usr/libexec/planted",
    "/usr/lib/ARCH/libnss_planted.so.2",
    "/usr/lib/ARCH/libplanted.so",
    "/usr/lib/systemd/planted",
    "/usr/lib/python3/dist-packages/planted.pth",
    // Shells, editors and other tools of root.
    "/etc/profile",
    "/etc/profile.d/planted.sh",
    "/etc/bash.bashrc",
    "/etc/bash_completion.d/planted",
    "/etc/zsh/zshenv",
    "/etc/csh.cshrc",
    "/etc/inputrc",
    "/etc/gitconfig",
    "/etc/vim/vimrc.local",
    "/etc/nanorc",
    "/root/.bashrc",
    "/root/.profile",
    "/root/.bash_profile",
    "/root/.bash_logout",
    "/root/.cshrc",
    "/root/.inputrc",
    "/root/.vimrc",
    "/root/.vim/plugin/planted.vim",
    "/root/.nanorc",
    "/root/.emacs",
    "/root/.gitconfig",
    "/root/.config/git/config",
    "/root/.config/fish/config.fish",
    "/root/.config/environment.d/planted.conf",
    "/root/.screenrc",
    "/root/.tmux.conf",
    "/root/.forward",
    "/root/.selected_editor",
    "/root/.local/bin/planted",
    // The kernel and the boot.
    "/etc/modules",
    "/etc/modules-load.d/planted.conf",
    "/run/modules-load.d/planted.conf",
    "/usr/lib/modules-load.d/planted.conf",
    "/etc/modprobe.d/planted.conf",
    "/run/modprobe.d/planted.conf",
    "/usr/lib/modprobe.d/planted.conf",
    "/etc/depmod.d/planted.conf",
    "/etc/udev/rules.d/99-planted.rules",
    "/run/udev/rules.d/99-planted.rules",
    "/usr/lib/udev/rules.d/99-planted.rules",
    "/etc/sysctl.conf",
    "/etc/sysctl.d/planted.conf",
    "/run/sysctl.d/planted.conf",
    "/usr/lib/sysctl.d/planted.conf",
    "/etc/fstab",
    "/etc/crypttab",
    "/etc/default/grub",
    "/etc/default/grub.d/planted.cfg",
    "/etc/grub.d/99_planted",
    "/etc/initramfs-tools/hooks/planted",
    "/usr/share/initramfs-tools/hooks/planted",
    "/etc/kernel/install.d/planted.install",
    "/etc/kernel/postinst.d/planted",
    "/usr/lib/kernel/install.d/planted.install",
    "/boot/planted",
    // The way out.
    "/etc/rsyslog.conf",
    "/etc/rsyslog.d/00-planted.conf",
    "/etc/syslog-ng/conf.d/planted.conf",
    "/etc/systemd/journald.conf.d/planted.conf",
    "/run/systemd/journald.conf.d/planted.conf",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/ssl/certs/planted.pem",
    "/usr/local/share/ca-certificates/planted.crt",
    "/etc/ca-certificates.conf",
    "/etc/nftables.conf",
    // Packages.
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d/planted.list",
    "/etc/apt/trusted.gpg.d/planted.gpg",
    "/etc/apt/apt.conf.d/99planted",
    "/etc/apt/preferences.d/planted",
    "/etc/dpkg/dpkg.cfg.d/planted",
    "/var/lib/dpkg/info/cron.postinst",
    "/usr/share/keyrings/planted.gpg",
    // Others.
    "/etc/default/planted",
    "/etc/network/if-up.d/planted",
    "/etc/dhcp/dhclient-exit-hooks.d/planted",
    "/etc/NetworkManager/dispatcher.d/planted",
    "/etc/ppp/ip-up.d/planted",
];

/// Plants of another shape, and what is told of each.
const OTHERS: &[(&str, &str)] = &[
    ("cp /bin/bash /var/tmp/.bash; chmod u+s /var/tmp/.bash", "added setuid /var/tmp/.bash, owned by root"),
    ("cp /bin/bash /var/lib/.g; chmod g+s /var/lib/.g", "added setgid /var/lib/.g, owned by root"),
    ("cp /bin/bash /var/log/.b; chmod u+s /var/log/.b", "added setuid /var/log/.b"),
    ("cp /bin/bash /var/cache/.b; chmod u+s /var/cache/.b", "added setuid /var/cache/.b"),
    ("cp /bin/bash /boot/.b; chmod u+s /boot/.b", "added setuid /boot/.b"),
    ("cp /bin/bash /mnt/.b; chmod u+s /mnt/.b", "added setuid /mnt/.b"),
    ("cp /bin/bash /media/.b; chmod u+s /media/.b", "added setuid /media/.b"),
    ("mkdir /top; cp /bin/bash /top/.b; chmod u+s /top/.b", "added setuid /top/.b"),
    ("cp /bin/bash /.b; chmod u+s /.b", "added setuid /.b"),
    ("cp /bin/bash /dev/.b; chmod u+s /dev/.b", "added setuid /dev/.b"),
    ("cp /bin/bash /run/.b; chmod u+s /run/.b", "added setuid /run/.b"),
    (
        "cp /bin/bash \"$(cat /home/dave/deep)/b\"; chmod u+s \"$(cat /home/dave/deep)/b\"",
        "/d/d/d/d/d/d/d/d/d/d/b",
    ),
    (
        "mkdir -p /srv/seen /srv/over; cp /bin/bash /srv/seen/.b; chmod u+s /srv/seen/.b; \
         mount --bind /srv/seen /srv/over; mount --make-private /srv/over; mount -t tmpfs none /srv/seen",
        "added setuid /srv/over/.b",
    ),
    ("true", "mounted /srv/seen from tmpfs none"),
    (
        "cp /bin/bash /home/dave/.s; hostile setcap /home/dave/.s",
        "added file with capabilities /home/dave/.s, owned by root, capabilities 0x80",
    ),
    (
        "useradd --non-unique --uid 0 --gid 0 --no-create-home toor",
        "changed /etc/passwd: account toor added (uid 0,",
    ),
    ("gpasswd --add mallory sudo", "changed /etc/group: group sudo gained mallory"),
    (": >/etc/ld.so.preload", "added /etc/ld.so.preload"),
    ("printf x >>/etc/ld.so.cache", "changed /etc/ld.so.cache: its content"),
    ("echo /root/sh | at now + 3 days", "added /var/spool/cron/atjobs/a"),
    (
        "cp /usr/sbin/cron /usr/sbin/cron.new; printf x >>/usr/sbin/cron.new; mv /usr/sbin/cron.new /usr/sbin/cron",
        "changed /usr/sbin/cron: its content is not what package cron ships",
    ),
    (
        "systemd-run --quiet --unit=planted-timer --on-active=3d true",
        "/run/systemd/transient/planted-timer.timer",
    ),
    (
        "systemd-run --quiet --unit=planted-run sleep 10000",
        "added /run/systemd/transient/planted-run.service",
    ),
    ("true", "planted-run.service, a unit without a file"),
    ("hostile setacl /var/spool 2004", "changed folder /var/spool: mode 0755 became 0775; its ACL"),
    (
        "hostile setdefaultacl /etc/cron.d 2004",
        "changed folder /etc/cron.d: its ACL none became (for new files: ",
    ),
    ("hostile setacl /etc/shadow 2004", "changed /etc/shadow: "),
    ("chmod o+w /usr/sbin", "changed folder /usr/sbin: mode 0755 became 0757"),
    ("chown dave /usr/bin/systemctl", "writable by others than root: /usr/bin/systemctl, owned by uid 2004"),
    ("chown dave /usr/share/doc", "writable by others than root: folder /usr/share/doc, owned by uid 2004"),
    ("ln -s /root/sh /etc/alternatives/planted", "added link /etc/alternatives/planted to /root/sh"),
    (
        "ln -s /srv/x /etc/systemd/system/multi-user.target.wants/p.service",
        "added link /etc/systemd/system/multi-user.target.wants/p.service",
    ),
];

/// All of them.
pub(super) fn all() -> Vec<Plant> {
    let arch = format!("{}-linux-gnu", std::env::consts::ARCH);
    let files = FILES.iter().map(|path| {
        let path = path.replace("ARCH", &arch);
        let command = "mkdir -p \"${p%/*}\"; echo '# planted' >>\"$p\"";
        Plant { command: format!("p={path}; {command}"), expected: path }
    });
    let others = OTHERS.iter().map(|(command, expected)| Plant {
        command: (*command).to_owned(),
        expected: (*expected).to_owned(),
    });
    files.chain(others).collect()
}
