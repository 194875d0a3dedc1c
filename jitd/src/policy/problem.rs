//! Problems of a policy as text.

use jit_proto::bus::view::{ProblemView, Severity};
use jit_proto::escape::Escaped;

/// One problem per line, as `jitd --check` prints them.
#[must_use]
pub fn problem_lines(problems: &[ProblemView]) -> String {
    let line = |problem: &ProblemView| {
        let place = if problem.line > 0 { format!(":{}", problem.line) } else { String::new() };
        let key = if problem.key.is_empty() { String::new() } else { format!("{}: ", Escaped(&problem.key)) };
        let warning = if problem.severity == Severity::Warning { "warning: " } else { "" };
        format!("{}{place}: {key}{warning}{}", Escaped(&problem.file), Escaped(&problem.message))
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_whatever_its_file_and_key_are_called() {
        let text = || "a\nb\u{1b}[2J".to_owned();
        let problem =
            ProblemView { file: text(), line: 3, key: text(), message: text(), severity: Severity::Error };
        let shown = "a\\u{a}b\\u{1b}[2J";
        assert_eq!(problem_lines(&[problem]), format!("{shown}:3: {shown}: {shown}"));
    }
}
