//! A message, its sender, and what becomes of it.
//!
//! # Invariants
//! 1. Each accepted message has one fate, which its receipt tells: read, or undelivered and why.
//! 2. A message keeps its id, also when it is replayed; its number is its place in one inbox.
//!
//! *Not here*: the queue (`inbox.rs`), how a fate is told (`fate`), what was never read (`dead`).

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use serde_json::Value;

use super::fate::{Fate, Untold};
use crate::kernel::{KeptMessage, MessageId, TaskId};

/// What was said to a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its identity, which stays when it is replayed.
    pub id: MessageId,
    /// Its place in the inbox: 1, 2, 3, … without a gap, unless older ones were dropped. Durable
    /// ones that are delivered again get another, and come first.
    pub number: u64,
    /// Who sent it.
    pub from: Sender,
    /// What it says.
    pub body: Value,
    /// Whether it is delivered again to later runs until one acknowledges it. See
    /// [`Context::acknowledge`](crate::Context::acknowledge).
    pub is_durable: bool,
}

/// A message on its way into an inbox.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parcel {
    pub(crate) id: MessageId,
    pub(crate) from: Sender,
    pub(crate) body: Value,
    /// Whether it shall wake a receiver whose body is gone.
    pub(crate) wakes: bool,
    pub(crate) is_durable: bool,
}

impl From<&KeptMessage> for Parcel {
    fn from(kept: &KeptMessage) -> Self {
        Self {
            id: kept.id,
            from: kept.from.map_or(Sender::Host, Sender::Task),
            body: kept.body.to_value(),
            wakes: true,
            is_durable: true,
        }
    }
}

/// Who sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sender {
    /// The program that holds the manager.
    Host,
    /// The body of this task.
    Task(TaskId),
}

/// What became of an accepted message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The body took it out of its inbox.
    Read,
    /// Nobody has read it; it is kept among the dead letters.
    Undelivered(Undelivered),
}

/// Why an accepted message was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Undelivered {
    /// The task has ended, or its body is over.
    Ended,
    /// The inbox was full and dropped it for a newer one.
    Dropped,
}

impl Undelivered {
    /// The name used on every wire and page.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Dropped => "dropped",
        }
    }
}

/// The word that a message lies in the inbox. Await it to learn what became of it.
pub struct Receipt {
    /// The identity of the message.
    pub id: MessageId,
    /// The number that the message got.
    pub number: u64,
    /// How many messages wait to be received, this one included.
    pub waiting: u32,
    fate: Fate,
}

impl Receipt {
    pub(super) const fn new(id: MessageId, (number, waiting): (u64, u32), fate: Fate) -> Self {
        Self {
            id,
            number,
            waiting,
            fate,
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Receipt");
        shown.field("id", &self.id).field("number", &self.number);
        shown
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

impl IntoFuture for Receipt {
    type Output = Delivery;
    type IntoFuture = Pin<Box<dyn Future<Output = Delivery> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.fate.told().await })
    }
}

/// A message that nobody will read, and the way to tell its sender.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) message: Message,
    /// Nobody has a receipt of a durable message.
    fate: Option<Untold>,
}

impl Lost {
    pub(super) const fn new(message: Message, fate: Option<Untold>) -> Self {
        Self { message, fate }
    }

    /// Tells its sender.
    pub(crate) fn tell(self, why: Undelivered) {
        if let Some(fate) = self.fate {
            fate.tell(why);
        }
    }
}
