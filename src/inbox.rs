//! The bounded, ordered mailbox of one task.
//!
//! # Invariants
//! 1. Messages leave in the order of their numbers, which are given under the lock of the queue.
//! 2. Accepted = received + left at the close: a message is taken in the poll that returns it, so
//!    a receiver that is dropped while it waits has taken none.
//! 3. After the close nothing is accepted and nothing is left.
//! 4. No wake is lost. A receiver first enters the list of waiters and then looks; a sender first
//!    queues and then wakes. Whichever is second sees the other. Each push wakes one waiter, and
//!    one that is dropped after it was woken hands its wake on (tokio's `Notify`), so a message
//!    never lies beside a sleeping receiver. The close wakes all, and each finds the inbox closed.
//! 5. An inbox that was never used has allocated nothing.
//!
//! *Not here*: who may send and how a task is found (the public face), the count in the record.

use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::coop;

use crate::kernel::TaskId;

/// What was said to a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its place in the inbox: 1, 2, 3, … without a gap.
    pub number: u64,
    /// Who sent it.
    pub from: Sender,
    /// What it says.
    pub body: Value,
}

/// Who sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The program that holds the manager.
    Host,
    /// The body of this task.
    Task(TaskId),
}

/// The word that a message lies in the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The number that the message got.
    pub number: u64,
    /// How many messages wait to be received, this one included.
    pub waiting: u32,
}

/// A message that was not accepted: its body and why.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Rejected {
    /// The body, as it was handed in.
    pub(crate) body: Value,
    /// Why it was not accepted.
    pub(crate) why: Why,
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
    state: Mutex<State>,
    arrived: Notify,
}

struct State {
    queue: VecDeque<Message>,
    /// The number of the newest accepted message.
    newest: u64,
    is_closed: bool,
}

impl Inbox {
    /// An inbox that holds this many messages; with zero it accepts none.
    pub(crate) const fn new(capacity: u32) -> Self {
        let state = State {
            queue: VecDeque::new(),
            newest: 0,
            is_closed: false,
        };
        Self {
            capacity,
            state: Mutex::new(state),
            arrived: Notify::const_new(),
        }
    }

    /// Puts a message at the end.
    ///
    /// # Errors
    /// [`Rejected`] with the body and the reason; nothing happened.
    pub(crate) fn push(&self, from: Sender, body: Value) -> Result<Receipt, Rejected> {
        let mut state = self.lock();
        let waiting = state.waiting();
        let refusal = if self.capacity == 0 {
            Some(Why::NoInbox)
        } else if state.is_closed {
            Some(Why::Closed)
        } else if waiting >= self.capacity {
            let capacity = self.capacity;
            Some(Why::Full { capacity })
        } else {
            None
        };
        if let Some(why) = refusal {
            return Err(Rejected { body, why });
        }
        state.newest += 1;
        let number = state.newest;
        state.queue.push_back(Message { number, from, body });
        drop(state);
        self.arrived.notify_one();
        let waiting = waiting + 1;
        Ok(Receipt { number, waiting })
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
                return taken;
            }
            let mut arrived = pin!(self.arrived.notified());
            arrived.as_mut().enable();
            // Invariant 4: in the list of waiters by now, so what came in between is seen here.
            if let Poll::Ready(taken) = self.look(&may_read) {
                return taken;
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
        self.lock().queue.pop_front()
    }

    /// Takes all messages that are there now.
    pub(crate) fn drain(&self) -> Vec<Message> {
        let queue = std::mem::take(&mut self.lock().queue);
        queue.into()
    }

    /// Accepts nothing more, drops what is left, and tells how many messages that were; a later
    /// call tells zero.
    pub(crate) fn close(&self) -> u32 {
        let mut state = self.lock();
        state.is_closed = true;
        let left = state.waiting();
        let queue = std::mem::take(&mut state.queue);
        drop(state);
        self.arrived.notify_waiters();
        drop(queue);
        left
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

    fn look(&self, may_read: impl Fn() -> bool) -> Poll<Option<Message>> {
        let mut state = self.lock();
        // Under the lock: who may not read when a message comes in does not get it.
        if !may_read() {
            return Poll::Ready(None);
        }
        match state.queue.pop_front() {
            Some(message) => Poll::Ready(Some(message)),
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
        u32::try_from(self.queue.len()).expect("invariant: at most `capacity`, a u32, are queued")
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
