//! `make demo` plays to its end: its texts and questions are those of the package.

use std::process::Command;

use anyhow::{Result, ensure};
use jit_tests::paths;

#[test]
fn the_demo_plays_to_its_end() -> Result<()> {
    let output = Command::new(paths::program("demo")?).output()?;
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    ensure!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    ensure!(stdout.contains("=== 11. root changes a record"), "{stdout}");
    Ok(())
}
