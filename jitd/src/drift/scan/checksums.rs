//! Compares programs and libraries with the checksums of their packages, as `dpkg --verify` does.

use std::fs;
use std::path::Path;

use crate::drift::snapshot::Checked;
use crate::host::dpkg::{INFO, Shipped, md5_of, merged, packages, text};

/// Programs and libraries that root's daemons run.
const PROGRAMS: [&str; 7] = [
    "/usr/bin/",
    "/usr/sbin/",
    "/usr/libexec/",
    "/usr/lib/systemd/",
    "/usr/lib/openssh/",
    "/usr/lib/cron/",
    "/usr/lib/",
];

/// Compares the programs and libraries that root's daemons run with what their packages ship, as `dpkg --verify` does.
/// Reads all of them, which is expensive.
pub(in crate::drift) fn check(root: &Path) -> Checked {
    let mut checked = Checked::default();
    let is_program = |path: &str| {
        PROGRAMS.iter().any(|folder| {
            path.strip_prefix(folder).is_some_and(|rest| {
                !rest.contains('/')
                    || *folder != "/usr/lib/"
                    || rest.contains("-linux-") && rest.matches('/').count() <= 2
            })
        })
    };
    for package in packages(root) {
        let name = package.split(':').next().unwrap_or(&package).to_owned();
        if !root.join(format!("{INFO}{package}.md5sums").trim_start_matches('/')).exists() {
            let list = text(root, &format!("{INFO}{package}.list"));
            if list
                .lines()
                .any(|line| is_program(&merged(line)) && root.join(line.trim_start_matches('/')).is_file())
            {
                checked.without.insert(name);
            }
            continue;
        }
        let shipped = Shipped::of(root, std::iter::once(package.as_str()));
        for (path, (sum, _)) in shipped.sums.iter().filter(|(path, _)| is_program(path)) {
            let outside = root.join(path.trim_start_matches('/'));
            // A file that was diverted or removed is found at its watched path.
            if !fs::symlink_metadata(&outside).is_ok_and(|meta| meta.is_file()) {
                continue;
            }
            checked.compared += 1;
            if md5_of(&outside).is_some_and(|is| is != *sum) {
                checked.unlike.insert(path.clone(), name.clone());
            }
        }
    }
    checked
}
