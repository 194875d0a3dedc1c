//! Installed files that are not as the package brought them (dpkg(1), `--verify`).

use jit_host::program::run;

use crate::doctor::finding::{Check, Look};
use crate::doctor::host::Host;

pub(super) const CHECK: Check = Check { name: "package", looks_at: "the checksums of jitd's package", look };

/// What brings back what the package installs.
pub(super) const REINSTALL: &str = "apt-get install --reinstall -y jitd";
const DPKG: &str = "/usr/bin/dpkg";
/// Where files of the package are that decide something; a manual page that an image leaves away is none.
const MATTERS: [&str; 6] =
    ["/usr/bin/", "/usr/libexec/", "/usr/lib/", "/usr/share/dbus-1/", "/usr/share/jitd/", "/usr/lib64/"];

fn look(host: &Host, look: &mut Look) {
    if !host.has(DPKG) || !host.has("/var/lib/dpkg/info/jitd.md5sums") {
        look.notes
            .push("jitd was not installed by dpkg, so its files were compared with no checksums".to_owned());
        return;
    }
    match run(DPKG, &["--verify", "jitd"]) {
        // It ends with 1 where it has something to say.
        Ok(ended) if matches!(ended.status, Some(0 | 1)) => judge(&ended.output, look),
        Ok(ended) => look.unseen("the checksums of jitd's package", ended.errors.trim()),
        Err(why) => look.unseen("the checksums of jitd's package", why),
    }
}

/// `??5?????? c /etc/x`, or `missing     /usr/x`, a line for each file; `c` marks one of the administrator's.
fn judge(printed: &str, look: &mut Look) {
    for line in printed.lines() {
        let Some((how, path)) = line.split_once(" /").map(|(how, path)| (how.trim(), format!("/{path}")))
        else {
            continue;
        };
        if how.ends_with(" c") || !MATTERS.iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        let what = if how.starts_with("missing") { "is missing" } else { "is not as the package brought it" };
        look.open(
            format!("package/{path}"),
            format!("{path} {what}"),
            "what decides and records on this host is not what was released",
            format!("{REINSTALL} && systemctl daemon-reload && systemctl restart jitd.service"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_told_and_what_is_the_administrators_is_not() {
        let printed = "??5??????   /usr/share/dbus-1/system.d/org.jitd.Jit1.conf\n\
            ??5?????? c /etc/jitd/jitd.toml\n\
            missing     /usr/share/man/man1/jitctl.1.gz\n\
            missing     /usr/lib/systemd/system/jit.slice\n";
        let mut look = Look::default();
        judge(printed, &mut look);
        let told: Vec<&str> = look.findings.iter().map(|found| found.what.as_str()).collect();
        assert_eq!(
            told,
            [
                "/usr/share/dbus-1/system.d/org.jitd.Jit1.conf is not as the package brought it",
                "/usr/lib/systemd/system/jit.slice is missing"
            ]
        );
    }
}
