//! The people that `tests/host/prepare.sh` makes on every host.

/// Everybody's password, root's too.
pub const PASSWORD: &str = "correct-horse";

/// Asks for roles; sudoers wants her password.
pub const ALICE: &str = "alice";
/// Approves, in two groups that do.
pub const BOB: &str = "bob";
/// Approves, and reads the record.
pub const CAROL: &str = "carol";
/// Asks for roles; sudoers wants no password of him.
pub const DAVE: &str = "dave";
/// An operator, who may ask for roles too; sudoers wants no password of him.
pub const OSCAR: &str = "oscar";
/// Sudoers lets her do everything without a password, no role does.
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
