//! What a body is handed: who it is, its inbox, its stop signal, and what it can say.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::cancel::{Cancel, CancelError};
use super::core::Core;
use super::handle::TaskRef;
use super::manager::Manager;
use super::send::{self, Address, SendError};
use super::spawn::{Once, PAYLOAD_BYTES_MAX, TaskBuilder};
use crate::engine::{Attempt, BodyFuture, Verdict};
use crate::inbox::{Message, Receipt, Sender};
use crate::kernel::{CancelReport, Epoch, Kind, Note, Payload, Scope, Stop, TaskId};

/// Largest progress note, in bytes of JSON.
const PROGRESS_BYTES_MAX: usize = 4 * 1_024;

tokio::task_local! {
    static CURRENT: Context;
}

/// The context of the body that runs here, also inside plain functions; `None` outside of bodies.
///
/// It does not follow into tasks that a body starts by itself with `tokio::spawn`.
pub fn current() -> Option<Context> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Runs `body` with `context` as the current one.
pub(super) fn within(
    context: &Context,
    body: impl Future<Output = Verdict> + Send + 'static,
) -> BodyFuture {
    Box::pin(CURRENT.scope(context.clone(), body))
}

/// Why something that a body said was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// It cannot be written as JSON.
    #[error("it cannot be written as JSON: {0}")]
    Encode(#[from] serde_json::Error),
    /// It is too large; nothing was cut off silently.
    #[error("it has {bytes} bytes; at most {bytes_max} are taken")]
    TooLarge {
        /// Its size as JSON.
        bytes: usize,
        /// The largest that is taken.
        bytes_max: usize,
    },
    /// The attempt is over, or the manager is gone.
    #[error("the attempt is over")]
    Over,
}

/// What [`Context::recv_or_cancelled`] brought.
#[derive(Debug)]
pub enum Received {
    /// A message.
    Message(Message),
    /// The task was asked to stop; messages may wait.
    Cancelled(Arc<Stop>),
    /// There is no inbox, or it is closed and empty.
    Closed,
}

/// One attempt of a task, as its body sees it. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    core: Arc<Core>,
    attempt: Arc<Attempt>,
}

impl Context {
    pub(super) fn new(core: Arc<Core>, attempt: Attempt) -> Self {
        Self {
            core,
            attempt: Arc::new(attempt),
        }
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.attempt.epoch
    }

    /// The task's id.
    pub fn id(&self) -> TaskId {
        self.attempt.live.id
    }

    /// The task's name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.attempt
            .live
            .spec
            .name
            .as_ref()
            .map(crate::kernel::Name::as_str)
    }

    /// The names from the root down to this task, like `lead/docs`.
    pub fn path(&self) -> String {
        self.core.path(self.id())
    }

    /// The task's scope.
    pub fn scope(&self) -> &Scope {
        &self.attempt.live.spec.scope
    }

    /// The task's kind, if it has one.
    pub fn kind(&self) -> Option<&Kind> {
        self.attempt.live.spec.kind.as_ref()
    }

    /// The number of this attempt: 1 is the first.
    pub fn attempt(&self) -> u32 {
        self.attempt.number
    }

    /// The task above this one.
    pub fn parent(&self) -> Option<TaskId> {
        let record = self.core.hub.index.get(self.id());
        record.map_or(self.attempt.live.spec.parent, |record| record.parent)
    }

    /// The manager that supervises this task.
    pub fn manager(&self) -> Manager {
        Manager::over(Arc::clone(&self.core))
    }

    /// This task as others hold it.
    pub fn this(&self) -> TaskRef {
        TaskRef::new(Arc::clone(&self.core), self.id())
    }

    /// Begins a child of this name.
    pub fn task(&self, name: &str) -> TaskBuilder<Once> {
        self.unnamed().name(name)
    }

    /// Begins a child without a name.
    pub fn unnamed(&self) -> TaskBuilder<Once> {
        let scope = Ok(self.scope().clone());
        TaskBuilder::new(Arc::clone(&self.core), scope).below(self.id(), self.epoch())
    }

    /// Whether this attempt was asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.attempt.live.signal().is_asked()
    }

    /// Why this attempt was asked to stop, if it was.
    pub fn stop(&self) -> Option<Arc<Stop>> {
        self.attempt.live.signal().stop()
    }

    /// Waits until this attempt is asked to stop, and says why.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn cancelled(&self) -> Arc<Stop> {
        self.attempt.live.signal().asked().await
    }

    /// The request to stop as a token, for code that wants one. Cancelling it stops nothing else.
    pub fn token(&self) -> CancellationToken {
        self.attempt.live.signal().token()
    }

    /// The next message; waits for one. `None` when the inbox is closed and empty, or the attempt is over.
    ///
    /// # Cancel safety
    /// No message is lost when it is dropped.
    pub async fn recv(&self) -> Option<Message> {
        if !self.is_current() {
            return None;
        }
        let message = self.attempt.live.inbox.recv().await;
        self.touch();
        message
    }

    /// The next message, if one waits.
    pub fn try_recv(&self) -> Option<Message> {
        self.is_current()
            .then(|| self.attempt.live.inbox.try_recv())
            .flatten()
    }

    /// All messages that wait.
    pub fn drain(&self) -> Vec<Message> {
        if self.is_current() {
            self.attempt.live.inbox.drain()
        } else {
            Vec::new()
        }
    }

    /// The next message, or the request to stop, which goes first.
    ///
    /// # Cancel safety
    /// No message is lost when it is dropped.
    pub async fn recv_or_cancelled(&self) -> Received {
        tokio::select! {
            biased;
            stop = self.cancelled() => Received::Cancelled(stop),
            message = self.recv() => message.map_or(Received::Closed, Received::Message),
        }
    }

    /// Sends a message to the task at this address: an id, a path of this scope, or `parent`.
    ///
    /// # Errors
    /// [`SendError`] gives the message back.
    pub async fn send(
        &self,
        to: impl Into<Address>,
        message: impl Serialize,
    ) -> Result<Receipt, SendError> {
        let message = serde_json::to_value(message).map_err(SendError::Encode)?;
        let to = match to.into() {
            Address::Path(path) if path == "parent" => match self.parent() {
                Some(parent) => Address::Id(parent),
                None => {
                    return Err(SendError::NoSuchTask {
                        address: path,
                        message,
                    });
                }
            },
            Address::Path(path) if path == "self" => Address::Id(self.id()),
            to @ (Address::Id(_) | Address::Path(_)) => to,
        };
        send::deliver(
            &self.core,
            Some(self.scope()),
            to,
            Sender::Task(self.id()),
            message,
        )
    }

    /// Cancels this task's whole tree below another task; see [`TaskRef::cancel_tree`].
    ///
    /// # Errors
    /// [`CancelError`], as for [`TaskRef::cancel_tree`].
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting, not the cancelling.
    pub async fn cancel_tree(
        &self,
        id: TaskId,
        cancel: Cancel,
    ) -> Result<CancelReport, CancelError> {
        self.manager().task(id).cancel_tree(cancel).await
    }

    /// Reports how far the body is. The newest note stays in the record.
    ///
    /// # Errors
    /// [`NoteError`]: nothing was reported.
    ///
    /// # Cancel safety
    /// When it is dropped, the note may or may not be reported.
    pub async fn progress(&self, note: impl Serialize) -> Result<(), NoteError> {
        let payload = payload(&note, PROGRESS_BYTES_MAX)?;
        self.say(Note::Progress(payload)).await
    }

    /// Writes a piece of output, as an event.
    ///
    /// # Errors
    /// [`NoteError`]: nothing was written.
    ///
    /// # Cancel safety
    /// When it is dropped, the piece may or may not be written.
    pub async fn output(&self, piece: impl Serialize) -> Result<(), NoteError> {
        let payload = payload(&piece, PAYLOAD_BYTES_MAX)?;
        self.say(Note::Output(payload)).await
    }

    /// Emits an event of the body's own type.
    ///
    /// # Errors
    /// [`NoteError`]: nothing was emitted.
    ///
    /// # Cancel safety
    /// When it is dropped, the event may or may not be emitted.
    pub async fn emit(&self, label: &str, data: impl Serialize) -> Result<(), NoteError> {
        let payload = payload(&data, PAYLOAD_BYTES_MAX)?;
        self.say(Note::Emitted(label.into(), payload)).await
    }

    /// Gives a sign of life, which postpones the idle timeout.
    pub fn touch(&self) {
        self.core.hub.touch(&self.attempt.live);
    }

    pub(super) fn is_current(&self) -> bool {
        self.attempt.live.is_current(self.epoch())
    }

    async fn say(&self, note: Note) -> Result<(), NoteError> {
        self.touch();
        if !self.is_current() || self.attempt.live.done.get().is_some() {
            return Err(NoteError::Over);
        }
        let said = self.core.hub.gate.say(self.id(), self.epoch(), note).await;
        said.map_err(|_| NoteError::Over)
    }

    pub(super) fn parts(&self) -> (&Arc<Core>, &Attempt) {
        (&self.core, &self.attempt)
    }
}

fn payload(value: &impl Serialize, bytes_max: usize) -> Result<Payload, NoteError> {
    let json = serde_json::to_string(value)?;
    if json.len() > bytes_max {
        return Err(NoteError::TooLarge {
            bytes: json.len(),
            bytes_max,
        });
    }
    Ok(Payload::from_json(json))
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("task", &self.id())
            .field("attempt", &self.attempt())
            .finish()
    }
}

/// The JSON of a value that understory itself wrote.
pub(super) fn value_of(payload: &Payload) -> Value {
    serde_json::from_str(payload.as_json()).unwrap_or(Value::Null)
}
