//! Which live task holds a name, and which task a key is bound to.
//!
//! # Invariants
//! 1. A name of a scope has at most one holder. It is free again only when its holder released it.
//! 2. So has a flight.
//! 3. Releasing is for the holder: releasing what another task holds changes nothing.
//!
//! *Not here*: when a name is released (`supervisor`), reading names from outside (the index).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::id::{Key, Name, Scope, TaskId};
use super::spec::{Flight, Reach, Spec};
use super::time::Timestamp;

/// Names and keys of all scopes.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Names {
    holders: BTreeMap<Scope, BTreeMap<Name, TaskId>>,
    keys: BTreeMap<(Scope, Key), (TaskId, Arc<Spec>)>,
    /// Which key is bound to a task, and until when at least.
    key_of: BTreeMap<TaskId, (KeySlot, Timestamp)>,
    flights: BTreeMap<(Option<Scope>, Flight), TaskId>,
}

type KeySlot = (Scope, Key);

/// What a key says about asking again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyCheck {
    /// Nobody asked with it.
    Free,
    /// The same was asked before and this task came of it.
    Same(TaskId),
    /// Something else was asked with it before.
    Conflict(TaskId, String),
}

impl Names {
    pub(super) fn holder(&self, scope: &Scope, name: &Name) -> Option<TaskId> {
        self.holders.get(scope)?.get(name).copied()
    }

    pub(super) fn reserve(&mut self, scope: &Scope, name: &Name, task: TaskId) {
        let names = self.holders.entry(scope.clone()).or_default();
        let before = names.insert(name.clone(), task);
        assert!(
            before.is_none(),
            "names invariant 1: {name} of {scope} has a holder"
        );
    }

    pub(super) fn release(&mut self, scope: &Scope, name: &Name, task: TaskId) {
        let Some(names) = self.holders.get_mut(scope) else {
            return;
        };
        if names.get(name) == Some(&task) {
            names.remove(name);
        }
        if names.is_empty() {
            self.holders.remove(scope);
        }
    }

    pub(super) fn check_key(&self, spec: &Spec, key: &Key) -> KeyCheck {
        match self.keys.get(&(spec.scope.clone(), key.clone())) {
            None => KeyCheck::Free,
            Some((task, bound)) => match bound.difference(spec) {
                None => KeyCheck::Same(*task),
                Some(wish) => KeyCheck::Conflict(*task, wish),
            },
        }
    }

    pub(super) fn bind_key(&mut self, key: &Key, task: TaskId, spec: &Arc<Spec>, until: Timestamp) {
        let slot = (spec.scope.clone(), key.clone());
        self.keys.insert(slot.clone(), (task, Arc::clone(spec)));
        self.key_of.insert(task, (slot, until));
    }

    /// Frees the key that is bound to a task, if its window is over.
    pub(super) fn free_key_due(&mut self, task: TaskId, now: Timestamp) {
        if self
            .key_of
            .get(&task)
            .is_some_and(|(_, until)| *until <= now)
        {
            self.free_key(task);
        }
    }

    /// The task that a task of this flight would double.
    pub(super) fn in_flight(&self, spec: &Spec) -> Option<TaskId> {
        self.flights.get(&flight_slot(spec)?).copied()
    }

    pub(super) fn take_off(&mut self, spec: &Spec, task: TaskId) {
        if let Some(slot) = flight_slot(spec) {
            self.flights.insert(slot, task);
        }
    }

    pub(super) fn land(&mut self, spec: &Spec, task: TaskId) {
        if let Some(slot) = flight_slot(spec)
            && self.flights.get(&slot) == Some(&task)
        {
            self.flights.remove(&slot);
        }
    }

    /// The task that a key of a scope is bound to.
    pub(super) fn bound(&self, scope: &Scope, key: &Key) -> Option<TaskId> {
        let bound = self.keys.get(&(scope.clone(), key.clone()));
        bound.map(|(task, _)| *task)
    }

    /// What a task holds in the scope of one spec it holds in that of the other from now on. There
    /// it must be free.
    pub(super) fn carry_over(&mut self, task: TaskId, from: &Spec, to: &Arc<Spec>) {
        if let Some(name) = &from.name {
            self.release(&from.scope, name, task);
            self.reserve(&to.scope, name, task);
        }
        self.land(from, task);
        self.take_off(to, task);
        if let Some((_, until)) = self.key_of.get(&task).cloned()
            && let Some(key) = &to.key
        {
            self.free_key(task);
            self.bind_key(key, task, to, until);
        }
    }

    /// Frees the key that is bound to a task.
    pub(super) fn free_key(&mut self, task: TaskId) {
        let Some((slot, _)) = self.key_of.remove(&task) else {
            return;
        };
        if self
            .keys
            .get(&slot)
            .is_some_and(|(bound, _)| *bound == task)
        {
            self.keys.remove(&slot);
        }
    }

    /// Every name held, for checkers.
    #[cfg(test)]
    pub(super) fn all(&self) -> std::collections::BTreeSet<(Scope, Name, TaskId)> {
        let of_scope = |(scope, names): (&Scope, &BTreeMap<Name, TaskId>)| {
            let row = |(name, task): (&Name, &TaskId)| (scope.clone(), name.clone(), *task);
            names.iter().map(row).collect::<Vec<_>>()
        };
        self.holders.iter().flat_map(of_scope).collect()
    }
}

fn flight_slot(spec: &Spec) -> Option<(Option<Scope>, Flight)> {
    let flight = spec.flight.clone()?;
    Some(match spec.flight_reach {
        Reach::Scope => (Some(spec.scope.clone()), flight),
        Reach::Manager => (None, flight),
    })
}
