//! Backups and snapshots that take the key of the seal along.

use jit_host::program::output_of;

use super::seal::KEY;
use crate::doctor::finding::{Check, Look, quoted};
use crate::doctor::host::Host;

pub(super) const CHECK: Check =
    Check { name: "backups", looks_at: "the configurations of backup programs", look };

const WHY: &str =
    "who reads a backup has a key of the seal of that day, and can write every later record anew";

/// A backup program: where it is configured, and what keeps the key out.
struct Program {
    name: &'static str,
    /// Files, and folders whose files are all read.
    files: &'static [&'static str],
    /// A line without one of these words is not this program's.
    words: &'static [&'static str],
    /// The command that leaves the key out, for a file.
    exclude: fn(&str, &str) -> String,
}

const JOBS: [&str; 9] = [
    "/etc/crontab",
    "/etc/cron.d",
    "/etc/cron.hourly",
    "/etc/cron.daily",
    "/etc/cron.weekly",
    "/etc/cron.monthly",
    "/var/spool/cron/crontabs",
    "/etc/systemd/system",
    "/usr/local/sbin",
];

const PROGRAMS: [Program; 7] = [
    Program {
        name: "borgmatic",
        files: &["/etc/borgmatic/config.yaml", "/etc/borgmatic.d"],
        words: &[],
        exclude: |file, text| match text.lines().any(|line| line.starts_with("exclude_patterns:")) {
            true => format!("sed -i '/^exclude_patterns:/a\\    - {KEY}' {file}"),
            false => format!("printf 'exclude_patterns:\\n    - {KEY}\\n' >>{file}"),
        },
    },
    Program {
        name: "restic",
        files: &JOBS,
        words: &["restic", "backup"],
        exclude: |file, _| option(file, "backup"),
    },
    Program {
        name: "duplicity",
        files: &JOBS,
        words: &["duplicity"],
        exclude: |file, _| option(file, "duplicity"),
    },
    Program {
        name: "tarsnap",
        files: &JOBS,
        words: &["tarsnap"],
        exclude: |file, _| option(file, "tarsnap"),
    },
    Program {
        name: "rsnapshot",
        files: &["/etc/rsnapshot.conf"],
        words: &["backup"],
        exclude: |file, _| format!("printf 'exclude\\t{KEY}\\n' >>{file}"),
    },
    Program {
        name: "bacula",
        files: &["/etc/bacula/bacula-dir.conf", "/etc/bacula/conf.d"],
        words: &["File"],
        exclude: |file, _| {
            format!("sed -i '/^[[:space:]]*FileSet[[:space:]]*{{/a\\  Exclude {{ File = {KEY} }}' {file}")
        },
    },
    Program {
        name: "duply",
        files: &["/etc/duply"],
        words: &["SOURCE"],
        exclude: |file, _| format!("printf -- '- {KEY}\\n' >>{}", file.replace("/conf", "/exclude")),
    },
];

/// The option `--exclude` behind the first such word of each line that has it.
fn option(file: &str, behind: &str) -> String {
    format!("sed -i '/^[[:space:]]*#/!s|\\b{behind} |{behind} --exclude={KEY} |' {file}")
}

fn look(host: &Host, look: &mut Look) {
    for program in &PROGRAMS {
        for place in program.files {
            match files(host, place) {
                Ok(files) => files.iter().for_each(|file| read(host, program, file, look)),
                Err(why) => look.unseen(*place, why),
            }
        }
    }
    snapshots(host, look);
}

/// A file, or the files of a folder and of the folders in it.
fn files(host: &Host, place: &str) -> std::io::Result<Vec<String>> {
    match host.meta(place)? {
        Some(meta) if meta.is_dir() => {}
        Some(meta) if meta.is_file() => return Ok(vec![place.to_owned()]),
        _ => return Ok(Vec::new()),
    }
    let mut found = Vec::new();
    for file in host.list(place)? {
        match host.meta(&file)? {
            Some(meta) if meta.is_file() => found.push(file),
            Some(meta) if meta.is_dir() => {
                for file in host.list(&file)? {
                    if host.meta(&file)?.is_some_and(|meta| meta.is_file()) {
                        found.push(file);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

fn read(host: &Host, program: &Program, file: &str, look: &mut Look) {
    match host.read(file) {
        Ok(text) => judge(program, file, &text.unwrap_or_default(), look),
        Err(why) => look.unseen(file, why),
    }
}

fn judge(program: &Program, file: &str, text: &str, look: &mut Look) {
    let said = || text.lines().filter(|line| !line.trim_start().starts_with('#'));
    // Left out by its name, by its folder, or by a pattern of it: what is excluded is named beside the word.
    let excluded = said().any(|line| {
        let line = line.trim();
        let is_exclusion = line.contains("xclude") || line.starts_with("- /var/lib/jitd");
        is_exclusion && (line.contains("/var/lib/jitd") || line.contains("seal.key"))
    });
    let takes = |line: &&str| program.words.iter().all(|word| line.contains(word)) && names_a_parent(line);
    if let Some(line) = said().find(takes).filter(|_| !excluded) {
        look.open(
            format!("backups/{}/{file}", program.name),
            format!("{file} has {} back up {KEY}: {}", program.name, line.trim()),
            WHY,
            (program.exclude)(&quoted(file), text),
        );
    }
}

/// Whether a line names the key's folder or one above it as a word.
fn names_a_parent(line: &str) -> bool {
    let words = line.split(|c: char| c.is_whitespace() || "\"'=,;[]{}()".contains(c));
    let mut paths = words.filter(|word| word.starts_with('/')).map(|word| word.trim_end_matches('/'));
    paths.any(|path| KEY == path || KEY.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')))
}

/// Programs that keep snapshots of file systems, and where they are configured.
const SNAPSHOTS: [(&str, &str); 4] = [
    ("snapper", "/etc/snapper/configs"),
    ("timeshift", "/etc/timeshift/timeshift.json"),
    ("sanoid", "/etc/sanoid/sanoid.conf"),
    ("btrbk", "/etc/btrbk/btrbk.conf"),
];

fn snapshots(host: &Host, look: &mut Look) {
    let Some((program, file)) = SNAPSHOTS.into_iter().find(|(_, file)| host.has(file)) else { return };
    match output_of("/usr/bin/stat", &["--file-system", "--format=%T", "/var/lib/jitd"]) {
        Ok(kind) if ["btrfs", "zfs"].contains(&kind.trim()) => look.open(
            "backups/snapshots",
            format!("/var/lib/jitd is on {}, and {program} keeps snapshots ({file})", kind.trim()),
            WHY,
            "systemctl stop jitd.service && mv /var/lib/jitd /var/lib/jitd.old && btrfs subvolume create /var/lib/jitd && \
             cp -a /var/lib/jitd.old/. /var/lib/jitd && systemctl start jitd.service",
        ),
        Ok(_) => {}
        Err(why) => look.unseen("whether snapshots hold the key of the seal", why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, text: &str) -> Option<String> {
        let program = PROGRAMS.iter().find(|program| program.name == name).unwrap();
        let mut look = Look::default();
        judge(program, "/etc/x", text, &mut look);
        look.findings.first().map(|found| found.mend.clone())
    }

    #[test]
    fn what_takes_the_key_along_is_told_with_what_leaves_it_out() {
        for (name, text) in [
            ("borgmatic", "source_directories:\n    - /home\n    - /var\n"),
            ("borgmatic", "exclude_patterns:\n    - /var/cache\nsource_directories:\n    - /\n"),
            ("restic", "0 3 * * * root restic -r /srv/r backup /etc /var/lib\n"),
            ("duplicity", "duplicity full / file:///mnt\n"),
            ("tarsnap", "tarsnap -c -f x /var/lib/jitd\n"),
            ("rsnapshot", "backup\t/var/\tlocalhost/\n"),
            ("bacula", "FileSet {\n  Include { Options {}\n File = /var }\n}\n"),
        ] {
            let mend = told(name, text);
            assert!(mend.as_ref().is_some_and(|mend| mend.contains(KEY)), "{name}: {mend:?}");
        }
    }

    #[test]
    fn what_leaves_the_key_out_or_does_not_reach_it_is_not_told() {
        for (name, text) in [
            ("borgmatic", "source_directories:\n    - /home\n"),
            ("borgmatic", "source_directories:\n    - /\nexclude_patterns:\n    - /var/lib/jitd/seal.key\n"),
            ("restic", "#0 3 * * * root restic backup /\n"),
            ("restic", "restic backup --exclude=/var/lib/jitd/seal.key /\n"),
            ("restic", "restic backup /var/library\n"),
            ("rsnapshot", "backup\t/\tlocalhost/\nexclude\t/var/lib/jitd/\n"),
        ] {
            assert_eq!(told(name, text), None, "{name}: {text}");
        }
    }
}
