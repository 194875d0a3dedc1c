//! What changes in a stack, line by line, as `diff -u` writes it.

use std::fmt::Write as _;
use std::path::Path;

/// Lines around a change that are shown with it.
const AROUND: usize = 3;

/// The difference of two texts in the unified format (diff(1)); empty where they are the same.
pub(super) fn unified(path: &Path, before: &str, after: &str) -> String {
    let steps = steps(&lines(before), &lines(after));
    let mut text = String::new();
    let is_near = |at: usize| {
        let from = at.saturating_sub(AROUND);
        steps.iter().skip(from).take(at - from + AROUND + 1).any(|(sign, _)| *sign != ' ')
    };
    let (mut old, mut new, mut at) = (1, 1, 0);
    while at < steps.len() {
        if !is_near(at) {
            (old, new, at) = (old + 1, new + 1, at + 1);
            continue;
        }
        let hunk: Vec<_> = (at..steps.len()).take_while(|at| is_near(*at)).map(|at| steps[at]).collect();
        let count = |sign: char| hunk.iter().filter(|(its, _)| *its != sign).count();
        let (taken, given) = (count('+'), count('-'));
        if text.is_empty() {
            let _ = writeln!(text, "--- {0}\n+++ {0}", path.display());
        }
        let _ = writeln!(text, "@@ -{old},{taken} +{new},{given} @@");
        for (sign, line) in &hunk {
            let _ = writeln!(text, "{sign}{line}");
        }
        (old, new, at) = (old + taken, new + given, at + hunk.len());
    }
    text
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

/// Each line with ` `, `-` or `+`, by the longest common subsequence; a stack has some dozens of lines.
fn steps<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<(char, &'a str)> {
    let mut common = vec![vec![0_usize; after.len() + 1]; before.len() + 1];
    for i in (0..before.len()).rev() {
        for j in (0..after.len()).rev() {
            common[i][j] = match before[i] == after[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut steps) = (0, 0, Vec::new());
    while i < before.len() || j < after.len() {
        if i < before.len() && j < after.len() && before[i] == after[j] {
            steps.push((' ', before[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == after.len() || i < before.len() && common[i + 1][j] >= common[i][j + 1] {
            steps.push(('-', before[i]));
            i += 1;
        } else {
            steps.push(('+', after[j]));
            j += 1;
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_with_what_is_around_it() {
        let path = Path::new("/etc/pam.d/sudo");
        assert_eq!(unified(path, "a\nb\n", "a\nb\n"), "");
        let before: String = (1..=12).map(|n| format!("{n}\n")).collect();
        let after = before.replace("2\n3\n", "2\nnew\n3\n") + "last\n";
        let shown = unified(path, &before, &after);
        let expected = "--- /etc/pam.d/sudo\n+++ /etc/pam.d/sudo\n@@ -1,5 +1,6 @@\n 1\n 2\n+new\n 3\n 4\n 5\n\
            @@ -10,3 +11,4 @@\n 10\n 11\n 12\n+last\n";
        assert_eq!(shown, expected);
        assert_eq!(unified(path, "a\nb\n", "b\n").lines().last(), Some(" b"));
    }
}
