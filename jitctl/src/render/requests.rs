//! Requests, and what was decided on them.

use std::fmt::Write as _;

use jit_proto::bus::view::{GrantView, RequestView};
use jit_proto::escape::Escaped;

use super::{counted, detail, grants, left, list, local, or_dash, span, until};
use crate::call::ShowView;

/// `request 7: web-admin for 30m, waits for 1 approval`.
pub(crate) fn request_line(request: &RequestView) -> String {
    let RequestView { id, role, .. } = request;
    format!("request {id}: {} {}, {}", Escaped(role), window(request), standing(request))
}

/// What is asked for: `for 30m`, or more of a grant there is.
fn window(request: &RequestView) -> String {
    let duration = span(request.duration_seconds);
    match request.extends {
        0 => format!("for {duration}"),
        grant => format!("for {duration} more of grant {grant}"),
    }
}

/// Every pending request with all that an approver has to know to decide on it.
pub(crate) fn pending(requests: &[RequestView]) -> String {
    requests.iter().map(block).collect::<Vec<_>>().join("\n")
}

/// A request, the grant that came of it, or both.
pub(crate) fn shown(shown: &ShowView) -> String {
    let request = shown.request.as_ref().map(block);
    let grant = shown.grant.as_ref().map(grants::block);
    request.into_iter().chain(grant).collect::<Vec<_>>().join("\n")
}

/// What came of one person's yes.
pub(crate) fn approved(request: &RequestView) -> String {
    let RequestView { id, role, user, uid, .. } = request;
    if request.state == "pending" {
        let (given, needed) = (request.approvals.len(), request.approvals_needed);
        return format!("request {id}: {given} of {needed} approvals, {}\n", standing(request));
    }
    let (role, user, window) = (Escaped(role), Escaped(user), window(request));
    format!("request {id} is {}: {role} for {user} (uid {uid}) {window}\n", Escaped(&request.state))
        + &detail("reason", &or_dash(&request.reason))
        + &detail("ticket", &or_dash(&request.ticket))
}

/// What the requester waited for.
pub(crate) fn request_approved(request: &RequestView, grant: Option<&GrantView>) -> String {
    let RequestView { id, role, duration_seconds, .. } = request;
    let window = match grant {
        Some(grant) => format!("until {} ({} left)", until(grant), left(grant.remaining_seconds)),
        None => format!("for {}", span(*duration_seconds)),
    };
    format!("request {id} is approved: {} {window}\n", Escaped(role))
}

/// What the requester did not wait for.
pub(crate) fn request_refused(request: &RequestView) -> String {
    format!("request {} {}", request.id, standing(request))
}

fn block(request: &RequestView) -> String {
    let RequestView { id, role, user, uid, .. } = request;
    let window = window(request);
    let mut text =
        format!("request {id}: {} (uid {uid}) asks for {} {window}\n", Escaped(user), Escaped(role));
    text += &detail("reason", &or_dash(&request.reason));
    text += &detail("ticket", &or_dash(&request.ticket));
    text += &detail("asked", &local(request.requested_at));
    for approval in &request.approvals {
        let mut said =
            format!("{} (uid {}), {}", Escaped(&approval.user), approval.uid, local(approval.given_at));
        if !approval.comment.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(said, ": {}", Escaped(&approval.comment));
        }
        text += &detail("approved by", &said);
    }
    if request.state != "pending" {
        text += &detail("state", &decision(request));
    } else {
        text += &detail("state", &format!("pending, {}", missing(request)));
        text += &detail("approvers", &who_approves(request));
        text += &detail("lapses", &local(request.expires_at));
        if request.may_approve {
            text += &detail(
                "to decide",
                &format!("jitctl approve {id}    or: jitctl deny {id} --reason \"...\""),
            );
        }
    }
    text
}

/// Who may approve: as the role says it, and where they are few and known the people behind that.
pub(crate) fn who_approves(request: &RequestView) -> String {
    let RequestView { approvers, approving_people, .. } = request;
    let written = list(approvers);
    if approving_people.is_empty() || approving_people == approvers {
        return if approvers.is_empty() { String::new() } else { written };
    }
    format!("{written} ({})", list(approving_people))
}

/// Where a request stands, as the end of a sentence about it.
fn standing(request: &RequestView) -> String {
    match request.state.as_str() {
        "pending" => missing(request),
        _ => format!("is {}", decision(request)),
    }
}

/// What a pending request waits for.
fn missing(request: &RequestView) -> String {
    let given = request.approvals.len() as u64;
    let missing = u64::from(request.approvals_needed).saturating_sub(given);
    let (one, many) =
        if given == 0 { ("approval", "approvals") } else { ("more approval", "more approvals") };
    format!("waits for {}", counted(missing, one, many))
}

/// How a request was decided, by whom and why.
fn decision(request: &RequestView) -> String {
    let mut text = Escaped(&request.state).to_string();
    for (before, said) in [(" by ", &request.denied_by), (": ", &request.denial_reason)] {
        if !said.is_empty() {
            text += before;
            text += &Escaped(said).to_string();
        }
    }
    if request.state == "expired" {
        text += ": nobody decided in time";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::{a_grant, a_request};
    use super::*;

    #[test]
    fn a_new_request_is_told_in_one_line() {
        assert_eq!(request_line(&a_request("alice")), "request 7: web-admin for 30m, waits for 1 approval");
        let more = RequestView { extends: 3, ..a_request("alice") };
        assert_eq!(request_line(&more), "request 7: web-admin for 30m more of grant 3, waits for 1 approval");
        let two = RequestView { approvals_needed: 2, ..a_request("alice") };
        assert_eq!(request_line(&two), "request 7: web-admin for 30m, waits for 2 approvals");
    }

    #[test]
    fn an_approver_sees_who_why_and_how_to_decide() {
        let mut request = a_request("alice");
        request.reason = "INC-42 nginx down\x1b[2J".into();
        request.ticket = "INC-42".into();
        let text = pending(&[request.clone()]);
        for part in
            ["alice (uid 1000)", "web-admin", "30m", "INC-42 nginx down\\u{1b}[2J", "jitctl approve 7"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        request.may_approve = false;
        assert!(!pending(&[request]).contains("jitctl approve"));
    }

    #[test]
    fn who_approves_more_of_a_window_is_told_of_which() {
        let request = RequestView { state: "approved".into(), extends: 3, ..a_request("alice") };
        let told = approved(&request);
        let wanted = "request 7 is approved: web-admin for alice (uid 1000) for 30m more of grant 3\n";
        assert!(told.starts_with(wanted), "{told}");
        let first = approved(&RequestView { extends: 0, ..request });
        assert!(
            first.starts_with("request 7 is approved: web-admin for alice (uid 1000) for 30m\n"),
            "{first}"
        );
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
