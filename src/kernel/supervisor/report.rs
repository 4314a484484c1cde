//! The end of a body: what its last word leads to.
//!
//! # Invariants
//! 1. Only the newest epoch is heard (K3); the body of an abandoned task only frees what it held.
//! 2. A conclusion waits until no child lives (K5).
//! 3. After a cancel there is no further attempt.
//! 4. Of a task that was given up and only waits for its children or hooks, the conclusion stands:
//!    its body frees what it held, and its late word is nothing.

use std::sync::Arc;

use super::super::event::What;
use super::super::id::{Epoch, TaskId};
use super::super::record::{Body, Cause, Conclusion, Fault, FaultKind, Limit, Outcome, Wait};
use super::super::spec::{LateSuccess, OnParentEnd, Origin, Payload};
use super::super::state::{State, Trigger};
use super::Bug;
use super::Supervisor;
use super::alarm::Alarm;
use super::protocol::End;

/// Whether a body ended as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It returned a value.
    Well,
    /// Anything else.
    Badly,
}

impl Supervisor {
    pub(super) fn report(&mut self, id: TaskId, epoch: Epoch, end: End, undelivered: u32) {
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        let is_newest = task.record.epoch == epoch && task.record.body == Body::Live;
        let is_planted = self.planted(Bug::NoFence) && !task.record.state.is_terminal();
        if !is_newest && !is_planted {
            return;
        }
        if task.record.state.is_terminal() {
            self.edit(id).body = Body::Absent;
            if self.planted(Bug::EndChanges) {
                let late = Outcome::Interrupted("changed".into());
                self.edit(id).outcome = Some(Arc::new(late));
            }
            self.emit(id, What::BodyStopped);
            self.free(id);
            return;
        }
        let record = self.edit(id);
        record.body = Body::Absent;
        record.undelivered = undelivered;
        if self.stops_late(id) {
            return;
        }
        self.disarm_run(id);
        let stop = self.task(id).record.stop.clone();
        if let (None, End::Suspended(payload)) = (&stop, &end) {
            self.suspend(id, payload.clone());
            self.give_back_slot(id);
            return;
        }
        self.end_suspension(id);
        let ending = match (&stop, &end) {
            (None, End::Done(_)) => Ending::Well,
            (None, End::Failed(_) | End::Suspended(_) | End::Aborted) | (Some(_), _) => {
                Ending::Badly
            }
        };
        let conclusion = self.conclusion(id, stop.map(|stop| stop.cause), end);
        self.hold(id, conclusion, ending);
        // Only now, so that no child that ends with its parent takes the turn of its scope for
        // nothing.
        self.give_back_slot(id);
    }

    /// Whether the body that has stopped is one of a task that was given up and waits.
    fn stops_late(&mut self, id: TaskId) -> bool {
        let is_planted = self.planted(Bug::GivenUpRunsAgain) && !self.has_hook(id);
        let record = &self.task(id).record;
        if record.conclusion.is_none() || is_planted {
            return false;
        }
        let wait = record.wait.clone().unwrap_or(Wait::Children);
        self.emit(id, What::Waiting(wait));
        self.give_back_slot(id);
        true
    }

    fn suspend(&mut self, id: TaskId, payload: Payload) {
        self.shift(id, Trigger::Suspend);
        self.edit(id).suspension = Some(payload.clone());
        self.set_wait(id, Some(Wait::Resume(payload.clone())));
        let limit = self.task(id).record.spec.suspend_timeout;
        self.arm_wait(id, Alarm::Suspension, limit);
        self.emit(id, What::Suspended(payload));
    }

    /// What it was suspended with means nothing any more.
    pub(super) fn end_suspension(&mut self, id: TaskId) {
        if let Some(facts) = self.edit(id).facts.written() {
            facts.suspension = None;
        }
    }

    /// What the end of a body leads to.
    fn conclusion(&mut self, id: TaskId, stop: Option<Cause>, end: End) -> Conclusion {
        let outcome = match (stop, end) {
            (None, End::Done(value)) => {
                if !self.task(id).record.spec.ends_with_value() {
                    return self.restart_after_value(id);
                }
                Outcome::Completed(value)
            }
            (None, End::Failed(fault)) => return self.failed(id, fault),
            (None, End::Aborted | End::Suspended(_)) => {
                Outcome::Interrupted("its body was dropped without a request".into())
            }
            (Some(Cause::Timeout(limit)), end) => return self.timed_out(id, limit, end),
            (Some(_), End::Done(value)) => self.cancelled(id, Some(value)),
            (Some(_), End::Failed(_) | End::Suspended(_) | End::Aborted) => {
                if self.planted(Bug::RetryAfterCancel)
                    && let Some(retry) = self.retry_of(id, &timeout_fault(Limit::Attempt))
                {
                    return retry;
                }
                Outcome::Cancelled { late_result: None }
            }
        };
        Conclusion::Settle(Arc::new(outcome))
    }

    /// What a failure of a body leads to.
    fn failed(&mut self, id: TaskId, fault: Fault) -> Conclusion {
        if fault.kind != FaultKind::Permanent {
            if let Some(retry) = self.retry_of(id, &fault) {
                return retry;
            }
            if let Some(used_up) = self.restarts_used_up(id, &fault) {
                return Conclusion::Settle(Arc::new(Outcome::Failed(used_up)));
            }
        }
        Conclusion::Settle(Arc::new(match fault.kind {
            FaultKind::Lost => Outcome::Interrupted(fault.message),
            FaultKind::Error
            | FaultKind::Permanent
            | FaultKind::Panic
            | FaultKind::Timeout
            | FaultKind::RestartedTooOften => Outcome::Failed(fault),
        }))
    }

    /// The outcome of a cancel, given a value that its body still returned.
    pub(super) fn cancelled(&mut self, id: TaskId, late: Option<Payload>) -> Outcome {
        match (self.task(id).record.spec.late_success, late) {
            (LateSuccess::Completed, Some(value)) => Outcome::Completed(value),
            (LateSuccess::Completed | LateSuccess::Cancelled, late_result) => {
                Outcome::Cancelled { late_result }
            }
        }
    }

    fn timed_out(&mut self, id: TaskId, limit: Limit, end: End) -> Conclusion {
        let ends_with_value = self.task(id).record.spec.ends_with_value();
        let (late_result, is_final) = match end {
            End::Done(value) => (Some(value), ends_with_value),
            End::Failed(fault) => (None, fault.kind == FaultKind::Permanent),
            End::Suspended(_) | End::Aborted => (None, false),
        };
        let may_retry = Cause::Timeout(limit).allows_retry() && !is_final;
        if may_retry {
            let fault = timeout_fault(limit);
            if let Some(retry) = self.retry_of(id, &fault) {
                return retry;
            }
            if let Some(used_up) = self.restarts_used_up(id, &fault) {
                return Conclusion::Settle(Arc::new(Outcome::Failed(used_up)));
            }
        }
        Conclusion::Settle(Arc::new(Outcome::TimedOut { limit, late_result }))
    }

    /// Another attempt, if one is left. The failed one gets its event here.
    pub(super) fn retry_of(&mut self, id: TaskId, fault: &Fault) -> Option<Conclusion> {
        self.dice = self.dice.wrapping_add(1);
        let dice = self.dice;
        let record = &self.task(id).record;
        if record.spec.restarts().is_some() {
            return self.restart_of(id, Some(fault));
        }
        let retry = &record.spec.retry;
        let is_here = record.spec.origin != Origin::External;
        if record.attempt >= retry.attempts_max() || !is_here {
            return None;
        }
        let delay = retry.delay_after(record.attempt, dice);
        self.emit(id, What::AttemptFailed(fault.clone()));
        Some(Conclusion::Retry(delay))
    }

    /// Keeps the last word of a body until no child lives.
    pub(super) fn hold(&mut self, id: TaskId, conclusion: Conclusion, ending: Ending) {
        self.forest.close(id);
        self.end_children(id, ending);
        self.edit(id).conclusion = Some(conclusion);
        if self.forest.child_count(id) > 0 && !self.planted(Bug::ParentSettlesFirst) {
            self.shift(id, Trigger::AwaitChildren);
            self.set_wait(id, Some(Wait::Children));
            self.emit(id, What::Waiting(Wait::Children));
        }
        self.due.push_back(id);
    }

    /// Settles or retries a task whose body is over, once no child lives and its hooks have run.
    pub(super) fn conclude(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        if task.record.conclusion.is_none() {
            return;
        }
        if self.forest.child_count(id) > 0 {
            if !self.planted(Bug::ParentSettlesFirst) {
                return;
            }
            for child in self.forest.children(id).collect::<Vec<_>>() {
                self.forest.detach(child);
            }
        }
        if self.awaits_hook(id) {
            return;
        }
        match self.edit(id).conclusion.take() {
            None => {}
            Some(Conclusion::Settle(outcome)) => self.settle(id, outcome),
            Some(Conclusion::Retry(delay)) => {
                let due = self.now.after(delay);
                // It stays closed until it starts: a child must not start before its parent.
                self.shift(id, Trigger::Retry);
                let record = self.edit(id);
                record.stop = None;
                record.undelivered = 0;
                record.wait = Some(Wait::Backoff(due));
                self.emit(id, What::Pending(Wait::Backoff(due)));
                self.arm(id, due, Alarm::Backoff);
                self.arm_lifetime(id);
            }
        }
    }

    /// Deals with the live children of a body that is over, each by its own policy.
    pub(super) fn end_children(&mut self, id: TaskId, ending: Ending) {
        let children: Vec<_> = self.forest.children(id).rev().collect();
        for child in children {
            let task = self.task(child);
            let never_starts = task.awaits_parent;
            let by_default = match ending {
                Ending::Well => OnParentEnd::Wait,
                Ending::Badly => OnParentEnd::Cancel,
            };
            match task.record.spec.on_parent_end.unwrap_or(by_default) {
                OnParentEnd::Wait if !never_starts => {}
                // Most ends of trees are cancels of all of them, which asked each task already.
                OnParentEnd::Wait | OnParentEnd::Cancel if self.forest.is_asked(child) => {}
                OnParentEnd::Wait | OnParentEnd::Cancel => {
                    self.stop_tree(child, Cause::ParentEnded(id));
                }
                OnParentEnd::Detach => self.detach(child),
            }
        }
    }

    /// Makes a child a root of its scope, unless it is being stopped anyway.
    fn detach(&mut self, id: TaskId) {
        if self.task(id).record.state == State::CancelRequested {
            return;
        }
        self.forest.detach(id);
        for below in self.forest.subtree(id) {
            let depth = self.forest.depth(below);
            let record = self.edit(below);
            record.root = id;
            record.depth = depth;
        }
        self.edit(id).parent = None;
        self.emit(id, What::Detached);
        self.parent_started(id);
    }
}

fn timeout_fault(limit: Limit) -> Fault {
    Fault {
        kind: FaultKind::Timeout,
        message: limit.reason().into(),
    }
}
