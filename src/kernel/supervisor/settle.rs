//! The end of a task: its terminal record, who hears of it, what it frees.
//!
//! # Invariants
//! 1. A task settles once (K2), after its children (K5).
//! 2. Slot and name are freed when it is settled and its body has stopped (K6). A key also outlives
//!    its window, and goes with the record when that is no longer kept.

use std::sync::Arc;

use super::super::event::What;
use super::super::id::TaskId;
use super::super::record::{Body, Cause, Conclusion, Outcome, Record};
use super::super::state::{State, Trigger};
use super::Bug;
use super::Supervisor;
use super::protocol::Effect;
use super::report::Ending;
use super::task::Task;

/// Places of earlier lives in the order of settled tasks that are let be.
const EARLIER_LIVES_MAX: usize = 64;

impl Supervisor {
    /// Writes the terminal record and tells everybody who waits for it.
    pub(super) fn settle(&mut self, id: TaskId, outcome: Arc<Outcome>) {
        let state = outcome.state();
        let now = self.now;
        self.disarm_all(id);
        self.unlink_after(id);
        self.drop_questions(id);
        self.shift(id, trigger(state));
        let record = self.edit(id);
        record.outcome = Some(Arc::clone(&outcome));
        record.conclusion = None;
        record.wait = None;
        record.ended_at = Some(now);
        let is_abandoned = record.body == Body::Live;
        let undelivered = record.undelivered;
        self.emit(
            id,
            What::Settled {
                outcome,
                undelivered,
                abandoned: is_abandoned,
            },
        );
        self.forest.close(id);
        if let Some(parent) = self.forest.remove(id) {
            self.due.push_back(parent);
        }
        let settled = Arc::clone(&self.task(id).record);
        self.remember(settled);
        self.tell_dependents(id, state);
        self.tell_watches(id, is_abandoned);
        self.out.effects.push(Effect::Close(id));
        if !is_abandoned {
            self.free(id);
        } else if self.planted(Bug::SlotFreedEarly) {
            self.give_back_slot(id);
        } else if self.planted(Bug::NameFreedEarly) {
            let spec = Arc::clone(&self.task(id).record.spec);
            spec.name
                .iter()
                .for_each(|name| self.names.release(&spec.scope, name, id));
        }
    }

    fn tell_dependents(&mut self, id: TaskId, state: State) {
        let ties = self.task(id).ties.written();
        let dependents = ties.map(|ties| std::mem::take(&mut ties.dependents));
        for dependent in dependents.into_iter().flatten() {
            if state == State::Completed || self.planted(Bug::DependencyIgnored) {
                self.dependency_met(dependent);
            } else {
                self.stops.push_back((dependent, Cause::Dependency(id)));
            }
        }
    }

    /// Frees what a settled and stopped task held.
    pub(super) fn free(&mut self, id: TaskId) {
        self.give_back_slot(id);
        let Some(task) = self.tasks.remove(id) else {
            return;
        };
        let record = task.record;
        let spec = &record.spec;
        if let Some(name) = &spec.name {
            self.names.release(&spec.scope, name, id);
        }
        self.names.land(spec, id);
        if spec.key.is_some() {
            self.names.free_key_due(id, self.now);
        }
        self.admission.leave(&task.classes);
        self.expire_later(id);
        if let Some(kept) = self.settled.get_mut(id) {
            kept.clone_from(&record);
        }
        self.out.records.push(record);
        self.forget(id);
    }

    /// Keeps a settled record, and drops the oldest one when there are too many.
    pub(super) fn remember(&mut self, settled: Arc<Record>) {
        let id = settled.id;
        if self.vacated.contains(&id) {
            self.close_ranks();
        }
        self.settled_order.push_back((id, settled.incarnation));
        self.settled.insert(id, settled);
        self.expire_later(id);
        self.forget_earlier_lives();
        let mut left = self.settled_order.len();
        while self.settled.len() > self.bounds.settled_max && left > 0 {
            left -= 1;
            let Some((oldest, incarnation)) = self.settled_order.pop_front() else {
                return;
            };
            if !self.is_kept(oldest, incarnation) {
                continue;
            }
            if self.tasks.contains(oldest) {
                // An abandoned body still runs: its record stays until that has stopped.
                self.settled_order.push_back((oldest, incarnation));
                continue;
            }
            self.drop_settled(oldest);
            self.out.removed.push(oldest);
        }
    }

    /// Whether the settled record of this life is the one that is kept of its id.
    pub(super) fn is_kept(&self, id: TaskId, incarnation: u32) -> bool {
        let settled = self.settled.get(id);
        settled.is_some_and(|settled| settled.incarnation == incarnation)
    }

    /// Places in the order that earlier lives of an id left are dropped before they outnumber the
    /// others.
    fn forget_earlier_lives(&mut self) {
        if self.settled_order.len() > 2 * self.settled.len() + EARLIER_LIVES_MAX {
            let settled = &self.settled;
            let is_kept = |(id, incarnation): &(TaskId, u32)| {
                settled
                    .get(*id)
                    .is_some_and(|it| it.incarnation == *incarnation)
            };
            self.settled_order.retain(is_kept);
        }
    }

    /// Gives up on a body that does not stop: its task settles without it.
    pub(super) fn abandon(&mut self, id: TaskId) {
        let conclusion = Conclusion::Settle(Arc::new(self.stopped(id)));
        self.end_suspension(id);
        self.hold(id, conclusion, Ending::Badly);
    }

    /// The outcome of a task that was asked to stop and whose body said nothing.
    pub(super) fn stopped(&mut self, id: TaskId) -> Outcome {
        let stop = self.task(id).record.stop.as_ref();
        match stop.map(|stop| stop.cause) {
            Some(Cause::Timeout(limit)) => Outcome::TimedOut {
                limit,
                late_result: None,
            },
            Some(_) | None => Outcome::Cancelled { late_result: None },
        }
    }

    /// A task settled without a body to read its inbox: the messages left there are counted.
    ///
    /// `record` tells which life of it had that inbox.
    pub(super) fn undelivered(&mut self, record: &Record, count: u32) {
        let id = record.id;
        if count == 0 || !self.is_kept(id, record.incarnation) {
            return;
        }
        if self.tasks.contains(id) {
            self.edit(id).undelivered += count;
            self.emit(id, What::Undelivered(count));
            return;
        }
        if !record.state.is_terminal() {
            // It was read when this life of the id had just begun, and speaks of an earlier one.
            return;
        }
        let mut record = Record::clone(&self.settled[id]);
        record.undelivered += count;
        self.amend(record, vec![What::Undelivered(count)]);
    }

    /// Tells something of a task that may have settled, as long as this life of it is known.
    ///
    /// `record` tells which life; it may be older than the newest one of the task.
    pub(super) fn tell_late(&mut self, record: &Record, what: What) {
        let id = record.id;
        let task = self.tasks.get(id);
        if task.is_some_and(|task| task.record.incarnation == record.incarnation) {
            self.emit(id, what);
        } else if record.state.is_terminal() && self.is_kept(id, record.incarnation) {
            let record = Record::clone(&self.settled[id]);
            self.amend(record, vec![what]);
        }
    }

    /// Writes down what changed of a settled and stopped task, with its events.
    pub(super) fn amend(&mut self, record: Record, events: Vec<What>) {
        let id = record.id;
        let task = Task::new(record, Vec::new());
        self.tasks.insert(id, task);
        for event in events {
            self.emit(id, event);
        }
        if let Some(task) = self.tasks.remove(id) {
            self.settled.insert(id, Arc::clone(&task.record));
            self.out.records.push(task.record);
        }
    }
}

fn trigger(terminal: State) -> Trigger {
    match terminal {
        State::Completed => Trigger::Complete,
        State::Failed => Trigger::Fail,
        State::TimedOut => Trigger::TimeOut,
        State::Cancelled => Trigger::Cancel,
        State::Interrupted => Trigger::Interrupt,
        State::Pending
        | State::Running
        | State::Waiting
        | State::Suspended
        | State::CancelRequested => unreachable!("an outcome's state is terminal"),
    }
}
