//! Reading: one task, pages of tasks, counts. Reads never wait for the manager.

use std::sync::Arc;

use super::manager::Manager;
use super::scope::ScopeRef;
use crate::index::{Counts, Listing, Page};
use crate::kernel::{Filter, InvalidText, Record, TaskId};

/// Why a query cannot be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The scope's name is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidText),
}

impl Manager {
    /// The durable record of a task; `None` if it was never accepted or is no longer kept.
    pub fn get(&self, id: TaskId) -> Option<Arc<Record>> {
        self.core.hub.index.get(id)
    }

    /// A page of the tasks that match, live and settled, and how many match in all.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use understory::{Filter, Manager, Page, State};
    ///
    /// let manager = Manager::in_memory();
    /// let task = manager.scope("s").task("t").spawn(|_| async { Ok(()) }).await?;
    /// task.settled().await?;
    /// let listing = manager.list(&Filter::all().state(State::Completed), &Page::first(10));
    /// assert_eq!((listing.records.len(), listing.total), (1, 1));
    /// # Ok(()) }
    /// ```
    pub fn list(&self, filter: &Filter, page: &Page) -> Listing {
        self.core.hub.index.list(filter, page)
    }

    /// The live tasks directly below a task, in order of acceptance.
    pub fn children(&self, id: TaskId) -> Vec<Arc<Record>> {
        self.core.hub.index.children(id)
    }

    /// How many tasks are in each state.
    pub fn counts(&self) -> Counts {
        self.core.hub.index.counts()
    }

    /// How many tasks have not settled.
    pub fn live(&self) -> usize {
        self.core.hub.index.live()
    }
}

impl ScopeRef {
    /// A page of the tasks of this scope that match.
    ///
    /// # Errors
    /// [`QueryError::Invalid`] when the scope's name is not valid.
    pub fn list(&self, filter: Filter, page: &Page) -> Result<Listing, QueryError> {
        let scope = self.scope.clone()?;
        Ok(self.core.hub.index.list(&filter.scope(scope), page))
    }

    /// The task at this path of the scope, if it is live or its body still runs.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::Manager;
    /// # let manager = Manager::in_memory();
    /// let scope = manager.scope("s");
    /// let task = scope
    ///     .task("lead")
    ///     .spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) })
    ///     .await?;
    /// assert_eq!(scope.find("lead"), Some(task.id()));
    /// assert_eq!(scope.find("lead/docs"), None);
    /// # Ok(()) }
    /// ```
    pub fn find(&self, path: &str) -> Option<TaskId> {
        self.core.resolve(self.scope.as_ref().ok()?, path)
    }
}
