//! One input, one step: returns the next ledger and the effects.

use crate::core::context::Context;
use crate::core::effect::{Durability, Effect};
use crate::core::facts;
use crate::core::grant::lifetime;
use crate::core::input::{Input, Stage};
use crate::core::ledger::{EndedBy, Ledger, RequestState};
use crate::core::limits::Limited;
use crate::core::policy::Policy;
use crate::core::reply::Reply;
use crate::core::session::{admission, authorization, ended};
use crate::core::time::Now;
use crate::core::turn::{REMEMBER_CLOCK, Turn};
use crate::core::{dispatch, drift};
use jit_proto::audit::record::{AuditEvent, Facts};
use jit_proto::identity::RequestId;
use jit_proto::time::BootTime;
use std::time::Duration;

/// Takes one input. The ledger is consumed; if the commit fails, the state is loaded from the store.
#[must_use]
pub fn step(
    ledger: Ledger,
    policy: Option<&Policy>,
    input: Input,
    context: &Context,
    now: &Now,
) -> (Ledger, Vec<Effect>) {
    let mut turn = Turn::new(ledger, policy, context, now);
    turn.commit.durability = durability_of(&input);
    // Expired windows and requests are closed first: no input is judged by a window that has closed.
    turn.close_what_is_over();
    match input {
        Input::Started { version } => {
            turn.note(AuditEvent::DaemonStarted, facts::detail(format!("version {version}")))
        }
        Input::Stopping => {
            turn.tell_limits(true);
            turn.note(AuditEvent::DaemonStopped, Facts::default());
        }
        Input::Tick => turn.remember_clock(),
        Input::ClockSet { by } => turn.note(AuditEvent::ClockStepped, facts::clock(by)),
        Input::PolicyLoaded(policy, people) => {
            let facts = Facts { policy: Some(policy.digest.clone()), ..facts::roles(&policy) };
            turn.note(AuditEvent::PolicyLoaded, facts);
            turn.tell_mode(&policy);
            turn.revalidate_all(&people);
        }
        Input::PolicyRefused { problems } => turn.note(AuditEvent::PolicyRefused, facts::detail(problems)),
        Input::AccessQuery(query) => {
            let verdict = match query.stage {
                Stage::Enter { tagged } => admission::enter(&mut turn, &query, tagged),
                Stage::Recheck => admission::recheck(&mut turn, &query),
                Stage::Track => admission::track(&mut turn, &query),
                Stage::Authorize { session_follows } => {
                    authorization::authorize(&mut turn, &query, session_follows)
                }
            };
            turn.reply = Some(Reply::Gate(verdict));
        }
        Input::Command(caller, command) => {
            let result = dispatch::command(&mut turn, &caller, command);
            turn.reply = Some(Reply::Command(result));
        }
        Input::Refused { caller, kind, refusal, suppressed } => {
            let account = &caller.person.account;
            if turn.records_refusal(account.uid, &account.name) {
                let facts = facts::refused(&turn.ledger, &caller, kind.word(), &refusal.to_string());
                turn.note(
                    AuditEvent::CommandRefused,
                    Facts { suppressed: (suppressed > 0).then_some(suppressed), ..facts },
                );
            } else if suppressed > 0 {
                turn.ledger.reached.count(Some(account.uid), &account.name, Limited::Record, suppressed);
            }
            turn.reply = Some(Reply::Command(Err(refusal)));
        }
        Input::SessionGone(id, report) => ended::gone(&mut turn, id, &report),
        Input::SessionStuck(id, report) => ended::stuck(&mut turn, id, &report),
        Input::ScopeTampered { session, found, ends } => {
            ended::tampered(&mut turn, session, found, ends);
        }
        Input::GroupExceeded(id, found) => ended::group_exceeded(&mut turn, id, found),
        Input::NotOnDisk(sessions) => {
            let due = turn.now.boot;
            sessions.into_iter().for_each(|id| turn.end_session(id, EndedBy::Unrecorded, due));
        }
        Input::SessionIdle(id) => ended::idle(&mut turn, id),
        Input::SessionIdledOut(id) => {
            let due = turn.now.boot;
            turn.end_session(id, EndedBy::Idle, due);
        }
        Input::Sink(name, change) => turn.sink(name, change),
        Input::Stacks(found) => turn.stacks(found),
        Input::Prune(segment) => {
            // Under settings that are not in force any more nothing is removed; without an answer the removal is tried
            // again.
            if let Some(policy) = policy.filter(|policy| policy.settings.retention == segment.retention) {
                turn.prune(&segment, policy);
            }
        }
        Input::LogFound(main, folder) => ended::log_found(&mut turn, main, folder),
        Input::LoginGone(login) => ended::login_gone(&mut turn, &login),
        Input::LeftBehind { held, found } => drift::record::left_behind(&mut turn, &held, &found),
        Input::HostChanged { last, found } => drift::record::host_changed(&mut turn, &last, &found),
        Input::LimitsReached(reached) => {
            reached.iter().for_each(|it| turn.ledger.reached.count(it.uid, &it.name, it.limited, it.count));
        }
        Input::RecordBroken { about, detail } => {
            let facts = Facts { about: (about > 0).then_some(about), ..facts::detail(detail) };
            turn.note(AuditEvent::AuditBroken, facts);
        }
        Input::NotTold { about, suppressed, detail } => {
            let facts =
                Facts { about, suppressed: (suppressed > 0).then_some(suppressed), ..facts::detail(detail) };
            turn.note(AuditEvent::NotifyFailed, facts);
        }
    }
    turn.tell_limits(false);
    turn.finish()
}

/// When the commit of an input has to be on the disk, if the rules say nothing else.
fn durability_of(input: &Input) -> Durability {
    match input {
        Input::AccessQuery(query) => match query.stage {
            Stage::Enter { .. } => Durability::BeforeTheSession,
            Stage::Recheck | Stage::Track => Durability::WithTheNext,
            // Nothing comes between this answer and what it lets happen.
            Stage::Authorize { .. } => Durability::AtOnce,
        },
        Input::SessionGone(..) | Input::NotTold { .. } | Input::LogFound(..) | Input::LimitsReached(_) => {
            Durability::WithTheNext
        }
        Input::Tick | Input::SessionIdle(_) | Input::SessionIdledOut(_) | Input::LoginGone(_) => {
            Durability::BeforeTheSession
        }
        _ => Durability::AtOnce,
    }
}

/// The next time on the boot clock at which something is due; `None` if nothing is.
#[must_use]
pub fn next_deadline(ledger: &Ledger, policy: Option<&Policy>, now: &Now) -> Option<BootTime> {
    let requests = ledger.requests.values().map(|request| now.boot.after(request.expires.remaining(now)));
    let ends = requests.chain(lifetime::next_moments(ledger, policy, now));
    let clock = (!ledger.grants.is_empty()).then(|| {
        let unseen = now.wall.since(ledger.highest_wall);
        now.boot.after(REMEMBER_CLOCK.saturating_sub(unseen).max(Duration::from_secs(1)))
    });
    ends.chain(clock).chain(ledger.reached.next_moment(now.boot)).min()
}

impl Turn<'_> {
    /// Closes expired requests and windows.
    fn close_what_is_over(&mut self) {
        let now = self.now;
        let lapsed: Vec<RequestId> = self
            .ledger
            .requests
            .values()
            .filter(|request| request.expires.has_passed(now))
            .map(|request| request.id)
            .collect();
        for id in lapsed {
            if let Some(request) = self.close_request(id, RequestState::Expired) {
                self.note(AuditEvent::RequestExpired, facts::request(&request));
            }
        }
        self.close_and_warn();
    }
}
