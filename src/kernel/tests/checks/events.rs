//! The stream of events: numbered, one path and one end for each task, everything in its order
//! (P2, P3, P4, P5, P6, P7, P18, and what a start needs).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Checks;
use super::replies::ensure;
use super::view::{LastWord, Seen, is_cancel};
use crate::kernel::{
    Cause, Effect, Epoch, Event, FaultKind, Limit, MessageId, Origin, Outcome, Record, Scope, Seq,
    Spec, State, Step, Stop, StopPolicy, TaskId, Wait, What,
};

type Verdict = Result<(), String>;

/// The siblings that one cascade of a step asked to stop: the one that was asked last, per parent
/// and cause.
pub(super) type Told = BTreeMap<(Option<TaskId>, Cascade), u64>;

/// What made a task be asked to stop together with its siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cascade {
    Request,
    ParentEnded,
    Ancestor(TaskId),
}

impl Checks {
    pub(super) fn event(&mut self, event: &Event, step: &Step, told: &mut Told) -> Verdict {
        let id = event.task;
        ensure(event.seq == self.seq.next(), || {
            format!("P3: event {} follows {}", event.seq, self.seq)
        })?;
        self.seq = event.seq;
        if matches!(event.what, What::Accepted(_)) {
            self.accepted(event, step)?;
        }
        let Some(seen) = self.view.tasks.get(&id) else {
            let is_late = matches!(event.what, What::Undelivered(_) | What::HookFailed(_));
            return ensure(is_late, || {
                format!("P3: an event of an unknown task: {event:?}")
            });
        };
        ensure(leads(seen.state, &event.what, event.state), || {
            format!(
                "P2: {} leads from {} to {}",
                event.what.name(),
                seen.state,
                event.state
            )
        })?;
        match &event.what {
            What::Started => self.started(id)?,
            What::StopAsked(ask) => self.stop_asked(id, ask, step, told)?,
            What::Settled {
                outcome, abandoned, ..
            } => {
                ensure(outcome.state() == event.state, || {
                    format!("P2: {outcome:?} settles as {}", event.state)
                })?;
                self.ends_without_its_owner(id, outcome, step)?;
                self.hooks_have_run(id, outcome)?;
                self.settled(id, event.state, *abandoned)?;
                if event.state == State::Completed {
                    self.completed.insert(id);
                }
            }
            What::Restarting { restarts, .. } => self.restarting(id, *restarts)?,
            What::Detached => self.detached(id),
            What::Transferred { from, to } => {
                self.may_move(event, from, to)?;
                self.transferred(id, event, step)?;
            }
            What::Charged(charge) => {
                let before = seen.record.budgets.get(&charge.counter);
                let is_right = before
                    .is_some_and(|before| before.used < charge.used && charge.used <= charge.limit);
                ensure(is_right, || format!("P16: {charge:?} on {before:?}"))?;
            }
            What::Aborted => self.aborted(id)?,
            What::AbandonAsked(request) => {
                let seen = self.view.tasks.get_mut(&id).expect("it was there above");
                let until = seen.grace_until.map(|until| until.min(request.at));
                seen.grace_until = until;
            }
            What::BodyStopped => {
                ensure(!seen.is_live, || "P16: a body stopped unheard".to_owned())?;
                self.view.free_name(id);
            }
            What::Answered { key, answer } => {
                let record = newest(step, id);
                let questions = record.and_then(|record| record.questions.as_ref());
                let kept = questions.and_then(|all| all.get(key)?.answer.as_ref());
                ensure(kept == Some(answer), || {
                    format!("P24: the answer to {key} of {id} is told and not kept")
                })?;
            }
            What::MessageKept { message, .. } => is_kept(step, id, *message)?,
            What::Waiting(Wait::Hook) => self.hooks_called(event, step)?,
            What::Accepted(_)
            | What::Pending(_)
            | What::Waiting(_)
            | What::Unparked
            | What::Suspended(_)
            | What::Resumed
            | What::AttemptFailed(_)
            | What::Progress(_)
            | What::Output(_)
            | What::OutputKept { .. }
            | What::Emitted { .. }
            | What::BudgetExhausted(_)
            | What::Granted { .. }
            | What::Revoked { .. }
            | What::Asked { .. }
            | What::Unanswered(_)
            | What::MessageAcknowledged(_)
            | What::InterruptAsked(_)
            | What::Referred(_)
            | What::Unregistered
            | What::CallbackFailed(_)
            | What::HookFailed(_)
            | What::Undelivered(_) => {}
        }
        let seen = self.view.tasks.get_mut(&id).expect("it was there above");
        (seen.state, seen.last) = (event.state, event.seq);
        Ok(())
    }

    fn accepted(&mut self, event: &Event, step: &Step) -> Verdict {
        let (id, spec) = (event.task, &event.spec);
        self.may_live(id, event.incarnation, spec)?;
        let earlier = self.view.tasks.get(&id);
        let epoch = earlier.map_or(Epoch::default(), |earlier| earlier.record.epoch);
        if let Some(parent) = spec.parent {
            let above = self.view.tasks.get(&parent);
            ensure(above.is_some_and(Seen::is_open), || {
                format!("P5: {id} is accepted below {parent}, which is closed")
            })?;
            let is_there = above.is_some_and(|above| above.spec().scope == spec.scope);
            ensure(is_there, || {
                format!("rule 10: {id} is accepted below {parent} of another scope")
            })?;
            let is_doomed = above.is_some_and(|above| above.doomed);
            ensure(!is_doomed, || {
                format!("P4: {id} is accepted below {parent}, which was cancelled")
            })?;
        }
        if let Some(name) = &spec.name {
            let holder = self.view.names.get(&(spec.scope.clone(), name.to_string()));
            ensure(holder.is_none(), || {
                format!("P7: {name} is given to {id} and held by {holder:?}")
            })?;
        }
        let record = newest(step, id).ok_or_else(|| "P3: accepted without a record".to_owned())?;
        let classes = self.slots.of(record);
        let mut record = Record::clone(record);
        // The step may have gone on since; as accepted it had nothing of this yet.
        (record.epoch, record.attempt, record.started_at) = (epoch, 0, None);
        record.seq = Seq::default();
        self.view.insert(Arc::new(record), classes);
        self.gone.remove(&id);
        let seen = self.view.tasks.get_mut(&id).expect("it was just inserted");
        (seen.state, seen.parent, seen.doomed) = (State::Pending, spec.parent, false);
        Ok(())
    }

    fn started(&mut self, id: TaskId) -> Verdict {
        self.starts_with_its_owner(id)?;
        let seen = &self.view.tasks[&id];
        ensure(!seen.doomed, || {
            format!("P4: {id} starts, and it or a task above it was cancelled")
        })?;
        ensure(!seen.is_live, || {
            format!("P14: {id} starts while a body of it runs")
        })?;
        ensure(seen.last_word == LastWord::None, || {
            format!("P2: {id} starts, and it had its last word")
        })?;
        let spec = seen.spec();
        ensure(self.gates.hosts.runs(spec), || {
            format!("law: {id} starts, and its executor is not here")
        })?;
        let is_first = seen.record.started_at.is_none();
        if let (Some(parent), true) = (seen.parent, is_first) {
            let above = &self.view.tasks[&parent];
            let has_started = above.record.started_at.is_some() || above.is_live;
            ensure(has_started, || {
                format!("rule 3: {id} starts before its parent {parent}")
            })?;
        }
        for dependency in spec.after.iter().filter(|_| is_first) {
            ensure(self.completed.contains(dependency), || {
                format!("rule 3: {id} starts, {dependency} has not completed")
            })?;
        }
        if let Some(Wait::Backoff(due)) = seen.record.wait {
            ensure(due <= self.now, || {
                format!("P18: {id} starts before its delay is over")
            })?;
        }
        let classes = seen.classes;
        self.slots.change(classes, 1);
        let over = self.slots.overfull(classes);
        ensure(over.is_none(), || {
            format!("P16: {id} starts and {over:?} is above its size")
        })?;
        let seen = self.view.tasks.get_mut(&id).expect("it was there above");
        (seen.is_live, seen.lent, seen.turn) = (true, false, 0);
        Ok(())
    }

    fn stop_asked(&mut self, id: TaskId, ask: &Stop, step: &Step, told: &mut Told) -> Verdict {
        let seen = &self.view.tasks[&id];
        if let Cause::Ancestor(root) = ask.cause {
            let above = self.view.states_up_to(id, root);
            let all_asked = above
                .iter()
                .all(|state| *state == State::CancelRequested || state.is_terminal());
            ensure(all_asked, || {
                format!("P6: {id} is asked to stop before one above it: {above:?}")
            })?;
        }
        let cascade = match ask.cause {
            Cause::Asked | Cause::Shutdown | Cause::Run | Cause::Budget => Some(Cascade::Request),
            Cause::ParentEnded(_) => Some(Cascade::ParentEnded),
            Cause::Ancestor(root) => Some(Cascade::Ancestor(root)),
            Cause::Dependency(_) | Cause::Timeout(_) => None,
        };
        if let Some(cascade) = cascade {
            let before = told.insert((seen.parent, cascade), seen.born);
            ensure(before.is_none_or(|before| before > seen.born), || {
                format!("P6: {id} is asked to stop after an elder sibling")
            })?;
        }
        if let Cause::Timeout(limit) = ask.cause {
            let spec = seen.spec();
            let record = &seen.record;
            let (since, limit) = match limit {
                Limit::Attempt => (record.started_at, spec.timeout),
                Limit::Idle => (record.started_at, spec.idle_timeout),
                Limit::Liveness => (record.started_at, Some(Duration::ZERO)),
                Limit::External => (record.started_at, spec.heartbeat_timeout),
                Limit::Lifetime => (Some(record.created_at), spec.lifetime),
                Limit::Queue => (record.waits_since, spec.queue_timeout),
                Limit::Suspension => (record.waits_since, spec.suspend_timeout),
            };
            let due = since.zip(limit).map(|(at, limit)| at.after(limit));
            // A limit that outlives its process counts anew where the clock went back.
            let is_due = |due| due <= self.now || self.clock_went_back;
            ensure(due.is_some_and(is_due), || {
                format!("P18: {id} timed out before {due:?}")
            })?;
        }
        if seen.is_live && seen.state != State::CancelRequested {
            let epoch = seen.record.epoch;
            ensure(has_signal(step, id, epoch), || {
                format!("P4: {id} is asked to stop and its body is not told")
            })?;
        }
        let seen = self.view.tasks.get_mut(&id).expect("it was there above");
        seen.doomed |= is_cancel(ask.cause);
        seen.grace_until = Some(ask.grace_until);
        Ok(())
    }

    /// P26: whether this is a call of hooks, which have five seconds at most, and 300 ms at least
    /// unless the end of a tree was promised for earlier.
    fn hooks_called(&mut self, event: &Event, step: &Step) -> Verdict {
        let id = event.task;
        for effect in &step.effects {
            if let Effect::BeforeSettle(call) = effect
                && call.turn == event.seq
            {
                let seen = self.view.tasks.get_mut(&id).expect("it was there above");
                seen.hook = Some((call.turn, Arc::clone(&call.outcome)));
                let least = if self.is_promised(id) { 0 } else { 300 };
                let least = self.now.after(Duration::from_millis(least));
                let longest = self.now.after(Duration::from_secs(5));
                ensure(least <= call.until && call.until <= longest, || {
                    format!("P26: the hooks of {id} have {call:?}")
                })?;
            }
        }
        Ok(())
    }

    /// P26: hooks are called before a task settles, and it settles as they were shown.
    fn hooks_have_run(&mut self, id: TaskId, outcome: &Outcome) -> Verdict {
        let seen = self.view.tasks.get_mut(&id).expect("it was there above");
        let shown = seen.hook.take().map(|(_, shown)| shown);
        if !self.hooked.covers(&seen.record.spec) {
            return Ok(());
        }
        ensure(shown.as_deref() == Some(outcome), || {
            format!("P26: {id} settles as {outcome:?}; its hooks were shown {shown:?}")
        })
    }

    fn aborted(&self, id: TaskId) -> Verdict {
        let seen = &self.view.tasks[&id];
        let is_due = seen.grace_until.is_some_and(|until| until <= self.now);
        ensure(is_due, || {
            format!("P18: {id} is stopped by force before its grace is over")
        })?;
        let spec = seen.spec();
        let may_force = spec.stop_policy == StopPolicy::Abort || spec.origin == Origin::External;
        ensure(may_force, || {
            format!("P4: {id} is stopped by force against its policy")
        })
    }

    fn settled(&mut self, id: TaskId, to: State, abandoned: bool) -> Verdict {
        let seen = &self.view.tasks[&id];
        let given_up = seen.last_word == LastWord::GivenUp;
        ensure(!given_up || to != State::Completed, || {
            format!("P2: {id} was given up and is completed")
        })?;
        ensure(seen.children == 0, || {
            format!("P5: {id} settles before its children")
        })?;
        ensure(seen.is_live == abandoned, || {
            format!("P16: {id} says that it is abandoned: {abandoned}")
        })?;
        ensure(!abandoned || seen.spec().origin != Origin::External, || {
            format!("K6: {id} runs elsewhere and is abandoned")
        })?;
        if let Some(parent) = seen.parent {
            self.view.count_child(parent, -1);
        }
        if !abandoned {
            self.view.free_name(id);
        }
        Ok(())
    }

    fn may_move(&mut self, event: &Event, from: &Scope, to: &Scope) -> Verdict {
        let id = event.task;
        let seen = &self.view.tasks[&id];
        let before = Spec {
            scope: from.clone(),
            ..Spec::clone(&event.spec)
        };
        ensure(*seen.spec() == before && event.spec.scope == *to, || {
            format!("P2: {id} is moved from {from} to {to}: {event:?}")
        })?;
        self.flies_alone(id, &event.spec)?;
        self.moved.insert(id, to.clone());
        Ok(())
    }

    fn transferred(&mut self, id: TaskId, event: &Event, step: &Step) -> Verdict {
        let record = newest(step, id).ok_or_else(|| "P3: moved without a record".to_owned())?;
        let classes = self.slots.of(record);
        self.view.free_name(id);
        if let Some(name) = &event.spec.name {
            let name = (event.spec.scope.clone(), name.to_string());
            let before = self.view.names.insert(name, id);
            ensure(before.is_none(), || {
                format!("P7: {id} is moved and {before:?} has its name")
            })?;
        }
        let seen = self.view.tasks.get_mut(&id).expect("it was there above");
        let before = std::mem::replace(&mut seen.classes, classes);
        // The newest record counts for all that follows in this step.
        seen.record = Arc::new(Record {
            spec: Arc::clone(&event.spec),
            ..Record::clone(&seen.record)
        });
        if seen.is_live && !seen.lent {
            self.slots.change(before, -1);
            self.slots.change(classes, 1);
        }
        Ok(())
    }

    fn detached(&mut self, id: TaskId) {
        let seen = self.view.tasks.get_mut(&id).expect("it was there above");
        if let Some(parent) = seen.parent.take() {
            self.view.count_child(parent, -1);
        }
    }
}

/// Whether a task failed as it would have been restarted too often.
fn is_used_up(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(fault) if fault.kind == FaultKind::RestartedTooOften)
}

/// The last record of a task in a step.
pub(super) fn newest(step: &Step, id: TaskId) -> Option<&Arc<Record>> {
    step.records.iter().rev().find(|record| record.id == id)
}

fn has_signal(step: &Step, id: TaskId, epoch: Epoch) -> bool {
    let wanted = (id, epoch);
    step.effects
        .iter()
        .any(|effect| matches!(effect, Effect::Signal { id, epoch, .. } if (*id, *epoch) == wanted))
}

/// Whether an event may lead from one state to another: the law, told once more and in other words.
fn leads(from: State, what: &What, to: State) -> bool {
    use State as S;
    let is_live = !from.is_terminal();
    match what {
        What::Pending(Wait::Backoff(_)) => {
            let is_later = from == S::Pending;
            let follows = matches!(from, S::Running | S::Waiting | S::CancelRequested);
            (is_later || follows) && to == S::Pending
        }
        What::Accepted(_) | What::Pending(_) => from == S::Pending && to == S::Pending,
        What::Started => from == S::Pending && to == S::Running,
        What::Waiting(Wait::Children | Wait::Hook) if from == S::CancelRequested => to == from,
        What::Waiting(Wait::Children | Wait::Hook) => is_live && to == S::Waiting,
        What::Waiting(_) => matches!(from, S::Running | S::Waiting) && to == S::Waiting,
        What::Unparked => from == S::Waiting && to == S::Running,
        What::Suspended(_) => matches!(from, S::Running | S::Waiting) && to == S::Suspended,
        What::Resumed => from == S::Suspended && to == S::Pending,
        What::StopAsked(_) => is_live && to == S::CancelRequested,
        What::Aborted | What::AbandonAsked(_) => from == S::CancelRequested && to == from,
        What::AttemptFailed(_) | What::Restarting { .. } => {
            matches!(from, S::Running | S::Waiting | S::CancelRequested) && to == from
        }
        What::Progress(_) | What::Output(_) | What::OutputKept { .. } | What::Emitted { .. } => {
            matches!(from, S::Running | S::Waiting | S::CancelRequested) && to == from
        }
        What::Asked { .. } | What::InterruptAsked(_) => {
            matches!(from, S::Running | S::Waiting) && to == from
        }
        What::MessageAcknowledged(_) => {
            matches!(from, S::Running | S::Waiting | S::CancelRequested) && to == from
        }
        What::Referred(_)
        | What::Unregistered
        | What::CallbackFailed(_)
        | What::Detached
        | What::Transferred { .. }
        | What::Granted { .. }
        | What::Charged(_)
        | What::BudgetExhausted(_)
        | What::Answered { .. }
        | What::MessageKept { .. }
        | What::Unanswered(_) => is_live && to == from,
        What::Settled { outcome, .. } => match to {
            S::Completed => matches!(from, S::Running | S::Waiting | S::CancelRequested),
            S::Failed if from == S::CancelRequested => is_used_up(outcome),
            S::Failed => matches!(from, S::Running | S::Waiting),
            S::TimedOut | S::Cancelled => from == S::CancelRequested,
            S::Interrupted => is_live && from != S::CancelRequested,
            S::Pending | S::Running | S::Waiting | S::Suspended | S::CancelRequested => false,
        },
        What::HookFailed(_) | What::Revoked { .. } => to == from,
        What::Undelivered(_) | What::BodyStopped => !is_live && to == from,
    }
}

fn is_kept(step: &Step, id: TaskId, message: MessageId) -> Verdict {
    let kept = newest(step, id).map_or(&[][..], |record| record.unacknowledged());
    ensure(kept.iter().any(|kept| kept.id == message), || {
        format!("P1: message {message} to {id} is told and not kept")
    })
}
