//! How long a task may take, wait, be silent and go on: the wishes of a builder about time.
//!
//! # Invariants
//! 1. Zero means no limit.
//!
//! *Not here*: what a limit leads to (`kernel/supervisor/alarm.rs`), other wishes (`builder`).

use std::time::Duration;

use super::builder::TaskBuilder;

impl<Mode> TaskBuilder<Mode> {
    /// Ends an attempt that takes longer: it is asked to stop, and forced after its grace. Zero
    /// means no limit.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.set(|spec| spec.timeout = Some(timeout).filter(|timeout| !timeout.is_zero()))
    }

    /// Ends an attempt that gives no sign of life for so long: no progress, output, event, message
    /// or [`touch`](crate::Context::touch). A body that awaits another task is exempt. Zero means
    /// no limit.
    pub fn idle_timeout(self, timeout: Duration) -> Self {
        self.set(|spec| spec.idle_timeout = Some(timeout).filter(|timeout| !timeout.is_zero()))
    }

    /// Ends it that long after it was accepted, whatever it does: over all attempts, their delays,
    /// waits and suspensions. No attempt follows. Zero means no limit.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use understory::{Failure, Limit, Manager, Outcome, Retry};
    /// # let manager = Manager::in_memory();
    /// let task = manager
    ///     .scope("s")
    ///     .task("stubborn")
    ///     .lifetime(Duration::from_secs(60))
    ///     .retry(Retry::fixed(99, Duration::from_secs(25)))
    ///     .spawn(|_| async { Err::<(), _>(Failure::new("not yet")) })
    ///     .await?;
    /// let record = task.settled().await?;
    /// let ended_by = |limit| move |how: &Outcome| {
    ///     matches!(how, Outcome::TimedOut { limit: by, .. } if *by == limit)
    /// };
    /// assert!(record.outcome.as_deref().is_some_and(ended_by(Limit::Lifetime)));
    /// assert_eq!(record.attempt, 3);
    /// # Ok(()) }
    /// ```
    pub fn lifetime(self, lifetime: Duration) -> Self {
        self.set(|spec| spec.lifetime = Some(lifetime).filter(|time| !time.is_zero()))
    }

    /// Ends it when it has waited that long for a slot of its limit classes; each wait counts for
    /// itself. Zero means no limit.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use understory::{Class, Limit, Manager, WaitError};
    /// let manager = Manager::builder().limit("llm", Class::queue(1)).build()?;
    /// let scope = manager.scope("s");
    /// let long = scope.task("long").limit("llm");
    /// let _long = long.spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) }).await?;
    /// let patient = scope.task("patient").limit("llm").queue_timeout(Duration::from_secs(30));
    /// let ended = patient.spawn(|_| async { Ok(()) }).await?.await;
    /// assert!(matches!(ended, Err(WaitError::TimedOut { limit: Limit::Queue, .. })));
    /// # Ok(()) }
    /// ```
    pub fn queue_timeout(self, timeout: Duration) -> Self {
        self.set(|spec| spec.queue_timeout = Some(timeout).filter(|time| !time.is_zero()))
    }

    /// Ends it when it has been suspended that long; each suspension counts for itself. Zero means
    /// no limit.
    pub fn suspend_timeout(self, timeout: Duration) -> Self {
        self.set(|spec| spec.suspend_timeout = Some(timeout).filter(|time| !time.is_zero()))
    }

    /// Sets how long it may go on after it was asked to stop. A cancel with a shorter grace wins.
    pub fn grace(self, grace: Duration) -> Self {
        self.set(|spec| spec.grace = Some(grace))
    }
}
