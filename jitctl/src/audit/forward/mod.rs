//! `audit forward`: has rsyslog take the records over a socket of its own and write each as one line of RFC 5424.

mod arrival;

mod change;

mod rsyslog;

mod setting;

mod steps;

use std::path::{Path, PathBuf};

use clap::Args;
use jit_proto::bus::names::error;
use serde_json::json;

use self::change::Change;
use self::rsyslog::{Collector, FILES, LOG, SOCKET};
use self::steps::{Host, Step};
use crate::client::Daemon;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::render::counted;

/// The settings of jitd.
const SETTINGS: &str = "/etc/jitd/jitd.toml";

/// Options of `audit forward`.
#[derive(Debug, Args)]
pub(crate) struct ForwardArgs {
    /// Send each line to this collector as well, over TCP, unencrypted, with octet counting (RFC 6587); may be repeated
    #[arg(long, value_name = "HOST:PORT", value_parser = rsyslog::collector)]
    to: Vec<Collector>,
    /// Remove what audit forward has written, and send the records to /dev/log again
    #[arg(long, conflicts_with_all = ["to", "force"])]
    remove: bool,
    /// Print what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Replace files that were edited or that audit forward has not written, and a syslog_socket that is set already
    #[arg(long)]
    force: bool,
}

/// `audit forward`.
pub(super) async fn forward(args: ForwardArgs, output: &Output) -> Result<Exit, Failure> {
    let ForwardArgs { to, remove, dry_run, force } = args;
    if !dry_run && !rustix::process::geteuid().is_root() {
        let message = "only root can change files of rsyslog and jitd; --dry-run shows the change to anybody";
        return Err(Failure::new(Exit::Refused, error::NOT_AUTHORIZED, message));
    }
    let settings = std::fs::canonicalize(SETTINGS).unwrap_or_else(|_| PathBuf::from(SETTINGS));
    let changes = if remove { removal(&settings)? } else { installation(&settings, &to, force)? };
    if !output.is_json() {
        changes.iter().try_for_each(|change| output.text(&change.diff()))?;
    }
    let told = |arrived: Option<u64>| {
        let files: Vec<_> = changes.iter().map(Change::told).collect();
        let to: Vec<String> = to.iter().map(ToString::to_string).collect();
        json!({
            "forwarding": !remove, "dry_run": dry_run, "changes": files, "socket": SOCKET, "file": LOG, "to": to,
            "arrived": arrived,
        })
    };
    if dry_run || changes.is_empty() {
        let sentence = if changes.is_empty() {
            if remove { "nothing to remove" } else { "nothing to change: rsyslog takes the records already" }
        } else {
            "nothing was changed (--dry-run)"
        };
        if output.is_json() {
            return output.document(&told(None)).map(|()| Exit::Done);
        }
        output.talk(sentence);
        return Ok(Exit::Done);
    }
    let daemon = Daemon::reach().await?;
    let before = daemon.status().await?.records;
    let lines = arrival::Lines::from_now(Path::new(LOG));
    let steps = if remove { undoing(changes.clone(), &settings) } else { doing(changes.clone(), &settings) };
    let done = steps::take(steps, &Host)?;
    let arrived = if remove {
        None
    } else {
        match lines.wait_for(before).await {
            Ok(seq) => Some(seq),
            Err(why) => return Err(done.undo(&Host, &why)),
        }
    };
    if output.is_json() {
        return output.document(&told(arrived)).map(|()| Exit::Done);
    }
    let sentence = match arrived {
        Some(seq) => {
            let collectors = match to.len() {
                0 => String::new(),
                many => format!(" and sends it to {}", counted(many as u64, "collector", "collectors")),
            };
            format!(
                "rsyslog writes each record as one line of RFC 5424 to {LOG}{collectors}; record {seq} has arrived in that \
                 file, and its hash fits"
            )
        }
        None => format!("the records go to /dev/log again; {LOG} stays, for nobody but you may delete it"),
    };
    output.talk(&sentence);
    Ok(Exit::Done)
}

/// What has to change so that rsyslog takes the records.
fn installation(settings: &Path, to: &[Collector], force: bool) -> Result<Vec<Change>, Failure> {
    rsyslog::check_host(force)?;
    let mut changes = Vec::new();
    for file in FILES {
        let change = Change::of(Path::new(file.path), Some(rsyslog::signed(&file.text(to))))?;
        if let Some(there) = change.text_before()
            && !force
            && !rsyslog::is_ours(&there)
        {
            let message = format!(
                "{} is there, and audit forward did not write it, or it was edited since; nothing was changed. \
                 --dry-run --force shows the difference, --force replaces the file",
                file.path
            );
            return Err(failed(&message));
        }
        changes.push(change);
    }
    let text = change::required(settings)?;
    changes
        .push(Change::of(settings, Some(setting::set(&text, SOCKET, force).map_err(|why| failed(&why))?))?);
    Ok(changes.into_iter().filter(Change::changes).collect())
}

/// What has to change so that everything is as before. A file that was edited is removed as well: it is shown first.
fn removal(settings: &Path) -> Result<Vec<Change>, Failure> {
    let mut changes = vec![];
    let text = change::required(settings)?;
    changes.push(Change::of(settings, Some(setting::unset(&text, SOCKET)))?);
    for file in FILES {
        let change = Change::of(Path::new(file.path), None)?;
        if change.text_before().is_none_or(|there| rsyslog::is_signed(&there)) {
            changes.push(change);
        }
    }
    Ok(changes.into_iter().filter(Change::changes).collect())
}

/// rsyslog listens before jitd speaks.
fn doing(changes: Vec<Change>, settings: &Path) -> Vec<Step> {
    let (of_jitd, of_rsyslog): (Vec<Change>, Vec<Change>) =
        changes.into_iter().partition(|change| change.path() == settings);
    let mut steps = vec![Step::Check, Step::CheckPolicy, Step::Folder];
    steps.extend(of_rsyslog.into_iter().map(Step::Write));
    steps.extend([Step::Check, Step::Restart]);
    steps.extend(of_jitd.into_iter().map(Step::Write));
    steps.push(Step::Reload);
    steps
}

/// jitd speaks elsewhere before rsyslog stops listening.
fn undoing(changes: Vec<Change>, settings: &Path) -> Vec<Step> {
    let (of_jitd, of_rsyslog): (Vec<Change>, Vec<Change>) =
        changes.into_iter().partition(|change| change.path() == settings);
    let mut steps = vec![Step::Check, Step::CheckPolicy];
    steps.extend(of_jitd.into_iter().map(Step::Write));
    steps.push(Step::Reload);
    steps.extend(of_rsyslog.into_iter().map(Step::Write));
    steps.extend([Step::Check, Step::Restart]);
    steps
}

fn failed(message: &str) -> Failure {
    Failure::new(Exit::Failed, error::FAILED, message)
}
