//! Where a task stands among others: below which one, after which ones, what it shares their end
//! with.
//!
//! *Not here*: what follows when one of them ends (`kernel`), other wishes (`builder`).

use std::sync::Arc;

use super::builder::TaskBuilder;
use super::context;
use crate::kernel::{Epoch, OnParentEnd, OnScopeClose, TaskId};

impl<Mode> TaskBuilder<Mode> {
    /// Hangs it below this task of the same scope, instead of the current one.
    pub fn parent(self, parent: TaskId) -> Self {
        self.set(|spec| spec.parent = Some(parent))
    }

    /// Makes it a root, also inside a body.
    pub fn root(self) -> Self {
        self.set(|spec| spec.parent = None)
    }

    /// Lets it wait until these tasks have completed; if one ends otherwise, it is cancelled.
    ///
    /// A dependency that is above the task would wait for it and is refused.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Failure, Manager, State};
    /// # let manager = Manager::in_memory();
    /// let scope = manager.scope("build");
    /// let fetch = scope.task("fetch").spawn(|_| async { Ok(()) }).await?;
    /// let build = scope
    ///     .task("build")
    ///     .after([fetch.id()])
    ///     .spawn(|_| async { Ok(()) })
    ///     .await?;
    /// assert_eq!(build.settled().await?.state, State::Completed);
    ///
    /// let broken = scope
    ///     .task("broken")
    ///     .spawn(|_| async { Err::<(), _>(Failure::new("no network")) })
    ///     .await?;
    /// let never = scope.task("never").after([broken.id()]).spawn(|_| async { Ok(()) }).await?;
    /// assert_eq!(never.settled().await?.state, State::Cancelled);
    /// # Ok(()) }
    /// ```
    pub fn after(self, tasks: impl IntoIterator<Item = TaskId>) -> Self {
        self.set(|spec| spec.after.extend(tasks))
    }

    /// Says what becomes of it when its parent's body ends. By default the parent waits for it
    /// after `Ok`, and cancels it otherwise.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Manager, OnParentEnd};
    /// # let manager = Manager::in_memory();
    /// let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
    ///     let errand = ctx.task("errand").on_parent_end(OnParentEnd::Detach);
    ///     let errand = errand.spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) }).await?;
    ///     Ok(errand.id().to_string())
    /// });
    /// let errand = manager.task(lead.await?.await?.parse()?); // the lead did not wait for it
    /// assert_eq!(errand.path(), "errand"); // and it is a root now
    /// # Ok(()) }
    /// ```
    pub fn on_parent_end(self, policy: OnParentEnd) -> Self {
        self.set(|spec| spec.on_parent_end = Some(policy))
    }

    /// Says what becomes of it when its scope is closed; by default it is as the task above it, and
    /// a root is kept. See [`ScopeRef::close`](crate::ScopeRef::close).
    pub fn on_scope_close(self, policy: OnScopeClose) -> Self {
        self.set(|spec| spec.on_scope_close = Some(policy))
    }

    pub(super) fn below(self, parent: TaskId, epoch: Epoch) -> Self {
        let mut this = self.parent(parent);
        this.by = Some((parent, epoch));
        this
    }

    /// Hangs it below the current body's task, if that is of this manager and scope.
    pub(super) fn below_current(self) -> Self {
        let Some(context) = context::current() else {
            return self;
        };
        let is_here = Arc::ptr_eq(context.core(), &self.core);
        let scope = self.spec.as_ref().map(|spec| &spec.scope);
        if is_here && scope == Some(&context.scope()) {
            let (id, epoch) = (context.id(), context.epoch());
            return self.below(id, epoch).inheriting(context.spec());
        }
        self
    }
}
