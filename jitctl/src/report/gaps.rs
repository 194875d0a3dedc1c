//! The spans in which a PAM stack did not ask jitd, by the records.

use std::collections::BTreeMap;

use jit_proto::audit::record::{AuditEvent, Record};

/// A span in which a service gave root without a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    service: String,
    from: (String, u64),
    /// When it asked again, and the record of that; `None` if it did not until the end of the period.
    to: Option<End>,
    detail: String,
}

/// The end of a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// A record that it was restored.
    Restored(String, u64),
    /// jitd started and found the stack in order: it was repaired some time before.
    NotFoundAtStart(String, u64),
}

/// Whether records of this event are about gaps.
pub(super) fn is_about(event: AuditEvent) -> bool {
    matches!(event, AuditEvent::StackBroken | AuditEvent::StackRestored | AuditEvent::DaemonStarted)
}

/// The gaps in these records, in order. Earlier records than the period's may be among them: a gap may be older.
pub(super) fn gaps<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<Gap> {
    let mut gaps: Vec<Gap> = Vec::new();
    let mut open: BTreeMap<String, usize> = BTreeMap::new();
    for record in records {
        let at = || (record.time.clone(), record.seq);
        let service = record.facts.service.clone().unwrap_or_default();
        match record.event {
            AuditEvent::StackBroken => match open.get(&service).and_then(|index| gaps.get_mut(*index)) {
                // jitd does not remember a broken stack over a restart, and records it again.
                Some(gap) => gap.to = None,
                None => {
                    open.insert(service.clone(), gaps.len());
                    let detail = record.facts.detail.clone().unwrap_or_default();
                    gaps.push(Gap { service, from: at(), to: None, detail });
                }
            },
            AuditEvent::StackRestored => {
                if let Some(gap) = open.remove(&service).and_then(|index| gaps.get_mut(index)) {
                    let (time, seq) = at();
                    gap.to = Some(End::Restored(time, seq));
                }
            }
            AuditEvent::DaemonStarted => {
                for index in open.values() {
                    if let Some(gap) = gaps.get_mut(*index).filter(|gap| gap.to.is_none()) {
                        let (time, seq) = at();
                        gap.to = Some(End::NotFoundAtStart(time, seq));
                    }
                }
            }
            _ => {}
        }
    }
    gaps
}

impl Gap {
    /// Whether it ended before this record.
    pub(super) fn ends_before(&self, first: u64) -> bool {
        match &self.to {
            Some(End::Restored(_, seq) | End::NotFoundAtStart(_, seq)) => *seq < first,
            None => false,
        }
    }

    /// The sentence about it.
    pub(super) fn sentence(&self) -> String {
        let Self { service, from: (from, seq), to, detail } = self;
        let to = match to {
            None => "to the end of the period".to_owned(),
            Some(End::Restored(time, seq)) => format!("to {time} (record {seq})"),
            Some(End::NotFoundAtStart(time, seq)) => {
                format!(
                    "to some time before {time}, when the daemon started and found it asking (record {seq})"
                )
            }
        };
        format!(
            "The PAM stack of {service} was seen not to ask from {from} (record {seq}) {to}; {service} opened without a \
             window then: {detail}."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_proto::audit::record::Facts;

    fn record(seq: u64, event: AuditEvent, service: &str) -> Record {
        let facts = Facts {
            service: Some(service.to_owned()).filter(|it| !it.is_empty()),
            detail: Some("it does not".into()),
            ..Facts::default()
        };
        Record {
            v: 1,
            seq,
            prev: String::new(),
            time: format!("t{seq}"),
            boot_us: 1,
            boot_id: String::new(),
            event,
            facts,
        }
    }

    #[test]
    fn each_gap_has_its_begin_and_its_end() {
        let records = [
            record(1, AuditEvent::StackBroken, "sudo-i"),
            record(2, AuditEvent::StackRestored, "sudo-i"),
            record(3, AuditEvent::StackBroken, "sudo"),
            record(4, AuditEvent::DaemonStarted, ""),
            record(5, AuditEvent::StackBroken, "sudo"),
            record(6, AuditEvent::StackBroken, "sudo-i"),
            record(7, AuditEvent::StackRestored, "sudo"),
            record(8, AuditEvent::DaemonStarted, ""),
            record(9, AuditEvent::StackBroken, "su"),
        ];
        let found = gaps(records.iter());
        let said: Vec<String> = found.iter().map(Gap::sentence).collect();
        assert_eq!(said.len(), 4, "{said:#?}");
        for (nth, part) in [
            (0, "sudo-i was seen not to ask from t1 (record 1) to t2 (record 2)"),
            (1, "sudo was seen not to ask from t3 (record 3) to t7 (record 7)"),
            (2, "from t6 (record 6) to some time before t8,"),
            (3, "from t9 (record 9) to the end of the period"),
        ] {
            assert!(said[nth].contains(part), "{part}: {}", said[nth]);
        }
        assert!(found[0].ends_before(3) && !found[1].ends_before(7) && !found[3].ends_before(99));
    }
}
