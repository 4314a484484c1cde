//! Wakes for tasks that cannot hear: something arrives for one whose body is gone or suspended.
//!
//! # Invariants
//! 1. Between a wake and its acknowledgement a task is not woken again; its next run acknowledges.
//! 2. No wake is lost between a body's last look and its end: what came meanwhile, and was not
//!    heard, is looked at when the suspension is shown.
//! 3. What came for a task that is suspended, and stands in the store, wakes it when a process
//!    begins: nobody knows whether the one before told its host. What its body had not heard when
//!    it suspended is not in the store: if the process goes in that moment, it does not wake.
//! 4. Whoever is told runs elsewhere: here it is only begun.
//!
//! *Not here*: the host's hook (the public face).

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::SetOnce;

use super::hub::Hub;
use crate::engine::News;
use crate::inbox::MessageId;
use crate::kernel::{Body, Epoch, Event, IdHash, Key, Question, Record, State, TaskId, What};
use crate::store::Batch;

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
    /// Each for the epoch in which it was.
    told: DashMap<TaskId, Epoch, IdHash>,
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

    /// Whether somebody is told of wakes.
    pub(crate) fn hears_wakes(&self) -> bool {
        self.waker.call.initialized()
    }

    /// Wakes a task, if its body is gone and it was not woken since its last run.
    pub(crate) fn wake(&self, id: TaskId, cause: WakeCause) {
        let Some(call) = self.waker.call.get() else {
            return;
        };
        let record = self.index.get(id).filter(|record| is_deaf(record));
        let Some(epoch) = record.map(|record| record.epoch) else {
            return;
        };
        if self.waker.told.insert(id, epoch) != Some(epoch) {
            call(id, cause);
        }
    }

    /// Lets a task be woken again.
    pub(crate) fn acknowledge_wake(&self, id: TaskId) {
        // Without anybody to be told no task was ever woken.
        if self.hears_wakes() {
            self.waker.told.remove(&id);
        }
    }

    /// Notes for bodies what a batch brings them, before they can hear of it.
    pub(super) fn note_news(&self, batch: &Batch) {
        if !self.hears_wakes() {
            return;
        }
        let ended = |record: &Record| {
            let before = self.index.get(record.id);
            let was_over = before.is_some_and(|before| {
                before.incarnation == record.incarnation && before.state.is_terminal()
            });
            record.state.is_terminal() && !was_over
        };
        for record in batch.records.iter().filter(|record| ended(record)) {
            if let Some(live) = owner(record).and_then(|owner| self.live(owner)) {
                live.note_news(News::Ended((record.id, record.incarnation)));
            }
        }
        for event in &batch.events {
            if let What::Answered { key, .. } = &event.what
                && let Some(live) = self.live(event.task)
            {
                live.note_news(News::Answered(key.clone()));
            }
        }
    }

    /// Looks whether durable events, which the index shows already, wake somebody.
    pub(super) fn wake_for(&self, event: &Event) {
        if !self.hears_wakes() {
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

    /// The task above one that has settled, or that spawned it, is woken.
    fn owner_hears(&self, id: TaskId) {
        let record = self.index.get(id);
        if let Some(owner) = record.and_then(|record| owner(&record)) {
            self.wake(owner, WakeCause::Ended(id));
        }
    }

    /// What came while the body of a task that is now suspended still ran.
    fn look_back(&self, id: TaskId) {
        let Some(live) = self.live(id) else { return };
        if let Some(message) = live.inbox.would_wake() {
            self.wake(id, WakeCause::Message(message));
            return;
        }
        let news = live.unheard().and_then(|unheard| unheard.any());
        match news {
            Some(News::Ended((child, _))) => self.wake(id, WakeCause::Ended(child)),
            Some(News::Answered(key)) => self.wake(id, WakeCause::Answered(key)),
            None => {}
        }
    }

    /// Wakes those of these who were suspended when something came for them.
    pub(super) fn wake_at_start(&self, records: &[Arc<Record>]) {
        if !self.hears_wakes() {
            return;
        }
        for record in records {
            if record.state.is_terminal() {
                self.end_wakes(record);
            } else if let Some(message) = record.unacknowledged().first() {
                self.wake(record.id, WakeCause::Message(message.id));
            } else if let Some(key) = answered_in_its_sleep(record) {
                self.wake(record.id, WakeCause::Answered(key.clone()));
            }
        }
    }

    /// The task above one that ended while that one was suspended.
    fn end_wakes(&self, ended: &Record) {
        let owner = owner(ended).and_then(|owner| self.index.get(owner));
        let Some(owner) = owner.filter(|owner| owner.state == State::Suspended) else {
            return;
        };
        // By its number, too, as clocks go back.
        if ended.seq > owner.seq || ended.ended_at >= owner.suspended_at {
            self.wake(owner.id, WakeCause::Ended(ended.id));
        }
    }
}

/// The task above this one, or that spawned it.
fn owner(record: &Record) -> Option<TaskId> {
    record.parent.or(record.spawned_by)
}

fn answered_in_its_sleep(record: &Record) -> Option<&Key> {
    let since = record.suspended_at?;
    let mut questions = record.questions.as_deref()?.iter();
    let is_new = |(_, question): &(&Key, &Question)| {
        let answer = question.answer.as_ref();
        answer.is_some_and(|answer| answer.at >= since)
    };
    questions.find(is_new).map(|(key, _)| key)
}

/// Whether no body of the task runs or will run by itself.
fn is_deaf(record: &Record) -> bool {
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
}
