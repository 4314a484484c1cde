//! Hooks that run before a task settles: its conclusion is held until they are over.
//!
//! # Invariants
//! 1. The outcome that the hooks are shown is the one with which the task settles: a stop that
//!    comes meanwhile can only shorten their time.
//! 2. While they run the task has no live child and takes none; it keeps its name, key and flight.
//! 3. They hold a task for at most [`HOOKS_MAX`], and one that was cancelled not past the time in
//!    which its cancel is to be answered.
//!
//! After a crash the conclusion stands, and the hooks run again.
//!
//! *Not here*: which hooks there are and how they are called (the shell).

use std::sync::Arc;
use std::time::Duration;

use super::super::event::What;
use super::super::id::{Seq, TaskId};
use super::super::record::{Conclusion, Outcome, Wait};
use super::super::state::Trigger;
use super::super::time::Timestamp;
use super::Bug;
use super::Supervisor;
use super::alarm::Alarm;
use super::protocol::{Effect, StopAsk};

/// The longest time that hooks may take, all of a task together.
const HOOKS_MAX: Duration = Duration::from_secs(5);
/// What the hooks of a cancelled task have beyond the time that its body may take.
const HOOKS_AFTER_STOP: Duration = Duration::from_millis(300);
/// How much later the kernel gives them up than the shell, which can tell whose time is over.
const SLACK: Duration = Duration::from_millis(100);

/// What the hooks of a task are called for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookCall {
    /// The task. If there was no time left, it has settled in the same step.
    pub id: TaskId,
    /// For the answer.
    pub turn: Seq,
    /// How it is going to end.
    pub outcome: Arc<Outcome>,
    /// When they should be over.
    pub until: Timestamp,
}

impl Supervisor {
    /// Whether hooks of the task run.
    pub(super) fn has_hook(&self, id: TaskId) -> bool {
        self.tasks.get(id).is_some_and(|task| task.hook.is_some())
    }

    /// Whether a task that could settle now has to wait for its hooks, which are called if they
    /// were not.
    pub(super) fn awaits_hook(&mut self, id: TaskId) -> bool {
        let task = &self.tasks[id];
        if task.hook.is_some() {
            return true;
        }
        let record = &task.record;
        let Some(Conclusion::Settle(outcome)) = &record.conclusion else {
            return false;
        };
        if !self.bounds.hooked.covers(&record.spec) || self.planted(Bug::HookSkipped) {
            return false;
        }
        let outcome = Arc::clone(outcome);
        self.call_hooks(id, outcome);
        true
    }

    fn call_hooks(&mut self, id: TaskId, outcome: Arc<Outcome>) {
        let now = self.now;
        let stop = self.tasks[id].record.stop.as_deref();
        let (until, late) = match stop.filter(|stop| !stop.cause.is_timeout()) {
            Some(stop) => self.hooks_until(stop.grace_until),
            None => (now.after(HOOKS_MAX), now.after(HOOKS_MAX).after(SLACK)),
        };
        self.disarm_all(id);
        self.shift(id, Trigger::AwaitChildren);
        self.set_wait(id, Some(Wait::Hook));
        self.emit(id, What::Waiting(Wait::Hook));
        let turn = self.seq;
        self.task(id).hook = Some((turn, late));
        self.arm(id, late, Alarm::Hook);
        self.out.effects.push(Effect::BeforeSettle(HookCall {
            id,
            turn,
            outcome,
            until,
        }));
    }

    /// Until when hooks may run after a stop with this grace, and when they are given up. Of a
    /// tree that is stopped, those of the tasks above have what those below left; when nothing is
    /// left, they are called and nobody waits for them.
    fn hooks_until(&self, grace_until: Timestamp) -> (Timestamp, Timestamp) {
        let now = self.now;
        let body = grace_until.after(self.bounds.abort_window);
        let until = body.after(HOOKS_AFTER_STOP).min(now.after(HOOKS_MAX));
        (until.max(now), until.after(SLACK).max(now))
    }

    /// A task that is about to settle is asked to stop: it settles as it was going to, but soon.
    pub(super) fn hurry_hook(&mut self, id: TaskId, ask: &StopAsk) {
        let grace = self.grace_of(id, ask.grace());
        let (_, late) = self.hooks_until(self.now.after(grace));
        if let Some((_, before)) = &mut self.task(id).hook
            && late < *before
        {
            *before = late;
            self.disarm(id, Alarm::Hook);
            self.arm(id, late, Alarm::Hook);
        }
    }

    /// The body of a task that was given up has stopped before its hooks are over.
    pub(super) fn stops_during_hook(&mut self, id: TaskId) {
        self.emit(id, What::Waiting(Wait::Hook));
        self.give_back_slot(id);
    }

    /// The hooks are over, or those of an earlier call are.
    pub(super) fn hooks_over(&mut self, id: TaskId, turn: Seq, failures: Vec<Arc<str>>) {
        let hook = self.tasks.get(id).and_then(|task| task.hook);
        if hook.is_none_or(|(current, _)| current != turn) {
            return;
        }
        for why in failures {
            self.emit(id, What::HookFailed(why));
        }
        self.settle_after_hook(id);
    }

    /// The time of the hooks is over: nothing waits for them any more.
    pub(super) fn hooks_late(&mut self, id: TaskId) {
        if self.has_hook(id) {
            self.emit(id, What::HookFailed("before_settle: out of time".into()));
            self.settle_after_hook(id);
        }
    }

    /// Nobody waits any longer for the hooks of these tasks, of which parents come first.
    pub(super) fn give_up_hooks(&mut self, tasks: &[TaskId]) {
        for id in tasks.iter().rev() {
            self.work_off_ends();
            self.hooks_late(*id);
        }
    }

    fn settle_after_hook(&mut self, id: TaskId) {
        self.task(id).hook = None;
        if let Some(Conclusion::Settle(outcome)) = self.edit(id).conclusion.take() {
            self.settle(id, outcome);
        }
    }
}
