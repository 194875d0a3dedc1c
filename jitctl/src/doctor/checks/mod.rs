//! The kinds of checks, in the order in which they are told.

mod stacks;

mod module;

mod sudoers;

mod sudo;

mod polkit;

mod bus;

mod permissions;

mod package;

mod units;

mod policy;

mod seal;

mod backups;

mod forwarding;

mod clock;

mod confinement;

pub(super) use self::polkit::INSTALL_RULE;
pub(super) use self::stacks::right_stack;
use super::finding::Check;

/// Every kind.
pub(super) const ALL: [Check; 15] = [
    stacks::CHECK,
    module::CHECK,
    sudoers::CHECK,
    sudo::CHECK,
    polkit::CHECK,
    bus::CHECK,
    permissions::CHECK,
    package::CHECK,
    units::CHECK,
    policy::CHECK,
    seal::CHECK,
    backups::CHECK,
    forwarding::CHECK,
    clock::CHECK,
    confinement::CHECK,
];
