//! What those outside may rely on, whatever crashes: P1, P2, P3, P4, P13, P14, P17, P24.
//!
//! Nothing here is rolled back by a crash: an answer that left the process cannot be taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::world::Body;
use super::replies::ensure;
use crate::kernel::{
    Accepted, Effect, Epoch, Key, Payload, Record, Reply, Scope, Seq, Step, TaskId, Timestamp, What,
};

type Verdict = Result<(), String>;
type Durable = BTreeMap<TaskId, Arc<Record>>;

/// An effect that leaves the process, and what is true at that moment.
pub(in crate::kernel_tests) struct Released<'a> {
    pub(in crate::kernel_tests) effect: &'a Effect,
    pub(in crate::kernel_tests) durable: &'a Durable,
    pub(in crate::kernel_tests) bodies: &'a [Body],
}

/// What somebody outside has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Outside {
    acked: BTreeSet<TaskId>,
    keys: BTreeMap<(Scope, Key), (TaskId, Timestamp, Option<Duration>)>,
    /// Per task: how many attempts of which life were started, and the newest epoch.
    ran: BTreeMap<TaskId, (u32, u32, Epoch)>,
    /// Tasks whose resume was answered, and the epoch that they had then.
    resumed: BTreeMap<TaskId, (Payload, Epoch)>,
    /// The terminal records that were durable once.
    ends: BTreeMap<TaskId, Arc<Record>>,
    removed: BTreeSet<TaskId>,
    /// With their lives.
    ended: BTreeSet<(TaskId, u32)>,
    /// Tasks that were moved once, whose keys tell nothing of when they were bound.
    moved: BTreeSet<TaskId>,
    published: Seq,
}

impl Outside {
    /// A batch is durable: what had ended stays as it ended.
    pub(super) fn durable(&mut self, step: &Step) -> Verdict {
        for event in &step.events {
            if matches!(event.what, What::Transferred { .. }) {
                self.moved.insert(event.task);
            }
            if matches!(event.what, What::Accepted(_)) {
                let id = event.task;
                if event.incarnation > 1 || self.removed.contains(&id) {
                    self.begin_next_life(id);
                }
                if event.incarnation == 1 {
                    // Its runs went with the record of the task that was called so before.
                    self.ran.remove(&id);
                }
            }
        }
        for record in &step.records {
            let is_life = |end: &&Arc<Record>| end.incarnation == record.incarnation;
            if let Some(end) = self.ends.get(&record.id).filter(is_life) {
                let same = record.state == end.state
                    && record.outcome == end.outcome
                    && record.ended_at == end.ended_at
                    && record.epoch == end.epoch;
                ensure(same, || {
                    format!("P2: the end of {} was changed to {record:?}", record.id)
                })?;
            } else if record.state.is_terminal() {
                self.ends.insert(record.id, Arc::clone(record));
            }
        }
        self.removed.extend(&step.removed);
        Ok(())
    }

    /// An id is used again: what its task did and had before counts no more, but its runs do.
    fn begin_next_life(&mut self, id: TaskId) {
        self.ends.remove(&id);
        self.keys.retain(|_, (task, ..)| *task != id);
    }

    /// A batch is told to subscribers: numbered without a gap, after its records.
    pub(super) fn published(&mut self, step: &Step, durable: &Durable) -> Verdict {
        for event in &step.events {
            ensure(event.seq == self.published.next(), || {
                format!("P3: {} is published after {}", event.seq, self.published)
            })?;
            self.published = event.seq;
            let id = event.task;
            let record = durable.get(&id);
            let is_visible = record.is_some_and(|record| record.seq >= event.seq);
            ensure(is_visible || self.removed.contains(&id), || {
                format!("P3: event {} precedes its record", event.seq)
            })?;
            if matches!(event.what, What::Accepted(_)) && event.incarnation == 1 {
                let lives = self.ended.range((id, 0)..=(id, u32::MAX)).copied();
                for life in lives.collect::<Vec<_>>() {
                    self.ended.remove(&life);
                }
            }
            if matches!(event.what, What::Settled { .. }) {
                ensure(self.ended.insert((id, event.incarnation)), || {
                    format!("P2: {id} has two terminal events")
                })?;
            }
        }
        Ok(())
    }

    pub(super) fn released(
        &mut self,
        released: &Released<'_>,
        window: Option<Duration>,
    ) -> Verdict {
        match released.effect {
            Effect::Start {
                id,
                epoch,
                attempt,
                resume,
                ..
            } => self.start(*id, (*epoch, *attempt), resume.as_ref(), released),
            Effect::Answer { reply, .. } => match reply {
                Reply::Spawned(Ok(Accepted::New(id) | Accepted::Existing(id))) => {
                    self.accept(*id, released, window)
                }
                Reply::Cancelled(report) => {
                    let stopped = report.cancelled.iter().chain(&report.already_ended);
                    for id in stopped {
                        let lives = released.bodies.iter().any(|body| body.id == *id);
                        // The id may have another life since.
                        let record = released.durable.get(id);
                        let is_next = record.is_some_and(|it| it.incarnation > 1);
                        ensure(!lives || is_next, || {
                            format!("P4: {id} is said to have stopped, and its body runs")
                        })?;
                    }
                    Ok(())
                }
                Reply::Spawned(Err(_))
                | Reply::Unknown(_)
                | Reply::Resumed(_)
                | Reply::Controlled(_)
                | Reply::Asked(_)
                | Reply::Responded(_)
                | Reply::External(_)
                | Reply::Message(_)
                | Reply::Acknowledged(_)
                | Reply::Interrupted(_) => Ok(()),
            },
            Effect::Signal { .. }
            | Effect::Abort { .. }
            | Effect::CheckIdle { .. }
            | Effect::Answered(_)
            | Effect::Interrupt { .. }
            | Effect::Deliver { .. }
            | Effect::BeforeSettle(_)
            | Effect::Close(_)
            | Effect::Forget(_) => Ok(()),
        }
    }

    fn accept(&mut self, id: TaskId, released: &Released<'_>, window: Option<Duration>) -> Verdict {
        self.acked.insert(id);
        let record = released.durable.get(&id);
        ensure(record.is_some() || self.removed.contains(&id), || {
            format!("P1: {id} is accepted and not durable")
        })?;
        let Some(record) = record else { return Ok(()) };
        let Some(key) = &record.spec.key else {
            return Ok(());
        };
        if self.moved.contains(&id) {
            return Ok(());
        }
        let slot = (record.spec.scope.clone(), key.clone());
        let created = record.created_at;
        if let (Some((first, at, own)), Some(window)) = (self.keys.get(&slot), window) {
            if *first != id && created < *at {
                // It was asked for by its id, and its key has gone to another one since.
                return Ok(());
            }
            let window = own.unwrap_or(window);
            let holder = released.durable.get(first);
            let has_moved = holder.is_some_and(|holder| holder.spec.scope != slot.0);
            let is_over = created >= at.after(window) || self.removed.contains(first) || has_moved;
            ensure(*first == id || is_over, || {
                format!("P17: {key} led to {first} and to {id}")
            })?;
        }
        self.keys
            .insert(slot, (id, created, record.spec.key_window));
        Ok(())
    }

    /// A resume is durable: the next start must hand its data over.
    pub(super) fn owes(&mut self, id: TaskId, data: Payload, epoch: Epoch) {
        self.resumed.insert(id, (data, epoch));
    }

    pub(super) fn is_removed(&self, id: TaskId) -> bool {
        self.removed.contains(&id)
    }

    fn start(
        &mut self,
        id: TaskId,
        (epoch, attempt): (Epoch, u32),
        resume: Option<&Payload>,
        released: &Released<'_>,
    ) -> Verdict {
        let record = released.durable.get(&id);
        let Some(record) = record else {
            // One that is elsewhere may be over, and its record gone, before its start is told.
            return ensure(self.removed.contains(&id), || {
                format!("P1: {id} starts and is not durable")
            });
        };
        let is_next_life = record.incarnation > 1 && attempt == 1 && resume.is_none();
        let owed = self.resumed.remove(&id).filter(|_| !is_next_life);
        let owed = owed.map(|(data, _)| data);
        // A resume that was durable and never answered may be carried out, too.
        ensure(owed.is_none() || owed.as_ref() == resume, || {
            format!("P24: {id} was resumed with {owed:?} and starts with {resume:?}")
        })?;
        let lives = released.bodies.iter().any(|body| body.id == id);
        ensure(!lives, || format!("P13: {id} has two bodies"))?;
        let (life, attempts, newest) = self.ran.entry(id).or_default();
        ensure(epoch > *newest, || {
            format!("P13: {id} starts as {epoch:?} after {newest:?}")
        })?;
        *newest = epoch;
        // The process may have died before it carried out the first start of a life.
        if is_next_life || *life != record.incarnation {
            (*life, *attempts) = (record.incarnation, 0);
        }
        *attempts += u32::from(resume.is_none());
        let most = attempts_max(record);
        ensure(*attempts <= most, || {
            format!("P14: {id} started {attempts} times of {most}")
        })
    }

    /// A process has died; this is what it left.
    pub(super) fn crashed(&mut self, durable: &[Arc<Record>]) -> Verdict {
        for record in durable {
            // The run that was to get the data is on record and died before it began.
            let is_past = |(_, epoch): &(Payload, Epoch)| record.epoch > *epoch;
            if self.resumed.get(&record.id).is_some_and(is_past) {
                self.resumed.remove(&record.id);
            }
        }
        let kept: BTreeSet<_> = durable.iter().map(|record| record.id).collect();
        let lost = self
            .acked
            .iter()
            .find(|id| !kept.contains(id) && !self.removed.contains(id));
        ensure(lost.is_none(), || {
            format!("P1: {lost:?} was accepted and is lost")
        })
    }
}

/// How many attempts a task may have.
pub(super) fn attempts_max(record: &Record) -> u32 {
    match record.spec.restarts() {
        Some(_) => u32::MAX,
        None => record.spec.retry.attempts_max(),
    }
}
