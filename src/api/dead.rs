//! Messages that nobody has read: listing them, sending them again, dropping them.
//!
//! *Not here*: how they are kept (`inbox/dead.rs`). They are not durable: they end with their
//! manager.

use std::sync::Arc;

use super::core::Core;
use super::manager::Manager;
use crate::engine::Live;
use crate::inbox::{
    Accepted, DeadFilter, DeadLetter, MessageId, Parcel, Receipt, Undelivered, Why,
};
use crate::kernel::TaskId;

/// Why a dead letter was not sent again. It is kept where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// There is no dead letter of this id, or it is on its way already.
    #[error("no dead letter {0} is kept")]
    Unknown(MessageId),
    /// An older one of the same sender to the same task is dead, too, and goes first.
    #[error("the letter {0} of the same sender is older and has to go first")]
    Older(MessageId),
    /// Its task takes no more messages, and no live task of its scope has its name.
    #[error("nobody reads for task {0}")]
    NoReceiver(TaskId),
    /// The inbox is full; try again when the task has read.
    #[error("the inbox of task {task} is full ({capacity} messages); try again when it has read")]
    Full {
        /// The task.
        task: TaskId,
        /// How many messages fit.
        capacity: u32,
    },
}

impl Manager {
    /// The messages that were accepted and that nobody has read, in the order in which that became
    /// certain. The newest are kept, 1,024 of at most 16 MiB of JSON together unless the builder
    /// says otherwise; one that is larger by itself is not.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use understory::{Cancel, DeadFilter, Delivery, Manager, Undelivered};
    /// # let manager = Manager::in_memory();
    /// let deaf = manager.scope("s").task("deaf").spawn(|ctx| async move {
    ///     ctx.cancelled().await;
    ///     Ok(())
    /// });
    /// let deaf = deaf.await?;
    /// let receipt = deaf.send("anybody there?").await?;
    /// let id = receipt.id;
    /// deaf.cancel(Cancel::because("enough")).await?;
    /// assert_eq!(receipt.await, Delivery::Undelivered(Undelivered::Ended));
    /// assert_eq!(manager.dead_letters(&DeadFilter::all().to(deaf.id()))[0].id, id);
    ///
    /// let heir = manager.scope("s").task("deaf").spawn(|ctx| async move {
    ///     Ok(ctx.recv().await.map(|message| message.body))
    /// });
    /// let heir = heir.await?;
    /// assert_eq!(manager.replay(id).await?.id, id);
    /// assert_eq!(heir.await?, Some("anybody there?".into()));
    /// # Ok(()) }
    /// ```
    pub fn dead_letters(&self, filter: &DeadFilter) -> Vec<DeadLetter> {
        self.core.hub.dead.list(filter)
    }

    /// How many dead letters went for newer ones.
    pub fn dead_letters_forgotten(&self) -> u64 {
        self.core.hub.dead.forgotten()
    }

    /// Drops dead letters, and tells how many those were.
    pub fn clear_dead_letters(&self, filter: &DeadFilter) -> usize {
        self.core.hub.dead.clear(filter)
    }

    /// Sends a dead letter again, with the same id: to its task, or if that has ended to the live
    /// task that has its name in its scope now. It comes after whatever waits there.
    ///
    /// Letters of one sender to one task keep their order: the older one has to go first. See
    /// [`Manager::dead_letters`] for an example.
    ///
    /// # Errors
    /// [`ReplayError`]; the letter is kept.
    ///
    /// # Cancel safety
    /// It never waits: once polled, the letter is placed or kept.
    pub async fn replay(&self, letter: MessageId) -> Result<Receipt, ReplayError> {
        let dead = &self.core.hub.dead;
        let (place, letter) = match dead.take(letter) {
            None => return Err(ReplayError::Unknown(letter)),
            Some(Err(older)) => return Err(ReplayError::Older(older)),
            Some(Ok(taken)) => taken,
        };
        let (task, accepted) = match offer(&self.core, &letter) {
            Ok(placed) => placed,
            Err(error) => {
                dead.put_back(place);
                return Err(error);
            }
        };
        dead.delivered(place);
        self.core.hub.touch(&task);
        if let Some(dropped) = accepted.dropped {
            task.bury(*dropped, Undelivered::Dropped);
        }
        Ok(accepted.receipt)
    }
}

/// Offers a letter to its task, then to who has its name now.
fn offer(core: &Core, letter: &DeadLetter) -> Result<(Arc<Live>, Accepted), ReplayError> {
    let heir = || {
        let id = core
            .hub
            .index
            .holder(&letter.scope, letter.name.as_ref()?.as_str())?;
        core.hub.live(id).filter(|live| live.id != letter.to)
    };
    // An heir of another kind may not take such messages.
    let takes = |live: &Arc<Live>| {
        let kind = live.spec.kind.as_ref();
        core.checks.message(kind, &letter.body).is_ok()
    };
    let candidates = [core.hub.live(letter.to), heir()].into_iter().flatten();
    for live in candidates.filter(takes) {
        let parcel = Parcel {
            id: letter.id,
            from: letter.from,
            body: letter.body.clone(),
            wakes: false,
            is_durable: false,
        };
        match live.inbox.push(parcel) {
            Ok(accepted) => return Ok((live, accepted)),
            Err(rejected) => match rejected.why {
                Why::Full { capacity } => {
                    let task = live.id;
                    return Err(ReplayError::Full { task, capacity });
                }
                Why::Closed | Why::NoInbox => {}
            },
        }
    }
    Err(ReplayError::NoReceiver(letter.to))
}
