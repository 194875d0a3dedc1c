//! Puts jitd's lines into the text of a PAM stack, and takes them out; every other byte stays as it is.

use std::ops::Range;

use crate::pam_grammar::{Entry, Line, Stage, entries};
use crate::pam_stack::{ends_in_refusal, is_ours};

/// Which lines a service gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// The gate in `account` and in `session`, above everything that could decide before it, and `track` as the last line
    /// of `session`.
    Gate,
    /// The gate in `session`, which does there what it does in `account` elsewhere (`enter`), and `track` as the last line:
    /// for pkexec, which runs no account stage, in a stack whose account stage is that of every authentication of polkit.
    Enter,
    /// `track` alone: nobody is denied, and what `sudo su -` or `sudo runuser -l` starts stays inside its session.
    Track,
}

/// The services whose stacks are edited: those that let people become others, and with `Track` those that only root can use.
/// sudo-rs reads the stacks of sudo.
pub const SERVICES: [(&str, Lines); 7] = [
    ("sudo", Lines::Gate),
    ("sudo-i", Lines::Gate),
    ("su", Lines::Gate),
    ("su-l", Lines::Gate),
    ("doas", Lines::Gate),
    ("runuser", Lines::Track),
    ("runuser-l", Lines::Track),
];

impl Lines {
    /// What a service gets; `None` for one whose stack is not edited.
    #[must_use]
    pub fn of(service: &str) -> Option<Self> {
        SERVICES.iter().find(|(name, _)| *name == service).map(|(_, lines)| *lines)
    }
}

/// Why a stack is not edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line} ends in a backslash above a blank line, a comment or the end of the file, which the versions of libpam read \
     differently; write it on one line"
)]
pub struct Unclear {
    /// The line of the file, from 1.
    pub line: u64,
}

/// How every line ends that is put in, so that a reader knows where it comes from.
const MARK: &str = "# added by jitctl pam enable";
/// The module's option by which a line denies nobody.
const OBSERVE: &str = "observe";
/// Denies on every answer but success, and where the module is missing (pam.conf(5)).
const DENY: &str = "[success=ok default=die]";

/// The text with the lines: as it is where they are right already, else with the lines of ours that it has taken out and
/// the right ones put in, with the options that the first of them had.
///
/// # Errors
/// Where a line of the file is not read the same by every libpam, so that a place above it is not known.
pub fn with_lines(text: &str, lines: Lines) -> Result<String, Unclear> {
    with_lines_that_observe(text, lines, says_observe(text))
}

/// As [`with_lines`], with or without the option `observe` on each of the lines, by which they deny nobody (pam_jit(8)).
///
/// # Errors
/// As [`with_lines`].
pub fn with_lines_that_observe(text: &str, lines: Lines, observe: bool) -> Result<String, Unclear> {
    let all = entries(text);
    if let Some(entry) = all.iter().find(|entry| !entry.clear) {
        return Err(Unclear { line: entry.number() });
    }
    let has_gate = all.iter().any(|entry| is_own(entry, "gate"));
    let lines = if has_gate && lines == Lines::Track { Lines::Gate } else { lines };
    let own = || all.iter().filter_map(options_of_own);
    let is_word = |word: &&str| *word == OBSERVE;
    if are_right(&all, lines) && own().all(|options| options.split(' ').any(|word| is_word(&word)) == observe)
    {
        return Ok(text.to_owned());
    }
    let options = own().next().unwrap_or_default();
    let options = options.split(' ').filter(|word| !is_word(word) && !word.is_empty());
    let options: Vec<&str> = options.chain(observe.then_some(OBSERVE)).collect();
    Ok(put_in(&without_lines(text), lines, &options.join(" ")))
}

/// Whether a line of ours says `observe`, by which it denies nobody.
#[must_use]
pub fn says_observe(text: &str) -> bool {
    entries(text)
        .iter()
        .filter_map(options_of_own)
        .any(|options| options.split(' ').any(|word| word == OBSERVE))
}

/// The text without every line that names `pam_jit.so`, whoever wrote it.
#[must_use]
pub fn without_lines(text: &str) -> String {
    let own: Vec<Range<usize>> =
        entries(text).into_iter().filter(names_ours).map(|entry| entry.lines).collect();
    let stays = |at: &usize| !own.iter().any(|range| range.contains(at));
    let physical: Vec<&str> = text.split_inclusive('\n').collect();
    let mut left: String =
        physical.iter().enumerate().filter(|(at, _)| stays(at)).map(|(_, line)| *line).collect();
    // The last line had no line break, and neither had the one above it before ours was put below it.
    let last = physical.len().wrapping_sub(1);
    if !own.is_empty() && !text.ends_with('\n') && !stays(&last) && left.ends_with('\n') {
        left.pop();
    }
    left
}

/// Whether a line of the text names `pam_jit.so`.
#[must_use]
pub fn has_lines(text: &str) -> bool {
    entries(text).iter().any(names_ours)
}

/// The file that decides in place of this one: what its first `account` line includes, as `su-l` includes `su` on Debian
/// and `sudo-i` includes `sudo` on RHEL. `None` where its account stage decides by itself, or includes whole files.
#[must_use]
pub fn goes_by(text: &str) -> Option<String> {
    let all = entries(text);
    match first_of(&all, Stage::Account)?.read()? {
        Line::Include { stage: Some(_), file } => Some(file.to_owned()),
        _ => None,
    }
}

fn put_in(text: &str, lines: Lines, options: &str) -> String {
    let options = if options.is_empty() { String::new() } else { format!(" {options}") };
    let line = |stage: Stage, control: &str, purpose: &str| {
        format!("{:<7}  {control}  pam_jit.so {purpose}{options}  {MARK}", stage.name())
    };
    let mut made = String::new();
    let mut physical: Vec<&str> = text.split_inclusive('\n').collect();
    let below = match lines {
        Lines::Gate | Lines::Enter => physical.split_off(place_of_gates(text)),
        Lines::Track => Vec::new(),
    };
    let gates = match lines {
        Lines::Gate => {
            [Stage::Account, Stage::Session].map(|stage| line(stage, DENY, "gate") + "\n").concat()
        }
        Lines::Enter => line(Stage::Session, DENY, "gate enter") + "\n",
        Lines::Track => String::new(),
    };
    let control = if lines == Lines::Track { "optional" } else { DENY };
    let track = line(Stage::Session, control, "track");
    for part in physical.into_iter().chain([gates.as_str()]).chain(below).filter(|part| !part.is_empty()) {
        on_a_line_of_its_own(&mut made);
        made.push_str(part);
    }
    on_a_line_of_its_own(&mut made);
    made.push_str(&track);
    // As the file was: `without_lines` tells by this what to leave.
    if text.is_empty() || text.ends_with('\n') {
        made.push('\n');
    }
    made
}

fn on_a_line_of_its_own(made: &mut String) {
    if !made.is_empty() && !made.ends_with('\n') {
        made.push('\n');
    }
}

/// Above which line of the file the gates go: the first that could decide `account` or `session`, and the comments that
/// stand right above it.
fn place_of_gates(text: &str) -> usize {
    let physical: Vec<&str> = text.split_inclusive('\n').collect();
    let decides = |entry: &Entry| {
        entry.read().is_some_and(|line| line.is_of(Stage::Account) || line.is_of(Stage::Session))
    };
    let Some(first) = entries(text).into_iter().find(decides) else { return physical.len() };
    let belongs = |line: &&&str| {
        let line = line.trim_start();
        line.starts_with('#') && !line.starts_with("#%PAM")
    };
    let above = physical.iter().take(first.lines.start).rev().take_while(belongs).count();
    first.lines.start - above
}

fn are_right(all: &[Entry], lines: Lines) -> bool {
    let enters = lines == Lines::Enter;
    let stages: &[Stage] = if enters { &[Stage::Session] } else { &[Stage::Account, Stage::Session] };
    let is_right = |entry: &Entry| is_gate(entry) && is_own(entry, "enter") == enters;
    let gates = || stages.iter().all(|stage| first_of(all, *stage).is_some_and(is_right));
    let last = all.iter().rfind(|entry| entry.read().is_some_and(|line| line.is_of(Stage::Session)));
    last.is_some_and(|last| is_track(last, lines)) && (lines == Lines::Track || gates())
}

/// The first entry of a stage that could decide.
fn first_of(all: &[Entry], stage: Stage) -> Option<&Entry> {
    all.iter().find(|entry| entry.read().is_some_and(|line| line.is_of(stage)))
}

fn is_gate(entry: &Entry) -> bool {
    is_own(entry, "gate")
        && matches!(entry.read(), Some(Line::Module { optional_module: false, control, .. }) if ends_in_refusal(control))
}

fn is_track(entry: &Entry, lines: Lines) -> bool {
    let enough = |control: &str| {
        ends_in_refusal(control) || lines == Lines::Track && control.eq_ignore_ascii_case("optional")
    };
    is_own(entry, "track") && matches!(entry.read(), Some(Line::Module { control, .. }) if enough(control))
}

/// Whether an entry names our module anywhere: also one that libpam does not understand denies because of it.
fn names_ours(entry: &Entry) -> bool {
    entry.code.split_whitespace().any(is_ours)
}

/// Whether an entry is ours and says this purpose.
fn is_own(entry: &Entry, purpose: &str) -> bool {
    matches!(entry.read(), Some(Line::Module { path, arguments, .. }) if is_ours(path) && arguments.contains(&purpose))
}

/// The options of a line of ours, without its purpose.
fn options_of_own(entry: &Entry) -> Option<String> {
    match entry.read()? {
        Line::Module { path, arguments, .. } if is_ours(path) => {
            let options = arguments.into_iter().filter(|word| !["gate", "enter", "track"].contains(word));
            Some(options.collect::<Vec<_>>().join(" "))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
