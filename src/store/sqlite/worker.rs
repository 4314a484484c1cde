//! A thread of the store that waits until it is told of a commit, and ends with the store.
//!
//! # Invariants
//! 1. It sleeps while nothing was committed.
//! 2. Whoever drops it waits until it has ended.
//!
//! *Not here*: what it does (`keeper`, `syncer`).

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::lock;

/// What a thread waits for.
#[derive(Default)]
pub(super) struct Bell {
    rung: Mutex<Rung>,
    changed: Condvar,
}

#[derive(Default)]
struct Rung {
    is_rung: bool,
    is_over: bool,
}

impl Bell {
    /// Something was committed.
    pub(super) fn ring(&self) {
        let was_rung = std::mem::replace(&mut lock(&self.rung).is_rung, true);
        if !was_rung {
            self.changed.notify_one();
        }
    }

    fn end(&self) {
        lock(&self.rung).is_over = true;
        self.changed.notify_one();
    }

    /// Waits for a commit, and for some time after the first one; tells whether to go on.
    pub(super) fn wait(&self, pause: Duration) -> bool {
        let waits = |rung: &mut Rung| !rung.is_rung && !rung.is_over;
        let rung = self.changed.wait_while(lock(&self.rung), waits);
        drop(rung.unwrap_or_else(PoisonError::into_inner));
        self.rest(pause) && {
            lock(&self.rung).is_rung = false;
            true
        }
    }

    /// Waits for that time; tells whether to go on.
    pub(super) fn rest(&self, pause: Duration) -> bool {
        let goes_on = |rung: &mut Rung| !rung.is_over;
        let rested = (self.changed).wait_timeout_while(lock(&self.rung), pause, goes_on);
        let (rung, _) = rested.unwrap_or_else(PoisonError::into_inner);
        !rung.is_over
    }
}

/// The thread.
pub(super) struct Worker {
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(super) fn start(work: impl FnOnce(&Bell) + Send + 'static) -> io::Result<Self> {
        let bell = Arc::new(Bell::default());
        let its = Arc::clone(&bell);
        let thread = std::thread::Builder::new().name("understory-store".to_owned());
        let thread = Some(thread.spawn(move || work(&its))?);
        Ok(Self { bell, thread })
    }

    pub(super) fn ring(&self) {
        self.bell.ring();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.bell.end();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a thread of the store panicked");
        }
    }
}
