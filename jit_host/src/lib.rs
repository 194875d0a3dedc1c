//! Reads the host's own files that say who may become whom: PAM stacks, accounts, sudoers.
//!
//! For the daemon and the command line; it knows no runtime, no bus and no policy. `pam_jit` does not depend on it.
#![forbid(unsafe_code)]

pub mod accounts;
pub mod pam_stack;
pub mod program;
pub mod sudoers;
