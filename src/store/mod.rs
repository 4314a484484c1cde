//! Makes batches of records and events durable, and gives them back.
//!
//! # Invariants
//! 1. A batch is kept whole or not at all; when `commit` returns `Ok`, it is durable.
//! 2. The log has consecutive numbers: the events of a batch follow the newest one kept.
//! 3. A settled record keeps its state and outcome; only the facts beside them may still change.
//! 4. Of several records with one id the last one counts, and a removal counts more than a record.
//! 5. Of a batch that is not by the holder of the lease nothing is kept.
//!
//! *Not here*: grouping commits and holding reports while a store is sick (the writer), claiming
//! and renewing the lease (`actors`).

#[cfg(any(test, feature = "testing"))]
pub mod contract;
#[cfg(any(test, feature = "testing"))]
mod faulty;
mod lease;
mod memory;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use std::collections::{BTreeSet, HashSet};
use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

use crate::kernel::{Event, IdHash, Record, Scope, Seq, State, TaskId};
#[cfg(any(test, feature = "testing"))]
pub use faulty::FaultyStore;
pub use lease::{
    DRIFT_MAX, Holder, LEASE_TTL, LEASE_TTL_MIN, Lease, LeaseAsk, Owner, Tenure, Verdict, Watch,
};
pub use memory::{HISTORY_DEFAULT, MemoryStore};

/// Most events that one call of [`Store::events`] gives: about a megabyte of small ones.
pub const EVENTS_PAGE_MAX: usize = 4_096;

/// What one or several steps of the kernel changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Who decided it; `None` is for stores that nobody holds.
    pub by: Option<Holder>,
    /// Changed records; of several with one id the last one counts.
    pub records: Vec<Arc<Record>>,
    /// Records that are no longer kept, also when they are among `records`.
    pub removed: Vec<TaskId>,
    /// New events, in the order of their numbers.
    pub events: Vec<Arc<Event>>,
    /// All scopes that are closed, if that has changed.
    pub closed: Option<BTreeSet<Scope>>,
}

impl Batch {
    /// Adds what came later, so that both become durable in one commit.
    ///
    /// Costs as much as `later` is long; [`Batch::compact`] drops what became superfluous.
    pub fn absorb(&mut self, later: Self) {
        if self.is_empty() {
            *self = later;
            return;
        }
        self.records.extend(later.records);
        self.removed.extend(later.removed);
        self.events.extend(later.events);
        self.closed = later.closed.or(self.closed.take());
        self.by = later.by.or(self.by);
    }

    /// Drops records that a later one of the same id has overtaken. What the batch means stays the
    /// same. The last one stays also of a task that is removed: it says how that has ended.
    pub fn compact(&mut self) {
        if self.records.len() < 2 {
            return;
        }
        let mut later: HashSet<TaskId, IdHash> = HashSet::default();
        self.records.reverse();
        self.records.retain(|record| later.insert(record.id));
        self.records.reverse();
    }

    /// Whether there is nothing to make durable, by whomever.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.removed.is_empty()
            && self.events.is_empty()
            && self.closed.is_none()
    }
}

/// What a store had when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The number of the newest event; zero when there is none.
    pub seq: Seq,
    /// Every record, in the order of their ids.
    pub records: Vec<Arc<Record>>,
    /// The scopes that are closed.
    pub closed: BTreeSet<Scope>,
}

/// How long a commit may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// It never waits for anything outside: it is called where the batch arises.
    Instant,
    /// It may wait for a disk or a network: it is called on a thread that may block.
    Blocking,
}

/// Who may open a place that others have opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenancy {
    /// Nobody, as long as these are there: a lock sees to that, or it is one object. A manager
    /// takes the lease over at once; should the one before be there all the same, it is fenced.
    Sole,
    /// Anybody. A manager takes the lease over when it was released, or not renewed for too long.
    Shared,
}

/// Makes batches durable. `contract` holds the suite that each one passes.
pub trait Store: Debug + Send + Sync + 'static {
    /// Makes the whole batch durable, or nothing of it. In one step with that it is held against
    /// the lease ([`Lease::check`]).
    ///
    /// # Errors
    /// [`StoreError`]; nothing of the batch was kept. The same batch may be committed again after
    /// [`StoreError::Unavailable`].
    fn commit(&self, batch: &Batch) -> Result<(), StoreError>;

    /// Gives everything back, as of the newest commit.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot be read now, [`StoreError::Damaged`] when never.
    fn load(&self) -> Result<Loaded, StoreError>;

    /// The oldest events still kept that come after a number: at most `limit`, and never more than
    /// [`EVENTS_PAGE_MAX`]. When older ones are gone, the first number given is above `after + 1`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when they cannot be read now, [`StoreError::Damaged`] when
    /// never.
    fn events(&self, after: Seq, limit: usize) -> Result<Vec<Arc<Event>>, StoreError>;

    /// Does what is asked of the lease, as [`Lease::after`] says, durably and in one step; gives
    /// what it is then. What is loaded after a claim is what the new holder goes on from.
    ///
    /// # Errors
    /// [`StoreError`]; the lease is as it was.
    fn lease(&self, ask: &LeaseAsk) -> Result<Lease, StoreError>;

    /// Who may open the same place; always the same answer.
    fn tenancy(&self) -> Tenancy;

    /// How long a commit may take; always the same answer.
    fn latency(&self) -> Latency;
}

/// Why a store did not do what it was asked. Nothing was kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot work now: a full disk, a lost connection. The same call may be
    /// made again later.
    #[error("the store is not available; nothing was kept, the same call may be made again")]
    Unavailable {
        /// What is wrong.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It does not hold what was written to it: no call can succeed until it is mended.
    #[error("the store is damaged; nothing was kept, put a copy in its place")]
    Damaged {
        /// What is wrong.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It holds what a newer program wrote: no call that reads that can succeed in this one.
    #[error("the store holds what a newer program wrote; nothing was kept, update this one")]
    Newer {
        /// What is not known here.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It is not where it was opened any more, so that nobody would find what it took. No call can
    /// succeed; what was acknowledged before is where the old one is.
    #[error(
        "the store is gone; nothing was kept: bring it back or choose another one, and start again"
    )]
    Gone {
        /// What is wrong.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// An event of the batch does not follow the one before it. Committing the batches in the
    /// order in which they arose mends this.
    #[error("event {found} cannot follow event {newest}; commit each batch once, in order")]
    OutOfOrder {
        /// The number that the log had come to.
        newest: Seq,
        /// The number that came next in the batch.
        found: Seq,
    },
    /// The batch would change how a settled task ended. Who made the batch is mistaken about the
    /// task and has to load it again.
    #[error("{task} has settled as {kept} and its end cannot change (to {refused}); load it again")]
    Conflict {
        /// The task.
        task: TaskId,
        /// The state it keeps.
        kept: State,
        /// The state that was refused.
        refused: State,
    },
    /// Somebody else holds the lease of the store. It never takes anything again from who held it
    /// before.
    #[error("the store was taken over: it belongs to {lease} now; nothing was kept")]
    Fenced {
        /// Whose it is.
        lease: Lease,
    },
    /// The lease is not the one that was to be claimed. Watch this one.
    #[error("the store is held by {lease}; nothing was claimed")]
    Held {
        /// The one that it is.
        lease: Lease,
    },
}

/// The order of the log: the number of the last event of the batch, or the first event that does
/// not follow its predecessor.
fn check_order(newest: Seq, events: &[Arc<Event>]) -> Result<Seq, StoreError> {
    let follow = |newest: Seq, event: &Arc<Event>| {
        let found = event.seq;
        if found == newest.next() {
            Ok(found)
        } else {
            Err(StoreError::OutOfOrder { newest, found })
        }
    };
    events.iter().try_fold(newest, follow)
}

/// Invariant 3, for a record and the one that would take its place.
fn check_settled(kept: &Record, new: &Record) -> Result<(), StoreError> {
    let is_next_life = new.incarnation > kept.incarnation;
    if kept.state.is_terminal()
        && !is_next_life
        && (kept.state != new.state || kept.outcome != new.outcome)
    {
        return Err(StoreError::Conflict {
            task: kept.id,
            kept: kept.state,
            refused: new.state,
        });
    }
    Ok(())
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        (**self).commit(batch)
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        (**self).load()
    }

    fn events(&self, after: Seq, limit: usize) -> Result<Vec<Arc<Event>>, StoreError> {
        (**self).events(after, limit)
    }

    fn lease(&self, ask: &LeaseAsk) -> Result<Lease, StoreError> {
        (**self).lease(ask)
    }

    fn tenancy(&self) -> Tenancy {
        (**self).tenancy()
    }

    fn latency(&self) -> Latency {
        (**self).latency()
    }
}

#[cfg(test)]
mod tests;
