//! Sending to an inbox: by handle, id or path.
//!
//! *Not here*: placing the message (`deliver`), reading it (`receive`).

use serde::Serialize;
use serde_json::Value;

use super::checks::Mismatch;
use super::context::Context;
use super::deliver::{Mail, Sending, deliver, mail};
use super::manager::Manager;
use super::scope::ScopeRef;
use crate::inbox::{MessageId, Receipt, Sender};
use crate::kernel::TaskId;

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// To the task of this id.
    Id(TaskId),
    /// To the live task of this path: its name, or names from above it down, like `lead/docs`.
    Path(String),
    /// To the task above the one whose body sends.
    Parent,
    /// To the live child of this name of the task whose body sends; nobody else's.
    Child(String),
    /// To the root of the tree of the task whose body sends.
    Root,
}

/// What a message does beside waiting in the inbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SendMode {
    /// Nothing: it is read when the body reads.
    #[default]
    Queue,
    /// It also wakes a receiver that is suspended or whose body is over. See
    /// [`Builder::on_wake`](crate::Builder::on_wake).
    Trigger,
    /// It also interrupts a body that runs, and wakes one that does not. See
    /// [`Context::interrupted`].
    Interrupt,
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
    /// The scope that sends it may see the task, and no more.
    #[error("task {task} may be seen, not talked to")]
    Denied {
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
    /// Tasks of its kind do not take this message: see [`Builder::checks`](crate::Builder::checks).
    #[error("task {task} does not take this message: {why}")]
    Mismatch {
        /// The task.
        task: TaskId,
        /// What is wrong with it, and where.
        why: Mismatch,
        /// The message.
        message: Value,
    },
    /// The manager was shut down or has failed: nobody will read it. Of durable messages only.
    #[error("the manager is gone")]
    Gone {
        /// The message.
        message: Value,
    },
    /// The manager was started anew before it answered: the message may or may not have been taken.
    /// The event [`What::MessageKept`](crate::What::MessageKept) of this id tells that it was, also
    /// when it is acknowledged by now. Of durable ones only.
    #[error("the manager was started anew; whether the message was taken is unknown")]
    Unknown {
        /// The identity that it has if it was taken.
        id: MessageId,
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
    /// As [`TaskRef::send`](super::TaskRef::send).
    pub async fn send(&self, to: TaskId, message: impl Serialize) -> Result<Receipt, SendError> {
        let mail = mail(message, SendMode::Queue)?;
        deliver(&self.core, None, Address::Id(to), mail).await
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
    /// As [`TaskRef::send`](super::TaskRef::send).
    pub async fn send(
        &self,
        to: impl Into<Address>,
        message: impl Serialize,
    ) -> Result<Receipt, SendError> {
        let mail = mail(message, SendMode::Queue)?;
        self.deliver(to.into(), mail).await
    }

    /// As [`ScopeRef::send`], and does what `mode` says beside.
    ///
    /// # Errors
    /// [`SendError`] gives the message back, unless it cannot be written as JSON.
    ///
    /// # Cancel safety
    /// As [`TaskRef::send`](super::TaskRef::send).
    pub async fn send_as(
        &self,
        mode: SendMode,
        to: impl Into<Address>,
        message: impl Serialize,
    ) -> Result<Receipt, SendError> {
        let mail = mail(message, mode)?;
        self.deliver(to.into(), mail).await
    }

    fn deliver(&self, to: Address, mail: Mail) -> Sending {
        match &self.scope {
            Ok(scope) => deliver(&self.core, Some(scope), to, mail),
            Err(mistake) => {
                let (address, message) = (mistake.to_string(), mail.message);
                Sending::failed(SendError::NoSuchTask { address, message })
            }
        }
    }
}

impl Context {
    /// Sends a message to the task at this address: an id, a path of this scope, `parent`, `root`,
    /// `self`, or [`Address::Child`] with a name. Tasks of other scopes are not shown to exist.
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
    /// As [`TaskRef::send`](super::TaskRef::send).
    pub async fn send(
        &self,
        to: impl Into<Address>,
        message: impl Serialize,
    ) -> Result<Receipt, SendError> {
        let mail = mail(message, SendMode::Queue)?;
        self.deliver(to.into(), mail).await
    }

    /// As [`Context::send`], and does what `mode` says beside.
    ///
    /// # Errors
    /// [`SendError`] gives the message back, unless it cannot be written as JSON.
    ///
    /// # Cancel safety
    /// As [`TaskRef::send`](super::TaskRef::send).
    pub async fn send_as(
        &self,
        mode: SendMode,
        to: impl Into<Address>,
        message: impl Serialize,
    ) -> Result<Receipt, SendError> {
        let mail = mail(message, mode)?;
        self.deliver(to.into(), mail).await
    }

    fn deliver(&self, to: Address, mail: Mail) -> Sending {
        let mail = Mail {
            from: Sender::Task(self.id()),
            ..mail
        };
        match self.addressed(to, mail) {
            Ok((to, mail)) => deliver(&self.core, Some(&self.scope()), to, mail),
            Err(error) => Sending::failed(error),
        }
    }

    /// What an address of this body means: an id or a path.
    pub(super) fn addressed(&self, to: Address, mail: Mail) -> Result<(Address, Mail), SendError> {
        let to = match to {
            Address::Path(path) => match path.as_str() {
                "parent" => Address::Parent,
                "root" => Address::Root,
                "self" => Address::Id(self.id()),
                _ => Address::Path(path),
            },
            to @ (Address::Id(_) | Address::Parent | Address::Child(_) | Address::Root) => to,
        };
        let (to, address) = match to {
            to @ (Address::Id(_) | Address::Path(_)) => (Some(to), String::new()),
            Address::Parent => (self.parent().map(Address::Id), "parent".to_owned()),
            Address::Root => (self.root().map(Address::Id), "root".to_owned()),
            Address::Child(name) => (self.child(&name).map(Address::Id), name),
        };
        match to {
            Some(to) => Ok((to, mail)),
            None => Err(SendError::NoSuchTask {
                address,
                message: mail.message,
            }),
        }
    }

    fn root(&self) -> Option<TaskId> {
        let record = self.core.hub.index.get(self.id());
        record.map(|record| record.root)
    }

    /// The live child of this name.
    fn child(&self, name: &str) -> Option<TaskId> {
        let id = self.core.hub.index.holder(&self.scope(), name)?;
        let record = self.core.hub.index.get(id)?;
        (record.parent == Some(self.id())).then_some(id)
    }
}
