//! One scope of a manager: names, limits and queries are per scope.

use std::sync::Arc;

use super::builder::{Once, TaskBuilder};
use super::core::Core;
use crate::kernel::{InvalidText, Scope};

/// A scope: a thread, a session, a tenant. Cheap to clone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use understory::Manager;
///
/// let manager = Manager::in_memory();
/// let thread = manager.scope("thread-42");
/// let task = thread.task("greeter").spawn(|_| async { Ok("hello".to_owned()) }).await?;
/// assert_eq!(task.await?, "hello");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ScopeRef {
    pub(super) core: Arc<Core>,
    pub(super) scope: Result<Scope, InvalidText>,
}

impl ScopeRef {
    pub(super) fn new(core: Arc<Core>, name: &str) -> Self {
        Self {
            core,
            scope: Scope::new(name),
        }
    }

    /// Begins a task of this name. Inside a body of this scope it becomes a child of that body's
    /// task.
    pub fn task(&self, name: &str) -> TaskBuilder<Once> {
        TaskBuilder::new(Arc::clone(&self.core), self.scope.clone())
            .name(name)
            .below_current()
    }

    /// Begins a task without a name; paths show the end of its id. Otherwise as [`ScopeRef::task`].
    pub fn unnamed(&self) -> TaskBuilder<Once> {
        TaskBuilder::new(Arc::clone(&self.core), self.scope.clone()).below_current()
    }
}
