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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::writer::Asker;
use crate::engine::Live;
use crate::kernel::{Accepted, Effect, IdHash, Reply, Ticket};

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

    /// The tasks that begin to exist, if these are carried out, the last one first.
    pub(super) fn born<'a>(
        &'a self,
        effects: &'a [Effect],
    ) -> impl Iterator<Item = Arc<Live>> + 'a {
        effects.iter().rev().filter_map(|effect| {
            let Effect::Answer {
                ticket,
                reply: Reply::Spawned(Ok(Accepted::New(id))),
            } = effect
            else {
                return None;
            };
            let live = self.lock().get(ticket).and_then(Asker::live);
            live.filter(|live| live.id == *id)
        })
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
