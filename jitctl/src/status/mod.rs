//! `status` and `list`: the daemon's state, what the caller holds, and all lists at once.

use clap::{Args, Subcommand};
use jit_proto::bus::view::{StackView, StatusView};
use jit_proto::escape::Escaped;
use serde_json::json;

use crate::client::Daemon;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::render::{self, counted, detail, local};
use crate::session;
use crate::values::TableArgs;

/// The commands about the whole.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List pending requests, live grants and elevated sessions
    List(TableArgs),
    /// Show the daemon's state, the grants you hold, and the PAM stacks that do not ask jitd
    Status(StatusArgs),
}

/// Options of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Exit with status 1 if no policy is in force, a PAM stack does not ask jitd, or jitd observes
    #[arg(long)]
    exit_code: bool,
}

/// Executes one of them.
pub(crate) async fn run(verb: Verb, output: &Output) -> Result<Exit, Failure> {
    match verb {
        Verb::List(args) => list(&args, output).await?,
        Verb::Status(args) => {
            let status = Daemon::reach().await?.status().await?;
            output.view(&status, |status| self::status(status, output.is_terminal()))?;
            let observes = status.observes || !status.observing_roles.is_empty();
            if args.exit_code && (status.policy_digest.is_empty() || !status.stacks.is_empty() || observes) {
                return Ok(Exit::Failed);
            }
        }
    }
    Ok(Exit::Done)
}

/// All requests, grants and sessions that the caller may see.
async fn list(args: &TableArgs, output: &Output) -> Result<(), Failure> {
    output.page();
    let sheet = &output.sheet(args.full);
    let daemon = Daemon::reach().await?;
    let (pending, grants, sessions) =
        (daemon.pending().await?, daemon.grants().await?, daemon.sessions().await?);
    if output.is_json() {
        return output.document(&json!({ "pending": pending, "grants": grants, "sessions": sessions }));
    }
    let mut parts = Vec::new();
    if !pending.is_empty() {
        parts.push(format!("pending requests\n{}", render::request::pending(&pending)));
    }
    if !grants.is_empty() {
        parts.push(format!("live grants\n{}", render::grant::table(&grants, sheet)));
    }
    if !sessions.is_empty() {
        parts.push(format!("elevated sessions\n{}", session::table(&sessions, sheet)));
    }
    if parts.is_empty() {
        output.talk("no request is pending, no grant is live, no session is open");
    }
    output.text(&parts.join("\n"))
}

/// The daemon's state, and what the caller holds and waits for.
pub(crate) fn status(status: &StatusView, on_a_terminal: bool) -> String {
    let mut text = format!("jitd {}, running since {}\n", Escaped(&status.version), local(status.started_at));
    let policy = if status.policy_digest.is_empty() {
        "none was accepted, so every request is denied; run jitctl policy check".to_owned()
    } else {
        let digest: String = status.policy_digest.chars().take(12).collect();
        let roles = counted(status.roles, "role", "roles");
        format!("{}, loaded {}, {roles}", Escaped(&digest), local(status.policy_loaded_at))
    };
    text += &detail("policy", &policy);
    text += &detail(
        "host",
        &format!(
            "{}, {}, {}",
            counted(status.pending, "pending request", "pending requests"),
            counted(status.grants, "live grant", "live grants"),
            counted(status.sessions, "open session", "open sessions")
        ),
    );
    let unsent = match status.unsent {
        0 => "all sent to syslog".to_owned(),
        unsent => format!("{unsent} not yet sent to syslog"),
    };
    text += &detail("audit", &format!("{}, {unsent}", counted(status.records, "record", "records")));
    // SGR 1, 31 and 0: bold, red, and back (ECMA-48, 8.3.117).
    let (red, plain) = if on_a_terminal { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    for line in render::observing(status.observes, &status.observing_roles) {
        text += &format!("{red}{line}{plain}\n");
    }
    for StackView { service, file, line, message } in &status.stacks {
        let line = if *line == 0 { String::new() } else { format!(":{line}") };
        text += &format!(
            "{red}NOT GATED: {} lets people become root without a window{plain}\n    {}{line}: {}\n",
            Escaped(service),
            Escaped(file),
            Escaped(message)
        );
    }
    for problem in &status.problems {
        text += &detail("AUDIT LOG", &Escaped(problem).to_string());
    }
    for problem in &status.acknowledged {
        text += &detail("acknowledged", &Escaped(problem).to_string());
    }
    let user = Escaped(&status.user);
    if status.held.is_empty() {
        text += &format!("{user} holds no grant\n");
    } else {
        text += &format!("{user} holds\n");
        for grant in &status.held {
            text += &format!("    {}, grant {}\n", render::grant::window(grant), grant.id);
        }
    }
    if !status.asked.is_empty() {
        text += &format!("{user} has requested\n");
        for request in &status.asked {
            text += &format!("    {}\n", render::request::line(request));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::a_status;

    #[test]
    fn status_tells_what_is_held_and_how_long_it_lasts() {
        let text = status(&a_status("alice"), false);
        assert!(text.contains("alice holds\n    web-admin until "), "{text}");
        assert!(text.contains(" (28m left), grant 7\n"), "{text}");
        assert!(text.contains("request 7: web-admin for 30m, needs 1 approval\n"), "{text}");
        assert!(text.contains("2 pending requests, 1 live grant, 0 open sessions\n"), "{text}");
        assert!(text.contains("1234 records, all sent to syslog\n"), "{text}");
    }

    #[test]
    fn a_host_that_observes_says_so_loudly() {
        let mut view = a_status("web");
        view.stacks.clear();
        let text = status(&view, true);
        let red = "\u{1b}[1;31mOBSERVING: this host lets calls pass that enforcing would deny";
        assert!(text.contains(red), "{text}");
        view.observes = false;
        let text = status(&view, false);
        assert!(text.contains("OBSERVING: members of web pass"), "{text}");
        view.observing_roles.clear();
        assert!(!status(&view, false).contains("OBSERVING"));
    }

    #[test]
    fn an_acknowledged_problem_is_told_apart_from_an_open_one() {
        let mut view = a_status("alice");
        view.problems = vec!["record 2 says: it was emptied".into()];
        view.acknowledged = vec!["record 1 says: it was set aside; acknowledged by oscar".into()];
        let text = status(&view, false);
        assert!(text.contains("AUDIT LOG    record 2 says: it was emptied\n"), "{text}");
        assert!(
            text.contains("acknowledged record 1 says: it was set aside; acknowledged by oscar\n"),
            "{text}"
        );
    }

    #[test]
    fn status_without_a_policy_or_a_grant_says_so() {
        let mut view = a_status("alice");
        view.policy_digest.clear();
        view.held.clear();
        view.asked.clear();
        view.stacks.truncate(1);
        let text = status(&view, true);
        assert!(text.contains("every request is denied"), "{text}");
        assert!(text.ends_with("alice holds no grant\n"), "{text}");
        let red = "\u{1b}[1;31mNOT GATED: alice lets people become root without a window\u{1b}[0m\n    alice:3: alice\n";
        assert!(text.contains(red), "{text}");
    }
}
