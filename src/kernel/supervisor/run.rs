//! From pending to running and what a body may do while it runs.
//!
//! # Invariants
//! 1. A body starts only with a slot of each of its classes, after its dependencies and its parent.
//! 2. What a body says counts only from the newest epoch (K3).

use std::collections::BTreeSet;

use super::super::admission::ClassSet;
use super::super::event::What;
use super::super::id::{Epoch, TaskId};
use super::super::record::{Body, Facts, Wait};
use super::super::spec::Payload;
use super::super::state::{State, Trigger};
use super::Bug;
use super::Supervisor;
use super::alarm::Alarm;
use super::protocol::{Effect, Note, Reply, ResumeRefusal, Ticket};
use super::task::Slot;

impl Supervisor {
    /// Gives a pending task its slots if it is ready, or lets it wait for them.
    pub(super) fn admit(&mut self, id: TaskId) {
        if !self.may_ask_for_slots(id) || self.lacks_executor(id) {
            return;
        }
        let task = &self.tasks[id];
        let mut has_slot = self.admission.try_take(&task.classes);
        if !has_slot && self.planted(Bug::OneTooMany) {
            self.admission.take(&task.classes);
            has_slot = true;
        }
        if has_slot {
            self.may_start(id);
        } else {
            self.enqueue(id);
            self.await_slot(id);
        }
    }

    /// After a crash: all who can ask for slots stand in their queues, in the order in which they
    /// began to wait, before anybody has one. So each has its turn as before.
    pub(super) fn admit_again(&mut self) {
        let ready = std::mem::take(&mut self.ready);
        let mut asking = BTreeSet::new();
        for id in ready {
            if self.may_ask_for_slots(id) {
                let record = &self.tasks[id].record;
                let since = record.waits_since;
                asking.insert((since.is_none(), since, record.seq, id));
            }
        }
        let mut waiting = Vec::new();
        for (_, _, _, id) in asking {
            if self.lacks_executor(id) {
                continue;
            }
            if self.tasks[id].classes.is_empty() {
                self.may_start(id);
            } else {
                self.enqueue(id);
                waiting.push(id);
            }
        }
        for admitted in self.admission.fill() {
            self.may_start(admitted);
        }
        for id in waiting {
            if self.tasks[id].queued.is_some() {
                self.await_slot(id);
            }
        }
    }

    /// Whether it is pending for nothing but slots, and neither has them nor stands in a queue.
    fn may_ask_for_slots(&self, id: TaskId) -> bool {
        let Some(task) = self.tasks.get(id) else {
            return false;
        };
        let record = &task.record;
        let is_backing_off = matches!(record.wait, Some(Wait::Backoff(_)));
        let is_ready = record.state == State::Pending && task.unmet == 0 && !task.awaits_parent;
        is_ready && !is_backing_off && task.slot != Slot::Held && task.queued.is_none()
    }

    /// It has its slots.
    fn may_start(&mut self, id: TaskId) {
        let task = self.task(id);
        if let Some(ties) = task.ties.written() {
            ties.queued = None;
        }
        task.slot = Slot::Held;
        self.starts.push_back(id);
    }

    fn enqueue(&mut self, id: TaskId) {
        let task = &self.tasks[id];
        let spec = &task.record.spec;
        let ticket = self
            .admission
            .enqueue(id, &spec.scope, &task.classes, spec.priority);
        self.task(id).queued = Some(ticket);
    }

    /// It stands in a queue, and says so.
    fn await_slot(&mut self, id: TaskId) {
        let limit = self.tasks[id].record.spec.queue_timeout;
        self.set_wait(id, Some(Wait::Slot));
        self.arm_wait(id, Alarm::Queue, limit);
        self.emit(id, What::Pending(Wait::Slot));
    }

    /// Starts a pending task that holds its slots.
    pub(super) fn start(&mut self, id: TaskId) {
        if self.state(id) != Some(State::Pending) {
            // It was stopped since it was admitted; settling gives the slots back.
            return;
        }
        let is_first = self.task(id).record.started_at.is_none();
        let is_planted = self.planted(Bug::AttemptNotCounted) && !is_first;
        let drops_resume = self.planted(Bug::ResumeLost);
        let now = self.now;
        self.shift(id, Trigger::Start);
        let record = self.edit(id);
        let resume = record.facts.written().and_then(Facts::take_resume);
        let resume = resume.filter(|_| !drops_resume);
        record.epoch = record.epoch.next();
        record.attempt += u32::from(resume.is_none() && !is_planted);
        record.body = Body::Live;
        record.wait = None;
        record.waits_since = None;
        record.started_at = Some(now);
        let (epoch, attempt) = (record.epoch, record.attempt);
        let messages = record.messages.clone();
        let is_last = record.spec.is_last(attempt);
        let (timeout, idle) = (record.spec.timeout, record.spec.idle_timeout);
        self.forest.open(id);
        self.disarm(id, Alarm::Queue);
        // Each run counts its turns from the start.
        self.task(id).park_turn = 0;
        self.emit(id, What::Started);
        for (limit, alarm) in [(timeout, Alarm::Attempt), (idle, Alarm::Idle)] {
            if let Some(limit) = limit {
                self.arm(id, now.after(limit), alarm);
            }
        }
        self.arm_heartbeat(id);
        self.out.effects.push(Effect::Start {
            id,
            epoch,
            attempt,
            is_last,
            resume,
            messages,
        });
        if is_first {
            self.release_children(id);
        }
    }

    /// Children of a task that has just started may become ready.
    fn release_children(&mut self, id: TaskId) {
        let children: Vec<_> = self.forest.children(id).collect();
        for child in children {
            self.parent_started(child);
        }
    }

    /// The parent of a task has started, or it has none any more.
    pub(super) fn parent_started(&mut self, id: TaskId) {
        if !std::mem::take(&mut self.task(id).awaits_parent) {
            return;
        }
        if self.task(id).record.wait == Some(Wait::ParentStart) {
            self.set_wait(id, None);
        }
        self.ready.push_back(id);
    }

    pub(super) fn parked(&mut self, id: TaskId, epoch: Epoch, turn: u64, on: Option<Wait>) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        // An abandoned body is heard, too: its slot follows it until it has stopped.
        let is_newest = task.record.epoch == epoch && task.record.body == Body::Live;
        if !is_newest || task.park_turn >= turn {
            return;
        }
        task.park_turn = turn;
        match (task.record.state, on) {
            (State::Running, Some(on)) => {
                self.shift(id, Trigger::Park);
                self.set_wait(id, Some(on.clone()));
                self.emit(id, What::Waiting(on));
                self.lend_slot(id);
            }
            (State::Waiting, Some(on)) => {
                if self.task(id).record.wait.as_ref() != Some(&on) {
                    self.set_wait(id, Some(on.clone()));
                    self.emit(id, What::Waiting(on));
                }
            }
            (State::Waiting, None) => {
                self.shift(id, Trigger::Unpark);
                self.set_wait(id, None);
                self.emit(id, What::Unparked);
                self.reclaim_slot(id);
            }
            (
                State::CancelRequested
                | State::Completed
                | State::Failed
                | State::TimedOut
                | State::Cancelled
                | State::Interrupted,
                on,
            ) => match on {
                Some(_) => self.lend_slot(id),
                None => self.reclaim_slot(id),
            },
            (State::Running, None) | (State::Pending | State::Suspended, _) => {}
        }
    }

    fn lend_slot(&mut self, id: TaskId) {
        let task = self.task(id);
        if task.slot == Slot::Held {
            task.slot = Slot::Lent;
            self.release_classes(id);
        }
    }

    /// Takes the slots back without queueing, so that a parent never deadlocks with its children.
    fn reclaim_slot(&mut self, id: TaskId) {
        if self.task(id).slot == Slot::Lent {
            let classes = self.task(id).classes.clone();
            self.admission.take(&classes);
            self.task(id).slot = Slot::Held;
        }
    }

    /// After a crash a body that runs elsewhere has its slots as before.
    pub(super) fn keep_slot(&mut self, id: TaskId) {
        self.task(id).slot = Slot::Lent;
        if self.state(id) == Some(State::Running) {
            self.reclaim_slot(id);
        }
    }

    /// Gives up the slots for good, if it holds any.
    pub(super) fn give_back_slot(&mut self, id: TaskId) {
        let held = std::mem::replace(&mut self.task(id).slot, Slot::None);
        if held == Slot::Held {
            self.release_classes(id);
        }
    }

    /// Returns one slot of each class and starts whoever may run now.
    fn release_classes(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        if task.classes.is_empty() {
            return;
        }
        let classes = task.classes.clone();
        self.release_slots(&classes);
    }

    /// Returns one slot of each of these classes and starts whoever may run now.
    pub(super) fn release_slots(&mut self, classes: &ClassSet) {
        for admitted in self.admission.release(classes) {
            self.may_start(admitted);
        }
    }

    pub(super) fn said(&mut self, id: TaskId, epoch: Epoch, note: Note) {
        if !self.is_current(id, epoch) {
            return;
        }
        let what = match note {
            Note::Progress(payload) => {
                self.edit(id).progress = Some(payload.clone());
                What::Progress(payload)
            }
            Note::Output(payload) => What::Output(payload),
            Note::OutputKept {
                bytes,
                head,
                ticket,
            } => What::OutputKept {
                bytes,
                head,
                ticket,
            },
            Note::Emitted(label, payload) => What::Emitted { label, payload },
        };
        self.emit(id, what);
    }

    /// Continues a suspended task; of many callers one wins.
    pub(super) fn resume(&mut self, ticket: Ticket, id: TaskId, data: Payload, may_wait: bool) {
        let result = self.check_resume(id, may_wait);
        if result.is_ok() {
            self.shift(id, Trigger::Resume);
            self.set_wait(id, None);
            self.disarm(id, Alarm::Suspension);
            let record = self.edit(id);
            record.waits_since = None;
            record.resume = Some(data);
            self.emit(id, What::Resumed);
            self.ready.push_back(id);
        }
        self.answer(ticket, Reply::Resumed(result));
    }

    fn check_resume(&self, id: TaskId, may_wait: bool) -> Result<(), ResumeRefusal> {
        let Some(task) = self.tasks.get(id) else {
            let settled = self.settled.get(id).map(|settled| settled.state);
            let refusal = settled.map_or(ResumeRefusal::Unknown(id), ResumeRefusal::NotSuspended);
            return Err(refusal);
        };
        match task.record.state {
            State::Suspended if may_wait => Ok(()),
            State::Suspended => {
                let room = self.admission.room(&task.classes);
                room.map_err(ResumeRefusal::Full)
            }
            State::Pending if task.record.resume.is_some() => {
                Err(ResumeRefusal::AlreadyResumed(id))
            }
            other @ (State::Pending
            | State::Running
            | State::Waiting
            | State::CancelRequested
            | State::Completed
            | State::Failed
            | State::TimedOut
            | State::Cancelled
            | State::Interrupted) => Err(ResumeRefusal::NotSuspended(other)),
        }
    }
}
