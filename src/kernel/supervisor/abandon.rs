//! Giving up on bodies: tasks that are being stopped settle without waiting for them.
//!
//! # Invariants
//! 1. Only a task that was asked to stop is given up. Its body stays fenced, and its slot, name and
//!    key held, until that has stopped (K6).
//! 2. What lives below is given up first, so that what is above can settle in the same step. For
//!    that nobody waits for hooks either.
//!
//! *Not here*: giving up because the time is over (`alarm`), what a request to stop means
//! (`cancel`).

use std::sync::Arc;

use super::super::event::What;
use super::super::id::TaskId;
use super::super::record::{AbandonRequest, Body, Requester, Stop};
use super::super::spec::{Origin, StopPolicy};
use super::super::state::State;
use super::Bug;
use super::Supervisor;
use super::alarm::Alarm;
use super::protocol::Effect;

/// Why a task was not given up. Nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbandonRefusal {
    /// No such task is known.
    Unknown(TaskId),
    /// It is not being stopped but in this state.
    NotStopping(State),
}

impl Supervisor {
    /// Somebody asks to give up on a task and on everything below it that is being stopped, too.
    ///
    /// Answers which tasks are no longer waited for. The first request is kept in the record.
    pub(super) fn ask_abandon(
        &mut self,
        id: TaskId,
        reason: Arc<str>,
        by: Requester,
    ) -> Result<Vec<TaskId>, AbandonRefusal> {
        let state = self.known_state(id).ok_or(AbandonRefusal::Unknown(id))?;
        if state != State::CancelRequested {
            return Err(AbandonRefusal::NotStopping(state));
        }
        let at = self.now;
        let request = Arc::new(AbandonRequest { reason, by, at });
        let below = self.forest.subtree(id);
        let is_stopping = |id: &TaskId| self.known_state(*id) == Some(State::CancelRequested);
        let stopping: Vec<_> = below.into_iter().filter(is_stopping).collect();
        let mut given_up = stopping.clone();
        given_up.retain(|below| self.holds_up(*below));
        if self.planted(Bug::BelowNotGivenUp) {
            given_up.truncate(1);
        }
        for task in &given_up {
            let record = self.edit(*task);
            record.abandon.get_or_insert_with(|| Arc::clone(&request));
            if let Some(stop) = &mut record.stop {
                let grace_until = stop.grace_until.min(at);
                *stop = Arc::new(Stop {
                    grace_until,
                    ..Stop::clone(stop)
                });
            }
            self.emit(*task, What::AbandonAsked(Arc::clone(&request)));
        }
        self.give_up(given_up.iter().copied());
        self.give_up_hooks(&stopping);
        Ok(given_up)
    }

    /// Settles those of these tasks that only wait for their bodies to stop. Parents come first.
    pub(super) fn give_up<I>(&mut self, tasks: I)
    where
        I: IntoIterator<Item = TaskId, IntoIter: DoubleEndedIterator>,
    {
        for id in tasks.into_iter().rev() {
            if self.holds_up(id) {
                self.give_up_one(id);
                self.work_off_ends();
            }
        }
    }

    /// Whether a task that was asked to stop still has a body to be heard of.
    fn holds_up(&self, id: TaskId) -> bool {
        let record = self.tasks.get(id).map(|task| &task.record);
        record.is_some_and(|record| {
            record.state == State::CancelRequested
                && record.body == Body::Live
                && record.conclusion.is_none()
        })
    }

    fn give_up_one(&mut self, id: TaskId) {
        let record = &self.task(id).record;
        let (epoch, origin, policy) = (record.epoch, record.spec.origin, record.spec.stop_policy);
        if origin == Origin::External {
            // Its callback has been called; nobody waits for that any more.
            self.callback_over(id, epoch, None);
            return;
        }
        let is_forced = self.is_armed(id, Alarm::Abort);
        self.disarm(id, Alarm::Grace);
        self.disarm(id, Alarm::Abort);
        if policy == StopPolicy::Abort && !is_forced {
            self.emit(id, What::Aborted);
            self.out.effects.push(Effect::Abort { id, epoch });
        }
        self.abandon(id);
    }
}
