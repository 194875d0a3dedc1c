//! What the documents say of the code holds: each claim of SECURITY.md names a test that is in the tree.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::fs;
use std::path::Path;

use jit_tests::paths;

/// The tables of SECURITY.md that hold claims, by their headings, and the column of their tests.
const CLAIMS: [&str; 2] = ["## Prevented", "## Made evident"];

fn cells(row: &str) -> Vec<String> {
    // A bar inside of a code span does not end a cell there (GitHub Flavored Markdown wants it escaped).
    let row = row.replace("\\|", "\u{0}");
    row.trim().trim_matches('|').split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

/// The words in backticks.
fn code_spans(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The rows of claims: what is claimed, its tests, since when.
fn claims(text: &str) -> Vec<(String, Vec<String>, String)> {
    let mut found = Vec::new();
    let mut within = false;
    for line in text.lines() {
        if line.starts_with("## ") {
            within = CLAIMS.contains(&line);
        }
        if !within || !line.starts_with('|') || line.starts_with("| ---") {
            continue;
        }
        let cells = cells(line);
        let [what, how, tests, since] = &cells[..] else { panic!("a row of claims has four cells: {line}") };
        if tests == "test" {
            continue;
        }
        let tests = code_spans(tests).into_iter().map(str::to_owned).collect();
        found.push((format!("{what}: {how}"), tests, since.clone()));
    }
    found
}

/// Whether a test of this name is in the tree: `module::function` below `tests/stories`, or `file.rs::function`.
fn is_there(root: &Path, test: &str) -> bool {
    let Some((place, function)) = test.rsplit_once("::") else { return false };
    let file = if place.ends_with(".rs") {
        root.join(place)
    } else {
        root.join("tests/stories").join(place.replace("::", "/")).with_extension("rs")
    };
    let text = fs::read_to_string(file).unwrap_or_default();
    let named = [format!("fn {function}("), format!("fn {function}<")];
    // Tests without libtest's harness carry their names in a constant.
    let in_constant = format!("const NAME: &str = \"{function}\"");
    named.iter().any(|name| text.contains(name.as_str())) || text.contains(&in_constant)
}

#[test]
fn every_claim_of_security_md_names_tests_that_are_there() {
    let root = paths::repository();
    let text = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let claims = claims(&text);
    assert!(claims.len() > 40, "only {} claims were found", claims.len());
    let mut problems = Vec::new();
    for (claim, tests, since) in &claims {
        if tests.is_empty() {
            problems.push(format!("no test: {claim}"));
        }
        if !since.chars().next().is_some_and(|first| first.is_ascii_digit()) {
            problems.push(format!("since when is {since:?}: {claim}"));
        }
        for test in tests.iter().filter(|test| !is_there(&root, test)) {
            problems.push(format!("no such test, {test}: {claim}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The paths that a text names in backticks: `a/b.rs`, `a/{b,c}.rs`, `a/b`.
fn paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for span in text.lines().filter(|line| !line.starts_with("    ")).flat_map(code_spans) {
        let is_path =
            span.contains('/') || [".rs", ".md", ".toml"].iter().any(|ending| span.ends_with(ending));
        if !is_path || span.contains([' ', '<', '*', ':', '=']) || span.starts_with('/') {
            continue;
        }
        match (span.find('{'), span.find('}')) {
            (Some(open), Some(close)) => {
                found.extend(
                    span[open + 1..close]
                        .split(',')
                        .map(|part| format!("{}{part}{}", &span[..open], &span[close + 1..])),
                );
            }
            _ => found.push(span.to_owned()),
        }
    }
    found
}

#[test]
fn every_file_that_contributing_md_names_is_there() {
    let root = paths::repository();
    let named = paths(&fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap());
    assert!(named.len() > 20, "only {named:?}");
    let missing: Vec<&String> = named.iter().filter(|path| !root.join(path).exists()).collect();
    assert!(missing.is_empty(), "CONTRIBUTING.md names files that are not there: {missing:?}");
}
