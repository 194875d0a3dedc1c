//! Owners and modes of what is jitd's: sockets, state, key, settings, programs.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use jit_host::program::output_of;

use crate::doctor::finding::{Check, Look, quoted};
use crate::doctor::host::Host;

pub(super) const CHECK: Check = Check {
    name: "permissions",
    looks_at: "owners and modes of jitd's sockets, state, key and settings",
    look,
};

/// What a path may be at most.
struct Rule {
    path: &'static str,
    /// Also what is in the folder, with at most this mode.
    inside: Option<u32>,
    mode: u32,
    /// Its group where that is not root.
    group: Option<&'static str>,
    /// Whether the mode has to be this one, and not only no wider.
    exact: bool,
    why: &'static str,
}

const SETTINGS: &str = "whoever may change it gives roles, and says who approves them";
const PROGRAM: &str = "whoever may change it runs as root at the next start";

const RULES: [Rule; 10] = [
    rule("/run/jitd", 0o755, "whoever may change it puts a socket of their own in the gate's place"),
    Rule {
        exact: true,
        ..rule(
            "/run/jitd/gate.sock",
            0o600,
            "the gate is for the PAM module, which is root; others can fill its queue",
        )
    },
    Rule {
        exact: true,
        group: Some("jit-operators"),
        ..rule(
            "/run/jitd/operator.sock",
            0o660,
            "it is for root and operators alone, so that nobody else can fill its queue",
        )
    },
    Rule {
        inside: Some(0o600),
        ..rule(
            "/var/lib/jitd",
            0o700,
            "the audit log and the key of its seal are read or changed by others than root",
        )
    },
    Rule {
        inside: Some(0o640),
        ..rule(
            "/var/log/jitd",
            0o750,
            "what is remembered of the audit log outside of the store can be changed",
        )
    },
    Rule { inside: Some(0o644), ..rule("/etc/jitd", 0o755, SETTINGS) },
    Rule { inside: Some(0o644), ..rule("/etc/jitd/roles.d", 0o755, SETTINGS) },
    rule("/usr/libexec/jitd", 0o755, PROGRAM),
    rule("/usr/libexec/jitd-webhook", 0o755, PROGRAM),
    rule("/usr/bin/jitctl", 0o755, PROGRAM),
];

const fn rule(path: &'static str, mode: u32, why: &'static str) -> Rule {
    Rule { path, inside: None, mode, group: None, exact: false, why }
}

fn look(host: &Host, look: &mut Look) {
    for rule in RULES {
        let group = rule.group.map(group_number).transpose();
        match group {
            Ok(gid) => one(host, &rule, rule.path, rule.mode, gid.unwrap_or(0), look),
            Err(why) => look.unseen(rule.path, why),
        }
        let Some(inside) = rule.inside else { continue };
        match host.list(rule.path) {
            Ok(files) => {
                for file in files {
                    let folder = matches!(host.meta(&file), Ok(Some(meta)) if meta.is_dir());
                    let mode = if folder { rule.mode } else { inside };
                    one(host, &rule, &file, mode, 0, look);
                }
            }
            Err(why) => look.unseen(rule.path, why),
        }
    }
}

fn group_number(name: &str) -> Result<u32, String> {
    let line = output_of("/usr/bin/getent", &["group", name])?;
    let gid = line.split(':').nth(2).and_then(|gid| gid.trim().parse().ok());
    gid.ok_or_else(|| format!("getent knows no number of group {name}"))
}

fn one(host: &Host, rule: &Rule, path: &str, mode: u32, gid: u32, look: &mut Look) {
    match host.meta(path) {
        Ok(Some(meta)) => {
            // A link's own mode means nothing, and a socket's all there is.
            let kind = meta.file_type();
            let exact = rule.exact && kind.is_socket();
            let has = if kind.is_symlink() { mode } else { meta.mode() & 0o7777 };
            let wanted = Wanted { gid, group: rule.group.unwrap_or("root"), mode, exact, why: rule.why };
            judge(path, (meta.uid(), meta.gid(), has), &wanted, look);
        }
        Ok(None) => {}
        Err(why) => look.unseen(path, why),
    }
}

struct Wanted {
    gid: u32,
    group: &'static str,
    mode: u32,
    exact: bool,
    why: &'static str,
}

fn judge(path: &str, (uid, gid, mode): (u32, u32, u32), wanted: &Wanted, look: &mut Look) {
    let Wanted { gid: wanted_gid, group, mode: most, exact, why } = wanted;
    // A group that may do nothing is nobody's affair.
    let group_matters = mode & 0o070 != 0 || *exact;
    let owner_is_wrong = uid != 0 || (group_matters && gid != *wanted_gid && (gid != 0 || *exact));
    let mode_is_wrong = if *exact { mode != *most } else { mode & !most != 0 };
    if owner_is_wrong || mode_is_wrong {
        let file = quoted(path);
        look.open(
            format!("permissions/{path}"),
            format!(
                "{path} has uid {uid}, gid {gid} and mode {mode:04o}, and not root:{group} and {most:04o}"
            ),
            *why,
            format!("chown root:{group} {file} && chmod {most:04o} {file}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(facts: (u32, u32, u32), mode: u32, gid: u32, exact: bool) -> bool {
        let mut look = Look::default();
        judge("/x", facts, &Wanted { gid, group: "g", mode, exact, why: "" }, &mut look);
        !look.findings.is_empty()
    }

    #[test]
    fn what_is_wider_or_of_somebody_else_is_told() {
        for (facts, wrong) in [
            ((0, 0, 0o700), false),
            ((0, 0, 0o500), false),
            ((0, 5, 0o700), false),
            ((0, 5, 0o710), true),
            ((0, 0, 0o755), true),
            ((5, 0, 0o700), true),
            ((0, 0, 0o4700), true),
        ] {
            assert_eq!(told(facts, 0o700, 0, false), wrong, "{facts:?}");
        }
    }

    #[test]
    fn a_socket_has_exactly_its_group_and_mode() {
        for (facts, wrong) in [
            ((0, 990, 0o660), false),
            ((0, 0, 0o660), true),
            ((0, 990, 0o666), true),
            ((0, 990, 0o600), true),
        ] {
            assert_eq!(told(facts, 0o660, 990, true), wrong, "{facts:?}");
        }
    }

    #[test]
    fn a_state_folder_is_looked_into() {
        use std::fs;
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("var/lib/jitd");
        fs::create_dir_all(&state).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
        let key = state.join("seal.key");
        fs::write(&key, "").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let mut found = Look::default();
        super::look(&Host::below(root.path()), &mut found);
        assert!(found.findings.iter().any(|found| found.id == "permissions/var/lib/jitd/seal.key"
            || found.id == "permissions//var/lib/jitd/seal.key"));
    }
}
