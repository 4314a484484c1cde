//! Those without a body, who wait for the next one: a new actor, or a new task of tokio, costs more
//! than most short bodies do.
//!
//! # Invariants
//! 1. Who waits here has dropped its last body, and that one's end was reported.
//! 2. Who is handed an errand waits here no more.
//! 3. At most [`RESERVE_MAX`] wait.
//!
//! *Not here*: that they end with their manager (`team`, `roster`).

use std::sync::{Mutex, MutexGuard, PoisonError};

use ractor::{ActorRef, MessagingErr};

use super::task::Errand;

/// How many wait at most: actors of 5.7 KB each, or tasks of less than one.
const RESERVE_MAX: usize = 64;

/// Runs one errand after another.
pub(super) trait Runner<E> {
    /// Takes an errand, or gives it back, having ended.
    fn hand(&self, errand: E) -> Result<(), E>;
}

impl Runner<Box<Errand>> for ActorRef<Box<Errand>> {
    fn hand(&self, errand: Box<Errand>) -> Result<(), Box<Errand>> {
        match self.cast(errand) {
            Ok(()) => Ok(()),
            Err(MessagingErr::SendErr(back)) => Err(back),
            Err(lost @ (MessagingErr::ChannelClosed | MessagingErr::InvalidActorType)) => {
                // It was dropped, so its attempt is reported lost.
                tracing::error!(error = %lost, "an actor did not give its errand back");
                Ok(())
            }
        }
    }
}

/// Those who wait; the last one who came is the first to go, as its memory is still near.
#[derive(Debug)]
pub(super) struct Reserve<R>(Mutex<Vec<R>>);

impl<R> Default for Reserve<R> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<R: Clone> Reserve<R> {
    /// Lets one wait for an errand, if there is room for it.
    pub(super) fn join(&self, runner: &R) -> bool {
        let mut waiting = self.lock();
        let has_room = waiting.len() < RESERVE_MAX;
        if has_room {
            waiting.push(runner.clone());
        }
        has_room
    }

    /// Hands an errand to one who waits, or gives it back. One who has ended takes none.
    pub(super) fn hand<E>(&self, mut errand: E) -> Option<E>
    where
        R: Runner<E>,
    {
        while let Some(runner) = self.next() {
            match runner.hand(errand) {
                Ok(()) => return None,
                Err(back) => errand = back,
            }
        }
        Some(errand)
    }

    fn next(&self) -> Option<R> {
        self.lock().pop()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
