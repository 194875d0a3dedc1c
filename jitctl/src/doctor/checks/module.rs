//! The PAM module's file: there, built for this machine, and root's alone.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jit_host::pam_module::{Machine, files, machine};

use super::package::REINSTALL;
use crate::doctor::finding::{Check, Look, quoted};
use crate::doctor::host::Host;

pub(super) const CHECK: Check = Check { name: "module", looks_at: "the PAM module's file", look };

/// Programs that load the module; the first that is there says for which machine it has to be.
const LOADERS: [&str; 4] = ["/usr/bin/sudo", "/usr/bin/sudo-rs", "/usr/bin/su", "/usr/bin/doas"];

fn look(host: &Host, look: &mut Look) {
    let found = match files(host.root()) {
        Ok(found) => found,
        Err((folder, why)) => return look.unseen(host.named(&folder), why),
    };
    if found.is_empty() {
        look.open(
            "module/missing",
            "pam_jit.so is in no folder of PAM modules",
            "a stack that names it denies everybody, also in a window, and root too",
            REINSTALL,
        );
    }
    let loader = LOADERS.iter().map(|loader| host.path(loader)).find(|loader| loader.exists());
    let wanted = loader.as_deref().map(machine).transpose();
    for file in found {
        let name = host.named(&file);
        match host.meta(&name) {
            Ok(Some(meta)) if !meta.is_file() => look.open(
                format!("module/kind/{name}"),
                format!("{name} is no file of its own"),
                "what it points to is loaded into sudo as root, whoever owns that",
                REINSTALL,
            ),
            Ok(Some(meta)) => judge(&name, (meta.uid(), meta.gid(), meta.mode()), look),
            Ok(None) => {}
            Err(why) => look.unseen(name.clone(), why),
        }
        match (&machine(Path::new(&file)), &wanted) {
            (Ok(built), Ok(Some(Some(wanted)))) => judge_machine(&name, *built, *wanted, look),
            (Err(why), _) | (_, Err(why)) => look.unseen(format!("for which machine {name} is built"), why),
            _ => {}
        }
    }
}

fn judge(name: &str, (uid, gid, mode): (u32, u32, u32), look: &mut Look) {
    if (uid, gid) != (0, 0) {
        look.open(
            format!("module/owner/{name}"),
            format!("{name} belongs to uid {uid} and gid {gid}"),
            "its owner can put another module in its place, which sudo loads as root",
            format!("chown root:root {}", quoted(name)),
        );
    }
    if mode & 0o7022 != 0 || mode & 0o444 != 0o444 {
        look.open(
            format!("module/mode/{name}"),
            format!("{name} has the mode {:04o}, and not 0644", mode & 0o7777),
            "others than root can change what sudo loads as root, or PAM cannot read it and denies everybody",
            format!("chmod 0644 {}", quoted(name)),
        );
    }
}

fn judge_machine(name: &str, built: Option<Machine>, wanted: Machine, look: &mut Look) {
    if built != Some(wanted) {
        look.open(
            format!("module/machine/{name}"),
            format!("{name} is not built for the machine of the programs that load it"),
            "PAM cannot load it, so that a stack that names it denies everybody, also in a window",
            REINSTALL,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(look: &Look) -> Vec<&str> {
        look.findings.iter().map(|found| found.id.as_str()).collect()
    }

    #[test]
    fn a_module_of_somebody_else_or_that_others_write_is_told() {
        for (facts, expected) in [
            ((0, 0, 0o100_644), &[][..]),
            ((1000, 0, 0o100_644), &["module/owner/m"][..]),
            ((0, 27, 0o100_644), &["module/owner/m"][..]),
            ((0, 0, 0o100_664), &["module/mode/m"][..]),
            ((0, 0, 0o100_600), &["module/mode/m"][..]),
            ((0, 0, 0o104_644), &["module/mode/m"][..]),
            ((9, 9, 0o100_666), &["module/owner/m", "module/mode/m"][..]),
        ] {
            let mut look = Look::default();
            judge("m", facts, &mut look);
            assert_eq!(ids(&look), expected, "{facts:?}");
        }
    }

    #[test]
    fn a_module_that_is_missing_or_of_another_machine_is_told() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::below(root.path());
        let mut found = Look::default();
        super::look(&host, &mut found);
        assert_eq!(ids(&found), ["module/missing"]);

        let own = machine(Path::new("/proc/self/exe")).unwrap().unwrap();
        for (built, expected) in [(Some(own), 0), (None, 1)] {
            let mut found = Look::default();
            judge_machine("m", built, own, &mut found);
            assert_eq!(found.findings.len(), expected);
        }
    }
}
