//! Tells every event to everybody who asked, from one shared, bounded history.
//!
//! # Invariants
//! 1. The ring holds consecutive numbers; its newest event is the newest that was published.
//! 2. A subscription's numbers only rise. Each one it passes was delivered, filtered, or counted in
//!    exactly one `Lagged`.
//! 3. Publishing takes one short lock and sends one signal, however many events there are, and
//!    waits for nobody. A subscriber adds to its cost only when it sleeps and is to be woken.
//! 4. No wake is lost: a subscription begins to wait before it looks into the ring for the last
//!    time, and the publisher signals after it has changed the ring.
//! 5. The feed holds at most `capacity` events and a bounded number of bytes of payloads. A
//!    subscription that falls behind holds at most one chunk of 64 more.
//!
//! *Not here*: what counts as durable before it is told (the writer), old events (`store`).

mod ring;
mod subscription;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::Notify;

use crate::kernel::{Event, Filter, Seq};
use ring::Ring;
pub use subscription::{FeedItem, Subscription};

/// Everybody who may subscribe has done so; try again when one of them has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the feed has {max} subscribers and takes no more; drop one or raise the bound")]
pub(crate) struct TooManySubscribers {
    /// How many there may be.
    pub(crate) max: usize,
}

/// The shared history and the signal that it has grown.
#[derive(Debug)]
pub(crate) struct Feed {
    ring: RwLock<Ring>,
    changed: Arc<Notify>,
    subscribers: AtomicUsize,
    subscribers_max: usize,
}

impl Feed {
    /// A feed of a new log, which keeps the newest `capacity` events, at least one.
    #[cfg(test)]
    pub(crate) fn new(capacity: usize, subscribers_max: usize) -> Arc<Self> {
        Self::resumed(Seq(0), capacity, subscribers_max)
    }

    /// The same, which keeps at most so many bytes of payloads beside those of its newest event.
    pub(crate) fn bounded(capacity: usize, bytes_max: usize, subscribers_max: usize) -> Arc<Self> {
        Self::made(Ring::new(Seq(0), capacity, bytes_max), subscribers_max)
    }

    /// A feed of a log whose newest number is already `newest`.
    #[cfg(test)]
    pub(crate) fn resumed(newest: Seq, capacity: usize, subscribers_max: usize) -> Arc<Self> {
        Self::made(Ring::new(newest, capacity, usize::MAX), subscribers_max)
    }

    fn made(ring: Ring, subscribers_max: usize) -> Arc<Self> {
        Arc::new(Self {
            ring: RwLock::new(ring),
            changed: Arc::new(Notify::new()),
            subscribers: AtomicUsize::new(0),
            subscribers_max,
        })
    }

    /// Tells these events, whose numbers follow those told before.
    ///
    /// A number that was told before is left out. After a gap the history starts anew, so that
    /// subscribers hear of the gap as `Lagged`. After the close nothing is told.
    pub(crate) fn publish(&self, events: &[Arc<Event>]) {
        if events.is_empty() {
            return;
        }
        self.write().extend(events);
        self.changed.notify_waiters();
    }

    /// Whether there is no subscription at all at the moment: nobody would be woken.
    pub(crate) fn has_no_listener(self: &Arc<Self>) -> bool {
        // Each subscription holds on to the feed, and beside them its manager alone does.
        Arc::strong_count(self) == 1
    }

    /// The number of the newest event told.
    pub(crate) fn newest(&self) -> Seq {
        self.read().newest()
    }

    /// The number of the oldest event still here.
    #[cfg(test)]
    pub(crate) fn oldest(&self) -> Option<Seq> {
        self.read().oldest()
    }

    /// How many subscriptions there are.
    #[cfg(test)]
    pub(crate) fn subscribers(&self) -> usize {
        self.subscribers.load(Ordering::Relaxed)
    }

    /// Tells nothing more: each stream ends after the last event.
    pub(crate) fn close(&self) {
        self.write().close();
        self.changed.notify_waiters();
    }

    /// Every event with a number above `after` that the filter lets through.
    ///
    /// # Errors
    /// [`TooManySubscribers`]; nothing happened.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        after: Seq,
        filter: Filter,
    ) -> Result<Subscription, TooManySubscribers> {
        let max = self.subscribers_max;
        // Only the count itself is shared, so no other memory has to be in order with it.
        self.subscribers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                (count < max).then_some(count + 1)
            })
            .map_err(|_| TooManySubscribers { max })?;
        Ok(Subscription::new(Arc::clone(self), after, filter))
    }

    /// The same for the manager itself, which takes nobody's place.
    pub(crate) fn watch(self: &Arc<Self>, after: Seq, filter: Filter) -> Subscription {
        Subscription::new(Arc::clone(self), after, filter).uncounted()
    }

    fn leave(&self) {
        self.subscribers.fetch_sub(1, Ordering::Relaxed);
    }

    fn read(&self) -> RwLockReadGuard<'_, Ring> {
        // The ring stays whole whatever happens to a thread that holds it: it runs no foreign code.
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }
}
