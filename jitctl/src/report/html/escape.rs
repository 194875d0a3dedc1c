//! Escapes text for HTML.

use jit_proto::escape::Escaped;

/// A text as HTML text or as the value of a quoted attribute.
pub(super) fn safe(text: &str) -> String {
    let escaped = Escaped(text).to_string();
    escaped.chars().fold(String::with_capacity(escaped.len()), |mut safe, c| {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
        safe
    })
}
