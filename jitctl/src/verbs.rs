//! What each verb does: call the daemon, show the answer, name the exit status.

use std::cell::Cell;
use std::io::{self, BufRead, IsTerminal};
use std::time::Duration;

use jit_proto::identity::{Reason, Ticket};
use jit_proto::names::error;
use jit_proto::view::{ProblemView, RequestView, Severity};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{AuditVerb, PolicyVerb, RequestArgs, RevokeArgs, Verb};
use crate::call::{Daemon, Wish};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::wait::{Watch, until_decided};
use crate::{manual, record, render, report, seal, sudoers, verify};

/// Carries out one verb.
pub(crate) fn run(verb: Verb, output: &Output) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| Failure::new(Exit::Failed, error::FAILED, &format!("jitctl cannot start: {why}")))?;
    runtime.block_on(carry_out(verb, output))
}

async fn carry_out(verb: Verb, output: &Output) -> Result<Exit, Failure> {
    match verb {
        Verb::Request(args) => return request(args, output).await,
        Verb::Show { id, exit_code } => return show(id, exit_code, output).await,
        Verb::Audit { verb: AuditVerb::Verify(args) } => return verify::verify(args, output).await,
        Verb::Audit { verb: AuditVerb::Follow(args) } => return record::follow(*args, output).await,
        Verb::Audit { verb: AuditVerb::Export(args) } => return record::export(args, output).await,
        Verb::Report(args) => return report::made(args, output).await,
        Verb::Policy { verb: PolicyVerb::Check { exit_code } } => {
            return policy_check(exit_code, output).await;
        }
        Verb::Cancel { id } => {
            Daemon::reach().await?.cancel(id).await?;
            output.view(&json!({ "cancelled": id }), |_| format!("request {id} is cancelled\n"))?;
        }
        Verb::Release { id } => {
            let grant = Daemon::reach().await?.release(id).await?;
            output.view(&json!({ "released": grant }), |_| format!("grant {grant} is released\n"))?;
        }
        Verb::Extend { id, duration, reason, ticket } => {
            let ticket = ticket.as_ref().map(Ticket::as_str);
            extend(id, duration, reason.as_str(), ticket, output).await?;
        }
        Verb::Pending => {
            let requests = Daemon::reach().await?.pending().await?;
            output.list(&requests, "no request is pending", render::pending)?;
        }
        Verb::Approve { id, duration, comment } => {
            let comment = comment.as_ref().map(Reason::as_str);
            let request = Daemon::reach().await?.approve(id, duration, comment).await?;
            output.view(&request, render::approved)?;
        }
        Verb::Deny { id, reason } => {
            Daemon::reach().await?.deny(id, reason.as_str()).await?;
            output.view(&json!({ "denied": id }), |_| format!("request {id} is denied\n"))?;
        }
        Verb::Grant { user, role, duration, reason, ticket } => {
            let ticket = ticket.as_ref().map(Ticket::as_str);
            let wish = Wish { role: role.as_str(), duration, reason: reason.as_str(), ticket };
            grant(&user, &wish, output).await?;
        }
        Verb::Revoke(args) => revoke(args, output).await?,
        Verb::Grants => {
            let grants = Daemon::reach().await?.grants().await?;
            output.list(&grants, "no grant is live", |grants| render::grants(grants, output.width()))?;
        }
        Verb::Sessions => {
            let sessions = Daemon::reach().await?.sessions().await?;
            output.list(&sessions, "no session is open", |sessions| {
                render::sessions(sessions, output.width())
            })?;
        }
        Verb::Status { exit_code } => {
            let status = Daemon::reach().await?.status().await?;
            output.view(&status, |status| render::status(status, output.width().is_some()))?;
            if exit_code && (status.policy_digest.is_empty() || !status.stacks.is_empty()) {
                return Ok(Exit::Failed);
            }
        }
        Verb::Roles => {
            let roles = Daemon::reach().await?.roles().await?;
            let empty = "there is no role that you may ask for or approve";
            output.list(&roles, empty, |roles| render::roles(roles, output.width()))?;
        }
        Verb::Audit { verb: AuditVerb::Show { last, from } } => record::show(last, from, output).await?,
        Verb::Audit { verb: AuditVerb::Search(args) } => record::search(*args, output).await?,
        Verb::Audit { verb: AuditVerb::Seal(args) } => seal::begin(args.rotate, output).await?,
        Verb::Policy { verb: PolicyVerb::Show } => {
            let policy = Daemon::reach().await?.policy_show().await?;
            output.view(&policy, |policy| render::policy(policy, output.width()))?;
        }
        // Packaging calls these two where there is no bus.
        Verb::Man => output.text(&manual::page()?)?,
        Verb::Completions { shell } => output.text(&manual::completions(shell)?)?,
    }
    Ok(Exit::Done)
}

async fn request(args: RequestArgs, output: &Output) -> Result<Exit, Failure> {
    let reason = match args.reason {
        Some(reason) => reason,
        None => ask_for_reason(output)?,
    };
    let ticket = args.ticket.as_ref().map(Ticket::as_str);
    let wish = Wish { role: args.role.as_str(), duration: args.duration, reason: reason.as_str(), ticket };
    let daemon = Daemon::reach().await?;
    if !args.wait {
        let (id, shown) = make_request(&daemon, &wish, output).await?;
        match shown {
            Some(request) if output.is_json() => output.document(&request)?,
            None if output.is_json() => output.document(&json!({ "id": id }))?,
            _ => {}
        }
        return Ok(Exit::Done);
    }
    // From here on Ctrl-C ends the waiting and says what stays behind.
    let mut interrupt = signal(SignalKind::interrupt())
        .map_err(|why| Failure::new(Exit::Failed, error::FAILED, &format!("jitctl cannot wait: {why}")))?;
    let made = Cell::new(None);
    tokio::select! {
        exit = request_and_wait(&daemon, &wish, args.timeout, &made, output) => exit,
        _ = interrupt.recv() => {
            if let Some(id) = made.get() {
                output.talk(&waits(id));
            }
            Ok(Exit::Interrupted)
        }
    }
}

/// Makes the request and says so; the view is missing when the daemon cannot show what it has just taken.
async fn make_request(
    daemon: &Daemon,
    wish: &Wish<'_>,
    output: &Output,
) -> Result<(u64, Option<RequestView>), Failure> {
    let id = daemon.request(wish).await?;
    let shown = match daemon.show(id).await {
        Ok(shown) => shown.request,
        // The request is made; that it cannot be shown does not unmake it.
        Err(failure) => {
            output.talk(&format!("jitctl: {failure}"));
            None
        }
    };
    if !output.is_json() {
        let line = shown.as_ref().map_or_else(|| format!("request {id}"), render::request_line);
        output.text(&format!("{line}\n"))?;
        if let Some(request) = shown.as_ref().filter(|request| request.state == "pending") {
            let who = render::who_approves(request);
            if !who.is_empty() {
                output.talk(&format!("who may approve: {who}"));
            }
        }
        if shown.as_ref().is_none_or(|request| request.state == "pending") {
            output.talk(&format!(
                "to see whether it is decided: jitctl show {id}; to take it back: jitctl cancel {id}"
            ));
        }
    }
    Ok((id, shown))
}

async fn request_and_wait(
    daemon: &Daemon,
    wish: &Wish<'_>,
    timeout: Option<Duration>,
    made: &Cell<Option<u64>>,
    output: &Output,
) -> Result<Exit, Failure> {
    // Listening comes first: an approval right after the request must not be missed.
    let watch = Watch::begin(daemon).await?;
    let (id, shown) = make_request(daemon, wish, output).await?;
    made.set(Some(id));
    if let Some(request) = &shown {
        output.talk(&format!("waiting for {}", render::who_approves(request)));
    }
    if output.is_json() {
        // The document comes when all is over; until then this is how to know the number.
        output.talk(&waits(id));
    }
    let decided = match timeout {
        None => until_decided(daemon, &watch, id, output).await?,
        // Time asleep does not count here: whoever waits at a laptop that slept wants the answer, not the timeout.
        Some(most) => match tokio::time::timeout(most, until_decided(daemon, &watch, id, output)).await {
            Ok(decided) => decided?,
            Err(_) => {
                if output.is_json() {
                    match shown {
                        Some(request) => output.document(&request)?,
                        None => output.document(&json!({ "id": id }))?,
                    }
                }
                output.talk(&waits(id));
                return Ok(Exit::TimedOut);
            }
        },
    };
    let approved = decided.state == "approved";
    if output.is_json() {
        output.document(&decided)?;
    } else if approved {
        let grant = daemon.show(id).await.ok().and_then(|shown| shown.grant);
        output.text(&render::request_approved(&decided, grant.as_ref()))?;
    } else {
        output.talk(&render::request_refused(&decided));
    }
    Ok(if approved { Exit::Done } else { Exit::Refused })
}

fn waits(id: u64) -> String {
    format!("request {id} waits; to take it back: jitctl cancel {id}")
}

/// Asks for the reason, on a terminal only: a script gets an error it can act on instead of a question.
fn ask_for_reason(output: &Output) -> Result<Reason, Failure> {
    let usage = |why: &str| Failure::new(Exit::Usage, error::INVALID_ARGUMENT, why);
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(usage("--reason is missing: say why you need the role, approvers decide on it"));
    }
    output.talk("Why do you need the role? Approvers decide on it.");
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|why| usage(&format!("--reason cannot be read: {why}")))?;
    Reason::try_from(line).map_err(|why| usage(&format!("--reason: {why}")))
}

async fn show(id: u64, exit_code: bool, output: &Output) -> Result<Exit, Failure> {
    let shown = Daemon::reach().await?.show(id).await?;
    output.view(&shown, render::shown)?;
    Ok(match &shown.request {
        Some(request) if exit_code => match request.state.as_str() {
            "approved" => Exit::Done,
            "pending" => Exit::Pending,
            _ => Exit::Refused,
        },
        _ => Exit::Done,
    })
}

async fn grant(user: &str, wish: &Wish<'_>, output: &Output) -> Result<(), Failure> {
    let daemon = Daemon::reach().await?;
    let id = daemon.grant(user, wish).await?;
    match daemon.show(id).await.map(|shown| shown.grant) {
        Ok(Some(grant)) => output.view(&grant, render::granted),
        // The grant is given; that it cannot be shown does not take it back.
        _ => output.view(&json!({ "id": id }), |_| format!("grant {id} is given\n")),
    }
}

async fn extend(
    grant: u64,
    duration: Option<Duration>,
    reason: &str,
    ticket: Option<&str>,
    output: &Output,
) -> Result<(), Failure> {
    let daemon = Daemon::reach().await?;
    let id = daemon.extend(grant, duration, reason, ticket).await?;
    let shown = daemon.show(id).await.ok();
    match shown.map(|shown| (shown.request, shown.grant)) {
        Some((Some(request), _)) if id != grant => {
            output.view(&request, |request| format!("{}\n", render::request_line(request)))
        }
        Some((_, Some(grant))) if id == grant.id => output.view(&grant, render::granted),
        // It is asked for, or given; that it cannot be shown takes nothing back.
        _ => output.view(&json!({ "id": id }), |_| format!("grant {grant}: number {id}\n")),
    }
}

async fn revoke(args: RevokeArgs, output: &Output) -> Result<(), Failure> {
    let daemon = Daemon::reach().await?;
    let reason = args.reason.as_str();
    let revoked = match (args.whose.id, args.whose.user) {
        (Some(id), _) => daemon.revoke(id, reason).await.map(|()| vec![id])?,
        (None, Some(user)) => daemon.revoke_user(&user, reason).await?,
        // clap lets none of the three through together, and not none of them.
        (None, None) => daemon.revoke_all(reason).await?,
    };
    if revoked.is_empty() {
        output.talk("there was no live grant to revoke");
    }
    output.view(&json!({ "revoked": revoked }), |_| {
        revoked.iter().map(|id| format!("grant {id} is revoked\n")).collect()
    })
}

async fn policy_check(exit_code: bool, output: &Output) -> Result<Exit, Failure> {
    let mut problems = match check_at_daemon().await {
        Err(mut failure) if failure.exit == Exit::Unreachable => {
            failure.message.push_str("; /usr/libexec/jitd --check checks the files without it");
            return Err(failure);
        }
        other => other?,
    };
    // Of the roles in force: sudoers is no file of the daemon's, and only root may read it.
    if let Ok(policy) = Daemon::reach().await?.policy_show().await {
        match sudoers::warnings(&policy.roles) {
            Ok(warnings) => problems.extend(warnings),
            Err(why) => output.talk(&format!("not checked, whether those who may ask are in sudoers: {why}")),
        }
    }
    output.list(&problems, "the policy files are fine", render::problems)?;
    let failed = |problem: &ProblemView| exit_code || problem.severity == Severity::Error;
    Ok(if problems.iter().any(failed) { Exit::Failed } else { Exit::Done })
}

async fn check_at_daemon() -> Result<Vec<ProblemView>, Failure> {
    Daemon::reach().await?.policy_check().await
}
