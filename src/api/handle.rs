//! What is held of a task: a typed handle to await, and a cheap reference for everything else.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cancel::Cancel;
use super::core::Core;
use super::deliver::{self, Mail, Sending};
use super::send::{Address, SendError, SendMode};
use super::wait::{self, WaitError};
use crate::engine::Live;
use crate::inbox::Receipt;
use crate::kernel::{Record, State, TaskId};

/// A reference to a task. Cheap to clone; dropping it does nothing.
#[derive(Clone)]
pub struct TaskRef {
    core: Arc<Core>,
    id: TaskId,
    live: Option<Arc<Live>>,
}

impl TaskRef {
    pub(super) fn new(core: Arc<Core>, id: TaskId) -> Self {
        let live = core.hub.live(id);
        Self { core, id, live }
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The same, holding on to what the process has of it, also when its record is pruned.
    pub(super) fn holding(mut self) -> Self {
        self.live = self.live();
        self
    }

    pub(super) fn live(&self) -> Option<Arc<Live>> {
        self.live.clone().or_else(|| self.core.hub.live(self.id))
    }

    /// The task's id.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The names from the root down to this task; empty if its record is not kept.
    pub fn path(&self) -> String {
        self.core.path(self.id)
    }

    /// The task's durable record; `None` if it was never accepted or is no longer kept.
    pub fn record(&self) -> Option<Arc<Record>> {
        self.core.hub.index.get(self.id)
    }

    /// The task's state.
    pub fn state(&self) -> Option<State> {
        self.record().map(|record| record.state)
    }

    /// Whether it was taken above a full limit of [`WhenFull::Inline`](crate::WhenFull::Inline):
    /// it runs without a slot of that limit, and its spawn returned after its end, unless it is
    /// external.
    pub fn is_inline(&self) -> bool {
        self.record().is_some_and(|record| record.inline)
    }

    /// Sends a message to its inbox, where it waits until the body receives it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use understory::Manager;
    ///
    /// let manager = Manager::in_memory();
    /// let reader = manager
    ///     .scope("s")
    ///     .task("reader")
    ///     .spawn(|ctx| async move { Ok(ctx.recv().await.map(|message| message.body)) })
    ///     .await?;
    /// reader.send("only look at src/").await?;
    /// assert_eq!(reader.await?, Some("only look at src/".into()));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`SendError`] gives the message back, unless it cannot be written as JSON.
    ///
    /// # Cancel safety
    /// When it is dropped, the message was placed or not; only an inbox that lets its senders wait
    /// makes it wait, and then nothing was placed.
    pub async fn send(&self, message: impl Serialize) -> Result<Receipt, SendError> {
        let mail = deliver::mail(message, SendMode::Queue)?;
        self.deliver(mail).await
    }

    /// As [`TaskRef::send`], and does what `mode` says beside. See
    /// [`Builder::on_wake`](crate::Builder::on_wake) for an example.
    ///
    /// # Errors
    /// [`SendError`] gives the message back, unless it cannot be written as JSON.
    ///
    /// # Cancel safety
    /// As [`TaskRef::send`]; [`SendMode::Interrupt`] also waits, with the message placed, until the
    /// body is interrupted.
    pub async fn send_as(
        &self,
        mode: SendMode,
        message: impl Serialize,
    ) -> Result<Receipt, SendError> {
        let mail = deliver::mail(message, mode)?;
        self.deliver(mail).await
    }

    fn deliver(&self, mail: Mail) -> Sending {
        match &self.live {
            Some(live) => deliver::place(&self.core, live, mail),
            None => deliver::deliver(&self.core, None, Address::Id(self.id), mail),
        }
    }

    /// Waits until the task has settled and returns its record, however it ended.
    ///
    /// Inside a body this counts as waiting: the slots of the body's limits are lent to others
    /// meanwhile. In a task of tokio that the body has started it does not. Nobody looks for tasks
    /// that wait for each other, or for themselves: they wait until something ends them.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Failure, Manager, Outcome, State};
    /// # let manager = Manager::in_memory();
    /// let task = manager
    ///     .scope("s")
    ///     .task("t")
    ///     .spawn(|_| async { Err::<(), _>(Failure::new("no such file")) })
    ///     .await?;
    /// let record = task.settled().await?;
    /// assert_eq!(record.state, State::Failed);
    /// let Some(Outcome::Failed(fault)) = record.outcome.as_deref() else { panic!("it failed") };
    /// assert_eq!(fault.to_string(), "no such file");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`WaitError::Gone`] when the task is unknown or the manager is gone before it settled.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn settled(&self) -> Result<Arc<Record>, WaitError> {
        wait::settled(self).await
    }
}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskRef")
            .field("id", &self.id)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// What became of a request for a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It is new, and had started when the answer came.
    Started,
    /// It is new, and waits to start: for a slot, its parent, or the tasks it comes after. What for
    /// is in its record.
    Queued,
    /// It was there before: asked for with the same id or key, or in the same flight.
    Existing,
}

/// A task that was spawned: await it for its value, or use it as a [`TaskRef`].
///
/// Awaiting is as [`TaskRef::settled`], and gives a [`WaitError`] for any end but a completed one.
/// It takes the handle; [`TaskHandle::value`] only borrows it, for `select!`, `join_all` and time
/// limits. Dropping it does not cancel the task; see [`TaskHandle::cancel_on_drop`].
pub struct TaskHandle<T> {
    task: TaskRef,
    admitted: Admitted,
    value: PhantomData<fn() -> T>,
}

impl<T> TaskHandle<T> {
    pub(super) fn of_live(core: Arc<Core>, live: Arc<Live>, record: Option<&Record>) -> Self {
        let has_started = record.is_none_or(|record| record.started_at.is_some());
        let admitted = if has_started {
            Admitted::Started
        } else {
            Admitted::Queued
        };
        let task = TaskRef {
            core,
            id: live.id,
            live: Some(live),
        };
        Self {
            task,
            admitted,
            value: PhantomData,
        }
    }

    pub(super) fn of_id(core: Arc<Core>, id: TaskId) -> Self {
        Self {
            task: TaskRef::new(core, id),
            admitted: Admitted::Existing,
            value: PhantomData,
        }
    }

    /// What became of the request: a task that started, one that waits to start, or an earlier one.
    pub fn admitted(&self) -> Admitted {
        self.admitted
    }

    /// Whether the task came of this request; otherwise it is one that was there before.
    pub fn is_new(&self) -> bool {
        self.admitted != Admitted::Existing
    }

    /// The same task, whose value is read as another type.
    pub(super) fn read_as<U>(self) -> TaskHandle<U> {
        TaskHandle {
            task: self.task,
            admitted: self.admitted,
            value: PhantomData,
        }
    }

    /// A reference to the same task.
    pub fn task(&self) -> TaskRef {
        self.task.clone()
    }

    /// Cancels the task and everything below it when the returned guard is dropped.
    ///
    /// The drop asks and does not wait; outside of a tokio runtime it does nothing. Dropped by a
    /// body, it asks as that body's task.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Manager, State};
    /// # let manager = Manager::in_memory();
    /// let guard = manager
    ///     .scope("s")
    ///     .task("t")
    ///     .spawn(|ctx| async move { Ok(ctx.cancelled().await.reason.to_string()) })
    ///     .await?
    ///     .cancel_on_drop();
    /// let task = manager.task(guard.id());
    /// drop(guard); // or `guard.disarm()` to have the handle back
    /// assert_eq!(task.settled().await?.state, State::Cancelled);
    /// # Ok(()) }
    /// ```
    pub fn cancel_on_drop(self) -> CancelOnDrop<T> {
        CancelOnDrop {
            handle: self,
            is_armed: true,
        }
    }
}

impl<T: DeserializeOwned> TaskHandle<T> {
    /// Waits for the end of the task and gives its value, as awaiting the handle does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use understory::Manager;
    /// # let manager = Manager::in_memory();
    /// let task = manager.scope("s").task("t").spawn(|ctx| async move {
    ///     Ok(ctx.recv().await.is_some())
    /// });
    /// let task = task.await?;
    /// let limited = tokio::time::timeout(Duration::from_millis(1), task.value()).await;
    /// assert!(limited.is_err()); // the task goes on
    /// task.send("go on").await?;
    /// assert!(task.value().await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`WaitError`] for any end but a completed one, and for a value of another type.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn value(&self) -> Result<T, WaitError> {
        wait::value(&self.task).await
    }
}

impl<T> Deref for TaskHandle<T> {
    type Target = TaskRef;

    fn deref(&self) -> &TaskRef {
        &self.task
    }
}

impl<T: DeserializeOwned + 'static> IntoFuture for TaskHandle<T> {
    type Output = Result<T, WaitError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { wait::value(&self.task).await })
    }
}

impl<T> fmt::Debug for TaskHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskHandle").field(&self.task).finish()
    }
}

/// A handle whose drop cancels the task's tree.
#[derive(Debug)]
pub struct CancelOnDrop<T> {
    handle: TaskHandle<T>,
    is_armed: bool,
}

impl<T> CancelOnDrop<T> {
    /// Gives the handle back; dropping that cancels nothing.
    pub fn disarm(mut self) -> TaskHandle<T> {
        self.is_armed = false;
        TaskHandle {
            task: self.handle.task(),
            admitted: self.handle.admitted,
            value: PhantomData,
        }
    }
}

impl<T> Deref for CancelOnDrop<T> {
    type Target = TaskRef;

    fn deref(&self) -> &TaskRef {
        &self.handle
    }
}

impl<T> Drop for CancelOnDrop<T> {
    fn drop(&mut self) {
        // Without a runtime no task runs any more.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if self.is_armed {
            let cancel = Cancel::because("its handle was dropped");
            self.handle.cancel_beside(&runtime, cancel);
        }
    }
}
