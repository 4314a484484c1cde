//! Task actors without a body, which wait for the next one: a new actor costs more than most short
//! bodies do.
//!
//! # Invariants
//! 1. Who waits here has dropped its last body, and that one's end was reported.
//! 2. Who is handed an errand waits here no more.
//! 3. At most [`RESERVE_MAX`] wait.
//!
//! *Not here*: that they end with their manager (`team`).

use std::sync::{Mutex, MutexGuard, PoisonError};

use ractor::{ActorRef, MessagingErr};

use super::task::Errand;

/// How many wait at most, of 5.7 KB each.
const RESERVE_MAX: usize = 64;

/// Those who wait; the last one who came is the first to go, as its memory is still near.
#[derive(Debug, Default)]
pub(super) struct Reserve(Mutex<Vec<ActorRef<Box<Errand>>>>);

impl Reserve {
    /// Lets an actor wait for an errand, if there is room for it.
    pub(super) fn join(&self, actor: &ActorRef<Box<Errand>>) -> bool {
        let mut waiting = self.lock();
        let has_room = waiting.len() < RESERVE_MAX;
        if has_room {
            waiting.push(actor.clone());
        }
        has_room
    }

    /// Hands an errand to one who waits, or gives it back. One who has ended takes none.
    pub(super) fn hand(&self, mut errand: Box<Errand>) -> Option<Box<Errand>> {
        while let Some(actor) = self.next() {
            match actor.cast(errand) {
                Ok(()) => return None,
                Err(MessagingErr::SendErr(back)) => errand = back,
                Err(lost @ (MessagingErr::ChannelClosed | MessagingErr::InvalidActorType)) => {
                    // It was dropped, so its attempt is reported lost.
                    tracing::error!(error = %lost, "an actor did not give its errand back");
                    return None;
                }
            }
        }
        Some(errand)
    }

    fn next(&self) -> Option<ActorRef<Box<Errand>>> {
        self.lock().pop()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ActorRef<Box<Errand>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
