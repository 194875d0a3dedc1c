//! Options of sudoers that lead sudo past jitd: read by sudo's own reader, cvtsudoers(1).

use jit_host::pam_stack::account_stage_asks;
use jit_host::sudoers::{SudoOption, options_in};

use crate::doctor::finding::{Check, Look, quoted};
use crate::doctor::host::Host;

pub(super) const CHECK: Check = Check { name: "sudoers", looks_at: "the options of sudoers", look };

const SUDOERS: &str = "/etc/sudoers";
const INCLUDED: &str = "/etc/sudoers.d";

fn look(host: &Host, look: &mut Look) {
    if !host.has("/usr/bin/sudo") || !host.has(SUDOERS) {
        return;
    }
    match host.read("/etc/nsswitch.conf") {
        Ok(Some(switch)) if is_elsewhere(&switch) => look.unseen(
            "the options of sudoers that come from LDAP or SSSD",
            "nsswitch.conf names sources beside the files, which cvtsudoers does not read",
        ),
        Ok(_) => {}
        Err(why) => look.unseen("/etc/nsswitch.conf", why),
    }
    let options = match options_in(SUDOERS) {
        Ok(options) => options,
        Err(why) => return look.unseen("the options of sudoers", why),
    };
    for bad in options.iter().filter_map(|option| judge(option, account_stage_asks)) {
        // sudo's reader does not say where an option stands, so each file is read alone.
        let files = host.list(INCLUDED).unwrap_or_default();
        let holds = |file: &&String| options_in(file).is_ok_and(|its| its.contains(&bad.option));
        let file = files.iter().find(holds).map_or(SUDOERS, String::as_str);
        tell(&bad, file, look);
    }
}

/// Whether sudo takes rules from elsewhere than files (nsswitch.conf(5), sudoers).
fn is_elsewhere(switch: &str) -> bool {
    switch.lines().any(|line| {
        let sources = line.trim().strip_prefix("sudoers:");
        sources.is_some_and(|sources| sources.split_whitespace().any(|source| source != "files"))
    })
}

/// An option that is wrong, and how it reads when it is right.
#[derive(Debug, PartialEq, Eq)]
struct Bad {
    option: SudoOption,
    written: String,
    why: String,
    /// Arguments of sed that make it right.
    edit: String,
}

/// What is wrong with an option; `asks` says whether the stack of a service asks jitd.
fn judge(option: &SudoOption, asks: impl Fn(&str) -> Option<bool>) -> Option<Bad> {
    let bad = |written: String, why: &str, edit: String| {
        Some(Bad { option: option.clone(), written, why: why.to_owned(), edit })
    };
    let flag = |why: &str| {
        let name = &option.name;
        bad(format!("!{name}"), why, format!("'s/![[:space:]]*{name}/{name}/g'"))
    };
    match (option.name.as_str(), option.value.as_str()) {
        ("pam_acct_mgmt", "false") => flag(
            "sudo does not run the account stage, where jitd decides: whoever sudoers names needs no window",
        ),
        ("pam_session", "false") => {
            flag("sudo opens no PAM session: nobody checks the target user, and what was started is not told")
        }
        ("pam_service" | "pam_login_service", service) if asks(service) != Some(true) => {
            let right = if option.name == "pam_service" { "sudo" } else { "sudo-i" };
            let name = &option.name;
            bad(
                format!("{name}={service}"),
                "sudo goes by another PAM stack, which does not ask jitd",
                format!(
                    "-E 's/\\b{name}([[:space:]]*=[[:space:]]*)(\"[^\"]*\"|[^\",[:space:]]+)/{name}\\1{right}/g'"
                ),
            )
        }
        _ => None,
    }
}

fn tell(bad: &Bad, file: &str, look: &mut Look) {
    let only_for = &bad.option.only_for;
    let whom = if only_for.is_empty() { String::new() } else { format!(" for {only_for}") };
    let id_whom = if only_for.is_empty() { String::new() } else { format!("/{only_for}") };
    look.open(
        format!("sudoers/{}{id_whom}", bad.written),
        format!("{file} sets {}{whom}", bad.written),
        bad.why.clone(),
        format!("sed -i {} {file} && visudo -cf {file}", bad.edit, file = quoted(file)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(name: &str, value: &str) -> SudoOption {
        SudoOption { only_for: String::new(), name: name.into(), value: value.into() }
    }

    #[test]
    fn options_that_lead_past_the_gate_are_told_and_no_others() {
        let asks = |service: &str| match service {
            "sudo" | "jit-sudo" => Some(true),
            "evil" => Some(false),
            _ => None,
        };
        for (name, value, written) in [
            ("pam_acct_mgmt", "false", Some("!pam_acct_mgmt")),
            ("pam_acct_mgmt", "true", None),
            ("pam_session", "false", Some("!pam_session")),
            ("pam_service", "evil", Some("pam_service=evil")),
            ("pam_service", "gone", Some("pam_service=gone")),
            ("pam_service", "jit-sudo", None),
            ("pam_login_service", "evil", Some("pam_login_service=evil")),
            ("env_reset", "false", None),
        ] {
            let found = judge(&option(name, value), asks);
            assert_eq!(found.map(|bad| bad.written).as_deref(), written, "{name}={value}");
        }
    }

    #[test]
    fn the_file_and_whom_it_is_for_are_told() {
        let option = SudoOption { only_for: "dave".into(), ..option("pam_acct_mgmt", "false") };
        let mut found = Look::default();
        tell(&judge(&option, |_| None).unwrap(), "/etc/sudoers.d/x", &mut found);
        assert_eq!(found.findings[0].id, "sudoers/!pam_acct_mgmt/dave");
        assert_eq!(found.findings[0].what, "/etc/sudoers.d/x sets !pam_acct_mgmt for dave");
        let mend = "sed -i 's/![[:space:]]*pam_acct_mgmt/pam_acct_mgmt/g' /etc/sudoers.d/x && visudo -cf /etc/sudoers.d/x";
        assert_eq!(found.findings[0].mend, mend);
    }

    #[test]
    fn sources_beside_the_files_are_known() {
        assert!(is_elsewhere("passwd: files\nsudoers: files sss\n"));
        assert!(!is_elsewhere("passwd: files sss\nsudoers:        files\n"));
    }
}
