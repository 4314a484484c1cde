//! Interrupting a running body: it takes note and goes on, unlike after a cancel.
//!
//! *Not here*: cancels (`cancel`), messages that also interrupt (`send`).

use std::sync::Arc;

use super::ask::requester;
use super::context::Context;
use super::handle::TaskRef;
use super::manager::Manager;
use crate::actors::Shut;
use crate::kernel::{Input, Interrupt, InterruptRefusal, Reply, State, TaskId};

/// Why a body was not interrupted. Except for [`InterruptError::Restarted`], nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InterruptError {
    /// No such task was ever accepted, or its record is no longer kept.
    #[error("no task {0} is known")]
    Unknown(TaskId),
    /// No body of it runs, or it was asked to stop: a stop goes before an interrupt.
    #[error("the task cannot be interrupted: it is {state}")]
    NotRunning {
        /// Its state.
        state: State,
    },
    /// The manager was shut down or has failed: nothing runs any more.
    #[error("the manager is gone")]
    Gone,
    /// The manager was started anew before it answered; the body that ran is gone.
    #[error("the manager was started anew")]
    Restarted,
}

impl Context {
    /// Waits until this attempt is interrupted, takes the interrupt and tells why.
    ///
    /// An interrupt is no request to stop: the task goes on and can be interrupted again. One that
    /// comes while nobody waits is kept, and of several the newest; each is taken by one caller. A
    /// cancel does not end this wait: after it nothing interrupts any more.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{InterruptError, Manager};
    /// # let manager = Manager::in_memory();
    /// let writer = manager.scope("s").task("writer").spawn(|ctx| async move {
    ///     let long_thought = std::future::pending::<()>();
    ///     tokio::select! {
    ///         () = long_thought => Ok("done".to_owned()),
    ///         why = ctx.interrupted() => Ok(format!("asked to {}", why.reason)),
    ///     }
    /// });
    /// let writer = writer.await?;
    /// while let Err(error) = writer.interrupt("look at the inbox").await {
    ///     assert!(matches!(error, InterruptError::NotRunning { .. })); // not yet
    ///     tokio::task::yield_now().await;
    /// }
    /// assert_eq!(writer.await?, "asked to look at the inbox");
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    /// No interrupt is lost when it is dropped.
    pub async fn interrupted(&self) -> Arc<Interrupt> {
        self.attempt.signal.interrupted().await
    }

    /// Whether an interrupt waits to be taken.
    pub fn is_interrupted(&self) -> bool {
        self.attempt.signal.is_interrupted()
    }
}

impl TaskRef {
    /// Interrupts the running body of this task, which decides what it makes of it. See
    /// [`Context::interrupted`] for an example.
    ///
    /// # Errors
    /// [`InterruptError::NotRunning`] when no body runs or the task was asked to stop.
    ///
    /// # Cancel safety
    /// When it is dropped, the body may or may not be interrupted.
    pub async fn interrupt(&self, reason: impl Into<String>) -> Result<(), InterruptError> {
        interrupt(self, reason.into()).await
    }
}

impl Manager {
    /// Interrupts the running body of the task of this id. See [`TaskRef::interrupt`].
    ///
    /// # Errors
    /// [`InterruptError::NotRunning`] when no body runs or the task was asked to stop.
    ///
    /// # Cancel safety
    /// When it is dropped, the body may or may not be interrupted.
    pub async fn interrupt(
        &self,
        task: TaskId,
        reason: impl Into<String>,
    ) -> Result<(), InterruptError> {
        interrupt(&self.task(task), reason.into()).await
    }
}

pub(super) async fn interrupt(task: &TaskRef, reason: String) -> Result<(), InterruptError> {
    let (id, by) = (task.id(), requester());
    let reason: Arc<str> = crate::engine::cut(reason).into();
    let asked = task.core().hub.gate.ask(move |ticket| Input::Interrupt {
        ticket,
        id,
        reason,
        by,
    });
    match asked.await {
        Ok(Reply::Interrupted(result)) => result.map_err(|refusal| match refusal {
            InterruptRefusal::Unknown(id) => InterruptError::Unknown(id),
            InterruptRefusal::NotRunning(state) => InterruptError::NotRunning { state },
        }),
        Err(Shut::Restarted) => Err(InterruptError::Restarted),
        Ok(_) | Err(_) => Err(InterruptError::Gone),
    }
}
