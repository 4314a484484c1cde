//! What a body is handed: who it is, its stop signal, and what it may begin.
//!
//! *Not here*: what it says of itself (`note`), messages (`receive`, `send`), awaiting others
//! (`wait`).

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::builder::{Once, TaskBuilder};
use super::cancel::{Cancel, CancelError};
use super::core::Core;
use super::handle::TaskRef;
use super::manager::Manager;
use crate::engine::{Attempt, BodyFuture, Verdict};
use crate::kernel::Trace;
use crate::kernel::{CancelReport, Epoch, Kind, Scope, Spec, Stop, TaskId};

tokio::task_local! {
    static CURRENT: Context;
}

/// The context of the body that runs here, also inside plain functions; `None` outside of bodies.
///
/// It does not follow into tasks that a body starts by itself with `tokio::spawn`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use understory::{Manager, current};
/// # let manager = Manager::in_memory();
/// fn who_asks() -> String {
///     current().map_or_else(|| "the host".to_owned(), |here| here.path())
/// }
///
/// let task = manager.scope("s").task("t").spawn(|_| async { Ok(who_asks()) }).await?;
/// assert_eq!(task.await?, "t");
/// assert_eq!(who_asks(), "the host");
/// # Ok(()) }
/// ```
pub fn current() -> Option<Context> {
    CURRENT.try_with(Clone::clone).ok()
}

/// The task whose body runs here.
pub(super) fn current_id() -> Option<TaskId> {
    CURRENT.try_with(Context::id).ok()
}

/// The trace of the body that runs here, inside its span.
pub(super) fn current_trace() -> Option<Trace> {
    CURRENT.try_with(Context::trace).ok().flatten()
}

/// Runs `body` with `context` as the current one.
pub(super) fn within(
    context: Context,
    body: impl Future<Output = Verdict> + Send + 'static,
) -> BodyFuture {
    Box::pin(CURRENT.scope(context, body))
}

/// One attempt of a task, as its body sees it. Cheap to clone.
///
/// What it does counts only while its attempt is the newest one: after that it receives nothing,
/// and what it says and spawns is refused.
#[derive(Clone)]
pub struct Context {
    pub(super) core: Arc<Core>,
    pub(super) attempt: Arc<Attempt>,
}

impl Context {
    pub(super) const fn new(core: Arc<Core>, attempt: Arc<Attempt>) -> Self {
        Self { core, attempt }
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.attempt.epoch
    }

    pub(super) fn spec(&self) -> &Spec {
        &self.attempt.live.spec
    }

    /// The task's id.
    pub fn id(&self) -> TaskId {
        self.attempt.live.id
    }

    /// The task's name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.attempt
            .live
            .spec
            .name
            .as_ref()
            .map(crate::kernel::Name::as_str)
    }

    /// The names from the root down to this task, like `lead/docs`; of a task without a name the
    /// end of its id.
    pub fn path(&self) -> String {
        self.core.path(self.id())
    }

    /// The task's scope, which may be another one after a transfer.
    pub fn scope(&self) -> Scope {
        let record = self.core.hub.index.get(self.id());
        let asked = || self.attempt.live.spec.scope.clone();
        record.map_or_else(asked, |record| record.scope().clone())
    }

    /// The task's kind, if it has one.
    pub fn kind(&self) -> Option<&Kind> {
        self.attempt.live.spec.kind.as_ref()
    }

    /// The number of this attempt: 1 is the first.
    pub fn attempt(&self) -> u32 {
        self.attempt.number
    }

    /// Which life of its id this is: 1, unless the id was used [again](TaskBuilder::reuse_id).
    pub fn incarnation(&self) -> u32 {
        let record = self.core.hub.index.get(self.id());
        record.map_or(1, |record| record.incarnation)
    }

    /// The value of one of the task's labels.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.spec().labels.get(key).map(|value| &**value)
    }

    /// The task above this one.
    pub fn parent(&self) -> Option<TaskId> {
        let record = self.core.hub.index.get(self.id());
        record.map_or(self.attempt.live.spec.parent, |record| record.parent)
    }

    /// The manager that supervises this task.
    pub fn manager(&self) -> Manager {
        Manager::over(Arc::clone(&self.core))
    }

    /// This task as others hold it.
    pub fn this(&self) -> TaskRef {
        TaskRef::new(Arc::clone(&self.core), self.id())
    }

    /// The header `traceparent` for what this attempt asks of others: the trace in which its task
    /// was asked for, inside the span of this attempt. `None` if that was in no trace.
    pub fn traceparent(&self) -> Option<String> {
        self.trace().map(|trace| trace.traceparent().to_owned())
    }

    /// The header `tracestate` that goes with it.
    pub fn tracestate(&self) -> Option<String> {
        let trace = self.attempt.live.spec.trace.as_ref();
        trace.and_then(Trace::tracestate).map(str::to_owned)
    }

    fn trace(&self) -> Option<Trace> {
        let trace = self.attempt.live.spec.trace.as_ref()?;
        Some(trace.within(span_id(self.id(), self.epoch())))
    }

    /// Begins a child of this name.
    pub fn task(&self, name: &str) -> TaskBuilder<Once> {
        self.unnamed().name(name)
    }

    /// Begins a child without a name.
    pub fn unnamed(&self) -> TaskBuilder<Once> {
        let scope = Ok(self.scope());
        let trace = self.trace();
        TaskBuilder::new(Arc::clone(&self.core), scope)
            .below(self.id(), self.epoch())
            .inheriting(self.spec())
            .set(|spec| {
                if spec.trace != trace {
                    spec.trace = trace;
                }
            })
    }

    /// Whether this attempt was asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.attempt.signal.is_asked()
    }

    /// Why this attempt was asked to stop, if it was.
    pub fn stop(&self) -> Option<Arc<Stop>> {
        self.attempt.signal.stop()
    }

    /// Waits until this attempt is asked to stop, and says why.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Cancel, Manager};
    /// # let manager = Manager::in_memory();
    /// let task = manager
    ///     .scope("s")
    ///     .task("server")
    ///     .spawn(|ctx| async move {
    ///         let why = ctx.cancelled().await;
    ///         // Here it would say goodbye to its clients, for as long as its grace lasts.
    ///         Ok(why.reason.to_string())
    ///     })
    ///     .await?;
    /// task.cancel(Cancel::because("deploy")).await?;
    /// let stop = task.record().and_then(|record| record.stop.clone());
    /// assert!(stop.is_some_and(|stop| &*stop.reason == "deploy"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn cancelled(&self) -> Arc<Stop> {
        self.attempt.signal.asked().await
    }

    /// The request to stop as a token, for code that wants one. Cancelling it stops nothing else.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Cancel, Manager, State};
    /// # let manager = Manager::in_memory();
    /// let task = manager
    ///     .scope("s")
    ///     .task("t")
    ///     .spawn(|ctx| async move {
    ///         let request = std::future::pending::<()>();
    ///         let answer = ctx.token().run_until_cancelled(request).await;
    ///         Ok(answer.is_some())
    ///     })
    ///     .await?;
    /// task.cancel(Cancel::because("enough")).await?;
    /// assert_eq!(task.state(), Some(State::Cancelled));
    /// # Ok(()) }
    /// ```
    pub fn token(&self) -> CancellationToken {
        self.attempt.signal.token()
    }

    /// Cancels the task of this id and everything below it; see [`TaskRef::cancel_tree`].
    ///
    /// # Errors
    /// [`CancelError`], as for [`TaskRef::cancel_tree`].
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting, not the cancelling.
    pub async fn cancel_tree(
        &self,
        id: TaskId,
        cancel: Cancel,
    ) -> Result<CancelReport, CancelError> {
        self.manager().task(id).cancel_tree(cancel).await
    }

    /// Does something as this attempt, wherever it is polled: what it asks of others is recorded as
    /// asked by its task, which waits while it waits.
    pub(crate) async fn acting<T>(&self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self.clone(), work).await
    }

    pub(super) fn is_current(&self) -> bool {
        self.attempt.live.is_current(self.epoch())
    }

    pub(super) fn parts(&self) -> (&Arc<Core>, &Attempt) {
        (&self.core, &self.attempt)
    }
}

/// The id of the span of an attempt: other attempts have others, also after a restart.
fn span_id(task: TaskId, epoch: Epoch) -> u64 {
    let bits = task.as_u128();
    let halves = u64::try_from(bits >> 64).expect("64 bits are left")
        ^ u64::try_from(bits & u128::from(u64::MAX)).expect("64 bits are left");
    // The finalizer of splitmix64 spreads the bits, and the golden ratio the epochs.
    let mut mixed = halves.wrapping_add(u64::from(epoch.0).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).max(1)
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("task", &self.id())
            .field("attempt", &self.attempt())
            .finish()
    }
}
