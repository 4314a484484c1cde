//! Tasks that are prepared now and asked for later, and tasks that are run again.
//!
//! # Invariants
//! 1. A deferred task is asked for at most once; until then there is nothing to control.
//!
//! *Not here*: which executor runs it (`executor`).

use std::sync::Arc;

use serde_json::Value;

use super::builder::{Once, TaskBuilder};
use super::handle::{TaskHandle, TaskRef};
use super::identity::labels;
use super::manager::Manager;
use super::spawn::SpawnError;
use crate::index::Page;
use crate::kernel::{Filter, Kind, Origin, Reuse, State, TaskId};

/// The labels by which a deferred task finds its record.
const BINDING: [&str; 6] = [
    labels::TOOL_CALL,
    labels::RUN,
    labels::AGENT,
    labels::THREAD,
    labels::RESOURCE,
    labels::WORK_ITEM,
];

/// A deferred task has not been dispatched, nor bound to an earlier one: there is no task yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has not been dispatched; dispatch it, or bind it to an earlier task")]
pub struct NotDispatched;

/// Why a task is not run again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestartError {
    /// No such task was ever accepted, or its record is no longer kept.
    #[error("no task {0} is known")]
    Unknown(TaskId),
    /// It is still live; cancel it first, or wait for it.
    #[error("task {0} is {1}; only a settled one can be restarted")]
    NotSettled(TaskId, State),
    /// Its body was a closure, which is gone.
    #[error("task {0} had no executor; spawn it anew")]
    NoExecutor(TaskId),
    /// What it was given cannot be read any more: an earlier version took values that are nested
    /// too deep for that. Spawn it anew.
    #[error("the input of task {0} cannot be read: {1}")]
    Unreadable(TaskId, #[source] serde_json::Error),
    /// It was not taken.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

/// A task of an executor that is prepared and can be asked for later.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use serde_json::{Value, json};
/// use understory::{Context, Failure, Manager};
///
/// async fn search(_: Context, input: Value) -> Result<Value, Failure> {
///     Ok(json!({ "found": input }))
/// }
///
/// let manager = Manager::builder().executor("search", search).build()?;
/// let call = manager.scope("s").unnamed().tool_call("call-1");
/// let mut deferred = call.defer("search", "rust");
/// assert!(deferred.task().is_err()); // there is no task yet
///
/// let task = deferred.dispatch().await?;
/// assert_eq!(task.settled().await?.id, task.id());
///
/// let mut later = manager.scope("s").unnamed().tool_call("call-1").defer("search", "rust");
/// assert!(later.bind()); // the same call was made before
/// assert_eq!(later.task()?.id(), task.id());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Deferred {
    builder: TaskBuilder<Once>,
    kind: String,
    input: Value,
    task: Option<TaskRef>,
}

impl TaskBuilder<Once> {
    /// Prepares a task of the executor of `kind` without asking for it yet. See [`Deferred`].
    pub fn defer(self, kind: &str, input: impl Into<Value>) -> Deferred {
        Deferred {
            builder: self,
            kind: kind.to_owned(),
            input: input.into(),
            task: None,
        }
    }
}

impl Deferred {
    /// Asks for the task; once it is there, gives that one.
    ///
    /// # Errors
    /// As for [`TaskBuilder::spawn_kind`]; it can be dispatched again.
    ///
    /// # Cancel safety
    /// When it is dropped, the task may exist, and this does not know of it.
    pub async fn dispatch(&mut self) -> Result<TaskRef, SpawnError> {
        if let Some(task) = &self.task {
            return Ok(task.clone());
        }
        let builder = self.builder.clone();
        let handle = builder.spawn_kind(&self.kind, self.input.clone()).await?;
        Ok(self.task.insert(handle.task()).clone())
    }

    /// Means the newest task of the same scope, kind and well-known labels (tool call, run, agent,
    /// thread, resource, work item) from here on, if there is one. Without any such label nothing
    /// is found. Tells whether there is a task now.
    pub fn bind(&mut self) -> bool {
        if self.task.is_none() {
            self.task = self.find();
        }
        self.task.is_some()
    }

    /// The task, to control it and to wait for it.
    ///
    /// # Errors
    /// [`NotDispatched`] as long as there is none.
    pub fn task(&self) -> Result<&TaskRef, NotDispatched> {
        self.task.as_ref().ok_or(NotDispatched)
    }

    fn find(&self) -> Option<TaskRef> {
        let spec = self.builder.spec.as_ref()?;
        let kind = Kind::new(&self.kind).ok()?;
        let mut filter = Filter::all()
            .with_hidden()
            .scope(spec.scope.clone())
            .kind(kind);
        let mut is_narrow = false;
        for key in BINDING {
            let own = spec.labels.get(key);
            if let Some(value) = own.or_else(|| self.builder.inherited.get(key)) {
                filter = filter.label(key, value);
                is_narrow = true;
            }
        }
        if !is_narrow {
            return None;
        }
        let core = &self.builder.core;
        let listing = core.hub.index.list(&filter, &Page::first(1));
        let newest = listing.records.first()?;
        Some(TaskRef::new(Arc::clone(core), newest.id))
    }
}

impl TaskRef {
    /// Runs a settled task of an executor again, under its id, as the next life of that: with the
    /// same wishes and input, below its parent if that still lives, and after nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use serde_json::{Value, json};
    /// # use understory::{Context, Failure, Manager};
    /// async fn count(ctx: Context, _: Value) -> Result<Value, Failure> {
    ///     Ok(json!(ctx.incarnation()))
    /// }
    ///
    /// let manager = Manager::builder().executor("count", count).build()?;
    /// let task = manager.scope("s").task("t").spawn_kind("count", ()).await?;
    /// task.settled().await?;
    /// assert_eq!(task.restart().await?.await?, json!(2));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`RestartError`] says what it is instead.
    ///
    /// # Cancel safety
    /// When it is dropped, the task may or may not run again.
    pub async fn restart(&self) -> Result<TaskHandle<Value>, RestartError> {
        let id = self.id();
        let record = self.record().ok_or(RestartError::Unknown(id))?;
        if record.is_held() {
            return Err(RestartError::NotSettled(id, record.state));
        }
        let kind = match (record.spec.origin, &record.spec.kind) {
            (Origin::Executor, Some(kind)) => kind.clone(),
            (_, _) => return Err(RestartError::NoExecutor(id)),
        };
        let core = Arc::clone(self.core());
        let input = record.spec.input.as_ref();
        let input = match input {
            Some(input) => serde_json::from_str(input.as_json())
                .map_err(|error| RestartError::Unreadable(id, error))?,
            None => Value::Null,
        };
        let mut builder = TaskBuilder::new(core, Ok(record.scope().clone()));
        let mut spec = record.spec.as_ref().clone();
        spec.after.clear();
        // Its own hooks went with the life that they were given to.
        spec.before_settle = false;
        let above = spec
            .parent
            .and_then(|parent| self.core().hub.index.get(parent));
        if above.is_none_or(|above| above.state.is_terminal()) {
            spec.parent = None;
        }
        builder.spec = Some(spec);
        builder.id = Some(id);
        builder.reuse = Reuse::Allowed;
        Ok(builder.spawn_kind(kind.as_str(), input).await?)
    }
}

impl Manager {
    /// Runs the settled task of this id again. See [`TaskRef::restart`].
    ///
    /// # Errors
    /// [`RestartError`] says what it is instead.
    ///
    /// # Cancel safety
    /// When it is dropped, the task may or may not run again.
    pub async fn restart(&self, task: TaskId) -> Result<TaskHandle<Value>, RestartError> {
        self.task(task).restart().await
    }
}
