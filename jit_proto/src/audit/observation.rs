//! What switching on would have denied, folded from the records of a period: a pure function of its records.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::audit::record::{AuditEvent, Facts, Record};
use crate::audit::render::words;

/// Takes the records of a period, in their order.
#[derive(Debug, Default)]
pub struct Observed {
    calls: BTreeMap<CallKind, u64>,
    /// Calls whose target may still be told: by boot and process id, what they were counted as.
    without_target: BTreeMap<(String, u32), CallKind>,
    by: BTreeMap<String, u64>,
    /// Not recorded one by one: by user.
    held_back: BTreeMap<Who, u64>,
    denied: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Who {
    user: Option<String>,
    uid: Option<u32>,
}

/// Calls that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct CallKind {
    who: Who,
    service: String,
    run_as: Option<String>,
    run_as_group: Option<String>,
    command: String,
    why: String,
    eligible: Vec<String>,
    others: Vec<String>,
}

/// What switching on would have denied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Observation {
    /// Calls that passed and would have been denied.
    pub calls: u64,
    /// Of these, those that were only counted (`limit.reached`): of them who called is known, and not what.
    pub not_recorded: u64,
    /// Of these, those that a role would have covered that the person may request.
    pub covered: u64,
    /// Of these, those that only roles would have covered that the person may not request.
    pub covered_by_other_roles: u64,
    /// Of these, those that no role would have covered.
    pub uncovered: u64,
    /// Calls that were recorded, by what let them pass: `line`, `host`, `role`.
    pub observed_by: BTreeMap<String, u64>,
    /// Calls that were denied in the same period, and recorded one by one.
    pub denied: u64,
    /// Who called, who most first.
    pub people: Vec<ObservedPerson>,
    /// What was called, what most first.
    pub commands: Vec<ObservedCommand>,
    /// The roles that would have covered calls, the one of most first.
    pub roles: Vec<ObservedRole>,
}

/// The calls of one person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ObservedPerson {
    /// Login name; `None` for an account that has none, and for users above the number that are counted one by one.
    pub user: Option<String>,
    /// User id.
    pub uid: Option<u32>,
    /// As in [`Observation`].
    pub calls: u64,
    /// As in [`Observation`].
    pub not_recorded: u64,
    /// As in [`Observation`].
    pub covered: u64,
    /// As in [`Observation`].
    pub covered_by_other_roles: u64,
    /// As in [`Observation`].
    pub uncovered: u64,
}

/// The calls of one person for one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObservedCommand {
    /// As in [`ObservedPerson`].
    pub user: Option<String>,
    /// As in [`ObservedPerson`].
    pub uid: Option<u32>,
    /// PAM service.
    pub service: String,
    /// The target; `None` where the call did not get as far as to tell.
    pub run_as: Option<String>,
    /// The group that was asked for beside that.
    pub run_as_group: Option<String>,
    /// The command line of sudo, words quoted as for a shell.
    pub command: String,
    /// Why it would have been denied.
    pub why: String,
    /// Roles that the person may request and that would have covered it.
    pub eligible_roles: Vec<String>,
    /// Roles that would have covered it and that the person may not request.
    pub other_roles: Vec<String>,
    /// How often.
    pub calls: u64,
}

/// What one role would have covered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObservedRole {
    /// Its name.
    pub role: String,
    /// Calls of people who may request it.
    pub calls: u64,
    /// These people.
    pub people: Vec<String>,
    /// Calls of people who may not.
    pub calls_of_others: u64,
}

impl Observed {
    /// Adds one record.
    pub fn take(&mut self, record: &Record) {
        let facts = &record.facts;
        match record.event {
            AuditEvent::AccessObserved => self.call(record),
            AuditEvent::AccessDenied => self.denied += 1,
            AuditEvent::LimitReached if facts.outcome.as_deref() == Some("observed") => {
                let held_back = self.held_back.entry(Who::of(facts)).or_default();
                *held_back += facts.suppressed.unwrap_or(0);
            }
            _ => {}
        }
    }

    fn call(&mut self, record: &Record) {
        let facts = &record.facts;
        let kind = CallKind {
            who: Who::of(facts),
            service: facts.service.clone().unwrap_or_default(),
            run_as: facts.run_as.clone(),
            run_as_group: facts.run_as_group.clone(),
            command: words(facts.argv.iter().flatten().map(String::as_str)),
            why: facts.detail.clone().unwrap_or_default(),
            eligible: facts.eligible_roles.clone().unwrap_or_default(),
            others: facts.other_roles.clone().unwrap_or_default(),
        };
        let process = facts.pid.map(|pid| (record.boot_id.clone(), pid));
        if facts.part == Some(2) {
            let first = process.and_then(|process| self.without_target.remove(&process));
            // Where the first record is from before the period, the call is not of the period.
            let Some(first) = first else { return };
            self.less(&first);
            *self.calls.entry(kind).or_default() += 1;
            return;
        }
        let by = facts.observed_by.clone().unwrap_or_default();
        *self.by.entry(by).or_default() += 1;
        *self.calls.entry(kind.clone()).or_default() += 1;
        if let Some(process) = process {
            // The pid of a call whose target was never told is another process's now.
            if kind.run_as.is_none() {
                self.without_target.insert(process, kind);
            } else {
                self.without_target.remove(&process);
            }
        }
    }

    fn less(&mut self, kind: &CallKind) {
        if let Some(count) = self.calls.get_mut(kind) {
            *count -= 1;
            if *count == 0 {
                self.calls.remove(kind);
            }
        }
    }

    /// What they come to.
    #[must_use]
    pub fn finish(self) -> Observation {
        let mut all = Observation { denied: self.denied, observed_by: self.by, ..Observation::default() };
        let mut people: BTreeMap<Who, ObservedPerson> = BTreeMap::new();
        let mut roles: BTreeMap<String, (u64, BTreeSet<String>, u64)> = BTreeMap::new();
        for (kind, calls) in self.calls {
            let person = people.entry(kind.who.clone()).or_default();
            let (of_all, of_person) = match (kind.eligible.is_empty(), kind.others.is_empty()) {
                (false, _) => (&mut all.covered, &mut person.covered),
                (true, false) => (&mut all.covered_by_other_roles, &mut person.covered_by_other_roles),
                (true, true) => (&mut all.uncovered, &mut person.uncovered),
            };
            *of_all += calls;
            *of_person += calls;
            all.calls += calls;
            person.calls += calls;
            for role in &kind.eligible {
                let (of_role, names, _) = roles.entry(role.clone()).or_default();
                *of_role += calls;
                names.extend(kind.who.user.clone());
            }
            for role in &kind.others {
                roles.entry(role.clone()).or_default().2 += calls;
            }
            all.commands.push(ObservedCommand {
                user: kind.who.user,
                uid: kind.who.uid,
                service: kind.service,
                run_as: kind.run_as,
                run_as_group: kind.run_as_group,
                command: kind.command,
                why: kind.why,
                eligible_roles: kind.eligible,
                other_roles: kind.others,
                calls,
            });
        }
        for (who, calls) in self.held_back {
            let person = people.entry(who).or_default();
            person.calls += calls;
            person.not_recorded += calls;
            all.calls += calls;
            all.not_recorded += calls;
        }
        let of_people = people.into_iter();
        all.people = of_people
            .map(|(who, person)| ObservedPerson { user: who.user, uid: who.uid, ..person })
            .collect();
        all.roles = roles
            .into_iter()
            .map(|(role, (calls, people, calls_of_others))| ObservedRole {
                role,
                calls,
                people: people.into_iter().collect(),
                calls_of_others,
            })
            .collect();
        // The sort is stable: equals stay in the order of their names.
        all.people.sort_by_key(|person| std::cmp::Reverse(person.calls));
        all.commands.sort_by_key(|command| std::cmp::Reverse(command.calls));
        all.roles.sort_by_key(|role| std::cmp::Reverse((role.calls, role.calls_of_others)));
        all
    }
}

impl Who {
    fn of(facts: &Facts) -> Self {
        Self { user: facts.user.clone(), uid: facts.uid }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(event: AuditEvent, facts: Facts) -> Record {
        Record {
            v: 1,
            seq: 1,
            prev: String::new(),
            time: String::new(),
            boot_us: 0,
            boot_id: "b".into(),
            event,
            facts,
        }
    }

    fn call(user: &str, pid: u32, eligible: &[&str], run_as: Option<&str>, part: Option<u64>) -> Record {
        let facts = Facts {
            user: Some(user.into()),
            uid: Some(1),
            service: Some("sudo".into()),
            pid: Some(pid),
            argv: Some(vec!["sudo".into(), "id".into()]),
            run_as: run_as.map(str::to_owned),
            part,
            observed_by: Some("host".into()),
            eligible_roles: (!eligible.is_empty())
                .then(|| eligible.iter().map(|&it| it.to_owned()).collect()),
            ..Facts::default()
        };
        record(AuditEvent::AccessObserved, facts)
    }

    fn folded(records: &[Record]) -> Observation {
        let mut observed = Observed::default();
        records.iter().for_each(|record| observed.take(record));
        observed.finish()
    }

    #[test]
    fn the_two_records_of_a_call_count_once_and_the_later_one_says_what_it_was() {
        let all = folded(&[
            call("alice", 7, &["db", "web"], None, None),
            call("alice", 7, &["web"], Some("root"), Some(2)),
            call("alice", 8, &["web"], None, None),
            // The pid is used again.
            call("bob", 8, &[], None, None),
            call("bob", 8, &[], Some("root"), Some(2)),
            // A call of the session stage alone, and one that began before the period.
            call("carol", 9, &[], Some("root"), None),
            call("dave", 10, &[], Some("root"), Some(2)),
        ]);
        assert_eq!((all.calls, all.covered, all.uncovered, all.observed_by["host"]), (4, 2, 2, 4));
        let rows: Vec<_> = all
            .commands
            .iter()
            .map(|it| (it.user.as_deref().unwrap(), it.run_as.as_deref(), it.calls))
            .collect();
        assert_eq!(
            rows,
            [
                ("alice", None, 1),
                ("alice", Some("root"), 1),
                ("bob", Some("root"), 1),
                ("carol", Some("root"), 1)
            ]
        );
        assert_eq!(all.people[0].calls, 2);
        assert_eq!((all.roles[0].role.as_str(), all.roles[0].calls, all.roles.len()), ("web", 2, 1));
    }

    #[test]
    fn what_was_only_counted_is_in_the_figures_and_denials_are_apart() {
        let held_back = Facts {
            user: Some("alice".into()),
            uid: Some(1),
            suppressed: Some(40),
            outcome: Some("observed".into()),
            ..Facts::default()
        };
        let denials = Facts { outcome: None, ..held_back.clone() };
        let all = folded(&[
            call("alice", 7, &[], None, None),
            record(AuditEvent::LimitReached, held_back),
            record(AuditEvent::LimitReached, denials),
            record(AuditEvent::AccessDenied, Facts::default()),
        ]);
        assert_eq!((all.calls, all.not_recorded, all.denied), (41, 40, 1));
        assert_eq!((all.people.len(), all.people[0].calls, all.people[0].not_recorded), (1, 41, 40));
    }
}
