//! The way to the engine for everybody else: from tasks by [`Handle`], from threads of their own by [`BlockingHandle`].

use std::os::fd::OwnedFd;

use tokio::sync::{mpsc, oneshot};

use super::messages::ToSink;
use super::snapshot::Snapshot;
use crate::core::authority::CommandKind;
use crate::core::caller::Caller;
use crate::core::command::Command;
use crate::core::input::{AccessQuery, Input};
use crate::core::reply::{Done, Refusal, Reply, Verdict};
use crate::core::retention::Segment;
use crate::store::StoreError;

/// A look at the state, taken between two steps.
type Look = Box<dyn FnOnce(&Snapshot<'_>) + Send>;

/// What reaches the engine.
pub enum Message {
    /// Something happened.
    Input(Box<Incoming>),
    /// A reader wants to see the state.
    Look(Look),
    /// To every sink, behind the records that they were told of.
    Sinks(ToSink),
    /// Remove a few of the records that are to go; the answer is whether there are more.
    Remove(oneshot::Sender<Result<bool, StoreError>>),
    /// Write what is left to write, and end.
    Stop(oneshot::Sender<()>),
}

/// An input, with what belongs to it and means nothing to the core.
pub struct Incoming {
    /// The input.
    pub input: Input,
    /// The process that called PAM.
    pub pidfd: Option<OwnedFd>,
    /// Where the answer goes; `None` where nobody waits.
    pub waiting: Option<Waiting>,
}

/// Who waits for the answer to an input. Each kind of question has an answer of its own type, so that nobody has to
/// match an answer to another question.
#[derive(Debug)]
pub enum Waiting {
    /// The PAM module, for the decision.
    Gate(oneshot::Sender<Verdict>),
    /// A person or a script, for what their command came to.
    Command(oneshot::Sender<Result<Done, Refusal>>),
    /// The retention, until it is recorded that old records go.
    Prune(oneshot::Sender<()>),
}

impl Waiting {
    /// Sends the answer. A caller that has gone is told nothing; the audit log has what the caller asked for.
    pub(super) fn answer(self, reply: Reply) {
        match (self, reply) {
            (Self::Gate(waiting), Reply::Gate(verdict)) => drop(waiting.send(verdict)),
            (Self::Command(waiting), Reply::Command(result)) => drop(waiting.send(result)),
            (Self::Prune(waiting), Reply::Pruned) => drop(waiting.send(())),
            // The sender is dropped, so that who waits is told that the engine has no answer, and denies.
            (waiting, reply) => tracing::error!("internal error: {reply:?} is no answer for {waiting:?}"),
        }
    }
}

/// The engine has ended, or has no answer: nothing is decided any more.
#[derive(Debug, thiserror::Error)]
#[error("jitd is stopping")]
pub struct Stopped;

/// The way to the engine.
#[derive(Debug, Clone)]
pub struct Handle {
    sender: mpsc::Sender<Message>,
}

impl Handle {
    /// A handle, and the inbox that the engine reads.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Message>) {
        let (sender, inbox) = mpsc::channel(1024);
        (Self { sender }, inbox)
    }

    /// The same way for a thread that may block.
    #[must_use]
    pub fn blocking(self) -> BlockingHandle {
        BlockingHandle { sender: self.sender }
    }

    /// Sends an input that nobody waits for.
    ///
    /// # Errors
    /// When the engine has ended.
    pub async fn tell(&self, input: Input) -> Result<(), Stopped> {
        self.send(Message::Input(Box::new(Incoming { input, pidfd: None, waiting: None }))).await
    }

    /// Sends an input that nobody waits for, from a thread that must not block. False if the inbox is full or the engine
    /// has ended.
    #[must_use]
    pub fn try_tell(&self, input: Input) -> bool {
        let incoming = Box::new(Incoming { input, pidfd: None, waiting: None });
        self.sender.try_send(Message::Input(incoming)).is_ok()
    }

    /// Asks whether a PAM call is allowed.
    ///
    /// # Errors
    /// When the engine has ended.
    pub async fn decide(&self, query: AccessQuery, pidfd: Option<OwnedFd>) -> Result<Verdict, Stopped> {
        self.ask(Input::AccessQuery(Box::new(query)), pidfd, Waiting::Gate).await
    }

    /// Has a command carried out for its caller.
    ///
    /// # Errors
    /// When the engine has ended; the inner error says why the command was refused.
    pub async fn command(&self, caller: Caller, command: Command) -> Result<Result<Done, Refusal>, Stopped> {
        self.ask(Input::Command(Box::new(caller), command), None, Waiting::Command).await
    }

    /// Has it recorded that a command was refused before it reached the core; `suppressed` refusals of this caller were not
    /// recorded before it. Returns what to tell the caller.
    ///
    /// # Errors
    /// When the engine has ended.
    pub async fn refuse(
        &self,
        caller: Caller,
        kind: CommandKind,
        refusal: Refusal,
        suppressed: u64,
    ) -> Result<Result<Done, Refusal>, Stopped> {
        let input = Input::Refused { caller: Box::new(caller), kind, refusal, suppressed };
        self.ask(input, None, Waiting::Command).await
    }

    /// Looks at the state.
    ///
    /// # Errors
    /// When the engine has ended.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Snapshot<'_>) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (look, answer) = boxed(look);
        self.send(Message::Look(look)).await?;
        answer.await.map_err(|_| Stopped)
    }

    /// Sends this to every sink, behind the records that they were told of.
    ///
    /// # Errors
    /// When the engine has ended.
    pub async fn tell_sinks(&self, message: ToSink) -> Result<(), Stopped> {
        self.send(Message::Sinks(message)).await
    }

    /// Ends the engine when everything before this is done.
    pub async fn stop(&self) {
        let (done, wait) = oneshot::channel();
        if self.send(Message::Stop(done)).await.is_ok() {
            // An engine that is gone already has stopped.
            let _ = wait.await;
        }
    }

    async fn ask<T>(
        &self,
        input: Input,
        pidfd: Option<OwnedFd>,
        waiting: impl FnOnce(oneshot::Sender<T>) -> Waiting,
    ) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        let incoming = Incoming { input, pidfd, waiting: Some(waiting(reply)) };
        self.send(Message::Input(Box::new(incoming))).await?;
        answer.await.map_err(|_| Stopped)
    }

    async fn send(&self, message: Message) -> Result<(), Stopped> {
        self.sender.send(message).await.map_err(|_| Stopped)
    }
}

/// The way to the engine for a thread of its own: each call blocks until the engine has taken it, and until it has an
/// answer where there is one.
#[derive(Debug, Clone)]
pub struct BlockingHandle {
    sender: mpsc::Sender<Message>,
}

impl BlockingHandle {
    /// Sends an input that nobody waits for.
    ///
    /// # Errors
    /// When the engine has ended.
    pub fn tell(&self, input: Input) -> Result<(), Stopped> {
        self.send(Message::Input(Box::new(Incoming { input, pidfd: None, waiting: None })))
    }

    /// Has it recorded that old records go.
    ///
    /// # Errors
    /// When the engine has ended, or has no answer because the settings have changed or it could not be recorded.
    pub fn prune(&self, segment: Segment) -> Result<(), Stopped> {
        let (done, answer) = oneshot::channel();
        let input = Input::Prune(Box::new(segment));
        let incoming = Incoming { input, pidfd: None, waiting: Some(Waiting::Prune(done)) };
        self.send(Message::Input(Box::new(incoming)))?;
        answer.blocking_recv().map_err(|_| Stopped)
    }

    /// Looks at the state.
    ///
    /// # Errors
    /// When the engine has ended.
    pub fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Snapshot<'_>) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (look, answer) = boxed(look);
        self.send(Message::Look(look))?;
        answer.blocking_recv().map_err(|_| Stopped)
    }

    /// Has a few of the records removed that are to go; returns whether there are more.
    ///
    /// # Errors
    /// The outer one when the engine has ended; the inner one is what the store says.
    pub fn remove_records(&self) -> Result<Result<bool, StoreError>, Stopped> {
        let (done, answer) = oneshot::channel();
        self.send(Message::Remove(done))?;
        answer.blocking_recv().map_err(|_| Stopped)
    }

    fn send(&self, message: Message) -> Result<(), Stopped> {
        self.sender.blocking_send(message).map_err(|_| Stopped)
    }
}

fn boxed<T: Send + 'static>(
    look: impl FnOnce(&Snapshot<'_>) -> T + Send + 'static,
) -> (Look, oneshot::Receiver<T>) {
    let (reply, answer) = oneshot::channel();
    let look = Box::new(move |snapshot: &Snapshot<'_>| {
        // Who asked may have gone meanwhile.
        let _ = reply.send(look(snapshot));
    });
    (look, answer)
}
