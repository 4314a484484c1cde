//! Who is who: keys and their windows, ids that are used again, flights, and who is not let in
//! (P17, rules 1 and 9).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Checks;
use super::replies::ensure;
use super::view::Seen;
use crate::kernel::{
    Accepted, Bounds, Cause, Epoch, Flight, Hosts, Reach, Record, Refusal, Reuse, Scope, Spec,
    State, TaskId, Timestamp,
};

type Verdict = Result<(), String>;

/// Which tasks are not taken, and which do not start here.
#[derive(Clone, Debug)]
pub(super) struct Gates {
    pub(super) closed: BTreeSet<Scope>,
    /// The runs that were cancelled, the newest one last, and how many are remembered.
    runs: Vec<Arc<str>>,
    runs_max: usize,
    pub(super) hosts: Hosts,
}

impl Gates {
    pub(super) fn new(bounds: &Bounds) -> Self {
        Self {
            closed: bounds.closed_scopes.clone(),
            runs: Vec::new(),
            runs_max: bounds.cancelled_runs_max,
            hosts: bounds.hosts.clone(),
        }
    }

    pub(super) fn run_cancelled(&mut self, run: &Arc<str>) {
        self.runs.retain(|kept| kept != run);
        self.runs.push(Arc::clone(run));
        let over = self.runs.len().saturating_sub(self.runs_max);
        self.runs.drain(..over);
    }

    /// After a crash: the runs that tasks were cancelled with.
    pub(super) fn recall(&mut self, durable: &[Arc<Record>]) {
        self.runs.clear();
        let mut found = Vec::new();
        for record in durable {
            let stop = record.stop.as_ref().filter(|stop| stop.cause == Cause::Run);
            let run = record.spec.labels.get("run");
            found.extend(stop.zip(run).map(|(stop, run)| (stop.at, Arc::clone(run))));
        }
        found.sort();
        for (_, run) in found {
            self.run_cancelled(&run);
        }
    }
}

/// What a spawn must lead to.
#[derive(Clone, Debug)]
pub(super) struct Spawning {
    pub(super) id: TaskId,
    /// The answer, if what was asked before decides it.
    decided: Option<Result<Accepted, Refusal>>,
    /// Tasks that had this key once: it may be bound until the next tick.
    had_key: BTreeSet<TaskId>,
    /// The one that it certainly is bound to.
    bound: Option<TaskId>,
    is_stale: bool,
    is_closed: bool,
    is_late: bool,
}

/// Where at most one live task is.
pub(super) fn flight_of(spec: &Spec) -> Option<(Option<Scope>, Flight)> {
    let scope = Some(spec.scope.clone()).filter(|_| spec.flight_reach == Reach::Scope);
    Some((scope, spec.flight.clone()?))
}

impl Checks {
    pub(super) fn spawning(
        &self,
        now: Timestamp,
        id: TaskId,
        spec: &Spec,
        by: Option<(TaskId, Epoch)>,
        reuse: Reuse,
    ) -> Spawning {
        let is_stale = by.is_some_and(|(task, epoch)| {
            let seen = self.view.tasks.get(&task);
            seen.is_none_or(|seen| !seen.is_run(epoch) || seen.is_settled())
        });
        let spec = self.in_scope_of_body(spec, by);
        let is_of_key = |seen: &&Seen| {
            let other = seen.spec();
            spec.key.is_some() && other.key == spec.key && other.scope == spec.scope
        };
        let tasks = self.view.tasks.values();
        let had_key = tasks.filter(is_of_key).map(|seen| seen.record.id).collect();
        let may_follow = self.may_follow(id, reuse);
        let bound = self.bound(now, &spec);
        let bound = bound.filter(|(task, _)| !(*task == id && may_follow));
        let is_child = by.is_some() && spec.parent.is_some();
        let run = spec.labels.get("run");
        Spawning {
            id,
            decided: self.decided(id, &spec, may_follow, bound.clone()),
            had_key,
            bound: bound.map(|(task, _)| task),
            is_stale,
            is_closed: self.gates.closed.contains(&spec.scope) && !is_child,
            is_late: run.is_some_and(|run| self.gates.runs.contains(run)),
        }
    }

    /// A child that a body asks for is where its parent is.
    fn in_scope_of_body(&self, spec: &Spec, by: Option<(TaskId, Epoch)>) -> Spec {
        let mut spec = spec.clone();
        let parent = by
            .map(|(task, _)| task)
            .filter(|it| spec.parent == Some(*it));
        let above = parent.and_then(|parent| self.view.tasks.get(&parent));
        if let Some(above) = above.filter(|above| above.is_held()) {
            spec.scope.clone_from(&above.spec().scope);
        }
        spec
    }

    fn may_follow(&self, id: TaskId, reuse: Reuse) -> bool {
        let known = self.view.tasks.get(&id);
        reuse == Reuse::Allowed && known.is_some_and(|seen| !seen.is_held())
    }

    /// What was asked before under the same key, id or flight, in this order.
    fn decided(
        &self,
        id: TaskId,
        spec: &Spec,
        may_follow: bool,
        bound: Option<(TaskId, Option<String>)>,
    ) -> Option<Result<Accepted, Refusal>> {
        if let Some((task, differs)) = bound {
            return Some(match differs {
                None => Ok(Accepted::Existing(task)),
                Some(wish) => Err(Refusal::KeyConflict(task, wish)),
            });
        }
        let known = self.view.tasks.get(&id);
        if let Some(seen) = known
            && !(may_follow && seen.spec().scope == spec.scope)
        {
            let is_same = seen.spec().difference(spec).is_none() && !may_follow;
            let taken = is_same.then_some(Accepted::Existing(id));
            return Some(taken.ok_or(Refusal::DuplicateId(id)));
        }
        let flight = flight_of(spec)?;
        let mut live = self.view.tasks.values().filter(|seen| seen.is_held());
        let other = live.find(|seen| flight_of(seen.spec()).as_ref() == Some(&flight))?;
        Some(Ok(Accepted::Existing(other.record.id)))
    }

    /// The task that a key must lead to: one that is held, or whose window is not over.
    fn bound(&self, now: Timestamp, spec: &Spec) -> Option<(TaskId, Option<String>)> {
        spec.key.as_ref()?;
        let holds = |seen: &&Seen| {
            let other = seen.spec();
            let window = other.key_window.unwrap_or(self.bounds.key_window);
            let until = seen.record.created_at.after(window);
            let same_key = other.key == spec.key && other.scope == spec.scope;
            let is_bound = now < until && !self.clock_went_back;
            same_key && (seen.is_held() || is_bound)
        };
        let bound = self.view.tasks.values().find(holds)?;
        Some((bound.record.id, bound.spec().difference(spec)))
    }

    pub(super) fn spawn_reply(
        &self,
        asked: &Spawning,
        result: &Result<Accepted, Refusal>,
    ) -> Verdict {
        let id = asked.id;
        let known = match result {
            Ok(Accepted::Existing(task)) | Err(Refusal::KeyConflict(task, _)) => Some(task),
            Ok(Accepted::New(_)) | Err(_) => None,
        };
        // A key is free at the first tick after its window.
        let by_old_key = known.is_some_and(|task| asked.had_key.contains(task));
        if by_old_key && asked.bound.is_none() {
            return Ok(());
        }
        if asked.decided.is_some() || known.is_some() {
            return ensure(asked.decided.as_ref() == Some(result), || {
                format!("P17: {asked:?} led to {result:?}")
            });
        }
        let is_new = *result == Ok(Accepted::New(id));
        ensure(!is_new || !(asked.is_stale || self.closing), || {
            format!("P13: a stale or late spawn was accepted: {id}")
        })?;
        ensure(!is_new || !(asked.is_closed || asked.is_late), || {
            format!("rule 9: {asked:?} was accepted")
        })?;
        match result {
            Err(Refusal::ScopeClosed(_)) => ensure(asked.is_closed, || {
                format!("rule 9: {id} is refused by a scope that is open")
            }),
            Err(Refusal::RunCancelled(_)) => ensure(asked.is_late, || {
                format!("rule 9: {id} is refused by a run that goes on")
            }),
            Err(Refusal::ParentRetries(parent)) => {
                let seen = self.view.tasks.get(parent);
                let is_between = |seen: &Seen| {
                    let record = &seen.record;
                    record.started_at.is_some()
                        && !record.state.is_terminal()
                        && record.state != State::CancelRequested
                };
                ensure(seen.is_some_and(is_between), || {
                    format!("{parent} refuses a child until it is retried, and is {seen:?}")
                })
            }
            Err(Refusal::NameTaken(name, holder)) => {
                let seen = self.view.tasks.get(holder);
                let holds = |seen: &Seen| seen.is_held() && seen.spec().name.as_ref() == Some(name);
                ensure(seen.is_some_and(holds), || {
                    format!("P7: {name} is refused, and {holder} does not hold it")
                })
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Rule 1: a life follows the one before it in its place, and flights have one task.
    pub(super) fn may_live(&self, id: TaskId, incarnation: u32, spec: &Spec) -> Verdict {
        let earlier = self.view.tasks.get(&id);
        let follows = match earlier {
            None => incarnation == 1,
            Some(earlier) => {
                let is_next = incarnation == earlier.record.incarnation + 1;
                !earlier.is_held() && is_next && earlier.spec().scope == spec.scope
            }
        };
        ensure(follows, || {
            format!("P2: {id} is accepted as life {incarnation} after {earlier:?}")
        })?;
        self.flies_alone(id, spec)
    }

    pub(super) fn flies_alone(&self, id: TaskId, spec: &Spec) -> Verdict {
        let Some(flight) = flight_of(spec) else {
            return Ok(());
        };
        let others = self.view.tasks.values().filter(|seen| seen.record.id != id);
        let mut others = others.filter(|seen| seen.is_held());
        let other = others.find(|seen| flight_of(seen.spec()).as_ref() == Some(&flight));
        ensure(other.is_none(), || {
            format!("P17: {id} doubles {other:?} in {flight:?}")
        })
    }
}
