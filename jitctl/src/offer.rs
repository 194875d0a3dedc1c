//! Lists the choices for a missing role or number on the command line.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use jit_proto::bus::view::{GrantView, RequestView, RoleView};

use crate::client::Daemon;
use crate::failure::Failure;
use crate::output::Output;
use crate::{render, role};

/// Lists the choices for a verb's missing role or number. Lists that cannot be fetched are omitted: the command line is
/// wrong in any case, and that is reported.
pub(crate) fn choices(words: &[OsString], error: &clap::Error, output: &Output) {
    if output.is_json() || !wants_a_choice(error) {
        return;
    }
    let verb = words.iter().skip(1).filter_map(|word| word.to_str()).find(|word| !word.starts_with('-'));
    let Some(verb) = verb else { return };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    if let Ok(Some(text)) = runtime.block_on(choices_of(verb, output)) {
        output.talk(text.trim_end());
    }
}

/// Whether a role or a number is missing.
fn wants_a_choice(error: &clap::Error) -> bool {
    let missing = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) => missing.as_slice(),
        Some(ContextValue::String(missing)) => std::slice::from_ref(missing),
        _ => &[],
    };
    error.kind() == ErrorKind::MissingRequiredArgument
        && missing.iter().any(|name| name.starts_with("<ID") || name == "<ROLE>")
}

async fn choices_of(verb: &str, output: &Output) -> Result<Option<String>, Failure> {
    let daemon = Daemon::reach().await?;
    let own = rustix::process::getuid().as_raw();
    Ok(match verb {
        "request" => Some(roles(daemon.roles().await?, output)),
        "grant" => Some(roles(
            daemon.roles().await?.into_iter().map(|role| RoleView { may_request: true, ..role }).collect(),
            output,
        )),
        "approve" | "deny" => Some(requests(
            daemon.pending().await?,
            |request| request.may_approve,
            "no pending request is yours to decide",
        )),
        "cancel" => Some(requests(
            daemon.pending().await?,
            |request| request.uid == own,
            "you have no pending request",
        )),
        "show" => Some(requests(daemon.pending().await?, |_| true, "no request is pending")),
        "extend" | "release" => Some(grants(&daemon.status().await?.held, "you hold no grant", output)),
        "revoke" => Some(grants(&daemon.grants().await?, "no grant is live", output)),
        _ => None,
    })
}

fn roles(roles: Vec<RoleView>, output: &Output) -> String {
    let open: Vec<RoleView> = roles.into_iter().filter(|role| role.may_request).collect();
    if open.is_empty() {
        return "there is no role that you may request".to_owned();
    }
    format!("the roles are:\n{}", role::table(&open, &output.sheet(false)))
}

fn requests(requests: Vec<RequestView>, wanted: impl Fn(&RequestView) -> bool, none: &str) -> String {
    let open: Vec<RequestView> = requests.into_iter().filter(|request| wanted(request)).collect();
    if open.is_empty() {
        return none.to_owned();
    }
    format!("the pending requests are:\n{}", render::request::pending(&open))
}

/// Grants as a table under a sentence.
pub(crate) fn grants(grants: &[GrantView], none: &str, output: &Output) -> String {
    if grants.is_empty() {
        return none.to_owned();
    }
    format!("the grants are:\n{}", render::grant::table(grants, &output.sheet(false)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn wants(line: &str) -> bool {
        let error = crate::cli::Cli::try_parse_from(line.split(' ')).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        wants_a_choice(&error)
    }

    #[test]
    fn a_missing_role_or_number_is_a_choice_and_nothing_else_is() {
        for line in
            ["jitctl request", "jitctl request --for 30m", "jitctl approve", "jitctl deny", "jitctl cancel"]
        {
            assert!(wants(line), "{line}");
        }
        for line in
            ["jitctl deny --reason no", "jitctl revoke --reason no", "jitctl extend", "jitctl grant alice"]
        {
            assert!(wants(line), "{line}");
        }
        for line in ["jitctl deny 7", "jitctl frobnicate", "jitctl approve seven", "jitctl audit seal"] {
            assert!(!wants(line), "{line}");
        }
    }
}
