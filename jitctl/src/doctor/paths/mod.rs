//! The ways to become another user on this host, each of them tried by an account that has no window.

mod trial;

mod probe;

mod polkit;

use std::fmt;

use serde::Serialize;

pub(super) use self::trial::denied;

use super::checks::right_stack;
use super::finding::Look;
use super::host::Host;

/// What became of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It was denied.
    Closed,
    /// It was not.
    Open,
    /// It could not be tried, or ended in a way that proves nothing.
    Unknown,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Closed => "closed",
            Self::Open => "OPEN",
            Self::Unknown => "unknown",
        })
    }
}

/// A way to become another user that this host has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Path {
    /// As people call it: `sudo -i`, `pkexec`.
    pub(crate) name: String,
    /// Whether it lets somebody through who has no window.
    pub(crate) state: State,
    /// How that is known.
    pub(crate) how: String,
    /// The PAM service that jitd was asked for; empty where it is not asked.
    pub(crate) service: String,
    /// What was run, as the audit log names it; nothing where nothing was.
    #[serde(skip)]
    pub(crate) argv: Vec<String>,
}

/// Tries each of them.
pub(super) fn tried(host: &Host, look: &mut Look) -> Vec<Path> {
    let mut paths = match probe::Probe::ready() {
        Ok(probe) => trial::TRIALS.iter().filter_map(|trial| trial.run(host, &probe)).collect(),
        Err(why) => {
            look.unseen("whether sudo, su and doas deny an account without a window", why);
            Vec::new()
        }
    };
    paths.extend(polkit::asked(host, look));
    paths
}

/// Says of each what is to be done: what is open is a finding too, so that it has its mend.
pub(super) fn tell(paths: &[Path], look: &mut Look) {
    for path in paths {
        let name = &path.name;
        match path.state {
            State::Closed => {}
            State::Unknown => look.unseen(format!("whether {name} is closed"), &path.how),
            // What polkit answers has its finding from there.
            State::Open if path.service.is_empty() => {}
            State::Open => look.open(
                format!("path/{}", name.replace(' ', "")),
                format!("{name} lets an account without a window become another: {}", path.how),
                "whoever may use it becomes root without asking anybody, and no record tells of it",
                right_stack(&path.service),
            ),
        }
    }
}
