//! The D-Bus errors, each with its own name and a sentence that is safe to show.

use jit_proto::bus::dict::DictError;
use jit_proto::bus::view::ProblemView;
use jit_proto::escape::Escaped;

use crate::core::reply::Refusal;
use crate::engine::handle::Stopped;
use crate::policy::problem_lines;
use crate::store::StoreError;

/// The error of a call.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.jitd.Jit1.Error")]
pub enum Failure {
    /// An error of the bus itself.
    #[zbus(error)]
    Bus(zbus::Error),
    /// The caller may not do this.
    NotAuthorized(String),
    /// The policy refuses it.
    PolicyDenied(String),
    /// The request or grant is the caller's own.
    SelfApproval(String),
    /// The request is decided already, or this person has decided.
    AlreadyDecided(String),
    /// It does not exist, or the caller is no party to it.
    NoSuch(String),
    /// An argument is malformed.
    InvalidArgument(String),
    /// The policy on disk is not accepted.
    BadPolicy(String),
    /// It could not be recorded.
    CannotRecord(String),
    /// The daemon is stopping.
    Stopping(String),
    /// An internal failure.
    Failed(String),
}

impl Failure {
    /// A policy that is not accepted, with one problem per line.
    #[must_use]
    pub fn bad_policy(problems: &[ProblemView]) -> Self {
        Self::BadPolicy(problem_lines(problems))
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let safe = |text: String| Escaped(&text).to_string();
        match refusal {
            Refusal::NotAuthorized(text) => Self::NotAuthorized(safe(text)),
            Refusal::PolicyDenied(text) => Self::PolicyDenied(safe(text)),
            Refusal::SelfApproval(text) => Self::SelfApproval(safe(text)),
            Refusal::AlreadyDecided(text) => Self::AlreadyDecided(safe(text)),
            Refusal::NoSuch(text) => Self::NoSuch(safe(text)),
            Refusal::CannotRecord(text) => Self::CannotRecord(safe(text)),
        }
    }
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        Self::Stopping(stopped.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        // The path and the error of the store are only for readers of the journal.
        tracing::error!("a call could not be answered: {error}");
        Self::Failed("the store cannot be read; the journal of jitd says why".to_owned())
    }
}

impl From<DictError> for Failure {
    fn from(error: DictError) -> Self {
        Self::Failed(error.to_string())
    }
}
