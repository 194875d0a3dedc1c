//! The command line of jitd: turns arguments into calls to the daemon, and its answers into text or JSON.
//!
//! Knows no policy and decides nothing: whether a person may do a thing is the daemon's answer. What is left of a window
//! comes from the daemon; the clock is read in `clock` alone, for moments that people count back from now. Of the host's
//! files it reads those that `audit verify` is given, and changes none but those of `audit forward` and, in `pam`, PAM stacks.
#![forbid(unsafe_code)]

mod cli;

mod manual;

mod offer;

mod request;

mod grant;

mod session;

mod role;

mod policy;

mod pam;

mod polkit;

mod audit;

mod report;

mod status;

mod setup;

mod doctor;

mod period;

mod target;

mod ask;

mod nearest;

mod watch;

mod client;

mod values;

mod render;

mod output;

mod pager;

mod json;

mod failure;

mod clock;

#[cfg(test)]
mod documents;

#[cfg(test)]
mod samples;

#[cfg(test)]
mod terminal_safety;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind::{
    DisplayHelp as Help, DisplayHelpOnMissingArgumentOrSubcommand as HelpForWantOfVerb,
    DisplayVersion as Version,
};
use jit_proto::bus::names::error;

use crate::cli::{Cli, Verb};
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    match Cli::try_parse_from(&words) {
        Ok(cli) => {
            let output = Output::new(cli.json);
            let done = carry_out(cli.verb, &output);
            output.finish();
            done.unwrap_or_else(|failure| output.failure(&failure)).into()
        }
        // clap tells requested help (stdout, 0) from a missing verb (stderr, 2).
        Err(error) if matches!(error.kind(), Help | HelpForWantOfVerb | Version) => {
            // If the reader has gone, nothing is lost.
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

/// Executes one verb.
fn carry_out(verb: Verb, output: &Output) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| Failure::new(Exit::Failed, error::FAILED, &format!("jitctl cannot start: {why}")))?;
    runtime.block_on(async {
        match verb {
            Verb::Request(verb) => request::run(verb, output).await,
            Verb::Grant(verb) => grant::run(verb, output).await,
            Verb::Sessions(args) => session::sessions(args, output).await.map(|()| Exit::Done),
            Verb::Status(verb) => status::run(verb, output).await,
            Verb::Roles(args) => role::roles(args, output).await.map(|()| Exit::Done),
            Verb::Audit(verb) => audit::run(verb, output).await,
            Verb::Report(args) => report::made(args, output).await,
            Verb::Policy(verb) => policy::run(verb, output).await,
            Verb::Setup(args) => setup::run(args, output).await,
            Verb::Pam(verb) => pam::run(verb, output).await,
            Verb::Doctor(args) => doctor::doctor(args, output).await,
            Verb::Polkit(verb) => polkit::run(verb, output).map(|()| Exit::Done),
            // Packaging runs these two without a bus.
            Verb::Man => output.text(&manual::page()?).map(|()| Exit::Done),
            Verb::Completions { shell } => output.text(&manual::completions(shell)?).map(|()| Exit::Done),
        }
    })
}
