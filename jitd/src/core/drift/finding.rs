//! What a drift scan has found, and between which moments it came.

use crate::core::drift::kind::Kind;
use jit_proto::time::WallTime;

/// A line of the findings, and the gravest kind of what it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it is about.
    pub kind: Kind,
    /// For people; control characters are escaped.
    pub text: String,
}

/// What a drift scan found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// What changed, the gravest first; never empty.
    pub lines: Vec<Line>,
    /// How many findings the lines tell of, together with those that were cut off.
    pub count: usize,
    /// When it was as it had been; `None` where that is not known.
    pub since: Option<WallTime>,
    /// When it was found.
    pub until: WallTime,
}

impl Changes {
    pub(in crate::core) fn interval(&self) -> String {
        let until = to_the_second(self.until);
        match self.since.map(to_the_second) {
            Some(since) if since.get(..10) == until.get(..10) => {
                let time = until.get(11..).unwrap_or(&until);
                format!("changed between {since} and {time} UTC")
            }
            Some(since) => format!("changed between {since} and {until} UTC"),
            None => format!("changed before {until} UTC"),
        }
    }
}

/// `2026-11-28 08:48:26`, in UTC.
fn to_the_second(moment: WallTime) -> String {
    let text = moment.to_rfc3339();
    text.get(..19).map_or(text.clone(), |text| text.replace('T', " "))
}
