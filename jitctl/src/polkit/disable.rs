//! `polkit disable`: the rule goes first, so that polkit asks nobody who is not there any more.

use jit_host::pam_edit::{has_lines, without_lines};

use super::files::{RULE, STACK, VENDOR_STACK, put, remove, text_of};
use super::{SOCKET, systemctl};
use crate::failure::Failure;
use crate::output::Output;

/// `polkit disable`.
pub(super) fn disable(output: &Output) -> Result<(), Failure> {
    remove(RULE)?;
    output.talk(&format!("{RULE}: it is gone; polkit decides as before"));
    if let Some(before) = text_of(STACK)?.filter(|text| has_lines(text)) {
        let after = without_lines(&before);
        // The file that the package brings does as well.
        match text_of(VENDOR_STACK)?.is_some_and(|vendors| vendors == after) {
            true => remove(STACK)?,
            false => put(STACK, &after)?,
        }
        output.talk(&format!("{STACK}: jitd's lines are out"));
    }
    systemctl(&["disable", "--now", SOCKET])
}
