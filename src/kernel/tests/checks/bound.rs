//! P12, P14: a closure, and what is bound to its owner and has started, end with their process.

use std::sync::Arc;

use super::Checks;
use super::events::newest;
use super::replies::ensure;
use crate::kernel::{Conclusion, Disposition, Origin, Outcome, Record, State, Step, TaskId, What};

type Verdict = Result<(), String>;

impl Checks {
    /// The process has died: these tasks can only end, as they concluded or as interrupted.
    pub(super) fn owners_are_gone(&mut self, durable: &[Arc<Record>]) {
        let live = durable.iter().filter(|record| !record.state.is_terminal());
        let told = |record: &Arc<Record>| match &record.conclusion {
            Some(Conclusion::Settle(outcome)) => (record.id, Some(Arc::clone(outcome))),
            Some(Conclusion::Retry(_)) | None => (record.id, None),
        };
        let gone = live.filter(|record| needs_its_owner(record)).map(told);
        self.gone = gone.collect();
    }

    pub(super) fn starts_with_its_owner(&self, id: TaskId) -> Verdict {
        ensure(!self.gone.contains_key(&id), || {
            format!("P14: {id} starts again, and whose body it was is gone")
        })
    }

    pub(super) fn ends_without_its_owner(
        &self,
        id: TaskId,
        outcome: &Outcome,
        step: &Step,
    ) -> Verdict {
        let Some(told) = self.gone.get(&id) else {
            return Ok(());
        };
        let was_stopped = newest(step, id).is_some_and(|record| record.stop.is_some());
        let state = outcome.state();
        let is_right = match told.as_deref() {
            Some(told) if told == outcome => true,
            Some(_) | None if was_stopped => {
                matches!(
                    state,
                    State::Cancelled | State::TimedOut | State::Interrupted
                )
            }
            Some(_) => false,
            None => state == State::Interrupted,
        };
        ensure(is_right, || {
            format!("P12: the body of {id} was gone, it concluded {told:?}, and is {outcome:?}")
        })
    }
}

/// What has never started has lost nothing with the process that accepted it.
pub(super) fn unstarted_go_on(step: &Step) -> Verdict {
    let ends = step.events.iter().filter(|event| {
        let What::Settled { outcome, .. } = &event.what else {
            return false;
        };
        outcome.state() == State::Interrupted
    });
    let mut ended = ends.filter_map(|event| newest(step, event.task));
    let lost =
        ended.find(|record| record.spec.origin == Origin::Executor && record.started_at.is_none());
    ensure(lost.is_none(), || {
        format!("P12: {lost:?} had not started, and another process could have run it")
    })
}

fn needs_its_owner(record: &Record) -> bool {
    let is_bound = record.spec.disposition == Disposition::OwnerBound;
    match record.spec.origin {
        Origin::Closure => true,
        Origin::Executor => is_bound && record.started_at.is_some(),
        Origin::External => false,
    }
}
