//! Taking a task: every check, then one batch that makes it exist.
//!
//! # Invariants
//! 1. A refused spawn changes nothing.
//! 2. An accepted one has its name, key and links from the accepting batch on.

use std::sync::Arc;

use super::super::admission::ClassSet;
use super::super::bounds::Hosts;
use super::super::budget::{BUDGETS_MAX, Budget};
use super::super::event::What;
use super::super::id::{Counter, Epoch, Seq, TaskId};
use super::super::names::KeyCheck;
use super::super::rarely::Rarely;
use super::super::record::{Body, Cause, Conclusion, Facts, Record};
use super::super::spec::{AFTER_MAX, CLASSES_MAX, LABELS_MAX, Origin, Reuse, Spec};
use super::super::state::State;
use super::super::time::Timestamp;
use super::Bug;
use super::Supervisor;
use super::after::After;
use super::alarm::Alarm;
use super::protocol::{Accepted, Effect, Refusal, Reply, Ticket};
use super::runs::RUN_LABEL;
use super::task::Task;

/// What the checks found out on the way.
struct Checked {
    classes: ClassSet,
    inline: bool,
    after: After,
}

impl Supervisor {
    pub(super) fn spawn(
        &mut self,
        ticket: Ticket,
        id: TaskId,
        spec: Arc<Spec>,
        by: Option<(TaskId, Epoch)>,
        reuse: Reuse,
    ) {
        let spec = self.in_scope_of_body(spec, by);
        let taken = match self.check_known(id, &spec, reuse) {
            Some(decided) => decided,
            None => self.check(&spec, by).map(|checked| {
                self.accept(id, spec, by.map(|(task, _)| task), checked);
                Accepted::New(id)
            }),
        };
        let is_new = matches!(taken, Ok(Accepted::New(_)));
        self.answer(ticket, Reply::Spawned(taken));
        if is_new {
            self.ready.push_back(id);
        }
    }

    /// A child that a body asks for is in the scope of its parent, also when that was moved while
    /// the request was under way.
    fn in_scope_of_body(&self, spec: Arc<Spec>, by: Option<(TaskId, Epoch)>) -> Arc<Spec> {
        let parent = by.filter(|(task, _)| spec.parent == Some(*task));
        let above = parent.and_then(|(task, _)| self.tasks.get(task));
        match above.map(|above| &above.record.spec.scope) {
            Some(scope) if *scope != spec.scope => {
                let mut moved = Spec::clone(&spec);
                moved.scope = scope.clone();
                Arc::new(moved)
            }
            Some(_) | None => spec,
        }
    }

    /// What was asked before under the same key, id or flight decides, in this order.
    fn check_known(
        &self,
        id: TaskId,
        spec: &Spec,
        reuse: Reuse,
    ) -> Option<Result<Accepted, Refusal>> {
        let in_flight = || Some(Ok(Accepted::Existing(self.names.in_flight(spec)?)));
        self.check_key(id, spec, reuse)
            .or_else(|| self.check_id(id, spec, reuse))
            .or_else(in_flight)
    }

    fn check_id(&self, id: TaskId, spec: &Spec, reuse: Reuse) -> Option<Result<Accepted, Refusal>> {
        let (known, may_follow) = match (self.tasks.get(id), self.settled.get(id)) {
            (Some(task), _) => (&task.record.spec, false),
            (None, Some(settled)) => (&settled.spec, reuse == Reuse::Allowed),
            (None, None) => return None,
        };
        // An id of another scope is nobody else's.
        if may_follow && known.scope == spec.scope {
            return None;
        }
        // Who asks again does so in a trace of its own.
        Some(if known.difference(spec).is_none() && !may_follow {
            Ok(Accepted::Existing(id))
        } else {
            Err(Refusal::DuplicateId(id))
        })
    }

    fn check_key(
        &self,
        id: TaskId,
        spec: &Spec,
        reuse: Reuse,
    ) -> Option<Result<Accepted, Refusal>> {
        let key = spec.key.as_ref()?;
        match self.names.check_key(spec, key) {
            KeyCheck::Free => None,
            // The next life of an id takes the key over from the one before.
            KeyCheck::Same(task) | KeyCheck::Conflict(task, _)
                if task == id && reuse == Reuse::Allowed && !self.tasks.contains(id) =>
            {
                None
            }
            KeyCheck::Same(task) => Some(Ok(Accepted::Existing(task))),
            KeyCheck::Conflict(task, wish) => Some(Err(Refusal::KeyConflict(task, wish))),
        }
    }

    fn check(&mut self, spec: &Spec, by: Option<(TaskId, Epoch)>) -> Result<Checked, Refusal> {
        if self.closing {
            return Err(Refusal::Closing);
        }
        if self.bounds.hosts == Hosts::Nothing && spec.origin == Origin::Closure {
            return Err(Refusal::ProducerOnly);
        }
        if by.is_some_and(|(task, epoch)| !self.is_current(task, epoch)) {
            return Err(Refusal::Stale);
        }
        if let Some(run) = spec.labels.get(RUN_LABEL)
            && self.runs.has(run)
            && !self.planted(Bug::RunTakesMore)
        {
            return Err(Refusal::RunCancelled(Arc::clone(run)));
        }
        self.check_open(spec, by)?;
        self.check_bounds(spec)?;
        if let Some(name) = &spec.name
            && let Some(holder) = self.names.holder(&spec.scope, name)
        {
            return Err(Refusal::NameTaken(name.clone(), holder));
        }
        if let Some(parent) = spec.parent {
            self.check_parent(parent, spec)?;
        }
        let after = self.check_after(spec)?;
        let mut classes = self
            .admission
            .classes_of(spec)
            .map_err(Refusal::UnknownLimit)?;
        let inline = self.admission.waive_if_full(&mut classes);
        match self.admission.check(&classes) {
            Ok(()) => Ok(Checked {
                classes,
                inline,
                after,
            }),
            Err(full) => {
                self.admission.prune(&classes);
                Err(Refusal::LimitReached(full))
            }
        }
    }

    fn check_bounds(&self, spec: &Spec) -> Result<(), Refusal> {
        let bounds = [
            ("live tasks", self.tasks.len() + 1, self.bounds.live_max),
            ("labels of a task", spec.labels.len(), LABELS_MAX),
            ("dependencies of a task", spec.after.len(), AFTER_MAX),
            ("limit classes of a task", spec.limits.len(), CLASSES_MAX),
            ("budgets of a task", spec.budgets.len(), BUDGETS_MAX),
        ];
        match bounds.into_iter().find(|(_, wanted, max)| wanted > max) {
            Some((bound, _, max)) => Err(Refusal::Bound(bound, max)),
            None => Ok(()),
        }
    }

    fn check_parent(&self, parent: TaskId, spec: &Spec) -> Result<(), Refusal> {
        let Some(above) = self.tasks.get(parent) else {
            let is_known = self.settled.contains(parent);
            let closing = Refusal::ParentClosing(parent);
            return Err(if is_known {
                closing
            } else {
                Refusal::UnknownParent(parent)
            });
        };
        let scope = &above.record.spec.scope;
        if *scope != spec.scope {
            return Err(Refusal::ParentElsewhere(parent, scope.clone()));
        }
        let is_planted = self.planted(Bug::SpawnBelowClosed) && !above.record.state.is_terminal();
        if self.forest.is_closed(parent) && !is_planted {
            return Err(self.closes_or_retries(parent));
        }
        if self.forest.depth(parent) >= self.bounds.depth_max {
            let depth_max = usize::try_from(self.bounds.depth_max).unwrap_or(usize::MAX);
            return Err(Refusal::Bound("tasks above a task", depth_max));
        }
        if self.forest.child_count(parent) >= self.bounds.children_max {
            return Err(Refusal::Bound(
                "live children of a task",
                self.bounds.children_max,
            ));
        }
        Ok(())
    }

    /// Why a live task takes no children.
    fn closes_or_retries(&self, id: TaskId) -> Refusal {
        let record = self.tasks.get(id).map(|task| &task.record);
        let retries = record.is_some_and(|record| {
            let is_over = matches!(record.conclusion, Some(Conclusion::Retry(_)));
            record.state == State::Pending || is_over && record.state != State::CancelRequested
        });
        if retries {
            Refusal::ParentRetries(id)
        } else {
            Refusal::ParentClosing(id)
        }
    }

    fn accept(
        &mut self,
        id: TaskId,
        spec: Arc<Spec>,
        spawned_by: Option<TaskId>,
        checked: Checked,
    ) {
        // What was asked with the key before has gone with that life's record.
        let earlier = self.drop_settled(id);
        self.forest.insert(id, spec.parent);
        if !self.planted(Bug::FlightNotTaken) {
            self.names.take_off(&spec, id);
        }
        if let Some(name) = &spec.name {
            self.names.reserve(&spec.scope, name, id);
        }
        if let Some(key) = &spec.key
            && !self.planted(Bug::KeyNotBound)
        {
            let is_planted = self.planted(Bug::WindowIgnored);
            let window = spec.key_window.filter(|_| !is_planted);
            let window = window.unwrap_or(self.bounds.key_window);
            let until = self.now.after(window);
            self.names.bind_key(key, id, &spec, until);
            self.alarms.insert((until, id, Alarm::Key));
        }
        let awaits_parent = spec
            .parent
            .is_some_and(|parent| self.has_not_started(parent));
        let mut record = self.new_record(id, spec, spawned_by, earlier.as_deref());
        record.inline = checked.inline;
        let mut task = Task::new(record, checked.classes);
        task.awaits_parent = awaits_parent;
        self.admission.join(&task.classes);
        self.tasks.insert(id, task);
        self.link_after(id, &checked.after.unmet);
        let wait = self.wait_to_start(id);
        self.edit(id).wait.clone_from(&wait);
        self.emit(id, What::Accepted(wait));
        self.arm_lifetime(id);
        if let Some(dependency) = checked.after.failed {
            self.stops.push_back((id, Cause::Dependency(dependency)));
        }
    }

    fn new_record(
        &self,
        id: TaskId,
        spec: Arc<Spec>,
        spawned_by: Option<TaskId>,
        earlier: Option<&Record>,
    ) -> Record {
        let budget = |(counter, limit): (&Counter, &u64)| (counter.clone(), Budget::new(*limit));
        let mut facts = Rarely::<Facts>::not();
        if !spec.budgets.is_empty() {
            facts.budgets = spec.budgets.iter().map(budget).collect();
        }
        Record {
            id,
            parent: spec.parent,
            spawned_by: spawned_by.or(spec.parent),
            root: self.forest.root(id),
            depth: self.forest.depth(id),
            spec,
            state: State::Pending,
            wait: None,
            incarnation: earlier.map_or(1, |earlier| earlier.incarnation + 1),
            // Bodies of an earlier life stay fenced: the numbers of runs go on.
            epoch: earlier
                .filter(|_| !self.planted(Bug::EpochsStartAgain))
                .map_or(Epoch::default(), |earlier| earlier.epoch),
            attempt: 0,
            restarts: 0,
            body: Body::Absent,
            inline: false,
            stop: None,
            conclusion: None,
            outcome: None,
            progress: None,
            undelivered: 0,
            created_at: self.now,
            started_at: None,
            waits_since: None,
            ended_at: None,
            events: 0,
            seq: Seq::default(),
            facts,
        }
    }

    /// Until when the key of a recovered task stays bound at least.
    pub(super) fn key_bound_until(&self, record: &Record) -> Timestamp {
        let window = record.spec.key_window.unwrap_or(self.bounds.key_window);
        self.due_within(record.created_at, window)
    }

    /// Whether the task is pending and has never run.
    pub(super) fn has_not_started(&self, id: TaskId) -> bool {
        let task = self.tasks.get(id);
        task.is_some_and(|task| {
            task.record.state == State::Pending && task.record.started_at.is_none()
        })
    }

    /// Tells the shell that nothing of a task is needed any more.
    pub(super) fn forget(&mut self, id: TaskId) {
        self.out.effects.push(Effect::Forget(id));
    }
}
