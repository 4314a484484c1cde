//! What outlives any one actor: queues, index, feed, live tasks, clock, store.
//!
//! # Invariants
//! 1. The hub decides nothing; it is where actors and callers meet.
//! 2. `lives` holds a task from the moment it is durably accepted until it has settled and stopped.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use dashmap::DashMap;
use ractor::ActorRef;
use tokio::sync::{SetOnce, oneshot, watch};
use tokio::time::sleep_until;

use super::askers::Askers;
use super::clock::Clock;
use super::gate::Gate;
use super::guard::Order;
use super::hooks::HostHooks;
use super::liveness::AskHost;
use super::mailbox::Mailbox;
use super::observers::Observers;
use super::revive::Reviver;
#[cfg(feature = "testing")]
use super::sabotage::Sabotage;
use super::storage::Storage;
use super::team::BodyHost;
use super::uncarried::Uncarried;
use super::wake::Waker;
use super::writer::Commit;
use crate::engine::{Live, Reporter};
use crate::feed::Feed;
use crate::inbox::{DeadBounds, DeadLetters};
use crate::index::Index;
use crate::kernel::{Bounds, Effect, End, Epoch, Event, Hosts, IdHash, Scope, TaskId, Timestamp};
use crate::shelf::{Shelf, ShelfBounds};
use crate::store::{LEASE_TTL, Owner, Store, StoreError, Tenure};

/// The most that waits in each queue of one manager, outside the kernel, and who runs bodies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queues {
    pub(crate) asks: usize,
    pub(crate) notes: usize,
    pub(crate) feed_events: usize,
    pub(crate) feed_bytes: usize,
    /// The largest piece of output that its event holds itself.
    pub(crate) output_inline: usize,
    pub(crate) shelf: ShelfBounds,
    /// The shortest time between two progress notes of one task, unless it says otherwise.
    pub(crate) progress_interval: Option<Duration>,
    pub(crate) subscribers: usize,
    pub(crate) dead: DeadBounds,
    /// How long the lease of the store lasts without a renewal.
    pub(crate) lease_ttl: Duration,
    pub(crate) body_host: BodyHost,
}

impl Default for Queues {
    fn default() -> Self {
        Self {
            asks: 4_096,
            notes: 4_096,
            feed_events: 65_536,
            feed_bytes: 64 << 20,
            output_inline: 256 << 10,
            shelf: ShelfBounds {
                task_bytes_max: 1 << 20,
                bytes_max: 64 << 20,
            },
            progress_interval: None,
            subscribers: 1_024,
            dead: DeadBounds {
                letters_max: 1_024,
                bytes_max: 16 << 20,
            },
            lease_ttl: LEASE_TTL,
            body_host: BodyHost::usual(),
        }
    }
}

/// The meeting place of one manager's actors and callers.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) gate: Gate,
    pub(crate) clock: Clock,
    pub(crate) index: Index,
    pub(crate) feed: Arc<Feed>,
    pub(crate) shelf: Shelf,
    pub(crate) queues: Queues,
    pub(crate) lives: DashMap<TaskId, Arc<Live>, IdHash>,
    pub(crate) dead: Arc<DeadLetters>,
    pub(super) storage: Storage,
    /// Who this manager is to others that open its store.
    pub(super) owner: Owner,
    /// Its newest claim of the store.
    tenure: RwLock<Option<Tenure>>,
    /// Set when the manager is to stop, so that it waits for no store any more.
    pub(super) leaving: SetOnce<()>,
    pub(crate) bounds: Bounds,
    /// The newest of `bounds.hosts`; under its lock the manager is told of it.
    hosts: RwLock<Hosts>,
    pub(super) commits: Mailbox<Commit>,
    pub(super) outbox: Mailbox<Vec<Arc<Event>>>,
    /// Whoever holds it publishes.
    pub(super) press: Mutex<()>,
    pub(super) guard: SetOnce<ActorRef<Order>>,
    /// Set when what the first recovery decided is durable and shown.
    recovered: SetOnce<()>,
    /// Each body that may still be polled holds a receiver.
    pub(super) bodies: watch::Sender<()>,
    /// Of the newest incarnation.
    askers: RwLock<Arc<Askers>>,
    pub(super) uncarried: Uncarried,
    pub(super) waker: Waker,
    pub(super) hooks: HostHooks,
    pub(super) observers: Observers,
    pub(super) reviver: Reviver,
    /// Who is asked before a run is ended as idle.
    pub(super) ask_host: AskHost,
    /// Why the store takes nothing, while it does not.
    sickness: RwLock<Option<Arc<str>>>,
    /// What is wrong with a store that can never work again; the guard gives up then.
    ruin: OnceLock<Arc<str>>,
    /// The scopes that are closed: kept here so that an actor of ours that fails opens none.
    closed: RwLock<BTreeSet<Scope>>,
    /// Whether the store has the scopes that were closed by configuration.
    closed_written: AtomicBool,
    /// How often the manager was started; 1 unless an actor of ours failed.
    incarnation: AtomicU64,
    #[cfg(feature = "testing")]
    pub(super) sabotage: Sabotage,
}

impl Hub {
    pub(crate) fn new(bounds: Bounds, queues: Queues, store: Arc<dyn Store>) -> Self {
        let closed = bounds.closed_scopes.clone();
        let clock = Clock::start();
        Self {
            gate: Gate::new(queues.asks, queues.notes),
            clock,
            index: Index::new(),
            feed: Feed::bounded(queues.feed_events, queues.feed_bytes, queues.subscribers),
            shelf: Shelf::new(queues.shelf),
            queues,
            lives: DashMap::default(),
            dead: Arc::new(DeadLetters::new(queues.dead)),
            storage: Storage::new(store, clock),
            owner: Clock::new_owner(),
            tenure: RwLock::default(),
            leaving: SetOnce::new(),
            hosts: RwLock::new(bounds.hosts.clone()),
            bounds,
            commits: Mailbox::new(),
            outbox: Mailbox::new(),
            press: Mutex::default(),
            guard: SetOnce::new(),
            recovered: SetOnce::new(),
            bodies: watch::Sender::new(()),
            askers: RwLock::default(),
            uncarried: Uncarried::default(),
            waker: Waker::default(),
            hooks: HostHooks::default(),
            observers: Observers::default(),
            reviver: Reviver::default(),
            ask_host: AskHost::default(),
            sickness: RwLock::new(None),
            ruin: OnceLock::new(),
            closed: RwLock::new(closed),
            closed_written: AtomicBool::new(false),
            incarnation: AtomicU64::new(0),
            #[cfg(feature = "testing")]
            sabotage: Sabotage::default(),
        }
    }

    pub(crate) fn live(&self, id: TaskId) -> Option<Arc<Live>> {
        self.lives.get(&id).map(|live| Arc::clone(&live))
    }

    /// Waits until what the first recovery decided is durable and shown; tells whether it is, as it
    /// never will be when the manager has ended before.
    pub(crate) async fn recovered(&self) -> bool {
        tokio::select! {
            biased;
            () = self.recovered.wait() => true,
            () = self.gate.shut_down() => false,
        }
    }

    /// Whether that is so now.
    #[inline]
    pub(crate) fn has_recovered(&self) -> bool {
        self.recovered.initialized()
    }

    /// A step is durable and shown: the first one is that of recovery.
    pub(super) fn set_recovered(&self) {
        let _is_first = self.recovered.set(()).is_ok();
    }

    /// The executors that are registered have changed.
    pub(crate) fn change_hosts(&self, change: impl FnOnce(&mut Hosts)) {
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut hosts);
        // Told under the lock, so that the last change is told last.
        self.gate.hosts(hosts.clone());
    }

    /// The bounds as a manager begins with them.
    pub(super) fn bounds_now(&self) -> Bounds {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        Bounds {
            hosts: hosts.clone(),
            ..self.bounds.clone()
        }
    }

    /// The names from the root down to a task; short ids stand for tasks without a name.
    pub(crate) fn path(&self, id: TaskId) -> String {
        let mut segments = Vec::new();
        let mut at = Some(id);
        while let Some(record) = at.and_then(|id| self.index.get(id)) {
            segments.push(record.spec.segment(record.id));
            at = record.parent;
        }
        segments.reverse();
        segments.join("/")
    }

    /// A place for those who wait for the answers of a new incarnation.
    pub(super) fn new_askers(&self) -> Arc<Askers> {
        let askers = Arc::new(Askers::default());
        let mut newest = self.askers.write().unwrap_or_else(PoisonError::into_inner);
        newest.clone_from(&askers);
        askers
    }

    /// The tasks that begin to exist, if these are carried out.
    pub(super) fn born(&self, effects: &[Effect]) -> Vec<Arc<Live>> {
        let newest = self.askers.read().unwrap_or_else(PoisonError::into_inner);
        newest.born(effects).collect()
    }

    /// Lets everybody who waits for an answer know that none will come.
    pub(super) fn disappoint_askers(&self) {
        let newest = self.askers.read().unwrap_or_else(PoisonError::into_inner);
        newest.disappoint();
    }

    /// Why the store takes nothing at the moment; `None` when it works.
    pub(crate) fn sickness(&self) -> Option<Arc<str>> {
        self.sickness
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Why nothing is to be expected of the store at the moment: it takes nothing, or a call of it
    /// does not come back.
    pub(crate) fn trouble(&self) -> Option<Arc<str>> {
        self.sickness().or_else(|| {
            let took = self.storage.hangs_for()?.as_secs();
            Some(format!("a call of it has not come back for {took} s").into())
        })
    }

    /// The newest claim of the store; `None` before the first one.
    pub(super) fn tenure(&self) -> Option<Tenure> {
        *self.tenure.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_tenure(&self, tenure: Option<Tenure>) {
        *self.tenure.write().unwrap_or_else(PoisonError::into_inner) = tenure;
    }

    /// What is wrong with a store that can never work again; `None` while there is hope.
    pub(crate) fn ruin(&self) -> Option<Arc<str>> {
        self.ruin.get().cloned()
    }

    /// Says that the store is another manager's, or may be by now.
    pub(super) fn set_lost(&self, why: &StoreError) {
        if self.set_ruin(why) {
            #[cfg(feature = "metrics")]
            crate::meter::lease_lost();
        }
    }

    /// Says why nothing will ever be stored again, with all causes; tells whether that is news.
    pub(super) fn set_ruin(&self, why: &dyn Error) -> bool {
        let mut text = why.to_string();
        let mut cause = why.source();
        while let Some(deeper) = cause {
            let deeper_text = deeper.to_string();
            if !text.ends_with(&deeper_text) {
                text = format!("{text}: {deeper_text}");
            }
            cause = deeper.source();
        }
        tracing::error!(%text, "the store cannot work any more");
        self.ruin.set(text.into()).is_ok()
    }

    pub(super) fn set_sickness(&self, why: Option<Arc<str>>) {
        if why.is_none() && !self.gate.is_sick() {
            return;
        }
        self.gate.set_sick(why.is_some());
        *self
            .sickness
            .write()
            .unwrap_or_else(PoisonError::into_inner) = why;
        if !self.gate.is_sick() {
            // Deadlines stood still meanwhile.
            self.gate.tick();
        }
    }

    pub(crate) fn closed(&self) -> BTreeSet<Scope> {
        let closed = self.closed.read();
        closed.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The closed scopes that a manager begins with: those of the store, and until these have been
    /// written, those that it was configured with.
    pub(super) fn closed_at_start(&self, stored: &BTreeSet<Scope>) -> BTreeSet<Scope> {
        let is_written = self.closed_written.load(Ordering::Acquire);
        let configured = (!is_written).then_some(&self.bounds.closed_scopes);
        let all: BTreeSet<_> = stored
            .iter()
            .chain(configured.into_iter().flatten())
            .collect();
        let all: BTreeSet<_> = all.into_iter().cloned().collect();
        if all == *stored {
            self.closed_written.store(true, Ordering::Release);
        }
        self.show_closed(all.clone());
        all
    }

    /// These scopes are durably closed, and no others.
    pub(super) fn set_closed(&self, scopes: BTreeSet<Scope>) {
        self.closed_written.store(true, Ordering::Release);
        self.show_closed(scopes);
    }

    fn show_closed(&self, scopes: BTreeSet<Scope>) {
        *self.closed.write().unwrap_or_else(PoisonError::into_inner) = scopes;
    }

    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation.load(Ordering::Acquire)
    }

    pub(super) fn next_incarnation(&self) -> u64 {
        self.incarnation.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Waits until a progress note of a task that is held back is due. Not so when it was told
    /// before, or nobody takes it any more.
    pub(crate) async fn note_is_due(
        &self,
        live: &Live,
        at: Timestamp,
        called_off: oneshot::Receiver<()>,
    ) -> bool {
        tokio::select! {
            () = sleep_until(self.clock.instant(at)) => true,
            _ = called_off => false,
            _ = live.done.wait() => false,
            () = self.gate.shut_down() => false,
        }
    }

    /// Notes a sign of life, if anybody may ask for it: a limit of the task, or the host's probe.
    pub(crate) fn touch(&self, live: &Live) {
        if live.may_idle_out || self.ask_host.is_set() {
            live.touch(self.clock.now().as_micros());
        }
    }
}

impl Reporter for Hub {
    fn report(&self, live: &Live, epoch: Epoch, end: End, undelivered: u32) {
        // A note that waits for its interval is told before the end.
        self.gate.say_last(live, epoch);
        self.gate.report(live.id, epoch, end, undelivered);
    }
}
