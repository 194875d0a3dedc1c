//! Prints the result, as text or as JSON.

use std::collections::BTreeSet;

use jit_proto::bus::view::VerifyView;
use serde::Serialize;

use super::found::{Silence, Source, Verification};
use super::text::source_text;
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Prints the result, as text or as JSON, and returns the exit status.
pub(super) fn tell(found: &Verification, output: &Output) -> Result<Exit, Failure> {
    let exit = match (&found.broken, found.parts.iter().all(|(_, view)| view.problems.is_empty())) {
        (Some(_), _) => Exit::ChainBroken,
        (None, false) => Exit::NotWhole,
        (None, true) => Exit::Done,
    };
    if output.is_json() {
        let parts: Vec<Part<'_>> = found
            .parts
            .iter()
            .chain(&found.broken)
            .map(|(source, view)| Part { source: *source, view })
            .collect();
        let (whole, repeated) = (found.broken.is_none(), found.repeated);
        let bad = found.broken.as_ref();
        output.document(&Verdict {
            whole,
            bad_seq: bad.map_or(0, |(_, view)| view.bad_seq),
            problem: bad.map_or("", |(_, view)| &view.problem),
            repeated,
            cut: &found.unchecked.0,
            not_comparable: &found.unchecked.1,
            silence: found.silence.as_ref(),
            parts,
        })?;
        return Ok(exit);
    }
    for (source, view) in found.parts.iter().chain(&found.broken) {
        output.text(&source_text(*source, view, found))?;
    }
    if let Some(silence) = &found.silence {
        output.text(&silence.told())?;
    }
    output.text(&found.joined())?;
    let sources: BTreeSet<u8> = found.parts.iter().map(|(source, _)| *source as u8).collect();
    if found.broken.is_none() && sources.len() > 1 {
        output.text("all sources agree on the records they share\n")?;
    }
    Ok(exit)
}

/// The JSON of `--json`.
#[derive(Serialize)]
struct Verdict<'a> {
    whole: bool,
    bad_seq: u64,
    problem: &'a str,
    /// Number of repeated messages.
    repeated: u64,
    /// Records with cut messages: the contents of their facts were not checked.
    cut: &'a [u64],
    /// Records whose messages cannot be compared with their hashes for another reason.
    not_comparable: &'a [u64],
    /// The end of the copy and the next heartbeat; null where no message has a time.
    silence: Option<&'a Silence>,
    parts: Vec<Part<'a>>,
}

#[derive(Serialize)]
struct Part<'a> {
    source: Source,
    #[serde(flatten)]
    view: &'a VerifyView,
}
