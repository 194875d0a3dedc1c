//! Commands about the audit log itself: begin a seal, acknowledge a problem.

use crate::core::authority::CommandKind;
use crate::core::caller::Caller;
use crate::core::facts;
use crate::core::reply::{Done, Refusal};
use crate::core::turn::Turn;
use jit_proto::audit::record::{AuditEvent, Facts};
use jit_proto::audit::seal::SealKey;
use jit_proto::identity::Reason;

/// A command about the audit log. This file holds its kind, its text in a record of its denial, and its effect.
#[derive(Debug, Clone)]
pub enum AuditCommand {
    /// Seal the records from the next one on.
    Seal {
        /// The first key of the seal.
        key: SealKey,
        /// Whether a seal that exists is replaced.
        again: bool,
    },
    /// Record what `jitctl doctor` finds open, where that has changed.
    Doctor {
        /// Everything that is open.
        open: Vec<String>,
        /// What of that was not before.
        opened: Vec<String>,
        /// What was open before and is not.
        mended: Vec<String>,
    },
    /// Acknowledge open problems.
    Acknowledge {
        /// The records that report them; the caller has checked that they are open.
        records: Vec<u64>,
        /// What was found, and what was done.
        reason: Reason,
    },
}

impl AuditCommand {
    /// Its row in the table of origins.
    #[must_use]
    pub fn kind(&self) -> CommandKind {
        match self {
            Self::Seal { .. } => CommandKind::Seal,
            Self::Doctor { .. } => CommandKind::Doctor,
            Self::Acknowledge { .. } => CommandKind::Acknowledge,
        }
    }

    /// The command as people type it.
    pub(in crate::core) fn typed(&self) -> String {
        match self {
            Self::Seal { .. } | Self::Doctor { .. } => self.kind().word().to_owned(),
            Self::Acknowledge { records, .. } => {
                let records: Vec<String> = records.iter().map(u64::to_string).collect();
                format!("{} {}", self.kind().word(), records.join(" "))
            }
        }
    }

    /// Executes the command.
    pub(in crate::core) fn carry_out(self, turn: &mut Turn<'_>, caller: &Caller) -> Result<Done, Refusal> {
        match self {
            Self::Seal { key, again } => seal(turn, caller, key, again),
            Self::Doctor { open, opened, mended } => doctor(turn, caller, open, &opened, &mended),
            Self::Acknowledge { records, reason } => acknowledge(turn, caller, &records, &reason),
        }
    }
}

fn seal(turn: &mut Turn<'_>, caller: &Caller, key: SealKey, again: bool) -> Result<Done, Refusal> {
    let event = match (turn.ledger.sealed, again) {
        (false, _) => AuditEvent::AuditSealed,
        (true, true) => AuditEvent::AuditResealed,
        (true, false) => {
            let message = "the audit log is sealed already; --rotate begins another seal, which is recorded";
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

/// A record tells of no more things by name than these; the others are counted.
const MAX_TOLD: usize = 50;

fn doctor(
    turn: &mut Turn<'_>,
    caller: &Caller,
    mut open: Vec<String>,
    opened: &[String],
    mended: &[String],
) -> Result<Done, Refusal> {
    let told = |what: &str, ids: &[String]| {
        let shown = ids.get(..MAX_TOLD).unwrap_or(ids).join(", ");
        let rest = ids.len().saturating_sub(MAX_TOLD);
        let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
        (!ids.is_empty()).then(|| format!("{what}: {shown}{rest}"))
    };
    let parts: Vec<String> =
        [told("newly open", opened), told("mended", mended)].into_iter().flatten().collect();
    let count = open.len();
    open.truncate(MAX_TOLD);
    let detail = format!("{}; open now: {count}", parts.join("; "));
    let facts = Facts { open: Some(open), ..facts::detail(detail) };
    let facts = facts::from(&turn.ledger, caller, facts);
    turn.note(AuditEvent::DoctorChanged, facts);
    Ok(Done::Recorded)
}

/// Each problem gets a record of its own, by which the store finds the problem.
fn acknowledge(
    turn: &mut Turn<'_>,
    caller: &Caller,
    records: &[u64],
    reason: &Reason,
) -> Result<Done, Refusal> {
    for record in records {
        let reason = Some(reason.as_str().to_owned());
        let facts = Facts { about: Some(*record), reason, ..Facts::default() };
        let facts = facts::from(&turn.ledger, caller, facts);
        turn.note(AuditEvent::AuditAcknowledged, facts);
    }
    Ok(Done::Recorded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::caller::Location;
    use crate::core::command::Command;
    use crate::core::context::Context;
    use crate::core::effect::{Commit, Effect};
    use crate::core::input::Input;
    use crate::core::ledger::Ledger;
    use crate::core::people::{Account, Person};
    use crate::core::reply::Reply;
    use crate::core::step::step;
    use crate::core::time::Now;
    use jit_proto::identity::{SessionId, UserId};
    use jit_proto::time::{BootId, BootTime, WallTime};

    /// What the core does with a command of this account: the next ledger, and the last record where it is carried out.
    fn asked_by(
        ledger: Ledger,
        uid: u32,
        location: Location,
        command: AuditCommand,
    ) -> (Ledger, Option<Commit>) {
        let account = Account { uid: UserId(uid), name: "somebody".into() };
        let person = Person { account, groups: std::collections::BTreeSet::new(), locked: false };
        let loginuid = matches!(location, Location::Login { .. }).then_some(UserId(uid));
        let (audit_session, process, exe, holder) = (None, None, None, None);
        let caller = Box::new(Caller { person, loginuid, audit_session, location, process, exe, holder });
        let now = Now { wall: WallTime(1), boot: BootTime(1), boot_id: BootId("b".into()) };
        let input = Input::Command(caller, Command::AuditLog(command));
        let (ledger, effects) = step(ledger, None, input, &Context::default(), &now);
        let done =
            effects.iter().any(|effect| matches!(effect, Effect::Reply(Reply::Command(Ok(Done::Recorded)))));
        let mut commits = effects.into_iter().filter_map(|effect| match effect {
            Effect::Commit(commit) => Some(commit),
            _ => None,
        });
        let commit = commits.next().unwrap();
        (ledger, done.then_some(commit))
    }

    fn window() -> Location {
        Location::Window { session: SessionId(7), unit: "jit-7.scope".into() }
    }

    fn service() -> Location {
        Location::SystemUnit("first-boot.service".into())
    }

    /// Whether a seal begins, with which record.
    fn seal_by(ledger: Ledger, uid: u32, inside: bool, again: bool) -> (Ledger, Option<AuditEvent>) {
        let command = AuditCommand::Seal { key: SealKey::taking(&mut [7; 32]), again };
        let location = if inside { window() } else { service() };
        let (ledger, commit) = asked_by(ledger, uid, location, command);
        assert!(commit.as_ref().is_none_or(|commit| commit.seal.is_some()));
        (ledger, commit.map(|commit| commit.drafts.last().unwrap().event))
    }

    #[test]
    fn problems_are_acknowledged_by_an_operator_at_a_login_and_each_has_its_record() {
        let login = || Location::Login { id: "3".into(), uid: UserId(0) };
        let asked = |uid, location| {
            let reason = Reason::try_from("restored from a copy".to_owned()).unwrap();
            asked_by(
                Ledger::default(),
                uid,
                location,
                AuditCommand::Acknowledge { records: vec![2, 9], reason },
            )
            .1
        };
        let commit = asked(0, login()).unwrap();
        let told: Vec<_> = commit.drafts.iter().map(|draft| (draft.event, draft.facts.about)).collect();
        assert_eq!(told, [2, 9].map(|record| (AuditEvent::AuditAcknowledged, Some(record))));
        let facts = &commit.drafts[0].facts;
        assert_eq!(
            (facts.actor.as_deref(), facts.reason.as_deref()),
            (Some("somebody"), Some("restored from a copy"))
        );
        for (uid, location) in [(0, window()), (0, service()), (1000, login())] {
            assert!(asked(uid, location).is_none(), "{uid}");
        }
    }

    #[test]
    fn what_doctor_finds_is_recorded_for_root_outside_of_windows() {
        let asked = |uid, place| {
            let ids = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<Vec<_>>();
            let command =
                AuditCommand::Doctor { open: ids(&["a", "b"]), opened: ids(&["b"]), mended: ids(&["c"]) };
            asked_by(Ledger::default(), uid, place, command).1
        };
        let commit = asked(0, service()).unwrap();
        let record = &commit.drafts[0];
        assert_eq!(record.event, AuditEvent::DoctorChanged);
        assert_eq!(record.facts.open, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(record.facts.detail.as_deref(), Some("newly open: b; mended: c; open now: 2"));
        for (uid, place) in [(0, window()), (1000, service())] {
            assert!(asked(uid, place).is_none(), "{uid}");
        }
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
