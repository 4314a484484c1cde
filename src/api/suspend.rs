//! Suspending a body, and resuming its task with data.
//!
//! *Not here*: what a suspended task may become (`kernel`), questions to others (`ask`).

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::context::Context;
use super::handle::TaskRef;
use super::manager::Manager;
use super::payload::to_text;
use super::spawn::PAYLOAD_BYTES_MAX;
use crate::actors::Shut;
use crate::engine::Failure;
use crate::kernel::{ClassFull, Input, Payload, Reply, ResumeRefusal, State, TaskId};

/// Why a task was not resumed. Except for [`ResumeError::Restarted`], nothing happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// No such task was ever accepted, or its record is no longer kept.
    #[error("no task {0} is known")]
    Unknown(TaskId),
    /// The scope that asks may see it, and no more.
    #[error("task {0} may be seen, not resumed")]
    Denied(TaskId),
    /// It is not suspended.
    #[error("the task is not suspended but {state}")]
    NotSuspended {
        /// What it is instead.
        state: State,
    },
    /// Somebody else resumed it, and it waits for its start.
    #[error("task {0} was resumed already")]
    AlreadyResumed(TaskId),
    /// A limit class is full, and it was not to wait. See [`TaskRef::try_resume`].
    #[error("{} is full: {} of {} in use, {} waiting; `resume` lets it wait for a slot",
        .0.class, .0.in_use, .0.size, .0.waiting)]
    LimitReached(ClassFull),
    /// The data is too large.
    #[error("the data has {bytes} bytes of JSON; at most {bytes_max} are taken")]
    TooLarge {
        /// Its size as JSON.
        bytes: usize,
        /// The largest that is taken.
        bytes_max: usize,
    },
    /// The data cannot be written as JSON.
    #[error("the data cannot be written as JSON: {0}")]
    Encode(#[from] serde_json::Error),
    /// The manager was shut down or has failed: nothing runs any more.
    #[error("the manager is gone")]
    Gone,
    /// The manager was started anew before it answered: look at the task's state.
    #[error("the manager was started anew; whether the task was resumed is unknown")]
    Restarted,
}

impl Context {
    /// Asks for this task to be suspended, with a payload that says what it waits for. Return it:
    /// `return Err(ctx.suspend(..))`.
    ///
    /// The task stays `suspended`, without a body and without a slot, until somebody resumes it.
    /// Then its body is called again from its beginning, as the same attempt, and finds the data in
    /// [`Context::resumed`]. Messages wait for it meanwhile, and whoever awaits it goes on waiting.
    ///
    /// A value that is returned instead is ignored; another error wins, and so does a request to
    /// stop. A body that can be called only once fails with the returned error: spawn it with
    /// [`resumable`](crate::TaskBuilder::resumable) or
    /// [`retry`](crate::TaskBuilder::retry), or as an executor. A closure can be resumed as long as
    /// its manager lives; an executor also after a restart.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Manager, ResumeError, State};
    /// # let manager = Manager::in_memory();
    /// let payment = manager.scope("s").task("payment").resumable().spawn(|ctx| async move {
    ///     match ctx.resumed() {
    ///         None => Err(ctx.suspend("may I pay 20 EUR?")),
    ///         Some(answer) => Ok(format!("the answer was {answer}")),
    ///     }
    /// });
    /// let payment = payment.await?;
    /// while let Err(error) = payment.resume("yes").await {
    ///     assert!(matches!(error, ResumeError::NotSuspended { .. })); // not yet
    ///     tokio::task::yield_now().await;
    /// }
    /// assert_eq!(payment.await?, "the answer was \"yes\"");
    /// # Ok(()) }
    /// ```
    #[must_use = "return it as the body's error"]
    pub fn suspend(&self, payload: impl Serialize) -> Failure {
        if !self.can_suspend() {
            let message = "its body can be called only once and cannot suspend: spawn it with \
                           `resumable` or `retry`, or as an executor";
            return Failure::new(message).permanent();
        }
        match encode(payload) {
            Ok(payload) => {
                self.attempt.wish.make(payload);
                Failure::suspension()
            }
            Err(error) => Failure::new(format!("it cannot suspend: {error}")).permanent(),
        }
    }

    /// Whether its body can be called again when it is resumed.
    pub(crate) fn can_suspend(&self) -> bool {
        self.attempt.is_repeatable
    }

    /// What this run was resumed with; `None` when it was not resumed.
    ///
    /// An attempt that follows a failure starts from the beginning and was not resumed.
    pub fn resumed(&self) -> Option<Value> {
        let data = self.attempt.resume.as_ref()?;
        serde_json::from_str(data.as_json()).ok()
    }

    /// The same as a value of a type: `None` when this run was not resumed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Manager, State};
    /// # let manager = Manager::in_memory();
    /// let task = manager.scope("s").task("sum").resumable().spawn(|ctx| async move {
    ///     match ctx.resumed_as::<i64>()? {
    ///         None => Err(ctx.suspend(40)), // it has got so far
    ///         Some(more) => Ok(ctx.suspended_with::<i64>()?.unwrap_or_default() + more),
    ///     }
    /// });
    /// let task = task.await?;
    /// while task.state() != Some(State::Suspended) {
    ///     tokio::task::yield_now().await;
    /// }
    /// let record = task.record();
    /// let so_far = record.as_ref().and_then(|record| record.suspension.as_ref());
    /// assert_eq!(so_far.map(|payload| payload.decode::<i64>()).transpose()?, Some(40));
    /// task.resume(2).await?;
    /// assert_eq!(task.await?, 42);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The data is of another type.
    pub fn resumed_as<T: DeserializeOwned>(&self) -> Result<Option<T>, serde_json::Error> {
        decoded(self.attempt.resume.as_ref())
    }

    /// What the run before this one suspended its task with, when this one was resumed: what it
    /// had done so far, for instance. It is there after a restart, too.
    ///
    /// # Errors
    /// The payload is of another type.
    pub fn suspended_with<T: DeserializeOwned>(&self) -> Result<Option<T>, serde_json::Error> {
        decoded(self.attempt.suspension.as_ref())
    }
}

impl TaskRef {
    /// Continues a suspended task: its body runs again and gets `data`. Of many callers one wins.
    ///
    /// When a limit of the task is full, it waits for its slot. See [`Context::suspend`] for an
    /// example.
    ///
    /// # Errors
    /// [`ResumeError`] says in which state the task is instead.
    ///
    /// # Cancel safety
    /// When it is dropped, the task may or may not be resumed.
    pub async fn resume(&self, data: impl Serialize) -> Result<(), ResumeError> {
        resume(self, encode(data)?, true).await
    }

    /// As [`TaskRef::resume`], but when a limit of the task is full it stays suspended.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Manager, ResumeError};
    /// # let manager = Manager::in_memory();
    /// let task = manager.scope("s").task("t").spawn(|_| async { Ok(()) }).await?;
    /// task.settled().await?;
    /// let refused = task.try_resume("go on").await;
    /// assert!(matches!(refused, Err(ResumeError::NotSuspended { .. })));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ResumeError::LimitReached`] when it would have to wait; the others as for `resume`.
    ///
    /// # Cancel safety
    /// When it is dropped, the task may or may not be resumed.
    pub async fn try_resume(&self, data: impl Serialize) -> Result<(), ResumeError> {
        resume(self, encode(data)?, false).await
    }
}

impl Manager {
    /// Continues the suspended task of this id. See [`TaskRef::resume`].
    ///
    /// # Errors
    /// [`ResumeError`] says in which state the task is instead.
    ///
    /// # Cancel safety
    /// When it is dropped, the task may or may not be resumed.
    pub async fn resume(&self, task: TaskId, data: impl Serialize) -> Result<(), ResumeError> {
        resume(&self.task(task), encode(data)?, true).await
    }
}

fn decoded<T: DeserializeOwned>(payload: Option<&Payload>) -> Result<Option<T>, serde_json::Error> {
    payload.map(Payload::decode).transpose()
}

async fn resume(task: &TaskRef, data: Payload, may_wait: bool) -> Result<(), ResumeError> {
    let id = task.id();
    let asked = task.core().hub.gate.ask(move |ticket| Input::Resume {
        ticket,
        id,
        data,
        may_wait,
    });
    let refusal = match asked.await {
        Ok(Reply::Resumed(Ok(()))) => return Ok(()),
        Ok(Reply::Resumed(Err(refusal))) => refusal,
        Err(Shut::Restarted) => return Err(ResumeError::Restarted),
        Ok(_) | Err(_) => return Err(ResumeError::Gone),
    };
    Err(match refusal {
        ResumeRefusal::Unknown(id) => ResumeError::Unknown(id),
        ResumeRefusal::NotSuspended(state) => ResumeError::NotSuspended { state },
        ResumeRefusal::AlreadyResumed(id) => ResumeError::AlreadyResumed(id),
        ResumeRefusal::Full(full) => ResumeError::LimitReached(full),
    })
}

/// A value as the kernel carries it, if it is not too large.
fn encode(value: impl Serialize) -> Result<Payload, ResumeError> {
    let json = to_text(&value)?;
    if json.len() > PAYLOAD_BYTES_MAX {
        return Err(ResumeError::TooLarge {
            bytes: json.len(),
            bytes_max: PAYLOAD_BYTES_MAX,
        });
    }
    Ok(Payload::from_json(json))
}
