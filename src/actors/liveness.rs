//! Whether a body is alive: when it last gave a sign of life, and what the host says of it.
//!
//! # Invariants
//! 1. Whoever is asked runs elsewhere: here it is only begun.
//! 2. What is said of a run counts for that run only.
//!
//! *Not here*: the host's hook (the public face), what follows from a word (`kernel`).

use std::fmt;
use std::sync::Arc;

use tokio::sync::SetOnce;

use super::hub::Hub;
use crate::kernel::{Epoch, TaskId, Timestamp};

type Call = Box<dyn Fn(TaskId, Epoch) + Send + Sync>;

/// Who begins to ask the host about a run that was silent for too long.
#[derive(Default)]
pub(super) struct AskHost(SetOnce<Call>);

impl fmt::Debug for AskHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AskHost")
            .field(&self.0.initialized())
            .finish()
    }
}

impl AskHost {
    pub(super) fn is_set(&self) -> bool {
        self.0.initialized()
    }
}

impl Hub {
    /// Lets the host be asked before a run is ended as idle. What is called must then tell the
    /// activity of that run.
    pub(crate) fn ask_when_idle(&self, call: impl Fn(TaskId, Epoch) + Send + Sync + 'static) {
        let _is_first = self.ask_host.0.set(Box::new(call)).is_ok();
    }

    /// A run may have been silent for too long: the host is asked only if it was.
    pub(super) fn check_idle(&self, id: TaskId, epoch: Epoch) {
        let live = self.live(id);
        let idle_at = live.and_then(|live| {
            let limit = live.spec.idle_timeout?;
            Some(Timestamp::from_micros(live.activity()).after(limit))
        });
        let is_idle = idle_at.is_some_and(|at| at <= self.clock.now());
        match self.ask_host.0.get() {
            Some(ask) if is_idle => ask(id, epoch),
            Some(_) | None => self.tell_activity(id, epoch),
        }
    }

    /// Tells when a run last gave a sign of life.
    pub(crate) fn tell_activity(&self, id: TaskId, epoch: Epoch) {
        if let Some(live) = self.live(id).filter(|live| live.is_current(epoch)) {
            let at = Timestamp::from_micros(live.activity());
            self.gate.active(id, epoch, at);
        }
    }

    /// The host says that a run is alive.
    pub(crate) fn is_alive(&self, id: TaskId, epoch: Epoch) {
        if let Some(live) = self.live(id).filter(|live| live.is_current(epoch)) {
            self.touch(&live);
        }
    }

    /// The host says that a run is stuck.
    pub(crate) fn is_stuck(&self, id: TaskId, epoch: Epoch, reason: Arc<str>) {
        self.gate.stuck(id, epoch, reason);
    }
}
