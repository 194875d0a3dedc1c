//! What somebody may get wrong on a host: how it is planted, and the name under which doctor finds it.

/// One of them.
pub(super) struct Plant {
    /// How the finding's name begins.
    pub(super) finding: &'static str,
    /// The kind of check.
    pub(super) check: &'static str,
    /// A script that plants it.
    pub(super) plant: &'static str,
    /// What a person does beside the mend: puts back what the test has replaced, or somebody into a group.
    pub(super) beside: &'static str,
}

const fn plant(check: &'static str, finding: &'static str, plant: &'static str) -> Plant {
    Plant { finding, check, plant, beside: "" }
}

/// Where the module is on this machine.
macro_rules! module {
    ($before:literal, $after:literal) => {
        concat!($before, " $(echo /usr/lib/*/security/pam_jit.so) ", $after)
    };
}

/// All of them.
pub(super) const PLANTS: &[Plant] = &[
    // sudoers.
    plant("sudoers", "sudoers/!pam_acct_mgmt", "echo 'Defaults !pam_acct_mgmt' >/etc/sudoers.d/zz"),
    plant("sudoers", "sudoers/!pam_session/dave", "echo 'Defaults:dave !pam_session' >/etc/sudoers.d/zz"),
    plant("sudoers", "sudoers/pam_service=other", "echo 'Defaults pam_service=other' >/etc/sudoers.d/zz"),
    plant(
        "sudoers",
        "sudoers/pam_login_service=other",
        "echo 'Defaults env_reset, pam_login_service = \"other\"' >/etc/sudoers.d/zz",
    ),
    plant("sudoers", "sudoers/!pam_acct_mgmt", "echo 'Defaults  ! pam_acct_mgmt' >>/etc/sudoers"),
    // sudo itself.
    plant("sudo", "sudo/plugin/evil_policy", "echo 'Plugin evil_policy evil.so' >>/etc/sudo.conf"),
    plant(
        "sudo",
        "sudo/plugin/sudoers_policy",
        "echo 'Plugin sudoers_policy sudoers.so sudoers_file=/tmp/x' >>/etc/sudo.conf",
    ),
    Plant {
        beside: "cp -a /root/sudo-rs /usr/bin/sudo-rs",
        ..plant(
            "sudo",
            "sudo/rs-edit//usr/bin/sudo-rs",
            "cp -aL /usr/bin/sudo-rs /root/; printf '#!/bin/sh\\necho sudo-rs 0.2.10\\n' >/usr/bin/sudo-rs; chmod 4755 /usr/bin/sudo-rs",
        )
    },
    // The module.
    plant("module", "module/owner/", module!("chown daemon", "")),
    plant("module", "module/mode/", module!("chmod 0666", "")),
    plant("module", "module/machine/", module!("echo 'no module, but long enough for a head' >", "")),
    plant("module", "module/missing", module!("rm", "")),
    // polkit and the bus.
    plant(
        "polkit",
        "polkit/before//etc/polkit-1/rules.d/00-a.rules",
        "echo 'polkit.addRule(function () { return polkit.Result.YES; });' >/etc/polkit-1/rules.d/00-a.rules",
    ),
    plant(
        "paths",
        "path/pkexec",
        "rm /etc/polkit-1/rules.d/00-jitd.rules; systemctl reset-failed polkit; systemctl restart polkit",
    ),
    plant(
        "bus",
        "bus//etc/dbus-1/system.d/x.conf",
        "echo '<busconfig><policy user=\"mallory\"><allow own=\"org.jitd.Jit1\"/></policy></busconfig>' >/etc/dbus-1/system.d/x.conf",
    ),
    plant(
        "package",
        "package//usr/share/dbus-1/system.d/org.jitd.Jit1.conf",
        "echo >>/usr/share/dbus-1/system.d/org.jitd.Jit1.conf",
    ),
    // Owners and modes.
    plant("permissions", "permissions//run/jitd/gate.sock", "chmod 0666 /run/jitd/gate.sock"),
    plant("permissions", "permissions//run/jitd/operator.sock", "chgrp adm /run/jitd/operator.sock"),
    plant("permissions", "permissions//var/lib/jitd", "chmod 0755 /var/lib/jitd"),
    plant("permissions", "permissions//var/lib/jitd/seal.key", "chmod 0644 /var/lib/jitd/seal.key"),
    plant("permissions", "permissions//etc/jitd/roles.d/ops.toml", "chown dave /etc/jitd/roles.d/ops.toml"),
    // Units.
    plant(
        "units",
        "units/masked/jitd-operator.socket",
        "systemctl stop jitd-operator.socket; ln -s /dev/null /etc/systemd/system/jitd-operator.socket; systemctl daemon-reload",
    ),
    plant(
        "units",
        "units//etc/systemd/system/scope.d/x.conf",
        "mkdir -p /etc/systemd/system/scope.d; printf '[Scope]\\nRuntimeMaxSec=infinity\\n' >/etc/systemd/system/scope.d/x.conf",
    ),
    plant(
        "units",
        "units//run/systemd/system/jit-.scope.d/x.conf",
        "mkdir -p /run/systemd/system/jit-.scope.d; printf '[Scope]\\n' >/run/systemd/system/jit-.scope.d/x.conf",
    ),
    plant(
        "units",
        "units//etc/systemd/system/jit.slice.d/x.conf",
        "mkdir -p /etc/systemd/system/jit.slice.d; printf '[Slice]\\n' >/etc/systemd/system/jit.slice.d/x.conf",
    ),
    plant("units", "units/disabled/jitd.socket", "systemctl disable jitd.socket"),
    plant("units", "units/down/jitd-operator.socket", "systemctl stop jitd-operator.socket"),
    // The policy.
    plant(
        "policy",
        "policy//etc/jitd/roles.d/ops.toml/role.ops.approval.from",
        "sed -i -e 's/^members.*/members = [\"dave\"]/' -e 's/^from.*/from = [\"dave\"]/' /etc/jitd/roles.d/ops.toml; systemctl reload jitd",
    ),
    plant(
        "policy",
        "policy//etc/jitd/",
        "sed -i 's/^members.*/members = [\"dave\"]/' /etc/jitd/roles.d/ops.toml",
    ),
    plant(
        "policy",
        "policy//etc/jitd/roles.d/ops.toml/role.ops.approval.from",
        "groupadd empty; sed -i 's/^from.*/from = [\"@empty\"]/' /etc/jitd/roles.d/ops.toml; systemctl reload jitd",
    ),
    Plant {
        beside: "gpasswd -a bob temps",
        ..plant(
            "policy",
            "policy/group/temps",
            "groupadd temps; gpasswd -a bob temps; sed -i 's/^from.*/from = [\"@temps\", \"bob\", \"carol\"]/' \
             /etc/jitd/roles.d/ops.toml; systemctl reload jitd; groupdel temps",
        )
    },
    // Copies of the key, and copies of the audit log.
    plant(
        "backups",
        "backups/borgmatic/",
        "mkdir -p /etc/borgmatic; printf 'source_directories:\\n    - /var/lib\\n' >/etc/borgmatic/config.yaml",
    ),
    plant(
        "backups",
        "backups/restic/",
        "echo '0 3 * * * root restic -r /srv/r backup /etc /var' >/etc/cron.d/restic",
    ),
    plant(
        "backups",
        "backups/rsnapshot/",
        "printf 'backup\\t/var/lib/jitd/\\tlocalhost/\\n' >/etc/rsnapshot.conf",
    ),
    plant("backups", "backups/duplicity/", "echo 'duplicity full / file:///mnt' >/etc/cron.daily/duplicity"),
    plant("backups", "backups/tarsnap/", "echo 'tarsnap -c -f x /var' >/etc/cron.weekly/tarsnap"),
    plant(
        "backups",
        "backups/bacula/",
        "mkdir -p /etc/bacula; printf 'FileSet {\\n  Include {\\n    File = /var\\n  }\\n}\\n' >/etc/bacula/bacula-dir.conf",
    ),
    plant("forwarding", "forwarding/syslog", "systemctl disable --now syslog.socket rsyslog.service"),
    plant(
        "forwarding",
        "forwarding/journal",
        "mkdir -p /etc/systemd/journald.conf.d; printf '[Journal]\\nRateLimitBurst=20\\n' >/etc/systemd/journald.conf.d/x.conf",
    ),
];

/// Stacks that do not ask, by the service of the finding.
pub(super) const STACKS: &[Plant] = &[
    plant("stacks", "stack/sudo-i", "sed -i '1i account sufficient pam_permit.so' /etc/pam.d/sudo-i"),
    plant(
        "stacks",
        "stack/sudo",
        "sed -i '1i account [success=2 default=ignore] pam_permit.so' /etc/pam.d/sudo",
    ),
    plant(
        "stacks",
        "stack/sudo",
        "sed -i 's/^account .*pam_jit.so/account [success=ok default=ignore] pam_jit.so/' /etc/pam.d/sudo",
    ),
    plant("stacks", "stack/su", "sed -i '/^account .*pam_jit.so/d' /etc/pam.d/su"),
    plant("stacks", "stack/sudo", "sed -i '1i @include common-account' /etc/pam.d/sudo"),
    plant(
        "stacks",
        "stack/doas",
        "sed -i 's/^account .*pam_jit.so/account optional pam_jit.so/' /etc/pam.d/doas",
    ),
];
