//! Identities, each parsed once, here, into a type that cannot hold an invalid value.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is no such identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadIdentity {
    /// Not a role name.
    #[error(
        "{0:?} is no role name: 1 to 64 characters of a-z, 0-9, '-' and '_', beginning with a letter or digit"
    )]
    RoleName(String),
    /// Only white space.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// Longer than what is kept.
    #[error("the {what} is {bytes} bytes long; the limit is {most} bytes")]
    TooLong {
        /// The kind of text.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// A NUL, which D-Bus and C strings cannot contain.
    #[error("the {0} contains a NUL character")]
    Nul(&'static str),
}

/// The account as which `jitctl doctor` tries whether a way to root is closed. Only root can become it, so its denials are no
/// sign of somebody who tries.
pub const PROBE_ACCOUNT: &str = "jit-doctor";

/// A user id of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub u32);

impl UserId {
    /// The superuser.
    pub const ROOT: UserId = UserId(0);

    /// Whether this is the superuser.
    #[must_use]
    pub fn is_root(self) -> bool {
        self == Self::ROOT
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A group id of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupId(pub u32);

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A request; numbered from 1 and never reused.
    RequestId
}
number! {
    /// A grant. It has the number of its request, so people have one number to remember; a grant of an operator without
    /// a request takes the next number of the same sequence.
    GrantId
}
number! {
    /// An elevated process tree; numbered from 1 and never reused.
    SessionId
}

/// The name of a role: 1 to 64 characters of `a-z`, `0-9`, `-` and `_`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoleName(String);

impl RoleName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RoleName {
    type Error = BadIdentity;

    fn try_from(text: String) -> Result<Self, BadIdentity> {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let all =
            text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if first && all && text.len() <= 64 { Ok(Self(text)) } else { Err(BadIdentity::RoleName(text)) }
    }
}

impl From<RoleName> for String {
    fn from(name: RoleName) -> String {
        name.0
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $most:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text as it was given, without white space at both ends. It may have control characters: display it
            /// only through [`crate::escape::Escaped`].
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadIdentity;

            fn try_from(text: String) -> Result<Self, BadIdentity> {
                let trimmed = text.trim();
                if trimmed.is_empty() {
                    return Err(BadIdentity::Empty($what));
                }
                if trimmed.len() > $most {
                    return Err(BadIdentity::TooLong { what: $what, bytes: trimmed.len(), most: $most });
                }
                if trimmed.contains('\0') {
                    return Err(BadIdentity::Nul($what));
                }
                Ok(Self(trimmed.to_owned()))
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0
            }
        }
    };
}

text! {
    /// The reason of a request, grant, denial or revocation; 1 to 1,024 bytes.
    Reason, "reason", 1024
}
text! {
    /// The ticket of a request; 1 to 128 bytes.
    Ticket, "ticket", 128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_name_is_plain() {
        for good in ["web-admin", "a", "0", "db_ops", &"a".repeat(64)] {
            assert_eq!(RoleName::try_from(good.to_owned()).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "A", "a b", "a/../b", "a\n", "é", &"a".repeat(65)] {
            assert!(RoleName::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_reason_is_trimmed_and_bounded() {
        assert_eq!(Reason::try_from("  down \n".to_owned()).unwrap().as_str(), "down");
        assert_eq!(Reason::try_from(" \t".to_owned()), Err(BadIdentity::Empty("reason")));
        assert!(matches!(Reason::try_from("x".repeat(1025)), Err(BadIdentity::TooLong { bytes: 1025, .. })));
        assert_eq!(Reason::try_from("a\0b".to_owned()), Err(BadIdentity::Nul("reason")));
    }
}
