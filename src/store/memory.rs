//! The store that lasts as long as its process.
//!
//! # Invariants
//! 1. A commit checks everything before it changes anything.
//! 2. At most `history_max` events are kept, the newest ones.
//!
//! *Not here*: surviving a crash, which needs a file.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Batch, EVENTS_PAGE_MAX, Latency, Lease, LeaseAsk, Loaded, Store, StoreError, Tenancy,
    check_order, check_settled,
};
use crate::kernel::{Event, IdHash, Record, Scope, Seq, TaskId};

/// How many events a [`MemoryStore`] keeps unless told otherwise: some megabytes of small ones.
pub const HISTORY_DEFAULT: usize = 65_536;

/// Keeps records and the newest events in memory.
pub struct MemoryStore {
    history_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    seq: Seq,
    records: HashMap<TaskId, Arc<Record>, IdHash>,
    history: VecDeque<Arc<Event>>,
    closed: BTreeSet<Scope>,
    lease: Lease,
}

impl MemoryStore {
    /// An empty store that keeps [`HISTORY_DEFAULT`] events.
    pub fn new() -> Self {
        Self::with_history(HISTORY_DEFAULT)
    }

    /// An empty store that keeps the newest `events_max` events.
    pub fn with_history(events_max: usize) -> Self {
        Self {
            history_max: events_max,
            kept: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Invariant 1: what can go wrong does so before the first change.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemoryStore {
    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut kept = self.lock();
        kept.lease.check(batch.by)?;
        let seq = check_order(kept.seq, &batch.events)?;
        kept.check_records(&batch.records)?;

        kept.seq = seq;
        for record in &batch.records {
            kept.records.insert(record.id, Arc::clone(record));
        }
        for id in &batch.removed {
            kept.records.remove(id);
        }
        if let Some(closed) = &batch.closed {
            kept.closed.clone_from(closed);
        }
        // Only what will stay is copied, so a batch longer than the history costs no more than it.
        let skip = batch.events.len().saturating_sub(self.history_max);
        let stay = &batch.events[skip..];
        let over = (kept.history.len() + stay.len()).saturating_sub(self.history_max);
        kept.history.drain(..over);
        kept.history.extend(stay.iter().cloned());
        Ok(())
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        let kept = self.lock();
        let mut records: Vec<_> = kept.records.values().cloned().collect();
        let (seq, closed) = (kept.seq, kept.closed.clone());
        drop(kept);
        records.sort_unstable_by_key(|record| record.id);
        Ok(Loaded {
            seq,
            records,
            closed,
        })
    }

    fn events(&self, after: Seq, limit: usize) -> Result<Vec<Arc<Event>>, StoreError> {
        let kept = self.lock();
        let start = kept.history.partition_point(|event| event.seq <= after);
        let page = kept.history.range(start..);
        Ok(page.take(limit.min(EVENTS_PAGE_MAX)).cloned().collect())
    }

    fn lease(&self, ask: &LeaseAsk) -> Result<Lease, StoreError> {
        let mut kept = self.lock();
        kept.lease = kept.lease.after(ask)?;
        Ok(kept.lease)
    }

    /// A program that gives it to a second manager means that one.
    fn tenancy(&self) -> Tenancy {
        Tenancy::Sole
    }

    fn latency(&self) -> Latency {
        Latency::Instant
    }
}

impl Kept {
    fn check_records(&self, records: &[Arc<Record>]) -> Result<(), StoreError> {
        // Of the batch's own records only settled ones can forbid a later one.
        let mut settled: HashMap<TaskId, &Record, IdHash> = HashMap::default();
        for record in records {
            if let Some(kept) = self.records.get(&record.id) {
                check_settled(kept, record)?;
            }
            if let Some(earlier) = settled.get(&record.id) {
                check_settled(earlier, record)?;
            }
            // One that is alone comes before no other.
            if record.state.is_terminal() && records.len() > 1 {
                settled.insert(record.id, record);
            }
        }
        Ok(())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.lock();
        f.debug_struct("MemoryStore")
            .field("seq", &kept.seq)
            .field("records", &kept.records.len())
            .field("events", &kept.history.len())
            .finish_non_exhaustive()
    }
}
