//! Executors: bodies registered by kind, which can therefore run again, after a failure or a
//! restart.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use dashmap::DashMap;
use serde_json::Value;

use super::context::Context;
use crate::engine::Failure;
use crate::kernel::{Kind, Scope};

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

impl Executors {
    pub(super) fn register(&self, scope: Option<Scope>, kind: Kind, executor: Arc<dyn Executor>) {
        self.by_kind.insert((scope, kind), executor);
    }

    pub(super) fn find(&self, scope: &Scope, kind: &Kind) -> Option<Arc<dyn Executor>> {
        let of_scope = self.by_kind.get(&(Some(scope.clone()), kind.clone()));
        let found = of_scope.or_else(|| self.by_kind.get(&(None, kind.clone())))?;
        Some(Arc::clone(&found))
    }
}

impl fmt::Debug for Executors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.by_kind.iter().map(|entry| entry.key().1.clone());
        f.debug_set().entries(kinds).finish()
    }
}
