//! What the checkers know of each task, learned from records and events alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::kernel::{
    Body, Cause, Conclusion, Epoch, Grant, Outcome, Record, Scope, Seq, Spec, State, Target,
    TaskId, Timestamp,
};

/// What is known of the last word of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LastWord {
    /// It may start again.
    None,
    /// It waits for others to settle, and never starts again.
    Said,
    /// As before, and it was given up.
    GivenUp,
}

/// A task as its records and events have told of it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The newest record.
    pub(super) record: Arc<Record>,
    /// The state after the newest event.
    pub(super) state: State,
    pub(super) parent: Option<TaskId>,
    /// Its place in the order of acceptance.
    pub(super) born: u64,
    /// How many live children it has.
    pub(super) children: u32,
    /// Whether a body of the newest epoch runs, as far as it was told.
    pub(super) is_live: bool,
    /// Whether that body is parked, and by which turn.
    pub(super) lent: bool,
    pub(super) turn: u64,
    /// Whether it was cancelled: it must never start again.
    pub(super) doomed: bool,
    /// Until when its body may stop by itself.
    pub(super) grace_until: Option<Timestamp>,
    /// The classes it takes slots of, as a set of bits.
    pub(super) classes: u32,
    /// The number of its newest event.
    pub(super) last: Seq,
    pub(super) last_word: LastWord,
    /// The call of its hooks that it waits for, and what they were shown.
    pub(super) hook: Option<(Seq, Arc<Outcome>)>,
}

impl Seen {
    pub(super) fn new(record: Arc<Record>, born: u64, classes: u32) -> Self {
        let is_cancel = record
            .stop
            .as_ref()
            .is_some_and(|stop| is_cancel(stop.cause));
        let mut seen = Self {
            state: record.state,
            parent: record.parent,
            born,
            children: 0,
            is_live: false,
            lent: false,
            turn: 0,
            doomed: is_cancel,
            grace_until: None,
            classes,
            last: record.seq,
            last_word: LastWord::None,
            hook: None,
            record,
        };
        seen.note_last_word();
        seen
    }

    /// Notes what its newest record says of its last word.
    pub(super) fn note_last_word(&mut self) {
        let record = &self.record;
        let word = match (&record.conclusion, record.body) {
            (Some(_), Body::Live) => LastWord::GivenUp,
            (Some(Conclusion::Settle(_)), Body::Absent) => LastWord::Said,
            (Some(Conclusion::Retry(_)) | None, _) => LastWord::None,
        };
        self.last_word = self.last_word.max(word);
    }

    pub(super) fn is_settled(&self) -> bool {
        self.state.is_terminal()
    }

    /// Whether it holds its name and key.
    pub(super) fn is_held(&self) -> bool {
        !self.is_settled() || self.is_live
    }

    pub(super) fn spec(&self) -> &Spec {
        &self.record.spec
    }

    /// Whether this is the run that counts.
    pub(super) fn is_run(&self, epoch: Epoch) -> bool {
        self.is_live && self.record.epoch == epoch
    }

    /// Whether it takes children: neither stopping, nor over, nor between two attempts.
    pub(super) fn is_open(&self) -> bool {
        let record = &self.record;
        let retries = record.state == State::Pending
            && record.started_at.is_some()
            && record.resume.is_none();
        let stops = self.state == State::CancelRequested || self.is_settled();
        !stops && record.conclusion.is_none() && !retries
    }
}

/// All tasks that records are kept of.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) tasks: BTreeMap<TaskId, Seen>,
    /// Who holds which name.
    pub(super) names: BTreeMap<(Scope, String), TaskId>,
    pub(super) born: u64,
}

impl View {
    pub(super) fn state(&self, id: TaskId) -> Option<State> {
        self.tasks.get(&id).map(|seen| seen.state)
    }

    pub(super) fn insert(&mut self, record: Arc<Record>, classes: u32) {
        self.born += 1;
        let id = record.id;
        if let Some(name) = &record.spec.name {
            let name = (record.spec.scope.clone(), name.to_string());
            self.names.insert(name, id);
        }
        if let Some(parent) = record.parent {
            self.count_child(parent, 1);
        }
        self.tasks.insert(id, Seen::new(record, self.born, classes));
    }

    pub(super) fn count_child(&mut self, parent: TaskId, change: i32) {
        if let Some(seen) = self.tasks.get_mut(&parent) {
            seen.children = seen.children.saturating_add_signed(change);
        }
    }

    pub(super) fn free_name(&mut self, id: TaskId) {
        let Some(seen) = self.tasks.get(&id) else {
            return;
        };
        if let Some(name) = &seen.record.spec.name {
            let name = (seen.record.spec.scope.clone(), name.to_string());
            if self.names.get(&name) == Some(&id) {
                self.names.remove(&name);
            }
        }
    }

    /// The live tasks that a cancel of this target means.
    pub(super) fn meant(&self, target: &Target) -> BTreeSet<TaskId> {
        let is_meant = |(id, seen): &(&TaskId, &Seen)| {
            !seen.is_settled()
                && match target {
                    Target::One(one) => *id == one,
                    Target::Tree(root) => self.is_within(**id, *root),
                    Target::Run(run) => self.is_below_run(**id, run),
                    Target::Scope(scope) => seen.spec().scope == *scope,
                    Target::All => true,
                    Target::OneFor(scope, one) => *id == one && self.may_cancel(scope, **id),
                    Target::TreeFor(scope, root) => {
                        self.is_within(**id, *root) && self.may_cancel(scope, *root)
                    }
                    Target::Visible(scope) => self.may_cancel(scope, **id),
                    Target::Unreferenced(_) => false,
                }
        };
        let meant = self.tasks.iter().filter(is_meant);
        meant.map(|(id, _)| *id).collect()
    }

    /// Whether it or one above it is of the scope, or granted to it as far as that.
    fn may_cancel(&self, scope: &Scope, id: TaskId) -> bool {
        let mut at = Some(id);
        while let Some(seen) = at.and_then(|id| self.tasks.get(&id)) {
            let grants = seen.record.grants.as_ref();
            let grant = grants.and_then(|grants| grants.get(scope));
            if seen.spec().scope == *scope || grant == Some(&Grant::Cancel) {
                return true;
            }
            at = seen.parent;
        }
        false
    }

    fn is_below_run(&self, id: TaskId, run: &str) -> bool {
        let mut at = Some(id);
        while let Some(id) = at {
            let Some(seen) = self.tasks.get(&id) else {
                return false;
            };
            if seen.spec().labels.get("run").is_some_and(|of| **of == *run) {
                return true;
            }
            at = seen.parent;
        }
        false
    }

    fn is_within(&self, id: TaskId, above: TaskId) -> bool {
        let mut at = Some(id);
        while let Some(id) = at {
            if id == above {
                return true;
            }
            at = self.tasks.get(&id).and_then(|seen| seen.parent);
        }
        false
    }

    /// The state of every task above this one, up to `root`.
    pub(super) fn states_up_to(&self, id: TaskId, root: TaskId) -> Vec<State> {
        let mut states = Vec::new();
        let mut at = self.tasks.get(&id).and_then(|seen| seen.parent);
        while let Some(id) = at {
            let Some(seen) = self.tasks.get(&id) else {
                break;
            };
            states.push(seen.state);
            at = if id == root { None } else { seen.parent };
        }
        states
    }

    /// Whether a task has completed, or another life of it may have.
    pub(super) fn may_have_completed(&self, id: TaskId) -> bool {
        let seen = self.tasks.get(&id);
        seen.is_some_and(|seen| seen.state == State::Completed || seen.record.incarnation > 1)
    }

    /// The tasks above one, from its parent up to its root.
    pub(super) fn path_up(&self, id: TaskId) -> Vec<TaskId> {
        let above = |id: &TaskId| self.tasks.get(id).and_then(|seen| seen.parent);
        std::iter::successors(above(&id), above).collect()
    }

    /// What is left of a life after a crash: the durable records.
    pub(super) fn rebuild(records: &[Arc<Record>], classes: impl Fn(&Record) -> u32) -> Self {
        let mut view = Self::default();
        let mut sorted: Vec<_> = records.iter().collect();
        sorted.sort_by_key(|record| (record.depth, record.id));
        for record in &sorted {
            view.born += 1;
            let (id, classes) = (record.id, classes(record));
            let mut seen = Seen::new(Arc::clone(record), view.born, classes);
            let retries = matches!(record.conclusion, Some(Conclusion::Retry(_)));
            seen.doomed &= !retries;
            view.tasks.insert(id, seen);
            if let (Some(name), true) = (&record.spec.name, record.is_held()) {
                let name = (record.spec.scope.clone(), name.to_string());
                view.names.insert(name, id);
            }
        }
        for record in sorted {
            if let (Some(parent), false) = (record.parent, record.state.is_terminal()) {
                view.count_child(parent, 1);
            }
        }
        view
    }
}

/// Whether the stop is one after which nothing may start.
pub(super) fn is_cancel(cause: Cause) -> bool {
    !cause.allows_retry()
}
