//! `polkit enable`: the stack and the socket first, and the rule last, so that polkit asks nobody who is not there.

use jit_host::pam_edit::{Lines, with_lines};
use jit_host::program::output_of;
use jit_proto::polkit_protocol::{HELPER, SERVICE_PKEXEC};

use super::files::{RULE, RULE_TEXT, STACK, VENDOR_STACK, put, text_of};
use super::{DAEMON, SOCKET, SYSTEMCTL, failed, systemctl};
use crate::failure::Failure;
use crate::output::Output;

/// A sudo of just that moment starts the daemon before its new socket is there; then it is tried again.
const TRIES: u32 = 5;

/// `polkit enable`.
pub(super) fn enable(output: &Output) -> Result<(), Failure> {
    let folder = std::path::Path::new(RULE).parent();
    if !folder.is_some_and(std::path::Path::is_dir) {
        return Err(failed("polkit is not installed: there is no /etc/polkit-1/rules.d"));
    }
    if !std::path::Path::new(HELPER).exists() {
        return Err(failed(format!("{HELPER} is missing; install jitd again")));
    }
    carry_out(output).map_err(|failure| {
        let message = format!("{failure}; to have polkit as before, type: jitctl polkit disable");
        Failure { message, ..failure }
    })
}

fn carry_out(output: &Output) -> Result<(), Failure> {
    let own = text_of(STACK)?;
    let vendors = if own.is_none() { text_of(VENDOR_STACK)? } else { None };
    let before = own.clone().or(vendors);
    let before = before.ok_or_else(|| failed(format!("there is no PAM stack of {SERVICE_PKEXEC}")))?;
    let after = with_lines(&before, Lines::Enter).map_err(|why| failed(format!("{STACK}: {why}")))?;
    if own.as_ref() != Some(&after) {
        put(STACK, &after)?;
        output.talk(&format!("{STACK}: jitd's lines are in it"));
    }
    open_socket()?;
    put(RULE, RULE_TEXT)?;
    output.talk(&format!("{RULE}: polkit asks jitd"));
    output.talk("Roles open pkexec and systemctl with \"polkit-1\" and \"systemctl\" in their services (jit-roles(5)).");
    Ok(())
}

/// PID 1 opens no socket for a service that runs, so the daemon is stopped for a moment; calls of sudo wait meanwhile.
fn open_socket() -> Result<(), Failure> {
    systemctl(&["enable", SOCKET])?;
    let is_open = || output_of(SYSTEMCTL, &["is-active", SOCKET]).is_ok();
    if is_open() {
        return Ok(());
    }
    let mut opened = Ok(());
    for _ in 0..TRIES {
        systemctl(&["stop", DAEMON])?;
        opened = systemctl(&["start", SOCKET]);
        if opened.is_ok() {
            break;
        }
    }
    // Whatever came of that, sudo needs the daemon.
    systemctl(&["start", DAEMON])?;
    opened
}
