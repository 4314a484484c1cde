//! Many inputs as one task: a child for each, so many at once, the results in the order of inputs.
//!
//! *Not here*: limits over several batches, which are limit classes.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::builder::{Once, TaskBuilder};
use super::context::Context;
use super::handle::{TaskHandle, TaskRef};
use super::spawn::SpawnError;
use crate::engine::Failure;
use crate::kernel::{Outcome, Record, TaskId};

/// How many children of a batch live at once unless it says otherwise.
const CONCURRENCY_DEFAULT: usize = 8;

type Each = Arc<dyn Fn(TaskBuilder<Once>) -> TaskBuilder<Once> + Send + Sync>;

/// A batch to be: one parent, and a child for each input. Made by [`TaskBuilder::map`].
#[must_use = "a batch that is not spawned does not exist"]
pub struct Batch<I> {
    parent: TaskBuilder<Once>,
    inputs: Vec<I>,
    concurrency: usize,
    each: Each,
}

/// What became of one input of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchItem<T> {
    /// Its task, which has its record; `None` if it was not taken.
    pub task: Option<TaskId>,
    /// Its value, or why there is none.
    pub result: Result<T, String>,
}

impl TaskBuilder<Once> {
    /// Makes it a batch: the parent of a task for each input.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Failure, Manager};
    /// # let manager = Manager::in_memory();
    /// let batch = manager.scope("s").task("batch").map(["1", "two", "3"]).concurrency(2);
    /// let parsed = batch
    ///     .spawn(|_, text| async move { text.parse::<i32>().map_err(Failure::from) })
    ///     .await?;
    /// let items = parsed.await?;
    /// let numbers: Vec<_> = items.iter().map(|item| item.result.clone().ok()).collect();
    /// assert_eq!(numbers, [Some(1), None, Some(3)]);
    /// # Ok(()) }
    /// ```
    pub fn map<I: Send + 'static>(self, inputs: impl IntoIterator<Item = I>) -> Batch<I> {
        Batch {
            parent: self,
            inputs: inputs.into_iter().collect(),
            concurrency: CONCURRENCY_DEFAULT,
            each: Arc::new(|child| child),
        }
    }
}

impl<I: Send + 'static> Batch<I> {
    /// Sets how many of its tasks live at once (8); zero counts as one.
    pub fn concurrency(mut self, tasks: usize) -> Self {
        self.concurrency = tasks.max(1);
        self
    }

    /// Says what each of its tasks shall be: limits, labels, timeouts.
    pub fn each(
        mut self,
        shape: impl Fn(TaskBuilder<Once>) -> TaskBuilder<Once> + Send + Sync + 'static,
    ) -> Self {
        self.each = Arc::new(shape);
        self
    }

    /// Starts the batch: `body` is called once for each input, in a task of its own below the
    /// batch, which is labelled with the `item`'s number from 0 on.
    ///
    /// The batch completes when every input has its result; one that fails stops no other. Its
    /// value, at most 1 MiB of JSON, has the results in the order of the inputs. Cancelling the
    /// batch as a tree ends all of it, and nothing more of it starts.
    ///
    /// # Errors
    /// [`SpawnError`], as for [`TaskBuilder::spawn`]: the batch itself was not taken.
    ///
    /// # Cancel safety
    /// Dropping the returned future stops the waiting; the batch may exist.
    pub async fn spawn<T, F, Fut>(
        self,
        body: F,
    ) -> Result<TaskHandle<Vec<BatchItem<T>>>, SpawnError>
    where
        T: Serialize + Send + 'static,
        F: Fn(Context, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let Self {
            parent,
            inputs,
            concurrency,
            each,
        } = self;
        let body = Arc::new(body);
        let batch = parent.spawn(move |ctx| async move {
            let mut run = Run {
                items: Vec::with_capacity(inputs.len()),
                live: Vec::new(),
            };
            for (place, input) in inputs.into_iter().enumerate() {
                while run.live.len() >= concurrency {
                    run.take_one(&ctx).await?;
                }
                let body = Arc::clone(&body);
                let child = ctx.unnamed().label("item", &place.to_string());
                let child = each(child).spawn(move |ctx| async move { body(ctx, input).await });
                run.add(child.await.map(|child| child.task()));
            }
            while !run.live.is_empty() {
                run.take_one(&ctx).await?;
            }
            Ok(run.items)
        });
        Ok(batch.await?.read_as())
    }
}

/// How far a batch has come.
struct Run {
    items: Vec<BatchItem<Value>>,
    /// Places in `items` and the tasks that are to fill them.
    live: Vec<(usize, TaskRef)>,
}

impl Run {
    fn add(&mut self, child: Result<TaskRef, SpawnError>) {
        let result = Err(match &child {
            Ok(_) => "it has not settled".to_owned(),
            Err(refused) => refused.to_string(),
        });
        let task = child.as_ref().ok().map(TaskRef::id);
        let place = self.items.len();
        self.items.push(BatchItem { task, result });
        self.live.extend(child.ok().map(|child| (place, child)));
    }

    /// Waits for whichever task settles first and keeps its result.
    async fn take_one(&mut self, ctx: &Context) -> Result<(), Failure> {
        let tasks: Vec<_> = self.live.iter().map(|(_, task)| task.clone()).collect();
        let first = ctx.manager().wait_any(&tasks).await?;
        if let Some((at, record)) = first {
            let (place, _) = self.live.remove(at);
            self.items[place].result = result_of(&record);
        }
        Ok(())
    }
}

/// The value of a settled task, or why it has none.
fn result_of(record: &Record) -> Result<Value, String> {
    match record.outcome.as_deref() {
        Some(Outcome::Completed(value)) => {
            serde_json::from_str(value.as_json()).map_err(|error| error.to_string())
        }
        Some(Outcome::Failed(fault)) => Err(fault.to_string()),
        Some(Outcome::TimedOut { .. }) => Err("it ran out of time".to_owned()),
        Some(Outcome::Interrupted(evidence)) => Err(format!("it was interrupted: {evidence}")),
        Some(Outcome::Cancelled { .. }) => {
            let reason = record.stop.as_ref().map_or("", |stop| &stop.reason);
            Err(format!("it was cancelled: {reason}"))
        }
        None => Err("it has not settled".to_owned()),
    }
}

impl<I> fmt::Debug for Batch<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("parent", &self.parent)
            .field("inputs", &self.inputs.len())
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}
