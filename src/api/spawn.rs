//! Asking for a task.
//!
//! *Not here*: what the task shall be (`builder`).

mod error;

use std::future::Future;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

pub use error::SpawnError;

use super::builder::{Again, INBOX_CAPACITY_DEFAULT, Once, TaskBuilder};
use super::context::{self, Context};
use super::core::Core;
use super::drain;
use super::executor;
use super::handle::TaskHandle;
use super::hooks::LimitReached;
use super::identity::inherit;
use super::payload::{DEPTH_MAX, is_too_deep, to_text};
use crate::actors::{Clock, Shut};
use crate::engine::{Attempt, Failure, Live, Verdict, Work};
use crate::inbox::{DeadBounds, DeadLetters, Inbox, Overflow};
use crate::kernel::{Accepted, Kind, Origin, Payload, Record, Refusal, Scope, Spec, TaskId};

/// Largest input, value or output piece that is kept, in bytes of JSON.
pub(super) const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

impl TaskBuilder<Once> {
    /// Starts the body as soon as its dependencies, its parent and its limits allow.
    ///
    /// Returns when the task's record is durable, whether or not the body runs yet; above a full
    /// limit of [`WhenFull::Inline`](crate::WhenFull::Inline) only when the task has ended. The
    /// value of the body is kept as JSON, at most 1 MiB of it, in which `NaN` and infinities are
    /// `null`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use serde_json::json;
    /// # use understory::Manager;
    /// # let manager = Manager::in_memory();
    /// let sum = manager
    ///     .scope("sums")
    ///     .task("both")
    ///     .spawn(|ctx| async move {
    ///         let two = ctx.task("two").spawn(|_| async { Ok(2) }).await?;
    ///         let three = ctx.task("three").spawn(|_| async { Ok(3) }).await?;
    ///         Ok(json!({ "sum": two.await? + three.await? }))
    ///     })
    ///     .await?;
    /// assert_eq!(sum.await?, json!({ "sum": 5 }));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`SpawnError`] says what to do. The body is dropped, in a task of its own.
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting; the task may exist.
    pub async fn spawn<T, F, Fut>(self, body: F) -> Result<TaskHandle<T>, SpawnError>
    where
        T: Serialize + Send + 'static,
        F: FnOnce(Context) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let core = Arc::clone(&self.core);
        let work = Work::Once(Box::new(move |attempt| {
            let context = Context::new(core, attempt);
            context::within(context, async move { encode(body(context_of()).await) })
        }));
        self.ask(work).await
    }
}

impl TaskBuilder<Again> {
    /// Starts the body, which is called again for each further attempt. See [`TaskBuilder::retry`].
    ///
    /// # Errors
    /// [`SpawnError`] says what to do. The body is dropped, in a task of its own.
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting; the task may exist.
    pub async fn spawn<T, F, Fut>(self, body: F) -> Result<TaskHandle<T>, SpawnError>
    where
        T: Serialize + Send + 'static,
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let core = Arc::clone(&self.core);
        let (body, classifier) = (Arc::new(body), self.retry_if.clone());
        let work = Work::Many(Arc::new(move |attempt: Arc<Attempt>| {
            if let Some(classifier) = &classifier {
                attempt.wish.judge_by(Arc::clone(classifier));
            }
            let context = Context::new(Arc::clone(&core), attempt);
            let body = Arc::clone(&body);
            context::within(context, async move { encode(body(context_of()).await) })
        }));
        self.ask(work).await
    }
}

/// The context that `within` has set.
fn context_of() -> Context {
    context::current().expect("a body runs within its context")
}

impl<Mode> TaskBuilder<Mode> {
    /// Starts a task of the executor that is registered for `kind`. See
    /// [`Executor`](super::Executor) for an example.
    ///
    /// # Errors
    /// [`SpawnError::NoExecutor`] gives the input back; the others as for `spawn`.
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting; the task may exist.
    pub async fn spawn_kind(
        self,
        kind: &str,
        input: impl Into<Value>,
    ) -> Result<TaskHandle<Value>, SpawnError> {
        let input = input.into();
        let kind = Kind::new(kind)?;
        let payload = Payload::from_json(input.to_string());
        if payload.as_json().len() > PAYLOAD_BYTES_MAX {
            let refusal = Refusal::Bound("bytes of an input", PAYLOAD_BYTES_MAX);
            return Err(SpawnError::Refused(refusal));
        }
        if is_too_deep(payload.as_json()) {
            let refusal = Refusal::Bound("levels of arrays and objects in an input", DEPTH_MAX);
            return Err(SpawnError::Refused(refusal));
        }
        let origin = kind.clone();
        let this = self.set(|spec| {
            spec.kind = Some(origin);
            spec.origin = Origin::Executor;
            spec.input = Some(payload);
        });
        let Some(scope) = this.spec.as_ref().map(|spec| spec.scope.clone()) else {
            return this.ask(Work::Spent).await;
        };
        let is_missing = this.core.executors.find(&scope, &kind).is_none();
        if is_missing && this.core.refuses_missing {
            return Err(SpawnError::NoExecutor { kind, input });
        }
        if let Err(why) = this.core.checks.input(&kind, &input) {
            return Err(SpawnError::InvalidInput { kind, why, input });
        }
        let work = executor::work(&this.core, kind, input, this.retry_if.clone());
        this.ask(work).await
    }

    pub(super) async fn ask<T>(self, work: Work) -> Result<TaskHandle<T>, SpawnError> {
        let id = self.id.unwrap_or_else(Clock::new_id);
        let spec = match (self.mistake, self.spec) {
            (Some(mistake), _) => {
                discard_work(id, work);
                return Err(mistake.into());
            }
            (None, None) => unreachable!("a builder without a spec has a mistake"),
            (None, Some(mut spec)) => {
                inherit(&mut spec, self.inherited);
                Arc::new(spec)
            }
        };
        let core = self.core;
        if drain::refuses(&core, self.by) {
            discard_work(id, work);
            return Err(SpawnError::Unavailable(
                "it lets its tasks end and takes no new ones",
            ));
        }
        let mail = core.hub.mail_of(inbox_of(&spec));
        let live = Live::new(id, spec, mail, work);
        live.set_hooks(self.hooks.bind(&core, "task"));
        let live = Arc::new(live);
        let links = Links::of(&core, &live, self.tokens);
        let asked = core.hub.gate.spawn(Arc::clone(&live), self.by, self.reuse);
        let (other, error) = match asked.await {
            Ok(Ok(Accepted::New(_))) => {
                drop(links);
                let record = core.hub.index.get(id);
                let handle = TaskHandle::of_live(core, live, record.as_deref());
                // The back pressure of a full limit that lets tasks run inline: who asks waits for
                // the end. How it ended is told by the handle, also when the manager went first.
                // Of an external task it is who asks that tells the end.
                let waits = |it: &Arc<Record>| it.inline && it.spec.origin != Origin::External;
                if record.as_ref().is_some_and(waits) {
                    let _ended = Box::pin(handle.settled()).await.is_ok();
                }
                return Ok(handle);
            }
            // It may exist: work and links stay.
            Err((Shut::Restarted, _)) => return Err(SpawnError::Unknown(id)),
            Ok(Ok(Accepted::Existing(id))) => (Some(id), None),
            Ok(Err((refusal, _))) => (None, Some(refusal.into())),
            Err((shut, _)) => (None, Some(unavailable(shut, core.hub.ruin().is_some()))),
        };
        if let Some(mut links) = links {
            links.tokens.clear();
        }
        live.discard_work();
        match (other, error) {
            (_, Some(error)) => {
                if let SpawnError::LimitReached(full) = &error {
                    core.hooks.limit_reached(LimitReached {
                        id,
                        scope: live.spec.scope.clone(),
                        full: full.clone(),
                    });
                }
                Err(error)
            }
            (other, None) => Ok(TaskHandle::of_id(core, other.unwrap_or(id))),
        }
    }
}

/// The inbox that a task has in this process.
pub(super) fn inbox_of(spec: &Spec) -> Inbox {
    let capacity = match spec.origin {
        Origin::External => 0,
        Origin::Closure | Origin::Executor => spec.inbox_capacity.unwrap_or(INBOX_CAPACITY_DEFAULT),
    };
    Inbox::new(capacity, spec.inbox_overflow)
}

fn discard_work(id: TaskId, work: Work) {
    let scope = Scope::new("none").expect("the word is a valid scope");
    let spec = Arc::new(Spec::new(scope));
    let inbox = Inbox::new(0, Overflow::Reject);
    Live::new(
        id,
        spec,
        (inbox, Arc::new(DeadLetters::new(DeadBounds::NONE))),
        work,
    )
    .discard_work();
}

fn unavailable(shut: Shut, is_ruined: bool) -> SpawnError {
    SpawnError::Unavailable(match shut {
        Shut::Closed => "it was shut down",
        Shut::Dead if is_ruined => {
            "its store cannot be used any more; Manager::store_trouble says why"
        }
        Shut::Dead => "it failed too often to be started again",
        Shut::Sick => "its store takes nothing at the moment; try again",
        Shut::Restarted => "it was started anew",
    })
}

/// The foreign tokens of a task that was asked for. They are linked also when nobody waits for the
/// answer any more, as the task may exist then.
struct Links {
    core: Arc<Core>,
    live: Arc<Live>,
    tokens: Vec<CancellationToken>,
}

impl Links {
    /// Most tasks have none: these touch no count that threads share.
    fn of(core: &Arc<Core>, live: &Arc<Live>, tokens: Vec<CancellationToken>) -> Option<Self> {
        (!tokens.is_empty()).then(|| Self {
            core: Arc::clone(core),
            live: Arc::clone(live),
            tokens,
        })
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        for token in self.tokens.drain(..) {
            link(&self.core, &self.live, token);
        }
    }
}

/// Watches a foreign token until the task settles.
fn link(core: &Arc<Core>, live: &Arc<Live>, token: CancellationToken) {
    // Without a runtime no task runs any more.
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    let (core, live) = (Arc::clone(core), Arc::clone(live));
    runtime.spawn(async move {
        tokio::select! {
            biased;
            _ = live.done.wait() => {}
            () = core.hub.gate.shut_down() => {}
            () = token.cancelled() => super::cancel::for_token(&core, live.id).await,
        }
    });
}

/// A body's result as the kernel carries it.
pub(super) fn encode<T: Serialize>(result: Result<T, Failure>) -> Verdict {
    let value = match result {
        Ok(value) => value,
        Err(failure) => return Verdict::Failed(failure),
    };
    match to_text(&value) {
        Ok(json) if json.len() <= PAYLOAD_BYTES_MAX => Verdict::Done(Payload::from_json(json)),
        Ok(json) => {
            let message = format!(
                "its value has {} bytes; at most {PAYLOAD_BYTES_MAX} are kept",
                json.len()
            );
            Verdict::Failed(Failure::new(message).permanent())
        }
        Err(error) => {
            let message = format!("its value cannot be written as JSON: {error}");
            Verdict::Failed(Failure::new(message).permanent())
        }
    }
}
