//! Rust source without what does not count: comments, the contents of strings, and test modules.

/// The text of a file in which comments, strings and tests are blank; lines stay where they are.
#[derive(Debug)]
pub(crate) struct Source {
    code: String,
    /// Modules that are declared for tests only, in files of their own.
    pub(crate) test_modules: Vec<String>,
}

/// A word or a sign of the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    Name(String),
    Path,
    Sign(char),
}

impl Source {
    /// Reads a file's text.
    pub(crate) fn new(text: &str) -> Self {
        let mut code = blank_comments_and_strings(text);
        let mut test_modules = Vec::new();
        while let Some(start) = code.find("#[cfg(test)]") {
            let end = end_of_item(&code, start);
            let item = code[start + "#[cfg(test)]".len()..end].trim();
            if let Some(name) = item.strip_suffix(';').and_then(|item| item.rsplit_once("mod ")) {
                test_modules.push(name.1.trim().to_owned());
            }
            let blank: String =
                code[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
            code.replace_range(start..end, &blank);
        }
        Self { code, test_modules }
    }

    /// Lines that hold code.
    pub(crate) fn lines_of_code(&self) -> usize {
        self.code.lines().filter(|line| !line.trim().is_empty()).count()
    }

    /// The code as words and signs.
    pub(crate) fn tokens(&self) -> Vec<Token> {
        let mut tokens = Vec::new();
        let mut rest = self.code.as_str();
        while let Some(first) = rest.chars().next() {
            if first.is_alphanumeric() || first == '_' {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                tokens.push(Token::Name(rest[..end].to_owned()));
                rest = &rest[end..];
            } else if let Some(after) = rest.strip_prefix("::") {
                tokens.push(Token::Path);
                rest = after;
            } else {
                if !first.is_whitespace() {
                    tokens.push(Token::Sign(first));
                }
                rest = &rest[first.len_utf8()..];
            }
        }
        tokens
    }
}

/// Where an item ends that begins with an attribute: with its block, or with a semicolon.
fn end_of_item(code: &str, start: usize) -> usize {
    let mut depth = 0_i32;
    let mut attribute = 0_i32;
    for (at, c) in code[start..].char_indices() {
        match c {
            '[' => attribute += 1,
            ']' => attribute -= 1,
            '{' | '(' => depth += 1,
            ')' => depth -= 1,
            '}' => {
                depth -= 1;
                if depth <= 0 {
                    return start + at + usize::from(depth == 0);
                }
            }
            ';' | ',' if depth == 0 && attribute == 0 => return start + at + 1,
            _ => {}
        }
    }
    code.len()
}

fn blank_comments_and_strings(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let blank = |code: &mut String, part: &[char]| {
        code.extend(part.iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
    };
    let mut at = 0;
    while at < chars.len() {
        let next = chars.get(at + 1).copied();
        let before = at.checked_sub(1).and_then(|at| chars.get(at)).copied();
        let in_a_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let end = match chars[at] {
            '/' if next == Some('/') => line_end(&chars, at),
            '/' if next == Some('*') => comment_end(&chars, at),
            '"' => string_end(&chars, at),
            'r' if !in_a_word || before == Some('b') || before == Some('c') => {
                raw_string_end(&chars, at).unwrap_or(at)
            }
            '\'' => char_end(&chars, at).unwrap_or(at),
            _ => at,
        };
        if end > at {
            let string = chars[at] != '/';
            if string {
                // So that a line that holds only a string is a line of code.
                code.push('"');
                blank(&mut code, &chars[at + 1..end]);
            } else {
                blank(&mut code, &chars[at..end]);
            }
            at = end;
        } else {
            code.push(chars[at]);
            at += 1;
        }
    }
    code
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |length| at + length)
}

fn comment_end(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

fn raw_string_end(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let mut at = open + 1;
    while at < chars.len() {
        if chars[at] == '"' && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(chars.len())
}

/// Where a character ends; a lifetime is none.
fn char_end(chars: &[char], start: usize) -> Option<usize> {
    if chars.get(start + 1) == Some(&'\\') {
        let close = chars.get(start + 3..)?.iter().position(|c| *c == '\'')?;
        return Some(start + 3 + close + 1);
    }
    (chars.get(start + 2) == Some(&'\'')).then_some(start + 3)
}

#[test]
fn what_does_not_count_is_blank() {
    let text = "use a::b; // use c::d;\n/* use e::f; /* x */ */ fn g<'a>(x: &'a str) -> char { '\"' }\n\
        const S: &str = \"use h::i; // no\"; const R: &str = r#\"\"use j::k\"#;\n\
        #[cfg(test)]\n#[allow(x)]\nmod tests { use super::*; fn y() { z(); } }\nfn after() {}\n\
        #[cfg(test)]\nmod apart;\nuse l::m;\n";
    let source = Source::new(text);
    for gone in ["c::d", "e::f", "h::i", "j::k", "super", "apart"] {
        assert!(!source.code.contains(gone), "{gone} stayed:\n{}", source.code);
    }
    for kept in ["use a::b", "fn g<'a>", "fn after", "use l::m"] {
        assert!(source.code.contains(kept), "{kept} is gone:\n{}", source.code);
    }
    assert_eq!(source.test_modules, ["apart"]);
    assert_eq!(source.lines_of_code(), 5);
}
