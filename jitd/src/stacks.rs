//! Whether the PAM stacks of the services that roles open ask jitd, looked at again and again.
//!
//! A stack that an update, an administrator or an intruder has changed lets people become root past every window, and
//! nothing would come to the gate to tell of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::pause_as_said;
use crate::core::event::Event;
use crate::engine::Handle;

/// The stacks of the administrator, and those that packages bring (pam.conf(5)).
const FOLDERS: [&str; 2] = ["/etc/pam.d", "/usr/lib/pam.d"];
/// Where modules are: a folder of each of these, or of one below it that is named after the architecture.
const LIBRARIES: [&str; 3] = ["/usr/lib", "/usr/lib64", "/lib"];
/// Where programs are that let people become others.
const PROGRAMS: [&str; 3] = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];
const MODULE: &str = "pam_jit.so";
/// Files that include one another end somewhere.
const MOST_INCLUDED: u32 = 16;

/// Looks at the stacks with each sign of life, for as long as the engine runs, and tells it what is wrong with each.
pub async fn watch(engine: Handle, mut interval: watch::Receiver<Duration>) {
    loop {
        let asked = engine.look(|inside| {
            let roles = inside.policy.iter().flat_map(|policy| policy.roles.values());
            roles.flat_map(|role| role.services.iter().cloned()).collect::<BTreeSet<String>>()
        });
        let Ok(services) = asked.await else { return };
        let Ok(found) = tokio::task::spawn_blocking(move || Stacks::here().look(services)).await else {
            return;
        };
        if engine.tell(Event::Stacks(found)).await.is_err() {
            return;
        }
        pause_as_said(&mut interval).await;
    }
}

/// The files of PAM.
struct Stacks {
    folders: Vec<PathBuf>,
    libraries: Vec<PathBuf>,
    programs: Vec<PathBuf>,
}

impl Stacks {
    fn here() -> Self {
        let paths = |these: &[&str]| these.iter().map(PathBuf::from).collect();
        Self { folders: paths(&FOLDERS), libraries: paths(&LIBRARIES), programs: paths(&PROGRAMS) }
    }

    /// What is wrong with the stack of each service that has one.
    fn look(&self, services: BTreeSet<String>) -> BTreeMap<String, Option<String>> {
        let module = self.is_module_there();
        let looked = services.into_iter().filter_map(|service| {
            let found = match self.read(&service) {
                Ok(text) => {
                    self.judge(&text).and(if module { Ok(()) } else { Err(format!("{MODULE} is not there")) })
                }
                // A program that is not installed elevates nobody; one without a stack of its own goes by another.
                Err(error) if error.kind() == io::ErrorKind::NotFound => match self.has_program(&service) {
                    true => Err("it has no stack of its own, so that `other` lets people through".to_owned()),
                    false => return None,
                },
                Err(error) => Err(format!("its stack cannot be read: {error}")),
            };
            Some((service, found.err()))
        });
        looked.collect()
    }

    /// Whether the program of a service is there: `sudo-i` is sudo's, `su-l` is su's.
    fn has_program(&self, service: &str) -> bool {
        let name = service.strip_suffix("-i").or_else(|| service.strip_suffix("-l")).unwrap_or(service);
        self.programs.iter().any(|folder| folder.join(name).exists())
    }

    fn read(&self, service: &str) -> io::Result<String> {
        let mut missing = io::Error::from(io::ErrorKind::NotFound);
        for folder in &self.folders {
            match fs::read_to_string(folder.join(service)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => missing = error,
                read => return read,
            }
        }
        Err(missing)
    }

    fn is_module_there(&self) -> bool {
        let there = |folder: &Path| folder.join("security").join(MODULE).exists();
        self.libraries.iter().any(|library| {
            let below = fs::read_dir(library).into_iter().flatten().flatten();
            there(library) || below.map(|entry| entry.path()).any(|folder| there(&folder))
        })
    }

    /// Whether a stack asks before anything else can let somebody through.
    fn judge(&self, text: &str) -> Result<(), String> {
        self.first(text, "account", MOST_INCLUDED)?;
        self.first(text, "session", MOST_INCLUDED)
    }

    /// Whether the first line of a type is ours, and ends the stack with a refusal.
    fn first(&self, text: &str, kind: &str, deeper: u32) -> Result<(), String> {
        let lines = text.replace("\\\n", " ");
        for line in lines.lines() {
            let Some(line) = Line::read(line) else { continue };
            match line {
                Line::Include { kind: Some(its), .. } if its != kind => {}
                Line::Include { file, .. } => {
                    // One that has no line of this type decides nothing.
                    let text = if deeper == 0 { String::new() } else { self.read(file).unwrap_or_default() };
                    let names = |line| matches!(Line::read(line), Some(Line::Module { kind: its, .. }) if its == kind);
                    if text
                        .lines()
                        .any(|line| names(line) || matches!(Line::read(line), Some(Line::Include { .. })))
                    {
                        return self.first(&text, kind, deeper.saturating_sub(1));
                    }
                }
                Line::Module { kind: its, .. } if its.trim_start_matches('-') != kind => {}
                Line::Module { kind: its, control, path, arguments } => {
                    let ours = Path::new(path).file_name().is_some_and(|name| name == MODULE);
                    if !ours {
                        return Err(format!("its first {kind} line names {path}, and not {MODULE}"));
                    }
                    if its.starts_with('-') {
                        return Err(format!(
                            "its {kind} line is skipped without a word if {MODULE} is missing"
                        ));
                    }
                    if !ends_in_refusal(control) {
                        return Err(format!(
                            "its {kind} line says {control}, by which a refusal can be passed"
                        ));
                    }
                    if !arguments.contains(&"gate") {
                        return Err(format!("its {kind} line does not say gate"));
                    }
                    return Ok(());
                }
            }
        }
        Err(format!("it has no {kind} line that names {MODULE}"))
    }
}

/// Whether a control value makes every refusal the stack's (pam.conf(5)). `required` runs what follows, and refuses all
/// the same.
fn ends_in_refusal(control: &str) -> bool {
    let Some(words) = control.strip_prefix('[').and_then(|words| words.strip_suffix(']')) else {
        return matches!(control, "requisite" | "required");
    };
    let mut pairs = words.split_whitespace().filter_map(|word| word.split_once('='));
    let refuses = |(value, action): (&str, &str)| value == "success" || matches!(action, "die" | "bad");
    pairs.clone().any(|(value, _)| value == "default") && pairs.all(refuses)
}

/// A line of a stack.
enum Line<'a> {
    /// Another file in its place; of that, the lines of one type or all.
    Include { kind: Option<&'a str>, file: &'a str },
    /// A module.
    Module { kind: &'a str, control: &'a str, path: &'a str, arguments: Vec<&'a str> },
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(file) = line.strip_prefix("@include") {
            return Some(Self::Include { kind: None, file: file.trim() });
        }
        let (kind, rest) = line.split_once(char::is_whitespace)?;
        let rest = rest.trim_start();
        let (control, rest) = if rest.starts_with('[') {
            rest.split_at(rest.find(']')? + 1)
        } else {
            rest.split_once(char::is_whitespace)?
        };
        let mut words = rest.split_whitespace();
        let path = words.next()?;
        if matches!(control, "include" | "substack") {
            return Some(Self::Include { kind: Some(kind.trim_start_matches('-')), file: path });
        }
        Some(Self::Module { kind, control, path, arguments: words.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "#%PAM-1.0\n\
        account  [success=ok default=die]  pam_jit.so gate\n\
        session  [success=ok default=die]  pam_jit.so gate\n\
        session    required   pam_limits.so\n\
        @include common-auth\n@include common-account\n\
        session  [success=ok default=die]  pam_jit.so track\n";

    fn stacks(folder: &Path) -> Stacks {
        fs::create_dir_all(folder.join("lib/x86_64-linux-gnu/security")).unwrap();
        fs::write(folder.join("lib/x86_64-linux-gnu/security").join(MODULE), "").unwrap();
        fs::create_dir_all(folder.join("pam.d")).unwrap();
        fs::write(folder.join("pam.d/common-auth"), "auth sufficient pam_unix.so\n").unwrap();
        fs::write(folder.join("pam.d/common-account"), "account sufficient pam_unix.so\n").unwrap();
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::write(folder.join("bin/sudo"), "").unwrap();
        let [folders, libraries, programs] = ["pam.d", "lib", "bin"].map(|name| vec![folder.join(name)]);
        Stacks { folders, libraries, programs }
    }

    fn problem(text: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let stacks = stacks(folder.path());
        fs::write(folder.path().join("pam.d/sudo"), text).unwrap();
        let found = stacks.look(BTreeSet::from(["sudo".to_owned(), "not-installed".to_owned()]));
        assert_eq!(found.len(), 1);
        found["sudo"].clone()
    }

    #[test]
    fn a_stack_that_asks_first_is_good() {
        assert_eq!(problem(GOOD), None);
        assert_eq!(problem(&GOOD.replace("[success=ok default=die]", "requisite")), None);
        assert_eq!(problem(&format!("@include common-auth\n{GOOD}")), None, "auth decides nothing here");
        assert_eq!(
            problem(&GOOD.replace("pam_jit.so", "/usr/lib/x86_64-linux-gnu/security/pam_jit.so")),
            None
        );
    }

    #[test]
    fn every_way_past_the_module_is_named() {
        for (text, part) in [
            (String::new(), "no account line"),
            (GOOD.replace("account ", "#account "), "pam_unix.so"),
            (format!("account sufficient pam_permit.so\n{GOOD}"), "pam_permit.so"),
            (format!("@include common-account\n{GOOD}"), "pam_unix.so"),
            (format!("account include common-account\n{GOOD}"), "pam_unix.so"),
            (GOOD.replace("account  [success=ok default=die]", "account optional"), "says optional"),
            (GOOD.replace("account  [success=ok default=die]", "account sufficient"), "says sufficient"),
            (
                GOOD.replace("account  [success=ok default=die]", "account [success=ok default=ignore]"),
                "default=ignore",
            ),
            (
                GOOD.replace("account  [success=ok", "account [success=ok perm_denied=ignore"),
                "perm_denied=ignore",
            ),
            (GOOD.replace("account  ", "-account "), "skipped without a word"),
            (GOOD.replacen("pam_jit.so gate", "pam_jit.so track", 1), "does not say gate"),
            (GOOD.replace("session  [success=ok default=die]  pam_jit.so gate\n", ""), "pam_limits.so"),
        ] {
            let found = problem(&text);
            assert!(found.as_ref().is_some_and(|found| found.contains(part)), "{text}: {found:?}");
        }
    }

    #[test]
    fn a_program_without_a_stack_of_its_own_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let found = stacks(folder.path()).look(BTreeSet::from([
            "sudo".to_owned(),
            "sudo-i".to_owned(),
            "doas".to_owned(),
        ]));
        assert_eq!(found.keys().collect::<Vec<_>>(), ["sudo", "sudo-i"], "doas is not installed");
        assert!(
            found.values().all(|found| found.as_ref().is_some_and(|found| found.contains("`other`"))),
            "{found:?}"
        );
    }

    #[test]
    fn what_is_included_for_another_type_decides_nothing_here() {
        assert_eq!(problem(&format!("auth include common-account\n{GOOD}")), None);
        let found = problem("auth include good\nsession include good\n");
        assert!(found.is_some_and(|found| found.contains("no account line")));
    }

    #[test]
    fn a_module_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let stacks = stacks(folder.path());
        fs::write(folder.path().join("pam.d/sudo"), GOOD).unwrap();
        fs::remove_file(folder.path().join("lib/x86_64-linux-gnu/security").join(MODULE)).unwrap();
        let found = stacks.look(BTreeSet::from(["sudo".to_owned()]));
        assert!(found["sudo"].as_ref().unwrap().contains("is not there"), "{found:?}");
    }
}
