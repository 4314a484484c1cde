//! Moving live tasks to another scope.

use super::control::{self, ControlError};
use super::handle::TaskRef;
use super::manager::Manager;
use crate::kernel::{
    Control, Controlled, InvalidText, Scope, TaskId, TransferRefusal, TransferReport,
};

/// Why nothing was moved, or nobody knows whether it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The scope's name is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidText),
    /// The tasks cannot be moved as they are; nothing happened.
    #[error("{}", describe(.0))]
    Refused(TransferRefusal),
    /// The manager is gone, or was started anew before it answered.
    #[error(transparent)]
    Unanswered(ControlError),
}

fn describe(refusal: &TransferRefusal) -> String {
    match refusal {
        TransferRefusal::ScopeClosed(scope) => format!("scope {scope} is closed; reopen it"),
        TransferRefusal::NameTaken(name, holder) => {
            format!("the name {name} is held by task {holder} there; wait for its end")
        }
        TransferRefusal::KeyTaken(task) => format!("a key is bound to task {task} there"),
        TransferRefusal::FlightTaken(task) => format!("task {task} is in flight there"),
        TransferRefusal::BelowAnother(task, parent) => {
            format!("{task} is below {parent}, which stays; transfer the root of the tree")
        }
        TransferRefusal::LimitReached(full) => format!(
            "{} has no room: {} of {} in use, {} waiting; wait for one to end or raise the limit",
            full.class, full.in_use, full.size, full.waiting
        ),
    }
}

impl Manager {
    /// Moves these tasks, each with everything below it, to another scope: all of them or none.
    ///
    /// Bodies run on, and what they say is of the new scope from then on. Names and keys move with
    /// their tasks and must be free there; the limit of the scope is asked again. Tasks that have
    /// settled stay where they are and are listed, unknown ids are listed, too, and what is in the
    /// scope already stays there.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::Manager;
    /// # let manager = Manager::in_memory();
    /// let (old, new) = (manager.scope("old"), manager.scope("new"));
    /// let task = old
    ///     .task("watcher")
    ///     .spawn(|ctx| async move {
    ///         ctx.recv().await;
    ///         Ok(ctx.scope().to_string())
    ///     })
    ///     .await?;
    /// let report = manager.transfer([task.id()], "new").await?;
    /// assert_eq!(report.moved, [task.id()]);
    /// assert_eq!((old.find("watcher"), new.find("watcher")), (None, Some(task.id())));
    /// task.send("where are you?").await?;
    /// assert_eq!(task.await?, "new");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`TransferError`]; unless it is `Unanswered`, nothing was moved.
    ///
    /// # Cancel safety
    /// When it is dropped, the tasks may have been moved.
    pub async fn transfer(
        &self,
        tasks: impl IntoIterator<Item = TaskId>,
        to: &str,
    ) -> Result<TransferReport, TransferError> {
        let to = Scope::new(to)?;
        let ids = tasks.into_iter().collect();
        let answer = control::ask(&self.core, Control::Transfer { ids, to }).await;
        let Controlled::Transferred(done) = answer.map_err(TransferError::Unanswered)? else {
            unreachable!("a transfer is answered as one");
        };
        done.map(|report| *report).map_err(TransferError::Refused)
    }
}

impl TaskRef {
    /// Moves this task, with everything below it, to another scope; see [`Manager::transfer`].
    ///
    /// # Errors
    /// [`TransferError`]; unless it is `Unanswered`, nothing was moved.
    ///
    /// # Cancel safety
    /// When it is dropped, the task may have been moved.
    pub async fn transfer(&self, to: &str) -> Result<TransferReport, TransferError> {
        let manager = Manager::over(self.core().clone());
        manager.transfer([self.id()], to).await
    }
}
