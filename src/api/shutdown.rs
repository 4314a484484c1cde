//! Shutting down: refuse, cancel, settle, tell, stop.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::cancel::STORE_PATIENCE;
use super::core::Core;
use super::manager::Manager;
use crate::actors::{self, Hub, Shut};
use crate::kernel::{CancelReport, Reply, Requester, StopAsk};

/// What became of the tasks that lived when the manager was shut down.
pub type ShutdownReport = CancelReport;

/// Why the end of the tasks is not known.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// The manager had failed before; nothing of it runs.
    #[error("the manager had failed before it was shut down")]
    Gone,
    /// The store takes nothing; what was not durable is lost with this process.
    #[error("the store takes nothing, so the end of the tasks is not recorded: {0}")]
    StoreUnavailable(String),
}

impl Manager {
    /// Refuses new tasks, cancels all, waits until each has settled and is told, and stops the
    /// manager.
    ///
    /// Every caller gets the same report, whoever asked first; only the first grace counts. To
    /// leave what is not over to the next manager of a file instead, see [`Manager::leave`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use understory::{Manager, SpawnError};
    /// # let manager = Manager::in_memory();
    /// let scope = manager.scope("s");
    /// let task = scope
    ///     .task("t")
    ///     .spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) })
    ///     .await?;
    /// let report = manager.shutdown(Duration::ZERO).await?;
    /// assert_eq!(report.cancelled, [task.id()]);
    ///
    /// let late = scope.task("late").spawn(|_| async { Ok(()) }).await;
    /// assert!(matches!(late, Err(SpawnError::Unavailable(_))));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ShutdownError`]; the manager is stopped all the same.
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting, not the shutting down.
    pub async fn shutdown(&self, grace: Duration) -> Result<ShutdownReport, ShutdownError> {
        let core = &self.core;
        if !core.is_shutting_down.swap(true, Ordering::AcqRel) {
            let promise = Promise(Arc::clone(core));
            core.runtime.spawn(async move {
                let result = shut_down(&promise.0.hub, grace).await;
                promise.keep(result);
            });
        }
        core.shutdown.wait().await.clone()
    }
}

/// Every caller hears what came of it, also when the runtime is dropped before the end.
pub(super) struct Promise(Arc<Core>);

impl Promise {
    pub(super) const fn of(core: Arc<Core>) -> Self {
        Self(core)
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.0.hub
    }

    pub(super) fn keep(&self, result: Result<ShutdownReport, ShutdownError>) {
        // The first result stays: after it was kept, the drop changes nothing.
        let _is_first = self.0.shutdown.set(result).is_ok();
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.keep(Err(ShutdownError::Gone));
    }
}

async fn shut_down(hub: &Hub, grace: Duration) -> Result<ShutdownReport, ShutdownError> {
    let ask = StopAsk {
        reason: "the manager was shut down".into(),
        by: Requester::Host,
        grace: Some(grace),
        now: false,
    };
    let patience = hub.bounds.abort_window.saturating_add(STORE_PATIENCE);
    let longest = grace.saturating_add(patience);
    let asked = hub.gate.shutdown(ask.clone());
    tokio::pin!(asked);
    let report = loop {
        match tokio::time::timeout(longest, &mut asked).await {
            Ok(Ok(Reply::Cancelled(report))) => break Ok(*report),
            // The actors started anew; what they recovered is cancelled by asking again.
            Ok(Err(Shut::Restarted)) => asked.set(hub.gate.shutdown(ask.clone())),
            Ok(Ok(_) | Err(_)) => break Err(ShutdownError::Gone),
            Err(_) => {
                if let Some(why) = hub.trouble() {
                    break Err(ShutdownError::StoreUnavailable(why.to_string()));
                }
            }
        }
    };
    actors::stop(hub).await;
    report
}
