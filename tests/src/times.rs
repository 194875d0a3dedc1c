//! The times of a test run: a line for each host, in the file that `JIT_TIMES` names. `tests/run.sh` sums them up.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Instant;

/// Notes a duration up to now, under the name of the running test.
#[allow(clippy::disallowed_methods, reason = "tests/run.sh says where the lines go")]
pub(crate) fn note(what: &str, begun: Instant) {
    let Some(path) = std::env::var_os("JIT_TIMES") else { return };
    // libtest names its threads after the tests; with one thread there is no name but main's.
    let thread = std::thread::current();
    let line = format!("{what}\t{:.3}\t{}\n", begun.elapsed().as_secs_f64(), thread.name().unwrap_or("main"));
    // One write appends a line as a whole. A missing time fails no test.
    let _ = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(line.as_bytes()));
}
