//! polkit's paths to root: put behind jitd, and taken out again.
//!
//! Works as root without jitd: the rule, the stack and the units are the host's.

mod files;

mod enable;

mod disable;

use clap::Subcommand;
use jit_host::program::output_of;
use jit_proto::bus::names::error;

use crate::failure::{Exit, Failure};
use crate::output::Output;

const SYSTEMCTL: &str = "/usr/bin/systemctl";
/// The socket that jitd's rule asks at.
const SOCKET: &str = "jitd-polkit.socket";
const DAEMON: &str = "jitd.service";

/// What can be done with polkit's paths to root.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Have pkexec, systemctl and run0 refused without a window (root)
    ///
    /// Puts a rule into /etc/polkit-1/rules.d that asks jitd, jitd's lines into /etc/pam.d/polkit-1, and starts
    /// jitd-polkit.socket. A role opens pkexec with "polkit-1" among its services, and systemctl with "systemctl". What
    /// systemctl starts is in no session: it goes on after the window. run0 and systemd-run are refused to everybody but root:
    /// polkit is not told what they run. Other rules and agents decide no more about these actions; root is asked nothing.
    Enable,
    /// Have polkit decide as before (root)
    Disable,
}

/// Carries one of them out.
pub(crate) fn run(verb: Verb, output: &Output) -> Result<(), Failure> {
    let word = match verb {
        Verb::Enable => "enable",
        Verb::Disable => "disable",
    };
    if !rustix::process::geteuid().is_root() {
        let message = format!("only root may change polkit's rules; as root type: jitctl polkit {word}");
        return Err(Failure::new(Exit::Refused, error::NOT_AUTHORIZED, &message));
    }
    match verb {
        Verb::Enable => enable::enable(output),
        Verb::Disable => disable::disable(output),
    }
}

fn systemctl(words: &[&str]) -> Result<(), Failure> {
    output_of(SYSTEMCTL, &[&["--quiet", "--no-ask-password"], words].concat()).map(drop).map_err(failed)
}

fn failed(why: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, error::FAILED, &why.to_string())
}
