//! P12, P14: a closure, and what is bound to its owner and has started, end with their process, as
//! they had concluded; a stop may still change that.

use std::sync::Arc;

use super::Checks;
use super::events::newest;
use super::replies::ensure;
use crate::kernel::{
    Conclusion, Disposition, LateSuccess, Origin, Outcome, Payload, Record, State, Step, TaskId,
    What,
};

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
        let stopped = newest(step, id).filter(|record| record.stop.is_some());
        let is_right = match (told.as_deref(), stopped) {
            (Some(told), _) if told == outcome => true,
            (told, Some(stopped)) => match outcome {
                Outcome::Completed(value) => may_complete(stopped, told, value),
                Outcome::Cancelled { .. } | Outcome::TimedOut { .. } | Outcome::Interrupted(_) => {
                    true
                }
                Outcome::Failed(_) => false,
            },
            (Some(_), None) => false,
            (None, None) => outcome.state() == State::Interrupted,
        };
        ensure(is_right, || {
            format!("P12: the body of {id} was gone, it concluded {told:?}, and is {outcome:?}")
        })
    }
}

/// Whether a task that was cancelled may complete after all: with the value that its body returned
/// too late, if it wants that.
fn may_complete(record: &Record, told: Option<&Outcome>, value: &Payload) -> bool {
    let kept = match told {
        Some(Outcome::Completed(value)) => Some(value),
        Some(Outcome::TimedOut { late_result, .. } | Outcome::Cancelled { late_result }) => {
            late_result.as_ref()
        }
        Some(Outcome::Failed(_) | Outcome::Interrupted(_)) | None => None,
    };
    let is_cancel = (record.stop.as_ref()).is_some_and(|stop| !stop.cause.is_timeout());
    is_cancel && record.spec.late_success == LateSuccess::Completed && kept == Some(value)
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
