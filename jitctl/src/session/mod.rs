//! Elevated sessions, listed.

use jit_proto::bus::view::SessionView;

use crate::client::Daemon;
use crate::failure::Failure;
use crate::output::Output;
use crate::render::layout::{self, Column, Sheet, times};
use crate::render::{command, or_dash};
use crate::values::TableArgs;

/// `sessions`.
pub(crate) async fn sessions(args: TableArgs, output: &Output) -> Result<(), Failure> {
    let sessions = Daemon::reach().await?.sessions().await?;
    output.page();
    output.list(&sessions, "no session is open", |sessions| table(sessions, &output.sheet(args.full)))
}

/// Sessions as a table.
pub(crate) fn table(sessions: &[SessionView], sheet: &Sheet) -> String {
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
    layout::table(&columns, rows.collect(), sheet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{a_session, a_sheet};

    #[test]
    fn a_session_is_a_line_with_what_runs() {
        assert!(table(&[a_session("alice")], &a_sheet(None)).contains("sudo alice"));
    }

    #[test]
    fn at_80_columns_names_are_whole_and_times_short() {
        let session = SessionView { user: "christopher".into(), ..a_session("x") };
        let text = table(&[session], &a_sheet(Some(80)));
        for part in ["christopher", "web-admin", "sudo x", "06:51", "ENDS (+00:00)"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let row = text.lines().nth(1).unwrap();
        assert!(row.chars().count() <= 80 && text.lines().count() <= 3, "{text}");
    }
}
