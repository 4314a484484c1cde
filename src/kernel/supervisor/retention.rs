//! How long settled records are kept: by their outcomes, and as long as the host wants them.
//!
//! # Invariants
//! 1. Only what is settled and stopped is removed, and its key with it.
//! 2. A time that is noted is that of the record that is kept: it goes with the record.
//! 3. A record that ended later than now, as the clock went back, counts as ended when it was read.
//! 4. One tick removes at most [`SWEEP_MAX`] records; what is left over is due again at once.
//!
//! *Not here*: the bound on their number (`settle`).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::id::{Seq, TaskId};
use super::super::record::Record;
use super::super::state::State;
use super::super::time::Timestamp;
use super::Bug;
use super::Supervisor;

/// Most records that one step removes because their time is over.
const SWEEP_MAX: usize = 256;
/// Removed ids whose places in the order of settled tasks are let be.
const PLACES_MAX: usize = 1_024;

/// How many records were removed, by their states.
pub type Removed = BTreeMap<State, usize>;

impl Supervisor {
    /// Notes when the record of a settled task is to go, if it is.
    pub(super) fn expire_later(&mut self, id: TaskId) {
        if !self.bounds.retain.is_empty() && !self.planted(Bug::KeptTooLong) {
            let settled = self.settled.get(id);
            let expiry = settled.and_then(|settled| self.expiry(settled));
            self.expiring.extend(expiry.map(|at| (at, id)));
        }
    }

    fn expiry(&self, settled: &Record) -> Option<Timestamp> {
        let kept_for = self.bounds.retain.get(&settled.state)?;
        let kept_for = if self.planted(Bug::RemovedEarly) {
            *kept_for / 2
        } else {
            *kept_for
        };
        let ended_at = self
            .ended_ahead
            .get(&settled.id)
            .copied()
            .or(settled.ended_at)?;
        Some(ended_at.after(kept_for))
    }

    /// Notes that a record that is read may have ended later than now.
    pub(super) fn note_ended(&mut self, settled: &Record) {
        if settled.ended_at > Some(self.now) {
            self.ended_ahead.insert(settled.id, self.now);
        }
    }

    /// Removes the records whose time is over, some at a time, and tells how many of which state.
    pub(super) fn sweep(&mut self) -> Removed {
        let mut removed = Removed::new();
        for _ in 0..SWEEP_MAX {
            let Some((at, id)) = self.expiring.first().copied() else {
                break;
            };
            if at > self.now {
                break;
            }
            self.expiring.pop_first();
            self.remove_settled(id, &mut removed);
        }
        removed
    }

    /// Removes these records, but for those of tasks that are live or unknown, and for those that
    /// have changed.
    pub(super) fn remove_all(&mut self, chosen: &[(TaskId, Seq)]) -> Removed {
        let mut removed = Removed::new();
        for (id, seq) in chosen {
            let settled = self.settled.get(*id);
            if settled.is_some_and(|settled| settled.seq == *seq) {
                self.remove_settled(*id, &mut removed);
            }
        }
        removed
    }

    /// An abandoned body holds its record until it has stopped.
    fn remove_settled(&mut self, id: TaskId, removed: &mut Removed) {
        if self.tasks.contains(id) {
            return;
        }
        let Some(settled) = self.drop_settled(id) else {
            return;
        };
        *removed.entry(settled.state).or_default() += 1;
        self.out.removed.push(id);
        self.vacated.insert(id);
        if self.vacated.len() > self.settled.len() / 2 + PLACES_MAX {
            self.close_ranks();
        }
    }

    /// Lets go of a settled record, and with it of its key, its grants and its time.
    pub(super) fn drop_settled(&mut self, id: TaskId) -> Option<Arc<Record>> {
        let settled = self.settled.remove(id)?;
        if let Some(at) = self.expiry(&settled) {
            self.expiring.remove(&(at, id));
        }
        self.ended_ahead.remove(&id);
        self.names.free_key(id);
        self.granted.forget(&settled);
        Some(settled)
    }

    /// Drops the places that removed ids left in the order of settled tasks.
    pub(super) fn close_ranks(&mut self) {
        let settled = &self.settled;
        self.settled_order.retain(|(id, incarnation)| {
            let kept = settled.get(*id);
            kept.is_some_and(|kept| kept.incarnation == *incarnation)
        });
        self.vacated.clear();
    }
}
