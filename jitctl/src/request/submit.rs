//! `request`: requests a role, and waits for the decision if asked to.

use std::cell::Cell;
use std::time::Duration;

use clap::Args;
use jit_proto::bus::dict::Dict;
use jit_proto::bus::names::error;
use jit_proto::bus::view::{GrantView, RequestView, RoleView};
use jit_proto::escape::Escaped;
use jit_proto::identity::{Reason, RoleName, Ticket};
use jit_proto::request::RequestSpec;
use jit_proto::time::parse_span;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::ask;
use crate::client::{Daemon, span};
use crate::failure::{Exit, Failure};
use crate::nearest::near;
use crate::output::Output;
use crate::render::request::{line, standing, who_approves};
use crate::render::{self, left, until};
use crate::values::text;
use crate::watch::{Absence, Watch};

/// Options of `request`.
#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    /// The role
    #[arg(value_parser = text::<RoleName>)]
    pub(crate) role: RoleName,
    /// Duration, from the approval on; the role's default if omitted
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_span)]
    pub(crate) duration: Option<Duration>,
    /// The reason; approvers decide on it. On a terminal jitctl asks for it if omitted
    #[arg(long, value_name = "TEXT", value_parser = text::<Reason>)]
    pub(crate) reason: Option<Reason>,
    /// The ticket it belongs to. On a terminal jitctl asks for it if omitted and the role requires one
    #[arg(long, value_parser = text::<Ticket>)]
    pub(crate) ticket: Option<Ticket>,
    /// Wait for the decision
    #[arg(long)]
    pub(crate) wait: bool,
    /// Stop waiting after this time, with exit status 124; the request stays pending
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = parse_span)]
    pub(crate) timeout: Option<Duration>,
}

impl Daemon {
    async fn request(&self, spec: &RequestSpec) -> Result<u64, Failure> {
        let RequestSpec { role, duration, reason, ticket } = spec;
        let ticket = ticket.as_ref().map_or("", Ticket::as_str);
        let body = (role.as_str(), span(*duration), reason.as_str(), ticket, Dict::new());
        self.manage("Request", &body).await
    }
}

/// `request`.
pub(super) async fn request(args: RequestArgs, output: &Output) -> Result<Exit, Failure> {
    let daemon = if args.wait { Daemon::reach_on_the_bus().await? } else { Daemon::reach().await? };
    // If the daemon cannot list its roles, it refuses the request too, and that is the answer.
    let roles = daemon.roles().await.unwrap_or_default();
    let role = roles.iter().find(|role| role.name == args.role.as_str() && role.may_request);
    if role.is_none() && args.reason.is_none() && !roles.is_empty() {
        let message = format!("there is no role {} for you{}", args.role, meant(args.role.as_str(), &roles));
        return Err(Failure::new(Exit::NoSuch, error::NO_SUCH, &message));
    }
    let (reason, ticket) = why(args.reason, args.ticket, role, output)?;
    let spec = RequestSpec { role: args.role, duration: args.duration, reason, ticket };
    let asked = ask_for(&daemon, &spec, args.wait, args.timeout, output).await;
    asked.map_err(|mut failure| {
        if failure.exit == Exit::NoSuch && role.is_none() {
            failure.message.push_str(&meant(spec.role.as_str(), &roles));
        }
        failure
    })
}

async fn ask_for(
    daemon: &Daemon,
    spec: &RequestSpec,
    wait: bool,
    timeout: Option<Duration>,
    output: &Output,
) -> Result<Exit, Failure> {
    if !wait {
        let (id, shown) = make_request(daemon, spec, output).await?;
        match shown {
            Some(request) if output.is_json() => output.document(&request)?,
            None if output.is_json() => output.document(&json!({ "id": id }))?,
            _ => {}
        }
        return Ok(Exit::Done);
    }
    // From here on Ctrl-C ends the waiting and prints what remains.
    let mut interrupt = signal(SignalKind::interrupt())
        .map_err(|why| Failure::new(Exit::Failed, error::FAILED, &format!("jitctl cannot wait: {why}")))?;
    let made = Cell::new(None);
    tokio::select! {
        exit = request_and_wait(daemon, spec, timeout, &made, output) => exit,
        _ = interrupt.recv() => {
            if let Some(id) = made.get() {
                output.talk(&waits(id));
            }
            Ok(Exit::Interrupted)
        }
    }
}

/// Makes the request and prints it; the view is missing if the daemon cannot show the request.
async fn make_request(
    daemon: &Daemon,
    spec: &RequestSpec,
    output: &Output,
) -> Result<(u64, Option<RequestView>), Failure> {
    let id = daemon.request(spec).await?;
    let shown = match daemon.show(id).await {
        Ok(shown) => shown.request,
        // The request is made; that it cannot be shown changes nothing.
        Err(failure) => {
            output.talk(&format!("jitctl: {failure}"));
            None
        }
    };
    if !output.is_json() {
        let line = shown.as_ref().map_or_else(|| format!("request {id}"), line);
        output.text(&format!("{line}\n"))?;
        if let Some(request) = shown.as_ref().filter(|request| request.state == "pending") {
            let who = who_approves(request);
            if !who.is_empty() {
                output.talk(&format!("who may approve: {who}"));
            }
        }
        if shown.as_ref().is_none_or(|request| request.state == "pending") {
            output.talk(&format!(
                "to see whether it is decided: jitctl show {id}; to cancel it: jitctl cancel {id}"
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
    spec: &RequestSpec,
    timeout: Option<Duration>,
    made: &Cell<Option<u64>>,
    output: &Output,
) -> Result<Exit, Failure> {
    // The subscription comes first: an approval right after the request must not be missed.
    let watch = Watch::begin(daemon).await?;
    let (id, shown) = make_request(daemon, spec, output).await?;
    made.set(Some(id));
    if let Some(request) = &shown {
        output.talk(&format!("waiting for {}", who_approves(request)));
    }
    if output.is_json() {
        // The JSON is printed at the end; until then this message has the number.
        output.talk(&waits(id));
    }
    let decided = match timeout {
        None => until_decided(daemon, &watch, id, output).await?,
        // Suspended time does not count: on a laptop that was suspended, the answer matters more than the timeout.
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
        output.text(&request_approved(&decided, grant.as_ref()))?;
    } else {
        output.talk(&request_refused(&decided));
    }
    Ok(if approved { Exit::Done } else { Exit::Refused })
}

fn waits(id: u64) -> String {
    format!("request {id} is pending; to cancel it: jitctl cancel {id}")
}

/// The placeholder for a reason or ticket in the hint of a refusal; if it is pasted unchanged, jitctl asks for it.
const REASON_PLACEHOLDER: &str = "...";
const TICKET_PLACEHOLDER: &str = "TICKET";

/// The reason and the ticket of a request: as given, or typed now. A script gets an error that names all that is
/// missing.
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
        // A given reason goes to jitd, whose refusal names all its problems, and is recorded.
        if let Some(reason) = reason {
            return Ok((reason, ticket));
        }
        let mut missing = vec![match role.map_or(0, |role| role.reason_min_length) {
            0 | 1 => "--reason is missing: state why you need the role; approvers decide on it".to_owned(),
            least => format!(
                "--reason is missing: state in at least {least} characters why you need the role; approvers decide on it"
            ),
        }];
        if wants_ticket {
            missing.push(format!("--ticket is missing: the role requires one{}", that_matches(role)));
        }
        return Err(Failure::usage(&missing.join("; ")));
    }
    let reason = match reason {
        Some(reason) => reason,
        None => {
            let typed = ask::line("Reason (approvers decide on it): why do you need the role?", output)?;
            Reason::try_from(typed).map_err(|why| Failure::usage(&format!("--reason: {why}")))?
        }
    };
    let ticket = if wants_ticket {
        let typed = ask::line(&format!("Which ticket does it belong to{}?", that_matches(role)), output)?;
        Some(Ticket::try_from(typed).map_err(|why| Failure::usage(&format!("--ticket: {why}")))?)
    } else {
        ticket
    };
    Ok((reason, ticket))
}

fn that_matches(role: Option<&RoleView>) -> String {
    let pattern = role.map_or("", |role| role.ticket_pattern.as_str());
    if pattern.is_empty() { String::new() } else { format!(" that matches {}", Escaped(pattern)) }
}

/// The role that was probably meant by an unknown one.
fn meant(role: &str, roles: &[RoleView]) -> String {
    let open: Vec<&str> =
        roles.iter().filter(|role| role.may_request).map(|role| role.name.as_str()).collect();
    match (near(role, open.iter().copied()).first(), open.as_slice()) {
        (Some(like), _) => format!("; did you mean {like}?"),
        (None, []) => "; there is no role that you may request".to_owned(),
        (None, open) => format!("; you may request: {}", open.join(", ")),
    }
}

/// Names other pending requests of the same person for the same role.
async fn tell_others(daemon: &Daemon, request: &RequestView, output: &Output) {
    let Ok(pending) = daemon.pending().await else { return };
    let same = |other: &&RequestView| {
        other.uid == request.uid && other.role == request.role && other.id != request.id && other.extends == 0
    };
    let others: Vec<String> = pending.iter().filter(same).map(|other| other.id.to_string()).collect();
    if request.extends == 0 && !others.is_empty() {
        let (role, others) = (Escaped(&request.role), others.join(", "));
        output.talk(&format!("you have an older pending request for {role}: {others}"));
    }
}

/// Waits until a request is no longer pending.
async fn until_decided(
    daemon: &Daemon,
    watch: &Watch,
    id: u64,
    output: &Output,
) -> Result<RequestView, Failure> {
    let mut absence = Absence::default();
    loop {
        match daemon.show(id).await {
            Ok(shown) => {
                let request = shown.request.ok_or_else(|| {
                    Failure::new(Exit::NoSuch, error::NO_SUCH, &format!("request {id} no longer exists"))
                })?;
                if request.state != "pending" {
                    return Ok(request);
                }
                let _ = absence.ends(output);
                watch.changed().await;
            }
            Err(failure) => absence.outlast(failure, daemon, watch, output).await?,
        }
    }
}

/// The result that the requester waited for.
pub(crate) fn request_approved(request: &RequestView, grant: Option<&GrantView>) -> String {
    let RequestView { id, role, duration_seconds, .. } = request;
    let window = match grant {
        Some(grant) => format!("until {} ({} left)", until(grant), left(grant.remaining_seconds)),
        None => format!("for {}", render::span(*duration_seconds)),
    };
    format!("request {id} is approved: {} {window}\n", Escaped(role))
}

/// The message when the requester stops waiting.
pub(crate) fn request_refused(request: &RequestView) -> String {
    format!("request {} {}", request.id, standing(request))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{a_grant, a_request, a_role};

    fn role(name: &str, ticket_required: bool) -> RoleView {
        RoleView { name: name.into(), ticket_required, ..a_role("^INC-[0-9]+$") }
    }

    #[test]
    fn an_unknown_role_is_answered_with_the_nearest_or_with_all() {
        let roles = [role("web-admin", true), role("db-admin", false)];
        assert_eq!(meant("webadmin", &roles), "; did you mean web-admin?");
        assert_eq!(meant("zzz", &roles), "; you may request: web-admin, db-admin");
        let others = [RoleView { may_request: false, ..role("web-admin", true) }];
        assert_eq!(meant("webadmin", &others), "; there is no role that you may request");
    }

    #[test]
    fn a_script_is_told_everything_that_is_missing_at_once() {
        let output = Output::new(true);
        let failure = why(None, None, Some(&role("web-admin", true)), &output).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        for part in ["--reason is missing", "10 characters", "--ticket is missing", "^INC-[0-9]+$"] {
            assert!(failure.message.contains(part), "{part}: {failure}");
        }
        // The hint of a refusal, pasted unchanged.
        let (reason, ticket) =
            (Reason::try_from("...".to_owned()).ok(), Ticket::try_from("TICKET".to_owned()).ok());
        let pasted = why(reason, ticket, Some(&role("web-admin", true)), &output).unwrap_err();
        assert_eq!(pasted, failure);
        let said = Reason::try_from("nginx is down".to_owned()).unwrap();
        // A given reason goes to jitd, with or without a ticket.
        assert!(why(Some(said.clone()), None, Some(&role("web-admin", true)), &output).is_ok());
        assert!(why(Some(said), None, None, &output).is_ok());
    }

    #[test]
    fn a_decision_is_told_with_who_and_why() {
        let request = RequestView {
            state: "denied".into(),
            denied_by: "bob".into(),
            denial_reason: "not today".into(),
            ..a_request("alice")
        };
        assert_eq!(request_refused(&request), "request 7 is denied by bob: not today");
        let told = request_approved(&request, Some(&a_grant("alice")));
        assert!(told.starts_with("request 7 is approved: web-admin until "), "{told}");
        assert!(told.ends_with("(28m left)\n"), "{told}");
    }
}
