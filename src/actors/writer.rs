//! The writer: makes batches durable, many callers' in one commit, and only then carries out what
//! follows.
//!
//! # Invariants
//! 1. Steps become durable in the order in which they were decided.
//! 2. Nothing of a step is told, started or answered before it is durable.
//! 3. A store that fails is tried again until it works; meanwhile nothing is acknowledged.
//!
//! *Not here*: what the effects do (`carry`).

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::carry::Carrier;
use super::gate::SpawnReply;
use super::hub::Hub;
use super::mailbox::Wake;
use crate::engine::Live;
use crate::kernel::{Reply, Step, Ticket};
use crate::store::{Batch, StoreError};

/// Most turns of the manager in one commit.
const COMMITS_PER_TURN: usize = 64;
/// First and longest pause before a store that failed is tried again.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(20);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// One turn of the manager.
#[derive(Debug, Default)]
pub(super) struct Commit {
    /// Of the manager that decided it. A manager that was given up may finish its turn late.
    pub(super) incarnation: u64,
    /// Whether it must not share a batch with what came before.
    pub(super) is_apart: bool,
    pub(super) step: Step,
    pub(super) askers: Vec<(Ticket, Asker)>,
    /// Given back when the step is durable.
    pub(super) permits: Vec<OwnedSemaphorePermit>,
}

/// Who waits for an answer.
#[derive(Debug)]
pub(super) enum Asker {
    Spawn {
        live: Arc<Live>,
        reply: oneshot::Sender<SpawnReply>,
        permit: OwnedSemaphorePermit,
    },
    Other(oneshot::Sender<Reply>),
}

impl Asker {
    /// The task that shall be, if this is a spawn.
    pub(super) fn live(&self) -> Option<Arc<Live>> {
        match self {
            Self::Spawn { live, .. } => Some(Arc::clone(live)),
            Self::Other(_) => None,
        }
    }
}

impl Commit {
    pub(super) fn is_empty(&self) -> bool {
        self.step.is_read_only()
            && self.step.effects.is_empty()
            && self.askers.is_empty()
            && self.permits.is_empty()
    }
}

pub(super) struct WriterActor;

pub(super) struct Pen {
    hub: Arc<Hub>,
    incarnation: u64,
    carrier: Carrier,
    commits: Vec<Commit>,
}

impl Actor for WriterActor {
    type Msg = Wake;
    type State = Box<Pen>;
    type Arguments = (Arc<Hub>, ActorCell);

    async fn pre_start(
        &self,
        myself: ActorRef<Wake>,
        (hub, manager): (Arc<Hub>, ActorCell),
    ) -> Result<Self::State, ActorProcessingErr> {
        hub.commits.attach(myself);
        let carrier = Carrier::new(Arc::clone(&hub), manager);
        Ok(Box::new(Pen {
            incarnation: hub.incarnation(),
            hub,
            carrier,
            commits: Vec::new(),
        }))
    }

    async fn handle(
        &self,
        _myself: ActorRef<Wake>,
        _wake: Wake,
        pen: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let hub = Arc::clone(&pen.hub);
        // To the end in one turn: nothing else is ever sent here, and a drain must not leave a
        // rest.
        loop {
            let is_more = hub.commits.take(COMMITS_PER_TURN, &mut pen.commits);
            pen.write_all().await?;
            if !is_more {
                return Ok(());
            }
        }
    }
}

impl Pen {
    async fn write_all(&mut self) -> Result<(), StoreError> {
        let mut commits = std::mem::take(&mut self.commits);
        while !commits.is_empty() {
            let apart = commits.iter().skip(1).position(|commit| commit.is_apart);
            let end = apart.map_or(commits.len(), |at| at + 1);
            self.write(commits.drain(..end)).await?;
        }
        self.commits = commits;
        Ok(())
    }

    async fn write(&mut self, commits: impl Iterator<Item = Commit>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let mut effects = Vec::new();
        let mut permits = Vec::new();
        let ours = self.incarnation;
        let is_ours = |commit: &Commit| commit.incarnation == ours;
        for commit in commits.filter(is_ours) {
            let Commit {
                step,
                askers,
                permits: held,
                incarnation: _,
                is_apart: _,
            } = commit;
            let Step {
                records,
                removed,
                events,
                closed,
                effects: follow,
            } = step;
            batch.absorb(Batch {
                records,
                removed,
                events,
                closed,
            });
            effects.extend(follow);
            permits.extend(held);
            self.carrier.expect(askers);
        }
        batch.compact();
        let batch = Arc::new(batch);
        #[cfg(feature = "testing")]
        self.hub.sabotage.strike(super::sabotage::Part::Writer);
        if !batch.is_empty() {
            self.make_durable(&batch).await?;
        }
        #[cfg(feature = "testing")]
        self.hub.sabotage.strike(super::sabotage::Part::Carrier);
        drop(permits);
        if let Some(closed) = &batch.closed {
            self.hub.set_closed(closed.clone());
        }
        self.carrier.carry(&batch, effects).await;
        Ok(())
    }

    /// Commits the batch, again and again while the store is not available.
    ///
    /// A store that refuses the batch as such means that our state is wrong: then all start again
    /// from what the store has.
    async fn make_durable(&self, batch: &Arc<Batch>) -> Result<(), StoreError> {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            #[cfg(feature = "metrics")]
            let began = self.hub.clock.now();
            match self.hub.storage.commit(batch).await {
                Ok(()) => {
                    #[cfg(feature = "metrics")]
                    crate::meter::stored(self.hub.clock.now().since(began));
                    self.hub.set_sickness(None);
                    return Ok(());
                }
                Err(StoreError::Unavailable { source }) => {
                    #[cfg(feature = "metrics")]
                    crate::meter::store_failed();
                    tracing::error!(%source, ?pause, "the store failed; it will be tried again");
                    self.hub.set_sickness(Some(Arc::from(source.to_string())));
                }
                Err(wrong) => return Err(wrong),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }
}
