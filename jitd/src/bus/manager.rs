//! org.jitd.Jit1.Manager: what people and scripts call.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use jit_proto::bus::dict::{Dict, to_dict, to_dicts};
use jit_proto::bus::names::scope_name;
use jit_proto::bus::view::{RequestView, SessionView, StackView, StatusView};
use jit_proto::identity::{GrantId, Reason, RequestId, RoleName, Ticket};
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, OwnedVariant, interface};

use super::Failure;
use super::admission::Admission;
use crate::core::authority::CommandKind;
use crate::core::caller::Caller;
use crate::core::event::{Command, Done, Input, Reply, Which};
use crate::core::people::Account;
use crate::core::show::Look;
use crate::core::time::seconds;
use crate::engine::{Handle, Inside};
use crate::host::accounts::{Directory, Nss};
use crate::policy::reload::PolicyLoader;
use crate::sessions::cgroup::Scope;
use crate::stacks::{self, Fault};

type Options = HashMap<String, OwnedVariant>;

/// No text in a call is longer, whatever it is for.
const MAX_TEXT_BYTES: usize = 8192;

/// Where more people may approve a request than these, only the groups are named.
const MAX_PEOPLE_SHOWN: usize = 8;

#[derive(Clone)]
pub(super) struct Manager {
    engine: Handle,
    rules: PolicyLoader,
    admission: Admission,
}

impl Manager {
    pub(super) fn new(engine: Handle, rules: PolicyLoader, admission: Admission) -> Self {
        Self { engine, rules, admission }
    }

    async fn command(&self, caller: Caller, command: Command) -> Result<Done, Failure> {
        match self.engine.ask(Input::Command(Box::new(caller), command), None).await? {
            Reply::Command(result) => Ok(result?),
            Reply::Gate(_) | Reply::Pruned => Err(Failure::Failed("jitd answered something else".to_owned())),
        }
    }

    /// Looks at the state as the caller may see it.
    async fn look<T: Send + 'static>(
        &self,
        caller: Caller,
        look: impl FnOnce(Look<'_>, &Inside<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.engine
            .look(move |inside| {
                let policy = inside.policy.map(AsRef::as_ref);
                look(Look { ledger: inside.ledger, policy, caller: &caller, now: &inside.now }, inside)
            })
            .await?
    }

    /// Has a request decided on or taken back; of one that is not pending any more, says what became of it.
    async fn decide(&self, caller: Caller, id: u64, command: Command) -> Result<Done, Failure> {
        let kind = command.kind();
        let command = match self.admission.closed(id).await? {
            Some(request) => Command::AlreadyClosed { kind, request },
            None => command,
        };
        self.command(caller, command).await
    }

    /// The people who may approve a request, if the caller may see it and they are few.
    async fn approving_people(&self, caller: Caller, id: u64) -> Result<Vec<String>, Failure> {
        let written = self.look(caller, move |look, inside| {
            let request = inside.store.request(id)?.filter(|request| look.sees_request(request));
            Ok(request.map(|request| (request.requester.name.clone(), look.request(&request).approvers)))
        });
        let Some((requester, written)) = written.await? else { return Ok(Vec::new()) };
        let people = tokio::task::spawn_blocking(move || {
            let mut people = BTreeSet::new();
            for name in written {
                match name.strip_prefix('@') {
                    Some(group) => people.extend(Nss.listed_in(group)?),
                    None => drop(people.insert(name)),
                }
            }
            people.remove(&requester);
            (people.len() <= MAX_PEOPLE_SHOWN).then(|| people.into_iter().collect())
        });
        Ok(people.await.ok().flatten().unwrap_or_default())
    }

    /// The stacks that do not ask, as the files are at this moment.
    async fn stacks(&self) -> Result<Vec<StackView>, Failure> {
        let services = self.engine.look(|inside| stacks::services(inside.policy.map(AsRef::as_ref))).await?;
        let found = tokio::task::spawn_blocking(move || stacks::inspect(services)).await;
        let found = found.map_err(|error| Failure::Failed(error.to_string()))?.into_iter();
        let view = |(service, fault): (String, Option<Fault>)| {
            let Fault { file, line, message } = fault?;
            Some(StackView { service, file: file.display().to_string(), line, message })
        };
        Ok(found.filter_map(view).collect())
    }
}

#[interface(name = "org.jitd.Jit1.Manager")]
#[allow(clippy::too_many_arguments, reason = "the methods' D-Bus signatures")]
impl Manager {
    #[zbus(out_args("id"))]
    async fn request(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        role: String,
        duration: u64,
        reason: String,
        ticket: String,
        _options: Options,
    ) -> Result<u64, Failure> {
        let caller = self.admission.admit(connection, &header, CommandKind::Request).await?;
        let command = Command::Request {
            role: role_of(role)?,
            duration: span_of(duration),
            reason: reason_of(reason)?,
            ticket: ticket_of(ticket)?,
        };
        number(self.command(caller, command).await?)
    }

    async fn cancel(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        id: u64,
        _options: Options,
    ) -> Result<(), Failure> {
        let caller = self.admission.admit(connection, &header, CommandKind::Cancel).await?;
        self.decide(caller, id, Command::Cancel(RequestId(id))).await.map(drop)
    }

    #[zbus(out_args("request"))]
    async fn approve(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        id: u64,
        options: Options,
    ) -> Result<Dict, Failure> {
        let caller = self.admission.admit(connection, &header, CommandKind::Approve).await?;
        let command = Command::Approve {
            id: RequestId(id),
            duration: number_option(&options, "duration")?.and_then(span_of),
            comment: text_option(&options, "comment")?.unwrap_or_default(),
        };
        self.decide(caller.clone(), id, command).await?;
        self.look(caller, move |look, inside| {
            let request = inside.store.request(id)?.ok_or_else(|| no_such(id))?;
            Ok(to_dict(&look.request(&request))?)
        })
        .await
    }

    async fn deny(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        id: u64,
        reason: String,
        _options: Options,
    ) -> Result<(), Failure> {
        let caller = self.admission.admit(connection, &header, CommandKind::Deny).await?;
        let command = Command::Deny { id: RequestId(id), reason: reason_of(reason)? };
        self.decide(caller, id, command).await.map(drop)
    }

    #[zbus(out_args("grant"))]
    async fn release(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        grant: u64,
        _options: Options,
    ) -> Result<u64, Failure> {
        let caller = self.admission.admit(connection, &header, CommandKind::Release).await?;
        let command = Command::Release((grant != 0).then_some(GrantId(grant)));
        number(self.command(caller, command).await?)
    }

    /// Returns the request's number, or the grant's where an operator has made it longer at once.
    #[zbus(out_args("id"))]
    async fn extend(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        grant: u64,
        duration: u64,
        reason: String,
        options: Options,
    ) -> Result<u64, Failure> {
        let caller = self.admission.admit(connection, &header, CommandKind::Extend).await?;
        let command = Command::Extend {
            id: GrantId(grant),
            duration: span_of(duration),
            reason: reason_of(reason)?,
            ticket: ticket_of(text_option(&options, "ticket")?.unwrap_or_default())?,
        };
        number(self.command(caller, command).await?)
    }

    #[zbus(out_args("grant"))]
    async fn grant(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: String,
        role: String,
        duration: u64,
        reason: String,
        options: Options,
    ) -> Result<u64, Failure> {
        let caller = self.admission.admit(connection, &header, CommandKind::Grant).await?;
        let command = Command::Grant {
            holder: account_of(user).await?,
            role: role_of(role)?,
            duration: span_of(duration),
            reason: reason_of(reason)?,
            ticket: ticket_of(text_option(&options, "ticket")?.unwrap_or_default())?,
        };
        number(self.command(caller, command).await?)
    }

    async fn revoke(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        id: u64,
        reason: String,
        _options: Options,
    ) -> Result<(), Failure> {
        let caller = self.admission.admit(connection, &header, CommandKind::Revoke).await?;
        let command = Command::Revoke { which: Which::One(GrantId(id)), reason: reason_of(reason)? };
        self.command(caller, command).await.map(drop)
    }

    #[zbus(out_args("grants"))]
    async fn revoke_user(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        user: String,
        reason: String,
        _options: Options,
    ) -> Result<Vec<u64>, Failure> {
        let caller = self.admission.admit(connection, &header, CommandKind::RevokeUser).await?;
        let which = Which::Of(account_of(user).await?);
        let command = Command::Revoke { which, reason: reason_of(reason)? };
        Ok(numbers(self.command(caller, command).await?))
    }

    #[zbus(out_args("grants"))]
    async fn revoke_all(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        reason: String,
        _options: Options,
    ) -> Result<Vec<u64>, Failure> {
        let caller = self.admission.admit(connection, &header, CommandKind::RevokeAll).await?;
        let command = Command::Revoke { which: Which::All, reason: reason_of(reason)? };
        Ok(numbers(self.command(caller, command).await?))
    }

    #[zbus(out_args("requests"))]
    async fn pending(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<Dict>, Failure> {
        let caller = self.admission.admit(connection, &header, CommandKind::Pending).await?;
        self.look(caller, |look, _| {
            let seen = look.ledger.requests.values().filter(|request| look.sees_request(request));
            let open = seen.filter(|request| !request.expires.has_passed(look.now));
            Ok(to_dicts(&open.map(|request| look.request(request)).collect::<Vec<_>>())?)
        })
        .await
    }

    #[zbus(out_args("found"))]
    async fn show(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        id: u64,
    ) -> Result<Dict, Failure> {
        let caller = self.admission.admit(connection, &header, CommandKind::Show).await?;
        let approving = self.approving_people(caller.clone(), id).await?;
        self.look(caller, move |look, inside| {
            let request = inside.store.request(id)?.filter(|request| look.sees_request(request));
            let grant = inside.store.grant(id)?.filter(|grant| look.sees_grant(grant));
            if request.is_none() && grant.is_none() {
                return Err(no_such(id));
            }
            let mut found = HashMap::new();
            if let Some(request) = request {
                let view = RequestView { approving_people: approving, ..look.request(&request) };
                found.insert("request", serde_json::to_value(view).map_err(failed)?);
            }
            if let Some(grant) = grant {
                found.insert("grant", serde_json::to_value(look.grant(&grant)).map_err(failed)?);
            }
            Ok(to_dict(&found)?)
        })
        .await
    }

    #[zbus(out_args("grants"))]
    async fn grants(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<Dict>, Failure> {
        let caller = self.admission.admit(connection, &header, CommandKind::Grants).await?;
        self.look(caller, |look, _| {
            let seen = look.ledger.grants.values().filter(|grant| look.sees_grant(grant));
            let live = seen.filter(|grant| !grant.ends.has_passed(look.now));
            Ok(to_dicts(&live.map(|grant| look.grant(grant)).collect::<Vec<_>>())?)
        })
        .await
    }

    #[zbus(out_args("sessions"))]
    async fn sessions(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<Dict>, Failure> {
        let caller = self.admission.admit(connection, &header, CommandKind::Sessions).await?;
        self.look(caller, |look, _| {
            let seen = look.ledger.sessions.values().filter(|session| look.sees_session(session));
            let views = seen.map(|session| {
                let view = look.session(session);
                // Only the kernel knows the how manieth it is by now.
                let newest = Scope::of(session.id).newest().unwrap_or(0);
                SessionView { scope: scope_name(session.id, newest), ..view }
            });
            Ok(to_dicts(&views.collect::<Vec<_>>())?)
        })
        .await
    }

    #[zbus(out_args("roles"))]
    async fn roles(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<Dict>, Failure> {
        let caller = self.admission.admit(connection, &header, CommandKind::Roles).await?;
        self.look(caller, |look, _| {
            let roles = look.policy.iter().flat_map(|policy| policy.roles.values());
            let seen = roles.filter(|role| look.sees_role(role));
            Ok(to_dicts(&seen.map(|role| look.role(role)).collect::<Vec<_>>())?)
        })
        .await
    }

    #[zbus(out_args("status"))]
    async fn status(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Dict, Failure> {
        let caller = self.admission.admit(connection, &header, CommandKind::Status).await?;
        let stacks = self.stacks().await?;
        self.look(caller, move |look, inside| {
            let account = &look.person().account;
            let own = look.ledger.requests.values().filter(|request| request.requester.uid == account.uid);
            let records = inside.store.head().seq;
            let view = StatusView {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at: inside.started_at.0,
                policy_digest: look.policy.map_or(String::new(), |policy| policy.digest.clone()),
                policy_loaded_at: look.policy.map_or(0, |policy| policy.loaded_at.0),
                roles: look.policy.map_or(0, |policy| policy.roles.len() as u64),
                pending: look.ledger.requests.len() as u64,
                grants: look.ledger.grants.len() as u64,
                sessions: look.ledger.sessions.len() as u64,
                records,
                unsent: records.saturating_sub(inside.sinks.cursors.syslog.seq()),
                problems: inside.problems(),
                user: account.name.clone(),
                held: look.ledger.held_by(account.uid).map(|grant| look.grant(grant)).collect(),
                asked: own.map(|request| look.request(request)).collect(),
                stacks,
            };
            Ok(to_dict(&view)?)
        })
        .await
    }

    #[zbus(out_args("problems"))]
    async fn policy_check(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<Dict>, Failure> {
        self.admission.admit(connection, &header, CommandKind::PolicyCheck).await?;
        let digest = self.engine.look(|inside| inside.policy.map(|policy| policy.digest.clone())).await?;
        let problems = self.rules.check(digest).await;
        Ok(to_dicts(&problems)?)
    }

    #[zbus(out_args("policy"))]
    async fn policy_show(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Dict, Failure> {
        let caller = self.admission.admit(connection, &header, CommandKind::PolicyShow).await?;
        self.look(caller, |look, _| {
            let policy = look.policy.ok_or_else(|| Failure::NoSuch("no policy is in force".to_owned()))?;
            let settings = &policy.settings;
            let roles: Vec<_> = policy.roles.values().map(|role| look.role(role)).collect();
            Ok(to_dict(&serde_json::json!({
                "digest": policy.digest,
                "loaded_at": policy.loaded_at.0,
                "max_duration_seconds": seconds(settings.max_duration),
                "request_expiry_seconds": seconds(settings.request_expiry),
                "grace_seconds": seconds(settings.grace),
                "warn_before_seconds": settings.warn_before.iter().map(|span| seconds(*span)).collect::<Vec<_>>(),
                "operators": settings.operators.written,
                "auditors": settings.auditors.written,
                "approve_without_login": settings.approve_without_login,
                "approve_as_another_account": settings.approve_as_another_account,
                "alerts_off": settings.alerts.off.iter().map(|rule| rule.name()).collect::<Vec<_>>(),
                "told": settings.notices.ways(),
                "roles": roles,
            }))?)
        })
        .await
    }

    /// The signals are sent by `bus::signals`; here they are declared, so that introspection shows them.
    #[zbus(signal)]
    async fn request_changed(emitter: &SignalEmitter<'_>, id: u64) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn grant_changed(emitter: &SignalEmitter<'_>, id: u64) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn session_changed(emitter: &SignalEmitter<'_>, id: u64) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn grant_closes_soon(emitter: &SignalEmitter<'_>, id: u64) -> zbus::Result<()>;

    async fn reload(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Failure> {
        self.admission.admit(connection, &header, CommandKind::Reload).await?;
        self.rules.reload(&self.engine).await?.map_err(|problems| Failure::bad_policy(&problems))
    }
}

fn role_of(name: String) -> Result<RoleName, Failure> {
    RoleName::try_from(bounded(name)?).map_err(|error| Failure::InvalidArgument(format!("role: {error}")))
}

fn reason_of(text: String) -> Result<Reason, Failure> {
    Reason::try_from(bounded(text)?).map_err(|error| Failure::InvalidArgument(format!("reason: {error}")))
}

fn ticket_of(text: String) -> Result<Option<Ticket>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let ticket = Ticket::try_from(bounded(text)?);
    ticket.map(Some).map_err(|error| Failure::InvalidArgument(format!("ticket: {error}")))
}

/// Zero is "not said".
fn span_of(micros: u64) -> Option<Duration> {
    (micros != 0).then(|| Duration::from_micros(micros))
}

async fn account_of(user: String) -> Result<Account, Failure> {
    let name = bounded(user)?;
    let looked = tokio::task::spawn_blocking(move || (Nss.account(&name), name));
    let (found, name) = looked.await.map_err(|error| Failure::Failed(error.to_string()))?;
    let found =
        found.map_err(|error| Failure::Failed(format!("the user directory cannot be asked: {error}")))?;
    found.ok_or_else(|| Failure::NoSuch(format!("there is no user {name:?} on this host")))
}

fn bounded(text: String) -> Result<String, Failure> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(Failure::InvalidArgument(format!("a text of {} bytes is too long", text.len())));
    }
    Ok(text)
}

fn text_option(options: &Options, key: &str) -> Result<Option<String>, Failure> {
    let Some(value) = options.get(key) else { return Ok(None) };
    let text =
        <&str>::try_from(value).map_err(|_| Failure::InvalidArgument(format!("option {key} is no text")))?;
    let text = bounded(text.to_owned())?;
    Ok(Some(text.chars().take(256).collect()))
}

fn number_option(options: &Options, key: &str) -> Result<Option<u64>, Failure> {
    let Some(value) = options.get(key) else { return Ok(None) };
    let number =
        u64::try_from(value).map_err(|_| Failure::InvalidArgument(format!("option {key} is no number")))?;
    Ok(Some(number))
}

fn number(done: Done) -> Result<u64, Failure> {
    match done {
        Done::Request(id) => Ok(id.0),
        Done::Grant(id) => Ok(id.0),
        Done::Grants(_) | Done::Sealed => Err(Failure::Failed("jitd answered something else".to_owned())),
    }
}

fn numbers(done: Done) -> Vec<u64> {
    match done {
        Done::Grants(ids) => ids.into_iter().map(|id| id.0).collect(),
        Done::Request(id) => vec![id.0],
        Done::Grant(id) => vec![id.0],
        Done::Sealed => Vec::new(),
    }
}

fn no_such(id: u64) -> Failure {
    Failure::NoSuch(format!("there is nothing numbered {id} that you are a party to"))
}

fn failed(error: serde_json::Error) -> Failure {
    Failure::Failed(error.to_string())
}
