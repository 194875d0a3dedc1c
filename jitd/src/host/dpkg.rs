//! Reads what dpkg knows of its packages: its `.list` and `.md5sums` files, and the hashes of configuration files.
//!
//! These files are on the host, so root can change them too, and they cover no modes, owners or links.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use md5::{Digest, Md5};

pub(crate) const INFO: &str = "/var/lib/dpkg/info/";
pub(crate) const STATUS: &str = "/var/lib/dpkg/status";
/// The folder of a package's files about itself while dpkg unpacks it.
const UNPACKED_CONTROL: &str = "/var/lib/dpkg/tmp.ci/control";
const UNPACKED_SUMS: &str = "/var/lib/dpkg/tmp.ci/md5sums";
/// As many links are followed one after the other.
const MAX_LINKS: usize = 8;
/// Bytes read of a file to compare it.
const MAX_READ: u64 = 256 << 20;
/// Bytes read of dpkg's own files.
const MAX_READ_OF_A_LIST: u64 = 64 << 20;

/// dpkg's data about some packages.
#[derive(Debug, Default)]
pub(crate) struct Shipped {
    /// Their names in dpkg's files.
    pub(crate) packages: BTreeSet<String>,
    /// All their paths.
    paths: BTreeSet<String>,
    /// The MD5 of each plain file, and its package.
    pub(crate) sums: BTreeMap<String, (String, String)>,
}

impl Shipped {
    /// Reads dpkg's data about these packages, below the root of a host.
    pub(crate) fn of<'a>(root: &Path, packages: impl Iterator<Item = &'a str>) -> Self {
        let mut shipped = Self::default();
        let packages: Vec<&str> = packages.collect();
        for package in &packages {
            let name = package.split(':').next().unwrap_or(package);
            for line in text(root, &format!("{INFO}{package}.list")).lines() {
                shipped.paths.insert(merged(line));
            }
            for (path, sum) in sums_of(root, &format!("{INFO}{package}.md5sums")) {
                shipped.sums.insert(path, (sum, name.to_owned()));
            }
        }
        shipped.packages = packages.iter().map(|package| (*package).to_owned()).collect();
        let names: BTreeSet<&str> =
            packages.iter().map(|name| name.split(':').next().unwrap_or(name)).collect();
        shipped.conffiles(root, &names);
        shipped
    }

    /// The hashes of shipped configuration files (deb-conffiles(5); dpkg-query(1), `Conffiles`).
    fn conffiles(&mut self, root: &Path, names: &BTreeSet<&str>) {
        let (mut name, mut within) = (String::new(), false);
        for line in text(root, STATUS).lines() {
            if let Some(package) = line.strip_prefix("Package: ") {
                package.clone_into(&mut name);
            }
            within = line == "Conffiles:" || within && line.starts_with(' ');
            let mut words = line.split_whitespace();
            if within
                && names.contains(name.as_str())
                && let (Some(path), Some(sum)) = (words.next(), words.next())
                && path.starts_with('/')
            {
                self.paths.insert(path.to_owned());
                self.sums.insert(path.to_owned(), (sum.to_owned(), name.clone()));
            }
        }
    }

    /// Whether a package is one of these.
    pub(crate) fn is_of(&self, package: &str) -> bool {
        self.packages.iter().any(|name| name.split(':').next() == Some(package))
    }

    /// Whether a path is one of these packages'.
    pub(crate) fn is_path(&self, path: &str) -> bool {
        self.paths.contains(&merged(path))
    }

    /// Whether a link leads to a path, over other links.
    pub(crate) fn leads_to(root: &Path, path: &str, wanted: &str) -> bool {
        links(root, path).any(|target| target == wanted)
    }

    /// Whether these packages ship what is at a path: a file with its contents, a folder, or a link that leads to
    /// one of their paths.
    pub(crate) fn has(&self, root: &Path, path: &str) -> bool {
        let outside = root.join(path.trim_start_matches('/'));
        let Ok(meta) = fs::symlink_metadata(&outside) else { return false };
        if meta.is_dir() {
            return self.paths.contains(path);
        }
        if meta.is_symlink() {
            return links(root, path).any(|target| self.paths.contains(&target) && target != path);
        }
        let real = merged(path);
        self.sums.get(&real).is_some_and(|(sum, _)| md5_of(&outside).as_ref() == Some(sum))
    }
}

/// Where a link leads, one link after the other, as far as there is another one.
fn links(root: &Path, path: &str) -> impl Iterator<Item = String> {
    let next = |path: &String| {
        let target = fs::read_link(root.join(path.trim_start_matches('/'))).ok()?;
        Some(merged(&plain(Path::new(path), &target)))
    };
    std::iter::successors(next(&path.to_owned()), next).take(MAX_LINKS)
}

/// Whether a package ships the plain file at this path with its present contents, and only root may write it. While
/// dpkg unpacks a package, the new checksums are still in `tmp.ci`.
pub(crate) fn is_shipped_by(root: &Path, package: &str, path: &Path) -> bool {
    let outside = root.join(path.strip_prefix("/").unwrap_or(path));
    let is_roots = |meta: fs::Metadata| meta.is_file() && meta.uid() == 0 && meta.mode() & 0o022 == 0;
    if !fs::symlink_metadata(&outside).is_ok_and(is_roots) {
        return false;
    }
    let unpacked = is_unpacked(root, package).then(|| UNPACKED_SUMS.to_owned());
    let lists = [Some(format!("{INFO}{package}.md5sums")), unpacked];
    let Some(sum) = md5_of(&outside) else { return false };
    let wanted = merged(&path.to_string_lossy());
    lists
        .into_iter()
        .flatten()
        .any(|list| sums_of(root, &list).any(|(path, its)| path == wanted && its == sum))
}

/// Whether dpkg unpacks a package now, or was killed while it did.
pub(crate) fn is_unpacked(root: &Path, package: &str) -> bool {
    text(root, UNPACKED_CONTROL).lines().any(|line| line == format!("Package: {package}"))
}

/// The paths and MD5s in a file of checksums.
fn sums_of(root: &Path, list: &str) -> impl Iterator<Item = (String, String)> + use<> {
    let lines: Vec<(String, String)> = text(root, list)
        .lines()
        .filter_map(|line| line.split_once(char::is_whitespace))
        .map(|(sum, path)| (merged(&format!("/{}", path.trim())), sum.to_owned()))
        .collect();
    lines.into_iter()
}

/// The packages that dpkg has files about.
pub(crate) fn packages(root: &Path) -> Vec<String> {
    let names = fs::read_dir(root.join(INFO.trim_start_matches('/'))).into_iter().flatten().flatten();
    names.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".list")?.to_owned())).collect()
}

/// The contents of one of dpkg's own files; empty if it cannot be read.
pub(crate) fn text(root: &Path, path: &str) -> String {
    let mut text = Vec::new();
    if let Ok(file) = File::open(root.join(path.trim_start_matches('/'))) {
        // A file that cannot be read proves nothing.
        let _ = file.take(MAX_READ_OF_A_LIST).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The MD5 of a plain file; `None` if it cannot be read, which equals nothing.
pub(crate) fn md5_of(path: &Path) -> Option<String> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut file = file.take(MAX_READ);
    let mut digest = Md5::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => digest.update(buffer.get(..length)?),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    Some(hex::encode(digest.finalize()))
}

/// A path with `/bin`, `/sbin` and `/lib` merged into `/usr`; dpkg's lists may have either form.
pub(crate) fn merged(path: &str) -> String {
    let is_old = ["/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/"].iter().any(|top| path.starts_with(top));
    if is_old { format!("/usr{path}") } else { path.to_owned() }
}

/// The target of a link at `path`; further links are not followed.
fn plain(path: &Path, target: &Path) -> String {
    let mut whole = PathBuf::from("/");
    let start = path.parent().unwrap_or(Path::new("/"));
    for part in start.join(target).components() {
        match part {
            Component::ParentDir => drop(whole.pop()),
            Component::Normal(name) => whole.push(name),
            _ => {}
        }
    }
    whole.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_package_is_known_by_its_content_also_while_it_is_unpacked() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        let unit = "usr/lib/systemd/system/jitd.service";
        let sums = |text: &str| format!("{}  {unit}\n", hex::encode(Md5::digest(text.as_bytes())));
        write(unit, "one");
        write("var/lib/dpkg/info/jitd.md5sums", &sums("one"));
        let is_shipped = || is_shipped_by(root.path(), "jitd", &Path::new("/").join(unit));
        // In tests the owner of files is not root, and they belong to no package.
        let by_root = fs::metadata(root.path()).unwrap().uid() == 0;
        assert_eq!(is_shipped(), by_root);
        write(unit, "two");
        assert!(!is_shipped());
        write("var/lib/dpkg/tmp.ci/md5sums", &sums("two"));
        write("var/lib/dpkg/tmp.ci/control", "Package: other\n");
        assert!(!is_shipped(), "another package is unpacked");
        write("var/lib/dpkg/tmp.ci/control", "Package: jitd\n");
        assert_eq!(is_shipped(), by_root);
    }

    #[test]
    fn a_link_is_followed_by_its_text_alone() {
        let plain = |path: &str, target: &str| plain(Path::new(path), Path::new(target));
        assert_eq!(plain("/etc/rc2.d/S01a", "../init.d/a"), "/etc/init.d/a");
        assert_eq!(plain("/etc/a", "/usr/b/../c"), "/usr/c");
        assert_eq!(plain("/etc/a", "../../../x"), "/x");
    }
}
