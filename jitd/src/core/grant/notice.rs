//! Warnings to the holder before a window closes.

use crate::core::effect::{Change, Changed, Effect};
use crate::core::facts;
use crate::core::ledger::Grant;
use crate::core::policy::{Policy, Settings};
use crate::core::time::{Now, seconds};
use crate::core::turn::Turn;
use jit_proto::audit::record::{AuditEvent, Facts};
use jit_proto::identity::GrantId;
use jit_proto::time::format_duration;
use std::collections::BTreeSet;
use std::time::Duration;

impl Turn<'_> {
    /// Writes to holders' terminals that their window closes soon.
    pub(in crate::core) fn give_notice(&mut self) {
        let due: Vec<(GrantId, Duration)> = self
            .ledger
            .grants
            .values()
            .filter_map(|grant| Some((grant.id, notice_due(self.policy, grant, self.now)?)))
            .collect();
        for (id, before) in due {
            let Some(grant) = self.ledger.grants.get_mut(&id) else { continue };
            grant.warned = Some(before);
            let grant = grant.clone();
            let left = grant.ends.remaining(self.now);
            let terminals: BTreeSet<String> = self
                .ledger
                .under(id)
                .filter(|session| !session.tty.is_empty())
                .map(|session| session.tty.clone())
                .collect();
            let span = seconds(left.saturating_add(Duration::from_millis(500)));
            let left = format_duration(Duration::from_secs(span));
            self.note(AuditEvent::GrantWarned, Facts { seconds: Some(span), ..facts::grant(&grant) });
            if !terminals.is_empty() {
                self.then(Effect::Tell {
                    holder: grant.holder.uid,
                    terminals,
                    lines: vec![
                        format!(
                            "jit: the window of {} for {} closes in {left}.",
                            grant.holder.name, grant.role
                        ),
                        "jit: all processes started with sudo in this window will then be terminated."
                            .to_owned(),
                        format!("jit: to go on, type:  jitctl extend {id} --for 30m --reason \"...\""),
                    ],
                });
            }
            self.then(Effect::Notify(Changed::ClosesSoon(id)));
            self.put(Change::Grant(grant));
        }
    }
}

pub(in crate::core) fn warnings(policy: Option<&Policy>) -> Vec<Duration> {
    policy.map_or_else(|| Settings::default().warn_before, |policy| policy.settings.warn_before.clone())
}

/// The shortest warning time that a new window does not exceed: this warning and earlier ones are not given.
pub(in crate::core) fn warned_from_the_start(
    policy: Option<&Policy>,
    duration: Duration,
) -> Option<Duration> {
    warnings(policy).into_iter().filter(|before| *before >= duration).min()
}

/// Warnings that are still to come: those for less time than the last one.
pub(in crate::core) fn not_given(
    policy: Option<&Policy>,
    grant: &Grant,
) -> impl Iterator<Item = Duration> + use<> {
    let warned = grant.warned;
    warnings(policy).into_iter().filter(move |before| warned.is_none_or(|warned| *before < warned))
}

/// The warning that is due now.
pub(in crate::core) fn notice_due(policy: Option<&Policy>, grant: &Grant, now: &Now) -> Option<Duration> {
    let left = grant.ends.remaining(now);
    not_given(policy, grant).filter(|before| left <= *before).min()
}

/// How long until the next warning is due.
pub(in crate::core) fn next_notice(policy: Option<&Policy>, grant: &Grant, now: &Now) -> Option<Duration> {
    let left = grant.ends.remaining(now);
    not_given(policy, grant).map(|before| left.saturating_sub(before)).min()
}
