//! Grants, the sessions under them, and the state of the whole.

use jit_proto::audit::render::words;
use jit_proto::bus::view::{GrantView, SessionView, StackView, StatusView};
use jit_proto::escape::Escaped;

use super::layout::{Column, Sheet, table, times};
use super::{counted, detail, left, list, local, or_dash, requests::request_line, until};

/// What an operator has just given.
pub(crate) fn granted(grant: &GrantView) -> String {
    format!("grant {}: {} holds {}\n", grant.id, Escaped(&grant.user), window(grant))
}

/// Grants as a table.
pub(crate) fn grants(grants: &[GrantView], sheet: &Sheet) -> String {
    let ends: Vec<u64> = grants.iter().map(|grant| grant.ends_at).collect();
    let (ends_title, ends) = times(&ends, "ENDS", sheet);
    let columns = [
        Column::new("ID", 0),
        Column::new("USER", 0),
        Column::new("ROLE", 0),
        Column::new("AS", 5),
        Column::new(ends_title, 2),
        Column::new("LEFT", 0),
        Column::new("SESSIONS", 6),
        Column::new("APPROVED BY", 4),
        Column::new("TICKET", 3),
        Column::text("REASON", 1),
    ];
    let rows = grants.iter().zip(ends).map(|(grant, ends)| {
        vec![
            grant.id.to_string(),
            or_dash(&grant.user),
            or_dash(&grant.role),
            list(&grant.run_as),
            ends,
            if grant.state == "live" { left(grant.remaining_seconds) } else { or_dash(&grant.state) },
            grant.sessions.to_string(),
            list(&grant.approvers),
            or_dash(&grant.ticket),
            or_dash(&grant.reason),
        ]
    });
    table(&columns, rows.collect(), sheet)
}

/// Sessions as a table.
pub(crate) fn sessions(sessions: &[SessionView], sheet: &Sheet) -> String {
    let moments = |of: fn(&SessionView) -> u64| sessions.iter().map(of).collect::<Vec<u64>>();
    let (since_title, since) = times(&moments(|session| session.started_at), "SINCE", sheet);
    let (ends_title, ends) = times(&moments(|session| session.ends_at), "ENDS", sheet);
    let columns = [
        Column::new("ID", 0),
        Column::new("GRANT", 3),
        Column::new("USER", 0),
        Column::new("ROLE", 0),
        Column::new("AS", 2),
        Column::new("STATE", 6),
        Column::new("PID", 5),
        Column::new("TTY", 4),
        Column::new(since_title, 7),
        Column::new(ends_title, 1),
        Column::text("COMMAND", 0),
    ];
    let rows = sessions.iter().zip(since.into_iter().zip(ends)).map(|(session, (since, ends))| {
        vec![
            session.id.to_string(),
            session.grant.to_string(),
            or_dash(&session.user),
            or_dash(&session.role),
            or_dash(&session.run_as),
            or_dash(&session.state),
            session.pid.to_string(),
            or_dash(&session.tty),
            since,
            ends,
            command(&session.argv),
        ]
    });
    table(&columns, rows.collect(), sheet)
}

/// The daemon, and what the caller holds and waits for.
pub(crate) fn status(status: &StatusView, on_a_terminal: bool) -> String {
    let mut text = format!("jitd {} runs since {}\n", Escaped(&status.version), local(status.started_at));
    let policy = if status.policy_digest.is_empty() {
        "none was accepted, so everything is refused; see jitctl policy check".to_owned()
    } else {
        let digest: String = status.policy_digest.chars().take(12).collect();
        let roles = counted(status.roles, "role", "roles");
        format!("{}, loaded {}, {roles}", Escaped(&digest), local(status.policy_loaded_at))
    };
    text += &detail("policy", &policy);
    text += &detail(
        "host",
        &format!(
            "{}, {}, {}",
            counted(status.pending, "pending request", "pending requests"),
            counted(status.grants, "live grant", "live grants"),
            counted(status.sessions, "open session", "open sessions")
        ),
    );
    let unsent = match status.unsent {
        0 => "all sent to syslog".to_owned(),
        unsent => format!("{unsent} not yet sent to syslog"),
    };
    text += &detail("audit", &format!("{}, {unsent}", counted(status.records, "record", "records")));
    // SGR 1, 31 and 0: bold, red, and back (ECMA-48, 8.3.117).
    let (red, plain) = if on_a_terminal { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    for StackView { service, file, line, message } in &status.stacks {
        let line = if *line == 0 { String::new() } else { format!(":{line}") };
        text += &format!(
            "{red}NOT GATED: {} lets people become root without a window{plain}\n    {}{line}: {}\n",
            Escaped(service),
            Escaped(file),
            Escaped(message)
        );
    }
    for problem in &status.problems {
        text += &detail("RECORD", &Escaped(problem).to_string());
    }
    let user = Escaped(&status.user);
    if status.held.is_empty() {
        text += &format!("{user} holds no role\n");
    } else {
        text += &format!("{user} holds\n");
        for grant in &status.held {
            text += &format!("    {}, grant {}\n", window(grant), grant.id);
        }
    }
    if !status.asked.is_empty() {
        text += &format!("{user} waits for\n");
        for request in &status.asked {
            text += &format!("    {}\n", request_line(request));
        }
    }
    text
}

/// One grant with all that is known about it.
pub(super) fn block(grant: &GrantView) -> String {
    let GrantView { id, user, uid, role, .. } = grant;
    let state = match grant.state.as_str() {
        "live" => format!("live, {} left", left(grant.remaining_seconds)),
        other => or_dash(other),
    };
    let sessions = counted(grant.sessions, "open session", "open sessions");
    format!("grant {id}: {} (uid {uid}) holds {}\n", Escaped(user), Escaped(role))
        + &detail("state", &format!("{state}, {sessions}"))
        + &detail("window", &format!("{} to {}", local(grant.starts_at), local(grant.ends_at)))
        + &detail("as", &format!("{}, through {}", list(&grant.run_as), list(&grant.services)))
        + &detail("given by", &list(&grant.approvers))
        + &detail("reason", &or_dash(&grant.reason))
        + &detail("ticket", &or_dash(&grant.ticket))
}

/// `web-admin until 14:32:05 (28m left)`.
fn window(grant: &GrantView) -> String {
    format!("{} until {} ({} left)", Escaped(&grant.role), until(grant), left(grant.remaining_seconds))
}

/// A command as one would type it: words that a shell would take apart stand in quotes.
pub(super) fn command(argv: &[String]) -> String {
    or_dash(&words(argv.iter().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{a_grant, a_session, a_sheet, a_status};
    use super::*;

    #[test]
    fn status_tells_what_is_held_and_how_long_it_lasts() {
        let text = status(&a_status("alice"), false);
        assert!(text.contains("alice holds\n    web-admin until "), "{text}");
        assert!(text.contains(" (28m left), grant 7\n"), "{text}");
        assert!(text.contains("request 7: web-admin for 30m, waits for 1 approval\n"), "{text}");
        assert!(text.contains("2 pending requests, 1 live grant, 0 open sessions\n"), "{text}");
        assert!(text.contains("1234 records, all sent to syslog\n"), "{text}");
    }

    #[test]
    fn status_without_a_policy_or_a_grant_says_so() {
        let mut view = a_status("alice");
        view.policy_digest.clear();
        view.held.clear();
        view.asked.clear();
        view.stacks.truncate(1);
        let text = status(&view, true);
        assert!(text.contains("everything is refused"), "{text}");
        assert!(text.ends_with("alice holds no role\n"), "{text}");
        let red = "\u{1b}[1;31mNOT GATED: alice lets people become root without a window\u{1b}[0m\n    alice:3: alice\n";
        assert!(text.contains(red), "{text}");
    }

    #[test]
    fn a_list_is_one_line_each() {
        let text = grants(&[a_grant("alice"), a_grant("bob")], &a_sheet(None));
        assert_eq!(text.lines().count(), 3);
        assert!(text.starts_with("ID  USER   ROLE"), "{text}");
        assert!(sessions(&[a_session("alice")], &a_sheet(None)).contains("sudo alice"));
    }

    #[test]
    fn at_80_columns_names_are_whole_and_times_short() {
        let grant = GrantView { user: "christopher".into(), ..a_grant("restart nginx on both web hosts") };
        let session = SessionView { user: "christopher".into(), ..a_session("x") };
        for (text, wanted) in [
            (grants(&[grant], &a_sheet(Some(80))), ["christopher", "web-admin", "28m", "06:51"]),
            (sessions(&[session], &a_sheet(Some(80))), ["christopher", "web-admin", "sudo x", "06:51"]),
        ] {
            for part in wanted.into_iter().chain(["ENDS (+00:00)"]) {
                assert!(text.contains(part), "{part}: {text}");
            }
            let row = text.lines().nth(1).unwrap();
            assert!(row.chars().count() <= 80 && text.lines().count() <= 3, "{text}");
        }
    }

    #[test]
    fn a_command_is_quoted_where_a_shell_would_take_it_apart() {
        let words = ["sudo", "sh", "-c", "echo it's; id", ""].map(str::to_owned);
        assert_eq!(command(&words), "sudo sh -c 'echo it'\\''s; id' ''");
    }
}
