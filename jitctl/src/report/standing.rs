//! The standing privileges of the host: rules of sudoers, services that ask jitd, uid 0.

use jit_host::sudoers::{self, SudoRule};
use jit_host::{accounts, pam_stack};
use serde::Serialize;

/// The services that change the user.
const SERVICES: [&str; 9] =
    ["sudo", "sudo-i", "su", "su-l", "runuser", "runuser-l", "doas", "polkit-1", "cockpit"];

/// The standing privileges.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Standing {
    /// The rules of sudoers; `None` if they could not be read.
    pub(super) rules: Option<Vec<SudoRule>>,
    /// The services that have a PAM stack.
    pub(super) gates: Vec<Gate>,
    /// Accounts with uid 0.
    pub(super) uid_zero: Vec<String>,
    /// Why the rules are missing.
    pub(super) gap: Option<String>,
}

/// Whether the account stage of a service's stack asks jitd first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Gate {
    pub(super) service: String,
    pub(super) gated: bool,
}

/// Reads the standing privileges of this host.
pub(super) fn found() -> Standing {
    let gates = SERVICES.iter().filter_map(|service| {
        let gated = pam_stack::account_stage_asks(service)?;
        Some(Gate { service: (*service).to_owned(), gated })
    });
    let (gates, uid_zero) = (gates.collect(), accounts::with_uid_zero());
    match sudoers::installed() {
        Ok(rules) => Standing { rules: Some(rules), gates, uid_zero, gap: None },
        Err(why) => Standing { rules: None, gates, uid_zero, gap: Some(why) },
    }
}
