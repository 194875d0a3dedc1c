//! What each verb does: call the daemon, show the answer, name the exit status.

use std::cell::Cell;
use std::time::Duration;

use jit_proto::bus::names::error;
use jit_proto::bus::view::{ProblemView, RequestView, RoleView, Severity};
use jit_proto::escape::Escaped;
use jit_proto::identity::{Reason, Ticket};
use jit_proto::time::format_duration;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{AuditVerb, PolicyVerb, RequestArgs, RevokeArgs, Table, Verb};
use crate::call::{Daemon, Wish};
use crate::failure::{Exit, Failure};
use crate::near::near;
use crate::output::Output;
use crate::render::Sheet;
use crate::wait::{Watch, until_decided};
use crate::{absent, ask, manual, offer, record, render, report, seal, sudoers, verify};

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
        Verb::Release { id } => release(id, output).await?,
        Verb::Extend { id, duration, reason, ticket } => {
            let ticket = ticket.as_ref().map(Ticket::as_str);
            extend(id, duration, reason.as_str(), ticket, output).await?;
        }
        Verb::Pending => {
            let requests = Daemon::reach().await?.pending().await?;
            output.page();
            output.list(&requests, "no request is pending", render::pending)?;
        }
        Verb::Approve { id, duration, comment, yes } => {
            approve(id, duration, comment.as_ref().map(Reason::as_str), yes, output).await?;
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
        Verb::Grants(Table { full }) => {
            let grants = Daemon::reach().await?.grants().await?;
            output.page();
            output.list(&grants, "no grant is live", |grants| render::grants(grants, &output.sheet(full)))?;
        }
        Verb::Sessions(Table { full }) => {
            let sessions = Daemon::reach().await?.sessions().await?;
            output.page();
            output.list(&sessions, "no session is open", |sessions| {
                render::sessions(sessions, &output.sheet(full))
            })?;
        }
        Verb::List(Table { full }) => {
            output.page();
            list(&output.sheet(full), output).await?;
        }
        Verb::Status { exit_code } => {
            let status = Daemon::reach().await?.status().await?;
            output.view(&status, |status| render::status(status, output.is_terminal()))?;
            if exit_code && (status.policy_digest.is_empty() || !status.stacks.is_empty()) {
                return Ok(Exit::Failed);
            }
        }
        Verb::Roles(Table { full }) => {
            let roles = Daemon::reach().await?.roles().await?;
            let empty = "there is no role that you may ask for or approve";
            output.page();
            output.list(&roles, empty, |roles| render::roles(roles, &output.sheet(full)))?;
        }
        Verb::Audit { verb: AuditVerb::Show { last, from } } => {
            output.page();
            record::show(last, from, output).await?;
        }
        Verb::Audit { verb: AuditVerb::Search(args) } => {
            output.page();
            record::search(*args, output).await?;
        }
        Verb::Audit { verb: AuditVerb::Seal(args) } => seal::begin(args.rotate, output).await?,
        Verb::Policy { verb: PolicyVerb::Show(Table { full }) } => {
            let policy = Daemon::reach().await?.policy_show().await?;
            output.page();
            output.view(&policy, |policy| render::policy(policy, &output.sheet(full)))?;
        }
        // Packaging calls these two where there is no bus.
        Verb::Man => output.text(&manual::page()?)?,
        Verb::Completions { shell } => output.text(&manual::completions(shell)?)?,
    }
    Ok(Exit::Done)
}

async fn request(args: RequestArgs, output: &Output) -> Result<Exit, Failure> {
    let daemon = if args.wait { Daemon::reach_on_the_bus().await? } else { Daemon::reach().await? };
    // A daemon that cannot be asked for its roles refuses the request, too; that is the answer then.
    let roles = daemon.roles().await.unwrap_or_default();
    let role = roles.iter().find(|role| role.name == args.role.as_str() && role.may_request);
    if role.is_none() && args.reason.is_none() && !roles.is_empty() {
        let message = format!("there is no role {} for you{}", args.role, meant(args.role.as_str(), &roles));
        return Err(Failure::new(Exit::NoSuch, error::NO_SUCH, &message));
    }
    let (reason, ticket) = why(args.reason, args.ticket, role, output)?;
    let ticket = ticket.as_ref().map(Ticket::as_str);
    let wish = Wish { role: args.role.as_str(), duration: args.duration, reason: reason.as_str(), ticket };
    let asked = ask_for(&daemon, &wish, args.wait, args.timeout, output).await;
    asked.map_err(|mut failure| {
        if failure.exit == Exit::NoSuch && role.is_none() {
            failure.message.push_str(&meant(wish.role, &roles));
        }
        failure
    })
}

async fn ask_for(
    daemon: &Daemon,
    wish: &Wish<'_>,
    wait: bool,
    timeout: Option<Duration>,
    output: &Output,
) -> Result<Exit, Failure> {
    if !wait {
        let (id, shown) = make_request(daemon, wish, output).await?;
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
        exit = request_and_wait(daemon, wish, timeout, &made, output) => exit,
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
        if let Some(request) = &shown {
            tell_others(daemon, request, output).await;
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

/// What the hint of a refusal has in place of a reason and of a ticket; pasted as it stands, it is asked for.
const REASON_PLACEHOLDER: &str = "...";
const TICKET_PLACEHOLDER: &str = "TICKET";

/// The reason and the ticket of a request: as they were given, or as they are typed now. A script is told all that is
/// missing at once.
fn why(
    reason: Option<Reason>,
    ticket: Option<Ticket>,
    role: Option<&RoleView>,
    output: &Output,
) -> Result<(Reason, Option<Ticket>), Failure> {
    let reason = reason.filter(|reason| reason.as_str() != REASON_PLACEHOLDER);
    let required = role.is_some_and(|role| role.ticket_required);
    let ticket = ticket.filter(|ticket| !required || ticket.as_str() != TICKET_PLACEHOLDER);
    let wants_ticket = required && ticket.is_none();
    if !ask::somebody(output) {
        // What is there goes to jitd, whose refusal names everything that is wrong with it, and is recorded.
        if let Some(reason) = reason {
            return Ok((reason, ticket));
        }
        let mut missing = vec![match role.map_or(0, |role| role.reason_min_length) {
            0 | 1 => "--reason is missing: say why you need the role, approvers decide on it".to_owned(),
            least => format!(
                "--reason is missing: say in {least} characters or more why you need the role, approvers decide on it"
            ),
        }];
        if wants_ticket {
            missing.push(format!("--ticket is missing: the role wants one{}", that_matches(role)));
        }
        return Err(usage(&missing.join("; ")));
    }
    let reason = match reason {
        Some(reason) => reason,
        None => {
            let typed = ask::line("Why do you need the role? Approvers decide on it.", output)?;
            Reason::try_from(typed).map_err(|why| usage(&format!("--reason: {why}")))?
        }
    };
    let ticket = if wants_ticket {
        let typed = ask::line(&format!("Which ticket does it belong to{}?", that_matches(role)), output)?;
        Some(Ticket::try_from(typed).map_err(|why| usage(&format!("--ticket: {why}")))?)
    } else {
        ticket
    };
    Ok((reason, ticket))
}

fn that_matches(role: Option<&RoleView>) -> String {
    let pattern = role.map_or("", |role| role.ticket_pattern.as_str());
    if pattern.is_empty() { String::new() } else { format!(" that matches {}", Escaped(pattern)) }
}

fn usage(why: &str) -> Failure {
    Failure::new(Exit::Usage, error::INVALID_ARGUMENT, why)
}

/// What somebody may have meant who asked for a role that is not there for them.
fn meant(role: &str, roles: &[RoleView]) -> String {
    let open: Vec<&str> =
        roles.iter().filter(|role| role.may_request).map(|role| role.name.as_str()).collect();
    match (near(role, open.iter().copied()).first(), open.as_slice()) {
        (Some(like), _) => format!("; did you mean {like}?"),
        (None, []) => "; there is none that you may ask for".to_owned(),
        (None, open) => format!("; you may ask for: {}", open.join(", ")),
    }
}

/// Says that there are other pending requests of the same person for the same role.
async fn tell_others(daemon: &Daemon, request: &RequestView, output: &Output) {
    let Ok(pending) = daemon.pending().await else { return };
    let same = |other: &&RequestView| {
        other.uid == request.uid && other.role == request.role && other.id != request.id && other.extends == 0
    };
    let others: Vec<String> = pending.iter().filter(same).map(|other| other.id.to_string()).collect();
    if request.extends == 0 && !others.is_empty() {
        let (role, others) = (Escaped(&request.role), others.join(", "));
        output.talk(&format!("for {role} you have asked before, and it is still pending: {others}"));
    }
}

/// Shows what is approved, and on a terminal asks whether it is the one, since a number is easily mistyped.
async fn approve(
    id: u64,
    duration: Option<Duration>,
    comment: Option<&str>,
    yes: bool,
    output: &Output,
) -> Result<(), Failure> {
    let daemon = Daemon::reach().await?;
    if !yes && ask::somebody(output) {
        // What cannot be shown is for the approval itself to refuse.
        let shown = daemon.show(id).await.ok().and_then(|shown| shown.request);
        if let Some(request) = shown.filter(|request| request.state == "pending" && request.may_approve) {
            output.talk(render::pending(&[RequestView { may_approve: false, ..request }]).trim_end());
            let instead =
                duration.map(|span| format!(" for {} only", format_duration(span))).unwrap_or_default();
            if !ask::yes(&format!("Approve it{instead}?"), output)? {
                let message = format!("request {id} is left as it is: there was no yes");
                return Err(Failure::new(Exit::Failed, error::FAILED, &message));
            }
        }
    }
    let request = daemon.approve(id, duration, comment).await?;
    output.view(&request, render::approved)
}

/// Hands back the grant that is named, or the only one.
async fn release(id: Option<u64>, output: &Output) -> Result<(), Failure> {
    let daemon = Daemon::reach().await?;
    if id.is_none() {
        let held = daemon.status().await?.held;
        if held.len() > 1 {
            if !output.is_json() {
                output.talk(offer::grants(&held, "", output).trim_end());
            }
            let numbers: Vec<String> = held.iter().map(|grant| grant.id.to_string()).collect();
            return Err(usage(&format!("you hold several grants; say which: {}", numbers.join(", "))));
        }
    }
    let grant = daemon.release(id).await?;
    output.view(&json!({ "released": grant }), |_| format!("grant {grant} is released\n"))
}

/// Everything that is going on, as far as the caller may see it.
async fn list(sheet: &Sheet, output: &Output) -> Result<(), Failure> {
    let daemon = Daemon::reach().await?;
    let (pending, grants, sessions) =
        (daemon.pending().await?, daemon.grants().await?, daemon.sessions().await?);
    if output.is_json() {
        return output.document(&json!({ "pending": pending, "grants": grants, "sessions": sessions }));
    }
    let mut parts = Vec::new();
    if !pending.is_empty() {
        parts.push(format!("pending requests\n{}", render::pending(&pending)));
    }
    if !grants.is_empty() {
        parts.push(format!("live grants\n{}", render::grants(&grants, sheet)));
    }
    if !sessions.is_empty() {
        parts.push(format!("elevated sessions\n{}", render::sessions(&sessions, sheet)));
    }
    if parts.is_empty() {
        output.talk("no request is pending, no grant is live, no session is open");
    }
    output.text(&parts.join("\n"))
}

async fn show(id: u64, exit_code: bool, output: &Output) -> Result<Exit, Failure> {
    let shown = Daemon::reach().await?.show(id).await?;
    output.page();
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
    let id = daemon.grant(user, wish).await.map_err(|failure| or_another_account(failure, user))?;
    match daemon.show(id).await.map(|shown| shown.grant) {
        Ok(Some(grant)) => output.view(&grant, render::granted)?,
        // The grant is given; that it cannot be shown does not take it back.
        _ => output.view(&json!({ "id": id }), |_| format!("grant {id} is given\n"))?,
    }
    if jit_host::sudoers::names(user) == Some(false) {
        let user = Escaped(user);
        output.talk(&format!(
            "{user} is in no rule of sudoers, as far as cvtsudoers shows: sudo refuses {user} with this grant, too"
        ));
    }
    Ok(())
}

/// A name that is no account's may be a slip; what an unknown role is answered with is another matter.
fn or_another_account(mut failure: Failure, user: &str) -> Failure {
    if failure.exit == Exit::NoSuch && failure.message.contains(user) {
        failure.message.push_str(&absent::meant_account(user));
    }
    failure
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
        (None, Some(user)) => {
            let revoked = daemon.revoke_user(&user, reason).await;
            revoked.map_err(|failure| or_another_account(failure, &user))?
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, ticket_required: bool) -> RoleView {
        RoleView { name: name.into(), ticket_required, ..crate::render::a_role("^INC-[0-9]+$") }
    }

    #[test]
    fn an_unknown_role_is_answered_with_the_nearest_or_with_all() {
        let roles = [role("web-admin", true), role("db-admin", false)];
        assert_eq!(meant("webadmin", &roles), "; did you mean web-admin?");
        assert_eq!(meant("zzz", &roles), "; you may ask for: web-admin, db-admin");
        let others = [RoleView { may_request: false, ..role("web-admin", true) }];
        assert_eq!(meant("webadmin", &others), "; there is none that you may ask for");
    }

    #[test]
    fn a_script_is_told_everything_that_is_missing_at_once() {
        let output = Output::new(true);
        let failure = why(None, None, Some(&role("web-admin", true)), &output).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        for part in ["--reason is missing", "10 characters", "--ticket is missing", "^INC-[0-9]+$"] {
            assert!(failure.message.contains(part), "{part}: {failure}");
        }
        // The hint of a refusal, pasted as it stands.
        let (reason, ticket) =
            (Reason::try_from("...".to_owned()).ok(), Ticket::try_from("TICKET".to_owned()).ok());
        let pasted = why(reason, ticket, Some(&role("web-admin", true)), &output).unwrap_err();
        assert_eq!(pasted, failure);
        let said = Reason::try_from("nginx is down".to_owned()).unwrap();
        // A reason that is there goes to jitd, with or without a ticket.
        assert!(why(Some(said.clone()), None, Some(&role("web-admin", true)), &output).is_ok());
        assert!(why(Some(said), None, None, &output).is_ok());
    }
}
