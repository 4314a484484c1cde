//! Tasks whose body is elsewhere: what their holder says of them, and how they are stopped.
//!
//! # Invariants
//! 1. Only the newest life is heard, and only until it has its last word: no end is taken back.
//! 2. A request to stop is over when its callback is, at the latest with the grace: nothing of an
//!    external task is ever abandoned.
//!
//! *Not here*: the callback itself (`actors/elsewhere.rs`).

use std::sync::Arc;
use std::time::Duration;

use super::super::event::What;
use super::super::id::{Epoch, TaskId};
use super::super::record::{Body, Cause, Conclusion, Outcome, Record, Requester, Wait};
use super::super::spec::Origin;
use super::super::state::{State, Trigger};
use super::Bug;
use super::Supervisor;
use super::alarm::Alarm;
use super::protocol::{End, Note, Reply, StopAsk, Ticket};
use super::report::Ending;

/// What the holder of an external task says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExternalWord {
    /// What a body could say, too.
    Note(Note),
    /// It waits for something.
    Waits,
    /// It goes on.
    GoesOn,
    /// It is alive.
    Lives,
    /// It is called so elsewhere.
    Refers(Arc<str>),
    /// It is over.
    Ended(End),
    /// Nobody will tell of it any more.
    Unregistered,
}

/// Why a word about an external task is not taken. Nothing happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExternalRefusal {
    /// No such life of a task is known.
    Unknown(TaskId),
    /// Its body is not elsewhere.
    NotExternal(TaskId),
    /// It has not started, or is over.
    NotRunning(State),
    /// It is called this already.
    RefIsSet(Arc<str>),
}

impl Supervisor {
    /// The holder of an external task says something.
    pub(super) fn external(
        &mut self,
        ticket: Ticket,
        id: TaskId,
        incarnation: u32,
        word: ExternalWord,
    ) {
        let heard = self.check_external(id, incarnation);
        let result = heard.and_then(|epoch| self.hear(id, epoch, word));
        self.answer(ticket, Reply::External(result));
    }

    fn check_external(&self, id: TaskId, incarnation: u32) -> Result<Epoch, ExternalRefusal> {
        let Some(task) = self.tasks.get(id) else {
            let settled = self.settled.get(id);
            let settled = settled.filter(|settled| settled.incarnation == incarnation);
            let unknown = ExternalRefusal::Unknown(id);
            return Err(settled.map_or(unknown, |it| ExternalRefusal::NotRunning(it.state)));
        };
        let record = &task.record;
        if record.incarnation != incarnation && !self.planted(Bug::EarlierLifeHeard) {
            return Err(ExternalRefusal::Unknown(id));
        }
        if record.spec.origin != Origin::External {
            return Err(ExternalRefusal::NotExternal(id));
        }
        if record.body != Body::Live {
            return Err(ExternalRefusal::NotRunning(record.state));
        }
        Ok(record.epoch)
    }

    fn hear(
        &mut self,
        id: TaskId,
        epoch: Epoch,
        word: ExternalWord,
    ) -> Result<(), ExternalRefusal> {
        let turn = self.task(id).park_turn + 1;
        match word {
            ExternalWord::Note(note) => self.said(id, epoch, note),
            ExternalWord::Waits => self.parked(id, epoch, turn, Some(Wait::Parked)),
            ExternalWord::GoesOn => self.parked(id, epoch, turn, None),
            ExternalWord::Lives => {}
            ExternalWord::Refers(to) => self.refer(id, to)?,
            ExternalWord::Ended(End::Aborted) => {
                self.stop_by_holder(id);
                self.report(id, epoch, End::Aborted, 0);
            }
            ExternalWord::Ended(end) => self.report(id, epoch, end, 0),
            ExternalWord::Unregistered => self.unregister(id),
        }
        self.arm_heartbeat(id);
        Ok(())
    }

    /// Notes what it is called elsewhere; once.
    fn refer(&mut self, id: TaskId, to: Arc<str>) -> Result<(), ExternalRefusal> {
        match &self.task(id).record.external_ref {
            Some(before) if *before != to => {
                return Err(ExternalRefusal::RefIsSet(Arc::clone(before)));
            }
            Some(_) => return Ok(()),
            None => {}
        }
        self.edit(id).external_ref = Some(Arc::clone(&to));
        self.emit(id, What::Referred(to));
        Ok(())
    }

    /// The holder cancels it: the request and the end come together, and nobody has to be asked.
    fn stop_by_holder(&mut self, id: TaskId) {
        if self.state(id) == Some(State::CancelRequested) {
            return;
        }
        let ask = StopAsk {
            reason: "its holder cancelled it".into(),
            by: Requester::Host,
            grace: None,
            now: false,
        };
        let stop = Arc::new(ask.decide(Cause::Asked, self.now, Duration::ZERO));
        self.disarm(id, Alarm::Lifetime);
        self.shift(id, Trigger::AskStop);
        let record = self.edit(id);
        record.stop = Some(Arc::clone(&stop));
        record.wait = None;
        self.emit(id, What::StopAsked(stop));
    }

    /// The holder lets go of it: what becomes of the operation nobody can know.
    fn unregister(&mut self, id: TaskId) {
        self.emit(id, What::Unregistered);
        self.edit(id).body = Body::Absent;
        // The limit of the whole task goes on while its children end.
        self.disarm_run(id);
        let evidence = "its holder let go of it".into();
        let outcome = if self.state(id) == Some(State::CancelRequested) {
            self.stopped(id)
        } else {
            Outcome::Interrupted(evidence)
        };
        self.hold(id, Conclusion::Settle(Arc::new(outcome)), Ending::Badly);
        self.give_back_slot(id);
    }

    /// Its callback is over, and with it the operation.
    pub(super) fn callback_over(&mut self, id: TaskId, epoch: Epoch, failure: Option<Arc<str>>) {
        if !self.is_current(id, epoch) || self.state(id) != Some(State::CancelRequested) {
            return;
        }
        if let Some(why) = failure {
            self.emit(id, What::CallbackFailed(why));
        }
        self.report(id, epoch, End::Aborted, 0);
    }

    /// The next sign of life is due within the heartbeat limit.
    pub(super) fn arm_heartbeat(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        let record = &task.record;
        let runs = matches!(record.state, State::Running | State::Waiting);
        let limit = record.spec.heartbeat_timeout;
        if let (Some(limit), true, Body::Live) = (limit, runs, record.body) {
            let due = self.now.after(limit);
            self.disarm(id, Alarm::Heartbeat);
            self.arm(id, due, Alarm::Heartbeat);
        }
    }

    /// After a crash its body is as live as before: it was never in this process.
    pub(super) fn revive_external(&mut self, record: &Record) {
        let id = record.id;
        match record.state {
            State::Pending => self.revive_pending(record),
            State::Running | State::Waiting => {
                self.keep_slot(id);
                if let (Some(limit), Some(since)) = (record.spec.timeout, record.started_at) {
                    let due = since.min(self.now).after(limit);
                    self.arm(id, due, Alarm::Attempt);
                }
                // When its holder was heard last went with the process.
                self.rearm_idle(id, self.now);
                self.arm_heartbeat(id);
            }
            State::Suspended
            | State::CancelRequested
            | State::Completed
            | State::Failed
            | State::TimedOut
            | State::Cancelled
            | State::Interrupted => {}
        }
    }
}

/// Whether a body of this record runs on although its process has died.
pub(super) fn outlives_process(record: &Record) -> bool {
    record.spec.origin == Origin::External
        && record.conclusion.is_none()
        && matches!(record.state, State::Running | State::Waiting)
}
