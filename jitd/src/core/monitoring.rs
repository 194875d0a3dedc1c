//! Reports of the daemon's own monitors: sinks, PAM stacks, limits, observe mode.

use crate::core::facts;
use crate::core::input::{SinkChange, SinkName};
use crate::core::observe::observing;
use crate::core::policy::Policy;
use crate::core::turn::Turn;
use jit_proto::audit::record::{AuditEvent, Facts};
use std::collections::BTreeMap;

impl Turn<'_> {
    /// Records the change of a sink.
    pub(super) fn sink(&mut self, name: SinkName, change: SinkChange) {
        let sink = Some(name.to_string());
        match change {
            SinkChange::Down { problem } => {
                self.note(AuditEvent::SinkDown, Facts { sink, ..facts::detail(problem) });
            }
            SinkChange::Back => self.note(AuditEvent::SinkBack, Facts { sink, ..Facts::default() }),
        }
    }

    /// Records which stacks stopped asking jitd, or ask it again.
    pub(super) fn stacks(&mut self, found: BTreeMap<String, Option<String>>) {
        for (service, problem) in found {
            let known = self.ledger.broken_stacks.contains(&service);
            let facts = Facts { service: Some(service.clone()), detail: problem.clone(), ..Facts::default() };
            match problem {
                Some(_) if !known => {
                    self.note(AuditEvent::StackBroken, facts);
                    self.ledger.broken_stacks.insert(service);
                }
                None if known => {
                    self.note(AuditEvent::StackRestored, facts);
                    self.ledger.broken_stacks.remove(&service);
                }
                _ => {}
            }
        }
    }

    /// Records that the host or roles began or ceased to observe.
    pub(super) fn tell_mode(&mut self, policy: &Policy) {
        let now = observing(policy);
        let before = std::mem::replace(&mut self.ledger.observing, now.clone());
        for (event, changed) in [
            (AuditEvent::ObserveBegan, now.difference(&before)),
            (AuditEvent::ObserveEnded, before.difference(&now)),
        ] {
            let changed: Vec<&str> = changed.map(String::as_str).collect();
            if !changed.is_empty() {
                let facts = facts::detail(changed.join(", "));
                self.note(event, Facts { policy: Some(policy.digest.clone()), ..facts });
            }
        }
    }

    /// Records which limits were reached: `all`, or those that are due.
    pub(super) fn tell_limits(&mut self, all: bool) {
        let now = self.now.boot;
        let reached = &mut self.ledger.reached;
        for due in if all { reached.take_all(now) } else { reached.take_due(now) } {
            self.note(AuditEvent::LimitReached, facts::reached(&due));
        }
    }
}
