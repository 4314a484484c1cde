//! What was decided and not carried out when an actor of ours went: of that, what is durable is
//! shown by those who come next, and followed as if it had been carried out.
//!
//! # Invariants
//! 1. A draft that is dropped before it was carried out is kept here, until the next start.
//! 2. Of a draft that never became durable nothing is done: its askers are told, and recovery
//!    decides anew.
//! 3. Of one that is shown already, what was not begun follows.
//! 4. Bodies are not started: they went with the manager, and recovery knows of each.
//!
//! An actor that does not yield may leave its draft behind too late; then its task is known from
//! the store alone (`recovery`).
//!
//! *Not here*: what showing means (`show`), what became of askers (`askers`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::hub::Hub;
use crate::engine::Live;
#[cfg(feature = "metrics")]
use crate::kernel::Accepted;
use crate::kernel::{Effect, Origin, Seq};
use crate::store::Batch;

/// Drafts in the order in which they were decided; `None` when nobody will come next.
#[derive(Debug)]
pub(super) struct Uncarried(Mutex<Option<Vec<Rest>>>);

/// What is left of a draft.
#[derive(Debug)]
pub(super) struct Rest {
    batch: Arc<Batch>,
    /// What was not begun, the next one last.
    effects: Vec<Effect>,
    /// Tasks that begin to exist with it.
    born: Vec<Arc<Live>>,
}

impl Default for Uncarried {
    fn default() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }
}

impl Uncarried {
    /// Keeps nothing from now on, and gives back what was kept.
    pub(super) fn close(&self) -> Vec<Rest> {
        self.lock().take().unwrap_or_default()
    }

    fn keep(&self, rest: Rest) {
        if let Some(rests) = &mut *self.lock() {
            rests.push(rest);
        }
    }

    fn take(&self) -> Vec<Rest> {
        self.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Rest>>> {
        // Nothing foreign runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// Keeps what may be durable and was not carried out.
    pub(super) fn keep_uncarried(&self, batch: Arc<Batch>, effects: Vec<Effect>) {
        if batch.events.is_empty() {
            return;
        }
        let born = self.born(&effects);
        self.uncarried.keep(Rest {
            batch,
            effects,
            born,
        });
    }

    /// Shows what was durable, up to this event, and not carried out. Gives what is to be told when
    /// every task is there again.
    pub(super) fn show_uncarried(self: &Arc<Self>, newest: Seq) -> Vec<Rest> {
        let mut shown = Vec::new();
        for rest in self.uncarried.take() {
            let events = &rest.batch.events;
            if events.last().is_none_or(|last| last.seq > newest) {
                rest.born.iter().for_each(|live| self.lose_unborn(live));
                continue;
            }
            if events.first().is_some_and(|it| it.seq > self.index.seq()) {
                self.show_rest(&rest);
            }
            for effect in rest.effects.iter().rev() {
                self.carry_elsewhere(effect);
            }
            shown.push(rest);
        }
        shown
    }

    /// Nobody will hear of it again, unless it was shown before its carrier failed.
    fn lose_unborn(&self, live: &Arc<Live>) {
        let shown = self.live(live.id);
        if !shown.is_some_and(|shown| Arc::ptr_eq(&shown, live)) {
            live.done.lose();
        }
    }

    fn show_rest(self: &Arc<Self>, rest: &Rest) {
        for live in &rest.born {
            self.lives.insert(live.id, Arc::clone(live));
            #[cfg(feature = "metrics")]
            crate::meter::answered(&Ok(Accepted::New(live.id)), &live.spec);
        }
        let observed = rest.born.iter().filter(|live| live.is_observed());
        self.show(&rest.batch, &observed.cloned().collect::<Vec<_>>());
    }

    /// What runs elsewhere did not go with the manager.
    fn carry_elsewhere(self: &Arc<Self>, effect: &Effect) {
        let (Effect::Start { id, epoch, .. } | Effect::Signal { id, epoch, .. }) = effect else {
            return;
        };
        let live = self.live(*id);
        let Some(live) = live.filter(|live| live.spec.origin == Origin::External) else {
            return;
        };
        if let Effect::Signal { stop, .. } = effect {
            if live.is_current(*epoch) {
                live.signal().ask(Arc::clone(stop));
                self.call_back(&live, *epoch, stop);
            }
        } else if live.epoch() < *epoch {
            live.begin(*epoch, self.clock.now().as_micros());
        }
    }
}

impl Rest {
    /// Wakes those who cannot hear of it.
    pub(super) fn wake(&self, hub: &Hub) {
        for event in &self.batch.events {
            hub.wake_for(event);
        }
    }
}
