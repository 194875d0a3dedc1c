//! The stages of PAM, by the names that its configuration has for them.

use std::fmt;

/// The PAM stage a hook belongs to, shown in the system log as the other modules show it.
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
