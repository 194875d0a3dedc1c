//! The core stays pure: it does not even name what it must not know.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

const FORBIDDEN: [&str; 9] =
    ["tokio", "zbus", "std::fs", "std::net", "std::env", "std::process", "std::thread", "rusqlite", "nix::"];

#[test]
fn the_core_names_no_clock_file_bus_or_runtime() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/core");
    let files = sources(&core);
    assert!(files.len() > 8, "the core is not where it was: {files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in FORBIDDEN.iter().chain(&["Instant::now", "SystemTime"]) {
                assert!(!code.contains(word), "{}:{}: {word}", file.display(), number + 1);
            }
        }
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
