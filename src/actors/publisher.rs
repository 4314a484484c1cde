//! The publisher: fans durable events out to everybody who subscribed.
//!
//! # Invariants
//! 1. Events are published in the order of their numbers.
//! 2. No subscriber can delay it: they read from a shared ring at their own pace (`feed`).

use std::sync::Arc;

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
