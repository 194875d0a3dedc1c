//! What can be asked about the audit log itself: a seal begins.

use crate::core::authority::CommandKind;
use crate::core::caller::Caller;
use crate::core::facts;
use crate::core::reply::{Done, Refusal};
use crate::core::turn::Turn;
use jit_proto::audit::record::{AuditEvent, Facts};
use jit_proto::audit::seal::SealKey;

/// A command about the audit log. Its kind, its words for a record of its denial and what it does stand in this file.
#[derive(Debug, Clone)]
pub enum AuditCommand {
    /// Seal the records from the next one on.
    Seal {
        /// The first key.
        key: SealKey,
        /// In place of a seal that there is already.
        again: bool,
    },
}

impl AuditCommand {
    /// Its row in the table of origins.
    #[must_use]
    pub fn kind(&self) -> CommandKind {
        match self {
            Self::Seal { .. } => CommandKind::Seal,
        }
    }

    /// The command as people type it.
    pub(in crate::core) fn typed(&self) -> String {
        match self {
            Self::Seal { .. } => self.kind().word().to_owned(),
        }
    }

    /// Carries it out.
    pub(in crate::core) fn carry_out(self, turn: &mut Turn<'_>, caller: &Caller) -> Result<Done, Refusal> {
        match self {
            Self::Seal { key, again } => seal(turn, caller, key, again),
        }
    }
}

fn seal(turn: &mut Turn<'_>, caller: &Caller, key: SealKey, again: bool) -> Result<Done, Refusal> {
    let event = match (turn.ledger.sealed, again) {
        (false, _) => AuditEvent::AuditSealed,
        (true, true) => AuditEvent::AuditResealed,
        (true, false) => {
            let message = "the record is sealed already; --rotate begins another seal, which is recorded";
            return Err(Refusal::AlreadyDecided(message.to_owned()));
        }
    };
    let facts = Facts {
        seal_key: Some(key.id()),
        ..facts::detail("records behind this one are sealed with a key that begins here".to_owned())
    };
    let facts = facts::from(&turn.ledger, caller, facts);
    turn.note(event, facts);
    turn.seal(key);
    Ok(Done::Recorded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::caller::Place;
    use crate::core::command::Command;
    use crate::core::context::Context;
    use crate::core::effect::Effect;
    use crate::core::input::Input;
    use crate::core::ledger::Ledger;
    use crate::core::people::{Account, Person};
    use crate::core::reply::Reply;
    use crate::core::step::step;
    use crate::core::time::Now;
    use jit_proto::identity::{SessionId, UserId};
    use jit_proto::time::{BootId, BootTime, WallTime};

    /// Whether a seal begins, with which record.
    fn seal_by(ledger: Ledger, uid: u32, inside: bool, again: bool) -> (Ledger, Option<AuditEvent>) {
        let account = Account { uid: UserId(uid), name: "somebody".into() };
        let person = Person { account, groups: std::collections::BTreeSet::new(), locked: false };
        let place = if inside {
            Place::Window { session: SessionId(7), unit: "jit-7.scope".into() }
        } else {
            Place::SystemUnit("first-boot.service".into())
        };
        let (loginuid, audit_session, process, exe, holder) = (None, None, None, None, None);
        let caller = Box::new(Caller { person, loginuid, audit_session, place, process, exe, holder });
        let command = Command::AuditLog(AuditCommand::Seal { key: SealKey::taking(&mut [7; 32]), again });
        let now = Now { wall: WallTime(1), boot: BootTime(1), boot_id: BootId("b".into()) };
        let (ledger, effects) =
            step(ledger, None, Input::Command(caller, command), &Context::default(), &now);
        let done =
            effects.iter().any(|effect| matches!(effect, Effect::Reply(Reply::Command(Ok(Done::Recorded)))));
        let mut commits = effects.into_iter().filter_map(|effect| match effect {
            Effect::Commit(commit) => Some(commit),
            _ => None,
        });
        let commit = commits.next().unwrap();
        assert_eq!(commit.seal.is_some(), done);
        (ledger, done.then(|| commit.drafts.last().unwrap().event))
    }

    #[test]
    fn a_seal_is_begun_by_root_outside_of_windows_and_another_one_only_when_asked_for() {
        let (ledger, begun) = seal_by(Ledger::default(), 1000, false, false);
        assert_eq!((ledger.sealed, begun), (false, None));
        let (ledger, begun) = seal_by(ledger, 0, true, false);
        assert_eq!((ledger.sealed, begun), (false, None));
        let (ledger, begun) = seal_by(ledger, 0, false, false);
        assert_eq!((ledger.sealed, begun), (true, Some(AuditEvent::AuditSealed)));
        let (ledger, begun) = seal_by(ledger, 0, false, false);
        assert_eq!(begun, None);
        let (ledger, begun) = seal_by(ledger, 0, true, true);
        assert_eq!(begun, None);
        assert_eq!(seal_by(ledger, 0, false, true).1, Some(AuditEvent::AuditResealed));
    }
}
