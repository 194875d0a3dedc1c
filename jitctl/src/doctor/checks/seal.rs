//! Whether the audit log is sealed.

use crate::doctor::finding::{Check, Look};
use crate::doctor::host::Host;

pub(super) const CHECK: Check = Check { name: "seal", looks_at: "the seal of the audit log", look };

/// The seal's next key, which is there from the first seal on.
pub(super) const KEY: &str = "/var/lib/jitd/seal.key";

fn look(host: &Host, look: &mut Look) {
    match host.meta(KEY) {
        Ok(Some(meta)) if meta.len() > 0 => {}
        Ok(_) => look.open(
            "seal/none",
            "the audit log is not sealed",
            "whoever is root for a while can write every record anew, and verification finds nothing wrong",
            "jitctl audit seal --init",
        ),
        Err(why) => look.unseen(KEY, why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_host_without_a_key_is_not_sealed() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::below(root.path());
        let told = |host: &Host| {
            let mut found = Look::default();
            super::look(host, &mut found);
            found.findings.len()
        };
        assert_eq!(told(&host), 1);
        fs::create_dir_all(root.path().join("var/lib/jitd")).unwrap();
        fs::write(host.path(KEY), "x").unwrap();
        assert_eq!(told(&host), 0);
    }
}
