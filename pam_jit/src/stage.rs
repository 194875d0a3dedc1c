//! The stages of PAM, by their names in its configuration.

use std::fmt;

/// The PAM stage, shown in the system log as other modules show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// `account`.
    Account,
    /// `session`.
    Session,
    /// `auth`.
    Auth,
    /// `password`.
    Password,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Account => "account",
            Self::Session => "session",
            Self::Auth => "auth",
            Self::Password => "password",
        })
    }
}
