//! Parses PAM stacks (pam.conf(5)) and checks whether they ask jitd before they allow a change of user.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jit_proto::polkit_protocol::{SERVICE_PKEXEC, SERVICE_SYSTEMCTL};

use crate::pam_grammar::{Line, Stage, entries};

/// The folders of the administrator's and of packages' stacks (pam.conf(5)).
pub const FOLDERS: [&str; 2] = ["/etc/pam.d", "/usr/lib/pam.d"];
/// The folders of modules: one of these, or one below it that is named after the architecture.
const LIBRARIES: [&str; 3] = ["/usr/lib", "/usr/lib64", "/lib"];
/// The folders of programs that change the user.
const PROGRAMS: [&str; 3] = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];
const MODULE: &str = "pam_jit.so";
/// The depth limit of included files.
const MAX_INCLUDE_DEPTH: u32 = 16;

/// A problem of a service's stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file with the problem: the stack itself, or one that it includes.
    pub file: PathBuf,
    /// The line, from 1; 0 where the problem is the file as a whole.
    pub line: u64,
    /// A clause about the stack.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, message } = self;
        match line {
            0 => write!(f, "{}: {message}", file.display()),
            line => write!(f, "{}:{line}: {message}", file.display()),
        }
    }
}

/// The problem of the stack of each of these services, and of its sister (`sudo-i` beside `sudo`), in the files as they
/// are now; `None` where there is none. A service whose program is not installed is omitted.
#[must_use]
pub fn inspect(services: BTreeSet<String>) -> BTreeMap<String, Option<Fault>> {
    Stacks::here().look(services)
}

/// Whether the account stage of a service's stack asks jitd first, and ends if jitd denies; `None` where the service
/// has no stack.
#[must_use]
pub fn account_stage_asks(service: &str) -> Option<bool> {
    Stacks::here().account_stage_asks(service)
}

/// The relation of a service's stack to jitd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It asks jitd before any other module decides, and returns the process to its session last.
    Asks,
    /// It denies nobody; processes started through it stay inside their session.
    Tracks,
    /// Neither it nor an included file names `pam_jit`.
    DoesNotAsk(Fault),
    /// It names `pam_jit`, and can be passed without jitd's decision, or denies everybody.
    Broken(Fault),
}

/// The relation of a service's stack to jitd, in the files as they are now; `None` where neither the stack nor the
/// program exists. With `gate` the stack has to ask; without it only has to return processes to their session.
#[must_use]
pub fn state(service: &str, gate: bool) -> Option<State> {
    Stacks::here().state(service, gate)
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

    /// The problem of the stack of each service that has one, and of its sister.
    fn look(&self, services: BTreeSet<String>) -> BTreeMap<String, Option<Fault>> {
        let module = self.is_module_there();
        let sisters =
            services.iter().filter_map(|service| sister(service)).filter(|it| !services.contains(it));
        // The stack of a service that a role opens is checked whole. For a sister it is enough that its account stage
        // denies.
        let sisters: Vec<String> = sisters.filter(|sister| self.path(sister).is_some()).collect();
        let whole = services.into_iter().filter(|service| service != SERVICE_SYSTEMCTL).map(|service| {
            let stages = stages_of(&service);
            (service, stages)
        });
        let sisters = sisters.into_iter().map(|service| (service, [Stage::Account].as_slice()));
        let looked = whole.chain(sisters).filter_map(|(service, stages)| {
            let of_file = |file: PathBuf, message: String| Fault { file, line: 0, message };
            let own = Path::new(FOLDERS[0]).join(&service);
            let found = match self.read(&service) {
                Ok((file, text)) => stages
                    .iter()
                    .try_for_each(|stage| self.first(&service, &file, &text, *stage, MAX_INCLUDE_DEPTH))
                    .and(if module { Ok(()) } else { Err(of_file(file, format!("{MODULE} is not there"))) }),
                // A program that is not installed elevates nobody; one without a stack of its own uses `other`.
                Err(error) if error.kind() == io::ErrorKind::NotFound => match self.has_program(&service) {
                    true => Err(of_file(
                        own,
                        "it has no stack of its own, so that `other` lets people through".to_owned(),
                    )),
                    false => return None,
                },
                Err(error) => {
                    let file = self.path(&service).unwrap_or(own);
                    Err(of_file(file, format!("its stack cannot be read: {error}")))
                }
            };
            Some((service, found.err()))
        });
        looked.collect()
    }

    fn account_stage_asks(&self, service: &str) -> Option<bool> {
        let (file, text) = self.read(service).ok()?;
        Some(
            self.is_module_there()
                && self.first(service, &file, &text, Stage::Account, MAX_INCLUDE_DEPTH).is_ok(),
        )
    }

    fn state(&self, service: &str, gate: bool) -> Option<State> {
        let own = Path::new(FOLDERS[0]).join(service);
        let of_file = |file: PathBuf, message: String| Fault { file, line: 0, message };
        let (file, text) = match self.read(service) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let message = "it has no stack of its own, so that `other` lets people through".to_owned();
                return self.has_program(service).then(|| State::DoesNotAsk(of_file(own, message)));
            }
            Err(error) => {
                let file = self.path(service).unwrap_or(own);
                return Some(State::Broken(of_file(file, format!("its stack cannot be read: {error}"))));
            }
        };
        let purposes = self.purposes(&text, MAX_INCLUDE_DEPTH);
        let gated = purposes.iter().any(|purpose| purpose != "track");
        let first = |stage| self.first(service, &file, &text, stage, MAX_INCLUDE_DEPTH);
        let last = self.last(&file, &text, gated, MAX_INCLUDE_DEPTH);
        let found = if gated || gate && purposes.is_empty() {
            first(Stage::Account).and_then(|()| first(Stage::Session)).and(last)
        } else {
            last
        };
        Some(match found {
            Err(fault) if purposes.is_empty() => State::DoesNotAsk(fault),
            _ if !purposes.is_empty() && !self.is_module_there() => {
                State::Broken(of_file(file, format!("{MODULE} is not there")))
            }
            Err(fault) => State::Broken(fault),
            Ok(()) if gated => State::Asks,
            Ok(()) => State::Tracks,
        })
    }

    /// The duties of jitd's lines, in a file and its included files: `track`, or `gate` for every other.
    fn purposes(&self, text: &str, deeper: u32) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for entry in entries(text) {
            match entry.read() {
                Some(Line::Include { file, .. }) if deeper > 0 => {
                    if let Ok((_, text)) = self.read(file) {
                        found.extend(self.purposes(&text, deeper - 1));
                    }
                }
                Some(Line::Module { path, arguments, .. }) if is_ours(path) => {
                    let purpose = if arguments.contains(&"track") { "track" } else { "gate" };
                    found.insert(purpose.to_owned());
                }
                _ => {}
            }
        }
        found
    }

    /// Whether the program of a service is installed: `sudo-i` is sudo's, `su-l` is su's.
    fn has_program(&self, service: &str) -> bool {
        let name = service.strip_suffix("-i").or_else(|| service.strip_suffix("-l")).unwrap_or(service);
        self.programs.iter().any(|folder| folder.join(name).exists())
    }

    /// The file of a service, if there is one.
    fn path(&self, service: &str) -> Option<PathBuf> {
        self.folders.iter().map(|folder| folder.join(service)).find(|path| path.exists())
    }

    fn read(&self, service: &str) -> io::Result<(PathBuf, String)> {
        let mut missing = io::Error::from(io::ErrorKind::NotFound);
        for folder in &self.folders {
            let path = folder.join(service);
            match fs::read_to_string(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => missing = error,
                read => return read.map(|text| (path, text)),
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

    /// Whether the first line of a stage is jitd's, and its denial ends the stack.
    fn first(&self, service: &str, path: &Path, text: &str, stage: Stage, deeper: u32) -> Result<(), Fault> {
        let name = stage.name();
        for entry in entries(text) {
            let fault = |message: String| Err(Fault { file: path.to_owned(), line: entry.number(), message });
            if !entry.clear {
                return fault(UNCLEAR.to_owned());
            }
            let Some(line) = entry.read().filter(|line| line.is_of(stage)) else { continue };
            match line {
                Line::Include { file, .. } => {
                    // A file without a line of this stage decides nothing.
                    let read = if deeper == 0 { None } else { self.read(file).ok() };
                    let Some((path, text)) = read else { continue };
                    if has_lines_of(&text, stage) {
                        return self.first(service, &path, &text, stage, deeper.saturating_sub(1));
                    }
                }
                // Its result is ignored, so the next line decides.
                Line::Module { control, path, .. }
                    if stage == Stage::Session && is_optional(control) && !is_ours(path) => {}
                Line::Module { optional_module, control, path, arguments, .. } => {
                    if !is_ours(path) {
                        return fault(format!("its first {name} line names {path}, and not {MODULE}"));
                    }
                    if optional_module {
                        return fault(format!(
                            "its {name} line is skipped without a word if {MODULE} is missing"
                        ));
                    }
                    if !ends_in_refusal(control) {
                        return fault(format!(
                            "its {name} line says {control}, by which a refusal can be passed"
                        ));
                    }
                    if !arguments.contains(&"gate") {
                        return fault(format!("its {name} line does not say gate"));
                    }
                    if arguments.contains(&"observe") {
                        return fault(format!("its {name} line says observe, by which everybody passes"));
                    }
                    if let Some(others) = left_out(&arguments, service) {
                        return fault(format!(
                            "its {name} line says {others}, so that it succeeds for {service} and asks nobody"
                        ));
                    }
                    return Ok(());
                }
            }
        }
        let message = format!("it has no {name} line that names {MODULE}");
        Err(Fault { file: path.to_owned(), line: 0, message })
    }

    /// Whether the last session line is jitd's and returns the process; `denies` if its denial has to count.
    fn last(&self, path: &Path, text: &str, denies: bool, deeper: u32) -> Result<(), Fault> {
        for entry in entries(text).iter().rev() {
            let fault = |message: String| Err(Fault { file: path.to_owned(), line: entry.number(), message });
            if !entry.clear {
                return fault(UNCLEAR.to_owned());
            }
            match entry.read().filter(|line| line.is_of(Stage::Session)) {
                None => {}
                Some(Line::Include { file, .. }) => {
                    let read = if deeper == 0 { None } else { self.read(file).ok() };
                    let Some((path, text)) = read else { continue };
                    if has_lines_of(&text, Stage::Session) {
                        return self.last(&path, &text, denies, deeper.saturating_sub(1));
                    }
                }
                Some(Line::Module { control, path, arguments, .. }) => {
                    if !is_ours(path) || !arguments.contains(&"track") {
                        return fault(format!("its last session line names {path}, and not {MODULE} track"));
                    }
                    if denies && !ends_in_refusal(control) {
                        return fault(format!(
                            "its last session line says {control}, by which a refusal can be passed"
                        ));
                    }
                    return Ok(());
                }
            }
        }
        let message = format!("it has no session line that names {MODULE}");
        Err(Fault { file: path.to_owned(), line: 0, message })
    }
}

/// Why a stack is not judged that versions of libpam read differently.
const UNCLEAR: &str = "it ends in a backslash above a blank line, a comment or the end of the file, which the versions of \
    libpam read differently; write it on one line";

/// Whether a file has, or includes, lines of a stage; true if that is unknown.
fn has_lines_of(text: &str, stage: Stage) -> bool {
    entries(text).iter().any(|entry| !entry.clear || entry.read().is_some_and(|line| line.is_of(stage)))
}

/// Whether a line names `pam_jit`.
pub(crate) fn is_ours(path: &str) -> bool {
    Path::new(path.trim_end_matches('\r')).file_name().is_some_and(|name| name == MODULE)
}

/// The option of our line that leaves a service out (pam_jit(8), `services=`).
fn left_out<'a>(arguments: &[&'a str], service: &str) -> Option<&'a str> {
    let named = |option: &&&str| {
        option.strip_prefix("services=").is_some_and(|names| !names.split(',').any(|name| name == service))
    };
    arguments.iter().find(named).copied()
}

/// Whether the result of a module with this control is ignored beside a denial (pam.conf(5)).
fn is_optional(control: &str) -> bool {
    control.eq_ignore_ascii_case("optional")
}

/// The stages of a service's stack that ask jitd: pkexec runs no account stage, and polkit's agent runs one for every
/// authentication, whatever it is for.
fn stages_of(service: &str) -> &'static [Stage] {
    if service == SERVICE_PKEXEC { &[Stage::Session] } else { &[Stage::Account, Stage::Session] }
}

/// The other stack of the same program: `sudo -i` uses `sudo-i`, `su -` uses `su-l` (sudo(8), su(1)).
fn sister(service: &str) -> Option<String> {
    Some(match service {
        "sudo" => "sudo-i".to_owned(),
        "sudo-i" => "sudo".to_owned(),
        "su" => "su-l".to_owned(),
        "su-l" => "su".to_owned(),
        _ => return None,
    })
}

/// Whether a control value makes the stack fail if the module does (pam.conf(5)). `required` runs the following
/// modules, and the stack fails all the same.
pub(crate) fn ends_in_refusal(control: &str) -> bool {
    let Some(words) = control.strip_prefix('[').and_then(|words| words.strip_suffix(']')) else {
        return ["requisite", "required"].iter().any(|word| control.eq_ignore_ascii_case(word));
    };
    let mut pairs = words.split_whitespace().filter_map(|word| word.split_once('='));
    let refuses = |(value, action): (&str, &str)| value == "success" || matches!(action, "die" | "bad");
    pairs.clone().any(|(value, _)| value == "default") && pairs.all(refuses)
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
        found["sudo"].as_ref().map(|fault| {
            assert!(fault.file.starts_with(folder.path()), "{fault}");
            format!("{}: {}", fault.line, fault.message)
        })
    }

    #[test]
    fn a_stack_that_asks_first_is_good() {
        assert_eq!(problem(GOOD), None);
        assert_eq!(problem(&GOOD.replace("[success=ok default=die]", "requisite")), None);
        assert_eq!(problem(&GOOD.replace("pam_jit.so gate", "pam_jit.so gate services=su,sudo")), None);
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
            (GOOD.replacen("pam_jit.so gate", "pam_jit.so gate observe", 1), "account line says observe"),
            (GOOD.replacen("pam_jit.so gate", "pam_jit.so gate services=su,sudo-i", 1), "services=su,sudo-i"),
            (GOOD.replace("session  [success=ok default=die]  pam_jit.so gate\n", ""), "pam_limits.so"),
        ] {
            let found = problem(&text);
            assert!(found.as_ref().is_some_and(|found| found.contains(part)), "{text}: {found:?}");
        }
    }

    #[test]
    fn a_stack_asks_by_its_account_stage_alone() {
        let folder = tempfile::tempdir().unwrap();
        let stacks = stacks(folder.path());
        assert_eq!(stacks.account_stage_asks("sudo"), None);
        for (text, asks) in [
            ("# x\naccount  [success=ok default=die]  pam_jit.so gate\n", true),
            ("#account required pam_jit.so\nsession required pam_jit.so track\n", false),
            ("account optional pam_jit.so gate\n", false),
        ] {
            fs::write(folder.path().join("pam.d/sudo"), text).unwrap();
            assert_eq!(stacks.account_stage_asks("sudo"), Some(asks), "{text}");
        }
    }

    #[test]
    fn a_stack_asks_tracks_does_not_ask_or_is_broken() {
        let folder = tempfile::tempdir().unwrap();
        let stacks = stacks(folder.path());
        let state = |text: &str, gate: bool| {
            fs::write(folder.path().join("pam.d/sudo"), text).unwrap();
            stacks.state("sudo", gate).unwrap()
        };
        assert_eq!(stacks.state("doas", true), None, "it is not installed");
        assert!(
            matches!(stacks.state("sudo", true), Some(State::DoesNotAsk(fault)) if fault.message.contains("other"))
        );
        assert_eq!(state(GOOD, true), State::Asks);
        let tracks = "session required pam_unix.so\nsession optional pam_jit.so track\n";
        assert_eq!((state(tracks, true), state(tracks, false)), (State::Tracks, State::Tracks));
        let stock = "account required a.so\nsession required b.so\n";
        assert!(
            matches!(state(stock, true), State::DoesNotAsk(fault) if fault.to_string().ends_with("sudo:1: its first account line names a.so, and not pam_jit.so"))
        );
        assert!(matches!(state(stock, false), State::DoesNotAsk(fault) if fault.line == 2));
        for (text, part) in [
            (GOOD.replace("account  [success=ok default=die]", "account optional"), "says optional"),
            (format!("account sufficient pam_x.so\n{GOOD}"), "pam_x.so"),
            (format!("{GOOD}session required pam_y.so\n"), "last session line names pam_y.so"),
            (
                GOOD.replace("[success=ok default=die]  pam_jit.so track", "optional pam_jit.so track"),
                "last session line says",
            ),
            ("account requisite pam_jit.so gate\nsession required pam_jit.so gate\n".to_owned(), "track"),
            (format!("{GOOD}auth required \\\n"), "backslash"),
        ] {
            let found = state(&text, true);
            assert!(
                matches!(&found, State::Broken(fault) if fault.message.contains(part)),
                "{text}: {found:?}"
            );
        }
        fs::write(folder.path().join("pam.d/su"), GOOD).unwrap();
        let by_another = "account include su\nsession optional pam_keyinit.so\nsession include su\n";
        assert_eq!(state(by_another, true), State::Asks, "su-l goes by su");
        fs::remove_file(folder.path().join("lib/x86_64-linux-gnu/security").join(MODULE)).unwrap();
        assert!(matches!(state(GOOD, true), State::Broken(fault) if fault.message.contains("is not there")));
        assert!(matches!(state(stock, true), State::DoesNotAsk(_)));
    }

    #[test]
    fn a_comment_that_ends_in_a_backslash_hides_no_line_from_the_check() {
        let found = problem(&format!("# x \\\naccount sufficient pam_permit.so\n{GOOD}"));
        assert!(
            found.is_some_and(|found| found.starts_with("2: its first account line names pam_permit.so"))
        );
        let found = problem(&format!("ACCOUNT sufficient pam_permit.so\n{GOOD}"));
        assert!(found.is_some_and(|found| found.contains("pam_permit.so")), "libpam knows it in any case");
        assert_eq!(problem(&format!("session optional pam_keyinit.so\n{GOOD}")), None, "it decides nothing");
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
            found.values().all(|found| found.as_ref().is_some_and(|found| found.message.contains("`other`"))),
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
        assert!(found["sudo"].as_ref().unwrap().message.contains("is not there"), "{found:?}");
    }

    #[test]
    fn a_sister_that_was_forgotten_is_named_with_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let stacks = stacks(folder.path());
        fs::write(folder.path().join("pam.d/sudo"), GOOD).unwrap();
        let forgotten = "#%PAM-1.0\nauth required \\\n pam_unix.so\n\n@include common-account\n";
        fs::write(folder.path().join("pam.d/sudo-i"), forgotten).unwrap();
        let found = stacks.look(BTreeSet::from(["sudo".to_owned()]));
        assert_eq!(found["sudo"], None);
        let fault = found["sudo-i"].as_ref().unwrap();
        let at = folder.path().join("pam.d/common-account");
        assert_eq!(
            fault.to_string(),
            format!("{}:1: its first account line names pam_unix.so, and not pam_jit.so", at.display())
        );
        fs::write(
            folder.path().join("pam.d/sudo-i"),
            format!("\n\nauth required \\\n a.so\naccount optional b.so\n{GOOD}"),
        )
        .unwrap();
        let found = stacks.look(BTreeSet::from(["sudo".to_owned()]));
        assert_eq!(found["sudo-i"].as_ref().unwrap().line, 5);
        // Its account stage denies without a window; that is enough for a stack that no role opens.
        let account = "account requisite pam_jit.so gate\nsession optional pam_keyinit.so\n";
        fs::write(folder.path().join("pam.d/sudo-i"), account).unwrap();
        assert_eq!(stacks.look(BTreeSet::from(["sudo".to_owned()]))["sudo-i"], None);
    }
}
