//! `pam enable`: from the look at who could get back in to stacks that ask, armed to be undone.

use std::time::Duration;

use clap::Args;
use jit_host::pam_edit::{Lines, goes_by, with_lines_that_observe};
use jit_proto::bus::names::error;
use jit_proto::bus::view::RoleView;
use jit_proto::time::{format_duration, parse_span};
use serde::Serialize;

use super::files::{Folder, Lock};
use super::pending::{self, Pending};
use super::trial::{self, Outcome, Trial};
use super::{a_service, diff, must_be_root, timer, way_back};
use crate::client::Daemon;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::render::local;
use crate::{ask, clock};

/// Options of `pam enable`.
#[derive(Debug, Args)]
pub(crate) struct EnableArgs {
    /// The PAM services: sudo, sudo-i, su, su-l, doas, runuser, runuser-l
    #[arg(required = true, value_name = "SERVICE", value_parser = a_service())]
    services: Vec<String>,
    /// Undo the change after this time, unless `jitctl pam confirm` comes before
    #[arg(long, value_name = "DURATION", value_parser = parse_span, default_value = "10m")]
    revert_after: Duration,
    /// Put in the last line alone, which denies nobody and keeps what `sudo su -` starts inside its session (su, su-l;
    /// runuser and runuser-l always)
    #[arg(long)]
    track_only: bool,
    /// Deny nobody, and record what would be denied (observe mode); without this option the lines deny
    #[arg(long)]
    observe: bool,
    /// Show the change and try it; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Go on where nobody could get a window or become root by another way, and where a trial failed
    #[arg(long)]
    force: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

impl EnableArgs {
    /// What `setup` asks for, which has asked its questions already.
    pub(super) fn of_setup(services: Vec<String>, observe: bool) -> Self {
        let revert_after = Duration::from_secs(10 * 60);
        Self { services, revert_after, track_only: false, observe, dry_run: false, force: false, yes: true }
    }
}

/// A stack that is to change.
#[derive(Debug)]
struct Edit {
    service: String,
    lines: Lines,
    before: String,
    after: String,
}

/// What was done, for `--json`.
#[derive(Debug, Serialize)]
struct Done<'a> {
    /// The services whose stacks were changed, or would be with `--dry-run`.
    changed: Vec<&'a str>,
    /// The services whose stacks ask already.
    unchanged: Vec<&'a str>,
    /// The changes, as `diff -u` writes them.
    diff: String,
    trials: Vec<Trial>,
    /// When they are undone; none where nothing was changed.
    undo_at: u64,
    /// The timer of PID 1 that does it.
    unit: String,
}

/// `pam enable`.
pub(super) async fn enable(args: EnableArgs, output: &Output) -> Result<(), Failure> {
    must_be_root("enable")?;
    let folder = Folder::of_host();
    let lock = folder.lock()?;
    let done = carry_out(&args, &folder, &lock, output).await;
    drop(lock);
    folder.tidy();
    done
}

async fn carry_out(args: &EnableArgs, folder: &Folder, lock: &Lock, output: &Output) -> Result<(), Failure> {
    settle(folder)?;
    folder.clear(lock);
    let all = edits(args, folder)?;
    let (edits, same): (Vec<Edit>, Vec<Edit>) = all.into_iter().partition(|edit| edit.before != edit.after);
    for edit in &same {
        output.talk(&format!("{}: the lines are right already", edit.service));
    }
    let mut done = Done {
        changed: edits.iter().map(|edit| edit.service.as_str()).collect(),
        unchanged: same.iter().map(|edit| edit.service.as_str()).collect(),
        diff: edits
            .iter()
            .map(|edit| diff::unified(&folder.stack(&edit.service), &edit.before, &edit.after))
            .collect(),
        trials: Vec::new(),
        undo_at: 0,
        unit: String::new(),
    };
    if edits.is_empty() {
        return output.view(&done, |_| String::new());
    }
    if !output.is_json() {
        output.text(&done.diff)?;
    }
    done.trials = look_before(args, &edits, output).await?;
    if args.dry_run {
        output.talk("nothing was changed (--dry-run)");
        return output.view(&done, |_| String::new());
    }
    let span = format_duration(args.revert_after);
    if !args.yes {
        if !ask::somebody(output) {
            return Err(Failure::usage("there is no terminal to ask at; add --yes"));
        }
        let question =
            format!("Put these lines in? They are taken out again after {span} unless you confirm.");
        if !ask::yes(&question, output)? {
            return Err(failure("nothing was changed: there was no yes to the question"));
        }
    }
    let pending = put_in(args.revert_after, &edits, folder, output)?;
    (done.undo_at, done.unit) = (pending.undo_at, pending.unit);
    let proof = if args.observe {
        "In another login type `sudo true`: it must work as before,\nand jitd records what it would have denied: jitctl report --observe"
    } else {
        "In another login type `sudo true`: a line that begins with `jit:`\nmust deny it"
    };
    output.view(&done, |done| {
        format!(
            "{} asks jitd now. Keep this shell open. {proof}. Then type:  jitctl pam confirm\n\
             Without that, the change is undone at {} ({span}).\n",
            done.changed.join(", "),
            local(done.undo_at)
        )
    })
}

/// A change that waits with a stack in force has to be decided first; one that never got so far is cleared away.
fn settle(folder: &Folder) -> Result<(), Failure> {
    match Pending::read(folder)? {
        Some(pending) if pending.is_in_force(folder) => Err(pending::waits(&pending)),
        Some(pending) => {
            timer::disarm(&pending.unit);
            pending::undo(folder).map(drop)
        }
        None => Ok(()),
    }
}

/// What is to change: of each service, or of the one whose stack decides in its place.
fn edits(args: &EnableArgs, folder: &Folder) -> Result<Vec<Edit>, Failure> {
    let mut edits: Vec<Edit> = Vec::new();
    for named in &args.services {
        let mut service = named.clone();
        let mut before = folder.read(&service)?;
        let by = goes_by(&before).filter(|by| Lines::of(by) == Some(Lines::Gate));
        if let Some(by) = by.filter(|_| Lines::of(named) == Some(Lines::Gate)) {
            before = folder.read(&by)?;
            service = by;
        }
        if edits.iter().any(|edit| edit.service == service) {
            continue;
        }
        let lines = match Lines::of(&service) {
            Some(Lines::Gate) if !args.track_only => Lines::Gate,
            _ => Lines::Track,
        };
        let after = with_lines_that_observe(&before, lines, args.observe)
            .map_err(|why| failure(&format!("{} is not changed: {why}", folder.stack(&service).display())))?;
        edits.push(Edit { service, lines, before, after });
    }
    Ok(edits)
}

/// Whether somebody could get a window, whether somebody could get back in, and what the stacks do.
async fn look_before(args: &EnableArgs, edits: &[Edit], output: &Output) -> Result<Vec<Trial>, Failure> {
    let gated: Vec<String> =
        edits.iter().filter(|edit| edit.lines == Lines::Gate).map(|edit| edit.service.clone()).collect();
    let (mut problems, mut host_observes) = (Vec::new(), false);
    if !gated.is_empty() {
        match roles_and_mode().await {
            Ok((roles, mode)) => {
                problems.extend(way_back::nobody_gets_a_window(&roles, &gated));
                host_observes = mode;
            }
            Err(why) => problems.push(format!("jitd cannot be asked who could get a window: {why}")),
        }
        let ways = way_back::ways_to_root(&gated);
        if ways.is_empty() {
            problems.push(
                "where jitd fails nobody could get back in: no account of uid 0 has a password and a console, su or sshd to \
                 use it at, or a key that sshd takes. Set a password (passwd root), or add a key"
                    .to_owned(),
            );
        }
        for way in ways {
            output.talk(&format!("a way back in: {way}"));
        }
    }
    let texts: Vec<_> =
        edits.iter().map(|edit| (edit.service.as_str(), edit.lines, edit.after.as_str())).collect();
    let trials = trial::of(&texts, args.observe, host_observes)?;
    for Trial { service, outcome, message } in &trials {
        match outcome {
            Outcome::AsExpected => output.talk(&format!("tried {service}: it {message}")),
            Outcome::NotTried => output.talk(&format!("NOT TRIED: {service}: {message}")),
            Outcome::Failed => problems.push(format!("the trial of {service} failed: {message}")),
        }
    }
    if trials.iter().any(|trial| trial.outcome == Outcome::AsExpected) && !gated.is_empty() {
        output.talk("not tried: inside a window, because that would use somebody's grant");
    }
    match &problems[..] {
        [] => Ok(trials),
        problems if args.force => {
            problems.iter().for_each(|problem| output.talk(&format!("FORCED: {problem}")));
            Ok(trials)
        }
        problems => {
            let message =
                format!("nothing was changed: {}; --force goes on all the same", problems.join("; "));
            Err(failure(&message))
        }
    }
}

/// The roles in force, and whether the host observes.
async fn roles_and_mode() -> Result<(Vec<RoleView>, bool), Failure> {
    let daemon = Daemon::reach().await?;
    Ok((daemon.policy_show().await?.roles, daemon.status().await?.observes))
}

/// The order is what makes it safe: what is to be undone is on the disk, and PID 1 has the timer, before a stack changes.
fn put_in(after: Duration, edits: &[Edit], folder: &Folder, output: &Output) -> Result<Pending, Failure> {
    let undo_at = clock::now().after(after).0;
    let services = edits.iter().map(|edit| edit.service.clone()).collect();
    let pending = Pending { services, undo_at, unit: timer::name(undo_at) };
    let armed = || {
        for edit in edits {
            folder.prepare(&edit.service, &edit.before, &edit.after)?;
        }
        pending.write(folder)?;
        timer::arm(&pending.unit, after)
    };
    let put = armed()
        .and_then(|()| edits.iter().try_for_each(|edit| folder.put_in_force(&edit.service, &edit.before)));
    let Err(failure) = put else { return Ok(pending) };
    for edit in edits {
        // What was prepared and is in no change that waits; `undo` has the rest.
        let _ = folder.take_back(&edit.service);
    }
    match pending::undo(folder) {
        Ok(_) => {
            timer::disarm(&pending.unit);
            for edit in
                edits.iter().filter(|edit| folder.read(&edit.service).is_ok_and(|now| now == edit.before))
            {
                let _ = folder.remove_backup(&edit.service);
            }
        }
        Err(why) => {
            output.talk(&format!("the change is not undone yet, and tried again by {}: {why}", pending.unit))
        }
    }
    Err(failure)
}

fn failure(message: &str) -> Failure {
    Failure::new(Exit::Failed, error::FAILED, message)
}
