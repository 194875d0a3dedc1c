//! Data for the tests of the store's files: a grant, records, further values, and dice for the point of damage.

use std::collections::BTreeSet;
use std::time::Duration;

use jit_proto::audit::record::{AuditEvent, Draft, Facts};
use jit_proto::identity::{GrantId, Reason, RoleName, UserId};
use jit_proto::time::{BootId, BootTime, WallTime};
use jitd::core::ledger::{Grant, GrantState};
use jitd::core::people::Account;
use jitd::core::time::{Deadline, Now};
use jitd::store::{CommitMeta, Sent};

/// Written with every commit.
pub(crate) const META: CommitMeta =
    CommitMeta { highest_wall: WallTime(1), next_session: 1, sent: Sent::NOTHING };

/// A record.
pub(crate) fn draft(event: AuditEvent, facts: Facts) -> Draft {
    Draft { event, wall: WallTime(1), boot: BootTime(1), boot_id: BootId("b".into()), facts }
}

/// A live grant of alice's, approved by bob.
pub(crate) fn grant(id: u64) -> Grant {
    let now = Now { wall: WallTime(1), boot: BootTime(1), boot_id: BootId("b".into()) };
    Grant {
        id: GrantId(id),
        role: RoleName::try_from("ops".to_owned()).unwrap(),
        holder: Account { uid: UserId(1000), name: "alice".into() },
        uids: BTreeSet::new(),
        reason: Reason::try_from("a test harms its store".to_owned()).unwrap(),
        ticket: None,
        approvers: vec![Account { uid: UserId(1001), name: "bob".into() }],
        starts_at: now.wall,
        ends: Deadline::after(Duration::from_secs(600), &now),
        requested: true,
        unused_until: None,
        warned: None,
        state: GrantState::Live,
    }
}

/// Numbers that look random (xorshift64).
pub(crate) struct Dice(u64);

impl Dice {
    /// Always the same numbers for the same seed.
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Different numbers in each run; the seed is printed.
    pub(crate) fn at_random() -> Self {
        let mut seed = [0; 8];
        rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty()).unwrap();
        let dice = Self::of(u64::from_ne_bytes(seed));
        println!("seed {}", dice.0);
        dice
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}
