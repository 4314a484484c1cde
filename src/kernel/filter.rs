//! Which tasks and events somebody wants to see: a conjunction of plain conditions.
//!
//! # Invariants
//! 1. Conditions on what a task was asked to be hold for its events, too. Those on how it stands
//!    now (live, what it waits for, dates) are about tasks alone, those on types about events
//!    alone.
//!
//! *Not here*: reading filters from text, which is a door's business.

use std::collections::BTreeSet;
use std::ops::Range;

use super::event::{Event, What};
use super::id::{Key, Kind, Name, Scope, TaskId};
use super::record::{Record, Wait};
use super::spec::{Spec, Visibility};
use super::state::State;
use super::time::Timestamp;

/// Most conditions of one kind in a filter.
pub const TERMS_MAX: usize = 64;

/// A date of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Date {
    /// When it was accepted.
    Created,
    /// When its newest attempt started.
    Started,
    /// When it was last suspended.
    Suspended,
    /// When it settled.
    Ended,
}

/// A conjunction of conditions; the empty filter matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    scope: Option<Scope>,
    name: Option<Name>,
    kind: Option<Kind>,
    key: Option<Key>,
    task: Option<TaskId>,
    parent: Option<TaskId>,
    root: Option<TaskId>,
    states: BTreeSet<State>,
    waits: BTreeSet<&'static str>,
    labels: Vec<(String, String)>,
    dates: Vec<(Date, Range<Timestamp>)>,
    events: BTreeSet<&'static str>,
    live_only: bool,
    shows: Shows,
}

/// Whether a filter lets hidden tasks through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shows {
    /// It leaves them out.
    #[default]
    Shown,
    /// It lets nothing else through.
    Hidden,
    /// It does not mind.
    Both,
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

    /// Only tasks that were asked for with this key.
    pub fn key(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    /// Only this task, also when it is hidden.
    pub fn task(mut self, task: TaskId) -> Self {
        self.task = Some(task);
        self
    }

    /// Only tasks that were spawned directly below this one.
    pub fn parent(mut self, parent: TaskId) -> Self {
        self.parent = Some(parent);
        self
    }

    /// Only the tasks of the tree with this root, the root itself among them.
    pub fn root(mut self, root: TaskId) -> Self {
        self.root = Some(root);
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

    /// Only tasks that wait for one of these (see [`Wait::name`]); repeated calls add to them. No
    /// task waits for what there is not: [`Filter::parse`] refuses such a name, this does not.
    /// Events are not touched by this.
    pub fn waits_for(mut self, what: &'static str) -> Self {
        self.waits.insert(what);
        self
    }

    /// Only tasks with this label; past [`TERMS_MAX`] labels the filter matches nothing.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Only hidden tasks, which are left out otherwise.
    pub fn hidden(mut self) -> Self {
        self.shows = Shows::Hidden;
        self
    }

    /// Hidden tasks, too.
    pub fn with_hidden(mut self) -> Self {
        self.shows = Shows::Both;
        self
    }

    /// Only tasks with this date in this range, whose end is not part of it; several ranges must
    /// all hold, [`TERMS_MAX`] of them at most. Events are not touched by this.
    pub fn date(mut self, date: Date, range: Range<Timestamp>) -> Self {
        self.dates.push((date, range));
        self
    }

    /// Only events of this type (see [`super::event::What::name`]); repeated calls add types. No
    /// event is of a type that there is not: [`Filter::parse`] refuses such a name, this does not.
    /// Tasks are not touched by this.
    pub fn event(mut self, name: &'static str) -> Self {
        self.events.insert(name);
        self
    }

    /// The same conditions on what a task was asked to be, without those on how it stands and on
    /// events.
    pub fn of_tasks(mut self) -> Self {
        self.states.clear();
        self.waits.clear();
        self.dates.clear();
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

    /// Whether hidden tasks can match.
    pub fn shows(&self) -> Shows {
        // To name a task is to ask for it.
        if self.task.is_some() {
            Shows::Both
        } else {
            self.shows
        }
    }

    /// Whether tasks in this state can match.
    pub fn wants(&self, state: State) -> bool {
        let state_fits = self.states.is_empty() || self.states.contains(&state);
        state_fits && !(self.live_only && state.is_terminal())
    }

    /// The same conditions, but for those on states.
    pub(crate) fn of_all_states(mut self) -> Self {
        self.states.clear();
        self.live_only = false;
        self
    }

    /// Whether the task matches.
    pub fn matches(&self, record: &Record) -> bool {
        let on = record.wait.as_ref().map(Wait::name);
        let wait_fits = self.waits.is_empty() || on.is_some_and(|on| self.waits.contains(on));
        let in_range = |(date, range): &(Date, Range<Timestamp>)| {
            record.date(*date).is_some_and(|at| range.contains(&at))
        };
        let scope_fits = self
            .scope
            .as_ref()
            .is_none_or(|scope| scope == record.scope());
        self.wants(record.state)
            && wait_fits
            && scope_fits
            && self.dates.len() <= TERMS_MAX
            && self.dates.iter().all(in_range)
            && self.matches_spec(record.id, record.root, &record.spec)
    }

    /// Whether the event matches.
    pub fn matches_event(&self, event: &Event) -> bool {
        let state_fits = self.states.is_empty() || self.states.contains(&event.state);
        let type_fits = self.events.is_empty() || self.events.contains(event.what.name());
        state_fits
            && type_fits
            && self.matches_scope(event)
            && self.matches_spec(event.task, event.root, &event.spec)
    }

    /// The event of a transfer is of the scope that a task leaves, too.
    fn matches_scope(&self, event: &Event) -> bool {
        let Some(scope) = &self.scope else {
            return true;
        };
        let leaves = matches!(&event.what, What::Transferred { from, .. } if from == scope);
        leaves || event.spec.scope == *scope
    }

    fn matches_spec(&self, id: TaskId, root: TaskId, spec: &Spec) -> bool {
        let wanted = |key: &String, value: &String| {
            spec.labels
                .get(key.as_str())
                .is_some_and(|found| **found == **value)
        };
        let is_shown = match self.shows() {
            Shows::Shown => spec.visibility == Visibility::Shown,
            Shows::Hidden => spec.visibility == Visibility::Hidden,
            Shows::Both => true,
        };
        is_shown
            && (self.name.is_none() || self.name == spec.name)
            && (self.kind.is_none() || self.kind == spec.kind)
            && (self.key.is_none() || self.key == spec.key)
            && self.task.is_none_or(|task| task == id)
            && (self.parent.is_none() || self.parent == spec.parent)
            && self.root.is_none_or(|wanted| wanted == root)
            && self.labels.len() <= TERMS_MAX
            && self.labels.iter().all(|(key, value)| wanted(key, value))
    }
}
