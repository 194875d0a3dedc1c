//! Parses the lines of a PAM stack (pam.d(5)) as libpam does.
//!
//! Sources of the rules: libpam/pam_line.c and libpam/pam_handlers.c of Linux-PAM, and Debian's `@include`.

use std::ops::Range;

/// A line of a stack as libpam reads it: one line of the file, or several where each but the last ends in a backslash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its lines in the file, from 0.
    pub(crate) lines: Range<usize>,
    /// Its text, without a comment.
    pub(crate) code: String,
    /// Whether all versions of libpam read it alike: a continuation into a blank line, a comment or the end of the file
    /// ends there for one version, continues below for another, and makes the file unreadable for a third.
    pub(crate) clear: bool,
}

impl Entry {
    /// The number of its first line in the file, from 1.
    pub(crate) fn number(&self) -> u64 {
        u64::try_from(self.lines.start).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// The parsed line; `None` for a blank line, a comment, or a line that libpam does not know.
    pub(crate) fn read(&self) -> Option<Line<'_>> {
        Line::read(&self.code)
    }
}

/// The entries of a file, in order, without blank lines and comments.
pub(crate) fn entries(text: &str) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    let mut open: Option<Entry> = None;
    for (at, line) in text.split_inclusive('\n').enumerate() {
        let (code, comment) = line.split_once('#').map_or((line, false), |(code, _)| (code, true));
        let blank = code.trim_matches(BLANK).is_empty();
        let begun = open.is_some();
        let mut entry = match open.take() {
            Some(entry) => entry,
            None if blank => continue,
            None => Entry { lines: at..at, code: String::new(), clear: true },
        };
        entry.clear &= !(begun && blank);
        entry.lines.end = at + 1;
        // A comment ends the line, whatever its last character.
        match code.trim_end_matches(BLANK).strip_suffix('\\').filter(|_| !comment) {
            Some(part) => {
                entry.code.push_str(part);
                entry.code.push(' ');
                open = Some(entry);
            }
            None => {
                entry.code.push_str(code);
                found.push(entry);
            }
        }
    }
    if let Some(entry) = open {
        found.push(Entry { clear: false, ..entry });
    }
    found
}

/// The separators of words; a carriage return is none (pam_line.c).
const BLANK: [char; 3] = [' ', '\t', '\n'];

/// A parsed line of a stack.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// An included file: its lines of one stage, or all.
    Include { stage: Option<Stage>, file: &'a str },
    /// A module.
    Module {
        stage: Stage,
        /// Whether libpam skips it silently if the module is missing.
        optional_module: bool,
        control: &'a str,
        path: &'a str,
        arguments: Vec<&'a str>,
    },
}

/// A stage of PAM, the first word of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Auth,
    Account,
    Session,
    Password,
}

impl Stage {
    fn of(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "auth" => Self::Auth,
            "account" => Self::Account,
            "session" => Self::Session,
            "password" => Self::Password,
            _ => return None,
        })
    }

    /// Its name in the file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Account => "account",
            Self::Session => "session",
            Self::Password => "password",
        }
    }
}

impl<'a> Line<'a> {
    /// Parses an entry.
    pub(crate) fn read(code: &'a str) -> Option<Self> {
        let (first, rest) = word(code)?;
        if first.eq_ignore_ascii_case("@include") {
            return Some(Self::Include { stage: None, file: word(rest)?.0 });
        }
        let stage = Stage::of(first.strip_prefix('-').unwrap_or(first))?;
        let (control, rest) = word(rest)?;
        let (path, rest) = word(rest)?;
        if control.eq_ignore_ascii_case("include") || control.eq_ignore_ascii_case("substack") {
            return Some(Self::Include { stage: Some(stage), file: path });
        }
        let arguments = std::iter::successors(word(rest), |(_, rest)| word(rest)).map(|(word, _)| word);
        let optional_module = first.starts_with('-');
        Some(Self::Module { stage, optional_module, control, path, arguments: arguments.collect() })
    }

    /// Whether it is, or includes, lines of a stage.
    pub(crate) fn is_of(&self, wanted: Stage) -> bool {
        match self {
            Self::Include { stage, .. } => stage.is_none_or(|stage| stage == wanted),
            Self::Module { stage, .. } => *stage == wanted,
        }
    }
}

/// The first word, and the rest. Words in brackets are one.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches(BLANK);
    let end =
        if text.starts_with('[') { text.find(']')? + 1 } else { text.find(BLANK).unwrap_or(text.len()) };
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<(usize, usize, String, bool)> {
        let tidy = |code: &str| code.split_whitespace().collect::<Vec<_>>().join(" ");
        let all = entries(text).into_iter();
        all.map(|entry| (entry.lines.start, entry.lines.end, tidy(&entry.code), entry.clear)).collect()
    }

    #[test]
    fn lines_are_put_together_as_libpam_does() {
        let found = codes("# c\n\nauth required \\  \n  a.so\naccount x \\\t\n y.so # c \\\nsession b c\n");
        let expected = [
            (2, 4, "auth required a.so".to_owned(), true),
            (4, 6, "account x y.so".to_owned(), true),
            (6, 7, "session b c".to_owned(), true),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_comment_that_ends_in_a_backslash_hides_no_line_below_it() {
        let text = "# hidden? \\\naccount sufficient pam_permit.so\n";
        assert_eq!(codes(text), [(1, 2, "account sufficient pam_permit.so".to_owned(), true)]);
    }

    #[test]
    fn a_continuation_that_the_versions_read_differently_is_not_clear() {
        for text in [
            "auth x \\\n\naccount y z\n",
            "auth x \\\n# c\naccount y z\n",
            "account x y.so \\\n",
            "auth x y\\",
        ] {
            assert!(entries(text).iter().any(|entry| !entry.clear), "{text}");
        }
    }

    #[test]
    fn stages_and_controls_are_known_in_any_case() {
        let Some(Line::Module { stage, control, path, optional_module, .. }) =
            Line::read("-ACCOUNT [success=ok  default=die] a.so x")
        else {
            panic!("no module")
        };
        assert_eq!((stage, control, path), (Stage::Account, "[success=ok  default=die]", "a.so"));
        assert!(optional_module);
        let include = Line::Include { stage: Some(Stage::Session), file: "common" };
        assert_eq!(Line::read("Session SubStack common"), Some(include));
        assert_eq!(Line::read("@include common"), Some(Line::Include { stage: None, file: "common" }));
        for none in
            ["", "account", "account required", "nonsense required a.so", "account [x a.so", "@include"]
        {
            assert_eq!(Line::read(none), None, "{none}");
        }
    }
}
