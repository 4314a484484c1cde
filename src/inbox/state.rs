//! What an inbox holds, under its lock.
//!
//! # Invariants
//! 1. Messages that are not durable stand in the order of their numbers, and leave in it.
//! 2. Each of these has an open fate as long as it stands here.
//!
//! *Not here*: room and overflow (`inbox.rs`), how receivers wait (`wait`).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::fate::{Fate, Fates, Page};
use super::mail::{Lost, Message, Parcel, Sender};
use super::wait::Waiters;
use crate::kernel::MessageId;

pub(super) struct State {
    pub(super) queue: VecDeque<Queued>,
    /// How many in the queue are durable.
    durable: usize,
    /// Durable ones that the newest run got, or will get, from the queue.
    pub(super) handed: BTreeSet<MessageId>,
    /// How many were dropped for newer ones.
    pub(super) dropped: u32,
    /// The number of the newest accepted message.
    pub(super) newest: u64,
    fates: Fates,
    pub(super) waiters: Waiters,
    pub(super) is_closed: bool,
}

/// A message in the queue: a parcel with its number, in as few bytes as these need.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) id: MessageId,
    from: Sender,
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
            queue: VecDeque::new(),
            durable: 0,
            handed: BTreeSet::new(),
            dropped: 0,
            newest: 0,
            fates: Fates::none(),
            waiters: Waiters::none(),
            is_closed: false,
        }
    }

    /// How many messages take a place.
    pub(super) fn waiting(&self) -> u32 {
        let places = self.queue.len() - self.durable;
        u32::try_from(places).expect("invariant: at most `capacity`, a u32, are queued")
    }

    /// Numbers a message and puts it at the end.
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
    pub(super) fn pop(&mut self) -> Option<Taken> {
        let queued = self.queue.pop_front()?;
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
    fn new(parcel: Parcel, number: u64) -> Self {
        let Parcel {
            id,
            from,
            body,
            wakes,
            is_durable,
        } = parcel;
        Self {
            id,
            from,
            body,
            number,
            wakes,
            is_durable,
        }
    }

    fn message(self) -> Message {
        Message {
            id: self.id,
            number: self.number,
            from: self.from,
            body: self.body,
            is_durable: self.is_durable,
        }
    }
}
