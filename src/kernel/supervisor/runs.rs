//! Runs: tasks that carry the same label `run`, wherever they hang.
//!
//! # Invariants
//! 1. A run that was cancelled takes no more tasks while it is remembered: the newest ones are, as
//!    many as the bounds say.
//!
//! *Not here*: how the tasks of a run are stopped (`cancel`, `stop`).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::super::id::TaskId;
use super::super::record::{Cause, Record};
use super::Supervisor;

/// The label that says which run a task belongs to.
pub(super) const RUN_LABEL: &str = "run";

/// The runs that were cancelled last.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Runs {
    max: usize,
    names: BTreeSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl Runs {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            names: BTreeSet::new(),
            order: VecDeque::new(),
        }
    }

    pub(super) fn has(&self, run: &str) -> bool {
        self.names.contains(run)
    }

    /// Remembers a run as cancelled, and forgets the one that was for longest.
    pub(super) fn note(&mut self, run: &Arc<str>) {
        if !self.names.insert(Arc::clone(run)) {
            self.order.retain(|kept| kept != run);
        }
        self.order.push_back(Arc::clone(run));
        while self.order.len() > self.max {
            if let Some(oldest) = self.order.pop_front() {
                self.names.remove(&oldest);
            }
        }
    }
}

impl Supervisor {
    /// The live tasks of a run that have none of it above them, younger trees first.
    pub(super) fn tops_of_run(&self, run: &str) -> Vec<TaskId> {
        let is_of_run = |id: TaskId| {
            let task = self.tasks.get(id);
            task.is_some_and(|task| is_of_run(&task.record, run))
        };
        let mut tops = Vec::new();
        for root in self.forest.roots().rev() {
            tops.extend(self.forest.tops(root, is_of_run));
        }
        tops
    }

    /// After a crash: the runs that were cancelled while tasks of theirs lived.
    pub(super) fn recall_runs(&mut self, records: &[Arc<Record>]) {
        let mut found = Vec::new();
        for record in records {
            if let Some(stop) = &record.stop
                && stop.cause == Cause::Run
                && let Some(run) = record.spec.labels.get(RUN_LABEL)
            {
                found.push((stop.at, Arc::clone(run)));
            }
        }
        found.sort();
        for (_, run) in found {
            self.runs.note(&run);
        }
    }
}

fn is_of_run(record: &Record, run: &str) -> bool {
    let of = record.spec.labels.get(RUN_LABEL);
    of.is_some_and(|of| **of == *run)
}
