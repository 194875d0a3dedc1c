//! A difference between two drift scans.

use super::snapshot::Map;
use crate::core::drift::kind::Kind;

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// The path; empty where there is none.
    pub(super) path: String,
    /// The map of the snapshot that it is in.
    pub(super) map: Map,
    /// Its kind.
    pub(super) kind: Kind,
    /// For a process: the file of the unit that starts it, if one does.
    pub(super) unit: Option<String>,
    /// The owner of the file, before or after the change.
    pub(super) uid: u32,
    /// The text before the path: `added setuid `. Control characters are escaped, here and below.
    pub(super) verb: String,
    /// The path as text, or the whole text where there is no path.
    pub(super) shown: String,
    /// The text after the path: `: its content`.
    pub(super) tail: String,
}

impl Finding {
    /// The finding that there is no baseline, although sessions were open.
    pub(super) fn baseline_is_gone() -> Self {
        let line = "what an earlier drift scan found is not in /var/lib/jitd, if there was one: changes before now are \
                    known by their times only";
        Self::of(Kind::Gate, line.to_owned())
    }

    /// A finding without a path.
    pub(super) fn of(kind: Kind, line: String) -> Self {
        let (path, verb, tail) = (String::new(), String::new(), String::new());
        Self { path, map: Map::Places, kind, unit: None, uid: 0, verb, shown: line, tail }
    }

    /// The whole line.
    pub(super) fn line(&self) -> String {
        format!("{}{}{}", self.verb, self.shown, self.tail)
    }

    /// The order of findings: kinds that only root can cause, then users' own files, then paths that could not be
    /// scanned. A finding without a path is the first of its kind.
    pub(super) fn order(&self) -> (Kind, &str, Map) {
        (self.kind, &self.path, self.map)
    }
}
