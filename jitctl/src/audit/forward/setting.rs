//! The line `syslog_socket` of jitd.toml, set and taken back; every other line stays as it is.

/// The key.
const KEY: &str = "syslog_socket";
/// The line as the package ships it.
const DEFAULT: &str = "#syslog_socket = \"/dev/log\"";

/// Behind a line of ours that took no other one's place.
const INSERTED: &str = " # by jitctl audit forward";

/// The text with the socket set.
///
/// # Errors
/// A sentence: the key is set already, to another value than the default.
pub(super) fn set(text: &str, socket: &str, force: bool) -> Result<String, String> {
    let wanted = format!("{KEY} = \"{socket}\"");
    let inserted = format!("{wanted}{INSERTED}");
    let mut lines: Vec<&str> = text.lines().collect();
    let top = lines.iter().position(|line| line.trim_start().starts_with('[')).unwrap_or(lines.len());
    if let Some(at) = lines.iter().take(top).position(|line| value(line).is_some()) {
        let there = lines.get(at).and_then(|line| value(line)).unwrap_or_default();
        if there == format!("\"{socket}\"") {
            return Ok(text.to_owned());
        }
        if there != "\"/dev/log\"" && !force {
            return Err(format!(
                "jitd.toml sets {KEY} = {there}, so the records go to a socket already; nothing was changed. \
                 --force replaces that line"
            ));
        }
        lines.splice(at..=at, [wanted.as_str()]);
    } else if let Some(at) = lines.iter().take(top).position(|line| line.trim() == DEFAULT) {
        lines.splice(at..=at, [wanted.as_str()]);
    } else {
        // Before the comment of the first table.
        let above = lines.iter().take(top).rev().take_while(|line| line.starts_with('#')).count();
        let at = if top == lines.len() { top } else { top - above };
        lines.insert(at, &inserted);
    }
    Ok(whole(&lines))
}

/// The text without the socket, where it is set: an inserted line is removed, another one is as the package ships it.
pub(super) fn unset(text: &str, socket: &str) -> String {
    let ours = format!("\"{socket}\"");
    if !text.lines().any(|line| value(line) == Some(&ours)) {
        return text.to_owned();
    }
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| value(line) != Some(&ours) || !line.ends_with(INSERTED))
        .map(|line| if value(line) == Some(&ours) { DEFAULT } else { line })
        .collect();
    whole(&lines)
}

/// The value of a line of that key, without a comment behind it.
fn value(line: &str) -> Option<&str> {
    let value = line.trim_start().strip_prefix(KEY)?.trim_start().strip_prefix('=')?.trim();
    let quoted = value.strip_prefix('"').and_then(|rest| rest.find('"'));
    Some(quoted.and_then(|end| value.get(..end + 2)).unwrap_or(value))
}

fn whole(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKET: &str = "/run/x/socket";

    #[test]
    fn the_line_of_the_package_is_replaced_and_comes_back() {
        let shipped = include_str!("../../../../packaging/etc/jitd/jitd.toml");
        let set = super::set(shipped, SOCKET, false).unwrap();
        assert_eq!(set.lines().filter(|line| *line == "syslog_socket = \"/run/x/socket\"").count(), 1);
        assert_eq!(set.lines().count(), shipped.lines().count());
        assert_eq!(super::set(&set, SOCKET, false).unwrap(), set, "set once");
        assert_eq!(unset(&set, SOCKET), shipped);
        assert_eq!(unset(shipped, SOCKET), shipped);
    }

    #[test]
    fn it_stands_before_every_table_and_is_removed_again() {
        const LINE: &str = "syslog_socket = \"/run/x/socket\" # by jitctl audit forward\n";
        for (before, after) in [
            ("", LINE.to_owned()),
            ("grace = \"1s\"\n", format!("grace = \"1s\"\n{LINE}")),
            (
                "grace = \"1s\"\n\n# Mail.\n[notify]\nmail = []\n",
                format!("grace = \"1s\"\n\n{LINE}# Mail.\n[notify]\nmail = []\n"),
            ),
            // A key of that name in a table is another one.
            ("[alerts]\nsyslog_socket = \"x\"\n", format!("{LINE}[alerts]\nsyslog_socket = \"x\"\n")),
        ] {
            let set = super::set(before, SOCKET, false).unwrap();
            assert_eq!(set, after);
            assert_eq!(super::set(&set, SOCKET, false).unwrap(), set);
            assert_eq!(unset(&set, SOCKET), before);
        }
    }

    #[test]
    fn a_socket_of_somebody_else_is_left_alone() {
        let text = "syslog_socket = \"/run/mine\" # here\n";
        let why = set(text, SOCKET, false).unwrap_err();
        assert!(why.contains("sets syslog_socket = \"/run/mine\","), "{why}");
        assert_eq!(set(text, SOCKET, true).unwrap(), "syslog_socket = \"/run/x/socket\"\n");
        assert_eq!(unset(text, SOCKET), text);
        let default = "  syslog_socket=\"/dev/log\"\n";
        assert_eq!(set(default, SOCKET, false).unwrap(), "syslog_socket = \"/run/x/socket\"\n");
    }
}
