//! Calls the store, where it may block on a thread that may, and one call at a time; only a lease
//! is renewed beside a call that takes long.
//!
//! # Invariants
//! 1. A commit whose writer has failed is over, one way or the other, before the store is read
//!    again: what is loaded then is what the next writer goes on from.
//! 2. Only commits wait without end for a call that does not come back, and in the background who
//!    closes the store.
//!
//! *Not here*: when a call that failed is made again (the writer, the guard).

use std::sync::{Arc, Mutex as SyncMutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};
use tokio::time::timeout;

use super::blocking::Blocking;
use super::clock::Clock;
use crate::kernel::{Event, Seq, Timestamp};
use crate::store::{Batch, Holder, Latency, Lease, LeaseAsk, Loaded, Store, StoreError, Tenancy};

/// How long a reader waits for a call that is under way.
const TURN_MAX: Duration = Duration::from_secs(1);
/// How long the end waits for that.
const LAST_TURN_MAX: Duration = Duration::from_secs(5);
/// How long the end waits for the store to let go of its place, as it may write what is left.
const CLOSE_MAX: Duration = Duration::from_secs(30);
/// After this time a call hangs.
const HANGS_AFTER: Duration = Duration::from_secs(30);

/// A call of before, which nobody waits for any more, has not come back.
#[derive(Debug, thiserror::Error)]
#[error("a call of the store is still under way")]
struct Busy;

/// The manager has been shut down.
#[derive(Debug, thiserror::Error)]
#[error("the store was closed with its manager")]
struct Closed;

#[derive(Debug)]
pub(super) struct Storage {
    store: RwLock<Option<Arc<dyn Store>>>,
    blocking: Arc<Blocking>,
    turn: Arc<Mutex<()>>,
    begun: Begun,
    clock: Clock,
    is_instant: bool,
    is_shared: bool,
}

/// Since when a call that may block is under way.
type Begun = Arc<SyncMutex<Option<Timestamp>>>;

/// A call that is under way.
struct UnderWay(Begun);

impl UnderWay {
    fn note(begun: &Begun, at: Timestamp) -> Self {
        let it = Self(Arc::clone(begun));
        it.set(Some(at));
        it
    }

    fn set(&self, at: Option<Timestamp>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.set(None);
    }
}

impl Storage {
    pub(super) fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        let is_instant = store.latency() == Latency::Instant;
        let is_shared = store.tenancy() == Tenancy::Shared;
        Self {
            store: RwLock::new(Some(store)),
            blocking: Arc::default(),
            turn: Arc::default(),
            begun: Arc::default(),
            clock,
            is_instant,
            is_shared,
        }
    }

    /// Lets go of the store and of its lease when the call that is under way has ended, so that
    /// others may open it: handles of the manager may stay for long. It does not wait for ever.
    pub(super) async fn close(&self, holder: Option<Holder>) {
        let newest = self.store.write();
        let Some(store) = newest.unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        let (turn, blocking) = (Arc::clone(&self.turn), Arc::clone(&self.blocking));
        let (is_its_turn, waits) = oneshot::channel();
        let closed = tokio::spawn(async move {
            let _turn = turn.lock_owned().await;
            let _is_waited_for = is_its_turn.send(()).is_ok();
            match store.latency() {
                Latency::Instant => release(&*store, holder),
                Latency::Blocking => {
                    let _is_done = blocking.run(move || release(&*store, holder)).await.is_ok();
                }
            }
        });
        if timeout(LAST_TURN_MAX, waits).await.is_ok() {
            let _is_late = timeout(CLOSE_MAX, closed).await.is_err();
        }
    }

    fn store(&self) -> Result<Arc<dyn Store>, StoreError> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        store.clone().ok_or_else(|| unavailable(Closed))
    }

    /// Whether a commit never waits for anything outside.
    pub(super) fn is_instant(&self) -> bool {
        self.is_instant
    }

    /// Whether others may open the same place.
    pub(super) fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// How long the call that is under way has not come back, if that is too long.
    pub(super) fn hangs_for(&self) -> Option<Duration> {
        let begun = *self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let took = begun.map(|begun| self.clock.now().since(begun));
        took.filter(|took| *took >= HANGS_AFTER)
    }

    /// Does what is asked of the lease. A call that is dropped goes on to its end all the same.
    pub(super) async fn lease(&self, ask: LeaseAsk) -> Result<Lease, StoreError> {
        let work = move |store: &dyn Store| store.lease(&ask);
        match ask {
            // A load that takes long must not end the tenure.
            LeaseAsk::Renew(_) => self.run((), work).await,
            LeaseAsk::Look | LeaseAsk::Claim { .. } | LeaseAsk::Release(_) => {
                let turn = self.turn_soon().await?;
                self.call(turn, work).await
            }
        }
    }

    /// Makes the batch durable. A call that is dropped goes on to its end all the same.
    pub(super) async fn commit(&self, batch: &Arc<Batch>) -> Result<(), StoreError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let batch = Arc::clone(batch);
        self.call(turn, move |store| store.commit(&batch)).await
    }

    /// The same at once, with a store that never waits: `None` if another call is under way.
    pub(super) fn commit_now(&self, batch: &Batch) -> Option<Result<(), StoreError>> {
        let _turn = self.turn.try_lock().ok()?;
        Some(self.store().and_then(|store| store.commit(batch)))
    }

    pub(super) async fn load(&self) -> Result<Loaded, StoreError> {
        let turn = self.turn_soon().await?;
        self.call(turn, <dyn Store>::load).await
    }

    pub(super) async fn events(
        &self,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Arc<Event>>, StoreError> {
        let turn = self.turn_soon().await?;
        self.call(turn, move |store| store.events(after, limit))
            .await
    }

    async fn turn_soon(&self) -> Result<OwnedMutexGuard<()>, StoreError> {
        let turn = timeout(TURN_MAX, Arc::clone(&self.turn).lock_owned()).await;
        turn.map_err(|_| unavailable(Busy))
    }

    async fn call<T: Send + 'static>(
        &self,
        turn: OwnedMutexGuard<()>,
        work: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let under_way = (!self.is_instant).then(|| UnderWay::note(&self.begun, self.clock.now()));
        self.run((under_way, turn), work).await
    }

    /// Calls the store; what is `held` is let go of when the call has come back.
    async fn run<T: Send + 'static>(
        &self,
        held: impl Send + 'static,
        work: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.store()?;
        match store.latency() {
            Latency::Instant => work(&*store),
            Latency::Blocking => {
                let work = move || {
                    let result = work(&*store);
                    drop(store);
                    drop(held);
                    result
                };
                let done = self.blocking.run(work).await;
                // Whatever a store that panicked had kept, its next call tells.
                done.unwrap_or_else(|undone| Err(unavailable(undone)))
            }
        }
    }
}

/// Who comes next does not have to wait.
fn release(store: &dyn Store, holder: Option<Holder>) {
    let released = holder.map(|holder| store.lease(&LeaseAsk::Release(holder)));
    if let Some(Err(error)) = released {
        tracing::debug!(%error, "the lease of the store was not released");
    }
}

pub(super) fn unavailable(why: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    let source = Box::new(why);
    StoreError::Unavailable { source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{State, TaskId};
    use crate::sample;
    use crate::store::MemoryStore;

    #[tokio::test]
    async fn what_cannot_be_committed_now_has_not_been() {
        let store = Arc::new(MemoryStore::new());
        let storage = Storage::new(Arc::<MemoryStore>::clone(&store), Clock::start());
        let spec = Arc::new(sample::spec("s"));
        let record = sample::record(TaskId::from_u128(1), &spec, State::Pending, 1);
        let batch = Batch {
            events: vec![sample::event(1, &record)],
            records: vec![record],
            ..Batch::default()
        };
        let turn = storage.turn_soon().await.expect("nobody has it");

        assert!(storage.commit_now(&batch).is_none());
        assert_eq!(store.load().expect("it can be read").seq, Seq(0));

        drop(turn);
        assert!(matches!(storage.commit_now(&batch), Some(Ok(()))));
        assert_eq!(store.load().expect("it can be read").seq, Seq(1));
    }
}
