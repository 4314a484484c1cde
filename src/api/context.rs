//! What a body is handed: who it is, its inbox, its stop signal, and what it may begin.
//!
//! *Not here*: what it says of itself (`note`), sending (`send`), awaiting others (`wait`).

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::builder::{Once, TaskBuilder};
use super::cancel::{Cancel, CancelError};
use super::core::Core;
use super::handle::TaskRef;
use super::manager::Manager;
use crate::engine::{Attempt, BodyFuture, Verdict};
use crate::inbox::Message;
use crate::kernel::{CancelReport, Epoch, Kind, Scope, Stop, TaskId};

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
    pub(super) core: Arc<Core>,
    pub(super) attempt: Arc<Attempt>,
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

    pub(super) fn is_current(&self) -> bool {
        self.attempt.live.is_current(self.epoch())
    }

    pub(super) fn parts(&self) -> (&Arc<Core>, &Attempt) {
        (&self.core, &self.attempt)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("task", &self.id())
            .field("attempt", &self.attempt())
            .finish()
    }
}
