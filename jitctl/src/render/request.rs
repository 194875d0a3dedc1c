//! Requests as text: a line, a block, and the decision.

use std::fmt::Write as _;

use jit_proto::bus::view::RequestView;
use jit_proto::escape::Escaped;

use super::{counted, detail, list, local, or_dash, span};

/// `request 7: web-admin for 30m, needs 1 approval`.
pub(crate) fn line(request: &RequestView) -> String {
    let RequestView { id, role, .. } = request;
    format!("request {id}: {} {}, {}", Escaped(role), window(request), standing(request))
}

/// The contents: `for 30m`, or an extension of a grant.
pub(crate) fn window(request: &RequestView) -> String {
    let duration = span(request.duration_seconds);
    match request.extends {
        0 => format!("for {duration}"),
        grant => format!("for {duration} more of grant {grant}"),
    }
}

/// Every pending request with all that an approver needs to decide on it.
pub(crate) fn pending(requests: &[RequestView]) -> String {
    requests.iter().map(block).collect::<Vec<_>>().join("\n")
}

/// One request in full.
pub(crate) fn block(request: &RequestView) -> String {
    let RequestView { id, role, user, uid, .. } = request;
    let window = window(request);
    let mut text =
        format!("request {id}: {} (uid {uid}) requests {} {window}\n", Escaped(user), Escaped(role));
    text += &detail("reason", &or_dash(&request.reason));
    text += &detail("ticket", &or_dash(&request.ticket));
    text += &detail("requested", &local(request.requested_at));
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
        text += &detail("expires", &local(request.expires_at));
        if request.may_approve {
            text += &detail(
                "to decide",
                &format!("jitctl approve {id}    or: jitctl deny {id} --reason \"...\""),
            );
        }
    }
    text
}

/// The approvers: as the role names them, and the people behind that if they are few and known.
pub(crate) fn who_approves(request: &RequestView) -> String {
    let RequestView { approvers, approving_people, .. } = request;
    let written = list(approvers);
    if approving_people.is_empty() || approving_people == approvers {
        return if approvers.is_empty() { String::new() } else { written };
    }
    format!("{written} ({})", list(approving_people))
}

/// The state of a request, as the end of a sentence about it.
pub(crate) fn standing(request: &RequestView) -> String {
    match request.state.as_str() {
        "pending" => missing(request),
        _ => format!("is {}", decision(request)),
    }
}

/// The approvals that a pending request still needs.
fn missing(request: &RequestView) -> String {
    let given = request.approvals.len() as u64;
    let missing = u64::from(request.approvals_needed).saturating_sub(given);
    let (one, many) =
        if given == 0 { ("approval", "approvals") } else { ("more approval", "more approvals") };
    format!("needs {}", counted(missing, one, many))
}

/// The decision on a request: the result, the people and the reasons.
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
    use super::*;
    use crate::samples::a_request;

    #[test]
    fn a_new_request_is_told_in_one_line() {
        assert_eq!(line(&a_request("alice")), "request 7: web-admin for 30m, needs 1 approval");
        let more = RequestView { extends: 3, ..a_request("alice") };
        assert_eq!(line(&more), "request 7: web-admin for 30m more of grant 3, needs 1 approval");
        let two = RequestView { approvals_needed: 2, ..a_request("alice") };
        assert_eq!(line(&two), "request 7: web-admin for 30m, needs 2 approvals");
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
}
