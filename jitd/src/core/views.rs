//! What each caller may see: parties see a request, grant or session; for others it does not exist.

use jit_proto::bus::names::scope_name;
use jit_proto::bus::view::{ApprovalView, GrantView, RequestView, RoleView, SessionView, StatusView};
use jit_proto::identity::SessionId;
use jit_proto::time::WallTime;

use super::authority;
use super::caller::Caller;
use super::ledger::{Grant, GrantState, Ledger, Request, RequestState, Session, SessionState};
use super::people::Person;
use super::policy::{self, Mode, OnExpiry, Policy, Role};
use super::time::{Now, seconds};

/// A caller's view of the state.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The state.
    pub ledger: &'a Ledger,
    /// The policy in force.
    pub policy: Option<&'a Policy>,
    /// The caller.
    pub caller: &'a Caller,
    /// The present time.
    pub now: &'a Now,
}

impl Look<'_> {
    /// The person whose own requests and grants the caller sees: the caller, or inside a window its holder.
    #[must_use]
    pub fn person(&self) -> &Person {
        self.caller.holder.as_ref().unwrap_or(&self.caller.person)
    }

    /// Whether the caller may read the audit log: root, operators, auditors. Root inside a window may too, as it can
    /// read the files as well.
    #[must_use]
    pub fn reads_audit(&self) -> bool {
        let person = self.person();
        let listed = self.policy.map(|policy| &policy.settings);
        self.caller.person.account.uid.is_root()
            || listed.is_some_and(|s| s.operators.include(person) || s.auditors.include(person))
    }

    /// Whether the caller may see this request.
    #[must_use]
    pub fn sees_request(&self, request: &Request) -> bool {
        self.person().account.uid == request.requester.uid
            || self.reads_audit()
            || authority::may_approve(self.policy, self.person(), request)
    }

    /// Whether the caller may see this grant and the sessions under it.
    #[must_use]
    pub fn sees_grant(&self, grant: &Grant) -> bool {
        let role = self.policy.and_then(|policy| policy.roles.get(&grant.role));
        self.person().account.uid == grant.holder.uid
            || self.reads_audit()
            || role.is_some_and(|role| role.approvers.include(self.person()))
    }

    /// Whether the caller may see this session.
    #[must_use]
    pub fn sees_session(&self, session: &Session) -> bool {
        let uid = self.person().account.uid;
        uid == session.holder.uid
            || self.reads_audit()
            || self.ledger.grants.get(&session.grant).is_some_and(|grant| self.sees_grant(grant))
    }

    /// Whether the caller may see this role.
    #[must_use]
    pub fn sees_role(&self, role: &Role) -> bool {
        let person = self.person();
        role.members.include(person) || role.approvers.include(person) || self.reads_audit()
    }

    /// The pending requests that the caller sees.
    #[must_use]
    pub fn pending(&self) -> Vec<RequestView> {
        let pending = self.ledger.requests.values().filter(|request| !request.expires.has_passed(self.now));
        pending.filter(|request| self.sees_request(request)).map(|request| self.request(request)).collect()
    }

    /// The live grants that the caller sees.
    #[must_use]
    pub fn grants(&self) -> Vec<GrantView> {
        let live = self.ledger.grants.values().filter(|grant| !grant.ends.has_passed(self.now));
        live.filter(|grant| self.sees_grant(grant)).map(|grant| self.grant(grant)).collect()
    }

    /// The sessions that the caller sees, each with its scope of this generation.
    #[must_use]
    pub fn sessions(&self, generation: impl Fn(SessionId) -> u32) -> Vec<SessionView> {
        let seen = self.ledger.sessions.values().filter(|session| self.sees_session(session));
        let scope = |session: &Session| scope_name(session.id, generation(session.id));
        seen.map(|session| SessionView { scope: scope(session), ..self.session(session) }).collect()
    }

    /// The roles that the caller sees.
    #[must_use]
    pub fn roles(&self) -> Vec<RoleView> {
        let roles = self.policy.iter().flat_map(|policy| policy.roles.values());
        roles.filter(|role| self.sees_role(role)).map(|role| self.role(role)).collect()
    }

    /// The status of the daemon and of the caller; fields that the core does not know are empty.
    #[must_use]
    pub fn status(&self) -> StatusView {
        let account = &self.person().account;
        let own = self.ledger.requests.values().filter(|request| request.requester.uid == account.uid);
        StatusView {
            policy_digest: self.policy.map_or(String::new(), |policy| policy.digest.clone()),
            policy_loaded_at: self.policy.map_or(0, |policy| policy.loaded_at.0),
            roles: self.policy.map_or(0, |policy| policy.roles.len() as u64),
            pending: self.ledger.requests.len() as u64,
            grants: self.ledger.grants.len() as u64,
            sessions: self.ledger.sessions.len() as u64,
            user: account.name.clone(),
            held: self.ledger.held_by(account.uid).map(|grant| self.grant(grant)).collect(),
            asked: own.map(|request| self.request(request)).collect(),
            observes: self.policy.is_some_and(|policy| policy.settings.options.mode == Mode::Observe),
            observing_roles: self.policy.map_or_else(Vec::new, |policy| {
                let observing = policy.roles.values().filter(|role| policy.mode_of(role) == Mode::Observe);
                observing.map(|role| role.name.to_string()).collect()
            }),
            ..StatusView::default()
        }
    }

    /// A request as the caller sees it.
    #[must_use]
    pub fn request(&self, request: &Request) -> RequestView {
        let (state, denied_by, denial_reason) = match &request.state {
            RequestState::Pending if request.expires.has_passed(self.now) => ("expired", "", ""),
            RequestState::Pending => ("pending", "", ""),
            RequestState::Approved => ("approved", "", ""),
            RequestState::Denied { by, reason } => ("denied", by.name.as_str(), reason.as_str()),
            RequestState::Cancelled => ("cancelled", "", ""),
            RequestState::Expired => ("expired", "", ""),
        };
        let open = state == "pending";
        let role = self.policy.and_then(|policy| policy.roles.get(&request.spec.role));
        RequestView {
            id: request.id.0,
            state: state.to_owned(),
            role: request.spec.role.to_string(),
            user: request.requester.name.clone(),
            uid: request.requester.uid.0,
            reason: request.spec.reason.as_str().to_owned(),
            ticket: request.spec.ticket_text().to_owned(),
            duration_seconds: seconds(request.spec.duration),
            requested_at: request.requested_at.0,
            expires_at: request.expires.wall.0,
            approvals: request
                .approvals
                .iter()
                .map(|approval| ApprovalView {
                    user: approval.by.name.clone(),
                    uid: approval.by.uid.0,
                    comment: approval.comment.clone(),
                    given_at: approval.at.0,
                })
                .collect(),
            approvals_needed: request.approvals_needed,
            extends: request.extends.map_or(0, |grant| grant.0),
            denied_by: denied_by.to_owned(),
            denial_reason: denial_reason.to_owned(),
            may_approve: open && authority::may_approve(self.policy, self.person(), request),
            approvers: role.map_or_else(Vec::new, |role| role.approvers.written.clone()),
            // Only NSS knows the members of groups.
            approving_people: Vec::new(),
        }
    }

    /// A grant as the caller sees it.
    #[must_use]
    pub fn grant(&self, grant: &Grant) -> GrantView {
        let live = matches!(grant.state, GrantState::Live);
        let state = match grant.state {
            GrantState::Live if grant.ends.has_passed(self.now) => "expired",
            GrantState::Live => "live",
            GrantState::Expired => "expired",
            GrantState::Released { .. } => "released",
            GrantState::Unused { .. } => "unused",
            GrantState::Withdrawn { .. } => "withdrawn",
            GrantState::Revoked { .. } => "revoked",
        };
        let role = self.policy.and_then(|policy| policy.roles.get(&grant.role));
        GrantView {
            id: grant.id.0,
            state: state.to_owned(),
            role: grant.role.to_string(),
            user: grant.holder.name.clone(),
            uid: grant.holder.uid.0,
            run_as: role.map_or_else(Vec::new, |role| role.run_as.written.clone()),
            services: role.map_or_else(Vec::new, |role| role.services.iter().cloned().collect()),
            reason: grant.reason.as_str().to_owned(),
            ticket: grant.ticket.as_ref().map_or(String::new(), |ticket| ticket.as_str().to_owned()),
            approvers: grant.approvers.iter().map(|account| account.name.clone()).collect(),
            starts_at: grant.starts_at.0,
            ends_at: ended_at(&grant.state).unwrap_or(grant.ends.wall).0,
            remaining_seconds: if live { seconds(grant.ends.remaining(self.now)) } else { 0 },
            sessions: self.ledger.under(grant.id).count() as u64,
        }
    }

    /// A session as the caller sees it.
    #[must_use]
    pub fn session(&self, session: &Session) -> SessionView {
        let state = match session.state {
            SessionState::Registered => "registered",
            SessionState::Open { .. } if session.drain_deadline.is_some() => "lingering",
            SessionState::Open { .. } => "open",
            SessionState::Ending { .. } | SessionState::Ended { .. } => "ending",
        };
        let ends = self.ledger.grants.get(&session.grant).map(|grant| &grant.ends);
        let ends = session.drain_deadline.as_ref().or(ends).map_or(WallTime(0), |ends| ends.wall);
        SessionView {
            id: session.id.0,
            grant: session.grant.0,
            state: state.to_owned(),
            user: session.holder.name.clone(),
            uid: session.holder.uid.0,
            role: session.role.to_string(),
            service: session.service.clone(),
            run_as: session.run_as().map_or(String::new(), |account| account.name.clone()),
            tty: session.tty.clone(),
            pid: session.main.pid,
            argv: session.argv.clone(),
            audit_session: session.audit_session.unwrap_or(0),
            login: session.login.clone().unwrap_or_default(),
            scope: scope_name(session.id, 0),
            started_at: session.started_at.0,
            ends_at: ends.0,
        }
    }

    /// A role as the caller sees it.
    #[must_use]
    pub fn role(&self, role: &Role) -> RoleView {
        RoleView {
            name: role.name.to_string(),
            description: role.description.clone(),
            members: role.members.written.clone(),
            approvers: role.approvers.written.clone(),
            approvals_needed: role.approvals,
            run_as: role.run_as.written.clone(),
            run_as_groups: role.run_as_groups.written.clone(),
            services: role.services.iter().cloned().collect(),
            default_duration_seconds: seconds(role.default_duration),
            max_duration_seconds: seconds(role.max_duration),
            reason_min_length: u64::from(role.options.reason_min_length),
            ticket_required: role.ticket.required,
            ticket_pattern: role.ticket.pattern.as_ref().map_or(String::new(), |p| p.as_str().to_owned()),
            unused_for_seconds: role.options.unused_for.map_or(0, seconds),
            idle_timeout_seconds: role.options.idle_timeout.map_or(0, seconds),
            end_with_login: role.options.end_with_login,
            on_expiry_linger_seconds: match role.on_expiry {
                OnExpiry::Terminate => 0,
                OnExpiry::DenyNew { at_most } => seconds(at_most),
            },
            without_forwarding: role.options.without_forwarding,
            settings: policy::shown(policy::ROLE, &role.options.written),
            may_request: role.members.include(self.person()),
            may_approve: role.approvers.include(self.person()),
        }
    }
}

/// When a grant ended before its deadline.
fn ended_at(state: &GrantState) -> Option<WallTime> {
    match state {
        GrantState::Live | GrantState::Expired => None,
        GrantState::Released { at }
        | GrantState::Unused { at }
        | GrantState::Withdrawn { at, .. }
        | GrantState::Revoked { at, .. } => Some(*at),
    }
}
