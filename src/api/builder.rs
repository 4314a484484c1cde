//! What a task shall be: the builder and its wishes.
//!
//! *Not here*: asking the manager for it (`spawn`).

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::context;
use super::core::Core;
use super::task_hooks::TaskHooks;
use crate::engine::Classifier;
use crate::inbox::Overflow;
use crate::kernel::Trace;
use crate::kernel::{
    ClassName, Counter, Disposition, Epoch, InvalidText, Kind, Labels, LateSuccess, Name, Reuse,
    Scope, Spec, StopPolicy, TaskId, check_label,
};

/// Messages that wait in an inbox unless the task says otherwise.
pub(super) const INBOX_CAPACITY_DEFAULT: u32 = 64;

/// Marks a builder whose body is called once: there is one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Once;
/// Marks a builder whose body is called anew for each attempt, and when it is resumed.
#[derive(Clone, Copy, Debug)]
pub struct Again;

/// A task to be: set what it needs, then [`spawn`](TaskBuilder::spawn) it.
///
/// A value that is not valid (a name with a blank, for instance) is kept and told by `spawn`. After
/// [`TaskBuilder::retry`] or [`TaskBuilder::resumable`] the body must be callable again (`Fn`).
#[must_use = "a task that is not spawned does not exist"]
#[derive(Clone)]
pub struct TaskBuilder<Mode = Once> {
    pub(super) core: Arc<Core>,
    pub(super) spec: Option<Spec>,
    pub(super) mistake: Option<InvalidText>,
    pub(super) id: Option<TaskId>,
    pub(super) reuse: Reuse,
    pub(super) inherited: Labels,
    pub(super) by: Option<(TaskId, Epoch)>,
    pub(super) tokens: Vec<CancellationToken>,
    /// Which failures are worth another attempt; `None` is all.
    pub(super) retry_if: Option<Classifier>,
    pub(super) hooks: TaskHooks,
    mode: PhantomData<Mode>,
}

impl TaskBuilder<Once> {
    pub(super) fn new(core: Arc<Core>, scope: Result<Scope, InvalidText>) -> Self {
        let (spec, mistake) = match scope {
            Ok(scope) => {
                let mut spec = Spec::new(scope);
                if let Some(trace) = context::current_trace() {
                    spec.trace = Some(trace);
                }
                (Some(spec), None)
            }
            Err(mistake) => (None, Some(mistake)),
        };
        Self {
            core,
            spec,
            mistake,
            id: None,
            reuse: Reuse::default(),
            inherited: Labels::new(),
            by: None,
            tokens: Vec::new(),
            retry_if: None,
            hooks: TaskHooks::default(),
            mode: PhantomData,
        }
    }
}

impl<Mode> TaskBuilder<Mode> {
    /// Names the task. Among the live tasks of a scope a name has one holder; it is free again when
    /// that one has settled and its body has stopped. The words `parent`, `self`, `root`, `all` and
    /// `broadcast` are reserved: they address something else.
    pub fn name(mut self, name: &str) -> Self {
        let name = self.keep(Name::new(name));
        self.set(|spec| spec.name = name)
    }

    /// Says what sort of work it is: for filters, and for the limit of that kind, if there is one.
    pub fn kind(mut self, kind: &str) -> Self {
        let kind = self.keep(Kind::new(kind));
        self.set(|spec| spec.kind = kind)
    }

    /// Adds a label, which filters can ask for.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        if self.keep(check_label(key, value)).is_none() {
            return self;
        }
        self.set(|spec| {
            spec.labels.insert(key.into(), value.into());
        })
    }

    /// Lets it take a slot of this limit class while it runs. The class must be known to the
    /// builder of the manager; a task takes a slot of each of its classes, all at once or none.
    ///
    /// It keeps no slot free for itself while another of its classes is full: others take it. So a
    /// task of several classes starts when all have room at the same moment, ahead of those of its
    /// scope that come after it; while others keep each class busy by turns it waits, whatever its
    /// priority. [`TaskBuilder::queue_timeout`] bounds that.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Class, Manager, SpawnError};
    /// let manager = Manager::builder().limit("llm", Class::refuse(1)).build()?;
    /// let scope = manager.scope("s");
    /// let first = scope
    ///     .task("first")
    ///     .limit("llm")
    ///     .spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) })
    ///     .await?;
    /// let second = scope.task("second").limit("llm").spawn(|_| async { Ok(()) }).await;
    /// assert!(matches!(second, Err(SpawnError::LimitReached(full)) if full.in_use == 1));
    /// first.send("go on").await?;
    /// assert!(first.await?);
    /// # Ok(()) }
    /// ```
    pub fn limit(mut self, class: &str) -> Self {
        let class = self.keep(ClassName::new(class));
        self.set(|spec| spec.limits.extend(class))
    }

    /// Lets it and everything below it use at most `limit` of this counter (tokens, turns, cents):
    /// see [`Context::charge`](crate::Context::charge). A charge that does not fit cancels it as a
    /// tree.
    pub fn budget(mut self, counter: &str, limit: u64) -> Self {
        let counter = self.keep(Counter::new(counter));
        self.set(|spec| spec.budgets.extend(counter.map(|counter| (counter, limit))))
    }

    /// Lets it go ahead of tasks of lower priority (0 by default) that wait for the same slots in
    /// its scope; equal ones go in the order in which they came. Between scopes the turn goes
    /// round, whatever the priorities.
    pub fn priority(self, priority: i16) -> Self {
        self.set(|spec| spec.priority = priority)
    }

    /// Never drops its body by force: after the grace it is abandoned and goes on until it ends by
    /// itself, and holds its name and its slots as long.
    pub fn cooperative(self) -> Self {
        self.set(|spec| spec.stop_policy = StopPolicy::Cooperative)
    }

    /// Says what a value means that arrives after a cancel was asked; by default the task is
    /// cancelled and its record keeps the value.
    pub fn late_success(self, meaning: LateSuccess) -> Self {
        self.set(|spec| spec.late_success = meaning)
    }

    /// Binds a task of an executor to the process that starts it: once it has started, no other one
    /// runs it again, whatever attempts it has left; it is interrupted, with the evidence. Before
    /// its first start any process may take it. Its own process retries it as it says.
    ///
    /// So is every closure. Who holds an external task has its body.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use serde_json::Value;
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use understory::store::MemoryStore;
    /// use understory::{Context, Failure, Manager, Retry, State};
    ///
    /// async fn session(ctx: Context, _: Value) -> Result<Value, Failure> {
    ///     ctx.cancelled().await; // it talks over a connection of this process
    ///     Ok(Value::Null)
    /// }
    /// let store = Arc::new(MemoryStore::new()); // or a file: `Builder::open`
    /// let builder = || Manager::builder().executor("session", session).store(Arc::clone(&store));
    ///
    /// let manager = builder().build()?;
    /// let task = manager.scope("s").task("t").owner_bound();
    /// let task = task.retry(Retry::fixed(5, Duration::ZERO));
    /// let task = task.spawn_kind("session", ()).await?;
    /// while task.state() != Some(State::Running) {
    ///     tokio::task::yield_now().await;
    /// }
    /// manager.leave().await?;
    ///
    /// let manager = builder().build()?; // another process
    /// while manager.task(task.id()).state() != Some(State::Interrupted) {
    ///     tokio::task::yield_now().await;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn owner_bound(self) -> Self {
        self.set(|spec| spec.disposition = Disposition::OwnerBound)
    }

    /// Sets the trace in which it runs, as the headers `traceparent` and `tracestate` of W3C Trace
    /// Context. By default a task that a body asks for runs in the trace of that body.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let manager = understory::Manager::in_memory();
    /// let request = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    /// let task = manager.scope("s").task("t").trace(request, Some("vendor=1"));
    /// let task = task.spawn(|ctx| async move { Ok(ctx.traceparent()) }).await?;
    /// let inside = task.await?.unwrap_or_default();
    /// assert!(inside.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-")); // the same trace
    /// assert_ne!(inside, request); // below a span of its own
    /// # Ok(()) }
    /// ```
    pub fn trace(mut self, traceparent: &str, tracestate: Option<&str>) -> Self {
        let trace = self.keep(Trace::new(traceparent, tracestate));
        self.set(|spec| spec.trace = trace)
    }

    /// Sets how many messages may wait for it (64); zero gives it no inbox.
    pub fn inbox_capacity(self, messages: u32) -> Self {
        self.set(|spec| spec.inbox_capacity = Some(messages))
    }

    /// Tells its progress at most so often: the first note at once, then the newest one at the end
    /// of each interval, and before its end. A request to stop ends the pace: what is held is told
    /// at once, and so is every later note. Zero tells every note, whatever the manager's builder
    /// says.
    pub fn coalesce_progress(self, interval: Duration) -> Self {
        self.set(|spec| spec.progress_interval = Some(interval))
    }

    /// Says what becomes of one more message when its inbox is full: refused by default.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Delivery, Manager, Overflow, Undelivered};
    /// # let manager = Manager::in_memory();
    /// let task = manager.scope("s").task("latest").inbox_capacity(1);
    /// let task = task.inbox_overflow(Overflow::DropOldest).spawn(|ctx| async move {
    ///     Ok(ctx.recv().await.map(|message| message.body))
    /// });
    /// let task = task.await?;
    /// let old = task.send("old").await?;
    /// task.send("new").await?;
    /// assert_eq!(old.await, Delivery::Undelivered(Undelivered::Dropped));
    /// assert_eq!(task.await?, Some("new".into()));
    /// # Ok(()) }
    /// ```
    pub fn inbox_overflow(self, overflow: Overflow) -> Self {
        self.set(|spec| spec.inbox_overflow = overflow)
    }

    /// Cancels it and everything below it when this token is cancelled, now or later.
    ///
    /// The token stays yours: cancelling the task does not cancel it. Several tokens may be linked.
    /// The links end with the process: a task that goes on after a restart of the program has none;
    /// cancel it by its id or its scope.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tokio_util::sync::CancellationToken;
    /// # use understory::{Manager, State};
    /// # let manager = Manager::in_memory();
    /// let request = CancellationToken::new();
    /// let task = manager
    ///     .scope("s")
    ///     .task("t")
    ///     .cancel_with(request.child_token())
    ///     .spawn(|ctx| async move { Ok(ctx.cancelled().await.reason.to_string()) })
    ///     .await?;
    /// request.cancel();
    /// assert_eq!(task.settled().await?.state, State::Cancelled);
    /// # Ok(()) }
    /// ```
    pub fn cancel_with(mut self, token: CancellationToken) -> Self {
        self.tokens.push(token);
        self
    }

    /// Lets the body suspend itself, as it can be called again (`Fn`) when somebody resumes it. See
    /// [`Context::suspend`](crate::Context::suspend).
    pub fn resumable(self) -> TaskBuilder<Again> {
        self.again()
    }

    /// From here on the body is called anew for each attempt.
    pub(super) fn again(self) -> TaskBuilder<Again> {
        let this = self;
        TaskBuilder {
            core: this.core,
            spec: this.spec,
            mistake: this.mistake,
            id: this.id,
            reuse: this.reuse,
            inherited: this.inherited,
            by: this.by,
            tokens: this.tokens,
            retry_if: this.retry_if,
            hooks: this.hooks,
            mode: PhantomData,
        }
    }

    pub(super) fn set(mut self, change: impl FnOnce(&mut Spec)) -> Self {
        if let Some(spec) = &mut self.spec {
            change(spec);
        }
        self
    }

    pub(super) fn keep<T>(&mut self, checked: Result<T, InvalidText>) -> Option<T> {
        match checked {
            Ok(value) => Some(value),
            Err(mistake) => {
                self.mistake.get_or_insert(mistake);
                None
            }
        }
    }
}

impl<Mode> fmt::Debug for TaskBuilder<Mode> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskBuilder")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}
