//! Grants: how far other scopes may go with a task, and which tasks nobody refers to.
//!
//! # Invariants
//! 1. Grants are part of the record: they survive a crash and go with the record. They can be taken
//!    back from one that has settled, too.
//! 2. `granted` has exactly the kept tasks with grants, by the scopes that hold them.
//! 3. A closed scope holds no grant, and is given none.
//!
//! *Not here*: what a scope does with a grant (`api`), but for cancels, which are checked in the
//! step that decides them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::event::What;
use super::super::grant::{GRANTS_MAX, Grant, Grants};
use super::super::id::{Scope, TaskId};
use super::super::record::Record;
use super::super::state::State;
use super::Supervisor;

/// What is to become of the grants of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantChange {
    /// This scope gets it, in place of one that it may hold.
    Give {
        /// Who.
        to: Scope,
        /// What.
        grant: Grant,
    },
    /// This scope loses it.
    Take {
        /// Who.
        from: Scope,
    },
    /// The one loses it and the other one gets it.
    Pass {
        /// Who had it.
        from: Scope,
        /// Who has it from now on.
        to: Scope,
    },
}

/// Why no grant changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantRefusal {
    /// No such task is known.
    Unknown(TaskId),
    /// The task has ended in this state: no other scope gets a grant any more.
    Ended(State),
    /// The task is of that scope, which needs no grant.
    Owner(Scope),
    /// The scope holds none that it could pass on.
    NotHeld(Scope),
    /// The scope is closed.
    ScopeClosed(Scope),
    /// So many scopes hold grants of the task: the most that may.
    TooMany(usize),
}

/// Who holds grants of what.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Granted {
    held: BTreeMap<Scope, BTreeSet<TaskId>>,
}

impl Granted {
    /// Takes note of the grants of a record that has become known.
    pub(super) fn note(&mut self, record: &Record) {
        for scope in record.grants.iter().flat_map(|grants| grants.keys()) {
            self.hold(scope, record.id);
        }
    }

    /// Lets go of a settled record that is no longer kept.
    pub(super) fn forget(&mut self, record: &Record) {
        for scope in record.grants.iter().flat_map(|grants| grants.keys()) {
            self.let_go(scope, record.id);
        }
    }

    fn hold(&mut self, scope: &Scope, id: TaskId) {
        self.held.entry(scope.clone()).or_default().insert(id);
    }

    fn let_go(&mut self, scope: &Scope, id: TaskId) {
        if let Some(tasks) = self.held.get_mut(scope) {
            tasks.remove(&id);
            if tasks.is_empty() {
                self.held.remove(scope);
            }
        }
    }

    fn of(&self, scope: &Scope) -> BTreeSet<TaskId> {
        self.held.get(scope).cloned().unwrap_or_default()
    }

    #[cfg(test)]
    #[allow(dead_code, reason = "used by the proofs, which the library declares")]
    pub(super) fn facts(&self) -> BTreeSet<(Scope, TaskId)> {
        let held = self.held.iter();
        let held = held.flat_map(|(scope, ids)| ids.iter().map(|id| (scope.clone(), *id)));
        held.collect()
    }
}

impl Supervisor {
    /// Changes who holds a grant of a task; tells whether anything changed.
    pub(super) fn change_grants(
        &mut self,
        id: TaskId,
        change: GrantChange,
    ) -> Result<bool, GrantRefusal> {
        let state = self.known_state(id).ok_or(GrantRefusal::Unknown(id))?;
        let record = match self.tasks.get(id) {
            Some(task) => Some(&task.record),
            None => self.settled.get(id),
        };
        let before = record.and_then(|record| record.grants.as_deref());
        let before = before.cloned().unwrap_or_default();
        let (from, given) = match change {
            GrantChange::Give { to, grant } => (None, Some((to, grant))),
            GrantChange::Take { from } => (Some(from), None),
            GrantChange::Pass { from, to } => {
                let grant = before.get(&from).copied();
                let grant = grant.ok_or_else(|| GrantRefusal::NotHeld(from.clone()))?;
                (Some(from), Some((to, grant)))
            }
        };
        let mut after = before.clone();
        if let Some(from) = &from {
            after.remove(from);
        }
        if let Some((to, grant)) = &given {
            self.check_receiver(id, state, to)?;
            after.insert(to.clone(), *grant);
        }
        if after.len() > GRANTS_MAX {
            return Err(GrantRefusal::TooMany(GRANTS_MAX));
        }
        if after == before {
            return Ok(false);
        }
        self.write_grants(id, &before, after);
        Ok(true)
    }

    fn check_receiver(&self, id: TaskId, state: State, to: &Scope) -> Result<(), GrantRefusal> {
        if state.is_terminal() {
            return Err(GrantRefusal::Ended(state));
        }
        if self.tasks[id].record.spec.scope == *to {
            return Err(GrantRefusal::Owner(to.clone()));
        }
        if self.closed.contains(to) {
            return Err(GrantRefusal::ScopeClosed(to.clone()));
        }
        Ok(())
    }

    /// Writes the grants down, with an event for each that is new or gone.
    fn write_grants(&mut self, id: TaskId, before: &Grants, after: Grants) {
        let mut events = Vec::new();
        for scope in before.keys().filter(|scope| !after.contains_key(*scope)) {
            self.granted.let_go(scope, id);
            events.push(What::Revoked {
                from: scope.clone(),
            });
        }
        for (scope, grant) in &after {
            if before.get(scope) != Some(grant) {
                self.granted.hold(scope, id);
                let (to, grant) = (scope.clone(), *grant);
                events.push(What::Granted { to, grant });
            }
        }
        let after = (!after.is_empty()).then(|| Arc::new(after));
        if self.tasks.contains(id) {
            self.edit(id).grants = after;
            for event in events {
                self.emit(id, event);
            }
        } else if let Some(record) = self.settled.get(id) {
            let mut record = Record::clone(record);
            record.grants = after;
            self.amend(record, events);
        }
    }

    /// Takes back every grant that a scope holds; tells of which tasks.
    pub(super) fn revoke_all(&mut self, scope: &Scope) -> Vec<TaskId> {
        let ids: Vec<_> = self.granted.of(scope).into_iter().collect();
        for id in &ids {
            let change = GrantChange::Take {
                from: scope.clone(),
            };
            let revoked = self.change_grants(*id, change);
            debug_assert_eq!(revoked, Ok(true));
        }
        ids
    }

    /// Whether a scope may cancel a task, as its own or by a grant of it or of one above it.
    ///
    /// Nothing happens to one that has ended: who asks has looked whether it may know of it.
    pub(super) fn may_cancel(&self, scope: &Scope, id: TaskId) -> bool {
        let Some(task) = self.tasks.get(id) else {
            return true;
        };
        let lets = |id: TaskId| self.grant(id, scope) == Some(Grant::Cancel);
        task.record.spec.scope == *scope || lets(id) || self.above(id).any(lets)
    }

    fn grant(&self, id: TaskId, scope: &Scope) -> Option<Grant> {
        let grants = self.tasks.get(id)?.record.grants.as_ref()?;
        grants.get(scope).copied()
    }

    /// The live tasks that a scope may cancel and that have no such task above them, younger trees
    /// first.
    pub(super) fn tops_for(&self, scope: &Scope) -> Vec<TaskId> {
        let granted = self.granted.of(scope);
        let is_meant = |id: TaskId| {
            let is_granted = || self.grant(id, scope) == Some(Grant::Cancel);
            self.tasks[id].record.spec.scope == *scope || (granted.contains(&id) && is_granted())
        };
        let mut tops = Vec::new();
        for root in self.forest.roots().rev() {
            tops.extend(self.forest.tops(root, is_meant));
        }
        tops
    }

    /// The roots of the trees that nobody refers to, younger ones first: their scope is closed, and
    /// no other scope holds a grant of any task of the tree. One with a task of `keep` is left out.
    pub(super) fn unreferenced(&self, keep: &BTreeSet<TaskId>) -> Vec<TaskId> {
        let is_referenced = |id: &TaskId| {
            let task = self.tasks.get(*id);
            keep.contains(id) || task.is_some_and(|task| task.record.grants.is_some())
        };
        let is_alone = |root: &TaskId| {
            self.closed.contains(&self.tasks[*root].record.spec.scope)
                && !self.forest.subtree(*root).iter().any(is_referenced)
        };
        self.forest.roots().rev().filter(is_alone).collect()
    }
}
