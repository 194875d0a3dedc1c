//! `policy check`: the problems of the policy files, and members of roles whom sudo refuses anyway.

use clap::Args;
use jit_proto::bus::view::{ProblemView, Severity};
use jit_proto::escape::Escaped;

use super::unreachable_roles as sudoers;
use crate::client::Daemon;
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Options of `policy check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Exit with status 1 for warnings as well
    #[arg(long)]
    exit_code: bool,
}

/// `policy check`.
pub(super) async fn check(args: CheckArgs, output: &Output) -> Result<Exit, Failure> {
    let mut found = match check_at_daemon().await {
        Err(mut failure) if failure.exit == Exit::Unreachable => {
            failure.message.push_str("; to check the files without the daemon: /usr/libexec/jitd --check");
            return Err(failure);
        }
        other => other?,
    };
    // Of the roles in force: sudoers is not a file of the daemon's, and only root may read it.
    if let Ok(policy) = Daemon::reach().await?.policy_show().await {
        match sudoers::warnings(&policy.roles) {
            Ok(warnings) => found.extend(warnings),
            Err(why) => {
                output.talk(&format!("not checked whether the members of roles are in sudoers: {why}"))
            }
        }
    }
    output.list(&found, "the policy files have no problems", problems)?;
    let failed = |problem: &ProblemView| args.exit_code || problem.severity == Severity::Error;
    Ok(if found.iter().any(failed) { Exit::Failed } else { Exit::Done })
}

async fn check_at_daemon() -> Result<Vec<ProblemView>, Failure> {
    Daemon::reach().await?.policy_check().await
}

/// `FILE:LINE: KEY: MESSAGE`, one per line, as compilers write and editors parse it.
pub(crate) fn problems(problems: &[ProblemView]) -> String {
    problems
        .iter()
        .map(|ProblemView { file, line, key, message, severity }| {
            let line = if *line == 0 { String::new() } else { format!("{line}:") };
            let key = if key.is_empty() { String::new() } else { format!(" {}:", Escaped(key)) };
            let warning = if *severity == Severity::Warning { " warning:" } else { "" };
            format!("{}:{line}{key}{warning} {}\n", Escaped(file), Escaped(message))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_file_line_and_key() {
        let mut problem = ProblemView {
            file: "/etc/jitd/roles.d/web.toml".into(),
            line: 3,
            key: "role.web-admin.max_duration".into(),
            message: "9h is above the ceiling of 8h".into(),
            severity: Severity::Error,
        };
        assert_eq!(
            problems(&[problem.clone()]),
            "/etc/jitd/roles.d/web.toml:3: role.web-admin.max_duration: 9h is above the ceiling of 8h\n"
        );
        (problem.line, problem.key) = (0, String::new());
        problem.severity = Severity::Warning;
        assert_eq!(
            problems(&[problem.clone()]),
            "/etc/jitd/roles.d/web.toml: warning: 9h is above the ceiling of 8h\n"
        );
        problem.severity = Severity::Error;
        assert_eq!(problems(&[problem]), "/etc/jitd/roles.d/web.toml: 9h is above the ceiling of 8h\n");
    }
}
