//! Hooks of tasks: before one settles, and whenever something happens to it.
//!
//! *Not here*: when they are called, and in which order (`actors/hooks.rs`).

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use super::builder::TaskBuilder;
use super::config::Builder;
use super::core::Core;
use super::executor::BoxFuture;
use super::handle::TaskRef;
use crate::actors::Of;
use crate::engine::{Failure, Hears, Hook, HookSet, Proposal};
use crate::kernel::{Event, Kind, Outcome, Record, Scope, What};

type Call<A> = Arc<dyn Fn(A) -> BoxFuture<Result<(), Failure>> + Send + Sync>;

/// A task that is about to settle, as its hooks see it.
#[derive(Clone, Debug)]
pub struct Settling {
    /// The task. It holds its name and its key, and waits for its hooks.
    pub task: TaskRef,
    /// Its record.
    pub record: Arc<Record>,
    /// How it is going to end, whatever the hooks do.
    pub outcome: Arc<Outcome>,
}

/// Something that has happened to a task, as its observers hear of it.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The task.
    pub task: TaskRef,
    /// What happened.
    pub event: Arc<Event>,
}

impl Notice {
    /// How the task ended, if this tells of its end.
    pub fn outcome(&self) -> Option<&Arc<Outcome>> {
        if let What::Settled { outcome, .. } = &self.event.what {
            return Some(outcome);
        }
        None
    }
}

/// Hooks of one task, of those of a kind or scope, or of all: what shall be called when.
///
/// Each call runs in a tokio task of its own, for at most five seconds. A hook that fails, panics
/// or takes too long changes nothing for its task, the other hooks and the manager; the event
/// `hook_failed` tells which it was and why.
///
/// [`before_settle`](TaskHooks::before_settle) is waited for, the observers
/// [`on_settled`](TaskHooks::on_settled) and [`on_event`](TaskHooks::on_event) are not.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use understory::{Manager, Settling, TaskHooks};
/// # use tokio::sync::mpsc;
/// # let (notes, mut written) = mpsc::channel(8);
///
/// let remember = move |settling: Settling| {
///     let notes = notes.clone();
///     async move {
///         notes.try_send(format!("{} {}", settling.task.path(), settling.outcome.state()))?;
///         Ok(())
///     }
/// };
/// let manager = Manager::builder()
///     .task_hooks(TaskHooks::new().before_settle(remember))
///     .build()?;
/// let task = manager.scope("s").task("t").spawn(|_| async { Ok(1) }).await?;
/// assert_eq!(task.await?, 1);
/// assert_eq!(written.try_recv()?, "t completed"); // before anybody heard of the end
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
#[must_use = "hooks are called when a builder has them"]
pub struct TaskHooks {
    before_settle: Vec<Call<Settling>>,
    observers: Vec<(Hears, Call<Notice>)>,
}

impl TaskHooks {
    /// No hooks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls this when a task is about to settle: its body and its children are over, its end is
    /// decided and not recorded. It is recorded and told when the hook is over, so that what the
    /// hook writes elsewhere is there before anybody hears of the end. The hook cannot change it.
    ///
    /// Of several hooks the task's own go first, then those of its kind, its scope and the manager,
    /// each when the one before it is over, or has used up its share of the time that is left. All
    /// together have five seconds; when the task is cancelled, no more than what is left of its
    /// grace, the [`abort_window`](crate::Builder::abort_window) and 300 milliseconds.
    ///
    /// After a crash, or a failure of the manager's actors, the hooks of a task that was about to
    /// settle are called again; after a crash not its own, which were closures of its process.
    pub fn before_settle<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Settling) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.before_settle.push(boxed(hook));
        self
    }

    /// Calls this when a task has settled, however it did: completed, failed, timed out, cancelled,
    /// abandoned, interrupted by a crash.
    ///
    /// The end is recorded by then, and told to subscribers; the hook holds nothing up. It hears of
    /// every end once in this process, in the order in which they were decided, one after another.
    /// If it is slow it falls behind: what it has not heard of is read from the feed, or from the
    /// store as far as that keeps its events. Only what neither has any more is missed, and logged:
    /// in memory both keep the newest 65,536 events. Only a [shutdown](crate::Manager::shutdown)
    /// waits for it, five seconds at most. What a process had not told when it died is not told by
    /// the next one: for that, subscribe from a number, or use [`TaskHooks::before_settle`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use tokio::sync::mpsc;
    /// # use understory::{Manager, Notice, State, TaskHooks};
    /// let (tell, mut ends) = mpsc::channel(8);
    /// let hook = move |notice: Notice| {
    ///     let told = tell.try_send((notice.task.id(), notice.event.state));
    ///     async move { Ok(told?) }
    /// };
    /// let hooks = TaskHooks::new().on_settled(hook);
    /// let manager = Manager::builder().task_hooks(hooks).build()?;
    /// let task = manager.scope("s").task("t").spawn(|_| async { Ok(()) }).await?;
    /// assert_eq!(ends.recv().await, Some((task.id(), State::Completed)));
    /// # Ok(()) }
    /// ```
    pub fn on_settled<F, Fut>(self, hook: F) -> Self
    where
        F: Fn(Notice) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.observer(Hears::Ends, boxed(hook))
    }

    /// Calls this for every event of a task: that it started, was suspended, wrote something, was
    /// asked to stop. Otherwise as [`TaskHooks::on_settled`], but that its failures are logged and
    /// no events. An observer of one task hears of nothing after its end.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tokio::sync::mpsc;
    /// # use understory::{Manager, Notice, TaskHooks};
    /// # let manager = Manager::in_memory();
    /// let (tell, mut told) = mpsc::channel(8);
    /// let hook = move |notice: Notice| {
    ///     let sent = tell.try_send(notice.event.what.name());
    ///     async move { Ok(sent?) }
    /// };
    /// let task = manager.scope("s").task("t").hooks(TaskHooks::new().on_event(hook));
    /// task.spawn(|_| async { Ok(()) }).await?;
    /// for name in ["accepted", "started", "settled"] {
    ///     assert_eq!(told.recv().await, Some(name));
    /// }
    /// # Ok(()) }
    /// ```
    pub fn on_event<F, Fut>(self, hook: F) -> Self
    where
        F: Fn(Notice) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.observer(Hears::Events, boxed(hook))
    }

    fn observer(mut self, hears: Hears, call: Call<Notice>) -> Self {
        self.observers.push((hears, call));
        self
    }

    fn absorb(&mut self, other: Self) {
        self.before_settle.extend(other.before_settle);
        self.observers.extend(other.observers);
    }

    /// Whether a task with these hooks has to wait for one before it settles.
    fn holds(&self) -> bool {
        !self.before_settle.is_empty()
    }

    /// The hooks as the actors call them.
    pub(super) fn bind(self, core: &Arc<Core>, owner: &str) -> HookSet {
        let before_settle = self.before_settle.into_iter().map(|call| {
            let core = Arc::clone(core);
            let title = format!("before_settle of the {owner}");
            Hook::new(title, move |proposal: Proposal| {
                let Proposal { record, outcome } = proposal;
                let task = TaskRef::new(Arc::clone(&core), record.id);
                call(Settling {
                    task,
                    record,
                    outcome,
                })
            })
        });
        let observers = self.observers.into_iter().map(|(hears, call)| {
            let core = Arc::clone(core);
            let verb = match hears {
                Hears::Events => "on_event",
                Hears::Ends => "on_settled",
            };
            let title = format!("{verb} of the {owner}");
            let hook = Hook::new(title, move |event: Arc<Event>| {
                let task = TaskRef::new(Arc::clone(&core), event.task);
                call(Notice { task, event })
            });
            (hears, hook)
        });
        HookSet {
            before_settle: before_settle.collect(),
            observers: observers.collect(),
        }
    }
}

fn boxed<A, F, Fut>(hook: F) -> Call<A>
where
    F: Fn(A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Failure>> + Send + 'static,
{
    Arc::new(move |about| Box::pin(hook(about)))
}

/// The hooks that the host gave to the builder of its manager.
#[derive(Debug, Default)]
pub(super) struct HostTaskHooks(Vec<(Of, TaskHooks)>);

impl HostTaskHooks {
    /// Those whose tasks wait for a hook before they settle.
    pub(super) fn holding(&self) -> impl Iterator<Item = &Of> {
        let holding = self.0.iter().filter(|(_, hooks)| hooks.holds());
        holding.map(|(of, _)| of)
    }

    /// Lets the actors of `core` call them.
    pub(super) fn install(self, core: &Arc<Core>) {
        let bind = |(of, hooks): (Of, TaskHooks)| {
            let owner = match of {
                Of::Kind(_) => "kind",
                Of::Scope(_) => "scope",
                Of::Manager => "manager",
            };
            (of, hooks.bind(core, owner))
        };
        core.hub.set_hooks(self.0.into_iter().map(bind).collect());
    }
}

impl Builder {
    /// Calls these hooks for every task that is not hidden; repeated calls add to them. See
    /// [`TaskHooks`] for an example.
    pub fn task_hooks(self, hooks: TaskHooks) -> Self {
        self.add_hooks(Of::Manager, hooks)
    }

    /// Calls these hooks for every task of this scope that is not hidden.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Failure, Manager, Settling, TaskHooks};
    /// async fn note(settling: Settling) -> Result<(), Failure> {
    ///     println!("{}: {:?}", settling.task.path(), settling.outcome);
    ///     Ok(())
    /// }
    ///
    /// let manager = Manager::builder()
    ///     .task_hooks_in("thread-42", TaskHooks::new().before_settle(note))
    ///     .task_hooks_of("research", TaskHooks::new().before_settle(note))
    ///     .build()?;
    /// let task = manager.scope("thread-42").task("t").kind("research");
    /// task.spawn(|_| async { Ok(()) }).await?.await?; // noted twice
    /// # Ok(()) }
    /// ```
    pub fn task_hooks_in(mut self, scope: &str, hooks: TaskHooks) -> Self {
        match self.keep(Scope::new(scope)) {
            Some(scope) => self.add_hooks(Of::Scope(scope), hooks),
            None => self,
        }
    }

    /// Calls these hooks for every task of this kind that is not hidden.
    pub fn task_hooks_of(mut self, kind: &str, hooks: TaskHooks) -> Self {
        match self.keep(Kind::new(kind)) {
            Some(kind) => self.add_hooks(Of::Kind(kind), hooks),
            None => self,
        }
    }

    fn add_hooks(mut self, of: Of, hooks: TaskHooks) -> Self {
        let all = &mut self.task_hooks_mut().0;
        match all.iter_mut().find(|(known, _)| *known == of) {
            Some((_, known)) => known.absorb(hooks),
            None => all.push((of, hooks)),
        }
        self
    }
}

impl<Mode> TaskBuilder<Mode> {
    /// Calls these hooks for this task; repeated calls add to them. They end with its process: a
    /// task that goes on after a restart of the program has those of its kind, its scope and the
    /// manager only. When its spawn answers with a task that was there before, they are dropped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Manager, TaskHooks};
    /// # let manager = Manager::in_memory();
    /// let bye = TaskHooks::new().before_settle(|settling| async move {
    ///     println!("{} ends as {}", settling.task.path(), settling.outcome.state());
    ///     Ok(())
    /// });
    /// let task = manager.scope("s").task("t").hooks(bye);
    /// task.spawn(|_| async { Ok(()) }).await?.await?;
    /// # Ok(()) }
    /// ```
    pub fn hooks(mut self, hooks: TaskHooks) -> Self {
        let holds = hooks.holds();
        self.hooks.absorb(hooks);
        self.set(|spec| spec.before_settle |= holds)
    }
}

impl fmt::Debug for TaskHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHooks")
            .field("before_settle", &self.before_settle.len())
            .field("observers", &self.observers.len())
            .finish()
    }
}
