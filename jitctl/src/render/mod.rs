//! Views as text for people, where several verbs print them; pure.
//!
//! Every text from a person, a policy file or the kernel goes through [`Escaped`]; the results of these functions, and
//! of the verbs', have no control character except the newlines that end their lines (`terminal_safety` tests it).

pub(crate) mod layout;

pub(crate) mod request;

pub(crate) mod grant;

use std::time::Duration;

use jit_proto::audit::render::words;
use jit_proto::bus::view::GrantView;
use jit_proto::escape::Escaped;
use jit_proto::time::{WallTime, format_duration};

/// `name   value` below a headline; an empty value omits the line.
pub(crate) fn detail(name: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("    {name:<13}{value}\n") }
}

/// A text from people, or a dash where there is none.
pub(crate) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { Escaped(text).to_string() }
}

pub(crate) fn list(texts: &[String]) -> String {
    or_dash(&texts.join(", "))
}

pub(crate) fn span(seconds: u64) -> String {
    format_duration(Duration::from_secs(seconds))
}

/// The remaining time of a window: whole minutes if it is longer than ten of them.
pub(crate) fn left(seconds: u64) -> String {
    span(if seconds >= 600 { seconds / 60 * 60 } else { seconds })
}

pub(crate) fn local(micros: u64) -> String {
    WallTime(micros).to_local()
}

/// The end of a window; with the date only if it is not today.
pub(crate) fn until(grant: &GrantView) -> String {
    // The daemon sends the remaining time, so no clock is read here.
    let now = local(grant.ends_at.saturating_sub(grant.remaining_seconds.saturating_mul(1_000_000)));
    let end = local(grant.ends_at);
    match (now.split_once(' '), end.split_once(' ')) {
        (Some((today, _)), Some((day, time))) if today == day => time.to_owned(),
        _ => end,
    }
}

/// What observes, a line each, without the end of the line; nothing where jitd enforces.
pub(crate) fn observing(host: bool, roles: &[String]) -> Vec<String> {
    let of_host = "OBSERVING: this host lets calls pass that enforcing would deny (mode in jitd.toml)";
    let of_roles = || {
        format!("OBSERVING: members of {} pass where enforcing would deny (mode of the role)", list(roles))
    };
    match (host, roles.is_empty()) {
        (true, _) => vec![of_host.to_owned()],
        (false, false) => vec![of_roles()],
        (false, true) => Vec::new(),
    }
}

pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A command as it would be typed: words that a shell would split are quoted.
pub(crate) fn command(argv: &[String]) -> String {
    or_dash(&words(argv.iter().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{MOMENT, a_grant};

    #[test]
    fn what_is_left_is_told_in_minutes_until_it_gets_short() {
        assert_eq!(left(1692), "28m");
        assert_eq!(left(5399), "1h 29m");
        assert_eq!(left(599), "9m 59s");
        assert_eq!(left(0), "0s");
    }

    #[test]
    fn an_end_on_another_day_is_told_with_its_date() {
        let mut grant = a_grant("x");
        grant.ends_at = MOMENT;
        grant.remaining_seconds = 1;
        assert_eq!(until(&grant).len(), "14:32:05 +01:00".len());
        grant.remaining_seconds = 25 * 3600;
        assert_eq!(until(&grant).len(), "2026-11-22 14:32:05 +01:00".len());
    }

    #[test]
    fn a_command_is_quoted_where_a_shell_would_take_it_apart() {
        let words = ["sudo", "sh", "-c", "echo it's; id", ""].map(str::to_owned);
        assert_eq!(command(&words), "sudo sh -c 'echo it'\\''s; id' ''");
    }
}
