//! The ids of tasks, sorted in each way that a list needs.
//!
//! # Invariants
//! 1. Each row has every id that belongs there, with the state of its task (`sorted`).
//! 2. A scope without tasks takes no room.
//!
//! *Not here*: the records themselves (`mod`), who holds a name (`names`).

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use super::names::Names;
use super::page::{Counts, Direction};
use super::sorted::{Range, Sorted, States};
use crate::kernel::{Filter, Grants, Record, Scope, Seq, Shows, TaskId, Visibility};

/// What is known of the tasks, beside their records.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The newest event that is taken in.
    pub(super) seq: Seq,
    everywhere: Sorted<TaskId>,
    /// Hidden tasks are here, and in no other row over all scopes.
    hidden: Sorted<TaskId>,
    /// By the parent that was asked for, which never changes, and then by id.
    below: Sorted<(TaskId, TaskId)>,
    scopes: HashMap<Scope, InScope>,
    granted: HashMap<Scope, BTreeSet<TaskId>>,
}

#[derive(Debug, Default)]
struct InScope {
    ids: Sorted<TaskId>,
    hidden: Sorted<TaskId>,
}

/// A part of a row: its first `max` ids in this order, or those that come after one of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) after: Option<TaskId>,
    pub(super) order: Direction,
    pub(super) max: usize,
}

impl Cut {
    /// All of it, oldest first.
    pub(super) const ALL: Self = Self {
        after: None,
        order: Direction::OldestFirst,
        max: usize::MAX,
    };
}

/// The row that has all the tasks that a filter can match, and is the shortest one here.
#[derive(Debug)]
pub(super) struct Narrow {
    within: Within,
    states: States,
    shows: Shows,
}

#[derive(Debug)]
enum Within {
    Everywhere,
    Scope(Scope),
    Parent(TaskId),
}

impl Narrow {
    pub(super) fn of(filter: &Filter) -> Self {
        let within = match (filter.parent_wanted(), filter.scope_wanted()) {
            (Some(parent), _) => Within::Parent(parent),
            (None, Some(scope)) => Within::Scope(scope.clone()),
            (None, None) => Within::Everywhere,
        };
        Self {
            within,
            states: States::of(filter),
            shows: filter.shows(),
        }
    }

    /// The live tasks below this one.
    pub(super) fn parent(parent: TaskId) -> Self {
        Self {
            within: Within::Parent(parent),
            states: States::of(&Filter::all().live()),
            shows: Shows::Shown,
        }
    }

    /// Of these tasks only the live ones.
    pub(super) fn live(mut self) -> Self {
        self.states = self.states.live();
        self
    }

    /// Whether the filter matches all of it.
    pub(super) fn is_all_of(&self, filter: &Filter) -> bool {
        let plain = match &self.within {
            Within::Everywhere => Filter::all(),
            Within::Scope(scope) => Filter::all().scope(scope.clone()),
            Within::Parent(parent) => Filter::all().parent(*parent),
        };
        filter.clone().of_all_states() == plain
    }
}

impl Order {
    /// Takes in a record that has come in place of the old one.
    pub(super) fn put(&mut self, names: &Names, old: Option<&Record>, new: &Record) {
        let old = match old {
            Some(old) if old.incarnation != new.incarnation || old.scope() != new.scope() => {
                // Another life of the id may stand elsewhere, and so does a task that was moved.
                self.remove(names, old);
                None
            }
            old => old,
        };
        let grants = old.and_then(|old| old.grants.as_deref());
        self.put_grants(new.id, grants, new.grants.as_deref());
        let is_shown = new.spec.visibility == Visibility::Shown;
        let standing = |record: &Record| (record.state, record.is_held());
        if old.map(standing) == Some(standing(new)) {
            return;
        }
        let row = if is_shown {
            &mut self.everywhere
        } else {
            &mut self.hidden
        };
        row.put(new.id, new.state);
        if let (Some(parent), true) = (new.spec.parent, is_shown) {
            self.below.put((parent, new.id), new.state);
        }
        // A scope is looked up by reference, as it is nearly always there.
        let scope = match self.scopes.get_mut(new.scope()) {
            Some(scope) => scope,
            None => self.scopes.entry(new.scope().clone()).or_default(),
        };
        let row = if is_shown {
            &mut scope.ids
        } else {
            &mut scope.hidden
        };
        row.put(new.id, new.state);
        names.put(new);
    }

    pub(super) fn remove(&mut self, names: &Names, old: &Record) {
        names.release(old);
        self.put_grants(old.id, old.grants.as_deref(), None);
        if old.spec.visibility == Visibility::Shown {
            self.everywhere.remove(&old.id);
        } else {
            self.hidden.remove(&old.id);
        }
        if let Some(parent) = old.spec.parent {
            self.below.remove(&(parent, old.id));
        }
        if let Some(scope) = self.scopes.get_mut(old.scope()) {
            scope.ids.remove(&old.id);
            scope.hidden.remove(&old.id);
            if scope.ids.is_empty() && scope.hidden.is_empty() {
                self.scopes.remove(old.scope());
            }
        }
    }

    /// Most tasks have no grants, before or after.
    fn put_grants(&mut self, id: TaskId, old: Option<&Grants>, new: Option<&Grants>) {
        for scope in old.iter().flat_map(|grants| grants.keys()) {
            if let Some(tasks) = self.granted.get_mut(scope) {
                tasks.remove(&id);
                if tasks.is_empty() {
                    self.granted.remove(scope);
                }
            }
        }
        for scope in new.iter().flat_map(|grants| grants.keys()) {
            self.granted.entry(scope.clone()).or_default().insert(id);
        }
    }

    pub(super) fn granted(&self, scope: &Scope) -> Vec<TaskId> {
        let ids = self.granted.get(scope).into_iter().flatten();
        ids.copied().collect()
    }

    /// How many shown tasks are in each state.
    pub(super) const fn counts(&self) -> Counts {
        self.everywhere.counts()
    }

    /// How many tasks there are.
    pub(super) fn len(&self, narrow: &Narrow) -> usize {
        match &narrow.within {
            Within::Everywhere => self.everywhere.len(narrow.states),
            Within::Scope(scope) => {
                let scope = self.scopes.get(scope);
                scope.map_or(0, |scope| scope.ids.len(narrow.states))
            }
            Within::Parent(parent) => {
                let children = children(*parent, Cut::ALL);
                self.below.count(narrow.states, children)
            }
        }
    }

    /// The part of its ids that `cut` means.
    pub(super) fn chunk(&self, narrow: &Narrow, cut: Cut) -> Vec<TaskId> {
        match narrow.shows {
            Shows::Shown => self.shown(narrow, cut),
            Shows::Hidden => self.hidden(narrow, cut),
            Shows::Both => {
                let mut ids = self.shown(narrow, cut);
                ids.extend(self.hidden(narrow, cut));
                ids.sort_unstable();
                if cut.order == Direction::NewestFirst {
                    ids.reverse();
                }
                ids.truncate(cut.max);
                ids
            }
        }
    }

    fn hidden(&self, narrow: &Narrow, cut: Cut) -> Vec<TaskId> {
        let ids = match &narrow.within {
            Within::Everywhere | Within::Parent(_) => Some(&self.hidden),
            Within::Scope(scope) => self.scopes.get(scope).map(|scope| &scope.hidden),
        };
        ids.map_or_else(Vec::new, |ids| part(ids, narrow.states, cut))
    }

    fn shown(&self, narrow: &Narrow, cut: Cut) -> Vec<TaskId> {
        let ids = match &narrow.within {
            Within::Everywhere => Some(&self.everywhere),
            Within::Scope(scope) => self.scopes.get(scope).map(|scope| &scope.ids),
            Within::Parent(parent) => {
                let children = children(*parent, cut);
                let below = self.below.part(narrow.states, children, cut.order, cut.max);
                return below.into_iter().map(|(_, id)| id).collect();
            }
        };
        ids.map_or_else(Vec::new, |ids| part(ids, narrow.states, cut))
    }
}

fn part(ids: &Sorted<TaskId>, states: States, cut: Cut) -> Vec<TaskId> {
    ids.part(states, bounds(cut), cut.order, cut.max)
}

/// What comes after an id in this direction.
fn bounds(Cut { after, order, .. }: Cut) -> Range<TaskId> {
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    match order {
        Direction::OldestFirst => (start, Bound::Unbounded),
        Direction::NewestFirst => (Bound::Unbounded, start),
    }
}

/// The same among the children of one task.
fn children(parent: TaskId, cut: Cut) -> Range<(TaskId, TaskId)> {
    let (first, last) = bounds(cut);
    let below = |bound: Bound<TaskId>, outermost: u128| match bound {
        Bound::Unbounded => Bound::Included((parent, TaskId::from_u128(outermost))),
        Bound::Included(id) => Bound::Included((parent, id)),
        Bound::Excluded(id) => Bound::Excluded((parent, id)),
    };
    (below(first, 0), below(last, u128::MAX))
}
