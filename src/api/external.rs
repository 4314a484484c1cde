//! External tasks: records of work that runs elsewhere, told of by whoever holds them.
//!
//! # Invariants
//! 1. The first end that is told counts; a later word is refused and says how the task stands.
//!
//! *Not here*: the law of such tasks (`kernel/supervisor/external.rs`).

mod notes;

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::builder::{Once, TaskBuilder};
use super::handle::TaskRef;
use super::manager::Manager;
use super::payload::to_text;
use super::spawn::{PAYLOAD_BYTES_MAX, SpawnError};
use crate::actors::Shut;
use crate::engine::{CancelCall, Failure, Work, cut};
use crate::kernel::{
    End, ExternalRefusal, ExternalWord, Input, Origin, Overflow, Payload, Reply, State, Stop,
    TaskId,
};

/// Why a word about an external task was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExternalError {
    /// No such task is known.
    #[error("no external task {0} is known")]
    Unknown(TaskId),
    /// It has not started, or it is over: what is said now changes nothing.
    #[error("the task is {0}")]
    NotRunning(State),
    /// It refers to something else already.
    #[error("the task refers to {0:?} already, and that never changes")]
    RefIsSet(String),
    /// The value cannot be kept as JSON: what is wrong with it.
    #[error("the value cannot be kept: {0}")]
    Value(String),
    /// The manager is gone, or was started anew before it answered; ask for the task's state.
    #[error("the manager is gone or was started anew; ask for the state of the task")]
    Unavailable,
}

/// A task that runs elsewhere, as its holder has it. Dropping it changes nothing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use understory::{Cancel, Failure, Manager, State};
///
/// let manager = Manager::in_memory();
/// let scope = manager.scope("s");
/// let build = scope.task("build").external().await?;
/// build.refer("ci/4711").await?; // what it is called there
/// build.progress("compiling").await?;
/// build.complete("ok").await?;
/// assert_eq!(build.state(), Some(State::Completed));
/// assert!(build.fail(Failure::new("too late")).await.is_err()); // the first end counts
///
/// let stopped = scope.task("build").external_with(|stop| async move {
///     println!("cancelling the build: {}", stop.reason);
///     Ok(())
/// });
/// let stopped = stopped.await?;
/// stopped.cancel(Cancel::because("enough")).await?;
/// assert_eq!(stopped.state(), Some(State::Cancelled));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct External {
    task: TaskRef,
    incarnation: u32,
}

impl TaskBuilder<Once> {
    /// Registers work that runs elsewhere. It is admitted like any task, and then `running` until
    /// its holder tells its end, or its time is over. It has no inbox, and there is no body to
    /// force: [`TaskBuilder::cooperative`] means nothing for it.
    ///
    /// When it is cancelled, its holder can hear of it ([`External::asked_to_stop`]) and has the
    /// task's grace to tell how it ended; then it is cancelled.
    ///
    /// # Errors
    /// [`SpawnError`] says what to do.
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting; the task may exist.
    pub async fn external(self) -> Result<External, SpawnError> {
        self.register(Work::Spent).await
    }

    /// As [`TaskBuilder::external`], with a callback that cancels the work there.
    ///
    /// It is called once, when the task is asked to stop by a cancel or a time limit, in a tokio
    /// task of its own; a panic stays there. Its time is the task's grace. The task is recorded as
    /// cancelled when it has returned or its time is over; if it fails, an event tells why. A task
    /// that is cancelled while it waits for a slot is so at once, and the callback is called then.
    ///
    /// # Errors
    /// [`SpawnError`] says what to do.
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting; the task may exist.
    pub async fn external_with<F, Fut>(self, cancel: F) -> Result<External, SpawnError>
    where
        F: FnOnce(Arc<Stop>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let callback: CancelCall = Box::new(move |why| {
            let cancelling = why.map(cancel);
            Box::pin(async move {
                match cancelling {
                    Some(cancelling) => cancelling.await,
                    None => Ok(()),
                }
            })
        });
        self.register(Work::Callback(callback)).await
    }

    /// Ends an external task of which nothing is heard for so long: no progress, output, event or
    /// heartbeat. Zero means no limit. For other tasks see [`TaskBuilder::idle_timeout`].
    pub fn heartbeat_timeout(self, timeout: Duration) -> Self {
        self.set(|spec| spec.heartbeat_timeout = Some(timeout).filter(|it| !it.is_zero()))
    }

    async fn register(self, work: Work) -> Result<External, SpawnError> {
        let this = self.set(|spec| {
            spec.origin = Origin::External;
            // Nobody here reads messages for it.
            (spec.inbox_capacity, spec.inbox_overflow) = (None, Overflow::default());
        });
        let task = this.ask::<()>(work).await?.task();
        Ok(External::new(task))
    }
}

impl Manager {
    /// The external task of this id, to go on telling of it: after a restart, for instance.
    ///
    /// # Errors
    /// [`ExternalError::Unknown`] when there is no such external task.
    pub fn external(&self, id: TaskId) -> Result<External, ExternalError> {
        let record = self.get(id).ok_or(ExternalError::Unknown(id))?;
        if record.spec.origin != Origin::External {
            return Err(ExternalError::Unknown(id));
        }
        Ok(External::new(self.task(id)))
    }
}

impl External {
    fn new(task: TaskRef) -> Self {
        let incarnation = task.record().map_or(1, |record| record.incarnation);
        Self { task, incarnation }
    }

    /// The task as everybody holds it.
    pub fn task(&self) -> TaskRef {
        self.task.clone()
    }

    /// Tells that it waits for something: it is `waiting`, and its slots are lent to others.
    ///
    /// # Errors
    /// [`ExternalError::NotRunning`] when it is over.
    ///
    /// # Cancel safety
    /// When it is dropped, the word may or may not have been taken.
    pub async fn waiting(&self) -> Result<(), ExternalError> {
        self.say(ExternalWord::Waits).await
    }

    /// Tells that it goes on: it is `running` again.
    ///
    /// # Errors
    /// [`ExternalError::NotRunning`] when it is over.
    ///
    /// # Cancel safety
    /// When it is dropped, the word may or may not have been taken.
    pub async fn running(&self) -> Result<(), ExternalError> {
        self.say(ExternalWord::GoesOn).await
    }

    /// Tells that it is alive, for its [`heartbeat_timeout`](TaskBuilder::heartbeat_timeout).
    ///
    /// # Errors
    /// [`ExternalError::NotRunning`] when it is over.
    ///
    /// # Cancel safety
    /// When it is dropped, the word may or may not have been taken.
    pub async fn heartbeat(&self) -> Result<(), ExternalError> {
        self.say(ExternalWord::Lives).await
    }

    /// Notes what it is called elsewhere: once, for ever. The same again changes nothing.
    ///
    /// # Errors
    /// [`ExternalError::RefIsSet`] when it refers to something else.
    ///
    /// # Cancel safety
    /// When it is dropped, the word may or may not have been taken.
    pub async fn refer(&self, to: &str) -> Result<(), ExternalError> {
        self.say(ExternalWord::Refers(cut(to.to_owned()).into()))
            .await
    }

    /// Tells that it is done, with this value.
    ///
    /// # Errors
    /// [`ExternalError::NotRunning`] when it is over already.
    ///
    /// # Cancel safety
    /// When it is dropped, the word may or may not have been taken.
    pub async fn complete(&self, value: impl Serialize) -> Result<(), ExternalError> {
        let value = encode(&value, PAYLOAD_BYTES_MAX)?;
        self.end(ExternalWord::Ended(End::Done(value))).await
    }

    /// Tells that it failed.
    ///
    /// # Errors
    /// [`ExternalError::NotRunning`] when it is over already.
    ///
    /// # Cancel safety
    /// When it is dropped, the word may or may not have been taken.
    pub async fn fail(&self, why: impl Into<Failure>) -> Result<(), ExternalError> {
        let fault = why.into().permanent().into_fault();
        self.end(ExternalWord::Ended(End::Failed(fault))).await
    }

    /// Tells that it was cancelled there.
    ///
    /// # Errors
    /// [`ExternalError::NotRunning`] when it is over already.
    ///
    /// # Cancel safety
    /// When it is dropped, the word may or may not have been taken.
    pub async fn cancelled(&self) -> Result<(), ExternalError> {
        self.end(ExternalWord::Ended(End::Aborted)).await
    }

    /// Lets go of it, when nobody will ever tell its end: it is interrupted, and an event says why.
    ///
    /// # Errors
    /// [`ExternalError::NotRunning`] when it is over already.
    ///
    /// # Cancel safety
    /// When it is dropped, the word may or may not have been taken.
    pub async fn unregister(&self) -> Result<(), ExternalError> {
        self.end(ExternalWord::Unregistered).await
    }

    /// Waits until it is asked to stop, and says why; `None` when it ended without that, when the
    /// manager is gone, and in a process in which it was not registered.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn asked_to_stop(&self) -> Option<Arc<Stop>> {
        let live = self.task.live()?;
        let signal = live.signal();
        tokio::select! {
            biased;
            stop = signal.asked() => Some(stop),
            // One that was stopped before it had a slot was asked for nothing.
            record = live.done.wait() => record?.stop.clone(),
            () = self.task.core().hub.gate.shut_down() => live.done.get()?.stop.clone(),
        }
    }

    /// Says the last word; a progress note that is held back goes before it.
    async fn end(&self, word: ExternalWord) -> Result<(), ExternalError> {
        if let Some(live) = self.task.live() {
            self.say_held(&live).await?;
        }
        self.say(word).await
    }

    async fn say(&self, word: ExternalWord) -> Result<(), ExternalError> {
        let (id, incarnation) = (self.task.id(), self.incarnation);
        if let Some(live) = self.task.live() {
            self.task.core().hub.touch(&live);
        }
        let asked = self
            .task
            .core()
            .hub
            .gate
            .ask(move |ticket| Input::External {
                ticket,
                id,
                incarnation,
                word,
            });
        let refusal = match asked.await {
            Ok(Reply::External(Ok(()))) => return Ok(()),
            Ok(Reply::External(Err(refusal))) => refusal,
            Ok(_) | Err(Shut::Restarted | Shut::Closed | Shut::Dead | Shut::Sick) => {
                return Err(ExternalError::Unavailable);
            }
        };
        Err(match refusal {
            ExternalRefusal::Unknown(id) | ExternalRefusal::NotExternal(id) => {
                ExternalError::Unknown(id)
            }
            ExternalRefusal::NotRunning(state) => ExternalError::NotRunning(state),
            ExternalRefusal::RefIsSet(to) => ExternalError::RefIsSet(to.to_string()),
        })
    }
}

impl Deref for External {
    type Target = TaskRef;

    fn deref(&self) -> &TaskRef {
        &self.task
    }
}

impl fmt::Debug for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("External").field(&self.task).finish()
    }
}

fn encode(value: &impl Serialize, bytes_max: usize) -> Result<Payload, ExternalError> {
    let json = to_text(value);
    let json = json.map_err(|error| ExternalError::Value(error.to_string()))?;
    if json.len() > bytes_max {
        let message = format!("it has more than {bytes_max} bytes");
        return Err(ExternalError::Value(message));
    }
    Ok(Payload::from_json(json))
}
