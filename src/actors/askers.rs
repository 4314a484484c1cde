//! Those who wait for answers of one incarnation of the actors.
//!
//! # Invariants
//! 1. Whoever is expected hears once: by an answer, or by the drop when the actors go.
//!
//! The state of an actor that was killed lives on until its supervisor reads of the end. Who waits
//! must not depend on that, so they are kept here and not there.
//!
//! *Not here*: what is answered (`carry`).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::writer::Asker;
use crate::kernel::{IdHash, Ticket};

#[derive(Debug, Default)]
pub(super) struct Askers(Mutex<HashMap<Ticket, Asker, IdHash>>);

impl Askers {
    /// Takes those whose answers will come.
    pub(super) fn expect(&self, askers: &mut Vec<(Ticket, Asker)>) {
        self.lock().extend(askers.drain(..));
    }

    /// Who waits for this answer; nobody waits for it any more.
    pub(super) fn take(&self, ticket: Ticket) -> Option<Asker> {
        self.lock().remove(&ticket)
    }

    /// Runs `look` on who waits for this answer.
    pub(super) fn look<T>(&self, ticket: Ticket, look: impl FnOnce(&Asker) -> T) -> Option<T> {
        self.lock().get(&ticket).map(look)
    }

    /// Lets all of them know that no answer will come.
    pub(super) fn disappoint(&self) {
        let all = std::mem::take(&mut *self.lock());
        // With an asker that has gone, the last hold on a body may be dropped: that is user code.
        tokio::spawn(async move { drop(all) });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ticket, Asker, IdHash>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
