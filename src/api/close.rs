//! Closing a scope and opening it again.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::cancel::Cancel;
use super::control::{self, ControlError};
use super::scope::ScopeRef;
use crate::kernel::{CloseRefusal, CloseReport, Control, Controlled, InvalidText};

/// Why a scope was not closed, or nobody knows whether it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// The scope's name is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidText),
    /// Tasks live in it; nothing happened.
    #[error("{0} tasks live in the scope; wait for their ends or close it with `close`")]
    Active(usize),
    /// The manager is gone, or was started anew before it answered.
    #[error(transparent)]
    Unanswered(ControlError),
}

impl ScopeRef {
    /// Closes this scope: each live task is kept, cancelled or transferred as it says, and new ones
    /// are refused until the scope is opened again.
    ///
    /// A task that said nothing is treated as the one above it, and a root is kept. Bodies that are
    /// kept may still spawn children. It returns when those that are cancelled have settled, within
    /// the grace, the [`abort_window`](crate::Builder::abort_window) and half a second.
    ///
    /// The scope stays closed until it is opened again; a store keeps that beyond the process.
    /// [`Builder::closed_scope`](crate::Builder::closed_scope) closes one from the beginning.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Cancel, Context, Failure, Manager, OnScopeClose};
    /// # let manager = Manager::in_memory();
    /// async fn serve(ctx: Context) -> Result<(), Failure> {
    ///     ctx.cancelled().await;
    ///     Ok(())
    /// }
    ///
    /// let session = manager.scope("session-7");
    /// let kept = session.task("indexer").spawn(serve).await?;
    /// let ends = session.task("typing").on_scope_close(OnScopeClose::Cancel);
    /// let ends = ends.spawn(serve).await?;
    /// let report = session.close(Cancel::because("the session is over")).await?;
    /// assert_eq!((report.kept, report.cancelled), (vec![kept.id()], vec![ends.id()]));
    /// assert!(session.task("late").spawn(serve).await.is_err());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`CloseError`]; unless it is `Unanswered`, nothing happened.
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting, not the closing.
    pub async fn close(&self, cancel: Cancel) -> Result<CloseReport, CloseError> {
        self.ask_close(cancel, false).await
    }

    /// Closes this scope if no task lives in it.
    ///
    /// # Errors
    /// [`CloseError::Active`] when a task does; the others as for [`ScopeRef::close`].
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting, not the closing.
    pub async fn close_if_idle(&self) -> Result<CloseReport, CloseError> {
        self.ask_close(Cancel::because("the scope was closed"), true)
            .await
    }

    /// Opens this scope again; tells whether it was closed.
    ///
    /// # Errors
    /// [`ControlError`] when the scope's name is not valid, or the manager is gone or was started
    /// anew.
    ///
    /// # Cancel safety
    /// When it is dropped, the scope may have been opened.
    pub async fn reopen(&self) -> Result<bool, ControlError> {
        let scope = self.scope.clone()?;
        let answer = control::ask(&self.core, Control::Reopen(scope)).await?;
        let Controlled::Reopened(was_closed) = answer else {
            unreachable!("an opening is answered as one");
        };
        Ok(was_closed)
    }

    /// Whether this scope is closed.
    pub fn is_closed(&self) -> bool {
        let scope = self.scope.as_ref();
        scope.is_ok_and(|scope| self.core.hub.closed().contains(scope))
    }

    async fn ask_close(
        &self,
        cancel: Cancel,
        only_if_idle: bool,
    ) -> Result<CloseReport, CloseError> {
        let (scope, ask) = (self.scope.clone()?, cancel.ask());
        let ask = Control::Close {
            scope,
            ask,
            only_if_idle,
        };
        // It may have to wait for its turn: whoever drops the future has asked all the same.
        // Without a runtime nobody could go on with it.
        let answer = if let Ok(runtime) = Handle::try_current() {
            let core = Arc::clone(&self.core);
            let asked = runtime.spawn(async move { control::ask(&core, ask).await });
            // It only ends otherwise when the runtime does.
            asked.await.unwrap_or(Err(ControlError::Gone))
        } else {
            control::ask(&self.core, ask).await
        };
        let Controlled::Closed(closed) = answer.map_err(CloseError::Unanswered)? else {
            unreachable!("a close is answered as one");
        };
        let closed = closed.map(|report| *report);
        closed.map_err(|CloseRefusal::Active(live)| CloseError::Active(live))
    }
}
