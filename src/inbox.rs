//! The bounded, ordered mailbox of one task.
//!
//! # Invariants
//! 1. Messages leave in the order of their numbers, which are given under the lock of the queue.
//! 2. Accepted = received + dropped for newer ones + left at the close: a message is taken in the
//!    poll that returns it, so a receiver that is dropped while it waits has taken none.
//! 3. After the close nothing is accepted and nothing is left, until it is opened again: that is
//!    done when the end that closed it was not written down, and the task runs again.
//! 4. No wake is lost (`wait`). Each push wakes one receiver that waits, if there is one; the close
//!    wakes all, and each finds the inbox closed.
//! 5. An inbox that was never used has allocated nothing.
//! 6. Durable messages take no place and are never dropped for newer ones; how many there are is
//!    bounded by the record. Each is queued once for a run, those that come again before others.
//! 7. An inbox that lets its senders wait gives them its places in their order; each place belongs
//!    to a permit, which comes back when a message is taken.
//!
//! *Not here*: who may send and how a task is found (the public face), the count in the record.

mod dead;
mod fate;
mod mail;
mod size;
mod state;
mod wait;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

pub use crate::kernel::{MessageId, Overflow};
pub(crate) use dead::{DeadBounds, DeadLetters};
pub use dead::{DeadFilter, DeadLetter};
pub use mail::{Delivery, Message, Receipt, Sender, Undelivered};
pub(crate) use mail::{Lost, Parcel};
pub(crate) use size::size_of;
use state::{State, Taken};
pub(crate) use wait::May;
use wait::{Recv, wake};

/// A message that was not accepted, and why.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Rejected {
    /// The message, as it was handed in.
    pub(crate) parcel: Parcel,
    /// Why it was not accepted.
    pub(crate) why: Why,
}

/// A message that was accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) receipt: Receipt,
    /// The oldest one, if it was dropped for this one.
    pub(crate) dropped: Option<Box<Lost>>,
}

/// Why an inbox did not accept a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Why {
    /// It holds as many messages as it may; send again after the task has received some.
    #[error("the inbox is full ({capacity} messages); send again after the task has received some")]
    Full {
        /// How many messages it may hold.
        capacity: u32,
    },
    /// The task has ended and will receive nothing more.
    #[error("the inbox is closed: the task has ended")]
    Closed,
    /// The task was asked for with an inbox capacity of zero.
    #[error("the task has no inbox; give it a capacity when it is spawned")]
    NoInbox,
}

/// The mailbox.
pub(crate) struct Inbox {
    capacity: u32,
    overflow: Overflow,
    state: Mutex<State>,
    /// The free places of an inbox that lets its senders wait; another one has no use for it. Once
    /// closed a semaphore stays so: an inbox that is opened again has a new one.
    room: Option<Box<Mutex<Arc<Semaphore>>>>,
}

impl Inbox {
    /// An inbox that holds this many messages; with zero it accepts none.
    pub(crate) fn new(capacity: u32, overflow: Overflow) -> Self {
        let lets_wait = overflow == Overflow::Wait && capacity > 0;
        let room = || Box::new(Mutex::new(places(capacity)));
        Self {
            capacity,
            overflow,
            state: Mutex::new(State::empty()),
            room: lets_wait.then(room),
        }
    }

    /// Puts a message at the end, if there is room now or room can be made.
    ///
    /// # Errors
    /// [`Rejected`] with the message and the reason; nothing happened.
    #[inline]
    pub(crate) fn push(&self, parcel: Parcel) -> Result<Accepted, Box<Rejected>> {
        if let Some(room) = self.room() {
            let Ok(place) = room.try_acquire() else {
                let is_closed = self.lock().is_closed;
                let why = if is_closed { Why::Closed } else { self.full() };
                return Err(Box::new(Rejected { parcel, why }));
            };
            place.forget();
        }
        self.place(parcel)
    }

    /// Puts a message at the end, and waits for room if that is what this inbox does.
    ///
    /// # Errors
    /// [`Rejected`] with the message and the reason; nothing happened.
    ///
    /// # Cancel safety
    /// A dropped future has placed no message.
    pub(crate) async fn push_or_wait(&self, parcel: Parcel) -> Result<Accepted, Box<Rejected>> {
        if let Some(room) = self.room() {
            let Ok(place) = room.acquire().await else {
                let why = Why::Closed;
                return Err(Box::new(Rejected { parcel, why }));
            };
            place.forget();
        }
        self.place(parcel)
    }

    /// Whether it accepts messages at all.
    pub(crate) fn is_there(&self) -> bool {
        self.capacity > 0
    }

    /// Whether its senders may wait for room.
    pub(crate) fn lets_wait(&self) -> bool {
        self.overflow == Overflow::Wait
    }

    fn full(&self) -> Why {
        let capacity = self.capacity;
        Why::Full { capacity }
    }

    /// Queues a message that has its place, or finds one by the rule of this inbox.
    fn place(&self, parcel: Parcel) -> Result<Accepted, Box<Rejected>> {
        let rejected = |parcel, why| Err(Box::new(Rejected { parcel, why }));
        if self.capacity == 0 {
            return rejected(parcel, Why::NoInbox);
        }
        let mut state = self.lock();
        if state.is_closed {
            return rejected(parcel, Why::Closed);
        }
        let held = state.held();
        let mut dropped = None;
        if held.waiting() >= self.capacity {
            if self.overflow != Overflow::DropOldest {
                return rejected(parcel, self.full());
            }
            dropped = held.drop_oldest().map(Box::new);
        }
        let id = parcel.id;
        let (number, fate) = held.queue_plain(parcel);
        let place = (number, held.waiting());
        let waker = held.waiters.next();
        drop(state);
        wake(waker);
        let receipt = Receipt::new(id, place, fate);
        Ok(Accepted { receipt, dropped })
    }

    /// Queues a durable message, unless this run has got it.
    pub(crate) fn hand(&self, parcel: Parcel) {
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        let held = state.held();
        if !held.handed.insert(parcel.id) {
            return;
        }
        let queued = held.durable(parcel);
        held.queue.push_back(queued);
        let waker = held.waiters.next();
        drop(state);
        wake(waker);
    }

    /// The run that got a durable message is done with it for ever.
    pub(crate) fn acknowledged(&self, message: MessageId) {
        if let Some(held) = self.lock().known() {
            held.handed.remove(&message);
        }
    }

    /// A new run begins: of these durable messages it gets again those that no longer wait.
    pub(crate) fn hand_again(&self, parcels: impl DoubleEndedIterator<Item = Parcel>) {
        let mut state = self.lock();
        let held = state.held();
        let durable = held.queue.iter().filter(|it| it.is_durable);
        let waiting: BTreeSet<_> = durable.map(|queued| queued.id).collect();
        held.handed.clone_from(&waiting);
        let mut again: Vec<_> = parcels.filter(|it| !waiting.contains(&it.id)).collect();
        while let Some(parcel) = again.pop() {
            held.handed.insert(parcel.id);
            let queued = held.durable(parcel);
            held.queue.push_front(queued);
        }
        let waker = held.waiters.next();
        drop(state);
        wake(waker);
    }

    /// Takes the oldest message, or waits for one; `None` when the inbox is closed or none, or as
    /// the reader `may`, who is asked again at each look; [`Self::stir`] makes it look.
    ///
    /// # Cancel safety
    /// A dropped future has taken no message.
    pub(crate) async fn recv(&self, may: impl Fn() -> May + Unpin) -> Option<Message> {
        if self.capacity == 0 {
            return None;
        }
        Recv::new(self, may).await
    }

    /// Lets those who wait look again what they may.
    pub(crate) fn stir(&self) {
        let all = self.lock().all_waiters();
        wake(all);
    }

    /// Takes the oldest message, if there is one.
    pub(crate) fn try_recv(&self) -> Option<Message> {
        let taken = self.lock().pop()?;
        Some(self.read(taken))
    }

    /// Takes all messages that are there now.
    pub(crate) fn drain(&self) -> Vec<Message> {
        let mut state = self.lock();
        let all: Vec<_> = std::iter::from_fn(|| state.pop()).collect();
        drop(state);
        all.into_iter().map(|taken| self.read(taken)).collect()
    }

    /// Accepts nothing more and gives what is left, and how many messages were dropped for newer
    /// ones; a later call gives nothing.
    pub(crate) fn close(&self) -> (Vec<Lost>, u32) {
        let mut state = self.lock();
        state.is_closed = true;
        let waiters = state.all_waiters();
        let (mut left, mut dropped) = (Vec::new(), 0);
        if let Some(held) = state.known() {
            left.extend(std::iter::from_fn(|| held.lose()));
            dropped = std::mem::take(&mut held.dropped);
        }
        let room = self.room();
        drop(state);
        if let Some(room) = room {
            room.close();
        }
        wake(waiters);
        (left, dropped)
    }

    /// The end that closed it was never written down: it accepts messages again.
    pub(crate) fn open_again(&self) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.is_closed, false) {
            return;
        }
        if let Some(room) = &self.room {
            *room.lock().unwrap_or_else(PoisonError::into_inner) = places(self.capacity);
        }
    }

    #[inline]
    fn room(&self) -> Option<Arc<Semaphore>> {
        let room = self.room.as_ref()?.lock();
        Some(Arc::clone(&room.unwrap_or_else(PoisonError::into_inner)))
    }

    /// Whether a message waits that shall wake a receiver whose body is gone.
    pub(crate) fn would_wake(&self) -> Option<MessageId> {
        let mut state = self.lock();
        let waking = state.known()?.queue.iter().find(|queued| queued.wakes);
        waking.map(|queued| queued.id)
    }

    /// A message was taken: there is room, and its sender is told.
    #[inline]
    fn read(&self, taken: Taken) -> Message {
        if !taken.message.is_durable
            && let Some(room) = self.room()
        {
            room.add_permits(1);
        }
        if let Some(page) = taken.told {
            page.wake();
        }
        taken.message
    }

    /// How many messages wait to be received.
    #[cfg(test)]
    pub(crate) fn len(&self) -> u32 {
        self.lock().known().map_or(0, |held| held.waiting())
    }

    /// How many messages it may hold.
    #[cfg(test)]
    pub(crate) const fn capacity(&self) -> u32 {
        self.capacity
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way, so what a poisoned one guards is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The places of an inbox that is empty.
fn places(capacity: u32) -> Arc<Semaphore> {
    let places = usize::try_from(capacity).unwrap_or(usize::MAX);
    Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)))
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut state = self.lock();
        let is_closed = state.is_closed;
        let known = state.known().map(|held| (held.queue.len(), held.newest));
        let (waiting, newest) = known.unwrap_or_default();
        f.debug_struct("Inbox")
            .field("waiting", &waiting)
            .field("capacity", &self.capacity)
            .field("newest", &newest)
            .field("is_closed", &is_closed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
