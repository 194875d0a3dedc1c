//! Asks questions, on a terminal only; a script gets an error instead.

use std::io::{self, BufRead, IsTerminal};

use jit_proto::bus::names::error;

use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Whether there is somebody to ask.
pub(crate) fn somebody(output: &Output) -> bool {
    !output.is_json() && io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks, and returns what is typed, without what surrounds it; empty where the input has ended.
pub(crate) fn line(question: &str, output: &Output) -> Result<String, Failure> {
    output.talk(question);
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|why| {
        Failure::new(Exit::Usage, error::INVALID_ARGUMENT, &format!("the answer cannot be read: {why}"))
    })?;
    Ok(line.trim().to_owned())
}

/// Asks for a yes; everything else is a no.
pub(crate) fn yes(question: &str, output: &Output) -> Result<bool, Failure> {
    let answer = line(&format!("{question} [y/N]"), output)?;
    Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
}
