//! Calls the store, where it may block on a thread that may, and one call at a time.
//!
//! # Invariants
//! 1. A commit whose writer has failed is over, one way or the other, before the store is read
//!    again: what is loaded then is what the next writer goes on from.
//!
//! *Not here*: when a call that failed is made again (the writer, the guard).

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::kernel::{Event, Seq};
use crate::store::{Batch, Holder, Latency, Lease, LeaseAsk, Loaded, Store, StoreError, Tenancy};

/// How long a reader waits for a call that is under way.
const TURN_MAX: Duration = Duration::from_secs(1);

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
    turn: Arc<Mutex<()>>,
    is_instant: bool,
    is_shared: bool,
}

impl Storage {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        let is_instant = store.latency() == Latency::Instant;
        let is_shared = store.tenancy() == Tenancy::Shared;
        let (store, turn) = (RwLock::new(Some(store)), Arc::default());
        Self {
            store,
            turn,
            is_instant,
            is_shared,
        }
    }

    /// Lets go of the store and of its lease when the call that is under way has ended, so that
    /// others may open it: handles of the manager may stay for long.
    pub(super) async fn close(&self, holder: Option<Holder>) {
        let newest = self.store.write();
        let store = newest.unwrap_or_else(PoisonError::into_inner).take();
        let turn = self.turn_soon().await;
        if let Some(store) = store
            && turn.is_ok()
        {
            match store.latency() {
                Latency::Instant => release(&*store, holder),
                Latency::Blocking => {
                    // It may write what is left.
                    let work = move || release(&*store, holder);
                    let _ended = spawn_blocking(work).await.is_ok();
                }
            }
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

    /// Does what is asked of the lease. A call that is dropped goes on to its end all the same.
    pub(super) async fn lease(&self, ask: LeaseAsk) -> Result<Lease, StoreError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        self.call(turn, move |store| store.lease(&ask)).await
    }

    /// Makes the batch durable. A call that is dropped goes on to its end all the same.
    pub(super) async fn commit(&self, batch: &Arc<Batch>) -> Result<(), StoreError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let batch = Arc::clone(batch);
        self.call(turn, move |store| store.commit(&batch)).await
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
        let store = self.store()?;
        match store.latency() {
            Latency::Instant => work(&*store),
            Latency::Blocking => {
                let work = move || {
                    let result = work(&*store);
                    drop(store);
                    drop(turn);
                    result
                };
                let done = spawn_blocking(work).await;
                // Whatever a store that panicked had kept, its next call tells.
                done.unwrap_or_else(|panic| Err(unavailable(panic)))
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
