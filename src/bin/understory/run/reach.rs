//! Which tasks a caller may see and change, and how it names them.
//!
//! # Invariants
//! 1. What is not within reach is answered exactly like what does not exist.
//!
//! *Not here*: what is done with a task (`calls`).

use std::sync::Arc;

use understory::{Filter, Manager, Name, Page, Record, State, TaskId};

/// A part of the forest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach<'a> {
    manager: &'a Manager,
    caller: Option<TaskId>,
    part: Part,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Everything,
    /// This task and all below it.
    Below(TaskId),
    /// All tasks under this root.
    Under(TaskId),
}

impl<'a> Reach<'a> {
    /// The whole run.
    pub(super) fn everything(manager: &'a Manager) -> Self {
        Self {
            manager,
            caller: None,
            part: Part::Everything,
        }
    }

    /// A task and what is below it.
    pub(super) fn below(manager: &'a Manager, caller: TaskId) -> Self {
        Self {
            manager,
            caller: Some(caller),
            part: Part::Below(caller),
        }
    }

    /// The tree that a task is part of.
    pub(super) fn around(manager: &'a Manager, caller: TaskId) -> Self {
        let root = manager.get(caller).map_or(caller, |record| record.root);
        Self {
            manager,
            caller: Some(caller),
            part: Part::Under(root),
        }
    }

    /// Whether a task is within reach.
    pub(super) fn holds(&self, record: &Record) -> bool {
        match self.part {
            Part::Everything => true,
            Part::Under(root) => record.root == root,
            Part::Below(top) => record.id == top || self.above(record).any(|id| id == top),
        }
    }

    /// The tasks above one, the nearest first.
    pub(super) fn above(&self, record: &Record) -> impl Iterator<Item = TaskId> + 'a {
        let manager = self.manager;
        std::iter::successors(record.parent, move |id| {
            manager.get(*id).and_then(|record| record.parent)
        })
    }

    /// All tasks within reach, in the order in which they were made; a page at a time, so that
    /// nothing is held while they are looked at.
    pub(super) fn all(&self, filter: Filter) -> impl Iterator<Item = Arc<Record>> + 'a {
        let (this, manager) = (*self, self.manager);
        let mut page = Some(Page::default().oldest_first());
        let pages = std::iter::from_fn(move || {
            let listing = manager.list(&filter, &page.take()?);
            let next = listing.next;
            page = next.map(|next| Page::default().oldest_first().after(next));
            Some(listing.records)
        });
        pages.flatten().filter(move |record| this.holds(record))
    }

    /// The task that is meant by an id, by `self`, or by a path: its name alone, or after names
    /// above it. Of those that had a name, the one that has it now is meant, else the last one.
    pub(super) fn find(&self, target: &str) -> Option<Arc<Record>> {
        let id = match (target, self.caller) {
            ("self", caller) => Some(caller?),
            _ => target.parse().ok(),
        };
        if let Some(id) = id {
            return self.manager.get(id).filter(|record| self.holds(record));
        }
        let last = target.rsplit('/').next().unwrap_or(target);
        let fits = |record: &Arc<Record>| self.has_path(record, target);
        let named = Name::new(last).ok().and_then(|name| {
            let bearers = self.all(Filter::all().name(name)).filter(fits);
            // Settled ones may still stop; among them the newest is meant.
            bearers.max_by_key(|record| (record.is_held(), record.id))
        });
        let is_nameless = |record: &Arc<Record>| {
            record.spec.name.is_none() && record.id.short() == last && fits(record)
        };
        named.or_else(|| self.all(Filter::all()).find(is_nameless))
    }

    /// Whether the path of a task ends so.
    fn has_path(&self, record: &Record, target: &str) -> bool {
        let path = self.manager.task(record.id).path();
        let rest = path.strip_suffix(target);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
    }

    /// The task that is meant.
    ///
    /// # Errors
    /// What to do when there is none.
    pub(super) fn get(&self, target: &str) -> Result<Arc<Record>, String> {
        self.find(target).ok_or_else(|| match self.part {
            Part::Everything => {
                format!("no task of this run is {target:?}; `understory ls` tells which there are")
            }
            Part::Below(_) => format!(
                "no task below this one is {target:?}; `understory ls` tells which there are"
            ),
            Part::Under(_) => format!("no task of this tree is named {target:?}"),
        })
    }
}

/// A state by its name.
///
/// # Errors
/// Which names there are.
pub(super) fn state(name: &str) -> Result<State, String> {
    State::parse(name).ok_or_else(|| {
        let names = State::ALL.map(State::as_str).join(", ");
        format!("there is no state {name:?}; write one of {names}")
    })
}
