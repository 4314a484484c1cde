//! After a crash: what a set of stored records means for a process in which no body runs.
//!
//! # Invariants
//! 1. Settled records stay as they are; an abandoned body is gone with its process.
//! 2. Every change made here is an event like any other.
//! 3. A closure cannot run again, nor what is bound to its owner and has started: it is
//!    interrupted. Another task of an executor runs again while attempts are left, or its restart
//!    policy allows: the crash counts as one.
//! 4. Those who waited for slots have them in the order in which they would have had them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::bounds::Bounds;
use super::super::event::What;
use super::super::id::{Seq, TaskId};
use super::super::record::{Body, Conclusion, Fault, FaultKind, Outcome, Record, Wait};
use super::super::spec::{Disposition, Origin};
use super::super::state::State;
use super::super::time::Timestamp;
use super::Supervisor;
use super::alarm::Alarm;
use super::external::outlives_process;
use super::protocol::Step;
use super::report::Ending;
use super::task::Task;

impl Supervisor {
    /// A supervisor that goes on from stored records, and the step that brings them up to date.
    ///
    /// `seq` is the number of the last event in the store.
    #[must_use]
    pub fn recover(
        bounds: Bounds,
        dice: u64,
        now: Timestamp,
        seq: Seq,
        records: Vec<Arc<Record>>,
    ) -> (Self, Step) {
        let mut supervisor = Self::new(bounds, dice);
        supervisor.now = now;
        supervisor.seq = seq;
        supervisor.recall_runs(&records);
        let mut settled: Vec<_> = Vec::new();
        let mut live = BTreeMap::new();
        for record in records {
            if record.state.is_terminal() {
                settled.push(record);
            } else {
                // Parents come before their children, whatever their ids say.
                live.insert((record.depth, record.id), record);
            }
        }
        // When the clock went back, two tasks may be within the window of one key. The last one
        // bound holds it, and numbers of events, other than times, never go back.
        settled.sort_by_key(|record| record.seq);
        for record in &settled {
            supervisor.recall_key(record);
        }
        settled.sort_by_key(|record| (record.ended_at, record.id));
        for record in settled {
            supervisor.recall(&record);
        }
        for record in live.values() {
            supervisor.readmit(record);
        }
        for id in live.values().map(|record| record.id) {
            supervisor.reclose(id);
            supervisor.relink(id);
        }
        supervisor.work_off_ends();
        // Children before their parents, and nothing starts before the last one has been decided.
        for record in live.into_values().rev() {
            supervisor.revive(&record);
            supervisor.work_off_ends();
        }
        // What was due while no process ran comes before anything starts.
        supervisor.tick_limits();
        supervisor.work_off_ends();
        supervisor.admit_again();
        supervisor.work_off();
        let step = supervisor.take();
        (supervisor, step)
    }

    fn recall(&mut self, record: &Arc<Record>) {
        self.granted.note(record);
        self.note_ended(record);
        let (id, body) = (record.id, record.body);
        if body == Body::Live {
            self.tasks
                .insert(id, Task::new(Record::clone(record), Vec::new()));
            self.settled.insert(id, Arc::clone(record));
            self.settled_order.push_back((id, record.incarnation));
            self.edit(id).body = Body::Absent;
            self.emit(id, What::BodyStopped);
            self.free(id);
        } else {
            self.remember(Arc::clone(record));
        }
    }

    fn recall_key(&mut self, record: &Record) {
        let Some(key) = &record.spec.key else { return };
        let until = self.key_bound_until(record);
        if until > self.now || !record.state.is_terminal() {
            self.names.bind_key(key, record.id, &record.spec, until);
            self.alarms.insert((until, record.id, Alarm::Key));
        }
    }

    /// Puts a live record back: links, name, key. No body runs.
    fn readmit(&mut self, record: &Record) {
        let id = record.id;
        let parent = record.parent.filter(|parent| self.tasks.contains(*parent));
        self.recall_key(record);
        self.granted.note(record);
        self.forest.insert(id, parent);
        if let Some(name) = &record.spec.name {
            self.names.reserve(&record.spec.scope, name, id);
        }
        self.names.take_off(&record.spec, id);
        let mut classes = self.admission.classes_left_of(&record.spec);
        if record.inline {
            // Who waited for it is gone; it goes on as it was taken.
            self.admission.waive(&mut classes);
        }
        self.admission.join(&classes);
        let awaits_parent = parent.is_some_and(|parent| self.has_not_started(parent));
        let mut task = Task::new(record.clone(), classes);
        task.awaits_parent = awaits_parent && record.state == State::Pending;
        self.tasks.insert(id, task);
        if record.body == Body::Live && !outlives_process(record) {
            let lost = self.edit(id);
            (lost.body, lost.suspension) = (Body::Absent, None);
            if record.conclusion.is_some() {
                // It was given up and only waits for its children or hooks; now its body has
                // stopped, too.
                let wait = record.wait.clone().unwrap_or(Wait::Children);
                self.emit(id, What::Waiting(wait));
            }
        }
        if record.state != State::CancelRequested {
            self.arm_lifetime(id);
        }
        if is_bound(record) && matches!(record.conclusion, Some(Conclusion::Retry(_))) {
            let is_asked = record.state == State::CancelRequested;
            let conclusion = if is_asked {
                Conclusion::Settle(Arc::new(self.stopped(id)))
            } else {
                interrupted(record.state)
            };
            self.edit(id).conclusion = Some(conclusion);
            self.emit(id, What::Waiting(Wait::Children));
        }
    }

    /// Closes what was closed. A body that was over before the crash has its last word, as its
    /// children were told.
    fn reclose(&mut self, id: TaskId) {
        let record = &self.task(id).record;
        let is_over = record.conclusion.is_some();
        let retries = record.state == State::Pending
            && record.started_at.is_some()
            && record.resume.is_none();
        if is_over || retries {
            self.forest.close(id);
        }
        if is_over {
            self.due.push_back(id);
        }
    }

    /// Links a pending task to the dependencies that are still to come.
    fn relink(&mut self, id: TaskId) {
        let record = Arc::clone(&self.task(id).record);
        if record.state != State::Pending || record.started_at.is_some() {
            return;
        }
        let unmet = self.still_unmet(&record);
        self.link_after(id, &unmet);
        if let Some(wait) = self.wait_to_start(id)
            && record.wait.as_ref() != Some(&wait)
        {
            self.set_wait(id, Some(wait.clone()));
            self.emit(id, What::Pending(wait));
        }
    }

    /// The dependencies that the record still waits for: none of them has ended. Who ended badly
    /// took the task along in the same step; who completed may have another life since, which is
    /// nothing to the task, however that one ended.
    fn still_unmet(&self, record: &Record) -> BTreeSet<TaskId> {
        let Some(Wait::After(left)) = record.wait else {
            return BTreeSet::new();
        };
        let mut live = BTreeSet::new();
        for dependency in &record.spec.after {
            if let Some(task) = self.tasks.get(*dependency) {
                let begun = (task.record.created_at, task.record.incarnation);
                live.insert((begun, *dependency));
            }
        }
        let unmet = live.into_iter().map(|(_, dependency)| dependency);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        unmet.filter(|it| *it != record.id).take(left).collect()
    }

    /// Decides what becomes of a task, given its stored record, in a process where no body runs.
    fn revive(&mut self, record: &Record) {
        let id = record.id;
        let task = self.tasks.get(id);
        // It may have concluded since, for what became of another.
        let concludes = task.is_none_or(|task| task.record.conclusion.is_some());
        if concludes || record.conclusion.is_some() {
            return;
        }
        if record.state == State::CancelRequested {
            let outcome = self.stopped(id);
            self.lose(id, Conclusion::Settle(Arc::new(outcome)));
        } else if record.spec.origin == Origin::External {
            self.revive_external(record);
        } else if is_bound(record) {
            self.lose(id, interrupted(record.state));
        } else {
            self.revive_executor(record);
        }
    }

    fn revive_executor(&mut self, record: &Record) {
        let id = record.id;
        match (record.state, &record.wait) {
            (State::Pending, Some(Wait::Backoff(due))) => {
                // The wall clock may have gone back since the delay was written down.
                let delay = longest_delay(record);
                let latest = self.now.after(delay);
                if latest < *due {
                    self.set_wait(id, Some(Wait::Backoff(latest)));
                    self.emit(id, What::Pending(Wait::Backoff(latest)));
                }
                self.arm(id, latest.min(*due), Alarm::Backoff);
            }
            (State::Pending, _) => self.revive_pending(record),
            (State::Running | State::Waiting, _) => {
                let fault = Fault {
                    kind: FaultKind::Lost,
                    message: evidence(record.state),
                };
                let conclusion = self.retry_of(id, &fault).unwrap_or_else(|| {
                    let used_up = self.restarts_used_up(id, &fault);
                    used_up.map_or_else(
                        || interrupted(record.state),
                        |fault| Conclusion::Settle(Arc::new(Outcome::Failed(fault))),
                    )
                });
                self.lose(id, conclusion);
            }
            (State::Suspended, _) => {
                self.arm_wait(id, Alarm::Suspension, record.spec.suspend_timeout);
            }
            (
                State::CancelRequested
                | State::Completed
                | State::Failed
                | State::TimedOut
                | State::Cancelled
                | State::Interrupted,
                _,
            ) => {}
        }
    }

    /// A wait for slots counts on: the time without a process is part of it.
    pub(super) fn revive_pending(&mut self, record: &Record) {
        if record.wait == Some(Wait::Slot) {
            self.arm_wait(record.id, Alarm::Queue, record.spec.queue_timeout);
        }
        self.ready.push_back(record.id);
    }

    /// Concludes a task whose body is gone. Children that end for it do so first.
    fn lose(&mut self, id: TaskId, conclusion: Conclusion) {
        self.forest.close(id);
        self.end_children(id, Ending::Badly);
        self.work_off_ends();
        self.hold(id, conclusion, Ending::Badly);
    }
}

/// The delay before the attempt that a task waits for, before jitter.
fn longest_delay(record: &Record) -> Duration {
    match record.spec.restarts() {
        Some(policy) => {
            let number = u32::try_from(record.restarted_at.len()).unwrap_or(u32::MAX);
            policy.longest_delay_of(number)
        }
        None => record.spec.retry.longest_delay_after(record.attempt),
    }
}

/// Whether nobody but the process that is gone could run its body. Once it has started, that has
/// a time, and keeps one through delays, suspensions and further attempts.
fn is_bound(record: &Record) -> bool {
    match record.spec.origin {
        Origin::Closure => true,
        Origin::External => false,
        Origin::Executor => {
            record.spec.disposition == Disposition::OwnerBound && record.started_at.is_some()
        }
    }
}

fn evidence(state: State) -> Arc<str> {
    format!("its process died while it was {state}").into()
}

fn interrupted(state: State) -> Conclusion {
    Conclusion::Settle(Arc::new(Outcome::Interrupted(evidence(state))))
}
