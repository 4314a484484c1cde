//! Waiting for tasks to settle. A wait never cancels what it waits for.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use serde::de::DeserializeOwned;

use super::context::{self, Context};
use super::handle::TaskRef;
use super::manager::Manager;
use crate::kernel::{Fault, Limit, Outcome, Record, Stop, TaskId, Wait};

/// Why awaiting a task brought no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// It failed.
    #[error("task {task} failed: {fault}")]
    Failed {
        /// The task.
        task: TaskId,
        /// How its last attempt failed.
        fault: Fault,
    },
    /// It was cancelled.
    #[error("task {task} was cancelled: {}", reason(.stop.as_ref()))]
    Cancelled {
        /// The task.
        task: TaskId,
        /// Why and by whom.
        stop: Option<Arc<Stop>>,
    },
    /// A time limit ended it.
    #[error("task {task} ran out of time ({limit:?})")]
    TimedOut {
        /// The task.
        task: TaskId,
        /// The limit.
        limit: Limit,
    },
    /// Its process died, and its outcome cannot be known.
    #[error("task {task} was interrupted: {evidence}")]
    Interrupted {
        /// The task.
        task: TaskId,
        /// What is known.
        evidence: Arc<str>,
    },
    /// Its value is not of the type that is awaited.
    #[error("the value of task {task} is of another type: {source}")]
    Decode {
        /// The task.
        task: TaskId,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// So many subscriptions exist that no more are allowed, and the wait needs one.
    #[error("{0} subscriptions exist, and no more are allowed; drop one or raise subscribers_max")]
    Subscribers(usize),
    /// No such task is known; the manager is gone before it settled; or its record went as it
    /// settled (`settled_max`), and so did the actor of the manager that could say how.
    #[error("task {0} is unknown, or its manager is gone")]
    Gone(TaskId),
}

fn reason(stop: Option<&Arc<Stop>>) -> &str {
    stop.map_or("no reason is known", |stop| &stop.reason)
}

impl Manager {
    /// Waits until one of the tasks has settled; returns its place in `tasks` and its record. Of
    /// several that have settled the first in the given order wins. Without tasks it returns
    /// `None`.
    ///
    /// The others go on: a wait never cancels.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use understory::Manager;
    ///
    /// let manager = Manager::in_memory();
    /// let scope = manager.scope("s");
    /// let slow = scope
    ///     .task("slow")
    ///     .spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) })
    ///     .await?;
    /// let quick = scope.task("quick").spawn(|_| async { Ok(1) }).await?;
    /// let first = manager.wait_any(&[slow.task(), quick.task()]).await?;
    /// let (place, record) = first.expect("two tasks were given");
    /// assert_eq!((place, record.id), (1, quick.id()));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`WaitError::Gone`] when one of the tasks is unknown or the manager is gone.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn wait_any(
        &self,
        tasks: &[TaskRef],
    ) -> Result<Option<(usize, Arc<Record>)>, WaitError> {
        if tasks.is_empty() {
            return Ok(None);
        }
        let _parked = if tasks.iter().any(is_settled) {
            None
        } else {
            tasks.iter().find_map(park)
        };
        let mut waits: Vec<Pin<Box<dyn Future<Output = _> + Send + '_>>> = Vec::new();
        for task in tasks {
            waits.push(Box::pin(settled_here(task)));
        }
        let first = poll_fn(|cx| {
            for (place, wait) in waits.iter_mut().enumerate() {
                if let Poll::Ready(record) = wait.as_mut().poll(cx) {
                    return Poll::Ready(record.map(|record| (place, record)));
                }
            }
            Poll::Pending
        });
        let (place, record) = first.await?;
        heard(&tasks[place], &record);
        Ok(Some((place, record)))
    }

    /// Waits until all tasks have settled; returns their records in the given order.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Failure, Manager, State};
    /// # let manager = Manager::in_memory();
    /// let scope = manager.scope("s");
    /// let good = scope.task("good").spawn(|_| async { Ok(()) }).await?;
    /// let bad = scope
    ///     .task("bad")
    ///     .spawn(|_| async { Err::<(), _>(Failure::new("sorry")) })
    ///     .await?;
    /// let records = manager.wait_all(&[good.task(), bad.task()]).await?;
    /// assert_eq!(records[0].state, State::Completed);
    /// assert_eq!(records[1].state, State::Failed);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`WaitError::Gone`] when one of the tasks is unknown or the manager is gone.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn wait_all(&self, tasks: &[TaskRef]) -> Result<Vec<Arc<Record>>, WaitError> {
        let mut records = Vec::with_capacity(tasks.len());
        for task in tasks {
            records.push(settled(task).await?);
        }
        Ok(records)
    }
}

/// Waits until a task has settled; inside a body the body counts as waiting meanwhile.
pub(super) async fn settled(task: &TaskRef) -> Result<Arc<Record>, WaitError> {
    let done = task.live().and_then(|live| live.done.get().cloned());
    let record = if let Some(record) = done {
        record
    } else {
        let _parked = park(task);
        settled_here(task).await?
    };
    heard(task, &record);
    Ok(record)
}

/// The body that runs here has heard of this end of the task.
pub(crate) fn heard(task: &TaskRef, end: &Record) {
    if task.core().hub.hears_wakes()
        && let Some(here) = context::current()
        && let Some(mut unheard) = here.attempt.live.unheard()
    {
        unheard.hear_end((end.id, end.incarnation));
    }
}

/// Whether the latch of a task is set.
pub(super) fn is_settled(task: &TaskRef) -> bool {
    task.live().is_none_or(|live| live.done.is_set())
}

/// The end of a task, of which the body that runs here has not heard yet.
pub(super) async fn settled_here(task: &TaskRef) -> Result<Arc<Record>, WaitError> {
    let mut live = task.live();
    if live.is_none() {
        // A task of before may not be shown yet.
        let _has_begun = task.core().hub.recovered().await;
        live = task.live();
    }
    let Some(live) = live else {
        let record = task.record().filter(|record| record.state.is_terminal());
        return record.ok_or(WaitError::Gone(task.id()));
    };
    tokio::select! {
        biased;
        record = live.done.wait() => record.map(Arc::clone).ok_or(WaitError::Gone(task.id())),
        () = task.core().hub.gate.shut_down() => {
            let record = live.done.get().map(Arc::clone);
            record.ok_or(WaitError::Gone(task.id()))
        }
    }
}

/// The value of a task that completed.
pub(super) async fn value<T: DeserializeOwned>(task: &TaskRef) -> Result<T, WaitError> {
    let record = settled(task).await?;
    let task = record.id;
    let outcome = record.outcome.as_deref();
    match outcome {
        Some(Outcome::Completed(payload)) => serde_json::from_str(payload.as_json())
            .map_err(|source| WaitError::Decode { task, source }),
        Some(Outcome::Failed(fault)) => Err(WaitError::Failed {
            task,
            fault: fault.clone(),
        }),
        Some(Outcome::Cancelled { .. }) => Err(WaitError::Cancelled {
            task,
            stop: record.stop.clone(),
        }),
        Some(Outcome::TimedOut { limit, .. }) => Err(WaitError::TimedOut {
            task,
            limit: *limit,
        }),
        Some(Outcome::Interrupted(evidence)) => Err(WaitError::Interrupted {
            task,
            evidence: Arc::clone(evidence),
        }),
        None => Err(WaitError::Gone(task)),
    }
}

/// While it lives, the body that made it counts as waiting.
pub(crate) struct Parked(Context);

impl Parked {
    /// Parks this body.
    pub(super) fn on(here: &Context, wait: Wait) -> Self {
        change(here, |awaited| awaited + 1, Some(wait));
        Self(here.clone())
    }
}

/// Parks the current body, if it is another task of the same manager.
pub(crate) fn park(on: &TaskRef) -> Option<Parked> {
    let here = context::current()?;
    if !Arc::ptr_eq(here.core(), on.core()) || here.id() == on.id() {
        return None;
    }
    change(&here, |awaited| awaited + 1, Some(Wait::Task(on.id())));
    Some(Parked(here))
}

impl Drop for Parked {
    fn drop(&mut self) {
        change(&self.0, |awaited| awaited.saturating_sub(1), None);
    }
}

/// Counts what the body awaits; only a change between none and some is told to the manager.
fn change(here: &Context, count: impl FnOnce(u32) -> u32, on: Option<Wait>) {
    let (core, attempt) = here.parts();
    if on.is_none() {
        here.touch();
    }
    let is_due = attempt.live.park().change(attempt.epoch, count, on);
    if is_due {
        core.hub
            .gate
            .parked(Arc::clone(&attempt.live), attempt.epoch);
    }
}
