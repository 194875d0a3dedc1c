//! The D-Bus errors, each with a name of its own and a sentence that is safe to show.

use jit_proto::bus::dict::DictError;
use jit_proto::bus::view::ProblemView;
use jit_proto::escape::Escaped;

use crate::core::reply::Refusal;
use crate::engine::handle::Stopped;
use crate::policy::problem_lines;
use crate::store::StoreError;

/// What a call can fail with.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.jitd.Jit1.Error")]
pub enum Failure {
    /// The bus itself.
    #[zbus(error)]
    Bus(zbus::Error),
    /// The caller may not do this.
    NotAuthorized(String),
    /// The policy refuses it.
    PolicyDenied(String),
    /// It is the caller's own.
    SelfApproval(String),
    /// Too late, or a second time.
    AlreadyDecided(String),
    /// There is none, or the caller is no party to it.
    NoSuch(String),
    /// An argument is malformed.
    InvalidArgument(String),
    /// The policy on disk is not accepted.
    BadPolicy(String),
    /// It could not be recorded.
    CannotRecord(String),
    /// Something failed inside.
    Failed(String),
}

impl Failure {
    /// A policy that is not accepted, a problem a line.
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
        Self::Failed(stopped.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        // Where the store lies, and what is wrong with it, is for whoever reads the journal.
        tracing::error!("a call could not be answered: {error}");
        Self::Failed("the store cannot be read; the journal of jitd says why".to_owned())
    }
}

impl From<DictError> for Failure {
    fn from(error: DictError) -> Self {
        Self::Failed(error.to_string())
    }
}
