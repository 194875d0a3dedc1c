//! The controls of auditors: what each asks, which figures of this report answer it, and what is not shown.
//!
//! The sentences about a control are short summaries, and no substitute for its text (45 CFR 164.312; Sarbanes-Oxley
//! section 404; PCI DSS 4.0.1).

use jit_proto::audit::record::AuditEvent;

use super::model::{Control, Report, counted, removed};

/// All of them, with this report's figures.
pub(super) fn of(report: &Report) -> Vec<Control> {
    let figure = |event: AuditEvent| report.figure(event);
    let people = report.people();
    let windows = report.windows.len() as u64;
    let direct = report.direct().count() as u64;
    let approved = windows.saturating_sub(direct);
    let with_reason = report.windows.iter().filter(|window| !window.reason.is_empty()).count() as u64;
    let with_ticket = report.windows.iter().filter(|window| !window.ticket.is_empty()).count() as u64;
    let own = report.windows.iter().filter(|window| window.approvers.contains(&window.user)).count() as u64;
    let ended = figure(AuditEvent::SessionEnded);
    let idle = report.runs().filter(|(_, run)| run.ended_by.as_deref() == Some("idle")).count() as u64;
    let forced = report
        .runs()
        .filter(|(_, run)| {
            run.ended_by.as_deref().is_some_and(|by| !matches!(by, "exited" | "logout" | "boot"))
        })
        .count() as u64;
    let still_there: u64 = report.runs().filter_map(|(_, run)| run.left).sum();
    let chain = if report.chain.whole {
        format!(
            "the chain was walked for this report and is whole: {}, head {}{}",
            counted(report.chain.count(), "record", "records"),
            report.chain.head,
            removed(&report.chain)
        )
    } else {
        format!(
            "the chain was walked for this report and is NOT whole: record {} {}",
            report.chain.bad_seq, report.chain.problem
        )
    };
    let closed = format!(
        "{} closed: {} at the deadline, {} released, {} unused, {} revoked, {} withdrawn",
        counted(
            [
                AuditEvent::GrantExpired,
                AuditEvent::GrantReleased,
                AuditEvent::GrantUnused,
                AuditEvent::GrantRevoked,
                AuditEvent::GrantWithdrawn
            ]
            .into_iter()
            .map(figure)
            .sum(),
            "window",
            "windows"
        ),
        figure(AuditEvent::GrantExpired),
        figure(AuditEvent::GrantReleased),
        figure(AuditEvent::GrantUnused),
        figure(AuditEvent::GrantRevoked),
        figure(AuditEvent::GrantWithdrawn)
    );
    let gated = {
        let named = |wanted: bool| {
            let names: Vec<&str> = report
                .standing
                .gates
                .iter()
                .filter(|gate| gate.gated == wanted)
                .map(|gate| gate.service.as_str())
                .collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        format!("services that ask jitd now: {}; not: {}", named(true), named(false))
    };
    let standing = match &report.standing.rules {
        Some(rules) => format!(
            "{} found now, listed under Standing privilege",
            counted(rules.len() as u64, "sudoers rule", "sudoers rules")
        ),
        None => "sudoers was not read for this report".to_owned(),
    };
    let requests = format!(
        "{} made, {} given, {} denied, {} expired or cancelled",
        counted(figure(AuditEvent::RequestMade), "request", "requests"),
        counted(figure(AuditEvent::RequestApproved), "approval", "approvals"),
        figure(AuditEvent::RequestDenied),
        figure(AuditEvent::RequestExpired) + figure(AuditEvent::RequestCancelled)
    );
    let calls = format!(
        "{} allowed, {} denied, {} by root itself",
        counted(figure(AuditEvent::AccessAllowed), "elevation", "elevations"),
        figure(AuditEvent::AccessDenied),
        figure(AuditEvent::AccessRoot)
    );
    let justified = format!(
        "of {} listed, {with_reason} name a reason and {with_ticket} a ticket",
        counted(windows, "window", "windows")
    );
    vec![
        Control {
            id: "HIPAA 164.312(a)(1)",
            name: "Access control",
            asks: "Let only those people and programs into systems with electronic health information who have been granted access.",
            shows: vec![calls.clone(), format!("{} held a window: {}", counted(people, "person", "people"), counted(windows, "window", "windows")), gated.clone()],
            not_shown: "Access to the data itself, and every way to it that is not an elevation on this host: applications, databases, network, backups.",
        },
        Control {
            id: "HIPAA 164.312(a)(2)(i)",
            name: "Unique user identification",
            asks: "Give each user a name or number of their own by which they are known and followed.",
            shows: vec![
                "each record names the account and its uid, and the uid of the login behind it; each elevated session has an audit session of the kernel".to_owned(),
                format!("accounts with uid 0 now: {}", joined(&report.standing.uid_zero)),
            ],
            not_shown: "Whether an account is used by one person only.",
        },
        Control {
            id: "HIPAA 164.312(a)(2)(ii)",
            name: "Emergency access procedure",
            asks: "Have a way to get at needed health information in an emergency, and use it when there is one.",
            shows: vec![format!("{} without a request, by an operator", counted(direct, "grant was given", "grants were given"))],
            not_shown: "The procedure itself, whether it was tried, and which of these grants were emergencies: their reasons are listed with them.",
        },
        Control {
            id: "HIPAA 164.312(a)(2)(iii)",
            name: "Automatic logoff",
            asks: "End an electronic session after a set time without activity.",
            shows: vec![
                format!("{}: {forced} by jitd, of these {idle} for idleness; {}", counted(ended, "elevated session ended", "elevated sessions ended"), left(still_there)),
                closed.clone(),
            ],
            not_shown: "Sessions that are not elevated: logins, desktops and applications.",
        },
        Control {
            id: "HIPAA 164.312(b)",
            name: "Audit controls",
            asks: "Record what happens in systems that hold health information, and examine it.",
            shows: vec![
                format!("{} in the period, numbers {} to {}", counted(report.records.count, "record", "records"), report.records.first, report.records.last),
                "this report is such an examination; record yourself that it was read".to_owned(),
            ],
            not_shown: "What was typed or read inside an elevated shell; auditd records that, and audit session numbers lead there.",
        },
        Control {
            id: "HIPAA 164.312(c)(1)",
            name: "Integrity",
            asks: "Protect health information from being altered or destroyed improperly.",
            shows: vec![chain.clone(), changed(report)],
            not_shown: "The integrity of the health information itself: the chain protects the record of who was able to change it. Whether root rewrote the whole audit log shows only in comparison with a copy off the host.",
        },
        Control {
            id: "HIPAA 164.312(d)",
            name: "Person or entity authentication",
            asks: "Verify that whoever seeks access is who they claim to be.",
            shows: vec!["jitd takes the caller's identity from the kernel and compares it with what PAM says; a mismatch is a refusal and among those listed".to_owned()],
            not_shown: "Passwords and second factors: they are checked by sudo and the PAM modules before or after the gate, in their own logs.",
        },
        Control {
            id: "SOX 404, access change",
            name: "Changes of privileged access",
            asks: "Privileged access to systems of financial reporting is requested, approved by another person, limited, and revoked.",
            shows: vec![
                requests.clone(),
                format!("{approved} by request and approval, {direct} by an operator alone; {own} where the holder is among the approvers"),
                justified.clone(),
                closed.clone(),
            ],
            not_shown: "Who of the approvers is entitled to approve by your own rules, and changes that were made with the access.",
        },
        Control {
            id: "PCI DSS 7 (7.2.1 to 7.2.5, 7.3)",
            name: "Access by need to know",
            asks: "Access is given by role and by what the work needs, approved by those who may, and reviewed at least every six months.",
            shows: vec![requests.clone(), justified.clone(), standing, gated],
            not_shown: "Whether a role holds no more than the work needs, and the review as such. Privilege that stands outside of sudoers, as in applications, is not looked for.",
        },
        Control {
            id: "PCI DSS 8 (8.2.1, 8.2.2, 8.2.8, 8.4)",
            name: "Identify and authenticate users",
            asks: "Each user has an ID of their own, shared ones are exceptions, idle sessions end, and administrators authenticate with several factors.",
            shows: vec![
                "each record names the person, also where the command ran as a shared account such as root".to_owned(),
                format!("{idle} elevated sessions were ended for idleness; {}", left(still_there)),
            ],
            not_shown: "How a person authenticated, and the life of accounts and passwords.",
        },
        Control {
            id: "PCI DSS 10 (10.2.1.2, 10.2.1.4 to 10.2.1.6, 10.2.2, 10.3)",
            name: "Log and monitor access",
            asks: "Log what administrators do, refused access, changes of privilege, and starts and stops of the log itself, with who, what, when, where and the result, and protect the log.",
            shows: vec![
                calls,
                format!(
                    "{} and {} of the daemon; {} of the policy, {} refused",
                    counted(figure(AuditEvent::DaemonStarted), "start", "starts"),
                    counted(figure(AuditEvent::DaemonStopped), "stop", "stops"),
                    counted(figure(AuditEvent::PolicyLoaded), "load", "loads"),
                    figure(AuditEvent::PolicyRefused)
                ),
                chain,
            ],
            not_shown: "Commands inside an elevated shell (10.2.1.2 asks for auditd as well); that records left the host, are kept for twelve months (10.5.1) and were reviewed (10.4).",
        },
    ]
}

fn left(still_there: u64) -> String {
    match still_there {
        0 => "no process was left of those that jitd ended".to_owned(),
        n => format!("{} left", counted(n, "process was", "processes were")),
    }
}

fn changed(report: &Report) -> String {
    match report.left_behind.len() as u64 {
        0 => "no change to the places where privilege is kept was found after a session".to_owned(),
        n => format!(
            "{} after a session",
            counted(
                n,
                "change to the places where privilege is kept was found",
                "changes to the places where privilege is kept were found"
            )
        ),
    }
}

fn joined(names: &[String]) -> String {
    if names.is_empty() { "not known".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::super::samples::a_report;

    #[test]
    fn every_control_that_was_asked_for_is_there() {
        let report = a_report("x");
        for id in [
            "(a)(1)",
            "(a)(2)(i)",
            "(a)(2)(ii)",
            "(a)(2)(iii)",
            "164.312(b)",
            "(c)(1)",
            "164.312(d)",
            "SOX",
            "PCI DSS 7",
            "PCI DSS 8",
            "PCI DSS 10",
        ] {
            let control = report.controls.iter().find(|control| control.id.contains(id));
            let control = control.unwrap_or_else(|| panic!("{id} is missing"));
            assert!(
                !control.shows.is_empty() && !control.not_shown.is_empty() && control.asks.ends_with('.'),
                "{id}"
            );
        }
    }

    #[test]
    fn the_figures_are_those_of_the_report() {
        let report = a_report("x");
        let sox = report.controls.iter().find(|control| control.id.starts_with("SOX")).unwrap();
        assert!(sox.shows[0].starts_with("2 requests made, 1 approval given, 1 denied"), "{:?}", sox.shows);
        assert!(
            sox.shows[1].starts_with("1 by request and approval, 1 by an operator alone; 0 where"),
            "{:?}",
            sox.shows
        );
    }
}
