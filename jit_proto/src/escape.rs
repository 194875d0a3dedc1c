//! Text from people, made safe to show: no control character, no terminal sequence, no reordering mark gets through.

use std::fmt;

/// Shows a text with everything escaped that a terminal, a log line or a reader's eye could be fooled with.
///
/// C0 and C1 controls, DEL, line and paragraph separators and the bidirectional marks become `\n`, `\t`, `\r` or
/// `\u{..}`; a backslash becomes two. The result is one line and can be read back unambiguously.
/// (sudo CVE-2023-28486; Unicode TR 36, section 3.)
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\t' => f.write_str("\\t")?,
                '\r' => f.write_str("\\r")?,
                c if is_unsafe(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Escapes in a JSON text what serde_json leaves raw inside its strings: DEL, C1 controls, separators and bidirectional
/// marks (RFC 8259 section 7). Newlines are only ever layout, since serde_json escapes those inside strings.
#[must_use]
pub fn spelled_out_json(json: &str) -> String {
    use fmt::Write;
    json.chars().fold(String::with_capacity(json.len()), |mut out, c| {
        if c != '\n' && is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
        out
    })
}

/// Whether a character may not be shown as it is.
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_could_fool_a_terminal_is_spelled_out() {
        assert_eq!(
            Escaped("a\x1b[2J\nb\u{9b}c\u{202e}d\\").to_string(),
            "a\\u{1b}[2J\\nb\\u{9b}c\\u{202e}d\\\\"
        );
        assert_eq!(Escaped("Ünïcode \u{1f600} stays").to_string(), "Ünïcode \u{1f600} stays");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_gets_through(text in "\\PC*|[\\x00-\\x20\\u{80}-\\u{a0}\\u{2000}-\\u{2070}]*") {
            prop_assert!(!Escaped(&text).to_string().chars().any(is_unsafe));
        }
    }
}
