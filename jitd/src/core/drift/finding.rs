//! The changes that a drift scan found, and the interval in which they were made.

use crate::core::drift::kind::Kind;
use jit_proto::time::WallTime;

/// A line of the findings, with the most severe kind in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The most severe kind.
    pub kind: Kind,
    /// The text for people; control characters are escaped.
    pub text: String,
}

/// The changes that a drift scan found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The lines, the most severe first; never empty.
    pub lines: Vec<Line>,
    /// The number of findings in all lines, with those that were cut off.
    pub count: usize,
    /// The last time when nothing had changed; `None` where it is not known.
    pub since: Option<WallTime>,
    /// When the changes were found.
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
