//! Which records go, and who is no longer waited for (K6, and the row of pruning).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Checks;
use super::replies::{Asked, ensure};
use super::view::Seen;
use crate::kernel::{
    AbandonRefusal, Control, Controlled, Input, Record, Seq, State, Step, Target, TaskId, Timestamp,
};

type Verdict = Result<(), String>;

/// How many records one step removes as their time is over.
const SWEEP_MAX: usize = 256;

impl Checks {
    /// The tasks that are being stopped.
    pub(in crate::kernel_tests) fn stopping(&self) -> Vec<TaskId> {
        let tasks = self.view.tasks.iter();
        let stopping = tasks.filter(|(_, seen)| seen.state == State::CancelRequested);
        stopping.map(|(id, _)| *id).collect()
    }

    /// A task as one would choose it now, to remove its record.
    pub(in crate::kernel_tests) fn chosen(&self, id: TaskId) -> (TaskId, Seq) {
        let seen = self.view.tasks.get(&id);
        (id, seen.map_or(Seq(0), |seen| seen.record.seq))
    }

    /// Notes what a request about scopes, records or limits must lead to.
    pub(super) fn control_asked(&mut self, ask: &Control) -> Asked {
        match ask {
            Control::Abandon { id, .. } => Asked::Abandon(self.abandon(*id)),
            Control::Close {
                scope,
                ask,
                only_if_idle,
            } => self.close(scope, ask, *only_if_idle),
            Control::Reopen(scope) => Asked::Reopen(self.gates.closed.remove(scope)),
            Control::Transfer { ids, to } => Asked::Transfer(self.transfer(ids, to)),
            Control::Sweep | Control::Remove(_) => Asked::Remove,
            Control::Capacity(_) | Control::Charge { .. } | Control::Grant { .. } => Asked::Control,
        }
    }

    /// Who is given up: whoever below a task only waits for a body to stop.
    fn abandon(&self, id: TaskId) -> Result<BTreeSet<TaskId>, AbandonRefusal> {
        match self.view.state(id) {
            None => Err(AbandonRefusal::Unknown(id)),
            Some(State::CancelRequested) => {
                let mut meant = self.view.meant(&Target::Tree(id));
                meant.retain(|id| is_waited_for(&self.view.tasks[id]));
                Ok(meant)
            }
            Some(other) => Err(AbandonRefusal::NotStopping(other)),
        }
    }

    pub(super) fn control_reply(&self, asked: &Asked, told: &Controlled) -> Verdict {
        let is_right = match (asked, told) {
            (Asked::Abandon(Err(right)), Controlled::Abandoned(Err(told))) => right == told,
            (Asked::Abandon(Ok(meant)), Controlled::Abandoned(Ok(told))) => {
                let listed: BTreeSet<_> = told.iter().copied().collect();
                let seen = |id: &TaskId| self.view.tasks.get(id);
                let waits = listed.iter().filter_map(seen).any(is_waited_for);
                listed == *meant && told.len() == meant.len() && !waits
            }
            (Asked::Transfer(moving), Controlled::Transferred(told)) => {
                return self.transfer_reply(moving, told);
            }
            (Asked::Reopen(right), Controlled::Reopened(told)) => right == told,
            (Asked::Remove, Controlled::Removed(told)) => *told == self.removed,
            (
                Asked::Control,
                Controlled::Capacity(_) | Controlled::Charged(_) | Controlled::Granted(_),
            ) => true,
            (_, _) => false,
        };
        ensure(is_right, || {
            format!("rule 6: {asked:?} is answered with {told:?}")
        })
    }

    /// A record goes when somebody says so, when its time is over or when there are too many; and
    /// it goes when its time is over.
    pub(super) fn removals(&mut self, input: Option<&Input>, step: &Step) -> Verdict {
        let settled = self.view.tasks.values().filter(|seen| seen.is_settled());
        let mut left = settled.count();
        for id in &step.removed {
            let seen = self.view.tasks.get(id);
            let Some(seen) = seen.filter(|seen| !seen.is_held()) else {
                return Err(format!("P2: {id} is no longer kept and is not over"));
            };
            let is_named = matches!(
                input,
                Some(Input::Control { ask: Control::Remove(chosen), .. })
                    if chosen.contains(&(*id, seen.record.seq))
            );
            let is_due = self.kept_until(seen).is_some_and(|at| at <= self.now);
            ensure(is_named || is_due || left > self.bounds.settled_max, || {
                format!("P2: the record of {id} is removed, and its time is not over")
            })?;
            *self.removed.entry(seen.state).or_default() += 1;
            left -= 1;
        }
        Ok(())
    }

    pub(super) fn forget_removed(&mut self, input: Option<&Input>, step: &Step) -> Verdict {
        for id in &step.removed {
            self.view.tasks.remove(id);
        }
        let sweeps = matches!(
            input,
            Some(
                Input::Tick
                    | Input::Control {
                        ask: Control::Sweep,
                        ..
                    }
            )
        );
        // Of many that are due a step removes some.
        let has_more = step.removed.len() >= SWEEP_MAX;
        if !sweeps || has_more || self.bounds.retain.is_empty() {
            return Ok(());
        }
        let is_due = |seen: &&Seen| {
            let until = self.kept_until(seen);
            // What settles in the step of a tick is due at the next one.
            let is_new = seen.record.ended_at == Some(self.now);
            !seen.is_held() && !is_new && until.is_some_and(|at| at <= self.now)
        };
        let overdue = self.view.tasks.values().find(is_due);
        ensure(overdue.is_none(), || {
            format!("P16: the time of this record is over, and it is kept: {overdue:?}")
        })
    }

    fn kept_until(&self, seen: &Seen) -> Option<Timestamp> {
        let kept_for = self.bounds.retain.get(&seen.state)?;
        let ended_at = seen.record.ended_at?;
        let ahead = self.ended_ahead.get(&(seen.record.id, ended_at));
        Some(ahead.unwrap_or(&ended_at).after(*kept_for))
    }

    /// P18: what ended later than now, as the clock went back, is kept for its time from now on.
    pub(super) fn recall_ended(&mut self, now: Timestamp, durable: &[Arc<Record>]) {
        let ended = durable.iter().filter_map(|it| Some((it.id, it.ended_at?)));
        let ahead = ended.filter(|(_, ended_at)| *ended_at > now);
        self.ended_ahead = ahead.map(|it| (it, now)).collect();
    }
}

/// Whether a task that was asked to stop only waits for its body.
fn is_waited_for(seen: &Seen) -> bool {
    let is_asked = seen.state == State::CancelRequested;
    is_asked && seen.is_live && seen.record.conclusion.is_none()
}
