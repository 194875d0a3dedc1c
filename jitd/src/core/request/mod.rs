//! Requests: submission and decision.

pub(in crate::core) mod submit;

pub(in crate::core) mod approval;

use crate::core::caller::Caller;
use crate::core::people::Person;
use crate::core::policy::{Policy, Role};
use crate::core::reply::Refusal;
use jit_proto::identity::{RequestId, RoleName};

/// The sender of a command that the table of origins allowed, and the person it is about.
pub(in crate::core) struct Asker<'a> {
    pub(in crate::core) caller: &'a Caller,
    /// The caller, or the holder of the window that the caller is inside.
    pub(in crate::core) person: &'a Person,
}

pub(in crate::core) fn role<'a>(policy: Option<&'a Policy>, name: &RoleName) -> Result<&'a Role, Refusal> {
    let policy =
        policy.ok_or_else(|| Refusal::PolicyDenied("jitd has no valid policy on this host".to_owned()))?;
    policy.roles.get(name).ok_or_else(|| Refusal::NoSuch(format!("there is no role {name} for you")))
}

pub(in crate::core) fn no_request(id: RequestId) -> Refusal {
    Refusal::NoSuch(format!("there is no pending request {id} of yours to decide on"))
}
