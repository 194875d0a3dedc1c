//! Loads a policy, or keeps the one in force.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jit_proto::bus::view::{ProblemView, Severity};
use jit_proto::identity::UserId;
use tracing::{error, info, warn};

use super::problem_lines;
use crate::core::input::Input;
use crate::core::people::Person;
use crate::core::policy::{Policy, SinkSettings};
use crate::engine::handle::{Handle, Stopped};
use crate::host::accounts::Nss;
use crate::host::clock::Clock;
use crate::policy;

/// The folder of the policy.
#[derive(Debug, Clone)]
pub struct PolicyLoader {
    root: PathBuf,
    clock: Clock,
}

impl PolicyLoader {
    /// The policy in this folder.
    #[must_use]
    pub fn under(root: &Path, clock: Clock) -> Self {
        Self { root: root.to_owned(), clock }
    }

    /// Reads the policy and changes nothing.
    ///
    /// # Errors
    /// Its problems.
    pub async fn read(&self) -> Result<Policy, Vec<ProblemView>> {
        let (root, now) = (self.root.clone(), self.clock.now().wall);
        let read = tokio::task::spawn_blocking(move || policy::load(&root, &Nss, now));
        read.await.unwrap_or_else(|error| {
            let file = self.root.display().to_string();
            let severity = Severity::Error;
            Err(vec![ProblemView { file, line: 0, key: String::new(), message: error.to_string(), severity }])
        })
    }

    /// All problems and warnings, with stacks that do not ask jitd, and whether it is the policy in force, whose digest
    /// is given.
    pub async fn check(&self, in_force: Option<String>) -> Vec<ProblemView> {
        let (root, now) = (self.root.clone(), self.clock.now().wall);
        let checked = tokio::task::spawn_blocking(move || {
            let (policy, mut problems) = policy::check(&root, &Nss, now);
            if let Some(policy) = &policy {
                problems.extend(policy::warnings_outside(&root, policy, in_force.as_deref()));
            }
            problems
        });
        let file = self.root.display().to_string();
        checked.await.unwrap_or_else(|error| {
            let severity = Severity::Error;
            vec![ProblemView { file, line: 0, key: String::new(), message: error.to_string(), severity }]
        })
    }

    /// The settings of sinks, if the settings can be read.
    pub async fn sinks(&self) -> Option<SinkSettings> {
        let root = self.root.clone();
        tokio::task::spawn_blocking(move || policy::sinks(&root, &Nss)).await.ok().flatten()
    }

    /// Loads the policy, and puts it in force if it is valid. Either result is recorded.
    ///
    /// # Errors
    /// The outer one when the engine has ended; the inner one has the problems.
    pub async fn reload(&self, engine: &Handle) -> Result<Result<(), Vec<ProblemView>>, Stopped> {
        match self.read().await {
            Ok(policy) => {
                info!("policy {} with {} roles is in force", &policy.digest[..12], policy.roles.len());
                let holders = holders(engine).await?;
                engine.tell(Input::PolicyLoaded(Arc::new(policy), holders)).await?;
                Ok(Ok(()))
            }
            Err(problems) => {
                let text = problem_lines(&problems);
                error!("the policy is not accepted, the running one stays");
                // A message for each line: log forwarders may split messages at lines.
                text.lines().for_each(|line| error!("{line}"));
                engine.tell(Input::PolicyRefused { problems: text }).await?;
                Ok(Err(problems))
            }
        }
    }
}

/// The holders of live grants, as NSS has them now. A holder who cannot be looked up is omitted, and checked at the
/// next call.
async fn holders(engine: &Handle) -> Result<BTreeMap<UserId, Option<Person>>, Stopped> {
    let uids: BTreeSet<UserId> = engine
        .look(|snapshot| snapshot.ledger.grants.values().map(|grant| grant.holder.uid).collect())
        .await?;
    let look_up = move || {
        let person = |uid: UserId| match Nss.person(uid) {
            Ok(person) => Some((uid, person)),
            Err(problem) => {
                warn!("the holder of a grant, uid {uid}, cannot be looked up: {problem}");
                None
            }
        };
        uids.into_iter().filter_map(person).collect()
    };
    Ok(tokio::task::spawn_blocking(look_up).await.unwrap_or_default())
}
