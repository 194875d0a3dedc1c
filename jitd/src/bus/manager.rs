//! org.jitd.Jit1.Manager: the interface for people and scripts.

use std::collections::{BTreeSet, HashMap};

use jit_host::pam_stack::{Fault, inspect};
use jit_proto::bus::dict::{Dict, to_dict, to_dicts};
use jit_proto::bus::view::{RequestView, StackView, StatusView};
use jit_proto::identity::{GrantId, RequestId};
use zbus::object_server::SignalEmitter;

use super::Failure;
use super::admission::Admission;
use super::arguments::{self, Options, account_of, reason_of};
use super::commands::commands;
use super::policy::PolicyFiles;
use crate::core::authority::CommandKind;
use crate::core::caller::Caller;
use crate::core::command::{Command, GrantSelector};
use crate::core::reply::Done;
use crate::core::views::Look;
use crate::engine::handle::Handle;
use crate::engine::snapshot::Snapshot;
use crate::host::accounts::{Directory, Nss};
use crate::policy::reload::PolicyLoader;
use crate::sessions::cgroup::Scope;

type Dicts = Vec<Dict>;
type Numbers = Vec<u64>;

/// With more approvers than this, only the groups are named.
const MAX_PEOPLE_SHOWN: usize = 8;

#[derive(Clone)]
pub(super) struct Manager {
    engine: Handle,
    policy: PolicyFiles,
    admission: Admission,
}

impl Manager {
    pub(super) fn new(engine: Handle, loader: PolicyLoader, admission: Admission) -> Self {
        Self { policy: PolicyFiles::new(engine.clone(), loader), engine, admission }
    }

    async fn command(&self, caller: Caller, command: Command) -> Result<Done, Failure> {
        Ok(self.engine.command(caller, command).await??)
    }

    /// Reads the state as the caller may see it.
    async fn look<T: Send + 'static>(
        &self,
        caller: Caller,
        look: impl FnOnce(Look<'_>, &Snapshot<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.engine
            .look(move |snapshot| {
                let policy = snapshot.policy.map(AsRef::as_ref);
                look(Look { ledger: snapshot.ledger, policy, caller: &caller, now: &snapshot.now }, snapshot)
            })
            .await?
    }

    /// Decides on or cancels a request; for a closed request, returns how it was closed.
    async fn decide(&self, caller: Caller, id: u64, command: Command) -> Result<Done, Failure> {
        let kind = command.kind();
        let command = match self.admission.closed(id).await? {
            Some(request) => Command::AlreadyClosed { kind, request },
            None => command,
        };
        self.command(caller, command).await
    }

    async fn revoke_of(
        &self,
        caller: Caller,
        which: GrantSelector,
        reason: String,
    ) -> Result<Vec<u64>, Failure> {
        let command = Command::Revoke { which, reason: reason_of(reason)? };
        Ok(numbers(self.command(caller, command).await?))
    }

    /// The people who may approve a request, if the caller may see it and there are few.
    async fn approving_people(&self, caller: Caller, id: u64) -> Result<Vec<String>, Failure> {
        let written = self.look(caller, move |look, snapshot| {
            let request = snapshot.store.request(id)?.filter(|request| look.sees_request(request));
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

    /// The stacks that do not ask jitd, in the files as they are now.
    async fn stacks(&self) -> Result<Vec<StackView>, Failure> {
        let services = self
            .engine
            .look(|snapshot| snapshot.policy.map(|policy| policy.services()).unwrap_or_default())
            .await?;
        let found = tokio::task::spawn_blocking(move || inspect(services)).await;
        let found = found.map_err(|error| Failure::Failed(error.to_string()))?.into_iter();
        let view = |(service, fault): (String, Option<Fault>)| {
            let Fault { file, line, message } = fault?;
            Some(StackView { service, file: file.display().to_string(), line, message })
        };
        Ok(found.filter_map(view).collect())
    }
}

commands! {
    #[interface(name = "org.jitd.Jit1.Manager")]
    impl Manager {
        #[zbus(out_args("id"))]
        Request: async fn request(
            self, caller, role: String, duration: u64, reason: String, ticket: String, _options: Options,
        ) -> u64 {
            number(self.command(caller, arguments::request(role, duration, reason, ticket)?).await?)
        }

        Cancel: async fn cancel(self, caller, id: u64, _options: Options) -> () {
            self.decide(caller, id, Command::Cancel(RequestId(id))).await.map(drop)
        }

        #[zbus(out_args("request"))]
        Approve: async fn approve(self, caller, id: u64, options: Options) -> Dict {
            self.decide(caller.clone(), id, arguments::approve(id, &options)?).await?;
            self.look(caller, move |look, snapshot| {
                let request = snapshot.store.request(id)?.ok_or_else(|| no_such(id))?;
                Ok(to_dict(&look.request(&request))?)
            })
            .await
        }

        Deny: async fn deny(self, caller, id: u64, reason: String, _options: Options) -> () {
            self.decide(caller, id, arguments::deny(id, reason)?).await.map(drop)
        }

        #[zbus(out_args("grant"))]
        Release: async fn release(self, caller, grant: u64, _options: Options) -> u64 {
            number(self.command(caller, arguments::release(grant)).await?)
        }

        /// Returns the number of the request, or of the grant if an operator extended it at once.
        #[zbus(out_args("id"))]
        Extend: async fn extend(
            self, caller, grant: u64, duration: u64, reason: String, options: Options,
        ) -> u64 {
            number(self.command(caller, arguments::extend(grant, duration, reason, &options)?).await?)
        }

        #[zbus(out_args("grant"))]
        Grant: async fn grant(
            self, caller, user: String, role: String, duration: u64, reason: String, options: Options,
        ) -> u64 {
            let command = arguments::grant(user, role, duration, reason, options).await?;
            number(self.command(caller, command).await?)
        }

        Revoke: async fn revoke(self, caller, id: u64, reason: String, _options: Options) -> () {
            self.revoke_of(caller, GrantSelector::One(GrantId(id)), reason).await.map(drop)
        }

        #[zbus(out_args("grants"))]
        RevokeUser: async fn revoke_user(
            self, caller, user: String, reason: String, _options: Options,
        ) -> Numbers {
            self.revoke_of(caller, GrantSelector::Of(account_of(user).await?), reason).await
        }

        #[zbus(out_args("grants"))]
        RevokeAll: async fn revoke_all(self, caller, reason: String, _options: Options) -> Numbers {
            self.revoke_of(caller, GrantSelector::All, reason).await
        }

        #[zbus(out_args("requests"))]
        Pending: async fn pending(self, caller) -> Dicts {
            self.look(caller, |look, _| Ok(to_dicts(&look.pending())?)).await
        }

        #[zbus(out_args("found"))]
        Show: async fn show(self, caller, id: u64) -> Dict {
            let approving = self.approving_people(caller.clone(), id).await?;
            self.look(caller, move |look, snapshot| {
                let request = snapshot.store.request(id)?.filter(|request| look.sees_request(request));
                let grant = snapshot.store.grant(id)?.filter(|grant| look.sees_grant(grant));
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
        Grants: async fn grants(self, caller) -> Dicts {
            self.look(caller, |look, _| Ok(to_dicts(&look.grants())?)).await
        }

        #[zbus(out_args("sessions"))]
        Sessions: async fn sessions(self, caller) -> Dicts {
            // A session can be moved to a new scope; the cgroup tree holds the current generation.
            let generation = |session| Scope::of(session).newest().unwrap_or(0);
            self.look(caller, move |look, _| Ok(to_dicts(&look.sessions(generation))?)).await
        }

        #[zbus(out_args("roles"))]
        Roles: async fn roles(self, caller) -> Dicts {
            self.look(caller, |look, _| Ok(to_dicts(&look.roles())?)).await
        }

        #[zbus(out_args("status"))]
        Status: async fn status(self, caller) -> Dict {
            let stacks = self.stacks().await?;
            self.look(caller, move |look, snapshot| {
                let records = snapshot.store.head().seq;
                let view = StatusView {
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    started_at: snapshot.started_at.0,
                    records,
                    unsent: records.saturating_sub(snapshot.cursors.syslog.seq()),
                    problems: snapshot.problems(),
                    acknowledged: snapshot.store.acknowledged_problems(),
                    stacks,
                    ..look.status()
                };
                Ok(to_dict(&view)?)
            })
            .await
        }

        #[zbus(out_args("problems"))]
        PolicyCheck: async fn policy_check(self, _caller) -> Dicts {
            Ok(to_dicts(&self.policy.check().await?)?)
        }

        #[zbus(out_args("policy"))]
        PolicyShow: async fn policy_show(self, caller) -> Dict {
            self.look(caller, |look, _| super::policy::shown(&look)).await
        }

        Reload: async fn reload(self, _caller) -> () {
            self.policy.reload().await
        }
    }
    beside {
        /// `bus::signals` sends the signals; they are declared here for introspection.
        #[zbus(signal)]
        async fn request_changed(emitter: &SignalEmitter<'_>, id: u64) -> zbus::Result<()>;

        #[zbus(signal)]
        async fn grant_changed(emitter: &SignalEmitter<'_>, id: u64) -> zbus::Result<()>;

        #[zbus(signal)]
        async fn session_changed(emitter: &SignalEmitter<'_>, id: u64) -> zbus::Result<()>;

        #[zbus(signal)]
        async fn grant_closes_soon(emitter: &SignalEmitter<'_>, id: u64) -> zbus::Result<()>;
    }
}

fn number(done: Done) -> Result<u64, Failure> {
    match done {
        Done::Request(id) => Ok(id.0),
        Done::Grant(id) => Ok(id.0),
        Done::Grants(_) | Done::Recorded => {
            Err(Failure::Failed("internal error: an answer of another kind".to_owned()))
        }
    }
}

fn numbers(done: Done) -> Vec<u64> {
    match done {
        Done::Grants(ids) => ids.into_iter().map(|id| id.0).collect(),
        Done::Request(id) => vec![id.0],
        Done::Grant(id) => vec![id.0],
        Done::Recorded => Vec::new(),
    }
}

fn no_such(id: u64) -> Failure {
    Failure::NoSuch(format!("there is nothing numbered {id} that you are a party to"))
}

fn failed(error: serde_json::Error) -> Failure {
    Failure::Failed(error.to_string())
}
