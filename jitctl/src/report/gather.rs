//! Folds the records of a period into windows, runs, requests, denials and changes.

use std::collections::BTreeMap;

use jit_proto::audit::record::{AuditEvent, Record};
use jit_proto::time::WallTime;

use super::model::{Approval, Asked, Change, Denial, Ended, Finding, Moment, Refused, Run, Window};

/// The result so far.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) windows: BTreeMap<u64, Window>,
    /// The window and the index of each session.
    sessions: BTreeMap<u64, (u64, usize)>,
    pub(super) requests: BTreeMap<u64, Asked>,
    approvals: BTreeMap<u64, Vec<Approval>>,
    requested: BTreeMap<u64, String>,
    pub(super) denials: Vec<Denial>,
    pub(super) refused: Vec<Refused>,
    pub(super) left_behind: Vec<Finding>,
    pub(super) changes: Vec<Change>,
    pub(super) moments: Vec<Moment>,
}

impl Gathered {
    /// Adds a record, in order.
    pub(super) fn take(&mut self, record: &Record) {
        let facts = &record.facts;
        let at = local(&record.time);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        match record.event {
            AuditEvent::RequestMade
            | AuditEvent::RequestApproved
            | AuditEvent::RequestDenied
            | AuditEvent::RequestCancelled
            | AuditEvent::RequestExpired => self.take_request(record, &at),
            AuditEvent::GrantStarted => {
                let Some(id) = facts.grant else { return };
                let window = self.window(record);
                window.started_us = micros(&record.time);
                window.started = Some(at);
                window.given_by = facts.actor.clone();
                let requested = self.requested.get(&id).cloned();
                let approvals = self.approvals.get(&id).cloned().unwrap_or_default();
                let window = self.window(record);
                window.requested = requested;
                window.approvals = approvals;
            }
            AuditEvent::GrantExtended => {
                let by = text(&facts.actor);
                let why = facts.detail.as_ref().or(facts.reason.as_ref()).cloned().unwrap_or_default();
                let window = self.window(record);
                let until = window.until.clone().unwrap_or_default();
                let by = if by.is_empty() { String::new() } else { format!(" by {by}") };
                window.extensions.push(format!("{at}{by}, until {until}: {why}"));
            }
            AuditEvent::GrantWarned | AuditEvent::GrantShortened => drop(self.window(record)),
            AuditEvent::GrantExpired => self.end(record, "expired"),
            AuditEvent::GrantReleased => self.end(record, "released"),
            AuditEvent::GrantUnused => self.end(record, "unused"),
            AuditEvent::GrantRevoked => self.end(record, "revoked"),
            AuditEvent::GrantWithdrawn => self.end(record, "withdrawn"),
            AuditEvent::GrantLeftBehind => self.left_behind.push(Finding {
                seq: record.seq,
                at,
                user: text(&facts.user),
                role: text(&facts.role),
                grant: facts.grant,
                changes: facts.left_behind.clone().unwrap_or_else(|| facts.detail.iter().cloned().collect()),
            }),
            AuditEvent::CommandRefused => self.refused.push(Refused {
                seq: record.seq,
                at,
                by: text(&facts.actor),
                what: text(&facts.detail),
            }),
            AuditEvent::AccessAllowed => {
                self.moments.extend(moment(record, true));
                let run = Run {
                    seq: record.seq,
                    at,
                    session: facts.session,
                    service: text(&facts.service),
                    run_as: text(&facts.run_as),
                    argv: facts.argv.clone().unwrap_or_default(),
                    tty: text(&facts.tty),
                    audit_session: facts.audit_session,
                    ..Run::default()
                };
                self.run(record, run);
            }
            AuditEvent::AccessDenied => {
                self.moments.extend(moment(record, false));
                self.denials.push(Denial {
                    seq: record.seq,
                    at,
                    user: text(&facts.user),
                    uid: facts.uid,
                    service: text(&facts.service),
                    tty: text(&facts.tty),
                    argv: facts.argv.clone().unwrap_or_default(),
                    why: text(&facts.detail),
                });
            }
            AuditEvent::SessionOpened => {
                let run_as = text(&facts.run_as);
                self.session(record).run_as = run_as;
            }
            AuditEvent::SessionEnded => {
                let run = self.session(record);
                run.ended = Some(at);
                run.ended_by = facts.ended_by.clone();
                (run.killed, run.escaped, run.left) = (facts.killed, facts.escaped, facts.left);
            }
            AuditEvent::SessionStuck => {
                let run = self.session(record);
                run.stuck = true;
                run.left = facts.left;
            }
            event if event.row().is_change => self.changes.push(Change {
                seq: record.seq,
                at,
                event: record.event.name(),
                by: facts.actor.clone(),
                policy: facts.policy.clone(),
                detail: text(&facts.detail),
            }),
            // It is counted, and needs no entry of its own.
            _ => {}
        }
    }

    fn take_request(&mut self, record: &Record, at: &str) {
        let facts = &record.facts;
        let Some(id) = facts.request else { return };
        let asked = self.requests.entry(id).or_insert_with(|| Asked {
            request: id,
            at: at.to_owned(),
            user: facts.user.clone().unwrap_or_default(),
            role: facts.role.clone().unwrap_or_default(),
            reason: facts.reason.clone().unwrap_or_default(),
            ticket: facts.ticket.clone().unwrap_or_default(),
            state: "pending",
            ..Asked::default()
        });
        match record.event {
            AuditEvent::RequestApproved => {
                self.approvals.entry(id).or_default().push(Approval {
                    by: facts.actor.clone().unwrap_or_default(),
                    at: at.to_owned(),
                    comment: facts.detail.clone().unwrap_or_default(),
                });
            }
            AuditEvent::RequestDenied => {
                asked.state = "denied";
                asked.by = facts.actor.clone();
                asked.why = facts.detail.clone();
            }
            AuditEvent::RequestCancelled => asked.state = "cancelled",
            AuditEvent::RequestExpired => asked.state = "expired",
            _ => drop(self.requested.insert(id, at.to_owned())),
        }
    }

    /// The window of a record's grant.
    fn window(&mut self, record: &Record) -> &mut Window {
        let facts = &record.facts;
        let id = facts.grant.unwrap_or(0);
        let window = self.windows.entry(id).or_default();
        window.grant = id;
        let known = [
            (&mut window.user, &facts.user),
            (&mut window.role, &facts.role),
            (&mut window.reason, &facts.reason),
            (&mut window.ticket, &facts.ticket),
        ];
        for (known, said) in known {
            if let (true, Some(said)) = (known.is_empty(), said) {
                known.clone_from(said);
            }
        }
        window.uid = window.uid.or(facts.uid);
        if let Some(approvers) = &facts.approvers {
            window.approvers.clone_from(approvers);
        }
        if let Some(until) = &facts.until {
            window.until = Some(local(until));
        }
        window
    }

    fn end(&mut self, record: &Record, how: &'static str) {
        let facts = &record.facts;
        let window = self.window(record);
        let (by, why) = (facts.actor.clone(), facts.detail.clone());
        window.ended = Some(Ended { at: local(&record.time), how, by, why });
        window.ended_us = micros(&record.time);
    }

    fn run(&mut self, record: &Record, run: Run) {
        let session = run.session;
        let window = self.window(record);
        window.runs.push(run);
        let place = (window.grant, window.runs.len() - 1);
        if let Some(session) = session {
            self.sessions.insert(session, place);
        }
    }

    /// The run of a session; one that began before the period has no beginning here.
    fn session(&mut self, record: &Record) -> &mut Run {
        let id = record.facts.session.unwrap_or(0);
        if !self.sessions.contains_key(&id) {
            let run = Run {
                session: Some(id),
                service: record.facts.service.clone().unwrap_or_default(),
                run_as: record.facts.run_as.clone().unwrap_or_default(),
                ..Run::default()
            };
            self.run(record, run);
        }
        let (grant, place) = self.sessions.get(&id).copied().unwrap_or_default();
        let runs = &mut self.windows.entry(grant).or_default().runs;
        if runs.len() <= place {
            runs.resize(place + 1, Run::default());
        }
        &mut runs[place]
    }
}

fn moment(record: &Record, allowed: bool) -> Option<Moment> {
    let user = record.facts.user.clone().unwrap_or_else(|| "(no account)".to_owned());
    Some(Moment { at: micros(&record.time)?, user, allowed })
}

fn micros(time: &str) -> Option<u64> {
    WallTime::from_rfc3339(time).map(|at| at.0)
}

/// A record's time in local time; unchanged if it is not a time.
fn local(time: &str) -> String {
    WallTime::from_rfc3339(time).map_or_else(|| time.to_owned(), WallTime::to_local)
}
