//! Asks questions on a terminal; a script gets an error instead.

use std::io::{self, BufRead, IsTerminal};

use jit_proto::bus::names::error;

use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Whether there is a terminal to ask on.
pub(crate) fn somebody(output: &Output) -> bool {
    !output.is_json() && io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks, and returns the trimmed answer; empty at the end of the input.
pub(crate) fn line(question: &str, output: &Output) -> Result<String, Failure> {
    output.talk(question);
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|why| {
        Failure::new(Exit::Usage, error::INVALID_ARGUMENT, &format!("the answer cannot be read: {why}"))
    })?;
    Ok(line.trim().to_owned())
}

/// Asks for confirmation; anything but yes is a no.
pub(crate) fn yes(question: &str, output: &Output) -> Result<bool, Failure> {
    let answer = line(&format!("{question} [y/N]"), output)?;
    Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
}
