//! Runs a program of the host and returns its output.

use std::process::{Command, Stdio};

/// The standard output of a program. The program gets an empty environment, with the locale C.
///
/// # Errors
/// A clause: the program cannot be run, or it failed, with its standard error.
pub fn output_of(program: &str, arguments: &[&str]) -> Result<String, String> {
    let ended = run(program, arguments)?;
    if ended.status != Some(0) {
        return Err(format!("{program} failed: {}", ended.errors.trim()));
    }
    Ok(ended.output)
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit status; none where a signal ended it.
    pub status: Option<i32>,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub errors: String,
}

/// Runs a program to its end. Of our environment it gets nothing; its locale is C, its input is empty.
///
/// # Errors
/// A clause: it cannot be run. One that fails is no error here.
pub fn run(program: &str, arguments: &[&str]) -> Result<Ended, String> {
    let run =
        Command::new(program).args(arguments).env_clear().env("LC_ALL", "C").stdin(Stdio::null()).output();
    let output = run.map_err(|why| format!("{program} cannot be run: {why}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ended { status: output.status.code(), output: text(&output.stdout), errors: text(&output.stderr) })
}
