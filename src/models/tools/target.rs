//! Which task a model means.
//!
//! # Invariants
//! 1. A task that the caller does not see is not found, whether it exists or not.
//! 2. Of several tasks at one path the one that has it now is meant; if it is nobody's, the newest
//!    one that had it and whose record is kept.
//! 3. A look through many records yields: other tasks of the thread go on meanwhile.

use std::sync::Arc;

use super::{Rights, ToolError};
use crate::api::TaskRef;
use crate::index::Page;
use crate::kernel::{Filter, Name, Record, TaskId};

/// How long the last part of the path of a task without a name is.
const SHORT_ID_LEN: usize = 8;

impl Rights {
    /// The task that a model means by an id or a path, if the caller sees it.
    pub(super) async fn find(&self, text: &str) -> Result<TaskRef, ToolError> {
        // A name may read as an id.
        let known = text.parse().ok().and_then(|id| self.seen(id));
        let found = match known.or_else(|| self.holder(text)) {
            Some(found) => Some(found),
            None => self.last_at(text).await,
        };
        let record = found.ok_or_else(|| ToolError::not_found(text))?;
        Ok(self.manager.task(record.id))
    }

    fn seen(&self, id: TaskId) -> Option<Arc<Record>> {
        let record = self.manager.get(id)?;
        self.sees(&record).then_some(record)
    }

    fn holder(&self, path: &str) -> Option<Arc<Record>> {
        self.seen(self.scope_ref().find(path)?)
    }

    /// The newest task at this path, which may have ended, or has no name of its own.
    async fn last_at(&self, path: &str) -> Option<Arc<Record>> {
        let last = path.rsplit('/').next()?;
        if let Ok(name) = Name::new(last)
            && let Some(named) = self.newest(Filter::all().name(name), path).await
        {
            return Some(named);
        }
        if last.len() != SHORT_ID_LEN {
            return None;
        }
        self.newest(Filter::all(), path).await
    }

    async fn newest(&self, filter: Filter, path: &str) -> Option<Arc<Record>> {
        let fits = |record: &Arc<Record>| self.has_path(record, path);
        if let Some(caller) = self.caller_id() {
            let below = self.below(caller).await.into_values().rev();
            return below.filter(|it| filter.matches(it)).find(fits);
        }
        let filter = filter.scope(self.scope());
        let mut page = Page::default();
        loop {
            let listing = self.manager.list(&filter, &page);
            if let Some(record) = listing.records.into_iter().find(fits) {
                return Some(record);
            }
            page = Page::default().after(listing.next?);
            tokio::task::yield_now().await;
        }
    }

    /// Whether the path of a task ends so.
    fn has_path(&self, record: &Record, path: &str) -> bool {
        let own = self.manager.task(record.id).path();
        let before = own.strip_suffix(path);
        before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
    }
}
