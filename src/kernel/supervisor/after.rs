//! Tasks that come after others: what they wait for, and which waits would never end.
//!
//! # Invariants
//! 1. A task is among the dependents of each live dependency once, and `unmet` counts those. One
//!    that has settled is among none: its id may have another life before they end.
//! 2. No task waits, over whatever links, for a task that waits for it: a parent settles after its
//!    children, a child starts after its parent, a task starts after its dependencies.
//!
//! *Not here*: what a task does when its dependency did not complete (`stop`).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::super::event::What;
use super::super::id::TaskId;
use super::super::record::Wait;
use super::super::spec::Spec;
use super::super::state::State;
use super::Supervisor;
use super::protocol::Refusal;

/// What the dependencies of a task say.
pub(super) struct After {
    /// Those that are still to come.
    pub(super) unmet: BTreeSet<TaskId>,
    /// One that has not completed and never will.
    pub(super) failed: Option<TaskId>,
}

impl Supervisor {
    /// Which dependencies are still to come, and whether one has failed already.
    pub(super) fn check_after(&self, spec: &Spec) -> Result<After, Refusal> {
        let (mut unmet, mut failed) = (BTreeSet::new(), None);
        for dependency in &spec.after {
            let state = self.known_state(*dependency);
            let state = state.ok_or(Refusal::UnknownDependency(*dependency))?;
            if !state.is_terminal() {
                unmet.insert(*dependency);
            } else if state != State::Completed {
                failed = failed.or(Some(*dependency));
            }
        }
        if let Some(parent) = spec.parent
            && !unmet.is_empty()
        {
            let above = self.waiting_for(parent);
            if let Some(dependency) = unmet.iter().find(|id| above.contains(id)) {
                return Err(Refusal::DependencyAbove(*dependency));
            }
        }
        Ok(After { unmet, failed })
    }

    /// The live tasks that cannot settle before a new child of `parent` has: those above it, those
    /// that come after one of them with all below, those above these, and so on.
    fn waiting_for(&self, parent: TaskId) -> BTreeSet<TaskId> {
        let mut found = BTreeSet::new();
        let mut stack = vec![parent];
        while let Some(id) = stack.pop() {
            if !found.insert(id) {
                continue;
            }
            stack.extend(self.forest.parent(id));
            let dependents = self.tasks.get(id).map(|task| &task.dependents);
            for dependent in dependents.into_iter().flatten() {
                stack.extend(self.forest.subtree(*dependent));
            }
        }
        found
    }

    /// Makes a pending task wait for its dependencies.
    pub(super) fn link_after(&mut self, id: TaskId, unmet: &BTreeSet<TaskId>) {
        if unmet.is_empty() {
            return;
        }
        self.task(id).unmet = u32::try_from(unmet.len()).unwrap_or(u32::MAX);
        for dependency in unmet {
            self.task(*dependency).dependents.push_back(id);
        }
    }

    /// What a task came after that has settled is nothing to the next life of its id.
    pub(super) fn unlink_after(&mut self, id: TaskId) {
        if self.task(id).unmet == 0 {
            return;
        }
        let spec = Arc::clone(&self.task(id).record.spec);
        for dependency in &spec.after {
            let task = self.tasks.get_mut(*dependency);
            if let Some(ties) = task.and_then(|task| task.ties.written()) {
                take_out(&mut ties.dependents, id);
            }
        }
    }

    /// What a pending task waits for before it can ask for a slot.
    pub(super) fn wait_to_start(&mut self, id: TaskId) -> Option<Wait> {
        let task = self.task(id);
        match (task.unmet, task.awaits_parent) {
            (0, false) => None,
            (0, true) => Some(Wait::ParentStart),
            (unmet, _) => Some(Wait::After(unmet)),
        }
    }

    /// One dependency of a task has completed.
    pub(super) fn dependency_met(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        task.unmet = task.unmet.saturating_sub(1);
        if task.record.state != State::Pending {
            return;
        }
        let wait = self.wait_to_start(id);
        self.set_wait(id, wait.clone());
        match wait {
            None => self.ready.push_back(id),
            Some(wait) => self.emit(id, What::Pending(wait)),
        }
    }
}

/// Many that come after one are stopped in the order in which they came, or the other way round:
/// so it is looked for from both ends, and the shorter side moves up.
fn take_out(all: &mut VecDeque<TaskId>, one: TaskId) {
    let count = all.len();
    let mut nearest = (0..count.div_ceil(2)).flat_map(|at| [at, count - 1 - at]);
    if let Some(at) = nearest.find(|at| all[*at] == one) {
        all.remove(at);
    }
}
