//! Which tasks and events somebody wants to see: a conjunction of plain conditions.
//!
//! *Not here*: reading filters from text, which is a door's business.

use std::collections::BTreeSet;

use super::event::Event;
use super::id::{Kind, Name, Scope, TaskId};
use super::record::Record;
use super::spec::Spec;
use super::state::State;

/// Most conditions of one kind in a filter.
pub const TERMS_MAX: usize = 64;

/// A conjunction of conditions; the empty filter matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    scope: Option<Scope>,
    name: Option<Name>,
    kind: Option<Kind>,
    task: Option<TaskId>,
    parent: Option<TaskId>,
    states: BTreeSet<State>,
    labels: Vec<(String, String)>,
    events: BTreeSet<&'static str>,
    live_only: bool,
}

impl Filter {
    /// Matches everything.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only tasks of this scope.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// Only tasks of this name.
    pub fn name(mut self, name: Name) -> Self {
        self.name = Some(name);
        self
    }

    /// Only tasks of this kind.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only this task.
    pub fn task(mut self, task: TaskId) -> Self {
        self.task = Some(task);
        self
    }

    /// Only tasks that were spawned directly below this one.
    pub fn parent(mut self, parent: TaskId) -> Self {
        self.parent = Some(parent);
        self
    }

    /// Only tasks in one of these states; repeated calls add states.
    pub fn state(mut self, state: State) -> Self {
        self.states.insert(state);
        self
    }

    /// Only tasks that have not settled. Events are not touched by this.
    pub fn live(mut self) -> Self {
        self.live_only = true;
        self
    }

    /// Only tasks with this label; past [`TERMS_MAX`] labels the filter matches nothing.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Only events of this type (see [`super::event::What::name`]); repeated calls add types.
    /// Tasks are not touched by this.
    pub fn event(mut self, name: &'static str) -> Self {
        self.events.insert(name);
        self
    }

    /// The same conditions on what a task was asked to be, without those on states and events.
    pub fn of_tasks(mut self) -> Self {
        self.states.clear();
        self.events.clear();
        self.live_only = false;
        self
    }

    /// The scope it is narrowed to.
    pub fn scope_wanted(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// The parent it is narrowed to.
    pub fn parent_wanted(&self) -> Option<TaskId> {
        self.parent
    }

    /// Whether only live tasks can match.
    pub fn wants_live_only(&self) -> bool {
        self.live_only
            || (!self.states.is_empty() && self.states.iter().all(|state| !state.is_terminal()))
    }

    /// Whether the task matches.
    pub fn matches(&self, record: &Record) -> bool {
        let state_fits = self.states.is_empty() || self.states.contains(&record.state);
        let live_fits = !self.live_only || !record.state.is_terminal();
        state_fits && live_fits && self.matches_spec(record.id, &record.spec)
    }

    /// Whether the event matches.
    pub fn matches_event(&self, event: &Event) -> bool {
        let state_fits = self.states.is_empty() || self.states.contains(&event.state);
        let type_fits = self.events.is_empty() || self.events.contains(event.what.name());
        state_fits && type_fits && self.matches_spec(event.task, &event.spec)
    }

    fn matches_spec(&self, id: TaskId, spec: &Spec) -> bool {
        let wanted = |key: &String, value: &String| {
            spec.labels
                .get(key.as_str())
                .is_some_and(|found| **found == **value)
        };
        self.scope.as_ref().is_none_or(|scope| *scope == spec.scope)
            && (self.name.is_none() || self.name == spec.name)
            && (self.kind.is_none() || self.kind == spec.kind)
            && self.task.is_none_or(|task| task == id)
            && (self.parent.is_none() || self.parent == spec.parent)
            && self.labels.len() <= TERMS_MAX
            && self.labels.iter().all(|(key, value)| wanted(key, value))
    }
}
