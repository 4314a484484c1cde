//! Durable messages: taken into the record, handed to each run until one acknowledges them.
//!
//! # Invariants
//! 1. A message is delivered after its record is durable, and again at each start of a run, until
//!    it is acknowledged.
//! 2. The same message sent twice is one message while it is not acknowledged.
//! 3. Only the current run acknowledges; to do it again changes nothing.
//!
//! *Not here*: ordinary messages, which need no decision (`inbox.rs`).

use std::sync::Arc;

use super::super::event::What;
use super::super::id::{Epoch, TaskId};
use super::super::message::{KeptMessage, MessageId, MessageRefusal, fits};
use super::Bug;
use super::Supervisor;
use super::protocol::{AskRefusal, Effect, Reply, Ticket};
use super::talk::is_past_answers;

impl Supervisor {
    /// Somebody sends a message that shall outlive the process.
    pub(super) fn message(&mut self, ticket: Ticket, id: TaskId, message: KeptMessage) {
        let result = self.check_message(id, &message);
        if result == Ok(true) {
            let kept = (!self.planted(Bug::MessageLost)).then(|| message.clone());
            let messages = self.edit(id).messages.get_or_insert_default();
            Arc::make_mut(messages).extend(kept);
            let from = message.from;
            let told = message.id;
            self.emit(
                id,
                What::MessageKept {
                    message: told,
                    from,
                },
            );
            let message = Box::new(message);
            self.out.effects.push(Effect::Deliver { id, message });
        }
        self.answer(ticket, Reply::Message(result.map(|_| ())));
    }

    /// Whether it is new, if it may be taken.
    fn check_message(&self, id: TaskId, message: &KeptMessage) -> Result<bool, MessageRefusal> {
        let Some(task) = self.tasks.get(id) else {
            let is_known = self.settled.contains(id);
            let unknown = MessageRefusal::Unknown(id);
            return Err(if is_known {
                MessageRefusal::Ended
            } else {
                unknown
            });
        };
        let record = &task.record;
        let mut kept = record.unacknowledged().iter();
        if record.state.is_terminal() {
            // Its body did not stop, and takes nothing any more.
            Err(MessageRefusal::Ended)
        } else if kept.any(|kept| kept.id == message.id) {
            Ok(false)
        } else if is_past_answers(record) {
            Err(MessageRefusal::Ended)
        } else if fits(record.messages.as_ref(), &message.body) {
            Ok(true)
        } else {
            Err(MessageRefusal::Full)
        }
    }

    /// The body of this run is done with a message.
    pub(super) fn acknowledge(
        &mut self,
        ticket: Ticket,
        (id, epoch): (TaskId, Epoch),
        message: MessageId,
    ) {
        let result = if self.is_current(id, epoch) {
            self.drop_message(id, message);
            Ok(())
        } else {
            Err(AskRefusal::Stale)
        };
        self.answer(ticket, Reply::Acknowledged(result));
    }

    fn drop_message(&mut self, id: TaskId, message: MessageId) {
        let kept = self.tasks[id].record.unacknowledged();
        let Some(place) = kept.iter().position(|kept| kept.id == message) else {
            return;
        };
        let record = self.edit(id);
        if let Some(messages) = &mut record.messages {
            Arc::make_mut(messages).remove(place);
        }
        record.messages.take_if(|messages| messages.is_empty());
        self.emit(id, What::MessageAcknowledged(message));
    }
}
