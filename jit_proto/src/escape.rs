//! Escapes text of people for display, so that it cannot mislead a reader or break a line.

use std::borrow::Cow;
use std::fmt;

/// Combining marks on one letter; more would paint over the lines around it.
const MAX_MARKS: u8 = 4;
/// The end of a text that was cut.
const CUT: &str = "...";
/// The beginning of an escape.
const ESCAPE: &str = "\\u{";

/// Displays a text with every character escaped that could mislead a terminal, a log or a reader.
///
/// What [`is_unsafe`] becomes `\u{HEX}`, and so does a combining mark that is on no letter or digit, or one too many on
/// it. A backslash stays, since names contain it (`CORP\bob`, jit-audit(5), "TEXTS"); only where the text itself has
/// `\u{` does its backslash become `\u{5c}`. So the result is one line, a text with nothing to escape is unchanged in
/// every format, and [`unescaped`] restores the text. (sudo CVE-2023-28486; Unicode TR 36, section 3; Unicode TR 39,
/// section 5.4.)
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut marks = Marks::default();
        self.0.char_indices().try_for_each(|(at, c)| escape(c, &self.0[at..], &mut marks, f))
    }
}

/// Restores the text that [`Escaped`] displays: each `\u{HEX}` is that character, everything else is itself.
#[must_use]
pub fn unescaped(shown: &str) -> String {
    let mut text = String::with_capacity(shown.len());
    let mut rest = shown;
    while let Some(at) = rest.find(ESCAPE) {
        let (before, escape) = rest.split_at(at);
        text.push_str(before);
        let code = escape[ESCAPE.len()..].split_once('}');
        let code =
            code.and_then(|(hex, rest)| Some((char::from_u32(u32::from_str_radix(hex, 16).ok()?)?, rest)));
        match code {
            Some((c, behind)) => {
                text.push(c);
                rest = behind;
            }
            None => {
                text.push_str(ESCAPE);
                rest = &escape[ESCAPE.len()..];
            }
        }
    }
    text.push_str(rest);
    text
}

/// A text as [`Escaped`] displays it, cut between two characters if it would be longer than this many bytes.
#[must_use]
pub fn cut(text: &str, longest: usize) -> String {
    let mut shown = String::new();
    let mut marks = Marks::default();
    let mut room = 0;
    for (at, c) in text.char_indices() {
        if shown.len() + CUT.len() <= longest {
            room = shown.len();
        }
        // Writing to a String cannot fail.
        let _ = escape(c, &text[at..], &mut marks, &mut shown);
        if shown.len() > longest {
            shown.truncate(room);
            shown.push_str(CUT);
            break;
        }
    }
    shown
}

/// An escaped text, cut before a character if it is longer than this many bytes.
#[must_use]
pub fn cut_escaped(shown: &str, longest: usize) -> String {
    if shown.len() <= longest {
        return shown.to_owned();
    }
    let mut end = longest.saturating_sub(CUT.len());
    while !shown.is_char_boundary(end) {
        end -= 1;
    }
    // No escape is split.
    let begun = shown[..end].rfind('\\').filter(|at| {
        shown[*at..].starts_with(ESCAPE) && shown[*at..].find('}').is_none_or(|close| at + close >= end)
    });
    format!("{}{CUT}", &shown[..begun.unwrap_or(end)])
}

/// Escapes one character; `rest` begins with it.
fn escape(c: char, rest: &str, marks: &mut Marks, to: &mut impl fmt::Write) -> fmt::Result {
    if marks.are_misplaced_by(c) || is_unsafe(c) || rest.starts_with(ESCAPE) {
        write!(to, "\\u{{{:x}}}", u32::from(c))
    } else {
        to.write_char(c)
    }
}

/// A text as one of several words: quoted as for a shell, where it could be taken for several words or a separator. It
/// is not escaped yet.
#[must_use]
pub fn word(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "-_=+,./:@%^".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("'{}'", text.replace('\'', "'\\''")))
    }
}

/// Escapes in a JSON text what serde_json leaves raw in strings, as [`Escaped`] does elsewhere (RFC 8259 section 7).
/// Newlines are only layout, since serde_json escapes those in strings.
#[must_use]
pub fn spelled_out_json(json: &str) -> Cow<'_, str> {
    use fmt::Write;
    if json.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len());
    let mut marks = Marks::default();
    for c in json.chars() {
        if marks.are_misplaced_by(c) || (c != '\n' && is_unsafe(c)) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Whether a character must not be displayed as it is: a control, a mark that reorders text, an invisible or blank
/// character other than the space, and one without an agreed meaning (private, unassigned).
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    !is_printable(c)
        // Letters and symbols that are blank, and marks that are invisible (Unicode, Default_Ignorable_Code_Point).
        || matches!(c, '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a character has to be escaped in a line of JSON, depending on the one before it.
pub(crate) fn may_be_spelled_out(c: char) -> bool {
    is_unsafe(c) || is_mark(c)
}

/// Whether the standard library's escaping leaves a character unchanged after a letter: everything but the general
/// categories C (control, format, private, unassigned) and Z (separators).
fn is_printable(c: char) -> bool {
    let mut bytes = [b'a'; 5];
    let length = 1 + c.encode_utf8(&mut bytes[1..]).len();
    let behind_a_letter = std::str::from_utf8(&bytes[..length]).unwrap_or_default();
    behind_a_letter.escape_debug().nth(1) == Some(c)
}

/// Whether a character combines with the one before it: the standard library escapes it only at the beginning.
fn is_mark(c: char) -> bool {
    !c.is_ascii() && c.escape_debug().next() != Some(c) && is_printable(c)
}

/// The number of marks that may still follow.
#[derive(Default)]
struct Marks {
    room: u8,
}

impl Marks {
    /// Takes the next character; whether it is a mark in a wrong place.
    fn are_misplaced_by(&mut self, c: char) -> bool {
        if !is_mark(c) {
            self.room = if c.is_alphanumeric() { MAX_MARKS } else { 0 };
            return false;
        }
        let misplaced = self.room == 0;
        self.room = self.room.saturating_sub(1);
        misplaced
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_could_fool_a_terminal_is_spelled_out() {
        assert_eq!(
            Escaped("a\x1b[2J\nb\u{9b}c\u{202e}d\\").to_string(),
            "a\\u{1b}[2J\\u{a}b\\u{9b}c\\u{202e}d\\"
        );
        for stays in [
            "Ünïcode \u{1f600} stays",
            "日本語、中文。",
            "Ελληνικά",
            "עברית",
            "हिन्दी",
            "e\u{301}o\u{323}\u{302}",
        ] {
            assert_eq!(Escaped(stays).to_string(), stays);
        }
    }

    #[test]
    fn what_nobody_can_see_is_spelled_out() {
        for c in [
            '\u{ad}',
            '\u{a0}',
            '\u{34f}',
            '\u{61c}',
            '\u{1160}',
            '\u{180e}',
            '\u{2003}',
            '\u{200b}',
            '\u{200d}',
            '\u{202a}',
            '\u{202e}',
            '\u{2066}',
            '\u{2069}',
            '\u{2028}',
            '\u{2800}',
            '\u{3000}',
            '\u{3164}',
            '\u{e000}',
            '\u{f7ff}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{ffff}',
            '\u{1d173}',
            '\u{e0041}',
            '\u{e01ef}',
            '\u{10ffff}',
        ] {
            assert!(is_unsafe(c), "{c:?}");
            assert_eq!(Escaped(&format!("a{c}")).to_string(), format!("a\\u{{{:x}}}", u32::from(c)));
        }
    }

    #[test]
    fn marks_stay_on_the_letter_they_belong_to() {
        // On jitd's own quote or bracket it would change text that is not the person's.
        assert_eq!(Escaped("\u{301}a").to_string(), "\\u{301}a");
        assert_eq!(Escaped("(\u{20dd})").to_string(), "(\\u{20dd})");
        let piled = Escaped(&format!("a{}", "\u{301}".repeat(6))).to_string();
        assert_eq!(piled, format!("a{}\\u{{301}}\\u{{301}}", "\u{301}".repeat(4)));
        assert_eq!(spelled_out_json("{\"a\":\"\u{301}e\u{301}\"}"), "{\"a\":\"\\u0301e\u{301}\"}");
    }

    #[test]
    fn a_word_stays_one_word() {
        assert_eq!(word("/usr/bin/id"), "/usr/bin/id");
        assert_eq!(word(""), "''");
        assert_eq!(word("a; b"), "'a; b'");
        assert_eq!(word("it's"), "'it'\\''s'");
    }

    #[test]
    fn a_cut_is_between_characters() {
        assert_eq!(cut(&"x".repeat(64), 64), "x".repeat(64));
        assert_eq!(cut(&"x".repeat(65), 64), format!("{}...", "x".repeat(61)));
        assert_eq!(cut("ab\n\n\n\n", 11), "ab\\u{a}...");
        assert_eq!(cut("ab", 0), "...");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_gets_through(text in "\\PC*|[\\x00-\\x20\\u{80}-\\u{a0}\\u{2000}-\\u{2070}]*|\\p{M}*") {
            let shown = Escaped(&text).to_string();
            prop_assert!(!shown.chars().any(is_unsafe));
            prop_assert!(!shown.starts_with(is_mark));
        }

        #[test]
        fn a_cut_text_is_as_long_as_it_may_be(text in "\\PC{0,30}|[\\n\\x1b\\u{202e}aé\\\\]{0,30}", longest in 3_usize..90) {
            let (whole, cut) = (Escaped(&text).to_string(), cut(&text, longest));
            prop_assert!(cut.len() <= longest);
            prop_assert!(cut_escaped(&whole, longest).len() <= longest);
            prop_assert!(cut_escaped(&whole, longest) == cut, "{cut}");
            prop_assert!(cut == whole || (whole.len() > longest && whole.starts_with(cut.trim_end_matches('.').trim_end_matches(CUT))));
        }

        #[test]
        fn a_text_comes_back(text in "\\PC{0,30}|[\\\\u{}a5c\\n\\t]{0,30}|\\p{M}{0,9}") {
            prop_assert_eq!(unescaped(&Escaped(&text).to_string()), text);
        }

        #[test]
        fn what_is_plain_is_itself(text in "[ -~]{0,30}") {
            prop_assume!(!text.contains(ESCAPE));
            prop_assert_eq!(Escaped(&text).to_string(), text);
        }

        #[test]
        fn different_texts_look_different(one in "[a\\\\nu{}\\n\\u{202e}]{0,8}", other in "[a\\\\nu{}\\n\\u{202e}]{0,8}") {
            prop_assert_eq!(one == other, Escaped(&one).to_string() == Escaped(&other).to_string());
        }

        #[test]
        fn json_means_the_same(text in "\\PC{0,20}|\\p{M}{0,8}|[\\x7f-\\u{a0}\\u{e0000}-\\u{e007f}]{0,8}") {
            let json = serde_json::to_string(&text).unwrap();
            let shown = spelled_out_json(&json);
            prop_assert!(!shown.chars().any(is_unsafe));
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }
    }
}
