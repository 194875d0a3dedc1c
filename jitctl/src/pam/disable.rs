//! `pam disable`: takes jitd's lines out. Nobody can be locked out by that, so nothing has to be undone; the backup stays.

use clap::Args;
use jit_host::pam_edit::without_lines;
use jit_proto::bus::names::error;
use serde::Serialize;

use super::files::Folder;
use super::pending::{self, Pending};
use super::{a_service, diff, must_be_root, timer};
use crate::ask;
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Options of `pam disable`.
#[derive(Debug, Args)]
pub(crate) struct DisableArgs {
    /// The PAM services
    #[arg(required_unless_present = "all", value_name = "SERVICE", value_parser = a_service())]
    services: Vec<String>,
    /// Take the lines out of every file of /etc/pam.d that names pam_jit.so
    #[arg(long, conflicts_with = "services")]
    all: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

/// What was done, for `--json`.
#[derive(Debug, Serialize)]
struct Done {
    /// The services whose stacks were changed.
    changed: Vec<String>,
    /// The changes, as `diff -u` writes them.
    diff: String,
}

/// `pam disable`.
pub(super) fn disable(args: &DisableArgs, output: &Output) -> Result<(), Failure> {
    must_be_root("disable")?;
    let folder = Folder::of_host();
    let lock = folder.lock()?;
    let done = carry_out(args, &folder, output);
    drop(lock);
    folder.tidy();
    done
}

fn carry_out(args: &DisableArgs, folder: &Folder, output: &Output) -> Result<(), Failure> {
    let services = if args.all { folder.with_lines()? } else { args.services.clone() };
    let pending = Pending::read(folder)?;
    if let Some(pending) = &pending
        && pending.is_in_force(folder)
        && !pending.services.iter().all(|service| services.contains(service))
    {
        return Err(pending::waits(pending));
    }
    let mut done = Done { changed: Vec::new(), diff: String::new() };
    for service in services {
        let before = folder.read(&service)?;
        let after = without_lines(&before);
        if before == after {
            output.talk(&format!("{service}: there is no line of jitd's in it"));
        } else {
            done.diff += &diff::unified(&folder.stack(&service), &before, &after);
            done.changed.push(service);
        }
    }
    if !output.is_json() {
        output.text(&done.diff)?;
    }
    if !args.yes && !done.changed.is_empty() {
        if !ask::somebody(output) {
            return Err(Failure::usage("there is no terminal to ask at; add --yes"));
        }
        let question = "Take these lines out? sudoers alone then decides who uses sudo.";
        if !ask::yes(question, output)? {
            let message = "nothing was changed: there was no yes to the question";
            return Err(Failure::new(Exit::Failed, error::FAILED, message));
        }
    }
    if let Some(pending) = pending {
        pending::undo(folder)?;
        timer::disarm(&pending.unit);
    }
    let mut problem = None;
    done.changed.retain(|service| match take_out(folder, service) {
        Ok(()) => true,
        Err(failure) => {
            problem = Some(failure);
            false
        }
    });
    output.view(&done, |done| match &done.changed[..] {
        [] => String::new(),
        changed => format!("{} does not ask jitd any more\n", changed.join(", ")),
    })?;
    problem.map_or(Ok(()), Err)
}

/// Takes the lines out of a stack that has some still, and keeps it as it was as a backup.
fn take_out(folder: &Folder, service: &str) -> Result<(), Failure> {
    let before = folder.read(service)?;
    let after = without_lines(&before);
    if before == after {
        return Ok(());
    }
    let put = folder.prepare(service, &before, &after).and_then(|()| folder.put_in_force(service, &before));
    put.inspect_err(|_| {
        // Whether that succeeds changes nothing: only `enable` and `undo` put something in force, and both write it anew.
        let _ = folder.take_back(service);
    })
}
