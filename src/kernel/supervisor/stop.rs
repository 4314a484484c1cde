//! Asking tasks to stop: one, a tree, a scope, all; for a person, a parent, a dependency or a deadline.
//!
//! # Invariants
//! 1. A request closes a task before anything below it is asked, so nothing new appears below (K5).
//! 2. A request is answered when every task it means has settled, and lists each once.
//! 3. A cancel replaces a timeout; between cancels the first reason stays and the shorter grace wins.

use std::sync::Arc;
use std::time::Duration;

use super::super::event::What;
use super::super::id::TaskId;
use super::super::record::{Body, Cause, Conclusion, Limit, Outcome, Requester, Stop};
use super::super::state::{State, Trigger};
use super::Bug;
use super::Supervisor;
use super::alarm::Alarm;
use super::protocol::{CancelReport, Effect, Reply, StopAsk, Target, Ticket};
use super::report::Ending;

/// A request that waits for its tasks to settle.
#[derive(Debug)]
pub(super) struct Watch {
    ticket: Ticket,
    remaining: usize,
    report: CancelReport,
}

/// Who deals with the children of a task whose body is over when it is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Below {
    /// The caller asks each of them, too.
    AskedToo,
    /// Their own policies.
    ByPolicy,
}

impl Supervisor {
    pub(super) fn cancel(&mut self, ticket: Ticket, target: &Target, ask: &StopAsk) {
        if let Target::One(id) | Target::Tree(id) = target
            && self.state(*id).is_none_or(State::is_terminal)
        {
            self.answer_ended(ticket, *id);
            return;
        }
        match target {
            Target::One(id) => {
                self.watch(ticket, &[*id]);
                self.ask_stop(*id, Cause::Asked, ask, Below::ByPolicy);
            }
            Target::Tree(id) => self.cancel_trees(ticket, &[*id], ask, Cause::Asked),
            Target::Scope(scope) => {
                let in_scope = |id: &TaskId| {
                    let task = self.tasks.get(id);
                    task.is_some_and(|task| task.record.spec.scope == *scope)
                };
                let roots: Vec<_> = self.forest.roots().rev().filter(in_scope).collect();
                self.cancel_trees(ticket, &roots, ask, Cause::Asked);
            }
            Target::All => {
                let roots: Vec<_> = self.forest.roots().rev().collect();
                self.cancel_trees(ticket, &roots, ask, Cause::Asked);
            }
        }
    }

    pub(super) fn shutdown(&mut self, ticket: Ticket, ask: &StopAsk) {
        self.closing = true;
        let roots: Vec<_> = self.forest.roots().rev().collect();
        self.cancel_trees(ticket, &roots, ask, Cause::Shutdown);
    }

    /// Answers for a task that has settled before it was asked to stop, or was never known.
    fn answer_ended(&mut self, ticket: Ticket, id: TaskId) {
        if self.planted(Bug::CancelUnanswered) {
            return;
        }
        let abandoned = self.tasks.contains_key(&id);
        let reply = match self.settled.contains_key(&id) {
            false => Reply::Unknown(id),
            true if abandoned => Reply::Cancelled(CancelReport {
                abandoned: vec![id],
                ..CancelReport::default()
            }),
            true => {
                let already_ended = vec![id];
                Reply::Cancelled(CancelReport {
                    already_ended,
                    ..CancelReport::default()
                })
            }
        };
        self.answer(ticket, reply);
    }

    fn cancel_trees(&mut self, ticket: Ticket, roots: &[TaskId], ask: &StopAsk, cause: Cause) {
        let mut meant = Vec::new();
        for root in roots {
            meant.extend(self.forest.subtree(*root).into_iter().map(|id| (id, *root)));
        }
        self.watch(ticket, &meant.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        for (id, root) in meant {
            let cause = if id == root {
                cause
            } else {
                below(cause, root)
            };
            self.ask_stop_within(id, cause, ask);
        }
    }

    /// Cancels a child and everything below it, as `cause` says.
    pub(super) fn stop_tree(&mut self, root: TaskId, cause: Cause) {
        let ask = manager_ask(cause);
        for id in self.forest.subtree(root) {
            let cause = if id == root {
                cause
            } else {
                Cause::Ancestor(root)
            };
            self.ask_stop_within(id, cause, &ask);
        }
    }

    /// Stops one task for a cause that arose inside the kernel.
    pub(super) fn stop_for(&mut self, id: TaskId, cause: Cause) {
        if self.state(id).is_some_and(|state| !state.is_terminal()) {
            self.ask_stop(id, cause, &manager_ask(cause), Below::ByPolicy);
        }
    }

    fn watch(&mut self, ticket: Ticket, tasks: &[TaskId]) {
        if tasks.is_empty() {
            self.answer(ticket, Reply::Cancelled(CancelReport::default()));
            return;
        }
        self.watches_made += 1;
        let watch = self.watches_made;
        for id in tasks {
            self.task(*id).watches.push(watch);
        }
        let (remaining, report) = (tasks.len(), CancelReport::default());
        self.watches.insert(
            watch,
            Watch {
                ticket,
                remaining,
                report,
            },
        );
    }

    /// Tells the requests that wait for a task that it has settled.
    pub(super) fn tell_watches(&mut self, id: TaskId, is_abandoned: bool) {
        let state = self.task(id).record.state;
        for key in std::mem::take(&mut self.task(id).watches) {
            let Some(watch) = self.watches.get_mut(&key) else {
                continue;
            };
            let list = match (state, is_abandoned) {
                (_, true) => &mut watch.report.abandoned,
                (State::Cancelled, false) => &mut watch.report.cancelled,
                (_, false) => &mut watch.report.already_ended,
            };
            list.push(id);
            watch.remaining -= 1;
            if watch.remaining == 0
                && let Some(watch) = self.watches.remove(&key)
            {
                self.answer(watch.ticket, Reply::Cancelled(watch.report));
            }
        }
    }

    /// Asks one task whose whole subtree is asked by the caller.
    fn ask_stop_within(&mut self, id: TaskId, cause: Cause, ask: &StopAsk) {
        if self.state(id).is_some_and(|state| !state.is_terminal()) {
            self.forest.close(id);
            self.ask_stop(id, cause, ask, Below::AskedToo);
        }
    }

    /// Asks one live task to stop.
    fn ask_stop(&mut self, id: TaskId, cause: Cause, ask: &StopAsk, below: Below) {
        self.forest.close(id);
        let (now, default) = (self.now, self.bounds.grace);
        let record = &self.task(id).record;
        let (state, body) = (record.state, record.body);
        let own = record.spec.grace;
        let grace = match (own, ask.grace) {
            (Some(own), Some(asked)) => own.min(asked),
            (own, asked) => asked.or(own).unwrap_or(default),
        };
        let stop = ask.decide(cause, now, grace);
        if state == State::CancelRequested {
            self.join_stop(id, stop, ask.grace.is_some());
            return;
        }
        if let Some(ticket) = self.task(id).queued.take() {
            let (scope, classes) = {
                let task = self.task(id);
                (task.record.spec.scope.clone(), task.classes.clone())
            };
            self.admission.withdraw(&ticket, &scope, &classes);
        }
        self.shift(id, Trigger::AskStop);
        let stop = Arc::new(stop);
        let record = self.edit(id);
        record.stop = Some(Arc::clone(&stop));
        record.wait = None;
        self.emit(id, What::StopAsked(Arc::clone(&stop)));
        match body {
            Body::Live => self.signal(id, stop),
            Body::Absent => self.stop_without_body(id, below),
        }
    }

    fn signal(&mut self, id: TaskId, stop: Arc<Stop>) {
        let epoch = self.task(id).record.epoch;
        self.disarm(id, Alarm::Attempt);
        self.disarm(id, Alarm::Idle);
        self.disarm(id, Alarm::Grace);
        self.arm(id, stop.grace_until, Alarm::Grace);
        self.out.effects.push(Effect::Signal { id, epoch, stop });
    }

    /// A task without a body concludes as cancelled, keeping a value that its body had returned.
    fn stop_without_body(&mut self, id: TaskId, below: Below) {
        self.disarm_all(id);
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
        let outcome = Arc::new(self.cancelled(id, late));
        if below == Below::ByPolicy {
            self.end_children(id, Ending::Badly);
        }
        self.edit(id).conclusion = Some(Conclusion::Settle(outcome));
        self.due.push_back(id);
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
        let is_retrying = matches!(record.conclusion, Some(Conclusion::Retry(_)));
        if is_retrying {
            let cancelled = Outcome::Cancelled { late_result: None };
            record.conclusion = Some(Conclusion::Settle(Arc::new(cancelled)));
        }
        let body = record.body;
        self.emit(id, What::StopAsked(Arc::clone(&stop)));
        // Once force is under way, a new grace would only postpone the end.
        let is_forced = self.is_armed(id, Alarm::Abort);
        match body {
            Body::Live if !is_forced => self.signal(id, stop),
            Body::Live => {
                let epoch = self.task(id).record.epoch;
                self.out.effects.push(Effect::Signal { id, epoch, stop });
            }
            Body::Absent => {}
        }
    }

    /// A deadline of a running task is over.
    pub(super) fn time_out(&mut self, id: TaskId, limit: Limit) {
        let cause = Cause::Timeout(limit);
        self.ask_stop(id, cause, &manager_ask(cause), Below::ByPolicy);
    }
}

fn below(cause: Cause, root: TaskId) -> Cause {
    match cause {
        Cause::Shutdown => Cause::Shutdown,
        Cause::Asked
        | Cause::Ancestor(_)
        | Cause::ParentEnded(_)
        | Cause::Dependency(_)
        | Cause::Timeout(_) => Cause::Ancestor(root),
    }
}

/// The request that understory itself makes for a cause.
fn manager_ask(cause: Cause) -> StopAsk {
    let reason: Arc<str> = match cause {
        Cause::Asked | Cause::Ancestor(_) => "cancelled".into(),
        Cause::ParentEnded(parent) => format!("its parent {parent} ended").into(),
        Cause::Dependency(task) => format!("{task}, which it comes after, did not complete").into(),
        Cause::Shutdown => "the manager shuts down".into(),
        Cause::Timeout(Limit::Attempt) => "the time of the attempt is over".into(),
        Cause::Timeout(Limit::Idle) => "nothing happened for too long".into(),
    };
    StopAsk {
        reason,
        by: Requester::Manager,
        grace: None::<Duration>,
    }
}
