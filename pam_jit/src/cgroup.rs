//! The cgroup of this process when the first session line passed, kept in the PAM handle for the last one.
//!
//! `track` exists because another module may have moved the process since (pam_systemd gives it a login session of its
//! own). If nothing moved it, the daemon need not be asked: another call costs a sudo two percent.
#![allow(unsafe_code)]

use pam::module::PamHandle;
use std::fs;

/// The name of the data (pam_set_data(3)); no other module uses it.
const KEY: &str = "pam_jit_place";

/// The cgroup, and the target user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CgroupAtOpen {
    cgroup: String,
    user: String,
}

impl CgroupAtOpen {
    /// The present cgroup of this process, if the kernel reports it.
    pub(crate) fn now(user: &str) -> Option<Self> {
        let text = fs::read_to_string("/proc/self/cgroup").ok()?;
        // Only the unified hierarchy: processes are moved in no other (cgroups(7)).
        let cgroup = text.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned();
        Some(Self { cgroup, user: user.to_owned() })
    }

    /// Keeps it in the PAM handle. If that fails, the last line asks the daemon.
    pub(crate) fn keep(self, pamh: &mut PamHandle) {
        let _ = pamh.set_data(KEY, Box::new(self));
    }

    /// Whether the process is still in the cgroup in which the first session line passed.
    pub(crate) fn is_as_kept(&self, pamh: &PamHandle) -> bool {
        // SAFETY: the data under this key is a `CgroupAtOpen`, since only `keep` uses the key: the modules of a handle
        // share one list of names, and this one belongs to this module, of which a process maps one file (`-z
        // nodelete`).
        unsafe { pamh.get_data::<Self>(KEY) }.is_ok_and(|kept| kept == self)
    }
}
