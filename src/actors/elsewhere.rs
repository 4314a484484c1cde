//! External tasks: they run elsewhere, and a callback cancels them there.
//!
//! # Invariants
//! 1. The callback of a task is called at most once, and when a request to stop it is durable at
//!    the latest with its end: also when the task never had a slot, its record is kept no more, or
//!    an actor of ours failed before it could be called.
//!
//! *Not here*: what holders say (`api/external.rs`), what follows from that (`kernel`).

use std::sync::Arc;

use super::hub::Hub;
use crate::engine::{self, Live, Work};
use crate::kernel::{Body, Cause, Epoch, Origin, Record, Requester, State, Stop};

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

    /// One that went with its record as an actor of ours failed: if it never had a slot it was
    /// stopped, and why nobody knows any more.
    pub(super) fn call_back_lost(self: &Arc<Self>, live: &Arc<Live>) {
        if live.spec.origin != Origin::External || live.epoch() != Epoch::default() {
            return;
        }
        let at = self.clock.now();
        let stop = Stop {
            cause: Cause::Asked,
            reason: "it was stopped before it began, and the reason was lost".into(),
            by: Requester::Manager,
            at,
            grace_until: at.after(live.spec.grace.unwrap_or(self.bounds.grace)),
        };
        self.call_back(live, Epoch::default(), &Arc::new(stop));
    }

    /// Catches up on what was durable when an actor of ours failed, and not carried out.
    pub(super) fn call_back_again(self: &Arc<Self>, live: &Arc<Live>, record: &Record) {
        if record.spec.origin != Origin::External || record.conclusion.is_some() {
            return;
        }
        if record.state == State::CancelRequested {
            if let Some(stop) = &record.stop {
                self.call_back(live, record.epoch, stop);
            }
        } else if record.body == Body::Live && live.epoch() != record.epoch {
            live.begin(record.epoch, self.clock.now().as_micros());
        }
    }
}
