//! Calls that may block: in the runtime's pool of threads, or if that is full, on a thread of their
//! own.
//!
//! # Invariants
//! 1. A call begins soon, whoever fills the pool: bodies may compute there until they are
//!    cancelled, which only a commit brings about.
//! 2. A call that is dropped goes on to its end all the same.
//! 3. While there is a call, one waits or works in the pool: for these the paused time of a test
//!    stands still, and the end of a runtime waits. For a thread that is kept for calls, neither.
//!
//! *Not here*: what is called (`storage`, `recovery`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::engine::catch_call;

/// How long a call waits for a thread of the pool.
const POOL_PATIENCE: Duration = Duration::from_millis(10);

/// Why a call has brought nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undone {
    #[error("it panicked: {0}")]
    Panicked(String),
    #[error("there is no thread for it")]
    NoThread,
}

/// Where calls are made.
#[derive(Debug, Default)]
pub(super) struct Blocking {
    /// Whether a call still waits in the pool that was not to wait any longer.
    is_full: Arc<AtomicBool>,
}

impl Blocking {
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Undone> {
        let (tell, mut told) = oneshot::channel();
        let work = move || {
            let _is_heard = tell.send(catch_call(work)).is_ok();
        };
        let runtime = Handle::current();
        let call = Arc::new(Call {
            waiting: Mutex::new(Some(work)),
            is_full: Arc::clone(&self.is_full),
            runtime: runtime.clone(),
        });
        let rescue = Rescue(Arc::clone(&call));
        let in_time = if self.is_full.load(Ordering::Acquire) {
            None
        } else {
            runtime.spawn_blocking(move || call.begin_in_pool());
            timeout(POOL_PATIENCE, &mut told).await.ok()
        };
        drop(rescue);
        let done = match in_time {
            Some(done) => done,
            None => told.await,
        };
        let done = done.map_err(|_| Undone::NoThread)?;
        done.map_err(Undone::Panicked)
    }
}

/// A call that is made by the thread that comes first.
struct Call<F> {
    waiting: Mutex<Option<F>>,
    is_full: Arc<AtomicBool>,
    runtime: Handle,
}

impl<F: FnOnce()> Call<F> {
    fn waiting(&self) -> MutexGuard<'_, Option<F>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_in_pool(&self) {
        let mut waiting = self.waiting();
        self.is_full.store(false, Ordering::Release);
        let work = waiting.take();
        drop(waiting);
        if let Some(work) = work {
            work();
        }
    }

    fn begin(&self) {
        let _entered = self.runtime.enter();
        let work = self.waiting().take();
        if let Some(work) = work {
            work();
        }
    }
}

/// Whoever drops it leaves a call that has not begun to a thread of its own.
struct Rescue<F: FnOnce() + Send + 'static>(Arc<Call<F>>);

impl<F: FnOnce() + Send + 'static> Drop for Rescue<F> {
    fn drop(&mut self) {
        let waiting = self.0.waiting();
        if waiting.is_none() {
            return;
        }
        // Under the lock: what waits in the pool takes it back when it has its turn.
        self.0.is_full.store(true, Ordering::Release);
        drop(waiting);
        let call = Arc::clone(&self.0);
        let thread = thread::Builder::new().name("understory-call".to_owned());
        if let Err(error) = thread.spawn(move || call.begin()) {
            tracing::warn!(%error, "a call finds no thread but those of the pool");
        }
    }
}
