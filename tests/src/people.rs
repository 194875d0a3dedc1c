//! The people that `tests/host/prepare.sh` makes on every host.

/// Everybody's password, root's too.
pub const PASSWORD: &str = "correct-horse";

/// Requests roles; sudoers asks for her password.
pub const ALICE: &str = "alice";
/// Approves, as a member of two groups.
pub const BOB: &str = "bob";
/// Approves, and reads the audit log.
pub const CAROL: &str = "carol";
/// Requests roles; sudoers asks for no password.
pub const DAVE: &str = "dave";
/// An operator, who may request roles too; sudoers asks for no password.
pub const OSCAR: &str = "oscar";
/// Sudoers allows her everything without a password; no role does.
pub const MALLORY: &str = "mallory";

/// Their user ids.
#[must_use]
pub fn uid(name: &str) -> u32 {
    match name {
        ALICE => 2001,
        BOB => 2002,
        CAROL => 2003,
        DAVE => 2004,
        OSCAR => 2005,
        MALLORY => 2006,
        _ => 0,
    }
}
