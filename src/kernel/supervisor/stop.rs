//! How one task is asked to stop: for a person, a task above it, a dependency or a deadline.
//!
//! # Invariants
//! 1. A request closes a task before anything below it is asked, so nothing new appears below (K5).
//! 2. A cancel replaces a timeout; between cancels the first reason stays and the shorter grace
//!    wins.
//! 3. Understory's own cascades ask each task once, however many tasks above it end.
//!
//! *Not here*: which tasks a request means and how it is answered (`cancel`).

use std::sync::Arc;
use std::time::Duration;

use super::super::event::What;
use super::super::id::TaskId;
use super::super::record::{Body, Cause, Conclusion, Limit, Outcome, Requester, Stop, Wait};
use super::super::state::{State, Trigger};
use super::Bug;
use super::Supervisor;
use super::alarm::Alarm;
use super::protocol::{Effect, StopAsk};
use super::report::Ending;

/// Who deals with the children of a task whose body is over when it is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Below {
    /// The caller asks each of them, too.
    AskedToo,
    /// Their own policies.
    ByPolicy,
}

impl Supervisor {
    /// Cancels a child and everything below it, as `cause` says.
    pub(super) fn stop_tree(&mut self, root: TaskId, cause: Cause) {
        self.stop_tree_as(root, cause, &manager_ask(cause));
    }

    pub(super) fn stop_tree_as(&mut self, root: TaskId, cause: Cause, ask: &StopAsk) {
        for id in self.forest.not_asked(root) {
            let cause = if id == root {
                cause
            } else {
                Cause::Ancestor(root)
            };
            self.ask_stop_within(id, cause, ask);
        }
    }

    /// Stops one task for a cause that arose inside the kernel.
    pub(super) fn stop_for(&mut self, id: TaskId, cause: Cause) {
        if self.state(id).is_some_and(|state| !state.is_terminal()) {
            self.ask_stop(id, cause, &manager_ask(cause), Below::ByPolicy);
        }
    }

    /// Asks one task whose whole subtree is asked by the caller.
    pub(super) fn ask_stop_within(&mut self, id: TaskId, cause: Cause, ask: &StopAsk) {
        if self.state(id).is_some_and(|state| !state.is_terminal()) {
            self.forest.mark_asked(id);
            self.ask_stop(id, cause, ask, Below::AskedToo);
        }
    }

    /// Asks one live task to stop.
    pub(super) fn ask_stop(&mut self, id: TaskId, cause: Cause, ask: &StopAsk, below: Below) {
        if self.has_hook(id) {
            self.hurry_hook(id, ask);
            return;
        }
        self.forest.close(id);
        let record = &self.tasks[id].record;
        let (state, body) = (record.state, record.body);
        let asked = ask.grace();
        let stop = ask.decide(cause, self.now, self.grace_of(id, asked));
        if state == State::CancelRequested {
            self.join_stop(id, stop, asked.is_some());
            return;
        }
        self.withdraw(id);
        self.shift(id, Trigger::AskStop);
        let stop = self.shared(stop);
        let record = self.edit(id);
        record.stop = Some(Arc::clone(&stop));
        record.wait = None;
        record.waits_since = None;
        self.emit(id, What::StopAsked(Arc::clone(&stop)));
        match body {
            Body::Live => self.signal(id, stop),
            Body::Absent => self.stop_without_body(id, below),
        }
    }

    /// The request as one that others have, too: most tasks below one are asked alike.
    fn shared(&mut self, stop: Stop) -> Arc<Stop> {
        match &self.newest_stop {
            Some(newest) if **newest == stop => Arc::clone(newest),
            Some(_) | None => {
                let stop = Arc::new(stop);
                self.newest_stop = Some(Arc::clone(&stop));
                stop
            }
        }
    }

    /// How long the task may go on after such a request.
    pub(super) fn grace_of(&self, id: TaskId, asked: Option<Duration>) -> Duration {
        match (self.tasks[id].record.spec.grace, asked) {
            (Some(own), Some(asked)) => own.min(asked),
            (own, asked) => asked.or(own).unwrap_or(self.bounds.grace),
        }
    }

    /// Takes a task out of the queue for its slots, and tells whether it stood there.
    pub(super) fn withdraw(&mut self, id: TaskId) -> bool {
        let task = self.task(id);
        let ties = task.ties.written();
        let Some(ticket) = ties.and_then(|ties| ties.queued.take()) else {
            return false;
        };
        let (scope, classes) = (task.record.spec.scope.clone(), task.classes.clone());
        self.admission.withdraw(&ticket, &scope, &classes);
        true
    }

    fn signal(&mut self, id: TaskId, stop: Arc<Stop>) {
        let epoch = self.task(id).record.epoch;
        self.disarm_those(id, |alarm| {
            matches!(
                alarm,
                Alarm::Attempt | Alarm::Idle | Alarm::Heartbeat | Alarm::Grace | Alarm::Lifetime
            )
        });
        let is_planted = self.planted(Bug::GraceIgnored);
        let until = if is_planted {
            self.now
        } else {
            stop.grace_until
        };
        self.arm(id, until, Alarm::Grace);
        self.out.effects.push(Effect::Signal { id, epoch, stop });
    }

    /// A task without a body concludes as stopped, keeping a value that its body had returned.
    fn stop_without_body(&mut self, id: TaskId, below: Below) {
        self.disarm_all(id);
        self.give_back_slot(id);
        self.conclude_as_stopped(id);
        if below == Below::ByPolicy {
            self.end_children(id, Ending::Badly);
        }
        if self.forest.child_count(id) > 0 {
            self.set_wait(id, Some(Wait::Children));
        }
        self.due.push_back(id);
    }

    /// Whatever the last word of a body was going to lead to, it is the stop now.
    fn conclude_as_stopped(&mut self, id: TaskId) {
        let late = match self.edit(id).conclusion.take() {
            Some(Conclusion::Settle(outcome)) => match &*outcome {
                Outcome::Completed(value) => Some(value.clone()),
                Outcome::TimedOut { late_result, .. } | Outcome::Cancelled { late_result } => {
                    late_result.clone()
                }
                Outcome::Failed(_) | Outcome::Interrupted(_) => None,
            },
            Some(Conclusion::Retry(_)) | None => None,
        };
        let cause = self.task(id).record.stop.as_ref().map(|stop| stop.cause);
        let outcome = Arc::new(match cause {
            Some(Cause::Timeout(limit)) => Outcome::TimedOut {
                limit,
                late_result: late,
            },
            Some(_) | None => self.cancelled(id, late),
        });
        self.edit(id).conclusion = Some(Conclusion::Settle(outcome));
    }

    /// A task that is being stopped already is asked again.
    ///
    /// Only an explicit grace can shorten the one that runs.
    fn join_stop(&mut self, id: TaskId, stop: Stop, has_grace: bool) {
        let Some(before) = self.task(id).record.stop.clone() else {
            return;
        };
        let replaces = before.cause.is_timeout() && !stop.cause.is_timeout();
        let is_sooner = has_grace && stop.grace_until < before.grace_until;
        if !replaces && !is_sooner {
            return;
        }
        let grace_until = if is_sooner {
            stop.grace_until
        } else {
            before.grace_until
        };
        let base = if replaces { stop } else { Stop::clone(&before) };
        let stop = Arc::new(Stop {
            grace_until,
            ..base
        });
        let record = self.edit(id);
        record.stop = Some(Arc::clone(&stop));
        let (body, concludes) = (record.body, record.conclusion.is_some());
        if replaces && concludes {
            self.conclude_as_stopped(id);
        }
        self.emit(id, What::StopAsked(Arc::clone(&stop)));
        // Once force is under way, a new grace would only postpone the end.
        let is_forced = concludes || self.is_armed(id, Alarm::Abort);
        match body {
            Body::Live if !is_forced => self.signal(id, stop),
            Body::Live => {
                let epoch = self.task(id).record.epoch;
                self.out.effects.push(Effect::Signal { id, epoch, stop });
            }
            Body::Absent => {}
        }
    }

    /// A deadline of a task is over.
    pub(super) fn time_out(&mut self, id: TaskId, limit: Limit) {
        let cause = Cause::Timeout(limit);
        self.ask_stop(id, cause, &manager_ask(cause), Below::ByPolicy);
    }
}

/// The request that understory itself makes for a cause.
fn manager_ask(cause: Cause) -> StopAsk {
    let reason: Arc<str> = match cause {
        Cause::Asked | Cause::Ancestor(_) | Cause::Run => "cancelled".into(),
        Cause::Budget => "a budget is used up".into(),
        Cause::ParentEnded(parent) => format!("its parent {parent} ended").into(),
        Cause::Dependency(task) => format!("{task}, which it comes after, did not complete").into(),
        Cause::Shutdown => "the manager shuts down".into(),
        Cause::Timeout(limit) => limit.reason().into(),
    };
    StopAsk {
        reason,
        by: Requester::Manager,
        grace: None,
        now: false,
    }
}
