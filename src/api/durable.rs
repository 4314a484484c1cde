//! Durable messages: sending what outlives the process, and being done with it.
//!
//! # Invariants
//! 1. `Ok` means that the message is durable: every run of the task gets it until one acknowledges
//!    it, whatever becomes of the process.
//!
//! *Not here*: ordinary messages (`send`), the law (`kernel/supervisor/mail.rs`).

use std::sync::Arc;

use serde::Serialize;

use super::context::Context;
use super::core::Core;
use super::deliver::{Mail, checked, mail, receiver};
use super::handle::TaskRef;
use super::payload::to_text;
use super::scope::ScopeRef;
use super::send::{Address, SendError, SendMode};
use crate::actors::{Clock, Shut};
use crate::engine::Live;
use crate::inbox::{Message, MessageId, Sender};
use crate::kernel::{
    DURABLE_BYTES_MAX, DURABLE_MAX, Input, KeptMessage, MessageRefusal, Payload, Reply, Scope,
};

/// Why a message was not acknowledged. It will be delivered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcknowledgeError {
    /// The attempt is over, or the task has settled.
    #[error("the attempt is over")]
    Over,
    /// The manager was started anew before it answered; do it again in the next attempt.
    #[error("the manager was started anew; whether the message is acknowledged is unknown")]
    Unknown,
}

impl TaskRef {
    /// Sends a message that outlives the process: it stands in the task's record until a body has
    /// [acknowledged](Context::acknowledge) it, and is delivered to each run until then. It also
    /// wakes a receiver whose body is gone, as [`SendMode::Trigger`] does.
    ///
    /// At most 64 of a task, and 1 MiB of JSON, may wait to be acknowledged; they take no place
    /// in the inbox. What nobody has acknowledged when the task settles stays in its record: see
    /// [`Record::unacknowledged`](crate::Record::unacknowledged).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Failure, Manager, Retry};
    /// # let manager = Manager::in_memory();
    /// # use std::time::Duration;
    /// let clerk = manager.scope("s").task("clerk");
    /// let clerk = clerk
    ///     .retry(Retry::fixed(1, Duration::ZERO))
    ///     .spawn(|ctx| async move {
    ///         let order = ctx.recv().await.ok_or_else(|| Failure::new("nothing came"))?;
    ///         if ctx.attempt() == 1 {
    ///             return Err(Failure::new("the power failed"));
    ///         }
    ///         ctx.acknowledge(&order).await?; // it came again
    ///         Ok(order.body)
    ///     })
    ///     .await?;
    /// clerk.send_durable("two boxes").await?;
    /// assert_eq!(clerk.await?, "two boxes");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`SendError`] gives the message back, unless it cannot be written as JSON. Nothing was kept,
    /// except for [`SendError::Unknown`].
    ///
    /// # Cancel safety
    /// When it is dropped, the message may or may not be taken.
    pub async fn send_durable(&self, message: impl Serialize) -> Result<MessageId, SendError> {
        let mail = mail(message, SendMode::Trigger)?;
        deliver(self.core(), None, Address::Id(self.id()), mail).await
    }
}

impl ScopeRef {
    /// Sends a durable message to a task of this scope, by id or by path. See
    /// [`TaskRef::send_durable`].
    ///
    /// # Errors
    /// [`SendError`], as there.
    ///
    /// # Cancel safety
    /// When it is dropped, the message may or may not be taken.
    pub async fn send_durable(
        &self,
        to: impl Into<Address>,
        message: impl Serialize,
    ) -> Result<MessageId, SendError> {
        let mail = mail(message, SendMode::Trigger)?;
        match &self.scope {
            Ok(scope) => deliver(&self.core, Some(scope), to.into(), mail).await,
            Err(mistake) => {
                let (address, message) = (mistake.to_string(), mail.message);
                Err(SendError::NoSuchTask { address, message })
            }
        }
    }
}

impl Context {
    /// Sends a durable message, to the addresses that [`Context::send`] knows. See
    /// [`TaskRef::send_durable`].
    ///
    /// # Errors
    /// [`SendError`], as there.
    ///
    /// # Cancel safety
    /// When it is dropped, the message may or may not be taken.
    pub async fn send_durable(
        &self,
        to: impl Into<Address>,
        message: impl Serialize,
    ) -> Result<MessageId, SendError> {
        let mail = mail(message, SendMode::Trigger)?;
        let mail = Mail {
            from: Sender::Task(self.id()),
            ..mail
        };
        let (to, mail) = self.addressed(to.into(), mail)?;
        deliver(&self.core, Some(&self.scope()), to, mail).await
    }

    /// Is done with a durable message: no run will get it again. Returns when that is durable. With
    /// any other message, and with one that was acknowledged before, nothing happens.
    ///
    /// See [`TaskRef::send_durable`] for an example.
    ///
    /// # Errors
    /// [`AcknowledgeError`]: it will be delivered again.
    ///
    /// # Cancel safety
    /// When it is dropped, the message may or may not be acknowledged.
    pub async fn acknowledge(&self, message: &Message) -> Result<(), AcknowledgeError> {
        if !message.is_durable {
            return Ok(());
        }
        self.touch();
        let (id, epoch, message) = (self.id(), self.epoch(), message.id);
        let asked = self.core.hub.gate.ask(move |ticket| Input::Acknowledge {
            ticket,
            id,
            epoch,
            message,
        });
        match asked.await {
            Ok(Reply::Acknowledged(Ok(()))) => {
                // Whatever delivers it was carried out before it could be acknowledged.
                self.attempt.live.inbox.acknowledged(message);
                Ok(())
            }
            Err(Shut::Restarted) => Err(AcknowledgeError::Unknown),
            Ok(_) | Err(_) => Err(AcknowledgeError::Over),
        }
    }
}

async fn deliver(
    core: &Arc<Core>,
    scope: Option<&Scope>,
    to: Address,
    mail: Mail,
) -> Result<MessageId, SendError> {
    // A task of before may not be shown yet.
    let _has_begun = core.hub.recovered().await;
    let (live, mail) = receiver(core, scope, to, mail)?;
    let id = MessageId::new(Clock::new_id());
    keep(core, &live, id, mail).await?;
    Ok(id)
}

async fn keep(core: &Core, live: &Live, id: MessageId, mail: Mail) -> Result<(), SendError> {
    let task = live.id;
    if !live.inbox.is_there() {
        let message = mail.message;
        return Err(SendError::NoInbox { task, message });
    }
    let message = checked(core, live, mail.message)?;
    let body = to_text(&message).map_err(SendError::Encode)?;
    if body.len() > DURABLE_BYTES_MAX {
        return Err(SendError::TooLarge {
            bytes_max: DURABLE_BYTES_MAX,
            message,
        });
    }
    let kept = KeptMessage {
        id,
        from: match mail.from {
            Sender::Host => None,
            Sender::Task(task) => Some(task),
        },
        body: Payload::from_json(body),
        at: core.hub.clock.now(),
    };
    let asked = core.hub.gate.ask(move |ticket| Input::Message {
        ticket,
        id: task,
        message: kept,
    });
    let refusal = match asked.await {
        Ok(Reply::Message(Ok(()))) => return Ok(()),
        Ok(Reply::Message(Err(refusal))) => refusal,
        Err(Shut::Restarted) => return Err(SendError::Unknown { id, message }),
        Ok(_) | Err(_) => return Err(SendError::Gone { message }),
    };
    Err(match refusal {
        MessageRefusal::Unknown(_) | MessageRefusal::Ended => SendError::Ended { task, message },
        MessageRefusal::Full => SendError::Full {
            task,
            capacity: u32::try_from(DURABLE_MAX).unwrap_or(u32::MAX),
            message,
        },
    })
}
