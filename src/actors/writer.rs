//! The writer: makes batches durable, many callers' in one commit, and only then carries out what
//! follows.
//!
//! # Invariants
//! 1. Steps become durable in the order in which they were decided: who writes holds the pen, and
//!    takes what waits only then.
//! 2. Nothing of a step is told, started or answered before it is durable.
//! 3. A store that fails is tried again until it works; meanwhile nothing is acknowledged.
//!    One that is damaged, newer, gone, or somebody else's, is not, and ends the manager.
//! 4. With a store that never waits, the manager writes itself while nothing else is to be written:
//!    a task then costs two wake-ups less. What such a store does not take, as it fails or somebody
//!    reads from it, waits for the writer.
//!
//! *Not here*: what the effects do (`carry`).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{Mutex, OwnedSemaphorePermit, oneshot};
use tokio::task::yield_now;

use super::carry::Carrier;
use super::gate::SpawnReply;
use super::hub::Hub;
use super::mailbox::Wake;
use super::permits::Permits;
use super::team::Team;
use crate::engine::Live;
#[cfg(feature = "metrics")]
use crate::kernel::Timestamp;
use crate::kernel::{Effect, Reply, Step, Ticket};
use crate::store::{Batch, Holder, StoreError};

/// Most turns of the manager in one commit.
const COMMITS_PER_TURN: usize = 64;
/// For how many records, events or effects a turn keeps the room of the one before.
const ROOM_MAX: usize = 1_024;
/// How often others have their turn before a commit that waits for a disk: first those whom the
/// last one answered and started, then the manager. What they lead to shares the commit.
const TURNS_OF_OTHERS: usize = 2;
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
    /// Given back when the step is durable: those of asks, and those of the notes that were taken.
    pub(super) permits: Permits,
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

/// What the writer needs: the pen is shared with the manager.
pub(super) struct Scribe {
    hub: Arc<Hub>,
    pen: Arc<Mutex<Pen>>,
}

/// Whoever holds it writes.
pub(super) struct Pen {
    hub: Arc<Hub>,
    incarnation: u64,
    /// By whom its batches are.
    by: Option<Holder>,
    carrier: Carrier,
    commits: Vec<Commit>,
    /// What the store did not take when the manager wrote.
    unwritten: Option<Draft>,
    /// Whether its actors were given up, or failed with it in hand: what they still decide is
    /// forgotten.
    is_over: bool,
}

/// Turns of the manager on their way into the store. Whoever drops one that was not carried out
/// leaves it to those who come next.
struct Draft {
    hub: Arc<Hub>,
    batch: Batch,
    /// The batch, while a call of the store that may take long has it.
    lent: Option<Arc<Batch>>,
    /// The next one last.
    effects: Vec<Effect>,
    permits: Permits,
    is_carried: bool,
}

impl Draft {
    /// The batch, to be shared with a call of the store.
    fn lend(&mut self) -> Arc<Batch> {
        let batch = &mut self.batch;
        let lent = self
            .lent
            .get_or_insert_with(|| Arc::new(std::mem::take(batch)));
        Arc::clone(lent)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_carried {
            let batch = self.lent.take();
            let batch = batch.unwrap_or_else(|| Arc::new(std::mem::take(&mut self.batch)));
            self.hub
                .keep_uncarried(batch, std::mem::take(&mut self.effects));
        }
    }
}

impl Actor for WriterActor {
    type Msg = Wake;
    type State = Box<Scribe>;
    type Arguments = Arc<Mutex<Pen>>;

    async fn pre_start(
        &self,
        myself: ActorRef<Wake>,
        pen: Arc<Mutex<Pen>>,
    ) -> Result<Self::State, ActorProcessingErr> {
        let hub = Arc::clone(&pen.lock().await.hub);
        hub.commits.attach(myself);
        Ok(Box::new(Scribe { hub, pen }))
    }

    async fn handle(
        &self,
        _myself: ActorRef<Wake>,
        _wake: Wake,
        scribe: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let mut pen = scribe.pen.lock().await;
        if let Some(draft) = pen.unwritten.take() {
            pen.write(draft).await?;
        }
        // To the end in one turn: nothing else is ever sent here, and a drain must not leave a
        // rest.
        loop {
            if !scribe.hub.storage.is_instant() {
                for _ in 0..TURNS_OF_OTHERS {
                    yield_now().await;
                }
            }
            let is_more = scribe.hub.commits.take(COMMITS_PER_TURN, &mut pen.commits);
            pen.write_all().await?;
            if !is_more {
                return Ok(());
            }
        }
    }
}

impl Pen {
    pub(super) fn new(hub: Arc<Hub>, team: Arc<Team>) -> Self {
        Self {
            incarnation: hub.incarnation(),
            by: hub.holder(),
            carrier: Carrier::new(Arc::clone(&hub), team),
            hub,
            commits: Vec::new(),
            unwritten: None,
            is_over: false,
        }
    }

    /// Its actors were given up: nothing more is written with it.
    pub(super) fn take_away(&mut self) {
        self.is_over = true;
        // Those who come next give its numbers to others.
        self.unwritten = None;
    }

    /// Whether the manager may write: nothing of before is left to be written.
    pub(super) fn is_idle(&self) -> bool {
        self.unwritten.is_none() && self.hub.commits.is_empty()
    }

    /// Writes a turn of the manager in that turn, and gives it back for the next one, empty. What
    /// the store does not take now is left to the writer.
    pub(super) fn write_now(&mut self, mut commit: Commit) -> Result<Commit, StoreError> {
        if self.is_over || commit.incarnation != self.incarnation {
            return Ok(Commit::default());
        }
        let mut draft = self.gather([&mut commit]);
        self.is_over = true;
        let is_durable = self.try_now(&draft.batch)?;
        if is_durable {
            self.follow(&mut draft);
            let batch = std::mem::take(&mut draft.batch);
            commit.step = Step {
                records: room(batch.records),
                removed: room(batch.removed),
                events: room(batch.events),
                closed: None,
                effects: room(std::mem::take(&mut draft.effects)),
            };
        } else {
            self.unwritten = Some(draft);
            // An empty turn wakes the writer, and keeps later ones behind this one.
            self.hub.commits.push(0, Commit::default());
        }
        self.is_over = false;
        Ok(commit)
    }

    async fn write_all(&mut self) -> Result<(), StoreError> {
        let mut commits = std::mem::take(&mut self.commits);
        while !commits.is_empty() {
            let count = shared(&commits);
            let mut draft = self.gather(&mut commits[..count]);
            commits.drain(..count);
            draft.batch.compact();
            self.write(draft).await?;
        }
        self.commits = commits;
        Ok(())
    }

    async fn write(&mut self, mut draft: Draft) -> Result<(), StoreError> {
        let batch = draft.lend();
        self.is_over = true;
        self.make_durable(&batch).await?;
        self.follow(&mut draft);
        self.is_over = false;
        Ok(())
    }

    /// Takes the contents of these turns.
    fn gather<'a>(&self, commits: impl IntoIterator<Item = &'a mut Commit>) -> Draft {
        let mut batch = Batch::default();
        let (mut effects, mut permits) = (Vec::new(), Permits::default());
        let ours = self.incarnation;
        let is_ours = |commit: &&mut Commit| commit.incarnation == ours;
        for commit in commits.into_iter().filter(is_ours) {
            let Step {
                records,
                removed,
                events,
                closed,
                effects: follow,
            } = std::mem::take(&mut commit.step);
            batch.absorb(Batch {
                by: self.by,
                records,
                removed,
                events,
                closed,
            });
            append(&mut effects, follow);
            permits.join(std::mem::take(&mut commit.permits));
            self.carrier.expect(&mut commit.askers);
        }
        #[cfg(feature = "testing")]
        self.hub.sabotage.strike(super::sabotage::Part::Writer);
        effects.reverse();
        Draft {
            hub: Arc::clone(&self.hub),
            batch,
            lent: None,
            effects,
            permits,
            is_carried: false,
        }
    }

    /// Carries out what follows from a batch that is durable.
    fn follow(&mut self, draft: &mut Draft) {
        #[cfg(feature = "testing")]
        self.hub.sabotage.strike(super::sabotage::Part::Carrier);
        drop(std::mem::take(&mut draft.permits));
        let batch = draft.lent.as_deref().unwrap_or(&draft.batch);
        if let Some(closed) = &batch.closed {
            self.hub.set_closed(closed.clone());
        }
        self.carrier.carry(batch, &mut draft.effects);
        draft.is_carried = true;
    }

    /// Commits the batch, again and again while the store is not available.
    ///
    /// A store that refuses the batch as such means that our state is wrong: then all start again
    /// from what the store has.
    async fn make_durable(&self, batch: &Arc<Batch>) -> Result<(), StoreError> {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            match self.try_durable(batch).await {
                Err(StoreError::Unavailable { .. }) => {}
                result => return result,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    /// Commits the batch once.
    async fn try_durable(&self, batch: &Arc<Batch>) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let call = Call::begin(&self.hub);
        call.over(self.hub.storage.commit(batch).await)
    }

    /// Commits the batch now, with a store that never waits. Tells whether it took it.
    fn try_now(&self, batch: &Batch) -> Result<bool, StoreError> {
        if batch.is_empty() {
            return Ok(true);
        }
        let call = Call::begin(&self.hub);
        // If somebody reads from it at the moment, the writer waits for that.
        let Some(result) = self.hub.storage.commit_now(batch) else {
            return Ok(false);
        };
        match call.over(result) {
            Err(StoreError::Unavailable { .. }) => Ok(false),
            result => result.map(|()| true),
        }
    }
}

/// A call of the store, of whose end all who ask for its condition are to know.
struct Call<'a> {
    hub: &'a Hub,
    #[cfg(feature = "metrics")]
    began: Timestamp,
}

impl<'a> Call<'a> {
    fn begin(hub: &'a Hub) -> Self {
        Self {
            hub,
            #[cfg(feature = "metrics")]
            began: hub.clock.now(),
        }
    }

    fn over(self, result: Result<(), StoreError>) -> Result<(), StoreError> {
        match &result {
            Ok(()) => {
                #[cfg(feature = "metrics")]
                crate::meter::stored(self.hub.clock.now().since(self.began));
                self.hub.set_sickness(None);
            }
            Err(StoreError::Unavailable { source }) => {
                #[cfg(feature = "metrics")]
                crate::meter::store_failed();
                tracing::error!(%source, "the store failed; it will be tried again");
                self.hub.set_sickness(Some(Arc::from(source.to_string())));
            }
            Err(StoreError::Damaged { source } | StoreError::Newer { source }) => {
                self.hub.set_ruin(&**source);
            }
            Err(gone @ StoreError::Gone { .. }) => {
                self.hub.set_ruin(gone);
            }
            Err(fenced @ StoreError::Fenced { .. }) => self.hub.set_lost(fenced),
            Err(
                StoreError::OutOfOrder { .. }
                | StoreError::Conflict { .. }
                | StoreError::Held { .. },
            ) => {}
        }
        result
    }
}

/// How many of these turns may share a batch: up to one that must not, or that keeps another life
/// of a task which an earlier one of them drops.
fn shared(commits: &[Commit]) -> usize {
    let mut dropped = HashSet::new();
    let is_apart = |commit: &Commit| {
        let is_apart = commit.is_apart
            || !dropped.is_empty()
                && (commit.step.records.iter()).any(|record| dropped.contains(&record.id));
        dropped.extend(commit.step.removed.iter().copied());
        is_apart
    };
    // The first one begins the batch, whatever it says of itself.
    let apart = commits.iter().map(is_apart).skip(1).position(|it| it);
    apart.map_or(commits.len(), |at| at + 1)
}

/// What was in use, emptied, unless it is larger than what usual turns need.
fn room<T>(mut used: Vec<T>) -> Vec<T> {
    if used.capacity() > ROOM_MAX {
        return Vec::new();
    }
    used.clear();
    used
}

/// Appends; the first one costs nothing.
fn append<T>(to: &mut Vec<T>, more: Vec<T>) {
    if to.is_empty() {
        *to = more;
    } else {
        to.extend(more);
    }
}
