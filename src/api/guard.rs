//! What a scope lets its holder do with single tasks: with its own, and as far as it was granted.
//!
//! # Invariants
//! 1. Every verb of a scope looks at the owner and the grants of the task first. A task of another
//!    scope is answered as one that never was, so that nothing of it leaks, unless this scope holds
//!    a grant of it or of one above it.
//! 2. Whether a cancel is granted is looked at again in the step that decides it.
//!
//! *Not here*: verbs on the whole scope (each in its file), the verbs themselves (`handle`).

use std::sync::Arc;

use serde::Serialize;

use super::cancel::{self, Cancel, CancelError};
use super::handle::TaskRef;
use super::scope::ScopeRef;
use super::suspend::ResumeError;
use super::wait::WaitError;
use crate::kernel::{CancelReport, Grant, InvalidText, Record, Scope, Target, TaskId};

/// Why a scope does not give a task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerError {
    /// No such task is known, or it is not to be known that it is another scope's.
    #[error("no task {0} is known here")]
    NotFound(TaskId),
    /// It belongs to another scope. Only [`TrustedScope`] says so.
    #[error("task {task} belongs to scope {owner}")]
    NotOwner {
        /// The task.
        task: TaskId,
        /// Whose it is.
        owner: Scope,
    },
    /// The scope's name is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidText),
}

/// A scope for code that may know of others: it tells a foreign task from an unknown one.
#[derive(Clone, Debug)]
pub struct TrustedScope {
    scope: ScopeRef,
}

impl TrustedScope {
    /// The task of this id, if it is this scope's.
    ///
    /// # Errors
    /// [`OwnerError::NotOwner`] names the scope that has it.
    pub fn owned(&self, id: TaskId) -> Result<TaskRef, OwnerError> {
        self.scope.look_up(id)
    }
}

impl ScopeRef {
    /// This scope, for code that is trusted with the names of others.
    pub fn trusted(&self) -> TrustedScope {
        let scope = self.clone();
        TrustedScope { scope }
    }

    /// The task of this id, if it is this scope's own, not only granted. Use it for every verb that
    /// this scope has not.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Manager, OwnerError};
    /// # let manager = Manager::in_memory();
    /// let task = manager.scope("mine").task("t").spawn(|_| async { Ok(()) }).await?;
    /// assert!(manager.scope("mine").owned(task.id()).is_ok());
    /// let foreign = manager.scope("yours").owned(task.id());
    /// assert_eq!(foreign.err(), Some(OwnerError::NotFound(task.id())));
    /// let foreign = manager.scope("yours").trusted().owned(task.id());
    /// assert!(matches!(foreign, Err(OwnerError::NotOwner { .. })));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], also for a task of another scope.
    pub fn owned(&self, id: TaskId) -> Result<TaskRef, OwnerError> {
        self.look_up(id).map_err(|error| match error {
            OwnerError::NotOwner { task, .. } => OwnerError::NotFound(task),
            other @ (OwnerError::NotFound(_) | OwnerError::Invalid(_)) => other,
        })
    }

    fn look_up(&self, id: TaskId) -> Result<TaskRef, OwnerError> {
        let scope = self.scope.as_ref().map_err(Clone::clone)?;
        let record = self.core.hub.index.get(id);
        let record = record.ok_or(OwnerError::NotFound(id))?;
        if record.scope() == scope {
            return Ok(TaskRef::new(Arc::clone(&self.core), id));
        }
        let owner = record.scope().clone();
        Err(OwnerError::NotOwner { task: id, owner })
    }

    /// The durable record of a task of this scope, or one that it may see.
    pub fn get(&self, id: TaskId) -> Option<Arc<Record>> {
        self.may(id)?;
        self.core.hub.index.get(id)
    }

    /// The live tasks directly below a task of this scope, or one that it may see, in order of
    /// acceptance.
    pub fn children(&self, id: TaskId) -> Vec<Arc<Record>> {
        match self.may(id) {
            Some(_) => self.core.hub.index.children(id),
            None => Vec::new(),
        }
    }

    /// Cancels a task of this scope, or one that it may cancel. See [`TaskRef::cancel`].
    ///
    /// # Errors
    /// [`CancelError::Unknown`] also for a task of another scope that it may not see,
    /// [`CancelError::Denied`] for one that it may see and not cancel.
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting, not the cancelling, once the manager has
    /// begun.
    pub async fn cancel(&self, id: TaskId, cancel: Cancel) -> Result<CancelReport, CancelError> {
        let scope = self.may_cancel(id).await?;
        cancel::ask(&self.core, Target::OneFor(scope, id), cancel.ask()).await
    }

    /// Cancels a task of this scope, or one that it may cancel, and everything below it.
    /// See [`TaskRef::cancel_tree`].
    ///
    /// # Errors
    /// As for [`ScopeRef::cancel`].
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting, not the cancelling, once the manager has
    /// begun.
    pub async fn cancel_tree(
        &self,
        id: TaskId,
        cancel: Cancel,
    ) -> Result<CancelReport, CancelError> {
        let scope = self.may_cancel(id).await?;
        cancel::ask(&self.core, Target::TreeFor(scope, id), cancel.ask()).await
    }

    /// The same when tasks of before are shown.
    async fn may_now(&self, id: TaskId) -> Option<Grant> {
        let _has_begun = self.core.hub.recovered().await;
        self.may(id)
    }

    async fn may_cancel(&self, id: TaskId) -> Result<Scope, CancelError> {
        match (self.may_now(id).await, &self.scope) {
            (Some(Grant::Cancel), Ok(scope)) => Ok(scope.clone()),
            (Some(_), _) => Err(CancelError::Denied(Some(id))),
            (None, _) => Err(CancelError::Unknown(id)),
        }
    }

    /// Waits until a task of this scope, or one that it may see, has settled. See
    /// [`TaskRef::settled`].
    ///
    /// # Errors
    /// [`WaitError::Gone`] also for a task of another scope that it may not see.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn wait(&self, id: TaskId) -> Result<Arc<Record>, WaitError> {
        self.may_now(id).await.ok_or(WaitError::Gone(id))?;
        TaskRef::new(Arc::clone(&self.core), id).settled().await
    }

    /// Continues a suspended task of this scope, or one that it may talk to. See
    /// [`TaskRef::resume`].
    ///
    /// # Errors
    /// [`ResumeError::Unknown`] also for a task of another scope that it may not see,
    /// [`ResumeError::Denied`] for one that it may only see.
    ///
    /// # Cancel safety
    /// When it is dropped, the task may or may not be resumed.
    pub async fn resume(&self, id: TaskId, data: impl Serialize) -> Result<(), ResumeError> {
        match self.may_now(id).await {
            None => Err(ResumeError::Unknown(id)),
            Some(Grant::See) => Err(ResumeError::Denied(id)),
            Some(Grant::Talk | Grant::Cancel) => {
                TaskRef::new(Arc::clone(&self.core), id).resume(data).await
            }
        }
    }
}
