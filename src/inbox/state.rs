//! What an inbox holds, under its lock.
//!
//! # Invariants
//! 1. Messages that are not durable stand in the order of their numbers, and leave in it.
//! 2. Each of these has an open fate as long as it stands here.
//!
//! *Not here*: room and overflow (`inbox.rs`), how receivers wait (`wait`).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use serde_json::Value;

use super::fate::{Fate, Fates, Page};
use super::mail::{Lost, Message, Parcel, Sender};
use super::wait::Waiters;
use crate::kernel::{MessageId, TaskId};

/// Whether an inbox is closed, and what it holds once it was used.
pub(super) struct State {
    pub(super) is_closed: bool,
    held: Option<Box<Held>>,
}

/// Messages, what became of them, and those who wait for some: two lines of the cache, of which a
/// reader who finds a message needs the first one.
#[repr(C, align(64))]
pub(super) struct Held {
    pub(super) queue: VecDeque<Queued>,
    fates: Fates,
    /// The number of the newest accepted message.
    pub(super) newest: u64,
    /// How many in the queue are durable.
    durable: u32,
    /// How many were dropped for newer ones.
    pub(super) dropped: u32,
    pub(super) waiters: Waiters,
    /// Durable ones that the newest run got, or will get, from the queue, and has not acknowledged.
    pub(super) handed: BTreeSet<MessageId>,
}

/// A message in the queue: a parcel with its number, in as few bytes as these need.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) id: MessageId,
    /// Nobody if the host sent it: a `Sender` takes half as much again.
    from: TaskId,
    is_from_host: bool,
    body: Value,
    number: u64,
    pub(super) wakes: bool,
    pub(super) is_durable: bool,
}

/// A message that was read, and who is to hear of it.
pub(super) struct Taken {
    pub(super) message: Message,
    pub(super) told: Option<Arc<Page>>,
}

impl State {
    pub(super) const fn empty() -> Self {
        Self {
            is_closed: false,
            held: None,
        }
    }

    /// What it holds; from here on it takes room.
    #[inline]
    pub(super) fn held(&mut self) -> &mut Held {
        self.held.get_or_insert_with(|| Box::new(Held::nothing()))
    }

    /// What it holds, if it was ever used.
    #[inline]
    pub(super) fn known(&mut self) -> Option<&mut Held> {
        self.held.as_deref_mut()
    }

    /// Takes the oldest message: it is read.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Taken> {
        self.known()?.pop()
    }

    /// Takes out all who wait.
    pub(super) fn all_waiters(&mut self) -> Vec<Waker> {
        self.known()
            .map_or_else(Vec::new, |held| held.waiters.all())
    }
}

impl Held {
    const fn nothing() -> Self {
        Self {
            queue: VecDeque::new(),
            fates: Fates::none(),
            newest: 0,
            durable: 0,
            dropped: 0,
            waiters: Waiters::none(),
            handed: BTreeSet::new(),
        }
    }

    /// How many messages take a place.
    #[inline]
    pub(super) fn waiting(&self) -> u32 {
        let queued = u32::try_from(self.queue.len());
        // Durable ones are few, and at most `capacity` others are queued.
        queued.unwrap_or(u32::MAX) - self.durable
    }

    /// Numbers a message and puts it at the end.
    #[inline]
    pub(super) fn queue_plain(&mut self, parcel: Parcel) -> (u64, Fate) {
        self.newest += 1;
        let fate = self.fates.open(self.newest);
        self.queue.push_back(Queued::new(parcel, self.newest));
        (self.newest, fate)
    }

    /// Numbers a durable message, which is to be queued.
    pub(super) fn durable(&mut self, parcel: Parcel) -> Queued {
        self.newest += 1;
        self.durable += 1;
        Queued::new(parcel, self.newest)
    }

    /// Takes the oldest message: it is read.
    #[inline]
    fn pop(&mut self) -> Option<Taken> {
        let queued = self.queue.pop_front()?;
        if self.queue.is_empty() {
            // The next one goes where the first one was: that memory is in the cache.
            self.queue.clear();
        }
        let told = if queued.is_durable {
            self.durable -= 1;
            None
        } else {
            self.fates.read(queued.number)
        };
        let message = queued.message();
        Some(Taken { message, told })
    }

    /// Takes the oldest message: nobody will read it.
    pub(super) fn lose(&mut self) -> Option<Lost> {
        let queued = self.queue.pop_front()?;
        if queued.is_durable {
            self.durable -= 1;
            return Some(Lost::new(queued.message(), None));
        }
        let fate = self.fates.take(queued.number);
        Some(Lost::new(queued.message(), Some(fate)))
    }

    /// Takes the oldest message that may be dropped for a newer one.
    pub(super) fn drop_oldest(&mut self) -> Option<Lost> {
        self.dropped = self.dropped.saturating_add(1);
        let oldest = self.queue.iter().position(|it| !it.is_durable)?;
        let queued = self.queue.remove(oldest)?;
        let fate = self.fates.take(queued.number);
        Some(Lost::new(queued.message(), Some(fate)))
    }
}

impl Queued {
    #[inline]
    fn new(parcel: Parcel, number: u64) -> Self {
        let Parcel {
            id,
            from,
            body,
            wakes,
            is_durable,
        } = parcel;
        let (from, is_from_host) = match from {
            Sender::Host => (TaskId::from_u128(0), true),
            Sender::Task(task) => (task, false),
        };
        Self {
            id,
            from,
            is_from_host,
            body,
            number,
            wakes,
            is_durable,
        }
    }

    #[inline]
    fn message(self) -> Message {
        Message {
            id: self.id,
            number: self.number,
            from: if self.is_from_host {
                Sender::Host
            } else {
                Sender::Task(self.from)
            },
            body: self.body,
            is_durable: self.is_durable,
        }
    }
}
