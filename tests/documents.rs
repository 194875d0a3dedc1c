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

/// The rows of the tables of a document, without the heads: `columns` cells each.
fn rows(text: &str, columns: usize) -> Vec<Vec<String>> {
    let table = |line: &&str| line.starts_with('|');
    let lines: Vec<&str> = text.lines().collect();
    let heads = lines.iter().zip(lines.iter().skip(1)).filter(|(_, next)| next.starts_with("| ---"));
    let heads: Vec<&str> = heads.map(|(head, _)| *head).collect();
    let rows = lines.iter().copied().filter(table).filter(|line| !line.starts_with("| ---"));
    let rows = rows.filter(|line| !heads.contains(line)).map(cells);
    rows.inspect(|row| assert_eq!(row.len(), columns, "{row:?}")).collect()
}

#[test]
fn every_published_fault_names_tests_that_are_there_or_says_why_it_does_not_apply() {
    let root = paths::repository();
    let text = fs::read_to_string(root.join("docs/cve.md")).unwrap();
    let rows = rows(&text, 4);
    assert!(rows.len() > 40, "only {} rows were found", rows.len());
    let mut problems = Vec::new();
    for row in &rows {
        let [fault, _, here, tests] = &row[..] else { unreachable!() };
        let tests = code_spans(tests);
        if tests.is_empty() && !here.starts_with("Does not apply") {
            problems.push(format!("{fault}: no test, and no reason why it does not apply"));
        }
        for test in tests.iter().filter(|test| !is_there(&root, test)) {
            problems.push(format!("{fault}: no such test, {test}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Every file with this ending below a folder.
fn files_below(folder: &Path, ending: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found
}

/// A source without what is only written differently: lines that go on, and escaped quotes.
fn as_printed(source: &str) -> String {
    let mut lines = source.split("\\\n");
    let mut text = lines.next().unwrap_or_default().to_owned();
    lines.for_each(|line| text.push_str(line.trim_start()));
    text.replace("\\\"", "\"")
}

#[test]
fn every_message_of_troubleshooting_md_is_in_the_source() {
    let root = paths::repository();
    let text = fs::read_to_string(root.join("docs/troubleshooting.md")).unwrap();
    let crates = ["pam_jit", "jitd", "jitctl", "jit_host", "jit_proto"];
    let sources = crates.iter().flat_map(|name| files_below(&root.join(name).join("src"), ".rs"));
    let sources: Vec<String> = sources.map(|path| as_printed(&fs::read_to_string(path).unwrap())).collect();
    let rows = rows(&text, 3);
    assert!(rows.len() > 80, "only {} messages were found", rows.len());
    let mut problems = Vec::new();
    for row in &rows {
        let spans = code_spans(&row[0]);
        let [message] = &spans[..] else { panic!("a message is one code span: {}", row[0]) };
        // All of its parts, in their order, in one literal of one file.
        let parts: Vec<&str> = message.split("...").map(str::trim).filter(|part| !part.is_empty()).collect();
        let has_all = |source: &String| {
            source.lines().any(|line| {
                let mut rest = line;
                parts.iter().all(|part| match rest.split_once(part) {
                    Some((_, after)) => {
                        rest = after;
                        true
                    }
                    None => false,
                })
            })
        };
        if parts.is_empty() || !sources.iter().any(has_all) {
            problems.push(format!("no such message: {message}"));
        }
        if row[1].is_empty() || row[2].is_empty() {
            problems.push(format!("what it means, or what to type, is missing: {message}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The documents that people type from.
fn documents(root: &Path) -> Vec<(String, String)> {
    let mut paths = files_below(&root.join("docs"), ".md");
    paths.push(root.join("README.md"));
    let read = |path: std::path::PathBuf| {
        (path.strip_prefix(root).unwrap().display().to_string(), fs::read_to_string(&path).unwrap())
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn every_shell_block_of_the_documents_is_a_shells() {
    let mut problems = Vec::new();
    let mut blocks = 0;
    for (name, text) in documents(&paths::repository()) {
        let mut rest = text.as_str();
        while let Some((_, after)) = rest.split_once("\n```sh\n") {
            let (block, after) =
                after.split_once("\n```").unwrap_or_else(|| panic!("{name}: a block is open"));
            rest = after;
            blocks += 1;
            let shell = std::process::Command::new("bash").args(["-n", "-c", block]).output().unwrap();
            if !shell.status.success() {
                problems.push(format!("{name}: {}\n{block}", String::from_utf8_lossy(&shell.stderr)));
            }
        }
    }
    assert!(blocks >= 3, "only {blocks} blocks were found");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
