//! Leaving: nothing runs here any more, and what was not over is left to the next manager.
//!
//! *Not here*: cancelling everything (`shutdown`), what the next one makes of it
//! (`kernel/supervisor/recover.rs`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::manager::Manager;
use super::shutdown::{Promise, ShutdownError, ShutdownReport};
use crate::actors;

impl Manager {
    /// Refuses new tasks and stops the manager, without cancelling anything: the records stay as
    /// they are, and whoever opens the file next goes on from them.
    ///
    /// Bodies are dropped at their next `.await`; for the next manager their process has died, so
    /// that each has used up an attempt. What was suspended or pending stays so. Without a store
    /// that lasts, everything is gone. A manager that shuts down already does that, and this waits
    /// for it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use serde_json::Value;
    /// use std::sync::Arc;
    /// use understory::store::MemoryStore;
    /// use understory::{Context, Failure, Manager, State};
    ///
    /// async fn review(ctx: Context, _: Value) -> Result<Value, Failure> {
    ///     ctx.resumed().ok_or_else(|| ctx.suspend("please look at this"))
    /// }
    /// let store = Arc::new(MemoryStore::new()); // or a file: `Builder::open`
    /// let builder = || Manager::builder().executor("review", review).store(Arc::clone(&store));
    ///
    /// let manager = builder().build()?;
    /// let task = manager.scope("s").task("t").spawn_kind("review", ()).await?;
    /// let id = task.id();
    /// while task.state() != Some(State::Suspended) {
    ///     tokio::task::yield_now().await;
    /// }
    /// manager.leave().await?;
    ///
    /// let manager = builder().build()?; // days later
    /// manager.task(id).resume("fine").await?;
    /// assert_eq!(manager.task(id).settled().await?.state, State::Completed);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ShutdownError`]; the manager is stopped all the same.
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting, not the leaving.
    pub async fn leave(&self) -> Result<(), ShutdownError> {
        let core = &self.core;
        if !core.is_shutting_down.swap(true, Ordering::AcqRel) {
            let promise = Promise::of(Arc::clone(core));
            core.runtime.spawn(async move {
                actors::stop(promise.hub()).await;
                promise.keep(Ok(ShutdownReport::default()));
            });
        }
        core.shutdown.wait().await.clone().map(drop)
    }
}
