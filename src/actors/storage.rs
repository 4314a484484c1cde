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
use crate::store::{Batch, Latency, Loaded, Store, StoreError};

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
}

impl Storage {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        let is_instant = store.latency() == Latency::Instant;
        let (store, turn) = (RwLock::new(Some(store)), Arc::default());
        Self {
            store,
            turn,
            is_instant,
        }
    }

    /// Lets go of the store when the call that is under way has ended, so that others may open it:
    /// handles of the manager may stay for long.
    pub(super) async fn close(&self) {
        let newest = self.store.write();
        let store = newest.unwrap_or_else(PoisonError::into_inner).take();
        let turn = self.turn_soon().await;
        if let Some(store) = store
            && store.latency() == Latency::Blocking
            && turn.is_ok()
        {
            // It may write what is left.
            let _ended = spawn_blocking(move || drop(store)).await.is_ok();
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

fn unavailable(why: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    let source = Box::new(why);
    StoreError::Unavailable { source }
}
