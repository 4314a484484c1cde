//! Tasks that the store knows and this process does not: what a process holds of a task is made
//! anew before anything of it starts.
//!
//! # Invariants
//! 1. Every task that has not settled is in `lives` when the manager begins, so that its end is
//!    heard and its next attempt finds its work.
//!
//! *Not here*: which tasks run again (`kernel/supervisor/recover.rs`), executors (the public face).

use std::sync::Arc;

use tokio::sync::SetOnce;

use super::hub::Hub;
use crate::engine::Live;
use crate::inbox::{DeadLetters, Inbox};
use crate::kernel::{Body, Origin, Record};

type Make = Box<dyn Fn(&Record) -> Option<Live> + Send + Sync>;

/// Who knows how to run a task of another process.
#[derive(Default)]
pub(super) struct Reviver(SetOnce<Make>);

impl std::fmt::Debug for Reviver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Reviver").finish_non_exhaustive()
    }
}

impl Hub {
    /// Sets who makes the tasks of another process anew; before the actors start.
    pub(crate) fn on_revive(&self, make: impl Fn(&Record) -> Option<Live> + Send + Sync + 'static) {
        let _is_first = self.reviver.0.set(Box::new(make)).is_ok();
    }

    /// Makes what this process lacks of the tasks in these records.
    pub(super) fn revive(&self, records: &[Arc<Record>]) {
        let Some(make) = self.reviver.0.get() else {
            return;
        };
        for record in records {
            if record.state.is_terminal() || self.lives.contains_key(&record.id) {
                continue;
            }
            if let Some(live) = make(record) {
                // An external one goes on elsewhere as if nothing had happened.
                if record.spec.origin == Origin::External && record.body == Body::Live {
                    live.begin(record.epoch, self.clock.now().as_micros());
                }
                self.lives.insert(record.id, Arc::new(live));
            }
        }
    }

    /// The inbox of a task that is made anew: what was in it went with its process.
    pub(crate) fn mail_of(&self, inbox: Inbox) -> (Inbox, Arc<DeadLetters>) {
        (inbox, Arc::clone(&self.dead))
    }
}
