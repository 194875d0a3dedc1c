//! Holds the entries of the manual pages to the table of settings.

use std::fs;
use std::path::Path;

use crate::core::policy::{DAEMON, ROLE, Setting, Standard};

/// A block of entries: the page, its name there, and its keys.
type Block = (&'static str, &'static str, &'static [Setting], fn(&str) -> Option<&str>);

const BLOCKS: [Block; 4] = [
    ("jit-roles.5", "role", ROLE, |key| Some(key)),
    ("jitd.toml.5", "daemon", DAEMON, |key| {
        Some(key).filter(|key| !key.starts_with("alerts.") && !key.starts_with("notify."))
    }),
    ("jitd.toml.5", "alerts", DAEMON, |key| key.strip_prefix("alerts.")),
    ("jitd.toml.5", "notify", DAEMON, |key| key.strip_prefix("notify.")),
];

/// `JIT_WRITE_MANUAL=1` writes the entries into the pages.
#[test]
#[allow(clippy::disallowed_methods, reason = "a test that writes a page on demand")]
fn the_manual_pages_have_the_entries_of_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/man");
    for (page, name, rows, of_block) in BLOCKS {
        let path = folder.join(page);
        let text = fs::read_to_string(&path).unwrap();
        let begin = format!(".\\\" begin {name}: from jitd/src/core/policy/table.rs\n");
        let end = format!(".\\\" end {name}\n");
        let from = text.find(&begin).unwrap_or_else(|| panic!("{page} has no {begin}")) + begin.len();
        let to = text.find(&end).unwrap_or_else(|| panic!("{page} has no {end}"));
        let entries: String =
            rows.iter().filter_map(|row| of_block(row.key).map(|key| entry(key, row))).collect();
        if std::env::var_os("JIT_WRITE_MANUAL").is_some() {
            fs::write(&path, format!("{}{entries}{}", &text[..from], &text[to..])).unwrap();
        } else {
            assert_eq!(text[from..to], entries, "{page}: JIT_WRITE_MANUAL=1 cargo test -p jitd --lib manual");
        }
    }
}

/// The entry of a row (man(7)).
fn entry(key: &str, row: &Setting) -> String {
    let mut about = row.default.to_string();
    let bounds = row.kind.bounds();
    if !bounds.is_empty() {
        about = format!("{about}; {bounds}");
    }
    let about = if row.default == Standard::Value("\"\"") { "default: none".to_owned() } else { about };
    let paragraphs: Vec<String> = row.doc.split('\n').map(roff).collect();
    format!(".TP\n\\fB{key}\\fP ({})\n{}\n", escaped(&about), paragraphs.join("\n.IP\n"))
}

/// A paragraph in roff: a line for each sentence, `word` and the name of a page in bold.
fn roff(paragraph: &str) -> String {
    let mut text = String::new();
    for (number, part) in paragraph.split('`').enumerate() {
        if number % 2 == 1 {
            text += &format!("\\fB{}\\fP", escaped(part));
        } else {
            let words: Vec<String> = part.split(' ').map(word).collect();
            text += &words.join(" ");
        }
    }
    let lines: Vec<String> = text.replace(". ", ".\n").lines().map(str::to_owned).collect();
    // roff would read a line that begins with a dot or an apostrophe as a request.
    lines
        .iter()
        .map(|line| if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.clone() })
        .fold(String::new(), |all, line| if all.is_empty() { line } else { format!("{all}\n{line}") })
}

/// A word, in bold where it is the name of a page before its section.
fn word(word: &str) -> String {
    let is_page = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    match word.split_once('(') {
        Some((name, rest)) if is_page(name) && rest.starts_with(|c: char| c.is_ascii_digit()) => {
            format!("\\fB{}\\fP({rest}", escaped(name))
        }
        _ => escaped(word),
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('"', "\\(dq")
        .replace('^', "\\(ha")
        .replace('\'', "\\(aq")
}
