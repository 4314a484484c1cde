//! Sending to an inbox: by handle, id or path.

use std::io;

use serde::Serialize;
use serde_json::Value;

use super::context::{self, Context};
use super::core::Core;
use super::manager::Manager;
use super::scope::ScopeRef;
use super::spawn::PAYLOAD_BYTES_MAX;
use crate::engine::Live;
use crate::inbox::{Receipt, Sender, Why};
use crate::kernel::{Scope, TaskId};

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// To the task of this id.
    Id(TaskId),
    /// To the live task of this path: its name, or names from above it down, like `lead/docs`.
    Path(String),
}

impl From<TaskId> for Address {
    fn from(id: TaskId) -> Self {
        Self::Id(id)
    }
}

impl From<&str> for Address {
    fn from(path: &str) -> Self {
        Self::Path(path.to_owned())
    }
}

/// Why a message was not placed in an inbox. The message comes back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// No live task has this address.
    #[error("no live task at {address}")]
    NoSuchTask {
        /// The address as it was given.
        address: String,
        /// The message.
        message: Value,
    },
    /// The task has ended, or its body is over and reads no more.
    #[error("task {task} takes no more messages")]
    Ended {
        /// The task.
        task: TaskId,
        /// The message.
        message: Value,
    },
    /// The inbox is full; try again when the task has read.
    #[error("the inbox of task {task} is full ({capacity} messages); try again when it has read")]
    Full {
        /// The task.
        task: TaskId,
        /// How many messages fit.
        capacity: u32,
        /// The message.
        message: Value,
    },
    /// The task was spawned without an inbox.
    #[error("task {task} has no inbox")]
    NoInbox {
        /// The task.
        task: TaskId,
        /// The message.
        message: Value,
    },
    /// It is too large.
    #[error("the message has more than {bytes_max} bytes of JSON")]
    TooLarge {
        /// The most that is taken.
        bytes_max: usize,
        /// The message.
        message: Value,
    },
    /// The message cannot be written as JSON.
    #[error("the message cannot be written as JSON: {0}")]
    Encode(#[source] serde_json::Error),
}

impl Manager {
    /// Sends a message to the task of this id, in any scope. See
    /// [`TaskRef::send`](super::TaskRef::send).
    ///
    /// # Errors
    /// [`SendError`] gives the message back, unless it cannot be written as JSON.
    ///
    /// # Cancel safety
    /// It never waits: once polled, the message is placed or refused.
    pub async fn send(&self, to: TaskId, message: impl Serialize) -> Result<Receipt, SendError> {
        let message = serde_json::to_value(message).map_err(SendError::Encode)?;
        deliver(&self.core, None, Address::Id(to), sender(), message)
    }
}

impl ScopeRef {
    /// Sends a message to a task of this scope, by id or by path: its name alone, or after names
    /// above it. A path means the task that holds the name now; its successor has another inbox.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Manager, SendError};
    /// # let manager = Manager::in_memory();
    /// let scope = manager.scope("thread-42");
    /// let lead = scope.task("lead").spawn(|ctx| async move {
    ///     let reader = ctx.task("reader").spawn(|ctx| async move {
    ///         Ok(ctx.recv().await.map(|message| message.body))
    ///     });
    ///     Ok(reader.await?.await?)
    /// });
    /// let lead = lead.await?;
    /// while let Err(error) = scope.send("lead/reader", "only look at src/").await {
    ///     assert!(matches!(error, SendError::NoSuchTask { .. })); // not spawned yet
    ///     tokio::task::yield_now().await;
    /// }
    /// assert_eq!(lead.await?, Some("only look at src/".into()));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`SendError`] gives the message back, unless it cannot be written as JSON.
    ///
    /// # Cancel safety
    /// It never waits: once polled, the message is placed or refused.
    pub async fn send(
        &self,
        to: impl Into<Address>,
        message: impl Serialize,
    ) -> Result<Receipt, SendError> {
        let message = serde_json::to_value(message).map_err(SendError::Encode)?;
        match &self.scope {
            Ok(scope) => deliver(&self.core, Some(scope), to.into(), sender(), message),
            Err(mistake) => {
                let address = mistake.to_string();
                Err(SendError::NoSuchTask { address, message })
            }
        }
    }
}

impl Context {
    /// Sends a message to the task at this address: an id, a path of this scope, `parent` or
    /// `self`. Tasks of other scopes are not shown to exist.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::Manager;
    /// # let manager = Manager::in_memory();
    /// let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
    ///     let scout = ctx.task("scout").spawn(|ctx| async move {
    ///         ctx.send("parent", "found something").await?;
    ///         Ok(())
    ///     });
    ///     scout.await?;
    ///     Ok(ctx.recv().await.map(|message| message.body))
    /// });
    /// assert_eq!(lead.await?.await?, Some("found something".into()));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`SendError`] gives the message back, unless it cannot be written as JSON.
    ///
    /// # Cancel safety
    /// It never waits: once polled, the message is placed or refused.
    pub async fn send(
        &self,
        to: impl Into<Address>,
        message: impl Serialize,
    ) -> Result<Receipt, SendError> {
        let message = serde_json::to_value(message).map_err(SendError::Encode)?;
        let to = match to.into() {
            Address::Path(path) if path == "parent" => match self.parent() {
                Some(parent) => Address::Id(parent),
                None => {
                    return Err(SendError::NoSuchTask {
                        address: path,
                        message,
                    });
                }
            },
            Address::Path(path) if path == "self" => Address::Id(self.id()),
            to @ (Address::Id(_) | Address::Path(_)) => to,
        };
        deliver(
            &self.core,
            Some(&self.scope()),
            to,
            Sender::Task(self.id()),
            message,
        )
    }
}

fn sender() -> Sender {
    context::current().map_or(Sender::Host, |here| Sender::Task(here.id()))
}

/// Places a message in the inbox of the task at this address; `scope` guards it, if given.
pub(super) fn deliver(
    core: &Core,
    scope: Option<&Scope>,
    to: Address,
    from: Sender,
    message: Value,
) -> Result<Receipt, SendError> {
    let (id, address) = match to {
        Address::Id(id) => (Some(id), id.to_string()),
        Address::Path(path) => (scope.and_then(|scope| core.resolve(scope, &path)), path),
    };
    let live = id.and_then(|id| core.hub.live(id));
    // A task of another scope is not shown to exist.
    let is_here = |task: &Scope| scope.is_none_or(|scope| scope == task);
    let record = id.and_then(|id| core.hub.index.get(id));
    let record = record.filter(|record| is_here(record.scope()));
    if let Some(live) = live.filter(|_| record.is_some()) {
        return place(core, &live, from, message);
    }
    Err(match record {
        Some(record) => SendError::Ended {
            task: record.id,
            message,
        },
        None => SendError::NoSuchTask { address, message },
    })
}

/// Whether a message is at most [`PAYLOAD_BYTES_MAX`] bytes of JSON.
fn fits(message: &Value) -> bool {
    // Most messages are short texts, of which no byte becomes more than six in JSON.
    if let Value::String(text) = message
        && text.len() < PAYLOAD_BYTES_MAX / 8
    {
        return true;
    }
    let mut room = Room(PAYLOAD_BYTES_MAX);
    serde_json::to_writer(&mut room, message).is_ok()
}

/// Counts bytes and keeps none; full, it refuses.
struct Room(usize);

impl io::Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.0.checked_sub(bytes.len());
        self.0 = left.ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Places a message in the inbox of a live task.
pub(super) fn place(
    core: &Core,
    live: &Live,
    from: Sender,
    message: Value,
) -> Result<Receipt, SendError> {
    let task = live.id;
    if !fits(&message) {
        return Err(SendError::TooLarge {
            bytes_max: PAYLOAD_BYTES_MAX,
            message,
        });
    }
    match live.inbox.push(from, message) {
        Ok(receipt) => {
            core.hub.touch(live);
            #[cfg(feature = "metrics")]
            crate::meter::placed(receipt.waiting);
            Ok(receipt)
        }
        Err(rejected) => {
            let message = rejected.body;
            Err(match rejected.why {
                Why::Full { capacity } => SendError::Full {
                    task,
                    capacity,
                    message,
                },
                Why::Closed => SendError::Ended { task, message },
                Why::NoInbox => SendError::NoInbox { task, message },
            })
        }
    }
}
