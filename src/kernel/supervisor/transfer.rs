//! Moving live tasks, with everything below them, to another scope.
//!
//! # Invariants
//! 1. All that is meant moves in one step, or nothing.
//! 2. A task is in the scope of its parent, before and after.
//! 3. What runs goes on: its slot of the old scope's limit becomes one of the new scope's.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::admission::{ClassFull, ClassSet};
use super::super::event::What;
use super::super::id::{Name, Scope, TaskId};
use super::super::spec::{Spec, Visibility};
use super::super::state::State;
use super::Bug;
use super::Supervisor;
use super::task::{Slot, Task};

/// What became of each task that a transfer meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransferReport {
    /// In the scope now: the tasks named, each followed by what is below it.
    pub moved: Vec<TaskId>,
    /// In the scope before.
    pub already_there: Vec<TaskId>,
    /// Settled, so their records stay where they are.
    pub ended: Vec<TaskId>,
    /// Never accepted, or their records are no longer kept.
    pub unknown: Vec<TaskId>,
}

/// Why nothing was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferRefusal {
    /// The scope is closed.
    ScopeClosed(Scope),
    /// The name is held by this task there, or by another one that was to be moved.
    NameTaken(Name, TaskId),
    /// The key of a task is bound to this one there.
    KeyTaken(TaskId),
    /// A task would double this one, which is in flight there.
    FlightTaken(TaskId),
    /// The first task is below the second one, which was not to be moved.
    BelowAnother(TaskId, TaskId),
    /// The limit of the scope has no room for what runs or waits.
    LimitReached(ClassFull),
}

impl Supervisor {
    pub(super) fn transfer(
        &mut self,
        ids: &[TaskId],
        to: &Scope,
    ) -> Result<TransferReport, TransferRefusal> {
        let (mut report, tops) = self.sort_out(ids, to);
        if tops.is_empty() {
            return Ok(report);
        }
        if self.closed.contains(to) {
            return Err(TransferRefusal::ScopeClosed(to.clone()));
        }
        let wanted: BTreeSet<_> = tops.iter().copied().collect();
        for top in tops {
            match self.forest.parent(top) {
                None if self.planted(Bug::FamilyTorn) => report.moved.push(top),
                None => report.moved.extend(self.forest.subtree(top)),
                // It goes with the one above it that is moved, too.
                Some(_) if self.above(top).any(|above| wanted.contains(&above)) => {}
                Some(parent) => return Err(TransferRefusal::BelowAnother(top, parent)),
            }
        }
        self.check_free(&report.moved, to)?;
        self.check_room(&report.moved, to)?;
        let waits: Vec<_> = report
            .moved
            .iter()
            .map(|id| self.withdraw(*id) || self.awaits_executor(*id) || self.not_yet_started(*id))
            .collect();
        for (id, waits) in report.moved.iter().zip(waits) {
            self.carry_over(*id, to);
            if waits {
                self.ready.push_back(*id);
            }
        }
        Ok(report)
    }

    /// Which of the tasks can be moved, and what becomes of the others.
    fn sort_out(&self, ids: &[TaskId], to: &Scope) -> (TransferReport, Vec<TaskId>) {
        let (mut report, mut tops) = (TransferReport::default(), Vec::new());
        let mut seen = BTreeSet::new();
        for id in ids.iter().copied().filter(|id| seen.insert(*id)) {
            match self.tasks.get(id) {
                Some(task) if task.record.state.is_terminal() => report.ended.push(id),
                Some(task) if task.record.spec.scope == *to => report.already_there.push(id),
                Some(_) => tops.push(id),
                None if self.settled.contains(id) => report.ended.push(id),
                None => report.unknown.push(id),
            }
        }
        (report, tops)
    }

    /// The tasks above one, from its parent up to its root.
    pub(super) fn above(&self, id: TaskId) -> impl Iterator<Item = TaskId> + '_ {
        std::iter::successors(self.forest.parent(id), |above| self.forest.parent(*above))
    }

    /// Whether names, keys and flights are free in the scope.
    fn check_free(&self, moving: &[TaskId], to: &Scope) -> Result<(), TransferRefusal> {
        let mut names = BTreeSet::new();
        for id in moving {
            let spec = self.moved_spec(*id, to);
            if let Some(name) = &spec.name {
                let holder = self.names.holder(to, name);
                let holder = holder.or_else(|| (!names.insert(name.clone())).then_some(*id));
                if let Some(holder) = holder {
                    return Err(TransferRefusal::NameTaken(name.clone(), holder));
                }
            }
            if let Some(bound) = spec.key.as_ref().and_then(|key| self.names.bound(to, key)) {
                return Err(TransferRefusal::KeyTaken(bound));
            }
            if let Some(other) = self.names.in_flight(&spec).filter(|other| other != id) {
                return Err(TransferRefusal::FlightTaken(other));
            }
        }
        let mut keys = BTreeSet::new();
        let mut flights = BTreeSet::new();
        for id in moving {
            let spec = &self.tasks[*id].record.spec;
            if !spec.key.iter().all(|key| keys.insert(key.clone())) {
                return Err(TransferRefusal::KeyTaken(*id));
            }
            if !spec
                .flight
                .iter()
                .all(|flight| flights.insert(flight.clone()))
            {
                return Err(TransferRefusal::FlightTaken(*id));
            }
        }
        Ok(())
    }

    fn check_room(&self, moving: &[TaskId], to: &Scope) -> Result<(), TransferRefusal> {
        let (mut held, mut queued) = (0, 0);
        for task in moving.iter().map(|id| &self.tasks[*id]) {
            // Who ran above a limit has no right to do so elsewhere.
            let counts = task.record.spec.visibility == Visibility::Shown;
            let waits = task.queued.is_some() || is_admitted(task);
            held += u32::from(task.slot == Slot::Held && counts && !waits);
            queued += u32::from(waits && counts);
        }
        let room = self.admission.check_arrivals(to, held, queued);
        room.map_err(TransferRefusal::LimitReached)
    }

    fn moved_spec(&self, id: TaskId, to: &Scope) -> Spec {
        let mut spec = Spec::clone(&self.tasks[id].record.spec);
        spec.scope = to.clone();
        spec
    }

    /// Takes back the slots of a task that was given them in this step and does not run yet, and
    /// tells whether it was one: only what runs may raise a limit above its size.
    fn not_yet_started(&mut self, id: TaskId) -> bool {
        let waits = is_admitted(self.task(id));
        if waits {
            self.starts.retain(|other| *other != id);
            self.give_back_slot(id);
        }
        waits
    }

    fn carry_over(&mut self, id: TaskId, to: &Scope) {
        let spec = Arc::new(self.moved_spec(id, to));
        let mut classes = self.admission.classes_left_of(&spec);
        let task = self.task(id);
        let (inline, before) = (task.record.inline, Arc::clone(&task.record.spec));
        if inline {
            self.admission.waive(&mut classes);
        }
        self.names.carry_over(id, &before, &spec);
        self.edit(id).spec = spec;
        let (from, to) = (before.scope.clone(), to.clone());
        self.emit(id, What::Transferred { from, to });
        self.admission.join(&classes);
        let left = std::mem::replace(&mut self.task(id).classes, classes.clone());
        if self.task(id).slot == Slot::Held && !self.planted(Bug::SlotNotMoved) {
            self.admission.take(&without(&classes, &left));
            self.release_slots(&without(&left, &classes));
        }
        self.admission.leave(&left);
    }
}

/// Whether a task holds slots with which it has not started.
fn is_admitted(task: &Task) -> bool {
    task.slot == Slot::Held && task.record.state == State::Pending
}

fn without(set: &ClassSet, other: &ClassSet) -> ClassSet {
    let is_left = |at: &&u32| !other.contains(at);
    set.iter().filter(is_left).copied().collect()
}
