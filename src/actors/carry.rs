//! What follows a durable step: index, latches, events, answers, starts, signals, in this order.
//!
//! # Invariants
//! 1. The index and the latch of a task show a change before its event is published (`show`).
//! 2. A task is in `lives` before its spawn is answered and before it starts.
//! 3. A user's value that is left over is dropped in a task of its own, never here.

use std::sync::Arc;

use super::askers::Askers;
use super::hooks::Settlements;
use super::hub::Hub;
use super::task;
use super::team::Team;
use super::writer::Asker;
use crate::engine::{Attempt, Live, Wish};
use crate::inbox::Parcel;
use crate::kernel::{
    Accepted, Effect, End, Epoch, Fault, FaultKind, Messages, Origin, Payload, Reply, TaskId,
    Ticket,
};
use crate::store::Batch;

pub(super) struct Carrier {
    hub: Arc<Hub>,
    team: Arc<Team>,
    askers: Arc<Askers>,
    settlements: Settlements,
}

/// A run of a body that is to start.
struct Run {
    epoch: Epoch,
    number: u32,
    is_last: bool,
    resume: Option<Payload>,
    messages: Option<Arc<Messages>>,
}

impl Carrier {
    pub(super) fn new(hub: Arc<Hub>, team: Arc<Team>) -> Self {
        let askers = hub.new_askers();
        Self {
            hub,
            team,
            askers,
            settlements: Settlements::default(),
        }
    }

    /// Takes those whose answers will come.
    pub(super) fn expect(&self, askers: &mut Vec<(Ticket, Asker)>) {
        self.askers.expect(askers);
    }

    /// Shows and tells a durable batch, then carries out its effects, of which the next one is the
    /// last of these. Those that are left were not begun.
    pub(super) fn carry(&mut self, batch: &Batch, effects: &mut Vec<Effect>) {
        let mut observed = Vec::new();
        for live in self.askers.born(effects) {
            if live.is_observed() {
                observed.push(Arc::clone(&live));
            }
            self.hub.lives.insert(live.id, live);
        }
        if !batch.is_empty() {
            self.hub.show(batch, &observed);
            #[cfg(feature = "testing")]
            self.hub.sabotage.strike(super::sabotage::Part::Shown);
            self.hub.publish(&batch.events);
            for event in &batch.events {
                self.hub.wake_for(event);
            }
        }
        self.hub.set_recovered();
        while let Some(effect) = effects.pop() {
            self.carry_out(effect);
            #[cfg(feature = "testing")]
            self.hub.sabotage.strike(super::sabotage::Part::Effects);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Answer { ticket, reply } => self.answer(ticket, reply),
            Effect::Start {
                id,
                epoch,
                attempt,
                is_last,
                resume,
                messages,
            } => {
                let run = Run {
                    epoch,
                    number: attempt,
                    is_last,
                    resume,
                    messages,
                };
                self.start(id, run);
            }
            Effect::Signal { id, epoch, stop } => {
                if let Some(live) = self.current(id, epoch) {
                    live.signal().ask(Arc::clone(&stop));
                    live.inbox.stir();
                    // Nobody knows how long its body still lives: it may never report an end.
                    self.hub.gate.say_last(&live, epoch);
                    if live.spec.origin == Origin::External {
                        self.hub.call_back(&live, epoch, &stop);
                    }
                }
            }
            Effect::Abort { id, epoch } => {
                if let Some(live) = self.current(id, epoch) {
                    live.signal().force();
                }
            }
            Effect::CheckIdle { id, epoch } => self.hub.check_idle(id, epoch),
            Effect::Answered(id) => {
                if let Some(live) = self.hub.live(id) {
                    live.notify_answered();
                }
            }
            Effect::Deliver { id, message } => {
                if let Some(live) = self.hub.live(id) {
                    live.inbox.hand(Parcel::from(&*message));
                    self.hub.touch(&live);
                }
            }
            Effect::Interrupt {
                id,
                epoch,
                interrupt,
            } => {
                if let Some(live) = self.current(id, epoch) {
                    live.signal().interrupt(interrupt);
                }
            }
            Effect::BeforeSettle(call) => self.settlements.begin(&self.hub, call),
            Effect::Close(id) => self.close(id),
            Effect::Forget(id) => {
                self.hub.shelf.settle(id);
                if let Some((_, live)) = self.hub.lives.remove(&id) {
                    self.hub.call_back_unstarted(&live);
                    live.discard_work();
                }
            }
        }
    }

    fn start(&self, id: TaskId, run: Run) {
        let Run {
            epoch,
            number,
            is_last,
            resume,
            messages,
        } = run;
        let live = self.hub.live(id);
        if self.is_external(id, live.as_deref()) {
            if let Some(live) = live {
                live.begin(epoch, self.hub.clock.now().as_micros());
            }
            return;
        }
        let Some(live) = live else {
            // The record came from another process, and nothing here knows how to run it.
            let message = "this process has no body for it".into();
            let fault = Fault {
                kind: FaultKind::Lost,
                message,
            };
            self.hub.gate.report(id, epoch, End::Failed(fault), 0);
            return;
        };
        self.hub.acknowledge_wake(id);
        let signal = live.begin(epoch, self.hub.clock.now().as_micros());
        if let Some(messages) = messages {
            live.inbox.hand_again(messages.iter().map(Parcel::from));
        }
        let record = resume.as_ref().and_then(|_| self.hub.index.get(id));
        let suspension = record.and_then(|record| record.suspension.clone());
        let attempt = Attempt {
            is_repeatable: live.is_repeatable(),
            live,
            signal,
            epoch,
            number,
            is_last,
            resume,
            suspension,
            wish: Wish::default(),
        };
        let errand = task::errand(&self.hub, Arc::new(attempt));
        self.team.run(id, errand);
    }

    /// Whether the body of a task is elsewhere, so that nothing has to be started.
    fn is_external(&self, id: TaskId, live: Option<&Live>) -> bool {
        if let Some(live) = live {
            return live.spec.origin == Origin::External;
        }
        let record = self.hub.index.get(id);
        record.is_some_and(|record| record.spec.origin == Origin::External)
    }

    fn current(&self, id: TaskId, epoch: Epoch) -> Option<Arc<Live>> {
        self.hub.live(id).filter(|live| live.is_current(epoch))
    }

    /// Answers; an asker that went away does not mind.
    fn answer(&mut self, ticket: Ticket, reply: Reply) {
        match (self.askers.take(ticket), reply) {
            (
                Some(Asker::Spawn {
                    live,
                    reply,
                    permit,
                }),
                Reply::Spawned(result),
            ) => {
                let is_new = matches!(result, Ok(Accepted::New(_)));
                #[cfg(feature = "metrics")]
                crate::meter::answered(&result, &live.spec);
                let result = result.map_err(|refusal| (refusal, Arc::clone(&live)));
                drop(permit);
                let unheard = reply.send(result).is_err();
                if unheard && !is_new {
                    live.discard_work();
                }
            }
            (Some(Asker::Other(to)), reply) => {
                if let Err(reply) = to.send(reply) {
                    tracing::trace!(?reply, "nobody waits for this answer");
                }
            }
            (Some(Asker::Spawn { .. }) | None, reply) => {
                tracing::error!(?ticket, ?reply, "an answer without its asker");
            }
        }
    }

    /// What a settled task needs no more: its inbox, and the time of its hooks. No run of it will
    /// acknowledge a wake.
    fn close(&mut self, id: TaskId) {
        self.settlements.over(id);
        self.hub.acknowledge_wake(id);
        let Some(live) = self.hub.live(id) else {
            return;
        };
        let left = live.close_inbox();
        if left > 0
            && let Some(record) = self.hub.index.get(id)
        {
            self.hub.gate.undelivered(record, left);
        }
    }
}
