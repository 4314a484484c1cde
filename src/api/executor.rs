//! Executors: bodies registered by kind, which can therefore run again, after a failure or a
//! restart.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use dashmap::DashMap;
use serde_json::Value;

use super::context::{self, Context};
use super::core::Core;
use super::manager::Manager;
use super::spawn::encode;
use crate::engine::{Attempt, Classifier, Failure, Work};
use crate::kernel::{Fault, Hosts, InvalidText, Kind, Scope};

/// A future in a box, as executors return it.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A body for every task of a kind.
///
/// Closures from a context and an input to a future are executors. One executor serves many tasks
/// at once.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use serde_json::{Value, json};
/// use understory::{Context, Failure, Manager};
///
/// async fn double(_: Context, input: Value) -> Result<Value, Failure> {
///     let number = input.as_i64().ok_or_else(|| Failure::new("not a number").permanent())?;
///     Ok(json!(number * 2))
/// }
///
/// let manager = Manager::builder().executor("double", double).build()?;
/// let task = manager.scope("sums").task("four").spawn_kind("double", 2).await?;
/// assert_eq!(task.await?, json!(4));
/// # Ok(()) }
/// ```
pub trait Executor: Send + Sync + 'static {
    /// Runs one attempt of a task with this input.
    fn run(&self, context: Context, input: Value) -> BoxFuture<Result<Value, Failure>>;

    /// Whether another attempt may follow this failure of a task, if attempts are left: always,
    /// unless it says otherwise. See [`TaskBuilder::retry_if`](super::TaskBuilder::retry_if).
    fn retry_if(&self, fault: &Fault) -> bool {
        let _ = fault;
        true
    }
}

impl<F, Fut> Executor for F
where
    F: Fn(Context, Value) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, Failure>> + Send + 'static,
{
    fn run(&self, context: Context, input: Value) -> BoxFuture<Result<Value, Failure>> {
        Box::pin(self(context, input))
    }
}

/// The registered executors; the one of a scope goes before the one of all scopes.
#[derive(Default)]
pub(super) struct Executors {
    by_kind: DashMap<(Option<Scope>, Kind), Arc<dyn Executor>>,
}

/// What becomes of a task whose kind has no executor here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingExecutor {
    /// It is refused, and its input comes back.
    #[default]
    Refused,
    /// It is accepted and pending, and its record says that it waits for its executor. It starts
    /// when that is registered.
    Waits,
}

/// What a manager does with the tasks that it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It takes tasks and runs them.
    #[default]
    Full,
    /// It takes tasks of executors, and runs nothing: they wait. Closures, which could run nowhere
    /// else, are refused.
    Producer,
    /// The same as full, for a process whose purpose is to run.
    Worker,
}

impl Executors {
    pub(super) fn register(&self, scope: Option<Scope>, kind: Kind, executor: Arc<dyn Executor>) {
        self.by_kind.insert((scope, kind), executor);
    }

    fn unregister(&self, scope: Option<Scope>, kind: Kind) -> bool {
        self.by_kind.remove(&(scope, kind)).is_some()
    }

    pub(super) fn find(&self, scope: &Scope, kind: &Kind) -> Option<Arc<dyn Executor>> {
        let of_scope = self.by_kind.get(&(Some(scope.clone()), kind.clone()));
        let found = of_scope.or_else(|| self.by_kind.get(&(None, kind.clone())))?;
        Some(Arc::clone(&found))
    }

    /// Which tasks may start, given what is registered.
    ///
    /// In a store there may be tasks of another process, whose executor is not here yet.
    pub(super) fn hosts(&self, mode: Mode, missing: MissingExecutor, is_durable: bool) -> Hosts {
        let waits = is_durable || missing == MissingExecutor::Waits;
        match (mode, waits) {
            (Mode::Producer, _) => Hosts::Nothing,
            (Mode::Full | Mode::Worker, false) => Hosts::All,
            (Mode::Full | Mode::Worker, true) => {
                Hosts::Registered(self.by_kind.iter().map(|it| it.key().clone()).collect())
            }
        }
    }
}

impl Manager {
    /// Registers the executor of a kind, or replaces it. Attempts that run go on with the one they
    /// began with; tasks that wait for it start.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use serde_json::{Value, json};
    /// # use understory::{Context, Failure, Manager, MissingExecutor};
    /// async fn double(_: Context, input: Value) -> Result<Value, Failure> {
    ///     Ok(json!(input.as_i64().unwrap_or(0) * 2))
    /// }
    ///
    /// let manager = Manager::builder().missing_executor(MissingExecutor::Waits).build()?;
    /// let task = manager.scope("sums").task("four").spawn_kind("double", 2).await?;
    /// manager.register_executor("double", double)?;
    /// assert_eq!(task.await?, json!(4));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`InvalidText`] when the kind is not valid.
    pub fn register_executor(&self, kind: &str, of: impl Executor) -> Result<(), InvalidText> {
        self.register(None, Kind::new(kind)?, Arc::new(of));
        Ok(())
    }

    /// Registers the executor of a kind in one scope, where it goes before the one of all scopes.
    ///
    /// # Errors
    /// [`InvalidText`] when the scope or the kind is not valid.
    pub fn register_executor_in(
        &self,
        scope: &str,
        kind: &str,
        executor: impl Executor,
    ) -> Result<(), InvalidText> {
        self.register(
            Some(Scope::new(scope)?),
            Kind::new(kind)?,
            Arc::new(executor),
        );
        Ok(())
    }

    /// Forgets the executor of a kind, and tells whether there was one. Attempts that run go on.
    ///
    /// # Errors
    /// [`InvalidText`] when the kind is not valid.
    pub fn unregister_executor(&self, kind: &str) -> Result<bool, InvalidText> {
        Ok(self.unregister(None, Kind::new(kind)?))
    }

    /// Forgets the executor of a kind in one scope; that of all scopes stays.
    ///
    /// # Errors
    /// [`InvalidText`] when the scope or the kind is not valid.
    pub fn unregister_executor_in(&self, scope: &str, kind: &str) -> Result<bool, InvalidText> {
        Ok(self.unregister(Some(Scope::new(scope)?), Kind::new(kind)?))
    }

    /// Whether a task of this kind would find an executor in this scope.
    ///
    /// # Errors
    /// [`InvalidText`] when the scope or the kind is not valid.
    pub fn has_executor(&self, scope: &str, kind: &str) -> Result<bool, InvalidText> {
        let (scope, kind) = (Scope::new(scope)?, Kind::new(kind)?);
        Ok(self.core.executors.find(&scope, &kind).is_some())
    }

    fn register(&self, scope: Option<Scope>, kind: Kind, executor: Arc<dyn Executor>) {
        let key = (scope, kind);
        self.core
            .executors
            .register(key.0.clone(), key.1.clone(), executor);
        self.change_hosts(|kinds| {
            kinds.insert(key);
        });
    }

    fn unregister(&self, scope: Option<Scope>, kind: Kind) -> bool {
        let key = (scope, kind);
        self.change_hosts(|kinds| {
            kinds.remove(&key);
        });
        self.core.executors.unregister(key.0, key.1)
    }

    /// Tells the kernel, if it minds.
    fn change_hosts(&self, change: impl FnOnce(&mut BTreeSet<(Option<Scope>, Kind)>)) {
        let hub = &self.core.hub;
        if matches!(hub.bounds.hosts, Hosts::Registered(_)) {
            hub.change_hosts(|hosts| {
                if let Hosts::Registered(kinds) = hosts {
                    change(kinds);
                }
            });
        }
    }
}

/// The work of a task of an executor: each attempt takes the one that is registered then, for the
/// scope in which the task is then.
pub(super) fn work(
    core: &Arc<Core>,
    kind: Kind,
    input: Value,
    classifier: Option<Classifier>,
) -> Work {
    let core = Arc::clone(core);
    Work::Many(Arc::new(move |attempt: Arc<Attempt>| {
        let live = &attempt.live;
        let moved = core.hub.index.look(live.id, |it| it.scope().clone());
        let scope = moved.unwrap_or_else(|| live.spec.scope.clone());
        let found = core.executors.find(&scope, &kind);
        if let Some(executor) = found.clone().filter(|_| !attempt.is_last) {
            let judge = move |fault: &Fault| executor.retry_if(fault);
            attempt.wish.judge_by(Arc::new(judge));
        }
        if let Some(classifier) = &classifier {
            attempt.wish.judge_by(Arc::clone(classifier));
        }
        let context = Context::new(Arc::clone(&core), attempt);
        let (here, input, kind) = (context.clone(), input.clone(), kind.clone());
        context::within(context, async move {
            let result = match found {
                Some(executor) => executor.run(here, input).await,
                None => Err(Failure::new(format!("the executor of kind {kind} is gone"))),
            };
            encode(result)
        })
    }))
}

impl fmt::Debug for Executors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.by_kind.iter().map(|entry| entry.key().1.clone());
        f.debug_set().entries(kinds).finish()
    }
}
