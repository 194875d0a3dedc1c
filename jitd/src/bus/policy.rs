//! The commands about the policy: check the files, show the policy in force, reload.

use jit_proto::bus::dict::{Dict, to_dict};
use jit_proto::bus::view::ProblemView;

use super::Failure;
use crate::core::policy;
use crate::core::time::seconds;
use crate::core::views::Look;
use crate::engine::handle::Handle;
use crate::policy::reload::PolicyLoader;

/// The policy's files, and the engine that one policy is in force in.
#[derive(Clone)]
pub(super) struct PolicyFiles {
    engine: Handle,
    loader: PolicyLoader,
}

impl PolicyFiles {
    pub(super) fn new(engine: Handle, loader: PolicyLoader) -> Self {
        Self { engine, loader }
    }

    /// The problems of the files as they are now.
    pub(super) async fn check(&self) -> Result<Vec<ProblemView>, Failure> {
        let digest = self.engine.look(|snapshot| snapshot.policy.map(|policy| policy.digest.clone())).await?;
        Ok(self.loader.check(digest).await)
    }

    /// Loads the files, if they are valid.
    pub(super) async fn reload(&self) -> Result<(), Failure> {
        self.loader.reload(&self.engine).await?.map_err(|problems| Failure::bad_policy(&problems))
    }
}

/// The policy in force, as the caller may see it.
pub(super) fn shown(look: &Look<'_>) -> Result<Dict, Failure> {
    let policy = look.policy.ok_or_else(|| Failure::NoSuch("no policy is in force".to_owned()))?;
    let settings = &policy.settings;
    let roles: Vec<_> = policy.roles.values().map(|role| look.role(role)).collect();
    Ok(to_dict(&serde_json::json!({
        "digest": policy.digest,
        "loaded_at": policy.loaded_at.0,
        "max_duration_seconds": seconds(settings.options.max_duration),
        "request_expiry_seconds": seconds(settings.options.request_expiry),
        "grace_seconds": seconds(settings.options.grace),
        "warn_before_seconds": settings.warn_before.iter().map(|span| seconds(*span)).collect::<Vec<_>>(),
        "operators": settings.operators.written,
        "auditors": settings.auditors.written,
        "approve_without_login": settings.options.approve_without_login,
        "approve_as_another_account": settings.options.approve_as_another_account,
        "alerts_off": settings.alerts.off.iter().map(|rule| rule.name()).collect::<Vec<_>>(),
        "told": settings.notices.ways(),
        "settings": policy::shown(policy::DAEMON, &settings.options.written),
        "roles": roles,
    }))?)
}
