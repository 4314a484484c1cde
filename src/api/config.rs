//! How a manager is set up.

use std::fmt;
use std::future::Future;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;

use super::checks::AllChecks;
use super::core::Core;
use super::executor::{Executor, Executors, MissingExecutor, Mode};
use super::hooks::{Hooks, LimitReached};
use super::liveness;
use super::manager::Manager;
use super::revive;
use super::task_hooks::HostTaskHooks;
use super::wake;
use crate::actors::{self, BodyHost, Hub, Queues};
use crate::kernel::{Bounds, Class, ClassName, InvalidText, Kind, Scope, State};
use crate::store::{LEASE_TTL_MIN, MemoryStore, Store};

/// Why a manager cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A name given to the builder is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidText),
    /// A number that must be at least one is zero.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// The lease of the store would be over before it can be renewed.
    #[error("lease_ttl must be at least {LEASE_TTL_MIN:?}, and {0:?} is less")]
    ShortLease(Duration),
    /// Records are kept for a time by how they settled, and in this state a task has not.
    #[error("records are kept by how a task settled; {0} is no such state")]
    NotSettled(State),
    /// There is no tokio runtime here to run tasks on.
    #[error("a manager needs a tokio runtime: build it inside #[tokio::main] or Runtime::enter")]
    NoRuntime,
    /// The tokio runtime here has no timers.
    #[error("the tokio runtime of a manager needs timers: build it with enable_time or enable_all")]
    NoTimers,
    /// A panic of one body would end the whole process.
    #[error(
        "this program is compiled with panic = \"abort\"; supervision needs panic = \"unwind\""
    )]
    PanicAborts,
    /// The file cannot be used.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    Open(#[from] crate::store::sqlite::OpenError),
    /// What is in the file could not be brought up to date; nothing runs.
    #[error("recovery failed: {0}; try again when the cause is mended")]
    Recovery(String),
}

/// Sets up a [`Manager`]: limits, bounds, executors, store.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use understory::{Class, Manager};
///
/// let manager = Manager::builder()
///     .limit("llm", Class::queue(2))       // two at once, others wait
///     .per_scope_limit(Class::refuse(100)) // the 101st of a scope is refused
///     .grace(Duration::from_secs(2))
///     .build()?;
/// # let _ = manager;
/// # Ok(()) }
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    pub(super) bounds: Bounds,
    pub(super) queues: Queues,
    executors: Executors,
    checks: AllChecks,
    mode: Mode,
    missing: MissingExecutor,
    hooks: Hooks,
    task_hooks: HostTaskHooks,
    store: Option<Arc<dyn Store>>,
    mistake: Option<InvalidText>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            bounds: Bounds::default(),
            queues: Queues::default(),
            executors: Executors::default(),
            checks: AllChecks::default(),
            mode: Mode::default(),
            missing: MissingExecutor::default(),
            hooks: Hooks::default(),
            task_hooks: HostTaskHooks::default(),
            store: None,
            mistake: None,
        }
    }

    /// Limits how many tasks run at once, over all scopes.
    pub fn global_limit(mut self, class: Class) -> Self {
        self.bounds.global = Some(class);
        self
    }

    /// Limits how many tasks of each scope run at once.
    pub fn per_scope_limit(mut self, class: Class) -> Self {
        self.bounds.per_scope = Some(class);
        self
    }

    /// Limits how many tasks of one scope run at once, instead of the limit per scope.
    pub fn scope_limit(mut self, scope: &str, class: Class) -> Self {
        if let Some(scope) = self.keep(Scope::new(scope)) {
            self.bounds.scopes.insert(scope, class);
        }
        self
    }

    /// Limits how many tasks of a kind run at once.
    pub fn kind_limit(mut self, kind: &str, class: Class) -> Self {
        if let Some(kind) = self.keep(Kind::new(kind)) {
            self.bounds.kinds.insert(kind, class);
        }
        self
    }

    /// Adds a limit class that tasks ask for by name.
    pub fn limit(mut self, name: &str, class: Class) -> Self {
        if let Some(name) = self.keep(ClassName::new(name)) {
            self.bounds.named.insert(name, class);
        }
        self
    }

    /// Registers the executor of a kind.
    pub fn executor(mut self, kind: &str, executor: impl Executor) -> Self {
        if let Some(kind) = self.keep(Kind::new(kind)) {
            self.executors.register(None, kind, Arc::new(executor));
        }
        self
    }

    /// Registers the executor of a kind in one scope, where it goes before the one of all scopes.
    pub fn executor_in(mut self, scope: &str, kind: &str, executor: impl Executor) -> Self {
        let (scope, kind) = (self.keep(Scope::new(scope)), self.keep(Kind::new(kind)));
        if let (Some(scope), Some(kind)) = (scope, kind) {
            self.executors
                .register(Some(scope), kind, Arc::new(executor));
        }
        self
    }

    /// Is told of each task that a full limit refused.
    ///
    /// It runs in a task of its own, for at most five seconds, after the refusal; a panic or an
    /// overrun of it is logged and stops nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Class, LimitName, Manager};
    /// # use tokio::sync::mpsc;
    /// let (refused, mut told) = mpsc::channel(8);
    /// let manager = Manager::builder()
    ///     .global_limit(Class::refuse(1))
    ///     .on_limit_reached(move |reached| {
    ///         refused.try_send(reached.full.class).ok();
    ///         async {}
    ///     })
    ///     .build()?;
    /// let scope = manager.scope("s");
    /// scope.task("a").spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) }).await?;
    /// assert!(scope.task("b").spawn(|_| async { Ok(()) }).await.is_err());
    /// assert_eq!(told.recv().await, Some(LimitName::Global));
    /// # Ok(()) }
    /// ```
    pub fn on_limit_reached<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(LimitReached) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.hooks.on_limit(hook);
        self
    }

    /// Says what becomes of tasks whose kind has no executor here (they are refused).
    pub fn missing_executor(mut self, missing: MissingExecutor) -> Self {
        self.missing = missing;
        self
    }

    /// Says whether this manager runs the tasks that it takes.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Keeps records and events in this store instead of memory. A task whose executor is not
    /// registered when it could start waits for it.
    ///
    /// What is in the store is read after [`Builder::build`] has returned: until then reads show
    /// nothing of it, while requests, messages, waits and subscriptions wait for that. Whoever
    /// opens a file (`Builder::open`) has it at once.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Sets how long this manager's lease of its store lasts without a renewal (30 s; 1 s or more).
    ///
    /// It is looked after every third of that time. The longer it is, the longer the next manager
    /// of a shared store waits after this one has died; the shorter, the sooner this one must end
    /// when it cannot renew. One that is idle hears that late that its store was taken over,
    /// removed or replaced; one that works hears of it with its next commit.
    pub fn lease_ttl(mut self, ttl: Duration) -> Self {
        self.queues.lease_ttl = ttl;
        self
    }

    /// Says where bodies run (each in an actor that it has to itself).
    ///
    /// As [`BodyHost::TokioTask`] a task that lives on takes about a quarter of the memory, and its
    /// spawn half of the time; `BENCHMARKS.md` has both. Supervision is the same: records, events,
    /// panics, cancels, limits, restarts, and that bodies end with their manager. What is missing
    /// is the actor of `ractor` itself, for tools that look at actors.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use understory::{BodyHost, Manager};
    ///
    /// let manager = Manager::builder().body_host(BodyHost::TokioTask).build()?;
    /// let task = manager.scope("s").task("t").spawn(|_| async { Ok(7) }).await?;
    /// assert_eq!(task.await?, 7);
    /// # Ok(()) }
    /// ```
    pub fn body_host(mut self, host: BodyHost) -> Self {
        self.queues.body_host = host;
        self
    }

    /// Sets how long a body may go on after it was asked to stop, if nobody says otherwise (5 s).
    pub fn grace(mut self, grace: Duration) -> Self {
        self.bounds.grace = grace;
        self
    }

    /// Sets how long a body that is dropped by force may take before it counts as abandoned (500
    /// ms).
    pub fn abort_window(mut self, window: Duration) -> Self {
        self.bounds.abort_window = window;
        self
    }

    /// Starts the manager on the current tokio runtime.
    ///
    /// # Errors
    /// [`BuildError`] when a name or number is not valid, there is no runtime, or panics abort.
    pub fn build(self) -> Result<Manager, BuildError> {
        let this = self.checked()?;
        let is_durable = this.store.is_some();
        let store = this
            .store
            .unwrap_or_else(|| Arc::new(MemoryStore::default()));
        let mut bounds = this.bounds;
        bounds.hosts = this.executors.hosts(this.mode, this.missing, is_durable);
        bounds.hooked = actors::hooked(this.task_hooks.holding());
        let hub = Arc::new(Hub::new(bounds, this.queues, store));
        let refuses = this.mode != Mode::Producer && this.missing == MissingExecutor::Refused;
        let core = Core::new(
            (hub, Handle::current()),
            (this.executors, this.checks),
            this.hooks,
            refuses,
        );
        wake::install(&core);
        liveness::install(&core);
        this.task_hooks.install(&core);
        revive::install(&core);
        actors::boot(&core.hub, Arc::<Core>::clone(&core));
        Ok(Manager::over(core))
    }

    /// Checks everything before anything begins.
    pub(super) fn checked(mut self) -> Result<Self, BuildError> {
        if let Some(mistake) = self.mistake.take() {
            return Err(mistake.into());
        }
        check_numbers(&self.bounds, &self.queues)?;
        if self.hooks.probe_interval() == Some(Duration::ZERO) {
            return Err(BuildError::Zero("the interval of liveness"));
        }
        if self.queues.lease_ttl < LEASE_TTL_MIN {
            return Err(BuildError::ShortLease(self.queues.lease_ttl));
        }
        if let Some(state) = self.bounds.retain.keys().find(|state| !state.is_terminal()) {
            return Err(BuildError::NotSettled(*state));
        }
        if cfg!(panic = "abort") {
            return Err(BuildError::PanicAborts);
        }
        if Handle::try_current().is_err() {
            return Err(BuildError::NoRuntime);
        }
        // A runtime does not tell in another way.
        if catch_unwind(|| drop(sleep(Duration::ZERO))).is_err() {
            return Err(BuildError::NoTimers);
        }
        Ok(self)
    }

    pub(super) fn checks_mut(&mut self) -> &mut AllChecks {
        &mut self.checks
    }

    pub(super) fn hooks_mut(&mut self) -> &mut Hooks {
        &mut self.hooks
    }

    pub(super) fn task_hooks_mut(&mut self) -> &mut HostTaskHooks {
        &mut self.task_hooks
    }

    /// Keeps a valid name; the first one that is not fails the build.
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

fn check_numbers(bounds: &Bounds, queues: &Queues) -> Result<(), BuildError> {
    let named = bounds
        .named
        .values()
        .chain(bounds.kinds.values())
        .chain(bounds.scopes.values());
    let mut classes = named.chain(&bounds.global).chain(&bounds.per_scope);
    let numbers = [
        ("live_max", bounds.live_max),
        ("children_max", bounds.children_max),
        ("asks_max", queues.asks),
        ("feed_events_max", queues.feed_events),
        ("subscribers_max", queues.subscribers),
    ];
    if classes.any(|class| class.size == 0) {
        return Err(BuildError::Zero("the size of a limit class"));
    }
    match numbers.into_iter().find(|(_, number)| *number == 0) {
        Some((name, _)) => Err(BuildError::Zero(name)),
        None => Ok(()),
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("bounds", &self.bounds)
            .field("executors", &self.executors)
            .finish_non_exhaustive()
    }
}
