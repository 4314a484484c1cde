//! The bounded, ordered mailbox of one task.
//!
//! # Invariants
//! 1. Messages leave in the order of their numbers, which are given under the lock of the queue.
//! 2. Accepted = received + dropped for newer ones + left at the close: a message is taken in the
//!    poll that returns it, so a receiver that is dropped while it waits has taken none.
//! 3. After the close nothing is accepted and nothing is left.
//! 4. No wake is lost. A receiver first enters the list of waiters and then looks; a sender first
//!    queues and then wakes. Whichever is second sees the other. Each push wakes one waiter, and
//!    one that is dropped after it was woken hands its wake on (tokio's `Notify`), so a message
//!    never lies beside a sleeping receiver. The close wakes all, and each finds the inbox closed.
//! 5. An inbox that was never used has allocated nothing.
//! 6. Durable messages take no place and are never dropped for newer ones; how many there are is
//!    bounded by the record. Each is queued once for a run, those that come again before others.
//! 7. An inbox that lets its senders wait gives them its places in their order; each place belongs
//!    to a permit, which comes back when a message is taken.
//!
//! *Not here*: who may send and how a task is found (the public face), the count in the record.

mod dead;
mod mail;
mod size;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::coop;

pub use crate::kernel::{MessageId, Overflow};
pub(crate) use dead::{DeadBounds, DeadLetters};
pub use dead::{DeadFilter, DeadLetter};
pub use mail::{Delivery, Message, Receipt, Sender, Undelivered};
pub(crate) use mail::{Parcel, Queued};
pub(crate) use size::size_of;

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
    pub(crate) dropped: Option<Queued>,
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
    arrived: Notify,
    /// The free places of an inbox that lets its senders wait.
    room: Semaphore,
}

struct State {
    queue: VecDeque<Queued>,
    /// How many in the queue are durable.
    durable: usize,
    /// Durable ones that the newest run got, or will get, from the queue.
    handed: BTreeSet<MessageId>,
    /// How many were dropped for newer ones.
    dropped: u32,
    /// The number of the newest accepted message.
    newest: u64,
    is_closed: bool,
}

impl Inbox {
    /// An inbox that holds this many messages; with zero it accepts none.
    pub(crate) const fn new(capacity: u32, overflow: Overflow) -> Self {
        let state = State {
            queue: VecDeque::new(),
            durable: 0,
            handed: BTreeSet::new(),
            dropped: 0,
            newest: 0,
            is_closed: false,
        };
        let places = capacity as usize;
        let places = if places < Semaphore::MAX_PERMITS {
            places
        } else {
            Semaphore::MAX_PERMITS
        };
        Self {
            capacity,
            overflow,
            state: Mutex::new(state),
            arrived: Notify::const_new(),
            room: Semaphore::const_new(places),
        }
    }

    /// Puts a message at the end, if there is room now or room can be made.
    ///
    /// # Errors
    /// [`Rejected`] with the message and the reason; nothing happened.
    pub(crate) fn push(&self, parcel: Parcel) -> Result<Accepted, Rejected> {
        if self.overflow == Overflow::Wait && self.capacity > 0 {
            let Ok(place) = self.room.try_acquire() else {
                let is_closed = self.lock().is_closed;
                let why = if is_closed { Why::Closed } else { self.full() };
                return Err(Rejected { parcel, why });
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
    pub(crate) async fn push_or_wait(&self, parcel: Parcel) -> Result<Accepted, Rejected> {
        if self.overflow == Overflow::Wait && self.capacity > 0 {
            let Ok(place) = self.room.acquire().await else {
                let why = Why::Closed;
                return Err(Rejected { parcel, why });
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
    fn place(&self, parcel: Parcel) -> Result<Accepted, Rejected> {
        let mut state = self.lock();
        let waiting = state.waiting();
        let is_full = waiting >= self.capacity;
        let refusal = if self.capacity == 0 {
            Some(Why::NoInbox)
        } else if state.is_closed {
            Some(Why::Closed)
        } else if is_full && self.overflow != Overflow::DropOldest {
            Some(self.full())
        } else {
            None
        };
        if let Some(why) = refusal {
            return Err(Rejected { parcel, why });
        }
        let dropped = if is_full {
            state.dropped = state.dropped.saturating_add(1);
            state.drop_oldest()
        } else {
            None
        };
        let id = parcel.id;
        let (queued, fate) = state.number(parcel);
        let place = (state.newest, state.waiting() + 1);
        state.queue.push_back(queued);
        drop(state);
        self.arrived.notify_one();
        let receipt = Receipt::new(id, place, fate);
        Ok(Accepted { receipt, dropped })
    }

    /// Queues a durable message, unless this run has got it.
    pub(crate) fn hand(&self, parcel: Parcel) {
        let mut state = self.lock();
        if state.is_closed || !state.handed.insert(parcel.id) {
            return;
        }
        let (queued, _fate) = state.number(parcel);
        state.queue.push_back(queued);
        state.durable += 1;
        drop(state);
        self.arrived.notify_one();
    }

    /// A new run begins: of these durable messages it gets again those that no longer wait.
    pub(crate) fn hand_again(&self, parcels: impl DoubleEndedIterator<Item = Parcel>) {
        let mut state = self.lock();
        let durable = state.queue.iter().filter(|it| it.message.is_durable);
        let waiting: BTreeSet<_> = durable.map(|queued| queued.message.id).collect();
        state.handed.clone_from(&waiting);
        let mut again: Vec<_> = parcels.filter(|it| !waiting.contains(&it.id)).collect();
        while let Some(parcel) = again.pop() {
            state.handed.insert(parcel.id);
            let (queued, _fate) = state.number(parcel);
            state.queue.push_front(queued);
            state.durable += 1;
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// Takes the oldest message, or waits for one; `None` when the inbox is closed or none, or
    /// when the receiver `may_read` no more.
    ///
    /// # Cancel safety
    /// A dropped future has taken no message.
    pub(crate) async fn recv(&self, may_read: impl Fn() -> bool) -> Option<Message> {
        if self.capacity == 0 {
            return None;
        }
        // A body that does nothing but receive still lets its thread do other work.
        coop::consume_budget().await;
        loop {
            if let Poll::Ready(taken) = self.look(&may_read) {
                return taken.map(Queued::read);
            }
            let mut arrived = pin!(self.arrived.notified());
            arrived.as_mut().enable();
            // Invariant 4: in the list of waiters by now, so what came in between is seen here.
            if let Poll::Ready(taken) = self.look(&may_read) {
                return taken.map(Queued::read);
            }
            arrived.await;
            if !may_read() {
                // The wake may have been for a message, which is for somebody else.
                self.arrived.notify_one();
            }
        }
    }

    /// Lets those who wait look again whether they may still read.
    pub(crate) fn stir(&self) {
        self.arrived.notify_waiters();
    }

    /// Takes the oldest message, if there is one.
    pub(crate) fn try_recv(&self) -> Option<Message> {
        let taken = self.lock().pop();
        self.make_room(taken.as_slice());
        taken.map(Queued::read)
    }

    /// Takes all messages that are there now.
    pub(crate) fn drain(&self) -> Vec<Message> {
        let queue: Vec<_> = self.lock().take_all().into();
        self.make_room(&queue);
        queue.into_iter().map(Queued::read).collect()
    }

    /// Accepts nothing more and gives what is left, and how many messages were dropped for newer
    /// ones; a later call gives nothing.
    pub(crate) fn close(&self) -> (Vec<Queued>, u32) {
        let mut state = self.lock();
        state.is_closed = true;
        let queue = state.take_all();
        let dropped = std::mem::take(&mut state.dropped);
        drop(state);
        self.room.close();
        self.arrived.notify_waiters();
        (queue.into(), dropped)
    }

    /// Whether a message waits that shall wake a receiver whose body is gone.
    pub(crate) fn would_wake(&self) -> Option<MessageId> {
        let state = self.lock();
        let waking = state.queue.iter().find(|queued| queued.wakes);
        waking.map(|queued| queued.message.id)
    }

    fn make_room(&self, taken: &[Queued]) {
        let places = taken.iter().filter(|it| !it.message.is_durable).count();
        if self.overflow == Overflow::Wait && places > 0 {
            self.room.add_permits(places);
        }
    }

    /// How many messages wait to be received.
    #[cfg(test)]
    pub(crate) fn len(&self) -> u32 {
        self.lock().waiting()
    }

    /// How many messages it may hold.
    #[cfg(test)]
    pub(crate) const fn capacity(&self) -> u32 {
        self.capacity
    }

    fn look(&self, may_read: impl Fn() -> bool) -> Poll<Option<Queued>> {
        let mut state = self.lock();
        // Under the lock: who may not read when a message comes in does not get it.
        if !may_read() {
            return Poll::Ready(None);
        }
        match state.pop() {
            Some(queued) => {
                drop(state);
                self.make_room(std::slice::from_ref(&queued));
                Poll::Ready(Some(queued))
            }
            None if state.is_closed => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way, so what a poisoned one guards is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn waiting(&self) -> u32 {
        let places = self.queue.len() - self.durable;
        u32::try_from(places).expect("invariant: at most `capacity`, a u32, are queued")
    }

    fn number(&mut self, parcel: Parcel) -> (Queued, oneshot::Receiver<Delivery>) {
        self.newest += 1;
        Queued::new(parcel, self.newest)
    }

    fn pop(&mut self) -> Option<Queued> {
        let queued = self.queue.pop_front()?;
        self.durable -= usize::from(queued.message.is_durable);
        Some(queued)
    }

    /// Takes the oldest message that may be dropped.
    fn drop_oldest(&mut self) -> Option<Queued> {
        let oldest = self.queue.iter().position(|it| !it.message.is_durable);
        oldest.and_then(|oldest| self.queue.remove(oldest))
    }

    fn take_all(&mut self) -> VecDeque<Queued> {
        self.durable = 0;
        std::mem::take(&mut self.queue)
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Inbox")
            .field("waiting", &state.queue.len())
            .field("capacity", &self.capacity)
            .field("newest", &state.newest)
            .field("is_closed", &state.is_closed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
