//! What goes to and fro between a body and others by way of the kernel: questions, answers,
//! interrupts.
//!
//! # Invariants
//! 1. Of many answers to one question the first wins; asking with the same key again gives it.
//! 2. After a cancel was decided nothing is asked or answered, and nothing interrupts: the stop
//!    goes first. An answer that comes during a timeout counts, as another attempt may read it.
//! 3. A task settles with no open question: those that are left are told before its end.
//!
//! *Not here*: messages, which need no decision (`inbox.rs`).

use std::sync::Arc;

use super::super::event::What;
use super::super::id::{Epoch, Key, TaskId};
use super::super::question::{Answer, Interrupt, QUESTIONS_MAX, Question};
use super::super::record::{Body, Conclusion, Record, Requester};
use super::super::spec::Payload;
use super::super::state::State;
use super::Bug;
use super::Supervisor;
use super::protocol::{AskRefusal, Effect, InterruptRefusal, Reply, RespondRefusal, Ticket};

impl Supervisor {
    /// The body of this run asks something, or asks again.
    pub(super) fn ask(
        &mut self,
        ticket: Ticket,
        (id, epoch): (TaskId, Epoch),
        key: Key,
        question: Payload,
    ) {
        let result = self.check_ask(id, epoch, &key);
        if result == Ok(None) && self.question(id, &key).is_none() {
            let asked = Question {
                asked: question.clone(),
                asked_at: self.now,
                answer: None,
            };
            let questions = self.edit(id).questions.get_or_insert_default();
            Arc::make_mut(questions).insert(key.clone(), asked);
            self.emit(id, What::Asked { key, question });
        }
        self.answer(ticket, Reply::Asked(result));
    }

    fn question(&self, id: TaskId, key: &Key) -> Option<&Question> {
        self.tasks.get(id)?.record.questions.as_ref()?.get(key)
    }

    /// The answer that was given already, if the question may be asked.
    fn check_ask(
        &self,
        id: TaskId,
        epoch: Epoch,
        key: &Key,
    ) -> Result<Option<Payload>, AskRefusal> {
        if !self.is_current(id, epoch) {
            return Err(AskRefusal::Stale);
        }
        if let Some(question) = self.question(id, key)
            && let Some(answer) = &question.answer
        {
            return Ok(Some(answer.value.clone()));
        }
        let record = &self.tasks[id].record;
        if record.state == State::CancelRequested {
            return Err(AskRefusal::Stopping);
        }
        let is_new = self.question(id, key).is_none();
        let count = record.questions.as_ref().map_or(0, |all| all.len());
        if is_new && count >= QUESTIONS_MAX {
            return Err(AskRefusal::TooMany(QUESTIONS_MAX));
        }
        Ok(None)
    }

    /// Somebody answers a question; of many the first wins.
    pub(super) fn respond(
        &mut self,
        ticket: Ticket,
        (id, key): (TaskId, Key),
        value: Payload,
        by: Requester,
    ) {
        let result = self.check_respond(id, &key);
        if result.is_ok() {
            let at = self.now;
            let answer = Arc::new(Answer { value, by, at });
            let kept = (!self.planted(Bug::AnswerLost)).then(|| Arc::clone(&answer));
            let questions = self.edit(id).questions.get_or_insert_default();
            if let Some(question) = Arc::make_mut(questions).get_mut(&key) {
                question.answer = kept;
            }
            self.emit(id, What::Answered { key, answer });
            self.out.effects.push(Effect::Answered(id));
        }
        self.answer(ticket, Reply::Responded(result));
    }

    fn check_respond(&self, id: TaskId, key: &Key) -> Result<(), RespondRefusal> {
        let Some(task) = self.tasks.get(id) else {
            let settled = self.settled.get(id).map(|settled| settled.state);
            return Err(settled.map_or(RespondRefusal::Unknown(id), RespondRefusal::Ended));
        };
        if is_past_answers(&task.record) {
            return Err(RespondRefusal::Ended(task.record.state));
        }
        match self.question(id, key) {
            None => Err(RespondRefusal::NoSuchQuestion),
            Some(question) if question.answer.is_some() => Err(RespondRefusal::AlreadyAnswered),
            Some(_) => Ok(()),
        }
    }

    /// Before a task settles: what it asked and nobody answered is told.
    pub(super) fn drop_questions(&mut self, id: TaskId) {
        let Some(questions) = &self.task(id).record.questions else {
            return;
        };
        let open = questions.iter().filter(|(_, it)| it.answer.is_none());
        let keys: Vec<_> = open.map(|(key, _)| key.clone()).collect();
        if !keys.is_empty() {
            self.emit(id, What::Unanswered(keys.into()));
        }
    }

    /// Somebody interrupts a running body.
    pub(super) fn interrupt(
        &mut self,
        ticket: Ticket,
        id: TaskId,
        reason: Arc<str>,
        by: Requester,
    ) {
        let result = self.check_interrupt(id);
        if let Ok(epoch) = result {
            let at = self.now;
            let interrupt = Arc::new(Interrupt { reason, by, at });
            self.emit(id, What::InterruptAsked(Arc::clone(&interrupt)));
            self.out.effects.push(Effect::Interrupt {
                id,
                epoch,
                interrupt,
            });
        }
        self.answer(ticket, Reply::Interrupted(result.map(|_| ())));
    }

    /// The run that can be interrupted.
    fn check_interrupt(&self, id: TaskId) -> Result<Epoch, InterruptRefusal> {
        let Some(task) = self.tasks.get(id) else {
            let settled = self.settled.get(id).map(|settled| settled.state);
            return Err(settled.map_or(InterruptRefusal::Unknown(id), InterruptRefusal::NotRunning));
        };
        let record = &task.record;
        let runs = matches!(record.state, State::Running | State::Waiting);
        if runs && record.body == Body::Live {
            Ok(record.epoch)
        } else {
            Err(InterruptRefusal::NotRunning(record.state))
        }
    }
}

/// Whether no run can follow that would read an answer.
pub(super) fn is_past_answers(record: &Record) -> bool {
    let is_cancelled = record
        .stop
        .as_ref()
        .is_some_and(|stop| !stop.cause.allows_retry());
    let settles = matches!(record.conclusion, Some(Conclusion::Settle(_)));
    record.state.is_terminal() || is_cancelled || settles
}
