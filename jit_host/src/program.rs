//! Runs a program of the host and takes what it prints.

use std::process::{Command, Stdio};

/// What a program prints on its standard output. Of our environment it gets nothing; its locale is C.
///
/// # Errors
/// A clause: it cannot be run, or it failed, with what it printed on its standard error.
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
