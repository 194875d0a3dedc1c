//! PAM stacks that do not ask jitd first: a line above the gate that decides, a wrong include, a line that a denial passes.

use std::collections::BTreeSet;

use jit_host::pam_stack::{Fault, inspect};

use crate::doctor::finding::{Check, Look, quoted};
use crate::doctor::host::Host;

pub(super) const CHECK: Check =
    Check { name: "stacks", looks_at: "the PAM stacks of sudo, su and doas", look };

/// Programs by which people become others, each with the service of its stack. The sister of a service (`sudo-i`, `su-l`) is
/// looked at with it.
const PROGRAMS: [(&str, &str); 4] = [
    ("/usr/bin/sudo", "sudo"),
    ("/usr/bin/sudo-rs", "sudo"),
    ("/usr/bin/su", "su"),
    // doas denies everybody where it has no rules.
    ("/etc/doas.conf", "doas"),
];

fn look(host: &Host, look: &mut Look) {
    let mut services: BTreeSet<String> = PROGRAMS
        .iter()
        .filter(|(file, _)| host.has(file))
        .map(|(_, service)| (*service).to_owned())
        .collect();
    for role in host.told.roles.iter().flatten() {
        services.extend(role.services.iter().cloned());
    }
    let mut told = Vec::new();
    for (service, fault) in inspect(services) {
        // A stack that includes another one has that one's fault, and is mended with it.
        if let Some(fault) = fault.filter(|fault| !told.contains(fault)) {
            tell(&service, &fault, look);
            told.push(fault);
        }
    }
}

fn tell(service: &str, fault: &Fault, look: &mut Look) {
    // The option is the administrator's, so that `pam enable` keeps it.
    let mend = match fault.message.contains(" services=") {
        true => format!(
            "sed -i '/pam_jit/s/[[:space:]]services=[^[:space:]]*//' {}",
            quoted(&fault.file.display().to_string())
        ),
        false => right_stack(service),
    };
    look.open(
        format!("stack/{service}"),
        format!("the PAM stack of {service} does not ask jitd as it has to: {fault}"),
        format!("whoever may use {service} becomes another user without a window, or leaves its session"),
        mend,
    );
}

/// What puts the right lines in: it shows the change and tries it before it is in force.
pub(in crate::doctor) fn right_stack(service: &str) -> String {
    format!("jitctl pam enable {service} --yes && jitctl pam confirm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_with_its_place_and_the_command_that_mends_it() {
        let fault = Fault {
            file: "/etc/pam.d/sudo-i".into(),
            line: 3,
            message: "its first account line names pam_permit.so, and not pam_jit.so".into(),
        };
        let mut told = Look::default();
        let option = Fault { message: "its account line says services=su, so that".into(), ..fault.clone() };
        tell("su-l", &option, &mut told);
        let mend = "sed -i '/pam_jit/s/[[:space:]]services=[^[:space:]]*//' /etc/pam.d/sudo-i";
        assert_eq!(told.findings.remove(0).mend, mend);
        tell("sudo-i", &fault, &mut told);
        let [found] = told.findings.try_into().unwrap();
        assert_eq!(
            (found.id.as_str(), found.mend.as_str()),
            ("stack/sudo-i", "jitctl pam enable sudo-i --yes && jitctl pam confirm")
        );
        assert!(found.what.ends_with(
            "/etc/pam.d/sudo-i:3: its first account line names pam_permit.so, and not pam_jit.so"
        ));
    }
}
