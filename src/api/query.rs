//! Reading: one task, pages of tasks, counts. Reads never wait for the manager.

use std::sync::Arc;

use super::manager::Manager;
use super::scope::ScopeRef;
use crate::index::{Counts, Listing, PAGE_MAX, Page};
use crate::kernel::{Filter, InvalidText, Record, Seq, TaskId};
use crate::shelf::OutputPage;

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

    /// The pieces of output that a task wrote after the one of this number, at most `limit` of
    /// them; `None` if the task is unknown.
    ///
    /// The newest pieces are kept, up to [`Builder::output_bytes_max`](crate::Builder); a page says
    /// how many are gone before its first one. They are kept in memory, also when the records are
    /// not.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let manager = understory::Manager::in_memory();
    /// let task = manager.scope("s").task("t").spawn(|ctx| async move {
    ///     for line in ["one", "two", "three"] {
    ///         ctx.output(line).await?;
    ///     }
    ///     Ok(())
    /// });
    /// let task = task.await?;
    /// task.settled().await?;
    /// let page = manager.read_output(task.id(), 0, 2).ok_or("no such task")?;
    /// assert_eq!(page.pieces[1].as_json(), r#""two""#);
    /// let rest = manager.read_output(task.id(), page.last(), 2);
    /// assert!(rest.is_some_and(|rest| rest.first == 3 && rest.missed == 0));
    /// # Ok(()) }
    /// ```
    pub fn read_output(&self, id: TaskId, after: u64, limit: usize) -> Option<OutputPage> {
        self.get(id)?;
        let limit = limit.clamp(1, PAGE_MAX);
        Some(self.core.hub.shelf.read(id, after, limit))
    }

    /// The live tasks directly below a task, in order of acceptance.
    pub fn children(&self, id: TaskId) -> Vec<Arc<Record>> {
        self.core.hub.index.children(id)
    }

    /// The number of the newest event that reads show.
    pub fn seq(&self) -> Seq {
        self.core.hub.index.seq()
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
