//! The read side: what is known of tasks, for everybody and at any time.
//!
//! # Invariants
//! 1. One writer calls `apply`, with what is durable; nothing else changes the index.
//! 2. Under the lock of `order`, `order`, `records` and `names` agree: `apply` writes all of them
//!    under it.
//! 3. `get` takes no lock that `apply` holds for long: it reads one shard of `records`.
//! 4. A list takes the lock for one chunk of ids at a time, so a long scan of what is dense delays
//!    the writer no longer than a short one; one of a rare state passes over the rest meanwhile.
//!    Only a snapshot holds it for the length of what it copies.
//! 5. Whoever holds the lock of `order` may take that of a shard, never the other way round.
//!
//! *Not here*: old records that are no longer kept, paths (the public face).

mod names;
mod order;
mod page;
mod sorted;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use dashmap::DashMap;

use crate::kernel::{Filter, IdHash, Record, Scope, Seq, TaskId};
use names::Names;
use order::{Cut, Narrow, Order};
pub use page::{Counts, Cursor, Listing, PAGE_MAX, Page};

/// How many ids a list takes under one lock.
const CHUNK: usize = 1_024;

/// Every record that is kept, by id and in the orders that lists need.
#[derive(Debug, Default)]
pub(crate) struct Index {
    records: DashMap<TaskId, Arc<Record>, IdHash>,
    names: Names,
    order: RwLock<Order>,
}

impl Index {
    /// An index that knows no task.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Takes in what has become durable, up to the event `seq`.
    ///
    /// Of several records with one id the last one counts, and a removal counts more than a record.
    pub(crate) fn apply(&self, records: &[Arc<Record>], removed: &[TaskId], seq: Seq) {
        let mut order = self.write();
        for record in records {
            let old = self.records.insert(record.id, Arc::clone(record));
            order.put(&self.names, old.as_deref(), record);
        }
        for id in removed {
            if let Some((_, old)) = self.records.remove(id) {
                order.remove(&self.names, &old);
            }
        }
        order.seq = seq;
    }

    /// The tasks that it shows and that are not among these.
    pub(crate) fn missing_from(&self, records: &[Arc<Record>]) -> Vec<TaskId> {
        if self.records.is_empty() {
            return Vec::new();
        }
        let known: HashSet<_> = records.iter().map(|record| record.id).collect();
        let shown = self.records.iter().map(|record| record.id);
        shown.filter(|id| !known.contains(id)).collect()
    }

    /// The newest record of the task.
    pub(crate) fn get(&self, id: TaskId) -> Option<Arc<Record>> {
        self.records.get(&id).map(|record| Arc::clone(&record))
    }

    /// What `look` sees in the newest record of the task; it must be short.
    pub(crate) fn look<T>(&self, id: TaskId, look: impl FnOnce(&Record) -> T) -> Option<T> {
        self.records.get(&id).map(|record| look(&record))
    }

    /// The task that holds the name in the scope.
    pub(crate) fn holder(&self, scope: &Scope, name: &str) -> Option<TaskId> {
        self.names.holder(scope, name)
    }

    /// The tasks that the scope holds a grant of, oldest first.
    pub(crate) fn granted(&self, scope: &Scope) -> Vec<Arc<Record>> {
        let order = self.read();
        let ids = order.granted(scope);
        self.get_all(&ids)
    }

    /// The live tasks directly below the task, oldest first; a detached one is below it no more.
    pub(crate) fn children(&self, id: TaskId) -> Vec<Arc<Record>> {
        let order = self.read();
        let ids = order.chunk(&Narrow::parent(id), Cut::ALL);
        let records = self.get_all(&ids);
        drop(order);
        let is_below = |record: &Arc<Record>| record.parent == Some(id);
        records.into_iter().filter(is_below).collect()
    }

    /// One page of the tasks that match.
    ///
    /// A filter of nothing but scope, parent and states costs as much as the page is long, and one
    /// look for each run of tasks of which none matches, some 32 to 128; `total` with a parent one
    /// look for as many of its children. Any other filter costs a scan of the tasks that scope,
    /// parent and states leave over, in chunks; a task that changes during the scan may be seen
    /// before or after its change. So does a page by number or ordered by a date.
    pub(crate) fn list(&self, filter: &Filter, page: &Page) -> Listing {
        let narrow = Narrow::of(filter);
        if !page.is_plain() {
            return page.cut(self.all_of(&narrow, filter));
        }
        let known = narrow.is_all_of(filter).then(|| self.read().len(&narrow));
        // When the total is known there is no need to look at what lies before the page.
        let mut cut = Cut {
            after: page.start().filter(|_| known.is_some()),
            order: page.order(),
            max: known.map_or(CHUNK, |_| page.limit() + 1),
        };
        let mut found = Listing::default();
        loop {
            let ids = self.read().chunk(&narrow, cut);
            for record in self.get_all(&ids) {
                if filter.matches(&record) {
                    found.add(record, page);
                }
            }
            cut.after = ids.last().copied();
            if ids.len() < cut.max || (known.is_some() && found.next.is_some()) {
                break;
            }
        }
        found.total = known.unwrap_or(found.total);
        found
    }

    /// Every task that matches, oldest first.
    fn all_of(&self, narrow: &Narrow, filter: &Filter) -> Vec<Arc<Record>> {
        let (mut cut, mut records) = (Cut::ALL, Vec::new());
        cut.max = CHUNK;
        loop {
            let ids = self.read().chunk(narrow, cut);
            let matching = self.get_all(&ids).into_iter();
            records.extend(matching.filter(|record| filter.matches(record)));
            cut.after = ids.last().copied();
            if ids.len() < CHUNK {
                return records;
            }
        }
    }

    /// The live tasks that match, oldest first, exactly as they stood at the number given back.
    pub(crate) fn snapshot(&self, filter: &Filter) -> (Seq, Vec<Arc<Record>>) {
        let narrow = Narrow::of(filter).live();
        let order = self.read();
        let ids = order.chunk(&narrow, Cut::ALL);
        let mut records = self.get_all(&ids);
        let seq = order.seq;
        drop(order);
        records.retain(|record| filter.matches(record));
        (seq, records)
    }

    /// The number of the newest event that this index shows.
    pub(crate) fn seq(&self) -> Seq {
        self.read().seq
    }

    /// How many tasks are in each state.
    pub(crate) fn counts(&self) -> Counts {
        self.read().counts()
    }

    /// How many tasks have not settled.
    pub(crate) fn live(&self) -> usize {
        self.read().counts().live()
    }

    fn get_all(&self, ids: &[TaskId]) -> Vec<Arc<Record>> {
        ids.iter().filter_map(|id| self.get(*id)).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Order> {
        // The writer runs no foreign code under the lock and changes the index again with the next
        // batch, so a panic elsewhere must not take the read side away.
        self.order.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Order> {
        self.order.write().unwrap_or_else(PoisonError::into_inner)
    }
}
