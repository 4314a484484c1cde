//! Placing a message in an inbox.
//!
//! # Invariants
//! 1. A message is checked before it is placed; what was placed is told as placed, whatever becomes
//!    of the wake or the interrupt that comes with it.
//!
//! *Not here*: the verbs and their addresses (`send`), how messages wait (`inbox`).

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use serde::Serialize;
use serde_json::Value;

use super::context;
use super::core::Core;
use super::handle::TaskRef;
use super::interrupt::interrupt;
use super::payload::to_value;
use super::send::{Address, SendError, SendMode};
use super::spawn::PAYLOAD_BYTES_MAX;
use super::wait::Parked;
use crate::actors::{Clock, WakeCause};
use crate::engine::Live;
use crate::inbox::{
    Accepted, MessageId, Parcel, Receipt, Rejected, Sender, Undelivered, Why, size_of,
};
use crate::kernel::{Grant, Scope, TaskId, Wait};

/// A message that is to be delivered.
pub(super) struct Mail {
    pub(super) from: Sender,
    pub(super) message: Value,
    pub(super) mode: SendMode,
}

/// A message of the body that runs here, or of the host.
pub(super) fn mail(message: impl Serialize, mode: SendMode) -> Result<Mail, SendError> {
    let message = to_value(message).map_err(SendError::Encode)?;
    let from = context::current_id().map_or(Sender::Host, Sender::Task);
    Ok(Mail {
        from,
        message,
        mode,
    })
}

/// What is left to do for a message that could not simply be placed, or why it was refused. What
/// is rare has its room on the heap: most futures of sends are small.
type Rest = Pin<Box<dyn Future<Output = Result<Receipt, SendError>> + Send>>;

/// A message that is being sent: its receipt, which is ready at the first look, or the rest.
pub(super) struct Sending(Result<Option<Receipt>, Rest>);

impl Sending {
    const fn placed(receipt: Receipt) -> Self {
        Self(Ok(Some(receipt)))
    }

    fn rest(rest: impl Future<Output = Result<Receipt, SendError>> + Send + 'static) -> Self {
        Self(Err(Box::pin(rest)))
    }

    pub(super) fn failed(error: SendError) -> Self {
        Self::rest(ready(Err(error)))
    }
}

impl Future for Sending {
    type Output = Result<Receipt, SendError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Ok(receipt) => {
                let receipt = receipt.take().expect("it is not polled after its end");
                Poll::Ready(Ok(receipt))
            }
            Err(rest) => rest.as_mut().poll(cx),
        }
    }
}

/// Places a message in the inbox of the task at this address; `scope` guards it, if given.
pub(super) fn deliver(core: &Arc<Core>, scope: Option<&Scope>, to: Address, mail: Mail) -> Sending {
    if core.hub.has_recovered() {
        return deliver_now(core, scope, to, mail);
    }
    // A task of before may not be shown yet.
    let (core, scope) = (Arc::clone(core), scope.cloned());
    Sending::rest(async move {
        let _has_begun = core.hub.recovered().await;
        deliver_now(&core, scope.as_ref(), to, mail).await
    })
}

fn deliver_now(core: &Arc<Core>, scope: Option<&Scope>, to: Address, mail: Mail) -> Sending {
    match receiver(core, scope, to, mail) {
        Ok((live, mail)) => place(core, &live, mail),
        Err(error) => Sending::failed(error),
    }
}

/// Who gets the message at this address, and the message.
pub(super) fn receiver(
    core: &Arc<Core>,
    scope: Option<&Scope>,
    to: Address,
    mail: Mail,
) -> Result<(Arc<Live>, Mail), SendError> {
    let found = match &to {
        // A task of another scope is not shown to exist, unless it was granted.
        Address::Id(id) => match scope {
            Some(scope) => core.may(scope, *id),
            None => core.hub.index.look(*id, |_| Grant::Cancel),
        }
        .map(|may| (*id, may)),
        // A path leads to tasks of its scope only.
        Address::Path(path) => scope
            .and_then(|scope| core.resolve(scope, path))
            .map(|id| (id, Grant::Cancel)),
        // Only a body has these.
        Address::Parent | Address::Root | Address::Child(_) => None,
    };
    let message = mail.message;
    let Some((task, may)) = found else {
        let address = named(to);
        return Err(SendError::NoSuchTask { address, message });
    };
    if may == Grant::See {
        return Err(SendError::Denied { task, message });
    }
    match core.hub.live(task) {
        Some(live) => Ok((live, Mail { message, ..mail })),
        None => Err(SendError::Ended { task, message }),
    }
}

/// An address as it was given.
fn named(address: Address) -> String {
    match address {
        Address::Id(id) => id.to_string(),
        Address::Path(path) => path,
        Address::Parent => "parent".to_owned(),
        Address::Root => "root".to_owned(),
        Address::Child(name) => name,
    }
}

/// Whether a message is at most [`PAYLOAD_BYTES_MAX`] bytes of JSON.
#[inline]
fn fits(message: &Value) -> bool {
    match message {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        // Most messages are short texts, of which no byte becomes more than six in JSON.
        Value::String(text) if text.len() < PAYLOAD_BYTES_MAX / 8 => true,
        Value::String(_) | Value::Array(_) | Value::Object(_) => {
            size_of(message, PAYLOAD_BYTES_MAX).is_some()
        }
    }
}

/// Places a message in the inbox of a live task, and does what its mode says beside.
pub(super) fn place(core: &Arc<Core>, live: &Arc<Live>, mail: Mail) -> Sending {
    let Mail {
        from,
        message,
        mode,
    } = mail;
    let task = live.id;
    if !fits(&message) {
        let bytes_max = PAYLOAD_BYTES_MAX;
        return Sending::failed(SendError::TooLarge { bytes_max, message });
    }
    let message = match checked(core, live, message) {
        Ok(message) => message,
        Err(error) => return Sending::failed(error),
    };
    let parcel = Parcel {
        id: MessageId::new(Clock::next_id()),
        from,
        body: message,
        wakes: mode != SendMode::Queue,
        is_durable: false,
    };
    match live.inbox.push(parcel) {
        Ok(accepted) if mode == SendMode::Queue => Sending::placed(told(core, live, accepted)),
        Ok(accepted) => {
            let receipt = told(core, live, accepted);
            let core = Arc::clone(core);
            Sending::rest(async move { Ok(follow(&core, task, mode, receipt).await) })
        }
        Err(rejected) => {
            let (core, live) = (Arc::clone(core), Arc::clone(live));
            Sending::rest(async move {
                let accepted = put(&core, &live, *rejected).await?;
                let receipt = told(&core, &live, accepted);
                Ok(follow(&core, task, mode, receipt).await)
            })
        }
    }
}

/// What follows from a message that was placed.
#[inline]
fn told(core: &Core, live: &Live, accepted: Accepted) -> Receipt {
    core.hub.touch(live);
    #[cfg(feature = "metrics")]
    crate::meter::placed(accepted.receipt.waiting);
    if let Some(dropped) = accepted.dropped {
        live.bury(*dropped, Undelivered::Dropped);
    }
    accepted.receipt
}

/// Does what the mode of a message says beside.
async fn follow(core: &Arc<Core>, task: TaskId, mode: SendMode, receipt: Receipt) -> Receipt {
    let id = receipt.id;
    if mode != SendMode::Queue {
        // At once, as the sender may go while the interrupt is decided. A body that suspends after
        // this looks back.
        core.hub.wake(task, WakeCause::Message(id));
    }
    if mode == SendMode::Interrupt {
        let receiver = TaskRef::new(Arc::clone(core), task);
        // A body that does not run finds the message when it does.
        let told = interrupt(&receiver, format!("message {id}")).await;
        let _is_told = told.is_ok();
    }
    receipt
}

/// The message, if tasks of this kind take it.
#[inline]
pub(super) fn checked(core: &Core, live: &Live, message: Value) -> Result<Value, SendError> {
    // The kind of a task lies far from its inbox.
    if core.checks.are_none() {
        return Ok(message);
    }
    let task = live.id;
    match core.checks.message(live.spec.kind.as_ref(), &message) {
        Ok(()) => Ok(message),
        Err(why) => Err(SendError::Mismatch { task, why, message }),
    }
}

/// Waits for room for a message that was rejected, if that is what the inbox does. A body that
/// waits counts as waiting. To itself it is refused instead, as nobody else would read.
async fn put(core: &Core, live: &Live, rejected: Rejected) -> Result<Accepted, SendError> {
    let is_own = rejected.parcel.from == Sender::Task(live.id);
    let is_full = matches!(rejected.why, Why::Full { .. });
    if !is_full || is_own || !live.inbox.lets_wait() {
        return Err(refused(live, rejected));
    }
    let here = context::current().filter(|here| std::ptr::eq(here.core().as_ref(), core));
    let _parked = here.map(|here| Parked::on(&here, Wait::Task(live.id)));
    let parcel = rejected.parcel;
    let placed = tokio::select! {
        biased;
        placed = live.inbox.push_or_wait(parcel.clone()) => placed,
        () = core.hub.gate.shut_down() => {
            let why = Why::Closed;
            Err(Box::new(Rejected { parcel, why }))
        }
    };
    placed.map_err(|rejected| refused(live, *rejected))
}

fn refused(live: &Live, rejected: Rejected) -> SendError {
    let (task, message) = (live.id, rejected.parcel.body);
    match rejected.why {
        Why::Full { capacity } => SendError::Full {
            task,
            capacity,
            message,
        },
        Why::Closed => SendError::Ended { task, message },
        Why::NoInbox => SendError::NoInbox { task, message },
    }
}
