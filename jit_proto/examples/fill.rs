//! Fills a template of `packaging/` with the table of audit events: `fill FILE.in >FILE`.

use std::process::ExitCode;

use jit_proto::audit::event::publish::{fill, is_filled};

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "it writes a file for make")]
fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("fill: name the template");
        return ExitCode::from(2);
    };
    match std::fs::read_to_string(&path).map(|template| fill(&template)) {
        Ok(text) if is_filled(&text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Ok(_) => {
            eprintln!("fill: {path} asks for a list that there is not");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("fill: {path}: {error}");
            ExitCode::FAILURE
        }
    }
}
