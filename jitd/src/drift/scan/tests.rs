//! The scan finds what is planted, and nothing that is planted can block it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::fs::{FileType, Mode, OFlags};

use super::*;
use crate::drift::diff::diff;
use crate::drift::grouping::lines;

const PASSWD: &str =
    "root:x:0:0::/root:/bin/sh\ndave:x:2004:2004::/home/dave:/bin/sh\nlp:x:7:7::/nowhere:/bin/false\n";

struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        tree.write("/etc/passwd", PASSWD);
        for folder in
            ["/etc/sudoers.d", "/root", "/home/dave/.ssh", "/var/tmp", "/usr/lib/x86_64-linux-gnu/security"]
        {
            fs::create_dir_all(tree.path(folder)).unwrap();
        }
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, content: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), content).unwrap();
    }

    fn scan(&self) -> Snapshot {
        let paths = ["/var/tmp", "/usr", "/absent"].map(PathBuf::from);
        files(self.0.path(), BootId("a".into()), &paths).0
    }

    fn told_after(&self, plant: impl FnOnce(&Self)) -> Vec<String> {
        let before = self.scan();
        plant(self);
        lines(&diff(&before, &self.scan())).into_iter().map(|line| line.text).collect()
    }
}

fn make_fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}

/// A line without the owner: the owner of the test's files is not known.
fn without_owner(line: &str) -> String {
    line.split(", owned by").next().unwrap().to_owned()
}

#[test]
fn what_is_planted_is_found_wherever_it_is() {
    let tree = Tree::new();
    let told = tree.told_after(|tree| {
        tree.write("/etc/passwd", &format!("{PASSWD}toor:x:0:0::/root:/bin/sh\n"));
        tree.write("/etc/sudoers.d/zz", "dave ALL=(ALL) NOPASSWD: ALL");
        tree.write("/root/.ssh/authorized_keys", "ssh-ed25519 AAAA");
        tree.write("/home/dave/.config/systemd/user/x.service", "[Service]");
        tree.write("/usr/lib/x86_64-linux-gnu/security/pam_evil.so", "ELF");
        tree.write("/run/systemd/transient/run-u1.service", "[Service]");
        tree.write("/run/systemd/transient/session-9.scope", "[Scope]");
        tree.write("/run/systemd/transient/session-9.scope.d/x.conf", "[Scope]");
        tree.write("/run/systemd/transient/jit-7.scope", "[Scope]\nRuntimeMaxSec=30min\n");
        tree.write("/run/systemd/transient/jit-8.scope", "[Scope]\nRuntimeMaxSec=infinity\n");
        tree.write("/run/systemd/transient/jit-7.scope.d/x.conf", "[Scope]\nRuntimeMaxSec=infinity\n");
        tree.write("/var/tmp/a/b/bash", "ELF");
        fs::set_permissions(tree.path("/var/tmp/a/b/bash"), fs::Permissions::from_mode(0o4755)).unwrap();
    });
    let told: BTreeSet<String> = told.iter().map(|line| without_owner(line)).collect();
    for expected in [
        "changed /etc/passwd: account toor added (uid 0, gid 0, home /root, shell /bin/sh)",
        "added /etc/sudoers.d/zz",
        "added /root/.ssh/authorized_keys",
        "added /home/dave/.config/systemd/user/x.service",
        "added /usr/lib/x86_64-linux-gnu/security/pam_evil.so",
        "added /run/systemd/transient/run-u1.service",
        "added setuid /var/tmp/a/b/bash",
    ] {
        assert!(told.contains(expected), "{expected} is missing in {told:#?}");
    }
    // Only logind knows whether the login exists; see `processes::without_logins`.
    for told_too in ["session-9.scope", "session-9.scope.d/x.conf", "jit-8.scope", "jit-7.scope.d/x.conf"] {
        assert!(told.contains(&format!("added /run/systemd/transient/{told_too}")), "{told_too}: {told:#?}");
    }
    assert!(!told.contains("added /run/systemd/transient/jit-7.scope"), "{told:#?}");
}

#[test]
fn nothing_is_found_where_nothing_changed() {
    let tree = Tree::new();
    tree.write("/etc/pam.d/sudo", "account required pam_jit.so gate");
    assert_eq!(
        tree.told_after(|tree| tree.write("/etc/pam.d/sudo", "account required pam_jit.so gate")),
        [""; 0]
    );
    assert_eq!(tree.told_after(|tree| tree.write("/var/tmp/plain", "x")), [""; 0]);
}

#[test]
fn a_content_of_the_same_length_and_times_is_another_one() {
    let tree = Tree::new();
    tree.write("/etc/pam.d/sudo", "one");
    let times = fs::metadata(tree.path("/etc/pam.d/sudo")).unwrap().modified().unwrap();
    let told = tree.told_after(|tree| {
        tree.write("/etc/pam.d/sudo", "two");
        fs::File::options()
            .write(true)
            .open(tree.path("/etc/pam.d/sudo"))
            .unwrap()
            .set_modified(times)
            .unwrap();
    });
    assert_eq!(told, ["changed /etc/pam.d/sudo: its content"]);
}

/// None of these may be followed, waited for or missed.
#[test]
fn links_fifos_and_what_cannot_be_looked_at_are_taken_down() {
    let tree = Tree::new();
    fs::create_dir(tree.path("/elsewhere")).unwrap();
    let told = tree.told_after(|tree| {
        make_fifo(&tree.path("/etc/sudoers.d/fifo"));
        symlink("/elsewhere/\u{1b}[2J", tree.path("/etc/sudoers.d/link")).unwrap();
        symlink(".", tree.path("/etc/sudoers.d/loop")).unwrap();
        fs::remove_dir(tree.path("/home/dave/.ssh")).unwrap();
        symlink("/elsewhere", tree.path("/home/dave/.ssh")).unwrap();
        make_fifo(&tree.path("/var/tmp/fifo"));
        symlink("/", tree.path("/var/tmp/link")).unwrap();
    });
    let told: Vec<String> = told.iter().map(|line| without_owner(line)).collect();
    assert_eq!(told.len(), 4, "{told:#?}");
    assert!(told.contains(&"added special file /etc/sudoers.d/fifo".to_owned()), "{told:#?}");
    assert!(
        told.contains(&"added link /etc/sudoers.d/link to '/elsewhere/\\u{1b}[2J'".to_owned()),
        "{told:#?}"
    );
    assert!(told.contains(&"added link /etc/sudoers.d/loop to .".to_owned()), "{told:#?}");
    assert!(
        told.contains(&"changed link /home/dave/.ssh: it links to /elsewhere now".to_owned()),
        "{told:#?}"
    );
}

#[test]
fn a_place_that_is_a_link_itself_is_followed() {
    let tree = Tree::new();
    fs::create_dir(tree.path("/elsewhere")).unwrap();
    symlink(tree.path("/elsewhere"), tree.path("/etc/cron.d")).unwrap();
    let told = tree.told_after(|tree| tree.write("/elsewhere/plant", "* * * * * root sh"));
    assert_eq!(told.iter().map(|line| without_owner(line)).collect::<Vec<_>>(), ["added /etc/cron.d/plant"]);
}

/// FOUND D5: deeper than the number of descriptors and the longest path.
#[test]
fn a_setuid_file_is_found_however_deep_it_lies() {
    use std::os::fd::AsFd;
    const DEPTH: usize = 1200;
    let tree = Tree::new();
    let told = tree.told_after(|tree| {
        let mut folder =
            rustix::fs::open(tree.path("/var/tmp"), OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty())
                .unwrap();
        for _ in 0..DEPTH {
            rustix::fs::mkdirat(folder.as_fd(), "ddddd", Mode::RWXU).unwrap();
            folder = rustix::fs::openat(
                folder.as_fd(),
                "ddddd",
                OFlags::DIRECTORY | OFlags::RDONLY,
                Mode::empty(),
            )
            .unwrap();
        }
        let mode = Mode::from_raw_mode(0o4755);
        let file = rustix::fs::openat(folder.as_fd(), "bash", OFlags::CREATE | OFlags::WRONLY, mode).unwrap();
        rustix::fs::fchmod(&file, mode).unwrap();
        tree.write("/var/tmp/e/bash", "ELF");
        fs::set_permissions(tree.path("/var/tmp/e/bash"), fs::Permissions::from_mode(0o4755)).unwrap();
    });
    assert_eq!(told.len(), 2, "{}", told.len());
    assert!(told.iter().any(|line| line.starts_with("added setuid /var/tmp/e/bash")), "after the deep one");
    // The line is cut; the snapshot has the whole path.
    let deep = tree.scan().privileged.into_keys().find(|path| path.ends_with("ddddd/bash")).unwrap();
    assert_eq!(deep.matches("/ddddd").count(), DEPTH);
}

#[test]
fn too_many_files_in_a_home_are_left_and_said() {
    let tree = Tree::new();
    let told = tree.told_after(|tree| {
        for n in 0..=256 {
            tree.write(&format!("/home/dave/.config/systemd/user/{n}.service"), "");
        }
    });
    assert!(told.iter().any(|line| line.contains("it holds too much")), "{told:#?}");
}

/// FOUND D4: a user who may write a folder above a watched path, or a program, can replace it.
#[test]
fn who_may_write_is_found_in_folders_above_and_in_the_systems_folders() {
    let tree = Tree::new();
    tree.write("/usr/sbin/tool", "ELF");
    fs::create_dir_all(tree.path("/usr/lib/deep/er")).unwrap();
    let told = tree.told_after(|tree| {
        for (path, mode) in
            [("/etc", 0o777), ("/usr/sbin/tool", 0o757), ("/usr/lib/deep/er", 0o703), ("/var", 0o777)]
        {
            fs::set_permissions(tree.path(path), fs::Permissions::from_mode(mode)).unwrap();
        }
    });
    let all = told.join("\n");
    for expected in [
        "changed folder /etc: mode 0755 became 0777",
        "/usr/sbin/tool",
        "folder /usr/lib/deep/er",
        "/var: mode",
    ] {
        assert!(all.contains(expected), "{expected} is missing in {told:#?}");
    }
}

#[test]
fn a_file_that_is_too_large_to_be_read_is_known_by_its_times() {
    let tree = Tree::new();
    let large = "x".repeat(watched_paths::MAX_READ as usize + 1);
    tree.write("/etc/sudoers", &large);
    assert_eq!(tree.told_after(|_| ()), [""; 0]);
    let told = tree.told_after(|tree| tree.write("/etc/sudoers", &large));
    assert_eq!(told, ["changed /etc/sudoers: its inode, size or times; contents were not compared"]);
}
