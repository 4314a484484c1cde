//! Lets processes write and read only as fast as that is shown.
//!
//! # Invariants
//! 1. At most [`PIECES_MAX`] pieces of output and messages are on their way to the screen, so a
//!    slow reader slows the writers. What else happens is not held up: where it makes the feed pass
//!    the screen by, a run with a file goes on from that (`history`).
//!
//! *Not here*: the bound of one process's output (`process::lines`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

/// Far below what the feed keeps.
const PIECES_MAX: usize = 256;

#[derive(Clone, Debug)]
pub(super) struct Throttle {
    room: Arc<Semaphore>,
    on_their_way: Arc<AtomicUsize>,
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self {
            room: Arc::new(Semaphore::new(PIECES_MAX)),
            on_their_way: Arc::default(),
        }
    }

    /// Waits for room for one piece.
    pub(super) async fn enter(&self) {
        // The semaphore is never closed.
        if let Ok(permit) = self.room.acquire().await {
            permit.forget();
            self.on_their_way.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A piece was shown, or will never be.
    pub(super) fn release(&self) {
        let left = self
            .on_their_way
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                count.checked_sub(1)
            });
        if left.is_ok() {
            self.room.add_permits(1);
        }
    }

    /// Nobody knows which pieces were missed.
    pub(super) fn release_all(&self) {
        self.room
            .add_permits(self.on_their_way.swap(0, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(throttle: &Throttle) -> usize {
        throttle.room.available_permits()
    }

    #[tokio::test]
    async fn room_is_given_back_once_for_each_piece() {
        let throttle = Throttle::new();
        for _ in 0..PIECES_MAX {
            throttle.enter().await;
        }
        assert_eq!(free(&throttle), 0);

        throttle.release();
        assert_eq!(free(&throttle), 1);
        throttle.release_all();
        throttle.release();
        throttle.release_all();
        assert_eq!(free(&throttle), PIECES_MAX);
    }
}
