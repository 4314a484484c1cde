//! Durable messages: what was said to a task and outlives its process.
//!
//! # Invariants
//! 1. A message stays in the record of its task from its acceptance until a body has acknowledged
//!    it; what is left when the task settles stays in the settled record.
//! 2. A message keeps its id, however often it is delivered.
//!
//! *Not here*: when one is taken (`supervisor/mail`), ordinary messages (`inbox.rs`).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{InvalidText, TaskId};
use super::record::Record;
use super::spec::Payload;
use super::time::Timestamp;

/// Most durable messages of one task that are not acknowledged.
pub const DURABLE_MAX: usize = 64;
/// Most bytes of JSON that these may have together.
pub const DURABLE_BYTES_MAX: usize = 1024 * 1024;

/// The identity of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId(TaskId);

impl MessageId {
    pub(crate) const fn new(id: TaskId) -> Self {
        Self(id)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for MessageId {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        text.parse().map(Self)
    }
}

/// A message that its task has not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptMessage {
    /// Its identity, the same at each delivery.
    pub id: MessageId,
    /// The task whose body sent it; `None` for the program that holds the manager.
    pub from: Option<TaskId>,
    /// What it says.
    pub body: Payload,
    /// When it was sent.
    pub at: Timestamp,
}

/// Durable messages in the order of their acceptance.
pub type Messages = Vec<KeptMessage>;

impl Record {
    /// The durable messages that no body of it has acknowledged, the oldest first.
    pub fn unacknowledged(&self) -> &[KeptMessage] {
        self.messages.as_deref().map_or(&[], Vec::as_slice)
    }
}

/// Why a durable message was not taken. Nothing was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageRefusal {
    /// No such task is known.
    Unknown(TaskId),
    /// It has ended, or was cancelled, or its body is over: nobody will read it.
    Ended,
    /// So many are not acknowledged, or they have so many bytes, that no more are taken.
    Full,
}

pub(super) fn fits(messages: Option<&Arc<Messages>>, more: &Payload) -> bool {
    let kept = messages.map_or(&[][..], |messages| messages.as_slice());
    let bytes = |message: &KeptMessage| message.body.as_json().len();
    let kept_bytes: usize = kept.iter().map(bytes).sum();
    kept.len() < DURABLE_MAX && kept_bytes + more.as_json().len() <= DURABLE_BYTES_MAX
}
