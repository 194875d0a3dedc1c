//! Runs a program of the host and returns its output.

use std::process::{Command, Stdio};

/// The standard output of a program. The program gets an empty environment, with the locale C.
///
/// # Errors
/// A clause: the program cannot be run, or it failed, with its standard error.
pub fn output_of(program: &str, arguments: &[&str]) -> Result<String, String> {
    let run =
        Command::new(program).args(arguments).env_clear().env("LC_ALL", "C").stdin(Stdio::null()).output();
    let output = run.map_err(|why| format!("{program} cannot be run: {why}"))?;
    if !output.status.success() {
        let printed = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} failed: {}", printed.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
