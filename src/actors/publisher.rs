//! The publisher: fans durable events out to everybody who subscribed.
//!
//! # Invariants
//! 1. Events are published in the order of their numbers: whoever publishes has the press, and
//!    takes what waits only then.
//! 2. No subscriber can delay it: they read from a shared ring at their own pace (`feed`).
//! 3. While nobody listens, nobody is to be woken: whoever carries events publishes them itself, if
//!    nothing of before waits.

use std::sync::{Arc, PoisonError};

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::hub::Hub;
use super::mailbox::Wake;
use crate::kernel::Event;

/// Most batches in one turn.
const BATCHES_PER_TURN: usize = 256;

pub(super) struct PublisherActor;

pub(super) struct Press {
    hub: Arc<Hub>,
    batches: Vec<Vec<Arc<Event>>>,
}

impl Hub {
    /// Lets everybody who subscribed know of these events.
    pub(super) fn publish(&self, events: &[Arc<Event>]) {
        // Who failed with the press in hand has left a gap, which those who start anew close.
        if self.may_publish_now()
            && let Ok(_press) = self.press.try_lock()
            && self.outbox.is_empty()
        {
            self.feed.publish(events);
        } else {
            self.outbox.push(0, events.to_vec());
        }
    }

    fn may_publish_now(&self) -> bool {
        #[cfg(feature = "testing")]
        if self.sabotage.awaits(super::sabotage::Part::Publisher) {
            return false;
        }
        self.feed.has_no_listener()
    }
}

impl Actor for PublisherActor {
    type Msg = Wake;
    type State = Box<Press>;
    type Arguments = Arc<Hub>;

    async fn pre_start(
        &self,
        myself: ActorRef<Wake>,
        hub: Arc<Hub>,
    ) -> Result<Self::State, ActorProcessingErr> {
        hub.outbox.attach(myself);
        Ok(Box::new(Press {
            hub,
            batches: Vec::new(),
        }))
    }

    async fn handle(
        &self,
        _myself: ActorRef<Wake>,
        _wake: Wake,
        press: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let hub = Arc::clone(&press.hub);
        // To the end in one turn: nothing else is ever sent here, and a drain must not leave a
        // rest.
        loop {
            let _press = hub.press.lock().unwrap_or_else(PoisonError::into_inner);
            let is_more = hub.outbox.take(BATCHES_PER_TURN, &mut press.batches);
            #[cfg(feature = "testing")]
            hub.sabotage.strike(super::sabotage::Part::Publisher);
            for events in press.batches.drain(..) {
                hub.feed.publish(&events);
            }
            if !is_more {
                return Ok(());
            }
        }
    }
}
