//! The options of the daemon.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "answers to an administrator at a terminal")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jit_proto::audit::known_head;
use jit_proto::time::WallTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::host::accounts::Nss;
use crate::host::clock::Clock;
use crate::{daemon, policy, recovery};

const USAGE: &str = "usage: jitd [--check [DIRECTORY] | --recover [--force] | --version | --help]";

/// Runs the daemon, or executes an option.
#[must_use]
pub fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    match words.next().map(|word| word.to_string_lossy().into_owned()).as_deref() {
        None => serve(),
        Some("--check") => check(words.next().map_or_else(|| PathBuf::from(daemon::POLICY), PathBuf::from)),
        Some("--recover") => match (words.next(), words.next()) {
            (None, None) => recover(false),
            (Some(word), None) if word == "--force" => recover(true),
            _ => {
                eprintln!("{USAGE}");
                ExitCode::from(2)
            }
        },
        Some("--version") => {
            println!("jitd {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Some("--help") => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Some(other) => {
            eprintln!("jitd: {other:?} is not understood\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn serve() -> ExitCode {
    match tracing_journald::layer() {
        Ok(journal) => tracing_subscriber::registry()
            .with(tracing_subscriber::filter::LevelFilter::INFO)
            .with(journal)
            .init(),
        Err(_) => {
            let terminal = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
            tracing_subscriber::registry()
                .with(tracing_subscriber::filter::LevelFilter::INFO)
                .with(terminal)
                .init();
        }
    }
    match daemon::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            eprintln!("jitd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn recover(force: bool) -> ExitCode {
    let clock = match Clock::of_this_boot() {
        Ok(clock) => clock,
        Err(error) => {
            eprintln!("jitd: the boot id cannot be read: {error}");
            return ExitCode::FAILURE;
        }
    };
    match recovery::recover(Path::new(daemon::STORE), Path::new(known_head::PATH), force, &clock) {
        Ok(said) => {
            said.iter().for_each(|line| println!("jitd: {line}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("jitd: nothing was recovered: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check(root: PathBuf) -> ExitCode {
    let (policy, problems) = policy::check(&root, &Nss, WallTime(0));
    if !problems.is_empty() {
        eprintln!("{}", policy::problem_lines(&problems));
    }
    match policy {
        Some(policy) => {
            println!("{}: {} roles, nothing wrong", root.display(), policy.roles.len());
            ExitCode::SUCCESS
        }
        None => ExitCode::FAILURE,
    }
}
