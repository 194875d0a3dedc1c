//! What maintainer scripts of packages make that no package ships: told with the package's line where the package came in the
//! same run of dpkg and the product can be checked, or is one that the package is known to make.
//!
//! What a script made is named, since whoever is root could have put another content in its place. Everything else stays a
//! finding of its own: an account with a shell or a password, a member of a group, a certificate of somebody else.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jit_proto::escape::{Escaped, word};

use super::finding::Finding;
use crate::core::drift::kind::Kind;
use crate::host::dpkg::{Shipped, text};

/// Files that a package's script makes anew on each host, so that nothing can be compared.
const MADE: [(&str, &str); 2] = [
    ("ssl-cert", "/etc/ssl/certs/ssl-cert-snakeoil.pem"),
    ("ssl-cert", "/etc/ssl/private/ssl-cert-snakeoil.key"),
];
/// Ids that adduser(8) and systemd-sysusers(8) give to the system's accounts and groups on Debian.
const SYSTEM_IDS: std::ops::RangeInclusive<u32> = 100..=999;
/// Shells that let nobody in.
const NO_SHELLS: [&str; 3] = ["/usr/sbin/nologin", "/sbin/nologin", "/bin/false"];
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
const SELECTION: &str = "/etc/ca-certificates.conf";
const CERTIFICATES: &str = "/usr/share/ca-certificates/";
/// For certificates of the administrator, each of which is a finding of its own.
const OWN_CERTIFICATES: &str = "/usr/local/share/ca-certificates";
const OVERRIDES: &str = "/var/lib/dpkg/statoverride";
const ALTERNATIVES: &str = "/var/lib/dpkg/alternatives/";

/// What is left of a finding, and the names of what scripts of these packages have made.
pub(super) fn without_products(
    shipped: &Shipped,
    root: &Path,
    finding: Finding,
) -> (Option<Finding>, Vec<String>) {
    if finding.kind == Kind::Accounts {
        return without_system_accounts(shipped, finding);
    }
    let path = finding.path.as_str();
    let is_written = ["added ", "added folder "].contains(&finding.verb.as_str()) && finding.tail.is_empty()
        || finding.verb.starts_with("changed ") && finding.tail == ": its content";
    let is_product = finding.kind > Kind::Rights && is_written && is_roots(root, path) && {
        MADE.iter().any(|(package, made)| path == *made && shipped.is_of(package))
            || path == BUNDLE && shipped.is_of("ca-certificates") && holds_shipped_only(shipped, root)
            || path == SELECTION && shipped.is_of("ca-certificates") && selects_shipped_only(shipped, root)
            || path == OWN_CERTIFICATES && shipped.is_of("ca-certificates")
            || path == OVERRIDES && gives_nothing_new(root)
            || path.starts_with(ALTERNATIVES) && is_alternative(shipped, root, path)
    };
    if is_product || leads_to_product(shipped, root, &finding) {
        let is_link = finding.verb.ends_with("link ");
        return (None, if is_link { Vec::new() } else { vec![Escaped(&word(path)).to_string()] });
    }
    (Some(finding), Vec::new())
}

/// Only root may write it, and it is no link.
fn is_roots(root: &Path, path: &str) -> bool {
    let outside = root.join(path.trim_start_matches('/'));
    fs::symlink_metadata(outside)
        .is_ok_and(|meta| !meta.is_symlink() && meta.uid() == 0 && meta.mode() & 0o022 == 0)
}

/// Whether no line makes dpkg give a file privilege, or everybody the right to write it, that the file does not have already
/// (dpkg-statoverride(1)). What a file has is told by itself.
fn gives_nothing_new(root: &Path) -> bool {
    text(root, OVERRIDES).lines().all(|line| {
        let mut words = line.splitn(4, ' ').skip(2);
        let mode = words.next().and_then(|mode| u32::from_str_radix(mode, 8).ok());
        let path = words.next().map(|path| root.join(path.trim_start_matches('/')));
        let (Some(mode), Some(path)) = (mode, path) else { return false };
        mode & 0o6002 == 0 || fs::symlink_metadata(path).is_ok_and(|meta| meta.mode() & 0o7777 == mode)
    })
}

/// A link by hash to a product (openssl-rehash(1)), or to a link that leads there.
fn leads_to_product(shipped: &Shipped, root: &Path, finding: &Finding) -> bool {
    let is_of_certificates = finding.path.starts_with("/etc/ssl/certs/") && finding.verb.ends_with(" link ");
    is_of_certificates
        && MADE.iter().any(|(package, made)| {
            shipped.is_of(package) && Shipped::leads_to(root, &finding.path, made) && is_roots(root, made)
        })
}

/// Whether each certificate of the bundle is one that these packages ship.
fn holds_shipped_only(shipped: &Shipped, root: &Path) -> bool {
    let certificates: Vec<String> = shipped
        .sums
        .keys()
        .filter(|path| path.starts_with(CERTIFICATES) && shipped.has(root, path))
        .map(|path| text(root, path).trim().to_owned())
        .collect();
    let bundle = text(root, BUNDLE);
    let mut blocks = bundle.split_inclusive("-----END CERTIFICATE-----").map(str::trim);
    !bundle.is_empty() && blocks.all(|block| block.is_empty() || certificates.iter().any(|one| one == block))
}

/// Whether each line names a certificate that these packages ship (update-ca-certificates(8)).
fn selects_shipped_only(shipped: &Shipped, root: &Path) -> bool {
    text(root, SELECTION)
        .lines()
        .map(|line| line.trim_start_matches('!').trim())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .all(|line| shipped.has(root, &format!("{CERTIFICATES}{line}")))
}

/// Whether each path of an alternative (update-alternatives(1), "TERMINOLOGY") is one that these packages ship, or a link by
/// which the alternative is reached.
fn is_alternative(shipped: &Shipped, root: &Path, path: &str) -> bool {
    let content = text(root, path);
    let mut paths = content.lines().filter(|line| line.starts_with('/')).peekable();
    let is_generic = |path: &str| {
        let outside = root.join(path.trim_start_matches('/'));
        fs::read_link(outside).is_ok_and(|target| target.starts_with("/etc/alternatives"))
    };
    paths.peek().is_some() && paths.all(|path| shipped.is_path(path) || is_generic(path))
}

/// Takes the system accounts and groups out that have the name of one of these packages, and that nobody can use.
fn without_system_accounts(shipped: &Shipped, finding: Finding) -> (Option<Finding>, Vec<String>) {
    let is_file =
        ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"].contains(&finding.path.as_str());
    let Some(phrases) = finding.tail.strip_prefix(": ").filter(|_| is_file) else {
        return (Some(finding), Vec::new());
    };
    let (mut left, mut made) = (Vec::new(), Vec::new());
    for phrase in phrases.split("; ") {
        match system_account(phrase).filter(|name| shipped.is_of(name)) {
            // The line in shadow or gshadow says no more.
            Some(_) if phrase.starts_with("the ") => {}
            Some(_) => made.push(phrase.split(" added ").next().unwrap_or(phrase).to_owned()),
            None => left.push(phrase),
        }
    }
    if left.is_empty() {
        return (None, made);
    }
    let tail = format!(": {}", left.join("; "));
    (Some(Finding { tail, ..finding }), made)
}

/// The name of a new account or group that lets nobody in, as [`super::account_files::changes`] words it.
fn system_account(phrase: &str) -> Option<&str> {
    let (what, rest) = phrase.split_once(" added (")?;
    let rest = rest.strip_suffix(')')?;
    let is_system = |id: &str| id.parse::<u32>().is_ok_and(|id| SYSTEM_IDS.contains(&id));
    if let Some(name) =
        what.strip_prefix("the shadow of group ").or(what.strip_prefix("the password of account "))
    {
        return (rest == "no password fits").then_some(name);
    }
    if let Some(name) = what.strip_prefix("group ") {
        return rest.strip_prefix("gid ").is_some_and(is_system).then_some(name);
    }
    let name = what.strip_prefix("account ")?;
    let (uid, rest) = rest.strip_prefix("uid ")?.split_once(", gid ")?;
    let (_, shell) = rest.split_once(", shell ")?;
    (is_system(uid) && NO_SHELLS.contains(&shell)).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use md5::{Digest, Md5};

    use super::*;
    use crate::drift::packages::explained;
    use crate::drift::snapshot::Map;
    use crate::drift::snapshot::samples::file as entry;
    use crate::drift::snapshot::{Entry, EntryKind};
    use crate::drift::wording::difference;
    use crate::host::dpkg::{INFO, STATUS};

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nT25l\n-----END CERTIFICATE-----\n";
    const TWO: &str = "-----BEGIN CERTIFICATE-----\nVHdv\n-----END CERTIFICATE-----\n";
    const EVIL: &str = "-----BEGIN CERTIFICATE-----\nRXZpbA==\n-----END CERTIFICATE-----\n";

    /// A host on which one run of dpkg brought ca-certificates and ssl-cert.
    struct Host(tempfile::TempDir);

    impl Host {
        fn new() -> Self {
            let host = Self(tempfile::tempdir().unwrap());
            for (name, text) in [("one", ONE), ("two", TWO)] {
                host.write(&format!("{CERTIFICATES}m/{name}.crt"), text);
                host.link(&format!("/etc/ssl/certs/{name}.pem"), &format!("{CERTIFICATES}m/{name}.crt"));
            }
            host.link("/etc/ssl/certs/0a.0", "one.pem");
            let sum = |text: &str| hex::encode(Md5::digest(text.as_bytes()));
            let certificates = CERTIFICATES.trim_start_matches('/');
            host.write(
                &format!("{INFO}ca-certificates.md5sums"),
                &format!("{}  {certificates}m/one.crt\n{}  {certificates}m/two.crt\n", sum(ONE), sum(TWO)),
            );
            host.write(
                &format!("{INFO}ca-certificates.list"),
                &format!("{CERTIFICATES}m/one.crt\n{CERTIFICATES}m/two.crt\n/usr/bin/tool\n"),
            );
            host.write(&format!("{INFO}ssl-cert.list"), "/.\n");
            host.write(STATUS, "");
            host.write(BUNDLE, &format!("{ONE}{TWO}"));
            host.write(SELECTION, "# comment\nm/one.crt\n!m/two.crt\n");
            for (_, path) in MADE {
                host.write(path, EVIL);
            }
            host.link("/etc/ssl/certs/0b.0", "ssl-cert-snakeoil.pem");
            host.write(&format!("{ALTERNATIVES}tool"), "auto\n/usr/local/bin/t\n\n/usr/bin/tool\n50\n\n");
            host.link("/usr/local/bin/t", "/etc/alternatives/t");
            host.write(OVERRIDES, "root ssl-cert 710 /etc/ssl/private\n");
            host
        }

        fn outside(&self, path: &str) -> std::path::PathBuf {
            let path = self.0.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        }

        fn write(&self, path: &str, text: &str) {
            fs::write(self.outside(path), text).unwrap();
        }

        fn link(&self, path: &str, target: &str) {
            symlink(target, self.outside(path)).unwrap();
        }

        /// What is told of these new files and of the packages.
        fn told(&self, paths: &[&str], more: Vec<Finding>) -> Vec<String> {
            let mut findings = more;
            for path in paths {
                let link = fs::read_link(self.outside(path)).ok();
                let what = link.map(|target| EntryKind::Link { target: target.display().to_string() });
                let plain = entry("x", 0o644, 0, 1);
                let kind = if path.starts_with("/var/lib/dpkg") { Kind::Packages } else { Kind::WayOut };
                let now = Entry { kind, what: what.unwrap_or(plain.what.clone()), ..plain };
                findings.extend(difference(path, None, Some(&now), Map::Places));
            }
            explained(self.0.path(), findings).iter().map(Finding::line).collect()
        }
    }

    fn account_finding(path: &str, tail: &str) -> Finding {
        let now = Entry { kind: Kind::Accounts, ..entry("x", 0o644, 0, 1) };
        let finding = difference(path, None, Some(&now), Map::Places).unwrap();
        Finding { verb: "changed ".into(), tail: format!(": {tail}"), ..finding }
    }

    const RUN: [&str; 3] = [
        "/var/lib/dpkg/info/ca-certificates.list",
        "/var/lib/dpkg/info/ssl-cert.list",
        "/var/lib/dpkg/status",
    ];
    const PRODUCTS: [&str; 9] = [
        OVERRIDES,
        "/etc/ssl/certs/one.pem",
        "/etc/ssl/certs/0a.0",
        "/etc/ssl/certs/0b.0",
        BUNDLE,
        SELECTION,
        MADE[0].1,
        MADE[1].1,
        "/var/lib/dpkg/alternatives/tool",
    ];

    #[test]
    fn what_the_scripts_of_one_run_made_is_in_its_line_and_a_plant_among_it_is_not() {
        let host = Host::new();
        if fs::metadata(host.0.path()).unwrap().uid() != 0 {
            // What is not root's is nobody's.
            return;
        }
        let paths = [RUN.as_slice(), PRODUCTS.as_slice()].concat();
        let group = "group ssl-cert added (gid 104)";
        let told = host.told(&paths, vec![account_finding("/etc/group", group)]);
        assert_eq!(told.len(), 1, "{told:#?}");
        for made in ["group ssl-cert", BUNDLE, SELECTION, MADE[0].1, "/var/lib/dpkg/alternatives/tool"] {
            assert!(told[0].contains(made) && told[0].contains("; made by their scripts: "), "{told:#?}");
        }
        // Each of these, with all of the rest as it should be.
        host.write("/etc/ssl/certs/evil.pem", EVIL);
        host.link("/etc/ssl/certs/0c.0", "evil.pem");
        let with = |more: &[&str]| host.told(&[paths.as_slice(), more].concat(), Vec::new());
        let told = with(&["/etc/ssl/certs/evil.pem", "/etc/ssl/certs/0c.0"]);
        assert_eq!(
            told[..2],
            ["added link /etc/ssl/certs/0c.0 to evil.pem", "added /etc/ssl/certs/evil.pem"],
            "{told:#?}"
        );
        host.write(BUNDLE, &format!("{ONE}{EVIL}{TWO}"));
        assert_eq!(with(&[])[0], format!("added {BUNDLE}"));
        host.write(BUNDLE, &format!("{ONE}{TWO}"));
        host.write(SELECTION, "m/one.crt\n../../../etc/ssl/certs/evil.pem\n");
        assert_eq!(with(&[])[0], format!("added {SELECTION}"));
        host.write(SELECTION, "m/one.crt\n");
        host.write("/var/lib/dpkg/alternatives/tool", "auto\n/usr/local/bin/t\n\n/tmp/evil\n60\n\n");
        assert_eq!(with(&[])[0], "added /var/lib/dpkg/alternatives/tool");
        host.write("/var/lib/dpkg/alternatives/tool", "auto\n/usr/local/bin/t\n\n/usr/bin/tool\n50\n\n");
        let accounts =
            "group ssl-cert added (gid 104); account zoe added (uid 0, gid 0, home /root, shell /bin/sh)";
        let told = host.told(&paths, vec![account_finding("/etc/passwd", accounts)]);
        assert_eq!(
            told[0],
            "changed /etc/passwd: account zoe added (uid 0, gid 0, home /root, shell /bin/sh)"
        );
        assert_eq!(told.len(), 2, "{told:#?}");
    }

    #[test]
    fn what_a_package_makes_is_a_finding_where_the_package_did_not_come() {
        let host = Host::new();
        for at in PRODUCTS {
            let told = host.told(&[at], Vec::new());
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].starts_with("added "), "{told:?}");
        }
        // Another package came; these did not. Any package may override a mode.
        host.write(&format!("{INFO}other.list"), "/.\n");
        let run = ["/var/lib/dpkg/info/other.list", "/var/lib/dpkg/status"];
        for at in PRODUCTS.into_iter().filter(|at| *at != OVERRIDES) {
            let told = host.told(&[run.as_slice(), &[at]].concat(), Vec::new());
            assert!(told.len() == 2 && told[0].starts_with("added "), "{told:?}");
        }
    }

    #[test]
    fn only_a_system_account_that_lets_nobody_in_is_a_product() {
        for (phrase, name) in [
            ("group ssl-cert added (gid 104)", "ssl-cert"),
            ("the shadow of group ssl-cert added (no password fits)", "ssl-cert"),
            ("account x added (uid 999, gid 999, home /nonexistent, shell /usr/sbin/nologin)", "x"),
            ("the password of account x added (no password fits)", "x"),
        ] {
            assert_eq!(system_account(phrase), Some(name));
        }
        for phrase in [
            "group ssl-cert added (gid 104, members mallory)",
            "group ssl-cert added (gid 0)",
            "group ssl-cert gained mallory",
            "group ssl-cert changed from gid 104 to gid 0",
            "account x added (uid 0, gid 999, home /root, shell /usr/sbin/nologin)",
            "account x added (uid 998, gid 999, home /, shell /bin/bash)",
            "account x added (uid 998, gid 999, home /, shell /usr/sbin/nologin, no password)",
            "the password of account x added (a password)",
            "the password of account x added (no password needed)",
            "the shadow of group x added (no password fits, members administrator mallory)",
        ] {
            assert_eq!(system_account(phrase), None, "{phrase}");
        }
    }
}
