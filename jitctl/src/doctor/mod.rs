//! `doctor`: looks whether every way to become root on this host is closed, and what else keeps jitd from its work.

mod finding;

mod host;

mod checks;

mod paths;

mod text;

mod record;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;

use self::finding::Look;
use self::host::{Host, Told};
use self::paths::{Path, State};
use crate::client::Daemon;
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Options of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Only this kind of check; may be given more than once
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(names()))]
    check: Vec<String>,
    /// Record in the audit log what is open now and was not before, and what was mended (root, outside of windows)
    #[arg(long, conflicts_with = "check")]
    record: bool,
}

/// The kind of check that tries the paths.
const PATHS: &str = "paths";

fn names() -> Vec<&'static str> {
    [PATHS].into_iter().chain(checks::ALL.iter().map(|check| check.name)).collect()
}

/// What doctor has found.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Diagnosis {
    /// Every path that this host has.
    pub(crate) paths: Vec<Path>,
    #[serde(flatten)]
    pub(crate) look: Look,
}

/// `doctor`.
pub(crate) async fn doctor(args: DoctorArgs, output: &Output) -> Result<Exit, Failure> {
    let wanted = |name: &str| args.check.is_empty() || args.check.iter().any(|check| check == name);
    let mut diagnosis = Diagnosis::default();
    if rustix::process::geteuid().is_root() {
        let host = Host::here(told().await);
        for check in checks::ALL.iter().filter(|check| wanted(check.name)) {
            (check.look)(&host, &mut diagnosis.look);
        }
        if wanted(PATHS) {
            let since = crate::clock::now();
            diagnosis.paths = paths::tried(&host, &mut diagnosis.look);
            record::name_records(&mut diagnosis.paths, since).await;
            paths::tell(&diagnosis.paths, &mut diagnosis.look);
        }
    } else {
        let looks_at = checks::ALL.iter().filter(|check| wanted(check.name)).map(|check| check.looks_at);
        let paths = wanted(PATHS).then_some("every path to root that this host has");
        for what in paths.into_iter().chain(looks_at) {
            diagnosis.look.unseen(what, "only root can look; type: sudo jitctl doctor");
        }
    }
    output.view(&diagnosis, |diagnosis| text::text(diagnosis, output.is_terminal()))?;
    if args.record {
        record::changes(&diagnosis.look).await?;
    }
    Ok(exit_of(&diagnosis))
}

/// 1 where something is open; 2 where nothing is known to be, but not everything was looked at.
fn exit_of(diagnosis: &Diagnosis) -> Exit {
    let open = diagnosis.paths.iter().any(|path| path.state == State::Open);
    match (open || !diagnosis.look.findings.is_empty(), diagnosis.look.unseen.is_empty()) {
        (true, _) => Exit::Failed,
        // The number of a usage error is that of a look that was not whole.
        (false, false) => Exit::Usage,
        (false, true) => Exit::Done,
    }
}

/// What jitd says of itself.
async fn told() -> Told {
    let sentence = |failure: Failure| failure.message;
    let daemon = match Daemon::reach().await {
        Ok(daemon) => daemon,
        Err(failure) => {
            let why = failure.message;
            return Told { roles: Err(why.clone()), problems: Err(why.clone()), status: Err(why) };
        }
    };
    Told {
        status: daemon.status().await.map_err(sentence),
        roles: daemon.roles().await.map_err(sentence),
        problems: daemon.policy_check().await.map_err(sentence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(state: State) -> Path {
        Path { name: "sudo".into(), state, how: "tried".into(), service: "sudo".into(), argv: Vec::new() }
    }

    #[test]
    fn what_is_open_decides_the_exit_status_before_what_was_not_seen() {
        let mut diagnosis = Diagnosis { paths: vec![path(State::Closed)], ..Diagnosis::default() };
        assert_eq!(exit_of(&diagnosis), Exit::Done);
        diagnosis.look.unseen("x", "y");
        assert_eq!(exit_of(&diagnosis) as u8, 2);
        diagnosis.paths.push(path(State::Open));
        assert_eq!(exit_of(&diagnosis), Exit::Failed);
    }

    #[test]
    fn a_right_host_prints_one_line_a_path() {
        let diagnosis = Diagnosis { paths: vec![path(State::Closed)], ..Diagnosis::default() };
        assert_eq!(text::text(&diagnosis, true), "closed  sudo  tried\n");
    }

    #[test]
    fn a_finding_says_what_why_and_how_it_is_mended() {
        let mut diagnosis = Diagnosis::default();
        diagnosis.look.open("a/b", "what it is", "why it matters", "what to type");
        let text = text::text(&diagnosis, false);
        for part in ["OPEN  what it is\n", "why it matters", "what to type", "1 thing is open"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn every_kind_of_check_has_a_name_of_its_own() {
        let mut all = names();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), checks::ALL.len() + 1);
    }
}
