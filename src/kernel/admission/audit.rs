//! The queues looked at from within: slots and lanes, checked against the tasks that hold and stand
//! in them.
//!
//! *Not here*: which task holds a slot (`supervisor/audit.rs`).

use std::collections::BTreeMap;

use super::super::id::{Scope, TaskId};
use super::{Admission, ClassSet, ClassState};

impl Admission {
    /// Whether slots and queues are those of these tasks, for checkers.
    pub(in crate::kernel) fn audit<'a>(
        &self,
        holders: impl Iterator<Item = &'a ClassSet>,
        queued: impl Iterator<Item = (TaskId, &'a Scope, &'a ClassSet)>,
    ) -> Result<(), String> {
        let mut in_use = vec![0; self.classes.len()];
        let mut waiting = in_use.clone();
        holders.flatten().for_each(|at| in_use[*at as usize] += 1);
        let mut standing = 0;
        for (task, scope, set) in queued {
            standing += 1;
            for at in set {
                waiting[*at as usize] += 1;
            }
            let lane = self.lanes.get(&(scope.clone(), set.clone()));
            if !lane.is_some_and(|lane| lane.values().any(|other| *other == task)) {
                return Err(format!("admission: {task} stands in no lane"));
            }
            let parked_at = |state: &&ClassState| {
                let lanes = state.parked.get(scope);
                lanes.is_some_and(|lanes| lanes.contains(set))
            };
            let at: Vec<_> = self.classes.iter().filter(parked_at).collect();
            if at.len() != 1 || at[0].has_room() {
                return Err(format!(
                    "admission invariant 1: the lane of {task} at {at:?}"
                ));
            }
        }
        let lanes: usize = self.lanes.values().map(BTreeMap::len).sum();
        let fits = |(at, state): (usize, &ClassState)| {
            let turns = state.turns.len() == state.parked.len()
                && state
                    .turns
                    .iter()
                    .all(|scope| state.parked.contains_key(scope));
            (state.in_use, state.waiting) == (in_use[at], waiting[at]) && turns
        };
        let all_fit = self.classes.iter().enumerate().all(fits);
        if lanes == standing && all_fit {
            Ok(())
        } else {
            Err(format!(
                "admission: {in_use:?} held, {waiting:?} waiting: {self:?}"
            ))
        }
    }

    /// Slots in use over all classes, for checkers.
    pub(in crate::kernel) fn in_use(&self) -> Vec<(String, u32, u32, u32)> {
        let row = |at: &u32| {
            let full = self.classes[*at as usize].describe();
            (full.class.to_string(), full.in_use, full.size, full.waiting)
        };
        self.index.values().map(row).collect()
    }
}
