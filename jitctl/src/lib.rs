//! The command line of jitd: turns words into calls to the daemon, and its answers into text or JSON.
//!
//! Knows no policy and decides nothing: whether a person may do a thing is the daemon's answer. What is left of a window
//! comes from the daemon; the clock is read in `clock` alone, for moments that people count back from now, and of files
//! only those that `audit verify` is given.
#![forbid(unsafe_code)]

mod args;

mod offer;

mod verbs;

mod verify;

mod store_file;

mod seal;

mod sudoers;

mod record;

mod absent;

mod report;

mod wait;

mod call;

mod failure;

mod output;

mod pager;

mod ask;

mod near;

mod json;

mod render;

mod manual;

mod clock;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind::{
    DisplayHelp as Help, DisplayHelpOnMissingArgumentOrSubcommand as HelpForWantOfVerb,
    DisplayVersion as Version,
};

use crate::args::Cli;
use crate::failure::Exit;
use crate::output::Output;

/// Runs the command line this process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    match Cli::try_parse_from(&words) {
        Ok(cli) => {
            let output = Output::new(cli.json);
            let done = verbs::run(cli.verb, &output);
            output.finish();
            done.unwrap_or_else(|failure| output.failure(&failure)).into()
        }
        // clap knows which of these were asked for (stdout, 0) and which are for want of a verb (stderr, 2).
        Err(error) if matches!(error.kind(), Help | HelpForWantOfVerb | Version) => {
            // A reader who has gone away misses nothing.
            let _ = error.print();
            if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() }
        }
        Err(error) => {
            let json = words.iter().any(|word| word == "--json");
            let output = Output::new(json);
            let exit = output.failure(&failure::usage(&error));
            offer::choices(&words, &error, &output);
            exit.into()
        }
    }
}
