//! Hooks that run before a task settles: its conclusion is held until they are over.
//!
//! # Invariants
//! 1. The outcome that the hooks are shown is the one with which the task settles: a stop that
//!    comes meanwhile can only shorten their time.
//! 2. While they run the task has no live child and takes none; it keeps its name, key and flight.
//! 3. They hold a task for at most [`HOOKS_MAX`], and one that was cancelled not past the time in
//!    which its cancel is to be answered.
//! 4. Their time begins when they are called: until the shell says so it is only held against them
//!    if the cancel of a tree waits.
//! 5. Only then may they have less than [`HOOKS_AFTER_STOP`] when they are called.
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
    /// When they should be over, if they are called now.
    pub until: Timestamp,
    /// How long they have from their call on, whenever that is. Without it the above holds.
    pub time: Option<Duration>,
}

/// The call of its hooks that keeps a task from settling.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calling {
    turn: Seq,
    /// When it is given up.
    late: Timestamp,
    /// How long it may take from its beginning on, if that was not told.
    time: Option<Duration>,
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
        let cancel = stop.filter(|stop| !stop.cause.is_timeout());
        let grace_until = cancel.map(|stop| stop.grace_until);
        let promised = self.promised(id);
        let mut until = now.after(HOOKS_MAX);
        if let Some(grace_until) = grace_until {
            // Whoever was cancelled long ago, or before a crash, has some time all the same. Of a
            // tree that is waited for, those above have what those below left: when nothing is
            // left, they are called and nobody waits for them.
            let soon = now.after(HOOKS_AFTER_STOP);
            let soon = promised.map_or(soon, |promised| soon.min(promised));
            until = until.min(self.hooks_until(grace_until).max(soon));
        }
        if self.planted(Bug::HooksGetNoTime) {
            until = now;
        }
        let late = until.after(SLACK).max(now);
        let until = until.max(now);
        let time = promised.is_none().then(|| until.since(now));
        self.disarm_all(id);
        self.shift(id, Trigger::AwaitChildren);
        self.set_wait(id, Some(Wait::Hook));
        self.emit(id, What::Waiting(Wait::Hook));
        let turn = self.seq;
        self.task(id).hook = Some(Box::new(Calling { turn, late, time }));
        self.arm(id, late, Alarm::Hook);
        self.out.effects.push(Effect::BeforeSettle(HookCall {
            id,
            turn,
            outcome,
            until,
            time,
        }));
    }

    /// Until when hooks may run after a stop with this grace.
    pub(super) fn hooks_until(&self, grace_until: Timestamp) -> Timestamp {
        let body = grace_until.after(self.bounds.abort_window);
        body.after(HOOKS_AFTER_STOP)
    }

    /// The shell has called the hooks: their time begins.
    pub(super) fn hooks_begun(&mut self, id: TaskId, turn: Seq) {
        let now = self.now;
        if let Some(task) = self.tasks.get_mut(id)
            && let Some(calling) = &mut task.hook
            && calling.turn == turn
            && let Some(time) = calling.time.take()
        {
            calling.late = now.after(time).after(SLACK);
            self.rearm_hook(id);
        }
    }

    /// The time of the hooks is over, unless they have not been called yet.
    pub(super) fn hooks_due(&mut self, id: TaskId) {
        let now = self.now;
        match self.tasks.get_mut(id).and_then(|task| task.hook.as_mut()) {
            Some(calling) if calling.time.is_some() => {
                // What calls them waits for the store.
                calling.late = now.after(HOOKS_MAX);
                self.rearm_hook(id);
            }
            Some(_) | None => self.hooks_late(id),
        }
    }

    fn rearm_hook(&mut self, id: TaskId) {
        if let Some(late) = self.task(id).hook.as_ref().map(|calling| calling.late) {
            self.disarm(id, Alarm::Hook);
            self.arm(id, late, Alarm::Hook);
        }
    }

    /// A task that is about to settle is asked to stop: it settles as it was going to, but soon.
    pub(super) fn hurry_hook(&mut self, id: TaskId, ask: &StopAsk) {
        let grace = self.grace_of(id, ask.grace());
        let late = self.hooks_until(self.now.after(grace)).after(SLACK);
        let ties = self.task(id).ties.written();
        if let Some(calling) = ties.and_then(|ties| ties.hook.as_mut()) {
            // From now on it is the stop that says until when, also if they were not called yet.
            calling.time = None;
            calling.late = calling.late.min(late);
            self.rearm_hook(id);
        }
    }

    /// The hooks are over, or those of an earlier call are.
    pub(super) fn hooks_over(&mut self, id: TaskId, turn: Seq, failures: Vec<Arc<str>>) {
        let hook = self
            .tasks
            .get(id)
            .and_then(|task| task.hook.as_deref().copied());
        if hook.is_none_or(|calling| calling.turn != turn) {
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
