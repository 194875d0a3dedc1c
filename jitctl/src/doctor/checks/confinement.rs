//! What AppArmor and SELinux do on this host: worth knowing where something does not work.

use crate::doctor::finding::{Check, Look};
use crate::doctor::host::Host;

pub(super) const CHECK: Check =
    Check { name: "confinement", looks_at: "the state of AppArmor and SELinux", look };

fn look(host: &Host, look: &mut Look) {
    let state = |path: &str| host.read(path).map(|text| text.map(|text| text.trim().to_owned()));
    match state("/sys/module/apparmor/parameters/enabled") {
        Ok(Some(enabled)) if enabled == "Y" => look.notes.push("AppArmor is on".to_owned()),
        Ok(_) => look.notes.push("AppArmor is off".to_owned()),
        Err(why) => look.unseen("the state of AppArmor", why),
    }
    match state("/sys/fs/selinux/enforce") {
        Ok(Some(enforce)) => look.notes.push(selinux(&enforce).to_owned()),
        Ok(None) => look.notes.push("SELinux is off".to_owned()),
        Err(why) => look.unseen("the state of SELinux", why),
    }
}

fn selinux(enforce: &str) -> &'static str {
    match enforce {
        "1" => {
            "SELinux is enforcing: pam_jit runs in the domain of sudo, which has to be let connect to /run/jitd/gate.sock"
        }
        _ => "SELinux is permissive",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_either_says_so() {
        let root = tempfile::tempdir().unwrap();
        let mut found = Look::default();
        super::look(&Host::below(root.path()), &mut found);
        assert_eq!(found.notes, ["AppArmor is off", "SELinux is off"]);
        assert!(selinux("1").contains("enforcing"));
    }
}
