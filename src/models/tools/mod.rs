//! Tools over a manager that a model can be given, whatever framework drives it.
//!
//! # Invariants
//! 1. A caller sees and touches the tasks below it and no others; a caller that is no task, those
//!    of its scope. Everything else is not found, whether it exists or not.
//! 2. What comes from a model is checked: an argument that no schema has is an error, never
//!    ignored.
//! 3. An error is a value that says what the caller can do; what only the host can do is not in it.
//!
//! *Not here*: protocols that carry the calls.

mod args;
mod call;
mod refusals;
mod schemas;
mod target;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

pub use schemas::{Tool, definitions};

use crate::api::{Context, Manager, ScopeRef};
use crate::index::Page;
use crate::kernel::{Filter, Record, Scope, TaskId};

/// After so many tasks others have their turn.
const WALKED_AT_ONCE: usize = 64;

/// Who calls a tool: what it may see and touch.
#[derive(Clone, Debug)]
pub struct Rights {
    manager: Manager,
    caller: Caller,
}

#[derive(Clone, Debug)]
enum Caller {
    /// The newest attempt of a task, in whatever scope that is now.
    Task(Context),
    /// Whoever speaks for a scope.
    Scope(Scope),
}

impl Rights {
    /// Those of a task: all that is below it, also after a transfer. What it spawns hangs below it,
    /// and what it asks of others is recorded as asked by it. They are those of this attempt: when
    /// that is over, nothing is spawned any more.
    pub fn of_task(context: &Context) -> Self {
        Self {
            manager: context.manager(),
            caller: Caller::Task(context.clone()),
        }
    }

    /// Those of a caller that is no task: all tasks of a scope.
    ///
    /// # Errors
    /// [`InvalidText`](crate::InvalidText) when the scope's name is not valid.
    pub fn of_scope(manager: &Manager, scope: &str) -> Result<Self, crate::kernel::InvalidText> {
        Ok(Self {
            manager: manager.clone(),
            caller: Caller::Scope(scope.parse()?),
        })
    }

    fn caller_id(&self) -> Option<TaskId> {
        match &self.caller {
            Caller::Task(context) => Some(context.id()),
            Caller::Scope(_) => None,
        }
    }

    fn scope(&self) -> Scope {
        match &self.caller {
            Caller::Task(context) => context.scope(),
            Caller::Scope(scope) => scope.clone(),
        }
    }

    fn scope_ref(&self) -> ScopeRef {
        self.manager.scope(self.scope().as_str())
    }

    /// Whether the task is below the caller, or of the scope of one that is no task.
    fn sees(&self, record: &Record) -> bool {
        let Some(caller) = self.caller_id() else {
            return *record.scope() == self.scope();
        };
        let mut above = record.parent;
        while let Some(id) = above {
            if id == caller {
                return true;
            }
            above = self.manager.get(id).and_then(|record| record.parent);
        }
        false
    }

    /// All tasks below a caller that is a task, oldest first. Those that had ended when it was
    /// moved are of its scope before, so they are found by who is above them.
    async fn below(&self, caller: TaskId) -> BTreeMap<TaskId, Arc<Record>> {
        let first = Page::default().oldest_first();
        let (mut found, mut open) = (BTreeMap::new(), vec![(caller, first)]);
        let mut walked: usize = 0;
        while let Some((parent, page)) = open.pop() {
            let listing = self.manager.list(&Filter::all().parent(parent), &page);
            open.extend(listing.next.map(|next| (parent, first.after(next))));
            // A detached one is below it no more.
            let is_below = |record: &Arc<Record>| record.parent == Some(parent);
            for record in listing.records.into_iter().filter(is_below) {
                open.push((record.id, first));
                found.insert(record.id, record);
            }
            walked += 1;
            if walked.is_multiple_of(WALKED_AT_ONCE) {
                tokio::task::yield_now().await;
            }
        }
        found
    }
}

/// Calls a tool by its name with the arguments that a model gave. What goes wrong is a value, too:
/// `{"error": {"code", "message"}}`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use serde_json::{Value, json};
/// use understory::tools::{self, Rights};
/// use understory::{Context, Failure, Manager};
///
/// async fn double(_: Context, input: Value) -> Result<Value, Failure> {
///     Ok(json!(input.as_i64().unwrap_or_default() * 2))
/// }
///
/// let manager = Manager::builder().executor("double", double).build()?;
/// let rights = Rights::of_scope(&manager, "thread-42")?;
/// let args = json!({ "kind": "double", "input": 21, "name": "sum", "wait_ms": 10_000 });
/// let spawned = tools::call("task_spawn", args, &rights).await;
/// assert_eq!(spawned["path"], "sum");
/// assert_eq!(spawned["outcome"]["value"], 42);
/// let unknown = tools::call("task_read", json!({ "id": "nobody" }), &rights).await;
/// assert_eq!(unknown["error"]["code"], "not_found");
/// # Ok(()) }
/// ```
///
/// # Cancel safety
/// When it is dropped, what was asked for may or may not happen.
pub async fn call(name: &str, args: Value, rights: &Rights) -> Value {
    // In a box, so that what calls a tool is not as large as the largest of them.
    let called = Box::pin(call::dispatch(name, args, rights));
    let done = match &rights.caller {
        // Its requests are recorded as those of its task, wherever they are made.
        Caller::Task(context) => context.acting(called).await,
        Caller::Scope(_) => called.await,
    };
    match done {
        Ok(value) => value,
        Err(error) => error.into_value(),
    }
}

/// Why a tool did nothing.
#[derive(Debug)]
struct ToolError {
    code: &'static str,
    message: String,
    details: Option<Value>,
}

impl ToolError {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            code,
            message,
            details: None,
        }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new("invalid_arguments", message)
    }

    fn not_found(what: &str) -> Self {
        let message = format!("no task {what:?} is known to you; task_list shows those that are");
        Self::new("not_found", message)
    }

    fn into_value(self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(details) = self.details {
            error["details"] = details;
        }
        json!({ "error": error })
    }
}
