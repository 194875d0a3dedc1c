//! Reads the host's own files that say who may become whom: PAM stacks, accounts, sudoers; of PAM stacks it says what
//! they are to become.
//!
//! For jitd and jitctl; the crate knows no runtime, no bus and no policy. `pam_jit` does not depend on it.
#![forbid(unsafe_code)]

pub mod accounts;
pub mod pam_edit;
mod pam_grammar;
pub mod pam_module;
pub mod pam_stack;
pub mod polkit_helper;
pub mod program;
pub mod sudoers;
pub mod unit_files;
