//! Writes findings as lines: the most severe first, findings in one folder together, and every name as far as the
//! bounds allow; omissions are stated.

use std::collections::BTreeMap;

use jit_proto::escape::{Escaped, word};

use super::finding::Finding;
use crate::core::drift::finding::Line;
use crate::core::drift::kind::Kind;

/// From this number on, findings of one kind in one folder that differ only in the file name become one line.
const MIN_GROUP: usize = 4;
/// A line has about this many bytes at most, so that one fits into a record that fits into a syslog message.
const MAX_LINE: usize = 800;
/// A line about a single finding is cut at this many bytes.
const MAX_SINGLE_LINE: usize = 2000;
/// All the lines of a scan have at most this many bytes: some seventy records for each grant.
const MAX_BYTES: usize = 60_000;
/// Lines about files of one user who is not root: no user can displace lines about root's files or another user's.
const MAX_LINES_OF_A_USER: usize = 8;

/// The lines of the findings.
pub(super) fn lines(findings: &[Finding]) -> Vec<Line> {
    let mut of_user: BTreeMap<u32, usize> = BTreeMap::new();
    let mut lines = Vec::new();
    let mut bytes = 0;
    let (mut untold, mut worst_untold) = (0, Kind::Unseen);
    for (finding, count, line) in grouped(findings) {
        let of_this_user = of_user.entry(finding.uid).or_default();
        *of_this_user += 1;
        let crowding = finding.uid != 0 && *of_this_user > MAX_LINES_OF_A_USER;
        if crowding || bytes + line.len() > MAX_BYTES {
            untold += count;
            worst_untold = worst_untold.min(finding.kind);
            continue;
        }
        bytes += line.len();
        lines.push(Line { kind: finding.kind, text: line });
    }
    if untold > 0 {
        let text =
            format!("and {untold} more that are not named here, the gravest of them {}", worst_untold.noun());
        lines.push(Line { kind: worst_untold, text });
    }
    lines
}

/// Lines, each with a finding that stands for it, and the number of findings in it.
fn grouped(findings: &[Finding]) -> Vec<(&Finding, usize, String)> {
    // Groups are in the order of their first findings.
    let mut groups: Vec<Vec<&Finding>> = Vec::new();
    let mut by_key: BTreeMap<(Kind, &str, &str, &str, u32), usize> = BTreeMap::new();
    let mut accounts: Option<usize> = None;
    for finding in findings {
        if finding.kind == Kind::Accounts && finding.path.starts_with("/etc/") {
            // An account can be in up to six files.
            let at = *accounts.get_or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            if let Some(group) = groups.get_mut(at) {
                group.push(finding);
            }
            continue;
        }
        let folder = finding.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let key = (finding.kind, folder, finding.verb.as_str(), finding.tail.as_str(), finding.uid);
        match by_key.get(&key).and_then(|at| groups.get_mut(*at)) {
            Some(group) if !finding.verb.is_empty() => group.push(finding),
            _ => {
                by_key.insert(key, groups.len());
                groups.push(vec![finding]);
            }
        }
    }
    groups.into_iter().flat_map(|group| lines_of(&group)).collect()
}

fn lines_of<'a>(group: &[&'a Finding]) -> Vec<(&'a Finding, usize, String)> {
    let Some(first) = group.first().copied() else { return Vec::new() };
    if first.kind == Kind::Accounts && first.path.starts_with("/etc/") {
        let mut group = group.to_vec();
        group.sort_by_key(|finding| match finding.path.as_str() {
            "/etc/passwd" => 0,
            "/etc/group" => 1,
            "/etc/shadow" => 2,
            _ => 3,
        });
        return packed(&group, "", "; ", Finding::line, "");
    }
    if group.len() < MIN_GROUP {
        return group.iter().map(|finding| (*finding, 1, cut(finding.line()))).collect();
    }
    // Each name is quoted, so that none looks like two.
    let (folder, _) = first.path.rsplit_once('/').unwrap_or_default();
    let verb = first.verb.trim_end_matches(' ');
    let name = |finding: &Finding| {
        let name = finding.path.rsplit_once('/').map_or(finding.path.as_str(), |(_, name)| name);
        Escaped(&word(name)).to_string()
    };
    let head = format!("{verb} {} files in {}: ", group.len(), Escaped(&word(folder)));
    packed(group, &head, ", ", name, &first.tail)
}

/// Splits a group into as few lines as the length allows.
fn packed<'a>(
    group: &[&'a Finding],
    head: &str,
    between: &str,
    part: impl Fn(&Finding) -> String,
    tail: &str,
) -> Vec<(&'a Finding, usize, String)> {
    let mut lines: Vec<(&Finding, usize, String)> = Vec::new();
    for finding in group {
        let part = cut(part(finding));
        match lines.last_mut() {
            Some((_, count, line)) if line.len() + between.len() + part.len() + tail.len() <= MAX_LINE => {
                line.push_str(between);
                line.push_str(&part);
                *count += 1;
            }
            _ => lines.push((finding, 1, format!("{head}{part}"))),
        }
    }
    for (_, _, line) in &mut lines {
        line.push_str(tail);
    }
    lines
}

fn cut(line: String) -> String {
    match line.char_indices().map(|(at, _)| at).find(|at| *at >= MAX_SINGLE_LINE) {
        Some(end) => format!("{}...", &line[..end]),
        None => line,
    }
}
