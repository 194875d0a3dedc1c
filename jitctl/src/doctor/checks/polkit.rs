//! Rules of polkit that answer before jitd's own file does.

use crate::doctor::finding::{Check, Look, quoted};
use crate::doctor::host::Host;

pub(super) const CHECK: Check = Check { name: "polkit", looks_at: "the rules of polkit", look };

/// Where polkit reads its rules (polkit(8), "AUTHORIZATION RULES"); of files with the same name the first counts.
const FOLDERS: [&str; 4] = [
    "/etc/polkit-1/rules.d",
    "/run/polkit-1/rules.d",
    "/usr/local/share/polkit-1/rules.d",
    "/usr/share/polkit-1/rules.d",
];
/// The rule by which polkit asks jitd about pkexec, systemctl and run0.
pub(in crate::doctor) const RULE: &str = "00-jitd.rules";
/// What puts it where polkit reads it.
pub(in crate::doctor) const INSTALL_RULE: &str = "jitctl polkit enable";

fn look(host: &Host, look: &mut Look) {
    if !host.has(&format!("{}/{RULE}", FOLDERS[0])) {
        // Whether that matters is tried: see the paths pkexec and run0.
        return;
    }
    for folder in FOLDERS {
        match host.list(folder) {
            Ok(files) => files.iter().for_each(|file| judge(file, look)),
            Err(why) => look.unseen(folder, why),
        }
    }
}

/// polkit asks the rules in the order of the files' names, wherever they lie.
fn judge(file: &str, look: &mut Look) {
    let Some((folder, name)) = file.rsplit_once('/') else { return };
    if name.ends_with(".rules") && name < RULE {
        look.open(
            format!("polkit/before/{file}"),
            format!("polkit asks {file} before {RULE}"),
            "a rule in it can let people become root by pkexec or run0 without a window",
            format!(
                "mv {} {} && systemctl try-restart polkit.service",
                quoted(file),
                quoted(&format!("{folder}/60-{name}"))
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_are_asked_before_are_told_and_those_after_are_not() {
        for (file, told) in [
            ("/etc/polkit-1/rules.d/00-jitd.rules", false),
            ("/etc/polkit-1/rules.d/00-a.rules", true),
            ("/etc/polkit-1/rules.d/00-a.rules.disabled", false),
            ("/usr/share/polkit-1/rules.d/50-default.rules", false),
            ("/usr/share/polkit-1/rules.d/-x.rules", true),
        ] {
            let mut look = Look::default();
            judge(file, &mut look);
            assert_eq!(look.findings.len(), usize::from(told), "{file}");
        }
    }
}
