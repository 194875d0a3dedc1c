//! PAM stacks: puts jitd's lines in so that nobody is locked out, takes them out, and shows which stacks ask.
//!
//! Works as root without jitd, for whom nothing here is secret: the stacks are the host's, and PID 1 has the timer.

mod files;

mod diff;

mod timer;

mod pending;

mod trial;

mod way_back;

mod enable;

mod disable;

mod confirm;

mod status;

use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use jit_host::pam_edit::SERVICES;
use jit_proto::bus::names::error;

use crate::failure::{Exit, Failure};
use crate::output::Output;

/// What can be done with PAM stacks.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Put jitd's lines into PAM stacks: shown as a diff, tried on a copy, and undone by itself unless confirmed (root)
    Enable(enable::EnableArgs),
    /// Take jitd's lines out of PAM stacks (root)
    Disable(disable::DisableArgs),
    /// Keep the change that `pam enable` made (root)
    Confirm,
    /// Undo the change that `pam enable` made and that is not confirmed; PID 1 does this when its time is over (root)
    Undo,
    /// Show which PAM stacks ask jitd, and the command that mends one that does not
    Status(status::StatusArgs),
}

/// Carries one of them out.
pub(crate) async fn run(verb: Verb, output: &Output) -> Result<Exit, Failure> {
    match verb {
        Verb::Enable(args) => enable::enable(args, output).await.map(|()| Exit::Done),
        Verb::Disable(args) => disable::disable(&args, output).map(|()| Exit::Done),
        Verb::Confirm => confirm::confirm(output).map(|()| Exit::Done),
        Verb::Undo => confirm::undo(output).map(|()| Exit::Done),
        Verb::Status(args) => status::status(&args, output),
    }
}

/// `pam enable` as a part of `setup`.
///
/// # Errors
/// As `pam enable`; no stack has changed then.
pub(crate) async fn enable(services: Vec<String>, observe: bool, output: &Output) -> Result<(), Failure> {
    enable::enable(enable::EnableArgs::of_setup(services, observe), output).await
}

/// One of the services whose stacks are edited.
pub(crate) fn a_service() -> PossibleValuesParser {
    PossibleValuesParser::new(SERVICES.map(|(service, _)| service))
}

fn must_be_root(verb: &str) -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let message = format!("only root may change PAM stacks; as root type: jitctl pam {verb}");
    Err(Failure::new(Exit::Refused, error::NOT_AUTHORIZED, &message))
}
