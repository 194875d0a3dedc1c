//! Who could still become root if the gate lets nobody through: what is looked at before it is put in.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use jit_host::accounts::{self, Passwd, Password, Shadow, members_of_group};
use jit_host::pam_stack::{State, state};
use jit_host::program::output_of;
use jit_proto::bus::view::RoleView;

/// Why nobody would get a window by way of these services; `None` where somebody can ask and somebody else can approve.
pub(super) fn nobody_gets_a_window(roles: &[RoleView], services: &[String]) -> Option<String> {
    nobody_gets_one(roles, services, members_of_group)
}

fn nobody_gets_one(
    roles: &[RoleView],
    services: &[String],
    people_of: impl Fn(&str) -> Vec<String>,
) -> Option<String> {
    let people = |names: &[String]| -> BTreeSet<String> {
        let of_name = |name: &String| match name.strip_prefix('@') {
            Some(group) => people_of(group),
            None => vec![name.clone()],
        };
        names.iter().flat_map(of_name).collect()
    };
    let is_usable = |role: &&RoleView| {
        let (members, approvers) = (people(&role.members), people(&role.approvers));
        let others = |member: &String| approvers.iter().filter(|approver| *approver != member).count();
        let needed = usize::try_from(role.approvals_needed).unwrap_or(usize::MAX);
        members.iter().any(|member| others(member) >= needed)
    };
    for service in services {
        // The role of sudo-i's people may name sudo alone, and the gate then denies them there.
        let opens = |role: &&RoleView| role.services.iter().any(|name| name == service);
        if !roles.iter().filter(opens).any(|role| is_usable(&role)) {
            return Some(format!(
                "no role that opens {service} has a member whom somebody else can approve, so nobody but root could use it"
            ));
        }
    }
    None
}

/// Ways to become root that the gate does not close, besides a shell of root's that is open now; one clause each.
/// `gated` are the services that are about to ask.
pub(super) fn ways_to_root(gated: &[String]) -> Vec<String> {
    let mut ways = Vec::new();
    let permit = permit_root_login();
    let su_is_open = !gated.iter().any(|service| service == "su")
        && matches!(state("su", true), Some(State::DoesNotAsk(_) | State::Tracks));
    let passwd = fs::read("/etc/passwd").unwrap_or_default();
    let shadow = fs::read("/etc/shadow").unwrap_or_default();
    for name in accounts::with_uid_zero() {
        let of = |line: &&[u8]| Shadow::parse(line).name == name.as_bytes();
        let password = accounts::lines(&shadow).find(of).map(|line| Shadow::parse(line).password);
        let has_password = matches!(password, Some(Password::Set | Password::NotNeeded));
        if has_password && has_console() {
            ways.push(format!("{name} has a password and this host a console"));
        }
        if has_password && su_is_open {
            ways.push(format!("{name} has a password and su does not ask jitd"));
        }
        if has_password && permit.as_deref() == Some("yes") {
            ways.push(format!("{name} has a password and sshd lets root log in with it"));
        }
        let home = accounts::lines(&passwd).map(Passwd::parse).find(|it| it.name == name.as_bytes());
        let home = home.map(|account| String::from_utf8_lossy(account.home).into_owned()).unwrap_or_default();
        let by_key = matches!(permit.as_deref(), Some("yes" | "without-password" | "prohibit-password"));
        if by_key && !home.is_empty() && has_key(Path::new(&home)) {
            ways.push(format!("{name} has a key in {home}/.ssh and sshd lets it in"));
        }
    }
    ways
}

/// Whether somebody can log in at the host itself: a getty waits at one of its terminals (systemd-getty-generator(8)).
fn has_console() -> bool {
    let words = [
        "list-units",
        "--plain",
        "--no-legend",
        "--state=active",
        "getty@*.service",
        "serial-getty@*.service",
        "console-getty.service",
        "container-getty@*.service",
    ];
    output_of("/usr/bin/systemctl", &words).is_ok_and(|units| !units.trim().is_empty())
}

/// What sshd says of `PermitRootLogin` (sshd_config(5)); `None` where there is no sshd, or none that says.
fn permit_root_login() -> Option<String> {
    permit_of(&output_of("/usr/sbin/sshd", &["-T"]).ok()?)
}

fn permit_of(settings: &str) -> Option<String> {
    settings
        .lines()
        .find_map(|line| line.strip_prefix("permitrootlogin "))
        .map(|value| value.trim().to_owned())
}

fn has_key(home: &Path) -> bool {
    let files = ["authorized_keys", "authorized_keys2"].map(|name| home.join(".ssh").join(name));
    files.iter().any(|file| fs::read_to_string(file).is_ok_and(|text| text.lines().any(opens_a_shell)))
}

/// Whether a line is a key that is not for one command: images of clouds have one that only says whom to log in as.
fn opens_a_shell(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#') && !line.contains("command=")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::a_role;

    fn role(members: &[&str], approvers: &[&str], needed: u32) -> RoleView {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        RoleView {
            members: list(members),
            approvers: list(approvers),
            approvals_needed: needed,
            services: list(&["sudo", "sudo-i"]),
            ..a_role("ops")
        }
    }

    #[test]
    fn a_role_counts_where_somebody_asks_and_enough_others_approve() {
        let people =
            |group: &str| if group == "web" { vec!["alice".into(), "bob".into()] } else { Vec::new() };
        let of = |role: RoleView| nobody_gets_one(&[role], &["sudo".into()], people);
        assert_eq!(of(role(&["alice"], &["bob"], 1)), None);
        assert_eq!(of(role(&["@web"], &["@web"], 1)), None);
        assert_eq!(of(role(&["alice"], &[], 0)), None, "it needs no approval");
        for (members, approvers, needed) in [
            (&["alice"][..], &["alice"][..], 1),
            (&[], &["bob"], 1),
            (&["alice"], &[], 1),
            (&["alice"], &["bob"], 2),
            (&["@empty"], &["bob"], 1),
        ] {
            let why = of(role(members, approvers, needed)).unwrap();
            assert!(why.starts_with("no role that opens sudo has a member"), "{why}");
        }
        let roles = [role(&["alice"], &["bob"], 1)];
        assert!(
            nobody_gets_one(&roles, &["sudo".into(), "su".into()], people)
                .is_some_and(|why| why.contains("opens su "))
        );
        assert!(nobody_gets_one(&[], &["sudo".into()], people).is_some());
    }

    #[test]
    fn a_key_for_one_command_lets_nobody_back_in() {
        assert!(opens_a_shell("ssh-ed25519 AAAA root@host") && opens_a_shell("no-pty ssh-rsa AAAA"));
        for line in ["", "# ssh-rsa AAAA", "command=\"echo log in as debian\" ssh-rsa AAAA"] {
            assert!(!opens_a_shell(line), "{line}");
        }
        assert_eq!(
            permit_of("port 22\npermitrootlogin without-password\n").as_deref(),
            Some("without-password")
        );
        assert_eq!(permit_of("port 22\n"), None);
    }
}
