//! The system bus: files that let others speak as jitd, or speak to what is root's.

use super::package::REINSTALL;
use crate::doctor::finding::{Check, Look, quoted};
use crate::doctor::host::Host;

pub(super) const CHECK: Check = Check { name: "bus", looks_at: "the policy of the system bus", look };

const OWN: &str = "/usr/share/dbus-1/system.d/org.jitd.Jit1.conf";
const NAME: &str = "org.jitd";
const FOLDERS: [&str; 2] = ["/usr/share/dbus-1/system.d", "/etc/dbus-1/system.d"];
const FILES: [&str; 3] =
    ["/etc/dbus-1/system.conf", "/etc/dbus-1/system-local.conf", "/usr/share/dbus-1/system-local.conf"];
/// What opens every name at once (dbus-daemon(1)).
const BROAD: [&str; 4] = ["own=\"*\"", "own='*'", "own_prefix=\"org\"", "own_prefix='org'"];

fn look(host: &Host, look: &mut Look) {
    if !host.has(OWN) {
        look.open(
            "bus/missing",
            format!("{OWN} is missing"),
            "without it the bus does not give jitd its name, so that nobody can request or approve",
            REINSTALL,
        );
    }
    let mut files: Vec<String> = FILES.map(str::to_owned).to_vec();
    for folder in FOLDERS {
        match host.list(folder) {
            Ok(found) => files.extend(found.into_iter().filter(|file| file.ends_with(".conf"))),
            Err(why) => look.unseen(folder, why),
        }
    }
    for file in files.iter().filter(|file| *file != OWN) {
        match host.read(file) {
            Ok(text) => judge(file, &text.unwrap_or_default(), look),
            Err(why) => look.unseen(file.as_str(), why),
        }
    }
}

fn judge(file: &str, text: &str, look: &mut Look) {
    let broad = BROAD.iter().find(|broad| text.contains(**broad));
    let what = match (text.contains(NAME), broad) {
        (true, _) => format!("{file} has rules for {NAME}, and jitd's own file is {OWN}"),
        (false, Some(broad)) => format!("{file} has a rule for every name: {broad}"),
        (false, None) => return,
    };
    look.open(
        format!("bus/{file}"),
        what,
        "whoever it lets own the name answers jitctl in jitd's place, and whoever it lets call the gate asks as root",
        format!("mv {} {} && systemctl reload dbus.service", quoted(file), quoted(&format!("{file}.removed"))),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_others_for_jitds_name_or_for_every_name_are_told() {
        for (text, told) in [
            (r#"<policy user="mallory"><allow own="org.jitd.Jit1"/></policy>"#, true),
            (r#"<policy context="default"><allow own="*"/></policy>"#, true),
            (r#"<policy context="default"><allow own_prefix='org'/></policy>"#, true),
            (r#"<policy user="root"><allow own="org.example.A"/></policy>"#, false),
        ] {
            let mut look = Look::default();
            judge("/etc/dbus-1/system.d/x.conf", text, &mut look);
            assert_eq!(look.findings.len(), usize::from(told), "{text}");
        }
    }
}
