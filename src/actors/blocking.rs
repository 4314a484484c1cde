//! Calls that may block: in the runtime's pool of threads, or if that is full, on a thread of their
//! own.
//!
//! # Invariants
//! 1. A call begins soon, whoever fills the pool: bodies may compute there until they are
//!    cancelled, which only a commit brings about.
//! 2. A call that is dropped goes on to its end all the same.
//! 3. A call that the pool has begun on keeps its thread until it is done, also if another thread
//!    does it: for these the paused time of a test stands still, and the end of a runtime waits.
//!    For a thread of its own, neither.
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
    /// Whether a call that was not to wait any longer is still in the queue of the pool: until that
    /// has its turn, no other one gets into it.
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
            working: Mutex::new(()),
            is_full: Arc::clone(&self.is_full),
            runtime,
        });
        let is_queued = !self.is_full.load(Ordering::Acquire);
        if is_queued {
            call.queue();
        }
        let rescue = Rescue { call, is_queued };
        let in_time = if is_queued {
            timeout(POOL_PATIENCE, &mut told).await.ok()
        } else {
            None
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
    /// Held by a thread of its own while that works.
    working: Mutex<()>,
    is_full: Arc<AtomicBool>,
    runtime: Handle,
}

impl<F: FnOnce() + Send + 'static> Call<F> {
    fn queue(self: &Arc<Self>) {
        let call = Arc::clone(self);
        self.runtime.spawn_blocking(move || call.begin_in_pool());
    }

    /// If another thread works already, the one of the pool is there until that is done.
    fn begin_in_pool(&self) {
        let mut waiting = lock(&self.waiting);
        self.is_full.store(false, Ordering::Release);
        let work = waiting.take();
        drop(waiting);
        match work {
            Some(work) => work(),
            None => drop(lock(&self.working)),
        }
    }

    fn begin_alone(&self) {
        let _entered = self.runtime.enter();
        let mut waiting = lock(&self.waiting);
        let _working = lock(&self.working);
        let work = waiting.take();
        drop(waiting);
        if let Some(work) = work {
            work();
        }
    }
}

/// Whoever drops it leaves a call that has not begun to a thread of its own.
struct Rescue<F: FnOnce() + Send + 'static> {
    call: Arc<Call<F>>,
    /// Whether the pool has it.
    is_queued: bool,
}

impl<F: FnOnce() + Send + 'static> Drop for Rescue<F> {
    fn drop(&mut self) {
        let waiting = lock(&self.call.waiting);
        if waiting.is_none() {
            return;
        }
        if self.is_queued {
            // Under the lock: the pool takes it back when it has its turn.
            self.call.is_full.store(true, Ordering::Release);
        }
        drop(waiting);
        let call = Arc::clone(&self.call);
        let thread = thread::Builder::new().name("understory-call".to_owned());
        if let Err(error) = thread.spawn(move || call.begin_alone()) {
            tracing::warn!(%error, "a call of the store waits for a thread of the pool");
            if !self.is_queued {
                self.call.queue();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn name() -> Option<String> {
        thread::current().name().map(str::to_owned)
    }

    #[test]
    fn calls_go_beside_a_pool_that_is_full_and_into_it_when_it_is_not() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().max_blocking_threads(1).build();
        let runtime = runtime.expect("there are threads");
        let (blocking, (release, released)) = (Blocking::default(), channel::<()>());
        runtime.block_on(async {
            let body = runtime.spawn_blocking(move || released.recv());
            for _ in 0..2 {
                let by = blocking.run(name).await.expect("a thread does it");
                assert_eq!(by.as_deref(), Some("understory-call"));
            }
            release.send(()).expect("the body waits");
            body.await.expect("it ends").expect("it was told");
            while blocking.is_full.load(Ordering::Acquire) {
                tokio::task::yield_now().await;
            }
            let by = blocking.run(name).await.expect("a thread does it");
            assert_ne!(by.as_deref(), Some("understory-call"));
        });
    }

    #[test]
    fn call_that_panics_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let runtime = runtime.expect("there are threads");
        let call = async { Blocking::default().run(|| panic!("out of cheese")).await };
        let told: Result<(), _> = runtime.block_on(call);
        assert!(matches!(told, Err(Undone::Panicked(why)) if why.contains("out of cheese")));
    }
}
