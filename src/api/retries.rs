//! What follows when a body has ended: another attempt after some failures, or a restart for as
//! long as the task is wanted.
//!
//! *Not here*: when the next attempt starts (`kernel`), who runs a classifier (`engine`).

use std::sync::Arc;

use super::builder::{Again, TaskBuilder};
use super::context::Context;
use crate::kernel::{Fault, RestartPolicy, Retry};

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
        let this = self.set(|spec| (spec.retry, spec.restart) = (retry, None));
        this.again()
    }

    /// Keeps work running that shall not end by itself: starts it again when its body has ended, as
    /// the policy says. The body must be callable again (`Fn`). Of this and [`TaskBuilder::retry`]
    /// the later one counts.
    ///
    /// Each restart is an attempt of its own. Before it the children end as their `on_parent_end`
    /// says, and the slot is free until it starts; messages that nobody read stay for it. A cancel
    /// always ends the task, and so does a failure that is
    /// [`permanent`](crate::Failure::permanent). When an executor's process dies, that counts as
    /// one end more.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use understory::{Failure, Manager, RestartPolicy};
    /// # let manager = Manager::in_memory();
    /// let policy = RestartPolicy::transient().intensity(5, Duration::from_secs(60));
    /// let service = manager
    ///     .scope("s")
    ///     .task("service")
    ///     .restart_policy(policy)
    ///     .spawn(|ctx| async move {
    ///         match ctx.restarts() {
    ///             2 => Ok("at last".to_owned()),
    ///             _ => Err(Failure::new("the connection broke")),
    ///         }
    ///     })
    ///     .await?;
    /// assert_eq!(service.await?, "at last");
    /// # Ok(()) }
    /// ```
    pub fn restart_policy(self, policy: RestartPolicy) -> TaskBuilder<Again> {
        let this = self.set(|spec| (spec.retry, spec.restart) = (Retry::never(), Some(policy)));
        this.again()
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

impl Context {
    /// How often the task has been restarted by its policy. See [`TaskBuilder::restart_policy`].
    pub fn restarts(&self) -> u32 {
        let record = self.manager().get(self.id());
        record.map_or(0, |record| record.restarts)
    }
}
