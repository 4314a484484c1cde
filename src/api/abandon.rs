//! Giving up on a task that is being stopped and does not react.

use super::cancel::Cancel;
use super::control::{self, ControlError};
use super::handle::TaskRef;
use crate::kernel::{AbandonRefusal, Control, Controlled, State, StopAsk, Target, TaskId};

/// Why a task was not given up. Unless it is `Unanswered`, nothing happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AbandonError {
    /// No such task was ever accepted, or its record is no longer kept.
    #[error("no task {0} is known")]
    Unknown(TaskId),
    /// It was not asked to stop, or has ended: cancel it first.
    #[error("the task is not being stopped but {state}; cancel it first")]
    NotStopping {
        /// What it is instead.
        state: State,
    },
    /// The host's policy for cancels refused it; see [`Builder::allow_cancel`].
    ///
    /// [`Builder::allow_cancel`]: crate::Builder::allow_cancel
    #[error("giving up on task {0} was refused")]
    Denied(TaskId),
    /// The manager is gone, or was started anew before it answered.
    #[error(transparent)]
    Unanswered(ControlError),
}

impl TaskRef {
    /// Gives up on a task that is being stopped, and on all below it that is: it settles now,
    /// as cancelled or timed out, and nobody waits any longer for its grace or for its body.
    ///
    /// Bodies are forced, unless they are cooperative, and fenced: what they still say and
    /// return is lost. Their slots, names and keys stay held until they have stopped. The record
    /// keeps why and by whom a task was given up first. Tasks below that were not asked to stop
    /// are treated as their `on_parent_end` says, and waited for. An external task settles
    /// although its callback still runs.
    ///
    /// Returns the tasks whose bodies are no longer waited for; none, if only children were.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use understory::{AbandonError, Cancel, Manager, State};
    /// # let manager = Manager::in_memory();
    /// let task = manager.scope("s").task("t");
    /// let deaf = task.spawn(|_| async { Ok(std::future::pending::<()>().await) }).await?;
    /// let refused = deaf.abandon("no patience").await;
    /// assert!(matches!(refused, Err(AbandonError::NotStopping { .. })));
    ///
    /// let patient = Cancel::because("enough").grace(Duration::from_hours(1));
    /// let task = deaf.task();
    /// let cancelled = tokio::spawn(async move { task.cancel(patient).await });
    /// while deaf.state() != Some(State::CancelRequested) {
    ///     tokio::task::yield_now().await;
    /// }
    /// assert_eq!(deaf.abandon("no patience").await?, [deaf.id()]);
    /// assert_eq!(cancelled.await??.abandoned, [deaf.id()]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`AbandonError`] says in which state the task is instead.
    ///
    /// # Cancel safety
    /// When it is dropped, the task may have been given up.
    pub async fn abandon(&self, reason: &str) -> Result<Vec<TaskId>, AbandonError> {
        let (id, ask) = (self.id(), Cancel::because(reason).now().ask());
        let core = self.core();
        if core.hooks.judges_cancels() && !core.allows(&Target::Tree(id), &ask).await {
            return Err(AbandonError::Denied(id));
        }
        let StopAsk { reason, by, .. } = ask;
        let answer = control::ask(core, Control::Abandon { id, reason, by }).await;
        let Controlled::Abandoned(done) = answer.map_err(AbandonError::Unanswered)? else {
            unreachable!("a request to abandon is answered as one");
        };
        done.map_err(|refusal| match refusal {
            AbandonRefusal::Unknown(id) => AbandonError::Unknown(id),
            AbandonRefusal::NotStopping(state) => AbandonError::NotStopping { state },
        })
    }
}
