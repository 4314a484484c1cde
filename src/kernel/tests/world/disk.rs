//! The disk of the world: batches in flight, made durable one after another; a crash keeps a
//! prefix.
//!
//! It promises what the trait of the stores promises, and no more: a batch is there as a whole or
//! not at all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::kernel::{Record, Scope, Seq, Step, TaskId};

#[derive(Debug, Default)]
pub(in crate::kernel_tests) struct Disk {
    pub(in crate::kernel_tests) records: BTreeMap<TaskId, Arc<Record>>,
    /// The newest event in the log.
    pub(in crate::kernel_tests) seq: Seq,
    /// The scopes that were closed last.
    pub(in crate::kernel_tests) closed: BTreeSet<Scope>,
    flight: VecDeque<Step>,
}

impl Disk {
    /// Sends a batch on its way, or lets it join the newest one in flight (a group commit).
    pub(in crate::kernel_tests) fn write(&mut self, step: Step, joins: bool) {
        match self.flight.back_mut() {
            Some(newest) if joins => {
                newest.records.extend(step.records);
                newest.removed.extend(step.removed);
                newest.events.extend(step.events);
                newest.effects.extend(step.effects);
                newest.closed = step.closed.or(newest.closed.take());
            }
            Some(_) | None => self.flight.push_back(step),
        }
    }

    pub(in crate::kernel_tests) fn in_flight(&self) -> usize {
        self.flight.len()
    }

    /// Makes the oldest batch in flight durable and hands it out.
    pub(in crate::kernel_tests) fn commit(&mut self) -> Option<Step> {
        let step = self.flight.pop_front()?;
        for record in &step.records {
            self.records.insert(record.id, Arc::clone(record));
        }
        for id in &step.removed {
            self.records.remove(id);
        }
        if let Some(closed) = &step.closed {
            self.closed.clone_from(closed);
        }
        if let Some(event) = step.events.last() {
            self.seq = event.seq;
        }
        Some(step)
    }

    /// Lets the second batch in flight overtake the first.
    pub(in crate::kernel_tests) fn reorder(&mut self) {
        if self.flight.len() > 1 {
            self.flight.swap(0, 1);
        }
    }

    /// Loses what is in flight.
    pub(in crate::kernel_tests) fn lose(&mut self) {
        self.flight.clear();
    }
}
