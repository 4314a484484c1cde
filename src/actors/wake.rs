//! Wakes for tasks that cannot hear: something arrives for one whose body is gone or suspended.
//!
//! # Invariants
//! 1. Between a wake and its acknowledgement a task is not woken again; its next run acknowledges.
//! 2. No wake is lost between a body's last look and its end: what came meanwhile is looked at when
//!    the suspension is shown.
//! 3. Whoever is told runs elsewhere: here it is only begun.
//!
//! *Not here*: the host's hook (the public face).

use dashmap::DashMap;
use tokio::sync::SetOnce;

use super::hub::Hub;
use crate::inbox::MessageId;
use crate::kernel::{Body, Event, IdHash, Key, State, TaskId, What};

/// What arrived for a task that cannot hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WakeCause {
    /// A message that was sent to trigger or to interrupt.
    Message(MessageId),
    /// A task below it, or that it spawned, has settled.
    Ended(TaskId),
    /// A question of it was answered.
    Answered(Key),
}

type Call = Box<dyn Fn(TaskId, WakeCause) + Send + Sync>;

/// Who is told, and which tasks were woken and have not acknowledged it.
#[derive(Default)]
pub(super) struct Waker {
    call: SetOnce<Call>,
    told: DashMap<TaskId, (), IdHash>,
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waker")
            .field("told", &self.told.len())
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// Sets who is told of wakes.
    pub(crate) fn on_wake(&self, call: impl Fn(TaskId, WakeCause) + Send + Sync + 'static) {
        let _is_first = self.waker.call.set(Box::new(call)).is_ok();
    }

    /// Wakes a task, if its body is gone and it was not woken since its last run.
    pub(crate) fn wake(&self, id: TaskId, cause: WakeCause) {
        let Some(call) = self.waker.call.get() else {
            return;
        };
        if self.is_deaf(id) && self.waker.told.insert(id, ()).is_none() {
            call(id, cause);
        }
    }

    /// Lets a task be woken again.
    pub(crate) fn acknowledge_wake(&self, id: TaskId) {
        // Without anybody to be told no task was ever woken.
        if self.waker.call.initialized() {
            self.waker.told.remove(&id);
        }
    }

    /// Whether no body of the task runs or will run by itself.
    fn is_deaf(&self, id: TaskId) -> bool {
        let record = self.index.get(id);
        record.is_some_and(|record| {
            record.body == Body::Absent
                && match record.state {
                    State::Pending | State::Running | State::CancelRequested => false,
                    State::Suspended
                    | State::Waiting
                    | State::Completed
                    | State::Failed
                    | State::TimedOut
                    | State::Cancelled
                    | State::Interrupted => true,
                }
        })
    }

    /// Looks whether durable events, which the index shows already, wake somebody.
    pub(super) fn wake_for(&self, event: &Event) {
        if self.waker.call.get().is_none() {
            return;
        }
        let id = event.task;
        if matches!(event.what, What::Settled { .. }) {
            self.owner_hears(id);
        } else if matches!(event.what, What::Suspended(_)) {
            self.look_back(id);
        } else if let What::Answered { key, .. } = &event.what {
            self.wake(id, WakeCause::Answered(key.clone()));
        } else if let What::MessageKept { message, .. } = &event.what {
            self.wake(id, WakeCause::Message(*message));
        }
    }

    /// The task above one that has settled, or that spawned it, is woken or will look.
    fn owner_hears(&self, id: TaskId) {
        let record = self.index.get(id);
        let owner = record.and_then(|record| record.parent.or(record.spawned_by));
        let Some(owner) = owner else { return };
        if let Some(live) = self.live(owner) {
            live.note_news(id);
        }
        self.wake(owner, WakeCause::Ended(id));
    }

    /// What came while the body of a task that is now suspended still ran.
    fn look_back(&self, id: TaskId) {
        let Some(live) = self.live(id) else { return };
        if let Some(message) = live.inbox.would_wake() {
            self.wake(id, WakeCause::Message(message));
        } else if let Some(child) = live.news() {
            self.wake(id, WakeCause::Ended(child));
        }
    }
}
