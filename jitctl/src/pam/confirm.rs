//! `pam confirm` and `pam undo`: the end of a change that waits.

use jit_proto::bus::names::error;
use serde::Serialize;

use super::files::Folder;
use super::pending::{self, Pending};
use super::{must_be_root, timer};
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// What was done, for `--json`.
#[derive(Debug, Serialize)]
struct Confirmed {
    /// The services whose stacks stay as they are now.
    confirmed: Vec<String>,
}

/// What was done, for `--json`.
#[derive(Debug, Serialize)]
struct Undone {
    /// The services whose stacks were put back.
    undone: Vec<String>,
}

/// `pam confirm`.
pub(super) fn confirm(output: &Output) -> Result<(), Failure> {
    must_be_root("confirm")?;
    let folder = Folder::of_host();
    let pending = Pending::read(&folder)?;
    let Some(pending) = pending.filter(|pending| pending.is_in_force(&folder)) else {
        return Err(none(
            "there is no change to confirm: none was made, or it was undone; see: jitctl pam status",
        ));
    };
    if !Pending::confirm(&folder)? {
        return Err(none("the change has just been undone; see: jitctl pam status"));
    }
    timer::disarm(&pending.unit);
    let confirmed = Confirmed { confirmed: pending.services };
    output.view(&confirmed, |confirmed| {
        let stacks = confirmed.confirmed.join(", ");
        format!("{stacks}: the change stays; jitctl pam disable takes the lines out\n")
    })
}

/// `pam undo`, by hand or by the timer.
pub(super) fn undo(output: &Output) -> Result<(), Failure> {
    must_be_root("undo")?;
    let folder = Folder::of_host();
    let pending = Pending::read(&folder)?;
    let undone = Undone { undone: pending::undo(&folder)? };
    if let Some(pending) = pending {
        timer::disarm(&pending.unit);
    }
    // Where another jitctl is at work, what is there is its own.
    if folder.kept("").exists()
        && let Ok(lock) = folder.lock()
    {
        folder.clear(&lock);
    }
    folder.tidy();
    if undone.undone.is_empty() {
        output.talk("nothing had to be undone");
    }
    output.view(&undone, |undone| match &undone.undone[..] {
        [] => String::new(),
        undone => format!("{}: as it was before jitctl pam enable\n", undone.join(", ")),
    })
}

fn none(message: &str) -> Failure {
    Failure::new(Exit::NoSuch, error::NO_SUCH, message)
}
