//! What follows when an attempt has failed: whether there is another, and after which failures.
//!
//! *Not here*: when the next attempt starts (`kernel`), who runs a classifier (`engine`).

use std::sync::Arc;

use super::builder::{Again, TaskBuilder};
use crate::kernel::{Fault, Retry};

impl<Mode> TaskBuilder<Mode> {
    /// Lets a failed attempt be followed by another one. The body must be callable again (`Fn`).
    ///
    /// A failure that is [`permanent`](crate::Failure::permanent) and a cancel are never followed
    /// by another attempt. Each attempt starts with no children; messages that nobody read stay for
    /// it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use understory::{Failure, Manager, Retry};
    /// # let manager = Manager::in_memory();
    /// let task = manager
    ///     .scope("s")
    ///     .task("flaky")
    ///     .retry(Retry::fixed(2, Duration::from_millis(1)))
    ///     .spawn(|ctx| async move {
    ///         match ctx.attempt() {
    ///             3 => Ok("at last".to_owned()),
    ///             number => Err(Failure::new(format!("attempt {number} failed"))),
    ///         }
    ///     })
    ///     .await?;
    /// assert_eq!(task.await?, "at last");
    /// # Ok(()) }
    /// ```
    pub fn retry(self, retry: Retry) -> TaskBuilder<Again> {
        self.set(|spec| spec.retry = retry).again()
    }
}

impl TaskBuilder<Again> {
    /// Says after which failures another attempt may follow; any other one is the last, as if it
    /// were [`permanent`](crate::Failure::permanent). It is asked about errors, panics and time
    /// limits of an attempt, while attempts are left.
    ///
    /// It runs where the body ran, within the time limits of the attempt. Should it panic, no
    /// further attempt follows, and the failure says so. It lives as long as this process: what is
    /// to hold for tasks of an executor after a restart, too, is said by
    /// [`Executor::retry_if`](crate::Executor::retry_if); both must agree to another attempt.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Failure, Manager, Retry, State};
    /// # let manager = Manager::in_memory();
    /// let task = manager
    ///     .scope("s")
    ///     .task("t")
    ///     .retry(Retry::exponential(3))
    ///     .retry_if(|fault| fault.message.contains("busy"))
    ///     .spawn(|_| async { Err::<(), _>(Failure::new("no such file")) })
    ///     .await?;
    /// let record = task.settled().await?;
    /// assert_eq!((record.state, record.attempt), (State::Failed, 1));
    /// # Ok(()) }
    /// ```
    pub fn retry_if(
        mut self,
        is_worth_it: impl Fn(&Fault) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.retry_if = Some(Arc::new(is_worth_it));
        self
    }
}
