//! Draining: nothing new from outside, and what lives comes to its own end.
//!
//! # Invariants
//! 1. Bodies go on as before, also when they start tasks; everybody else is refused.
//!
//! *Not here*: stopping what is left (`shutdown`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;

use super::context;
use super::core::Core;
use super::handle::TaskRef;
use super::manager::Manager;
use super::shutdown::{ShutdownError, ShutdownReport};
use crate::kernel::{Epoch, Filter, TaskId};

impl Manager {
    /// Refuses new tasks from outside, lets all that live come to their end, at most for `within`,
    /// and then shuts down as [`Manager::shutdown`] does: what is left is cancelled with `grace`.
    ///
    /// Bodies may go on to start tasks, which are waited for as well; pending tasks begin, and
    /// suspended ones can be resumed. A [`Manager::shutdown`] meanwhile cancels at once.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use understory::{Manager, State};
    /// # let manager = Manager::in_memory();
    /// let task = manager.scope("s").task("t").spawn(|_| async { Ok(7) }).await?;
    /// let report = manager.drain(Duration::from_secs(60), Duration::from_secs(5)).await?;
    /// assert!(report.cancelled.is_empty());
    /// assert_eq!(task.state(), Some(State::Completed));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ShutdownError`]; the manager is stopped all the same.
    ///
    /// # Cancel safety
    /// When it is dropped before the shutdown began, new tasks stay refused, and nothing is
    /// stopped: call it again, or [`Manager::shutdown`].
    pub async fn drain(
        &self,
        within: Duration,
        grace: Duration,
    ) -> Result<ShutdownReport, ShutdownError> {
        self.core.is_draining.store(true, Ordering::Release);
        let idle = async { timeout(within, self.until_idle()).await };
        if self.core.within(idle).await.is_err() {
            tracing::warn!(live = self.live(), "the time to drain is over");
        }
        self.shutdown(grace).await
    }

    /// Waits until no task lives, or nothing is decided any more.
    async fn until_idle(&self) {
        let core = &self.core;
        // Tasks of before are shown then.
        let _has_begun = core.hub.recovered().await;
        while core.hub.gate.is_open().is_ok() {
            let (_, mut live) = core.hub.index.snapshot(&Filter::all());
            live.extend(core.hub.index.snapshot(&Filter::all().hidden()).1);
            if live.is_empty() {
                return;
            }
            for record in live {
                let task = TaskRef::new(Arc::clone(core), record.id);
                if task.settled().await.is_err() {
                    // Its record went before it was looked at: the next round tells.
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

/// Whether whoever asks for a task now is refused: it is no body of this manager, and no task that
/// a body started by itself asks with that one's context.
pub(super) fn refuses(core: &Arc<Core>, by: Option<(TaskId, Epoch)>) -> bool {
    core.is_draining.load(Ordering::Acquire)
        && by.is_none()
        && context::current().is_none_or(|here| !Arc::ptr_eq(here.core(), core))
}
