//! Sending to an inbox: by handle, id or path.

use std::io;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::context::{self, Context};
use super::core::Core;
use super::handle::TaskRef;
use super::interrupt::interrupt;
use super::manager::Manager;
use super::scope::ScopeRef;
use super::spawn::PAYLOAD_BYTES_MAX;
use super::wait::Parked;
use crate::actors::{Clock, WakeCause};
use crate::engine::Live;
use crate::inbox::{Accepted, MessageId, Parcel, Receipt, Rejected, Sender, Undelivered, Why};
use crate::kernel::{Scope, TaskId, Wait};

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

    async fn deliver(&self, to: Address, mail: Mail) -> Result<Receipt, SendError> {
        match &self.scope {
            Ok(scope) => deliver(&self.core, Some(scope), to, mail).await,
            Err(mistake) => {
                let (address, message) = (mistake.to_string(), mail.message);
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

    async fn deliver(&self, to: Address, mail: Mail) -> Result<Receipt, SendError> {
        let mail = Mail {
            from: Sender::Task(self.id()),
            ..mail
        };
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
            Some(to) => deliver(&self.core, Some(&self.scope()), to, mail).await,
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

/// A message that is to be delivered.
pub(super) struct Mail {
    from: Sender,
    message: Value,
    mode: SendMode,
}

/// A message of the body that runs here, or of the host.
pub(super) fn mail(message: impl Serialize, mode: SendMode) -> Result<Mail, SendError> {
    let message = serde_json::to_value(message).map_err(SendError::Encode)?;
    let from = context::current().map_or(Sender::Host, |here| Sender::Task(here.id()));
    Ok(Mail {
        from,
        message,
        mode,
    })
}

/// Places a message in the inbox of the task at this address; `scope` guards it, if given.
pub(super) async fn deliver(
    core: &Arc<Core>,
    scope: Option<&Scope>,
    to: Address,
    mail: Mail,
) -> Result<Receipt, SendError> {
    let (id, address) = match to {
        Address::Id(id) => (Some(id), id.to_string()),
        Address::Path(path) => (scope.and_then(|scope| core.resolve(scope, &path)), path),
        // Only a body has these.
        Address::Parent => (None, "parent".to_owned()),
        Address::Root => (None, "root".to_owned()),
        Address::Child(name) => (None, name),
    };
    let live = id.and_then(|id| core.hub.live(id));
    // A task of another scope is not shown to exist.
    let is_here = |task: &Scope| scope.is_none_or(|scope| scope == task);
    let record = id.and_then(|id| core.hub.index.get(id));
    let record = record.filter(|record| is_here(record.scope()));
    if let Some(live) = live.filter(|_| record.is_some()) {
        return place(core, &live, mail).await;
    }
    let message = mail.message;
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

/// Places a message in the inbox of a live task, and does what its mode says beside.
pub(super) async fn place(
    core: &Arc<Core>,
    live: &Arc<Live>,
    mail: Mail,
) -> Result<Receipt, SendError> {
    let Mail {
        from,
        message,
        mode,
    } = mail;
    let task = live.id;
    if !fits(&message) {
        return Err(SendError::TooLarge {
            bytes_max: PAYLOAD_BYTES_MAX,
            message,
        });
    }
    let parcel = Parcel {
        id: MessageId::new(Clock::new_id()),
        from,
        body: message,
        wakes: mode != SendMode::Queue,
    };
    let accepted = match put(core, live, parcel).await {
        Ok(accepted) => accepted,
        Err(rejected) => {
            let message = rejected.parcel.body;
            return Err(match rejected.why {
                Why::Full { capacity } => SendError::Full {
                    task,
                    capacity,
                    message,
                },
                Why::Closed => SendError::Ended { task, message },
                Why::NoInbox => SendError::NoInbox { task, message },
            });
        }
    };
    core.hub.touch(live);
    #[cfg(feature = "metrics")]
    crate::meter::placed(accepted.receipt.waiting);
    if let Some(dropped) = accepted.dropped {
        live.bury(dropped, Undelivered::Dropped);
    }
    let id = accepted.receipt.id;
    if mode == SendMode::Interrupt {
        let receiver = TaskRef::new(Arc::clone(core), task);
        // A body that does not run finds the message when it does.
        let _is_told = interrupt(&receiver, format!("message {id}")).await.is_ok();
    }
    if mode != SendMode::Queue {
        core.hub.wake(task, WakeCause::Message(id));
    }
    Ok(accepted.receipt)
}

/// Puts a message into an inbox, and waits for room if that is what the inbox does. A body that
/// waits counts as waiting. To itself it is refused instead, as nobody else would read.
async fn put(core: &Core, live: &Live, parcel: Parcel) -> Result<Accepted, Rejected> {
    let is_own = parcel.from == Sender::Task(live.id);
    let rejected = match live.inbox.push(parcel) {
        Err(rejected) if live.inbox.lets_wait() && !is_own => rejected,
        decided => return decided,
    };
    if !matches!(rejected.why, Why::Full { .. }) {
        return Err(rejected);
    }
    let here = context::current().filter(|here| std::ptr::eq(here.core().as_ref(), core));
    let _parked = here.map(|here| Parked::on(&here, Wait::Task(live.id)));
    let parcel = rejected.parcel;
    tokio::select! {
        biased;
        placed = live.inbox.push_or_wait(parcel.clone()) => placed,
        () = core.hub.gate.shut_down() => {
            let why = Why::Closed;
            Err(Rejected { parcel, why })
        }
    }
}
