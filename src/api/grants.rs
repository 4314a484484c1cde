//! Grants: what a task lets scopes beside its own do with it, and with everything below it.
//!
//! *Not here*: the verbs that a grant allows (`guard`, `send`, `cancel`).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::cancel::{self, Cancel, CancelError};
use super::control::{self, ControlError};
use super::core::Core;
use super::handle::TaskRef;
use super::manager::Manager;
use super::scope::ScopeRef;
use crate::kernel::{
    CancelReport, Control, Controlled, Grant, GrantChange, GrantRefusal, Grants, InvalidText,
    Record, Scope, State, Target, TaskId,
};

/// Why no grant changed, or nobody knows whether it did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// The scope's name is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidText),
    /// No such task was ever accepted, or its record is no longer kept.
    #[error("no task {0} is known")]
    Unknown(TaskId),
    /// The task has ended: a grant of it can be taken back, and none can be given.
    #[error("the task is {state}; grants are given of live tasks")]
    Ended {
        /// How it ended.
        state: State,
    },
    /// The task is of that scope, which needs no grant.
    #[error("the task is of scope {0}, which needs no grant")]
    Owner(Scope),
    /// The scope holds none that could be passed on.
    #[error("scope {0} holds no grant of the task")]
    NotHeld(Scope),
    /// The scope is closed.
    #[error("scope {0} is closed; reopen it")]
    ScopeClosed(Scope),
    /// So many scopes hold grants of the task: the most that may.
    #[error("{0} scopes hold grants of the task already; revoke one")]
    TooMany(usize),
    /// The manager is gone, or was started anew before it answered.
    #[error(transparent)]
    Unanswered(ControlError),
}

impl TaskRef {
    /// Lets another scope go so far with this task and everything below it, instead of as far as
    /// it was let before. Its own scope needs no grant.
    ///
    /// A grant is of the task, not of its name: it survives failures of the manager, stays after
    /// the task has ended, so that its end can be read, and goes with its record, or when the
    /// scope that holds it is closed. Events of the task are not of that scope, and lists of the
    /// scope leave it out; see [`ScopeRef::granted`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use understory::{Cancel, CancelError, Grant, Manager};
    ///
    /// let manager = Manager::in_memory();
    /// let (mine, yours) = (manager.scope("mine"), manager.scope("yours"));
    /// let task = mine.task("t").spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) }).await?;
    /// assert!(yours.get(task.id()).is_none());
    ///
    /// task.grant("yours", Grant::Talk).await?;
    /// assert!(yours.get(task.id()).is_some());
    /// let refused = yours.cancel(task.id(), Cancel::because("no")).await;
    /// assert!(matches!(refused, Err(CancelError::Denied(_)))); // it may talk, no more
    /// yours.send(task.id(), "go on").await?;
    /// assert!(yours.wait(task.id()).await?.state.is_terminal());
    ///
    /// assert!(task.revoke("yours").await?);
    /// assert!(yours.get(task.id()).is_none());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`GrantError`]; unless it is `Unanswered`, nothing changed.
    ///
    /// # Cancel safety
    /// When it is dropped, the grant may have been given.
    pub async fn grant(&self, to: &str, grant: Grant) -> Result<(), GrantError> {
        let to = Scope::new(to)?;
        change(self, GrantChange::Give { to, grant }).await?;
        Ok(())
    }

    /// Takes the grant of a scope back; tells whether it held one. What it began goes on.
    ///
    /// # Errors
    /// [`GrantError`]; unless it is `Unanswered`, nothing changed.
    ///
    /// # Cancel safety
    /// When it is dropped, the grant may have been taken back.
    pub async fn revoke(&self, from: &str) -> Result<bool, GrantError> {
        let from = Scope::new(from)?;
        change(self, GrantChange::Take { from }).await
    }

    /// Gives the grant of one scope to another one, in one step.
    ///
    /// # Errors
    /// [`GrantError`]; unless it is `Unanswered`, nothing changed.
    ///
    /// # Cancel safety
    /// When it is dropped, the grant may have been passed on.
    pub async fn pass_grant(&self, from: &str, to: &str) -> Result<(), GrantError> {
        let (from, to) = (Scope::new(from)?, Scope::new(to)?);
        change(self, GrantChange::Pass { from, to }).await?;
        Ok(())
    }

    /// The scopes that hold a grant of this task itself, and how far each may go.
    pub fn grants(&self) -> Grants {
        let record = self.record();
        let grants = record.and_then(|record| record.grants.clone());
        grants.map_or_else(Grants::new, |grants| Grants::clone(&grants))
    }
}

async fn change(task: &TaskRef, change: GrantChange) -> Result<bool, GrantError> {
    let id = task.id();
    let answer = control::ask(task.core(), Control::Grant { id, change }).await;
    let Controlled::Granted(done) = answer.map_err(GrantError::Unanswered)? else {
        unreachable!("a change of grants is answered as one");
    };
    done.map_err(|refusal| match refusal {
        GrantRefusal::Unknown(id) => GrantError::Unknown(id),
        GrantRefusal::Ended(state) => GrantError::Ended { state },
        GrantRefusal::Owner(scope) => GrantError::Owner(scope),
        GrantRefusal::NotHeld(scope) => GrantError::NotHeld(scope),
        GrantRefusal::ScopeClosed(scope) => GrantError::ScopeClosed(scope),
        GrantRefusal::TooMany(max) => GrantError::TooMany(max),
    })
}

impl ScopeRef {
    /// The tasks of other scopes that this one holds a grant of, live or ended, oldest first. What
    /// is below them is not listed; see [`ScopeRef::children`].
    pub fn granted(&self) -> Vec<Arc<Record>> {
        let scope = self.scope.as_ref();
        scope.map_or_else(|_| Vec::new(), |scope| self.core.hub.index.granted(scope))
    }

    /// How far this scope may go with a task: `Cancel` if it is its own.
    pub fn may(&self, id: TaskId) -> Option<Grant> {
        self.core.may(self.scope.as_ref().ok()?, id)
    }

    /// Cancels every task that this scope may cancel, its own and granted ones, each with
    /// everything below it. See [`TaskRef::cancel_tree`].
    ///
    /// # Errors
    /// [`CancelError`]; see its variants for whether anything was stopped.
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting, not the cancelling.
    pub async fn cancel_visible(&self, cancel: Cancel) -> Result<CancelReport, CancelError> {
        let scope = self.scope.clone()?;
        cancel::ask(&self.core, Target::Visible(scope), cancel.ask()).await
    }
}

impl Manager {
    /// Cancels the trees that nobody refers to: those that go on in a closed scope, and no other
    /// scope holds a grant of any of their tasks. Trees with a task of `keep` go on.
    ///
    /// Closing a scope cancels nothing but what asked for that
    /// ([`on_scope_close`](crate::TaskBuilder::on_scope_close)), and tells which trees nobody
    /// refers to since ([`CloseReport::orphaned`](crate::CloseReport)). Handles and awaiting are
    /// no references, and tasks of open scopes are never meant.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Cancel, Grant, Manager};
    /// # let manager = Manager::in_memory();
    /// let session = manager.scope("session");
    /// let wait = |name: &str| session.task(name).spawn(|ctx| async move {
    ///     Ok(ctx.recv().await.is_some())
    /// });
    /// let (shared, left) = (wait("shared").await?, wait("left").await?);
    /// shared.grant("other", Grant::See).await?;
    /// let report = session.close(Cancel::because("bye")).await?;
    /// assert_eq!(report.orphaned, [left.id()]);
    /// let report = manager.cancel_unreferenced([], Cancel::because("nobody asks")).await?;
    /// assert_eq!(report.cancelled, [left.id()]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`CancelError`]; see its variants for whether anything was stopped.
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting, not the cancelling.
    pub async fn cancel_unreferenced(
        &self,
        keep: impl IntoIterator<Item = TaskId>,
        cancel: Cancel,
    ) -> Result<CancelReport, CancelError> {
        let keep: BTreeSet<_> = keep.into_iter().collect();
        cancel::ask(&self.core, Target::Unreferenced(keep), cancel.ask()).await
    }
}

impl Core {
    /// How far a scope may go with a task, as its own or by a grant of it or of one above it.
    pub(super) fn may(&self, scope: &Scope, id: TaskId) -> Option<Grant> {
        let is_own = |record: &Record| record.scope() == scope;
        if self.hub.index.look(id, is_own)? {
            return Some(Grant::Cancel);
        }
        let (mut furthest, mut at) = (None, self.hub.index.get(id));
        while let Some(record) = at {
            let grants = record.grants.as_ref();
            furthest = furthest.max(grants.and_then(|grants| grants.get(scope).copied()));
            at = record.parent.and_then(|above| self.hub.index.get(above));
        }
        furthest
    }
}
