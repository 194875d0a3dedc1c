//! Plugins beside sudoers that decide, and versions of sudo-rs that ask nobody.

use std::os::unix::fs::PermissionsExt;

use jit_host::program::output_of;

use crate::doctor::finding::{Check, Look, quoted};
use crate::doctor::host::Host;

pub(super) const CHECK: Check =
    Check { name: "sudo", looks_at: "the plugins of sudo and the version of sudo-rs", look };

const CONF: &str = "/etc/sudo.conf";
/// The plugins that sudo itself has in sudoers.so (sudo.conf(5)).
const OWN: [&str; 3] = ["sudoers_policy", "sudoers_io", "sudoers_audit"];
const SUDO_RS: [&str; 2] = ["/usr/bin/sudo-rs", "/usr/bin/sudo"];

fn look(host: &Host, look: &mut Look) {
    match host.read(CONF) {
        Ok(text) => plugins(&text.unwrap_or_default(), look),
        Err(why) => look.unseen("the plugins of sudo", why),
    }
    for program in SUDO_RS {
        // One that is not set-uid makes nobody root.
        match std::fs::metadata(host.path(program)) {
            Ok(meta) if meta.permissions().mode() & 0o4000 != 0 => {}
            Ok(_) => continue,
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => continue,
            Err(why) => {
                look.unseen(program, why);
                continue;
            }
        }
        match output_of(program, &["--version"]) {
            Ok(said) => version(program, &said, look),
            Err(why) => look.unseen(format!("the version of {program}"), why),
        }
    }
}

/// Lines of sudo.conf(5) that name a plugin of somebody else, or lead sudo's own to other rules.
fn plugins(conf: &str, look: &mut Look) {
    for line in conf.lines() {
        let mut words = line.split_whitespace();
        let (Some("Plugin"), Some(name), Some(library)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let own = OWN.contains(&name) && library.rsplit('/').next() == Some("sudoers.so");
        let elsewhere = words.any(|word| word.starts_with("sudoers_file="));
        if own && !elsewhere {
            continue;
        }
        let what = if own {
            format!("{CONF} has sudo read its rules from another file: {}", line.trim())
        } else {
            format!("{CONF} names a plugin that is not sudo's own: {}", line.trim())
        };
        look.open(
            format!("sudo/plugin/{name}"),
            what,
            "a plugin decides for sudo who becomes whom, and need not run PAM at all",
            format!("sed -i -E 's/^[[:space:]]*Plugin[[:space:]]+{name}[[:space:]]/#&/' {CONF}"),
        );
    }
}

/// sudo-rs 0.2.8 to 0.2.13 runs neither the account stage nor a session for `-e` (its issue 1612).
fn version(program: &str, said: &str, look: &mut Look) {
    let Some(version) = said.lines().next().and_then(|line| line.strip_prefix("sudo-rs ")) else { return };
    let numbers: Vec<u32> = version.trim().split('.').map_while(|part| part.parse().ok()).collect();
    match numbers.as_slice() {
        [0, 2, 8..=13] => look.open(
            format!("sudo/rs-edit/{program}"),
            format!("{program} is sudo-rs {}, whose -e asks PAM nothing; 0.2.14 does", version.trim()),
            "whoever sudoers names edits root's files without a window",
            format!("chmod u-s {}", quoted(program)),
        ),
        [_, _, _] => {}
        _ => look.unseen(format!("the version of {program}"), format!("it says {:?}", version.trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(look: Look) -> Vec<String> {
        look.findings.into_iter().map(|found| found.id).collect()
    }

    #[test]
    fn plugins_of_others_and_other_rules_are_told() {
        for (line, expected) in [
            ("Plugin sudoers_policy sudoers.so", None),
            ("Plugin sudoers_audit /usr/libexec/sudo/sudoers.so", None),
            ("#Plugin evil evil.so", None),
            ("Path noexec /usr/libexec/sudo/sudo_noexec.so", None),
            ("Plugin sudoers_policy sudoers.so sudoers_file=/tmp/x", Some("sudo/plugin/sudoers_policy")),
            ("  Plugin\tevil evil.so", Some("sudo/plugin/evil")),
            ("Plugin sudoers_policy /opt/other.so", Some("sudo/plugin/sudoers_policy")),
        ] {
            let mut look = Look::default();
            plugins(&format!("# sudo.conf\n{line}\n"), &mut look);
            assert_eq!(ids(look).first().map(String::as_str), expected, "{line}");
        }
    }

    #[test]
    fn the_versions_that_ask_nobody_are_told() {
        for (said, open, unseen) in [
            ("sudo-rs 0.2.5\n", 0, 0),
            ("sudo-rs 0.2.8", 1, 0),
            ("sudo-rs 0.2.13", 1, 0),
            ("sudo-rs 0.2.14", 0, 0),
            ("sudo-rs next", 0, 1),
            ("Sudo version 1.9.16p2", 0, 0),
        ] {
            let mut look = Look::default();
            version("/usr/bin/sudo-rs", said, &mut look);
            assert_eq!((look.findings.len(), look.unseen.len()), (open, unseen), "{said}");
        }
    }
}
