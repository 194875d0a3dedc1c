//! The account that tries: nobody's, locked, without a shell; and how it runs a program on files that only that run sees.
//!
//! A rule that lets it through would be dangerous on this host, so there is none. Each try has a mount namespace of its own
//! (unshare(1)), in which a copy of sudoers or doas.conf has one more rule: the account may become itself. That is no
//! privilege, and the namespace ends with the try, however that ends.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jit_host::program::{Ended, output_of, run};
use jit_proto::identity::PROBE_ACCOUNT;

/// What makes the account, where it is missing or is not as it has to be.
const MAKE: &str = "systemd-sysusers jitd.conf";
const FOLDER: &str = "/run/jitd-doctor.";
/// A try that hangs is ended after so many seconds.
const LIMIT: &str = "30";
/// Puts each file over the one that it stands for, then becomes the account and runs the words behind `--`.
const SCRIPT: &str = "while [ \"$1\" != -- ]; do /usr/bin/mount --bind \"$1\" \"$2\" || exit 125; shift 2; done; shift; \
    exec /usr/bin/setpriv --reuid=\"$0\" --regid=\"$0\" --clear-groups -- \"$@\"";

/// The account, as it has to be, and a folder for the files of its tries. The folder goes with this value.
#[derive(Debug)]
pub(super) struct Probe {
    folder: PathBuf,
}

impl Probe {
    /// Looks at the account and makes the folder.
    ///
    /// # Errors
    /// A sentence: the account is missing or could log in, or the folder cannot be made.
    pub(super) fn ready() -> Result<Self, String> {
        let of = |what: &str| output_of("/usr/bin/getent", &[what, PROBE_ACCOUNT]);
        let account =
            of("passwd").map_err(|_| format!("there is no account {PROBE_ACCOUNT}; type: {MAKE}"))?;
        let secret = of("shadow").map_err(|_| format!("{PROBE_ACCOUNT} has no line in shadow"))?;
        let groups = output_of("/usr/bin/id", &["-G", PROBE_ACCOUNT])?;
        is_harmless(&account, &secret, &groups)?;
        let parent = Path::new(FOLDER).parent().unwrap_or(Path::new("/run"));
        remove_left_behind(parent);
        let folder = PathBuf::from(format!("{FOLDER}{}", std::process::id()));
        let made = DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|why| format!("{} cannot be made: {why}", folder.display()))?;
        Ok(Self { folder })
    }

    /// Runs a program as the account, with files of its own over some of the host's.
    ///
    /// # Errors
    /// A sentence: a file cannot be written, or the program cannot be run.
    pub(super) fn run(&self, files: &[(&str, String)], program: &[&str]) -> Result<Ended, String> {
        let mut words: Vec<String> = [
            "-k",
            "2",
            LIMIT,
            "/usr/bin/unshare",
            "--mount",
            "--propagation",
            "private",
            "--",
            "/bin/sh",
            "-c",
            SCRIPT,
        ]
        .map(str::to_owned)
        .to_vec();
        words.push(PROBE_ACCOUNT.to_owned());
        for (number, (over, text)) in files.iter().enumerate() {
            let file = self.folder.join(number.to_string());
            write(&file, text).map_err(|why| format!("{} cannot be written: {why}", file.display()))?;
            words.extend([file.display().to_string(), (*over).to_owned()]);
        }
        words.push("--".to_owned());
        words.extend(program.iter().map(|word| (*word).to_owned()));
        let ended = run("/usr/bin/timeout", &words.iter().map(String::as_str).collect::<Vec<_>>());
        for number in 0..files.len() {
            // The folder goes with the whole run anyway.
            let _ = fs::remove_file(self.folder.join(number.to_string()));
        }
        ended
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // What stays is a text that no program reads; the next run removes it.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A file that sudo, doas and PAM take: root's, and nobody else may read it or write it.
fn write(file: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o400).open(file)?.write_all(text.as_bytes())
}

/// Removes the folders of runs that were killed.
fn remove_left_behind(parent: &Path) {
    let Some(begin) = Path::new(FOLDER).file_name().and_then(|name| name.to_str()) else { return };
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(begin).filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // As for the folder of this run.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether nobody can log in as the account, and it has nothing: its lines of passwd(5) and shadow(5), and its groups.
fn is_harmless(account: &str, secret: &str, groups: &str) -> Result<(), String> {
    let fields: Vec<&str> = account.trim().split(':').collect();
    let [name, _, uid, gid, _, _, shell] = fields.as_slice() else {
        return Err(format!("the line of {PROBE_ACCOUNT} in passwd is not understood: {account:?}"));
    };
    let no_shell = shell.ends_with("/nologin") || shell.ends_with("/false");
    let locked = secret.split(':').nth(1).is_some_and(|hash| hash.starts_with(['!', '*']));
    let problem = match () {
        () if *name != PROBE_ACCOUNT => "is another account",
        () if uid.parse() == Ok(0_u32) || gid.parse() == Ok(0_u32) => "is root",
        () if !no_shell => "has a shell",
        () if !locked => "has a password, or needs none",
        () if groups.split_whitespace().any(|group| group != *gid) => "is in groups beside its own",
        () => return Ok(()),
    };
    Err(format!(
        "{PROBE_ACCOUNT} {problem}, so that nothing is tried as it; type: userdel {PROBE_ACCOUNT}; {MAKE}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_tried_as_an_account_that_is_somebodys() {
        let account = "jit-doctor:x:990:990:Probe:/:/usr/sbin/nologin\n";
        let locked = "jit-doctor:!*:20000::::::\n";
        assert_eq!(is_harmless(account, locked, "990\n"), Ok(()));
        for (account, secret, groups, part) in [
            (account.replace("nologin", "bash"), locked, "990", "has a shell"),
            (account.replace("990:990", "0:990"), locked, "990", "is root"),
            (account.to_owned(), "jit-doctor:$y$x:1:\n", "990", "has a password"),
            (account.to_owned(), "jit-doctor::1:\n", "990", "needs none"),
            (account.to_owned(), locked, "990 27", "groups"),
            ("jit-doctor:x\n".to_owned(), locked, "990", "not understood"),
        ] {
            let why = is_harmless(&account, secret, groups).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
    }
}
