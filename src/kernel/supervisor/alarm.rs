//! Deadlines: one ordered set for all tasks; the shell keeps one timer for the first.
//!
//! # Invariants
//! 1. Every alarm in the set is listed in its task, except `Key`, which outlives the task.
//! 2. An alarm fires at or after its time, never before.

use std::sync::Arc;
use std::time::Duration;

use super::super::event::What;
use super::super::id::{Epoch, TaskId};
use super::super::record::{Body, Cause, Limit, Requester, Wait};
use super::super::spec::{Origin, StopPolicy};
use super::super::state::State;
use super::super::time::Timestamp;
use super::Bug;
use super::Supervisor;
use super::protocol::{Effect, StopAsk};
use super::stop::Below;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// The time of the whole task is over. Of several that are due at once it is the first.
    Lifetime,
    /// The time of the attempt is over.
    Attempt,
    /// Nothing happened for too long, perhaps.
    Idle,
    /// Nothing was heard of an external task for too long.
    Heartbeat,
    /// It waited for a slot for too long.
    Queue,
    /// It was suspended for too long.
    Suspension,
    /// The grace of a stop is over.
    Grace,
    /// The body was dropped by force and still has not stopped.
    Abort,
    /// Its hooks have taken too long.
    Hook,
    /// The delay before another attempt is over.
    Backoff,
    /// The window of a key is over.
    Key,
}

impl Supervisor {
    pub(super) fn arm(&mut self, id: TaskId, at: Timestamp, alarm: Alarm) {
        self.alarms.insert((at, id, alarm));
        self.task(id).alarms.push((at, alarm));
    }

    pub(super) fn disarm(&mut self, id: TaskId, alarm: Alarm) {
        self.disarm_those(id, |armed| armed == alarm);
    }

    pub(super) fn disarm_all(&mut self, id: TaskId) {
        self.disarm_those(id, |_| true);
    }

    /// Disarms what belongs to one run or one wait; the lifetime goes on.
    pub(super) fn disarm_run(&mut self, id: TaskId) {
        self.disarm_those(id, |armed| armed != Alarm::Lifetime);
    }

    /// Disarms those that go.
    pub(super) fn disarm_those(&mut self, id: TaskId, goes: impl Fn(Alarm) -> bool) {
        let Some(ties) = self.tasks[id].ties.written() else {
            return;
        };
        let all = &mut self.alarms;
        ties.alarms.retain(|(at, alarm)| {
            let goes = goes(*alarm);
            if goes {
                all.remove(&(*at, id, *alarm));
            }
            !goes
        });
    }

    /// Arms the limit of the whole task, which counts from its acceptance, also after a restart.
    pub(super) fn arm_lifetime(&mut self, id: TaskId) {
        let record = &self.task(id).record;
        let (since, limit) = (record.created_at, record.spec.lifetime);
        let Some(limit) = limit else {
            return;
        };
        let due = self.due_within(since, limit);
        if !self.is_armed(id, Alarm::Lifetime) {
            self.arm(id, due, Alarm::Lifetime);
        }
    }

    /// Arms the limit of what a task waits for, if there is one; it counts from `waits_since`.
    pub(super) fn arm_wait(&mut self, id: TaskId, alarm: Alarm, limit: Option<Duration>) {
        let now = self.now;
        let since = *self.edit(id).waits_since.get_or_insert(now);
        if let Some(limit) = limit {
            let due = self.due_within(since, limit);
            // Who changes queues waits on.
            self.disarm(id, alarm);
            self.arm(id, due, alarm);
        }
    }

    /// When a limit that began then is over. The wall clock may have gone back since.
    pub(super) fn due_within(&self, since: Timestamp, limit: Duration) -> Timestamp {
        since.min(self.now).after(limit)
    }

    pub(super) fn is_armed(&self, id: TaskId, alarm: Alarm) -> bool {
        let task = self.tasks.get(id);
        task.is_some_and(|task| task.alarms.iter().any(|(_, armed)| *armed == alarm))
    }

    /// Handles every alarm that is due.
    pub(super) fn tick(&mut self) {
        while let Some(&(at, id, alarm)) = self.alarms.first() {
            if at > self.now {
                return;
            }
            self.alarms.pop_first();
            if let Some(task) = self.tasks.get_mut(id) {
                task.alarms.retain(|armed| *armed != (at, alarm));
            }
            self.fire(id, alarm);
            if alarm == Alarm::Hook {
                // The time of the tasks above may be over, too.
                self.work_off_ends();
            }
        }
    }

    /// Handles the limits that ran out while no process ran.
    pub(super) fn tick_limits(&mut self) {
        let now = self.now;
        let is_limit = |alarm| matches!(alarm, Alarm::Lifetime | Alarm::Queue | Alarm::Suspension);
        let due = self.alarms.iter().take_while(|(at, _, _)| *at <= now);
        let due = due.filter(|(_, _, alarm)| is_limit(*alarm));
        for (_, id, alarm) in due.copied().collect::<Vec<_>>() {
            self.disarm(id, alarm);
            self.fire(id, alarm);
        }
    }

    fn fire(&mut self, id: TaskId, alarm: Alarm) {
        if alarm == Alarm::Key {
            self.key_window_over(id);
            return;
        }
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        let record = &task.record;
        let (state, epoch, spec) = (record.state, record.epoch, record.spec.clone());
        match (alarm, state) {
            (Alarm::Attempt, State::Running | State::Waiting) => {
                self.time_out(id, Limit::Attempt);
            }
            (
                Alarm::Lifetime,
                State::Pending | State::Running | State::Waiting | State::Suspended,
            ) => {
                self.time_out(id, Limit::Lifetime);
            }
            (Alarm::Queue, State::Pending) => self.time_out(id, Limit::Queue),
            (Alarm::Suspension, State::Suspended) => self.time_out(id, Limit::Suspension),
            (Alarm::Idle, State::Running) => {
                self.out.effects.push(Effect::CheckIdle { id, epoch });
            }
            (Alarm::Idle, State::Waiting) => self.rearm_idle(id, self.now),
            (Alarm::Heartbeat, State::Running | State::Waiting) => {
                self.time_out(id, Limit::External);
            }
            (Alarm::Grace, State::CancelRequested) if spec.origin == Origin::External => {
                self.emit(id, What::Aborted);
                self.out.effects.push(Effect::Abort { id, epoch });
                if !self.planted(Bug::CallbackAwaited) {
                    self.callback_over(id, epoch, None);
                }
            }
            (Alarm::Grace, State::CancelRequested) => match spec.stop_policy {
                StopPolicy::Cooperative => self.abandon(id),
                StopPolicy::Abort => {
                    self.emit(id, What::Aborted);
                    self.arm(id, self.now.after(self.bounds.abort_window), Alarm::Abort);
                    self.out.effects.push(Effect::Abort { id, epoch });
                }
            },
            (Alarm::Abort, State::CancelRequested) => self.abandon(id),
            (Alarm::Hook, State::Waiting | State::CancelRequested) => self.hooks_due(id),
            (Alarm::Backoff, State::Pending) => {
                if matches!(self.task(id).record.wait, Some(Wait::Backoff(_))) {
                    self.set_wait(id, None);
                }
                self.ready.push_back(id);
            }
            (
                Alarm::Lifetime
                | Alarm::Attempt
                | Alarm::Idle
                | Alarm::Heartbeat
                | Alarm::Queue
                | Alarm::Suspension
                | Alarm::Grace
                | Alarm::Abort
                | Alarm::Hook
                | Alarm::Backoff
                | Alarm::Key,
                _,
            ) => {}
        }
    }

    /// The shell tells when a task was last active: it has timed out, or its deadline moves.
    pub(super) fn active(&mut self, id: TaskId, epoch: Epoch, at: Timestamp) {
        if !self.is_current(id, epoch) || self.is_armed(id, Alarm::Idle) {
            return;
        }
        let now = self.now;
        let record = &self.task(id).record;
        let Some(limit) = record.spec.idle_timeout else {
            return;
        };
        match record.state {
            State::Running if at.after(limit) <= now => self.time_out(id, Limit::Idle),
            State::Running => self.rearm_idle(id, at),
            State::Waiting => self.rearm_idle(id, self.now),
            State::Pending
            | State::Suspended
            | State::CancelRequested
            | State::Completed
            | State::Failed
            | State::TimedOut
            | State::Cancelled
            | State::Interrupted => {}
        }
    }

    /// The host finds a body stuck: it has timed out.
    pub(super) fn stuck(&mut self, id: TaskId, epoch: Epoch, reason: Arc<str>) {
        if !self.is_current(id, epoch) || self.state(id) == Some(State::CancelRequested) {
            return;
        }
        let ask = StopAsk {
            reason,
            by: Requester::Host,
            grace: None,
            now: false,
        };
        self.ask_stop(id, Cause::Timeout(Limit::Liveness), &ask, Below::ByPolicy);
    }

    pub(super) fn rearm_idle(&mut self, id: TaskId, from: Timestamp) {
        // A limit of zero must not be due again within the same tick.
        let soonest = self.now.after(Duration::from_micros(1));
        let record = &self.task(id).record;
        if let (Some(limit), Body::Live) = (record.spec.idle_timeout, record.body) {
            self.arm(id, from.after(limit).max(soonest), Alarm::Idle);
        }
    }

    fn key_window_over(&mut self, id: TaskId) {
        // A live task keeps its key; it is freed with the task.
        if !self.tasks.contains(id) {
            self.names.free_key_due(id, self.now);
        }
    }
}
