//! Recognises the work of a package manager where the contents of files match the package's own lists (dpkg's `.list`,
//! `.md5sums` and conffile hashes), and finds programs that differ from their packages.
//!
//! The checksums are on the host, so root can change them too, and they cover no modes, owners or links. Findings that
//! they do not cover keep their kind: new set-uid files, accounts, sudoers, keys.

use std::collections::BTreeMap;
use std::path::Path;

use jit_proto::escape::{Escaped, word};

use super::finding::Finding;
use super::products::without_products;
use crate::core::drift::kind::Kind;
use crate::host::dpkg::{INFO, STATUS, Shipped, md5_of, merged, packages};

/// Names in a line.
const MAX_NAMES: usize = 40;
/// Files that no package ships, and that say who may log in.
const IS_OF_ACCOUNTS: [&str; 6] =
    ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid"];

/// Replaces the findings that are a package manager's work by one finding, below the root of a host.
pub(super) fn explained(root: &Path, findings: Vec<Finding>) -> Vec<Finding> {
    let touched = touched(&findings);
    let mut left = Vec::new();
    let mut ours: Vec<Finding> = Vec::new();
    if touched.is_empty() {
        left = findings;
    } else {
        let shipped = Shipped::of(root, touched.keys().map(String::as_str));
        let mut made = Vec::new();
        for finding in findings {
            if explains(&shipped, root, &finding) {
                ours.push(finding);
                continue;
            }
            let (rest, products) = without_products(&shipped, root, finding);
            left.extend(rest);
            made.extend(products);
        }
        // The programs that a unit of the package starts belong to the package too.
        let is_shipped = |file: &String| ours.iter().any(|unit| unit.path == *file);
        left.retain(|finding| {
            finding.kind != Kind::Processes || !finding.unit.as_ref().is_some_and(is_shipped)
        });
        if !ours.is_empty() {
            left.push(summary(&touched, &ours, &made));
        }
    }
    compared(root, &mut left);
    left.sort_by(|one, other| one.order().cmp(&other.order()));
    left
}

/// The packages that were installed, removed or changed, by dpkg's files about them.
fn touched(findings: &[Finding]) -> BTreeMap<String, &'static str> {
    let mut touched = BTreeMap::new();
    for finding in findings {
        let Some(name) = finding.path.strip_prefix(INFO).filter(|name| !name.contains('/')) else { continue };
        // dpkg rewrites the list with each change of a package; a script that changed alone is not dpkg's work.
        let Some(package) = name.strip_suffix(".list") else { continue };
        let how = match finding.verb.trim_end() {
            "added" => "installed",
            "removed" => "removed",
            _ => "upgraded or installed again",
        };
        touched.insert(package.to_owned(), how);
    }
    let dpkg_ran = findings.iter().any(|finding| finding.path == STATUS);
    if dpkg_ran { touched } else { BTreeMap::new() }
}

fn summary(touched: &BTreeMap<String, &'static str>, ours: &[Finding], made: &[String]) -> Finding {
    let mut by_how: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (package, how) in touched {
        by_how.entry(how).or_default().push(package.split(':').next().unwrap_or(package));
    }
    let hows: Vec<String> = by_how
        .into_iter()
        .map(|(how, names)| {
            let noun = if names.len() == 1 { "package" } else { "packages" };
            format!("{noun} {} {how}", listed(&names))
        })
        .collect();
    let is_own = |finding: &&Finding| finding.path.starts_with(INFO) || finding.path == STATUS;
    let files: Vec<&Finding> = ours.iter().filter(|finding| !is_own(finding)).collect();
    let removed: Vec<&str> =
        files.iter().filter(|f| f.verb.starts_with("removed")).map(|f| f.shown.as_str()).collect();
    let told: Vec<&str> = files
        .iter()
        .filter(|f| {
            matches!(f.kind, Kind::Gate | Kind::Pam | Kind::Units | Kind::Schedules | Kind::Loader)
                && !f.verb.starts_with("removed")
        })
        .map(|f| f.shown.as_str())
        .collect();
    let there = files.len() - removed.len();
    let mut line = format!("{}: {there} files and links, as dpkg's files and checksums say", hows.join(", "));
    if !told.is_empty() {
        line.push_str(&format!("; among them {}", listed(&told)));
    }
    if !made.is_empty() {
        let made: Vec<&str> = made.iter().map(String::as_str).collect();
        line.push_str(&format!("; made by their scripts: {}", listed(&made)));
    }
    if !removed.is_empty() {
        line.push_str(&format!("; {} removed: {}", removed.len(), listed(&removed)));
    }
    Finding::of(Kind::Shipped, line)
}

fn listed(names: &[&str]) -> String {
    let shown =
        names.iter().take(MAX_NAMES).map(|name| Escaped(name).to_string()).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Whether a finding is the work of these packages.
fn explains(shipped: &Shipped, root: &Path, finding: &Finding) -> bool {
    let path = finding.path.as_str();
    if let Some(name) = path.strip_prefix(INFO) {
        return shipped
            .packages
            .iter()
            .any(|package| name.strip_prefix(package).is_some_and(|rest| rest.starts_with('.')));
    }
    if path == STATUS {
        return true;
    }
    let (added, removed) = (finding.verb.starts_with("added"), finding.verb.starts_with("removed"));
    // The checksum covers the contents only, so nothing else may have changed.
    let only_content = finding.verb.starts_with("changed")
        && [": its content", ": its inode, size or times; contents were not compared"]
            .contains(&finding.tail.as_str());
    match finding.kind {
        Kind::SetUid if !only_content => false,
        // Settings of directories and files of users to be made, as shipped; never the accounts themselves.
        Kind::Accounts if !removed && added && !IS_OF_ACCOUNTS.contains(&path) => shipped.has(root, path),
        Kind::Accounts | Kind::Sudoers | Kind::Keys | Kind::Rights => false,
        // Programs of jitd count as other programs do; its policy and removed files never count.
        Kind::Gate if removed || !path.starts_with("/usr/") => false,
        Kind::Processes | Kind::OwnFiles | Kind::Unseen | Kind::Mounts | Kind::Shipped => false,
        _ if removed => true,
        Kind::Loader if path == "/etc/ld.so.cache" => only_content,
        _ if added || only_content => shipped.has(root, path),
        _ => false,
    }
}

/// Adds to findings about programs whose contents are not scanned whether they match their packages.
fn compared(root: &Path, findings: &mut [Finding]) {
    const NOT_COMPARED: &str = ": its inode, size or times; contents were not compared";
    let is_one = |finding: &Finding| finding.path.starts_with('/') && finding.tail.starts_with(NOT_COMPARED);
    if !findings.iter().any(is_one) {
        return;
    }
    let all = Shipped::of(root, packages(root).iter().map(String::as_str));
    for finding in findings.iter_mut().filter(|finding| is_one(finding)) {
        let rest = finding.tail.strip_prefix(NOT_COMPARED).unwrap_or_default().to_owned();
        let outside = root.join(finding.path.trim_start_matches('/'));
        let what = match all.sums.get(&merged(&finding.path)) {
            None => ": its inode, size or times; no package's checksums name it".to_owned(),
            Some((sum, package)) if md5_of(&outside).as_ref() == Some(sum) => {
                if rest.is_empty() && finding.kind != Kind::SetUid {
                    finding.kind = Kind::Shipped;
                }
                format!(": its inode or times; its content is what package {} ships", word(package))
            }
            Some((_, package)) => format!(": its content is not what package {} ships", word(package)),
        };
        finding.tail = format!("{what}{rest}");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use md5::{Digest, Md5};

    use super::*;
    use crate::drift::diff::unlike_packages;
    use crate::drift::scan::checksums::check;
    use crate::drift::snapshot::samples::file as entry;
    use crate::drift::snapshot::{Checked, Entry, Map};
    use crate::drift::wording::difference;

    fn write(root: &Path, path: &str, content: &str) {
        let path = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn added(path: &str, kind: Kind) -> Finding {
        let now = Entry { kind, ..entry("x", 0o644, 0, 1) };
        difference(path, None, Some(&now), Map::Places).unwrap()
    }

    fn host() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let sum = |text: &str| hex::encode(Md5::digest(text.as_bytes()));
        write(root.path(), "/usr/lib/systemd/system/a.service", "unit");
        write(root.path(), "/etc/cron.d/a", "job");
        write(root.path(), "/usr/sbin/a", "program");
        write(
            root.path(),
            "/var/lib/dpkg/info/a.list",
            "/.\n/lib/systemd/system/a.service\n/usr/sbin/a\n/etc/cron.d/a\n",
        );
        let sums = format!("{}  lib/systemd/system/a.service\n{}  usr/sbin/a\n", sum("unit"), sum("program"));
        write(root.path(), "/var/lib/dpkg/info/a.md5sums", &sums);
        let status = format!(
            "Package: a\nStatus: install ok installed\nConffiles:\n /etc/cron.d/a {}\n\n",
            sum("job")
        );
        write(root.path(), STATUS, &status);
        root
    }

    #[test]
    fn a_package_is_one_line_and_what_it_does_not_ship_keeps_its_rank() {
        let root = host();
        let of_the_package = [
            added("/usr/lib/systemd/system/a.service", Kind::Units),
            added("/etc/cron.d/a", Kind::Schedules),
            added("/usr/sbin/a", Kind::Programs),
            added("/var/lib/dpkg/info/a.list", Kind::Packages),
            added("/var/lib/dpkg/info/a.postinst", Kind::Packages),
            added(STATUS, Kind::Packages),
        ];
        let told = explained(root.path(), of_the_package.to_vec());
        assert_eq!(told.len(), 1, "{told:#?}");
        assert_eq!(
            told[0].line(),
            "package a installed: 3 files and links, as dpkg's files and checksums say; among them \
             /usr/lib/systemd/system/a.service, /etc/cron.d/a"
        );
        assert_eq!(told[0].kind, Kind::Shipped);
        // A changed file, a file of no package, and kinds that no checksum covers.
        write(root.path(), "/etc/cron.d/a", "another job");
        let mut all = of_the_package.to_vec();
        all.push(added("/etc/cron.d/b", Kind::Schedules));
        all.push(added("/usr/sbin/a", Kind::SetUid));
        all.push(added("/etc/sudoers.d/a", Kind::Sudoers));
        let told: Vec<String> = explained(root.path(), all).iter().map(Finding::line).collect();
        assert_eq!(
            told[..4],
            ["added /usr/sbin/a", "added /etc/sudoers.d/a", "added /etc/cron.d/a", "added /etc/cron.d/b"]
        );
        assert!(told[4].starts_with("package a installed: 2 files"), "{told:#?}");
    }

    #[test]
    fn what_a_shipped_unit_runs_is_the_packages_and_nothing_else_is() {
        let root = host();
        let unit = "/usr/lib/systemd/system/a.service";
        let process = |unit: Option<&str>| Finding {
            path: "7 1".into(),
            map: Map::Processes,
            unit: unit.map(str::to_owned),
            ..Finding::of(Kind::Processes, "process 7".into())
        };
        let told = |process: Finding| {
            let list = added("/var/lib/dpkg/info/a.list", Kind::Packages);
            let all = vec![added(unit, Kind::Units), list, added(STATUS, Kind::Packages), process];
            explained(root.path(), all).len()
        };
        assert_eq!(told(process(Some(unit))), 1);
        assert_eq!(told(process(Some("/etc/systemd/system/b.service"))), 2);
        assert_eq!(told(process(None)), 2);
    }

    #[test]
    fn a_maintainer_script_that_changed_alone_is_a_finding() {
        let root = host();
        let finding = added("/var/lib/dpkg/info/a.postinst", Kind::Packages);
        assert_eq!(explained(root.path(), vec![finding.clone()]), [finding]);
    }

    #[test]
    fn files_as_shipped_are_no_excuse_where_dpkg_did_nothing() {
        let root = host();
        let finding = added("/etc/cron.d/a", Kind::Schedules);
        assert_eq!(explained(root.path(), vec![finding.clone()]), [finding]);
    }

    #[test]
    fn a_program_is_compared_with_its_package() {
        let root = host();
        let before = Entry { kind: Kind::Programs, ..entry("ino 1", 0o755, 0, 1) };
        let now = Entry { kind: Kind::Programs, ..entry("ino 2", 0o755, 0, 1) };
        let changed = || vec![difference("/usr/sbin/a", Some(&before), Some(&now), Map::Places).unwrap()];
        let told = explained(root.path(), changed());
        assert_eq!(
            told[0].line(),
            "changed /usr/sbin/a: its inode or times; its content is what package a ships"
        );
        assert_eq!(told[0].kind, Kind::Shipped);
        assert_eq!(check(root.path()).unlike, BTreeMap::new());
        write(root.path(), "/usr/sbin/a", "another program");
        let told = explained(root.path(), changed());
        assert_eq!(told[0].line(), "changed /usr/sbin/a: its content is not what package a ships");
        assert_eq!(told[0].kind, Kind::Programs);
        let checked = check(root.path());
        assert_eq!((checked.compared, checked.unlike.len()), (2, 1));
        assert!(
            unlike_packages(&Checked::default(), &checked)[0]
                .line()
                .starts_with("/usr/sbin/a is not what package a ships")
        );
        fs::remove_file(root.path().join("var/lib/dpkg/info/a.md5sums")).unwrap();
        let told = explained(root.path(), changed());
        assert_eq!(
            told[0].line(),
            "changed /usr/sbin/a: its inode, size or times; no package's checksums name it"
        );
        assert_eq!(check(root.path()).without, ["a".to_owned()].into());
    }
}
