//! Reports of the daemon's own monitors: sinks, PAM stacks, limits.

use crate::core::facts;
use crate::core::input::{SinkChange, SinkName};
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

    /// Records which limits were reached: `all`, or those that are due.
    pub(super) fn tell_limits(&mut self, all: bool) {
        let now = self.now.boot;
        let reached = &mut self.ledger.reached;
        for due in if all { reached.take_all(now) } else { reached.take_due(now) } {
            self.note(AuditEvent::LimitReached, facts::reached(&due));
        }
    }
}
