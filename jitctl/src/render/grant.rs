//! Grants as text: a sentence, a block, a table.

use jit_proto::bus::view::GrantView;
use jit_proto::escape::Escaped;

use super::layout::{self, Column, Sheet, times};
use super::{counted, detail, left, list, local, or_dash, until};

/// A grant that an operator has just made.
pub(crate) fn granted(grant: &GrantView) -> String {
    format!("grant {}: {} holds {}\n", grant.id, Escaped(&grant.user), window(grant))
}

/// Grants as a table.
pub(crate) fn table(grants: &[GrantView], sheet: &Sheet) -> String {
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
    layout::table(&columns, rows.collect(), sheet)
}

/// One grant in full.
pub(crate) fn block(grant: &GrantView) -> String {
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
pub(crate) fn window(grant: &GrantView) -> String {
    format!("{} until {} ({} left)", Escaped(&grant.role), until(grant), left(grant.remaining_seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{a_grant, a_sheet};

    #[test]
    fn a_list_is_one_line_each() {
        let text = table(&[a_grant("alice"), a_grant("bob")], &a_sheet(None));
        assert_eq!(text.lines().count(), 3);
        assert!(text.starts_with("ID  USER   ROLE"), "{text}");
    }

    #[test]
    fn at_80_columns_names_are_whole_and_times_short() {
        let grant = GrantView { user: "christopher".into(), ..a_grant("restart nginx on both web hosts") };
        let text = table(&[grant], &a_sheet(Some(80)));
        for part in ["christopher", "web-admin", "28m", "06:51", "ENDS (+00:00)"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let row = text.lines().nth(1).unwrap();
        assert!(row.chars().count() <= 80 && text.lines().count() <= 3, "{text}");
    }
}
