//! Where this process was when the first session line let it pass, kept in the PAM handle for the last one.
//!
//! `track` is there because another module may have moved the process since (pam_systemd gives it a login session of its
//! own). Where nothing has moved there is nothing to tell, and asking the daemon once more costs a sudo two percent.
#![allow(unsafe_code)]

use pam::module::PamHandle;
use std::fs;

/// The name under which it is kept (pam_set_data(3)); nobody else uses it.
const KEY: &str = "pam_jit_place";

/// A cgroup, and whom the session is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CgroupAtOpen {
    cgroup: String,
    user: String,
}

impl CgroupAtOpen {
    /// Where this process is now, if the kernel tells.
    pub(crate) fn now(user: &str) -> Option<Self> {
        let text = fs::read_to_string("/proc/self/cgroup").ok()?;
        // The unified hierarchy alone: nothing else is moved (cgroups(7)).
        let cgroup = text.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned();
        Some(Self { cgroup, user: user.to_owned() })
    }

    /// Keeps it until the PAM handle is ended. Where that fails, the last line asks.
    pub(crate) fn keep(self, pamh: &mut PamHandle) {
        let _ = pamh.set_data(KEY, Box::new(self));
    }

    /// Whether this is where the first session line let it pass.
    pub(crate) fn is_as_kept(&self, pamh: &PamHandle) -> bool {
        // SAFETY: what is kept under this key is a `CgroupAtOpen`, since `keep` alone uses the key: the names of all modules
        // of a handle share one list, and this one names ours, of which a process maps one file (`-z nodelete`).
        unsafe { pamh.get_data::<Self>(KEY) }.is_ok_and(|kept| kept == self)
    }
}
