//! The channel to the engine: [`Handle`] for tasks, [`BlockingHandle`] for threads.

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

/// A function that reads the state between two steps.
type Look = Box<dyn FnOnce(&Snapshot<'_>) + Send>;

/// A message to the engine.
pub enum Message {
    /// An input for the core.
    Input(Box<Incoming>),
    /// Read the state.
    Look(Look),
    /// Send a message to every sink, after the records that were sent before.
    Sinks(ToSink),
    /// Remove some of the pruned records; answers whether more remain.
    Remove(oneshot::Sender<Result<bool, StoreError>>),
    /// Write what remains, and stop.
    Stop(oneshot::Sender<()>),
}

/// An input with data that the core does not use.
pub struct Incoming {
    /// The input.
    pub input: Input,
    /// The process that called PAM.
    pub pidfd: Option<OwnedFd>,
    /// The receiver of the answer; `None` where nobody waits.
    pub waiting: Option<Waiting>,
}

/// The receiver of the answer to an input. Each kind of question has its own type of answer.
#[derive(Debug)]
pub enum Waiting {
    /// `pam_jit`, for the decision.
    Gate(oneshot::Sender<Verdict>),
    /// A person or a script, for the result of the command.
    Command(oneshot::Sender<Result<Done, Refusal>>),
    /// The retention thread, until the removal is recorded.
    Prune(oneshot::Sender<()>),
}

impl Waiting {
    /// Sends the answer. If the caller has gone, the audit log has the request.
    pub(super) fn answer(self, reply: Reply) {
        match (self, reply) {
            (Self::Gate(waiting), Reply::Gate(verdict)) => drop(waiting.send(verdict)),
            (Self::Command(waiting), Reply::Command(result)) => drop(waiting.send(result)),
            (Self::Prune(waiting), Reply::Pruned) => drop(waiting.send(())),
            // The sender is dropped: the receiver gets an error, and denies.
            (waiting, reply) => tracing::error!("internal error: {reply:?} is no answer for {waiting:?}"),
        }
    }
}

/// The engine has stopped, or has no answer: the caller has to deny.
#[derive(Debug, thiserror::Error)]
#[error("jitd is stopping")]
pub struct Stopped;

/// A handle of the engine, for tasks.
#[derive(Debug, Clone)]
pub struct Handle {
    sender: mpsc::Sender<Message>,
}

impl Handle {
    /// A handle, and the receiver that the engine reads.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Message>) {
        let (sender, inbox) = mpsc::channel(1024);
        (Self { sender }, inbox)
    }

    /// The handle for a thread that may block.
    #[must_use]
    pub fn blocking(self) -> BlockingHandle {
        BlockingHandle { sender: self.sender }
    }

    /// Sends an input without an answer.
    ///
    /// # Errors
    /// When the engine has ended.
    pub async fn tell(&self, input: Input) -> Result<(), Stopped> {
        self.send(Message::Input(Box::new(Incoming { input, pidfd: None, waiting: None }))).await
    }

    /// Sends an input without an answer, from a thread that must not block. False if the channel is full or the engine
    /// has stopped.
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

    /// Executes a command for its caller.
    ///
    /// # Errors
    /// When the engine has ended; the inner error says why the command was refused.
    pub async fn command(&self, caller: Caller, command: Command) -> Result<Result<Done, Refusal>, Stopped> {
        self.ask(Input::Command(Box::new(caller), command), None, Waiting::Command).await
    }

    /// Records that a command was refused before it reached the core; `suppressed` refusals of this caller were not
    /// recorded before it. Returns the refusal for the caller.
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

    /// Reads the state.
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

    /// Sends a message to every sink, after the records that were sent before.
    ///
    /// # Errors
    /// When the engine has ended.
    pub async fn tell_sinks(&self, message: ToSink) -> Result<(), Stopped> {
        self.send(Message::Sinks(message)).await
    }

    /// Stops the engine once everything before this is done.
    pub async fn stop(&self) {
        let (done, wait) = oneshot::channel();
        if self.send(Message::Stop(done)).await.is_ok() {
            // The engine has stopped already.
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

/// A handle of the engine for a thread: each call blocks until the engine has taken it, and until the answer if there
/// is one.
#[derive(Debug, Clone)]
pub struct BlockingHandle {
    sender: mpsc::Sender<Message>,
}

impl BlockingHandle {
    /// Sends an input without an answer.
    ///
    /// # Errors
    /// When the engine has ended.
    pub fn tell(&self, input: Input) -> Result<(), Stopped> {
        self.send(Message::Input(Box::new(Incoming { input, pidfd: None, waiting: None })))
    }

    /// Records a removal of expired records.
    ///
    /// # Errors
    /// When the engine has stopped, or has no answer because the settings changed or the record was not written.
    pub fn prune(&self, segment: Segment) -> Result<(), Stopped> {
        let (done, answer) = oneshot::channel();
        let input = Input::Prune(Box::new(segment));
        let incoming = Incoming { input, pidfd: None, waiting: Some(Waiting::Prune(done)) };
        self.send(Message::Input(Box::new(incoming)))?;
        answer.blocking_recv().map_err(|_| Stopped)
    }

    /// Reads the state.
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

    /// Removes some of the pruned records; returns whether more remain.
    ///
    /// # Errors
    /// The outer one when the engine has stopped; the inner one is the store's.
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
        // The reader may have gone meanwhile.
        let _ = reply.send(look(snapshot));
    });
    (look, answer)
}
