//! Unit files, and the programs that they start.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::drift::snapshot::UNIT_FOLDERS;

/// A cache of unit files.
#[derive(Default)]
pub(super) struct UnitFiles {
    files: BTreeMap<String, Option<String>>,
    runs: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    wrapped: BTreeMap<String, BTreeMap<String, String>>,
}

impl UnitFiles {
    pub(super) fn file(&mut self, unit: &str) -> Option<String> {
        if let Some(known) = self.files.get(unit) {
            return known.clone();
        }
        let template = unit.split_once('@').and_then(|(name, rest)| {
            let (_, suffix) = rest.rsplit_once('.')?;
            Some(format!("{name}@.{suffix}"))
        });
        let names = [Some(unit.to_owned()), template];
        let found = names.into_iter().flatten().find_map(|name| {
            UNIT_FOLDERS.iter().map(|folder| format!("{folder}/{name}")).find(|path| Path::new(path).exists())
        });
        // The file behind a link is compared; the link counts for the unit's name.
        self.files.insert(unit.to_owned(), found.clone());
        found
    }

    /// The programs that a unit's file and drop-ins name, and for scripts their possible interpreters.
    pub(super) fn runs(&mut self, file: &str) -> &BTreeMap<String, BTreeSet<String>> {
        self.runs.entry(file.to_owned()).or_insert_with(|| {
            let mut texts = vec![read(Path::new(file))];
            let name = file.rsplit_once('/').map_or(file, |(_, name)| name);
            for folder in UNIT_FOLDERS {
                let drop_ins = fs::read_dir(format!("{folder}/{name}.d"));
                texts.extend(drop_ins.into_iter().flatten().flatten().map(|entry| read(&entry.path())));
            }
            let lines = texts.iter().flat_map(|text| text.lines());
            let commands = lines.filter(|line| line.trim_start().starts_with("Exec"));
            let words = commands.flat_map(|line| line.split(['=', ' ', '\t', '"', ';', '\'']));
            let programs = words.map(|word| word.trim_start_matches(['@', '-', ':', '+', '!', '|']));
            let programs: BTreeSet<String> =
                programs.filter(|word| word.starts_with('/') && word.len() > 1).map(str::to_owned).collect();
            // The name can be a link, as /bin/sh is.
            let real =
                programs.iter().filter_map(|path| Some(fs::canonicalize(path).ok()?.to_str()?.to_owned()));
            let real: Vec<String> = real.collect();
            let all = programs.into_iter().chain(real);
            all.map(|path| {
                let interpreters = interpreters_of(&read_beginning(Path::new(&path)));
                (path, interpreters)
            })
            .collect()
        })
    }

    /// The programs that a unit's wrapper scripts name, each with its script: `apachectl`, the unit's program, starts
    /// `apache2`. Shells and interpreters that a script names are excluded.
    pub(super) fn wrapped(&mut self, file: &str) -> &BTreeMap<String, String> {
        if !self.wrapped.contains_key(file) {
            let scripts = self.runs(file).iter().filter(|(_, interpreters)| !interpreters.is_empty());
            // The file behind a link is compared.
            let real = |script: &String| Some(fs::canonicalize(script).ok()?.to_str()?.to_owned());
            let scripts: BTreeSet<String> = scripts.filter_map(|(script, _)| real(script)).collect();
            let named = scripts.into_iter().flat_map(|script| {
                let programs = programs_named_in(&read(Path::new(&script)));
                programs.into_iter().map(move |program| (program, script.clone()))
            });
            let named = named.collect();
            self.wrapped.insert(file.to_owned(), named);
        }
        self.wrapped.entry(file.to_owned()).or_default()
    }
}

/// Programs that a script may name, and that run what others tell them.
const INTERPRETERS: [&str; 12] =
    ["sh", "bash", "dash", "zsh", "ksh", "env", "busybox", "perl", "python", "ruby", "node", "php"];

/// The programs that a script names by their absolute paths, with links resolved.
fn programs_named_in(script: &str) -> BTreeSet<String> {
    let is_of_a_path = |c: char| c.is_ascii_alphanumeric() || "/._+@-".contains(c);
    let lines = script.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = lines.flat_map(|line| line.split(move |c| !is_of_a_path(c)));
    // `${HTTPD:-/usr/sbin/apache2}` is such a word too.
    let paths = words.map(|word| word.trim_start_matches('-')).filter(|word| word.starts_with('/'));
    let real = paths.filter_map(|path| {
        let real = fs::canonicalize(path).ok()?;
        let name = real.file_name()?.to_str()?;
        let is_interpreter = INTERPRETERS.iter().any(|interpreter| {
            name.strip_prefix(interpreter)
                .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '-'))
        });
        let is_program = fs::metadata(&real).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0);
        (is_program && !is_interpreter).then(|| real.to_str().map(str::to_owned))?
    });
    real.collect()
}

/// The possible interpreters of a script, by its first line (execve(2), "Interpreter scripts"), with links resolved;
/// none for other files.
fn interpreters_of(beginning: &[u8]) -> BTreeSet<String> {
    let line = beginning.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next());
    let line = line.map(String::from_utf8_lossy).unwrap_or_default();
    let mut words = line.split_whitespace();
    let Some(first) = words.next() else { return BTreeSet::new() };
    let named: Vec<String> = match first.rsplit('/').next() {
        Some("env") => {
            let name = words.find(|word| !word.starts_with('-') && !word.contains('='));
            let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];
            folders
                .iter()
                .zip(std::iter::repeat(name))
                .filter_map(|(at, name)| Some(format!("{at}/{}", name?)))
                .collect()
        }
        _ => vec![first.to_owned()],
    };
    let real = named.iter().filter_map(|path| Some(fs::canonicalize(path).ok()?.to_str()?.to_owned()));
    real.collect()
}

/// The first line of a file, and the rest of its first bytes; empty for a file that is not plain.
fn read_beginning(path: &Path) -> Vec<u8> {
    use std::io::Read;
    /// As the kernel does (linux/binfmts.h, `BINPRM_BUF_SIZE`).
    const BYTES: u64 = 256;
    let mut bytes = Vec::new();
    if fs::metadata(path).is_ok_and(|meta| meta.is_file())
        && let Ok(file) = fs::File::open(path)
    {
        // A file that cannot be read has no interpreter, and explains nothing.
        let _ = file.take(BYTES).read_to_end(&mut bytes);
    }
    bytes
}

fn read(path: &Path) -> String {
    use std::io::Read;
    const MAX_BYTES: u64 = 1 << 16;
    let mut text = String::new();
    if let Ok(file) = fs::File::open(path) {
        // A file that cannot be read names nothing, and explains nothing.
        let _ = file.take(MAX_BYTES).read_to_string(&mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_of_a_script_is_known_with_links_resolved() {
        let shell = fs::canonicalize("/bin/sh").unwrap().to_str().unwrap().to_owned();
        assert_eq!(interpreters_of(b"#!/bin/sh -e\nexit"), BTreeSet::from([shell.clone()]));
        assert_eq!(interpreters_of(b"#! /usr/bin/env sh\n"), BTreeSet::from([shell]));
        assert!(interpreters_of(b"\x7fELF#!/bin/sh\n").is_empty());
    }

    #[test]
    fn a_wrapper_script_names_its_daemon_and_no_shell() {
        let named = |script: &str| programs_named_in(script).into_iter().collect::<Vec<_>>();
        let real = |path: &str| fs::canonicalize(path).unwrap().to_str().unwrap().to_owned();
        assert_eq!(
            named("#!/bin/sh\nHTTPD=${HTTPD:-/usr/bin/env}\nexec /bin/sh -c x\n"),
            Vec::<String>::new()
        );
        let script = "#!/bin/sh\n# /usr/bin/tail\nD=${D:-/usr/bin/sort}\n\"$D\" /etc/passwd\n";
        assert_eq!(named(script), [real("/usr/bin/sort")]);
    }
}
