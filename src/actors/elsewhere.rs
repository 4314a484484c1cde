//! External tasks: they run elsewhere, and a callback cancels them there.
//!
//! # Invariants
//! 1. The callback of a task is called at most once: when a request to stop it is durable, and with
//!    its end at the latest, also when the task never had a slot or its record is kept no more.
//!
//! *Not here*: what holders say (`api/external.rs`), what follows from that (`kernel`).

use std::sync::Arc;

use super::hub::Hub;
use crate::engine::{self, Live, Work};
use crate::kernel::{Epoch, Origin, Stop};

impl Hub {
    /// Cancels what runs elsewhere; the first request does.
    pub(super) fn call_back(self: &Arc<Self>, live: &Arc<Live>, epoch: Epoch, stop: &Arc<Stop>) {
        let Work::Callback(call) = live.take_work() else {
            return;
        };
        let (hub, live, stop) = (Arc::clone(self), Arc::clone(live), Arc::clone(stop));
        // The kernel forces it when the grace is over; should the manager be gone by then, it ends
        // by itself.
        let grace = stop.grace_until.since(stop.at);
        let limit = grace.saturating_add(hub.bounds.abort_window);
        tokio::spawn(async move {
            let signal = live.signal();
            let failure = engine::call_back(call, Some(stop), limit, signal.forced()).await;
            hub.gate
                .callback_over(live.id, epoch, failure.map(Into::into));
        });
    }

    /// One that was stopped before it had a slot may run elsewhere all the same.
    pub(super) fn call_back_unstarted(self: &Arc<Self>, live: &Arc<Live>) {
        if live.spec.origin != Origin::External {
            return;
        }
        // It has settled, and its record may not be kept.
        if let Some(record) = live.done.get().filter(|it| it.started_at.is_none())
            && let Some(stop) = &record.stop
        {
            self.call_back(live, record.epoch, stop);
        }
    }
}
