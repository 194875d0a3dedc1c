//! The PAM module of jitd: asks the daemon whether this elevation is inside a window.
//!
//! Knows no policy, no grant and no file of the daemon, and keeps nothing between stages except the cgroup at the
//! session's opening. It reads no environment, which belongs to the caller; it starts no thread, and leaves no
//! descriptor, no signal change and no output behind. It returns `PAM_SUCCESS` or `PAM_PERM_DENIED` and nothing else:
//! sudo runs the command on several of the other codes. See pam_jit(8) and packaging/pam/.

mod options;

mod stage;

mod hook;

mod call;

mod socket;

mod error;

mod audit_session;

mod cgroup;

mod feedback;

use hook::Verdict;
use pam::constants::{PamFlag, PamResultCode};
use pam::module::{PamHandle, PamHooks};
use stage::Stage;
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};

struct PamJit;

/// The C functions that libpam calls.
#[allow(
    missing_docs,
    unreachable_pub,
    reason = "written by the macro; documented in pam_sm_acct_mgmt(3) and its like"
)]
mod entry_points {
    use super::PamJit;
    pam::pam_hooks!(PamJit);
}

impl PamHooks for PamJit {
    fn acct_mgmt(pamh: &mut PamHandle, args: Vec<&CStr>, _flags: PamFlag) -> PamResultCode {
        guarded(pamh, |pamh| hook::account(pamh, &args), |pamh| hook::broken(pamh, Stage::Account, &args))
    }

    fn sm_open_session(pamh: &mut PamHandle, args: Vec<&CStr>, _flags: PamFlag) -> PamResultCode {
        guarded(
            pamh,
            |pamh| hook::open_session(pamh, &args),
            |pamh| hook::broken(pamh, Stage::Session, &args),
        )
    }

    // The daemon notices the end of a session itself: a user can kill their own sudo, and this function never runs.
    fn sm_close_session(_pamh: &mut PamHandle, _args: Vec<&CStr>, _flags: PamFlag) -> PamResultCode {
        PamResultCode::PAM_SUCCESS
    }

    fn sm_setcred(_pamh: &mut PamHandle, _args: Vec<&CStr>, _flags: PamFlag) -> PamResultCode {
        PamResultCode::PAM_SUCCESS
    }

    fn sm_authenticate(pamh: &mut PamHandle, _args: Vec<&CStr>, _flags: PamFlag) -> PamResultCode {
        guarded(pamh, |pamh| hook::misplaced(pamh, Stage::Auth), |pamh| hook::broken(pamh, Stage::Auth, &[]))
    }

    fn sm_chauthtok(pamh: &mut PamHandle, _args: Vec<&CStr>, _flags: PamFlag) -> PamResultCode {
        guarded(
            pamh,
            |pamh| hook::misplaced(pamh, Stage::Password),
            |pamh| hook::broken(pamh, Stage::Password, &[]),
        )
    }
}

/// Runs a stage; the only place where a verdict becomes a PAM code. After a panic, `broken` reports it and gives the
/// verdict: the default panic hook would print to the caller's terminal. A panic in `broken` denies.
fn guarded<T>(
    handle: &mut T,
    hook: impl FnOnce(&mut T) -> Verdict,
    broken: impl FnOnce(&mut T) -> Verdict,
) -> PamResultCode {
    // The hook of this library's own copy of std, which no other code of the process uses. Not in unit tests, whose
    // failures would lose their text.
    if cfg!(not(test)) {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let caught = catch_unwind(AssertUnwindSafe(|| hook(&mut *handle))).or_else(|payload| {
        // Dropping a payload could panic again.
        std::mem::forget(payload);
        catch_unwind(AssertUnwindSafe(|| broken(&mut *handle)))
    });
    match caught {
        Ok(Verdict::Pass) => PamResultCode::PAM_SUCCESS,
        Ok(Verdict::Deny) => PamResultCode::PAM_PERM_DENIED,
        Err(payload) => {
            std::mem::forget(payload);
            PamResultCode::PAM_PERM_DENIED
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_becomes_success_or_denial_and_a_panic_denial() {
        let unbroken = |_: &mut bool| panic!("nothing is broken");
        let mut said = false;
        assert_eq!(guarded(&mut said, |_| Verdict::Pass, unbroken), PamResultCode::PAM_SUCCESS);
        assert_eq!(guarded(&mut said, |_| Verdict::Deny, unbroken), PamResultCode::PAM_PERM_DENIED);
        let deny = |said: &mut bool| {
            *said = true;
            Verdict::Deny
        };
        assert_eq!(guarded(&mut said, |_| panic!("first"), deny), PamResultCode::PAM_PERM_DENIED);
        assert!(said);
        // A line that says `observe`.
        assert_eq!(guarded(&mut said, |_| panic!("first"), |_| Verdict::Pass), PamResultCode::PAM_SUCCESS);
        let verdict = guarded(&mut said, |_| panic!("first"), |_| panic!("second"));
        assert_eq!(verdict, PamResultCode::PAM_PERM_DENIED);
    }
}
