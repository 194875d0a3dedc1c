//! The policy: checked and shown.

mod unreachable_roles;

mod check;

mod show;

use clap::Subcommand;

use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::values::TableArgs;

pub(crate) use self::check::problems;
#[cfg(test)]
pub(crate) use self::show::{PolicyView, policy};

/// The commands about the policy.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Read the policy files again and print every problem; changes nothing
    Check(check::CheckArgs),
    /// Show the policy in force
    Show(TableArgs),
}

/// Executes one of them.
pub(crate) async fn run(verb: Verb, output: &Output) -> Result<Exit, Failure> {
    match verb {
        Verb::Check(args) => check::check(args, output).await,
        Verb::Show(args) => show::show(args, output).await.map(|()| Exit::Done),
    }
}
