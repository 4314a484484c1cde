//! "All of them have started", "all of them have ended".

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Opens once it has been counted down to nothing.
#[derive(Clone)]
pub(crate) struct Latch(Arc<(AtomicUsize, Notify)>);

impl Latch {
    pub(crate) fn new(count: usize) -> Self {
        Self(Arc::new((AtomicUsize::new(count), Notify::new())))
    }

    pub(crate) fn count_down(&self) {
        if self.0.0.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.1.notify_one();
        }
    }

    /// Waits until it is open. One waiter only.
    pub(crate) async fn opened(&self) {
        if self.0.0.load(Ordering::Acquire) > 0 {
            self.0.1.notified().await;
        }
    }

    /// Counts down when it is dropped, with whatever holds it.
    pub(crate) fn guard(&self) -> Guard {
        Guard(self.clone())
    }
}

pub(crate) struct Guard(Latch);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.count_down();
    }
}
