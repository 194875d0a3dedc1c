//! Tests that each command line of `jitctl` in the documents is one that it takes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::Cli;
use clap::Parser as _;

/// The words of a line as a shell makes them of it, up to a comment or whatever ends a command; no variables.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ';' | '|' | '&' | '>' | '<') => break,
            (None, _) if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// The commands of a document: lines of blocks, with or without a prompt, and code spans that begin with `jitctl`.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if !fenced && !line.starts_with("    ") {
            let spans = line.split('`').skip(1).step_by(2);
            // One of them is a sentence of its own, about itself.
            let typed = |span: &&str| span.starts_with("jitctl ") && !span.starts_with("jitctl does ");
            found.extend(spans.filter(typed).map(str::to_owned));
            continue;
        }
        let typed = line.trim_start();
        let typed = match typed.split_once("$ ") {
            Some((prompt, typed)) if prompt.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                typed.trim_start()
            }
            _ => typed,
        };
        // What a transcript says of a line stands behind some blanks.
        let typed = typed.split("   ").next().unwrap_or_default();
        if typed.starts_with("jitctl ") {
            found.push(typed.to_owned());
        }
    }
    found
}

/// Placeholders that a reader replaces.
fn as_typed(word: &str) -> String {
    match word {
        "N" | "NUMBER" => "7".to_owned(),
        "ROLE" => "web-admin".to_owned(),
        "NAME" => "access.denied".to_owned(),
        "TICKET" => "INC-42".to_owned(),
        _ => word.to_owned(),
    }
}

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = fs::read_dir(root.join("docs")).unwrap();
    let mut paths: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    paths.push(root.join("README.md"));
    paths
}

#[test]
fn every_command_in_the_documents_is_one_that_jitctl_takes() {
    let mut taken = 0;
    let mut problems = Vec::new();
    for path in documents() {
        for line in commands(&fs::read_to_string(&path).unwrap()) {
            let typed: Vec<String> = words(&line).iter().map(|word| as_typed(word)).collect();
            match Cli::try_parse_from(&typed) {
                Ok(_) => taken += 1,
                Err(error) if error.exit_code() == 0 => taken += 1,
                // A noun or a verb alone in a sentence names it; whether it is one is what clap says.
                Err(error) if typed.len() <= 3 && is_a_name(&error) => taken += 1,
                // The same of an option.
                Err(error)
                    if typed.last().is_some_and(|last| last.starts_with("--")) && has_no_value(&error) =>
                {
                    taken += 1;
                }
                Err(error) => problems.push(format!("{}: {line}\n{error}", path.display())),
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(taken > 60, "only {taken} commands were found");
}

/// Whether what is missing is only what follows a verb.
fn is_a_name(error: &clap::Error) -> bool {
    use clap::error::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::MissingRequiredArgument
            | Kind::MissingSubcommand
            | Kind::DisplayHelpOnMissingArgumentOrSubcommand
    )
}

/// Whether an option stands without its value.
fn has_no_value(error: &clap::Error) -> bool {
    use clap::error::{ContextKind, ContextValue};
    let value = error.get(ContextKind::InvalidValue);
    matches!(value, Some(ContextValue::String(value)) if value.is_empty())
}

#[test]
fn a_line_is_cut_into_words_as_a_shell_does() {
    assert_eq!(
        words("jitctl deny 7 --reason \"not 'now'\"   # why"),
        ["jitctl", "deny", "7", "--reason", "not 'now'"]
    );
    assert_eq!(words("jitctl list | head"), ["jitctl", "list"]);
    assert_eq!(commands("    alice$ jitctl roles\n    bob$   jitctl pending\nsee `jitctl list`.\n").len(), 3);
}
