//! One difference between two drift scans.

use super::snapshot::Map;
use crate::core::drift::kind::Kind;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// Where; empty where it is about no path.
    pub(super) path: String,
    /// In which map of the snapshot.
    pub(super) map: Map,
    /// What it is about.
    pub(super) kind: Kind,
    /// Of a process: the file of the unit that says to run it, where one does.
    pub(super) unit: Option<String>,
    /// Whose file it is or was.
    pub(super) uid: u32,
    /// For people, before the path: `added setuid `. Control characters are escaped, here and below.
    pub(super) verb: String,
    /// The path for people, or the whole text where it is about no path.
    pub(super) shown: String,
    /// For people, behind the path: `: its content`.
    pub(super) tail: String,
}

impl Finding {
    /// There is nothing to compare with, although sessions were open.
    pub(super) fn baseline_is_gone() -> Self {
        let line = "what an earlier drift scan found is not in /var/lib/jitd, if there was one: changes before now are \
                    known by their times only";
        Self::of(Kind::Gate, line.to_owned())
    }

    /// One that is about no path.
    pub(super) fn of(kind: Kind, line: String) -> Self {
        let (path, verb, tail) = (String::new(), String::new(), String::new());
        Self { path, map: Map::Places, kind, unit: None, uid: 0, verb, shown: line, tail }
    }

    /// The whole line.
    pub(super) fn line(&self) -> String {
        format!("{}{}{}", self.verb, self.shown, self.tail)
    }

    /// Findings are told in this order: what root alone can do by kind, then users' own files, then what could not be
    /// looked at. A finding about no path is the first of its kind.
    pub(super) fn order(&self) -> (Kind, &str, Map) {
        (self.kind, &self.path, self.map)
    }
}
