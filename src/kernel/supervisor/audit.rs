//! The kernel looked at from within: every fact beside the records, checked against every other.
//!
//! Each function returns the first thing that is wrong, as a sentence. Between two steps nothing
//! may be.
//!
//! *Not here*: what a step may do to the world outside (`kernel/tests/checks.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use super::super::id::TaskId;
use super::super::record::{Body, Record, Wait};
use super::super::state::State;
use super::Supervisor;
use super::alarm::Alarm;
use super::protocol::Step;
use super::task::{Slot, Task};

type Verdict = Result<(), String>;

fn ensure(holds: bool, complaint: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(complaint()) }
}

impl Supervisor {
    /// Whether every invariant holds between two steps.
    pub(crate) fn audit(&self) -> Verdict {
        let idle = self.starts.is_empty()
            && self.ready.is_empty()
            && self.due.is_empty()
            && self.stops.is_empty();
        ensure(idle, || "a step ended with work left over".to_owned())?;
        for (id, task) in self.tasks.iter() {
            self.audit_facts(task)
                .and_then(|()| self.audit_links(id, task))
                .and_then(|()| self.audit_pending(id, task))
                .and_then(|()| self.audit_alarms(id, task))
                .map_err(|wrong| format!("task {}: {wrong}: {task:?}", id.short()))?;
        }
        self.audit_settled()?;
        self.audit_names()?;
        self.audit_watches()?;
        self.audit_grants()?;
        self.audit_slots()
    }

    /// Whether what was written last of a settled and stopped task is what is kept of it.
    pub(crate) fn audit_written(&self, step: &Step) -> Verdict {
        let newest: BTreeMap<_, _> = (step.records.iter())
            .map(|record| (record.id, record))
            .collect();
        let is_kept = |(id, record): (&TaskId, &&Arc<Record>)| match self.settled.get(*id) {
            Some(kept) if !self.tasks.contains(*id) => Arc::ptr_eq(kept, record),
            Some(_) | None => true,
        };
        ensure(newest.iter().all(is_kept), || {
            "a settled record is kept as it was before".to_owned()
        })
    }

    /// Who holds grants is what the records say, of live tasks and of settled ones that are kept.
    fn audit_grants(&self) -> Verdict {
        let told = self.granted.facts();
        let live = self.tasks.iter().map(|(_, task)| &task.record);
        let is_stopped = |(id, _): &(TaskId, &Arc<Record>)| !self.tasks.contains(*id);
        let settled = self
            .settled
            .iter()
            .filter(is_stopped)
            .map(|(_, record)| record);
        let mut wanted = BTreeSet::new();
        for record in live.chain(settled) {
            let scopes = record.grants.iter().flat_map(|grants| grants.keys());
            wanted.extend(scopes.map(|scope| (scope.clone(), record.id)));
        }
        ensure(told == wanted, || {
            format!("grants are held as {told:?}, not as {wanted:?}")
        })
    }

    /// The classes: name, slots in use, size, tasks that wait.
    pub(crate) fn slots(&self) -> Vec<(String, u32, u32, u32)> {
        self.admission.in_use()
    }

    /// Everything that decides what can happen next, and nothing of numbers, times and history.
    pub(crate) fn facts(&self) -> String {
        let mut facts = String::new();
        for (id, task) in self.tasks.iter() {
            let record = &task.record;
            let stop = record.stop.as_ref().map(|stop| stop.cause.is_timeout());
            let conclusion = record.conclusion.as_ref().map(std::mem::discriminant);
            let wait = record.wait.as_ref().map(std::mem::discriminant);
            let mut alarms: Vec<_> = task.alarms.iter().map(|(_, alarm)| *alarm).collect();
            alarms.sort_unstable();
            let started = (record.attempt, record.started_at.is_some());
            let kept = (
                record.resume.is_some(),
                record.stop.is_some(),
                record.parent,
            );
            let _ = write!(
                facts,
                "{}:{}{:?}{:?}{wait:?}{stop:?}{conclusion:?}{started:?}{kept:?}{alarms:?}{}{}{}{};",
                id.as_u128(),
                record.state,
                record.body,
                task.slot,
                task.queued.is_some(),
                task.unmet,
                task.awaits_parent,
                task.watches.is_empty(),
            );
        }
        for (id, settled) in self.settled.iter() {
            let _ = write!(facts, "{id}{}{};", settled.state, settled.incarnation);
        }
        let _ = write!(facts, "{}", self.closing);
        facts
    }

    /// How many nodes the walks over the forest have visited so far.
    pub(crate) fn visits(&self) -> u64 {
        self.forest.visits()
    }

    fn audit_facts(&self, task: &Task) -> Verdict {
        let record = &task.record;
        let is_live = record.body == Body::Live;
        let (slot, state) = (task.slot, record.state);
        let concludes = record.conclusion.is_some();
        let has_children = self.forest.child_count(record.id) > 0;
        ensure(record.outcome.is_some() == state.is_terminal(), || {
            "an outcome is there exactly when the state is terminal".to_owned()
        })?;
        let has_hook = task.hook.is_some();
        ensure(!concludes || has_children || has_hook, || {
            "a conclusion without a live child or a hook is carried out".to_owned()
        })?;
        ensure(has_hook == (record.wait == Some(Wait::Hook)), || {
            "whether its hooks run".to_owned()
        })?;
        let awaits_end = matches!(record.wait, Some(Wait::Children | Wait::Hook));
        let holds = match state {
            State::Pending => !is_live && slot == Slot::None && !concludes && record.stop.is_none(),
            State::Running => is_live && slot == Slot::Held && !concludes && record.wait.is_none(),
            State::Waiting if is_live => slot == Slot::Lent && !concludes && record.wait.is_some(),
            State::Waiting => slot == Slot::None && concludes && awaits_end,
            State::Suspended => {
                let waits = matches!(record.wait, Some(Wait::Resume(_)));
                !is_live && slot == Slot::None && !concludes && waits
            }
            State::CancelRequested => {
                record.stop.is_some()
                    && (is_live || concludes)
                    && is_live == (slot != Slot::None)
                    && awaits_end == concludes
            }
            State::Completed
            | State::Failed
            | State::TimedOut
            | State::Cancelled
            | State::Interrupted => is_live && slot != Slot::None && !concludes,
        };
        ensure(holds, || "its facts do not belong together".to_owned())
    }

    fn audit_links(&self, id: TaskId, task: &Task) -> Verdict {
        let record = &task.record;
        if record.state.is_terminal() {
            return ensure(!self.forest.contains(id), || {
                "a settled task is in the forest".to_owned()
            });
        }
        let place = (
            self.forest.parent(id),
            self.forest.root(id),
            self.forest.depth(id),
        );
        ensure(self.forest.contains(id), || {
            "it is not in the forest".to_owned()
        })?;
        ensure(place == (record.parent, record.root, record.depth), || {
            format!("the forest says {place:?}")
        })?;
        let retries = record.state == State::Pending
            && record.started_at.is_some()
            && record.resume.is_none();
        let closes =
            retries || record.conclusion.is_some() || record.state == State::CancelRequested;
        ensure(self.forest.is_closed(id) == closes, || {
            format!("closed should be {closes}")
        })?;
        let waits = record
            .parent
            .is_some_and(|above| self.has_not_started(above));
        let comes_after = |dependent: &TaskId| {
            let waits = self.tasks.get(*dependent).map(|it| &it.record);
            waits.is_some_and(|it| !it.state.is_terminal() && it.spec.after.contains(&id))
        };
        ensure(task.dependents.iter().all(comes_after), || {
            "one is told of its end that does not come after it".to_owned()
        })?;
        // What has concluded starts no more.
        let is_over = record.conclusion.is_some() || record.state == State::CancelRequested;
        ensure(!waits || task.awaits_parent || is_over, || {
            "it does not wait for its parent, which has not started".to_owned()
        })
    }

    fn audit_pending(&self, id: TaskId, task: &Task) -> Verdict {
        let record = &task.record;
        if record.state != State::Pending {
            return ensure(task.queued.is_none(), || {
                "it is queued and not pending".to_owned()
            });
        }
        let deps: BTreeSet<_> = record.spec.after.iter().copied().collect();
        let is_unmet = |dependency: &&TaskId| {
            let found = self.tasks.get(**dependency);
            // A later life of a dependency that has completed is nothing to it.
            let counts = |of: &Task| of.record.incarnation == 1 || of.dependents.contains(&id);
            found.is_some_and(|found| !found.record.state.is_terminal() && counts(found))
        };
        let unmet = deps.iter().filter(is_unmet).count();
        let listed = |dependency: &&TaskId| {
            let found = self.tasks.get(**dependency);
            found.is_some_and(|found| found.dependents.contains(&id))
        };
        ensure(unmet == task.unmet as usize, || format!("{unmet} unmet"))?;
        ensure(
            deps.iter().filter(|dependency| listed(dependency)).count() == unmet,
            || "a dependency does not know of it".to_owned(),
        )?;
        let wait = match &record.wait {
            Some(Wait::Backoff(due)) => task.alarms.contains(&(*due, Alarm::Backoff)),
            Some(Wait::Slot) => task.queued.is_some() && unmet == 0 && !task.awaits_parent,
            Some(Wait::Executor) => {
                !self.bounds.hosts.runs(&record.spec) && task.queued.is_none() && unmet == 0
            }
            Some(Wait::ParentStart) => task.awaits_parent && unmet == 0,
            Some(Wait::After(left)) => *left == task.unmet && unmet > 0,
            Some(
                Wait::Task(_)
                | Wait::Parked
                | Wait::Answer
                | Wait::Children
                | Wait::Hook
                | Wait::Resume(_),
            )
            | None => false,
        };
        ensure(wait, || "nothing will ever start it".to_owned())?;
        ensure(
            task.queued.is_some() == (record.wait == Some(Wait::Slot)),
            || "it is queued and does not say so".to_owned(),
        )
    }

    fn audit_alarms(&self, id: TaskId, task: &Task) -> Verdict {
        let record = &task.record;
        let armed: BTreeSet<_> = task.alarms.iter().map(|(_, alarm)| *alarm).collect();
        ensure(armed.len() == task.alarms.len(), || {
            "an alarm is armed twice".to_owned()
        })?;
        ensure(
            task.alarms
                .iter()
                .all(|(at, alarm)| self.alarms.contains(&(*at, id, *alarm))),
            || "an alarm is not in the set".to_owned(),
        )?;
        let is_live = record.body == Body::Live;
        let runs = is_live && matches!(record.state, State::Running | State::Waiting);
        ensure(
            armed.contains(&Alarm::Attempt) == (runs && record.spec.timeout.is_some()),
            || "the deadline of the attempt".to_owned(),
        )?;
        let spec = &record.spec;
        let stops = is_live && record.state == State::CancelRequested;
        let is_settling = record.state == State::CancelRequested
            || record.state.is_terminal()
            || task.hook.is_some();
        let limits = [
            (Alarm::Lifetime, spec.lifetime, !is_settling),
            (Alarm::Queue, spec.queue_timeout, task.queued.is_some()),
            (
                Alarm::Suspension,
                spec.suspend_timeout,
                record.state == State::Suspended,
            ),
        ];
        for (alarm, limit, counts) in limits {
            ensure(
                armed.contains(&alarm) == (limit.is_some() && counts),
                || format!("the limit {alarm:?}"),
            )?;
        }
        let waits = record.state == State::Suspended || task.queued.is_some();
        ensure(!waits || record.waits_since.is_some(), || {
            "since when it waits".to_owned()
        })?;
        let is_forced = armed.contains(&Alarm::Grace) || armed.contains(&Alarm::Abort);
        ensure(is_forced == (stops && record.conclusion.is_none()), || {
            "the deadline of the stop".to_owned()
        })?;
        ensure(armed.contains(&Alarm::Hook) == task.hook.is_some(), || {
            "the deadline of its hooks".to_owned()
        })?;
        ensure(!armed.contains(&Alarm::Idle) || runs, || {
            "the idle deadline".to_owned()
        })
    }

    fn audit_settled(&self) -> Verdict {
        let kept = |(id, life): &&(TaskId, u32)| self.is_kept(*id, *life);
        let listed: Vec<_> = self.settled_order.iter().filter(kept).collect();
        let order: BTreeSet<_> = listed.iter().map(|(id, _)| *id).collect();
        ensure(
            order.len() == listed.len() && order.into_iter().eq(self.settled.ids()),
            || "the settled tasks and their order differ".to_owned(),
        )?;
        let known = |(id, settled): (TaskId, &Arc<Record>)| match self.tasks.get(id) {
            Some(task) => task.record.state == settled.state,
            None => settled.state.is_terminal() && settled.body == Body::Absent,
        };
        ensure(self.settled.iter().all(known), || {
            "a settled state changed".to_owned()
        })?;
        let listed: usize = self.tasks.iter().map(|(_, task)| task.alarms.len()).sum();
        let keys = self.alarms.iter().filter(|(_, _, it)| *it == Alarm::Key);
        ensure(listed + keys.count() == self.alarms.len(), || {
            "an alarm belongs to nobody".to_owned()
        })
    }

    fn audit_names(&self) -> Verdict {
        let held: BTreeSet<_> = self
            .tasks
            .iter()
            .filter_map(|(id, task)| {
                let spec = &task.record.spec;
                Some((spec.scope.clone(), spec.name.clone()?, id))
            })
            .collect();
        ensure(held == self.names.all(), || {
            format!("the names held should be {held:?}")
        })
    }

    fn audit_watches(&self) -> Verdict {
        let mut listed: BTreeMap<u64, usize> = BTreeMap::new();
        for watch in self.tasks.iter().flat_map(|(_, task)| &task.watches) {
            *listed.entry(*watch).or_default() += 1;
        }
        let expected: BTreeMap<_, _> = self
            .watches
            .iter()
            .map(|(key, watch)| (*key, watch.remaining()))
            .collect();
        ensure(listed == expected, || {
            "a request waits for the wrong tasks".to_owned()
        })
    }

    fn audit_slots(&self) -> Verdict {
        let holders = self
            .tasks
            .iter()
            .filter(|(_, task)| task.slot == Slot::Held)
            .map(|(_, task)| &task.classes);
        let queued = self
            .tasks
            .iter()
            .filter(|(_, task)| task.queued.is_some())
            .map(|(id, task)| (id, &task.record.spec.scope, &task.classes));
        self.admission.audit(holders, queued)
    }
}
