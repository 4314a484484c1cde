//! Shutting down: refuse, cancel, settle, tell, stop.

use std::time::Duration;

use super::manager::Manager;
use crate::actors::{self, Shut};
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
    /// Every caller gets the same report, whoever asked first; only the first grace counts.
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
    /// If every caller is dropped the shutdown pauses until somebody calls again; tasks are stopped
    /// all the same.
    pub async fn shutdown(&self, grace: Duration) -> Result<ShutdownReport, ShutdownError> {
        let result = self
            .core
            .shutdown
            .get_or_init(|| self.shut_down(grace))
            .await;
        result.clone()
    }

    async fn shut_down(&self, grace: Duration) -> Result<ShutdownReport, ShutdownError> {
        let hub = &self.core.hub;
        let reason = "the manager was shut down".into();
        let ask = StopAsk {
            reason,
            by: Requester::Host,
            grace: Some(grace),
        };
        let patience = hub
            .bounds
            .abort_window
            .saturating_add(Duration::from_millis(500));
        let longest = grace.saturating_add(patience);
        let asked = hub.gate.shutdown(ask);
        tokio::pin!(asked);
        let report = loop {
            match tokio::time::timeout(longest, &mut asked).await {
                Ok(Ok(Reply::Cancelled(report))) => break Ok(report),
                Ok(Err(Shut::Restarted)) => {
                    // The actors started anew; what they recovered is cancelled by asking again.
                    let reason = "the manager was shut down".into();
                    let by = Requester::Host;
                    asked.set(hub.gate.shutdown(StopAsk {
                        reason,
                        by,
                        grace: Some(grace),
                    }));
                }
                Ok(Ok(_) | Err(_)) => break Err(ShutdownError::Gone),
                Err(_) => {
                    if let Some(why) = hub.sickness() {
                        break Err(ShutdownError::StoreUnavailable(why.to_string()));
                    }
                }
            }
        };
        actors::stop(hub).await;
        report
    }
}
