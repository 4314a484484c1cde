//! Observers: hooks that hear of what is durable and told, each at its own pace.
//!
//! # Invariants
//! 1. In a process an observer hears of each event of its tasks at most once, in the order of the
//!    numbers, in one call at a time, whatever becomes of the actors.
//! 2. It waits for no other one, and nobody waits for it but a shutdown, and that not for long.
//! 3. One that is slow costs two numbers, not a queue: what it has not heard it reads from the
//!    feed and, when that has it no longer, from the store, for which it waits. What neither has
//!    any more it misses, and the log says so.
//! 4. Events of earlier processes are not told again.
//!
//! *Not here*: what users write (`api/task_hooks.rs`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use dashmap::DashMap;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::hooks::{Of, span_of};
use super::hub::Hub;
use crate::engine::{Hears, Hook, HookSet, Live};
use crate::feed::FeedItem;
use crate::kernel::{Event, Filter, Seq, TaskId, What};
use crate::store::StoreError;

/// The longest time of one call.
const CALL_MAX: Duration = Duration::from_secs(5);
/// How long a shutdown waits for observers that have not heard of everything.
const LAST_CALLS_MAX: Duration = Duration::from_secs(5);
/// How long it waits for those that it has given up.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// Events read from the store at once.
const EVENTS_PER_READ: usize = 1_024;
/// After which pause a store that cannot be read now is read again.
const READ_PAUSE: Duration = Duration::from_millis(500);

/// Whose events an observer hears of.
#[derive(Debug)]
enum Whose {
    Host(Of),
    /// One life of a task.
    Task(TaskId, u32),
}

/// One observer, and how far it has come.
#[derive(Debug)]
struct Observer {
    whose: Whose,
    hears: Hears,
    hook: Arc<Hook<Arc<Event>>>,
    reading: Mutex<Reading>,
}

#[derive(Debug, Default)]
struct Reading {
    /// Whether somebody reads for it.
    is_awake: bool,
    /// The newest event that it is to hear of.
    newest: Seq,
}

/// All observers of one manager.
#[derive(Debug)]
pub(super) struct Observers {
    host: RwLock<Arc<[Arc<Observer>]>>,
    /// Of lives of tasks, until their ends have been seen.
    own: DashMap<(TaskId, u32), Vec<Arc<Observer>>>,
    has_begun: AtomicBool,
    /// Everything that reads for an observer holds a receiver.
    readers: watch::Sender<()>,
    given_up: CancellationToken,
}

impl Default for Observers {
    fn default() -> Self {
        Self {
            host: RwLock::new(Arc::from([])),
            own: DashMap::new(),
            has_begun: AtomicBool::new(false),
            readers: watch::Sender::new(()),
            given_up: CancellationToken::new(),
        }
    }
}

impl Observers {
    pub(super) fn set_host(&self, hooks: &[(Of, HookSet)]) {
        let made = hooks.iter().flat_map(|(of, set)| {
            let whose = || Whose::Host(of.clone());
            set.observers
                .iter()
                .map(move |it| Observer::new(whose(), it))
        });
        let made = made.collect();
        let mut host = self.host.write().unwrap_or_else(PoisonError::into_inner);
        let _before = std::mem::replace(&mut *host, made);
    }

    fn host(&self) -> Arc<[Arc<Observer>]> {
        Arc::clone(&self.host.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nobody hears of anything any more.
    pub(super) fn give_up(&self) {
        self.given_up.cancel();
        self.set_host(&[]);
        self.own.clear();
    }

    /// Waits until all have heard of everything, but not for long. The feed has been closed.
    pub(super) async fn finish(&self) {
        if timeout(LAST_CALLS_MAX, self.readers.closed())
            .await
            .is_err()
        {
            tracing::warn!("observers have not heard of everything when the manager went");
            self.given_up.cancel();
            let _is_late = timeout(GOODBYE_MAX, self.readers.closed()).await.is_err();
        }
    }

    /// Who is to hear of this event.
    fn of(&self, event: &Event) -> Vec<Arc<Observer>> {
        let host = self.host();
        let mut found: Vec<_> = host.iter().filter(|it| it.wants(event)).cloned().collect();
        if self.own.is_empty() {
            return found;
        }
        let life = (event.task, event.incarnation);
        if let Some(own) = self.own.get(&life) {
            found.extend(own.iter().filter(|it| it.wants(event)).cloned());
        }
        if is_last(event) {
            self.own.remove(&life);
        }
        found
    }
}

/// Whether nothing of its life is told to the task's own observers after this event.
fn is_last(event: &Event) -> bool {
    if let What::Settled { abandoned, .. } = event.what {
        return !abandoned;
    }
    event.what == What::BodyStopped
}

impl Observer {
    fn new(whose: Whose, (hears, hook): &(Hears, Arc<Hook<Arc<Event>>>)) -> Arc<Self> {
        Arc::new(Self {
            whose,
            hears: *hears,
            hook: Arc::clone(hook),
            reading: Mutex::default(),
        })
    }

    fn wants(&self, event: &Event) -> bool {
        let is_heard = match self.hears {
            Hears::Events => true,
            Hears::Ends => matches!(event.what, What::Settled { .. }),
        };
        is_heard
            && match &self.whose {
                Whose::Host(of) => of.covers(&event.spec),
                Whose::Task(id, life) => (event.task, event.incarnation) == (*id, *life),
            }
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is something new for it.
    fn note(self: &Arc<Self>, hub: &Arc<Hub>, newest: Seq) {
        let mut reading = self.reading();
        reading.newest = newest;
        if !std::mem::replace(&mut reading.is_awake, true) {
            let (observer, hub) = (Arc::clone(self), Arc::clone(hub));
            let presence = hub.observers.readers.subscribe();
            // What came before is not for it, or it has heard of it.
            let after = Seq(newest.0 - 1);
            tokio::spawn(async move {
                observer.read(&hub, after).await;
                drop(presence);
            });
        }
    }

    /// Reads on after this number, until nothing is left.
    async fn read(&self, hub: &Arc<Hub>, mut after: Seq) {
        loop {
            let newest = {
                let mut reading = self.reading();
                if reading.newest <= after || hub.observers.given_up.is_cancelled() {
                    reading.is_awake = false;
                    return;
                }
                reading.newest
            };
            let mut pages = Pages::new(Arc::clone(hub), after, newest);
            while let Some(event) = pages.next().await {
                if self.wants(&event) {
                    self.tell(hub, event).await;
                }
                if hub.observers.given_up.is_cancelled() {
                    return;
                }
            }
            after = newest;
        }
    }

    async fn tell(&self, hub: &Hub, event: Arc<Event>) {
        let (id, incarnation) = (event.task, event.incarnation);
        let span = span_of(&self.hook.title, id, &event.spec);
        let time = async {
            tokio::select! {
                () = sleep(CALL_MAX) => {}
                () = hub.observers.given_up.cancelled() => {}
            }
        };
        let Err(why) = self.hook.call(event, time).instrument(span).await else {
            return;
        };
        tracing::warn!(task = %id, why, "an observer failed");
        let record = hub.index.get(id);
        let record = record.filter(|record| record.incarnation == incarnation);
        // The failure of one that hears of every event would be told to itself.
        if let (Some(record), Hears::Ends) = (record, self.hears) {
            hub.gate.hook_failed(record, why.into());
        }
    }
}

/// Events after a number up to another one, from the feed or, where that has them no more, from the
/// store.
struct Pages {
    hub: Arc<Hub>,
    feed: crate::feed::Subscription,
    after: Seq,
    newest: Seq,
    /// Read from the store, the next one last.
    stored: Vec<Arc<Event>>,
    /// The store is read up to here.
    stored_to: Seq,
}

impl Pages {
    fn new(hub: Arc<Hub>, after: Seq, newest: Seq) -> Self {
        let feed = hub.feed.watch(after, Filter::all().with_hidden());
        Self {
            hub,
            feed,
            after,
            newest,
            stored: Vec::new(),
            stored_to: after,
        }
    }

    async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            if let Some(event) = self.next_stored().await {
                self.after = event.seq;
                return Some(event);
            }
            if self.after >= self.newest {
                return None;
            }
            match self.feed.next().await? {
                FeedItem::Event(event) => {
                    self.after = event.seq;
                    return Some(event);
                }
                FeedItem::Lagged { resume_at, .. } => {
                    self.stored_to = Seq(resume_at.0 - 1).min(self.newest);
                }
                FeedItem::Snapshot { .. } => {}
                FeedItem::Stopped => return None,
            }
        }
    }

    /// The next one of those that the feed has no more.
    async fn next_stored(&mut self) -> Option<Arc<Event>> {
        while self.after < self.stored_to {
            if let Some(event) = self.stored.pop() {
                let missed = event.seq.0 - self.after.0 - 1;
                complain(missed);
                return Some(event);
            }
            let mut page = self.read_store().await;
            page.retain(|event| event.seq <= self.stored_to);
            if page.is_empty() {
                complain(self.stored_to.0 - self.after.0);
                self.after = self.stored_to;
            }
            page.reverse();
            self.stored = page;
        }
        None
    }

    /// Waits for a store that cannot be read now. Empty when it never can, or nobody is to hear.
    async fn read_store(&self) -> Vec<Arc<Event>> {
        let mut is_told = false;
        loop {
            let error = match self.hub.storage.events(self.after, EVENTS_PER_READ).await {
                Ok(events) => return events,
                Err(error) => error,
            };
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!(%error, "an observer cannot read the store");
            }
            if !matches!(error, StoreError::Unavailable { .. }) {
                return Vec::new();
            }
            tokio::select! {
                () = sleep(READ_PAUSE) => {}
                () = self.hub.observers.given_up.cancelled() => return Vec::new(),
            }
        }
    }
}

fn complain(missed: u64) {
    if missed > 0 {
        tracing::warn!(
            missed,
            "neither feed nor store has what an observer has not heard"
        );
    }
}

impl Hub {
    /// Tells observers of what comes after this number, from here on.
    pub(super) fn begin_to_tell(self: &Arc<Self>, after: Seq) {
        if self.observers.has_begun.swap(true, Ordering::AcqRel) {
            return;
        }
        let hub = Arc::clone(self);
        let presence = self.observers.readers.subscribe();
        tokio::spawn(async move {
            // To the last event: it ends with the feed.
            let mut pages = Pages::new(Arc::clone(&hub), after, Seq(u64::MAX));
            while let Some(event) = pages.next().await {
                for observer in hub.observers.of(&event) {
                    observer.note(&hub, event.seq);
                }
            }
            drop(presence);
        });
    }

    /// The same, if the host has observers.
    pub(super) fn tell_host(self: &Arc<Self>, after: Seq) {
        if !self.observers.host().is_empty() {
            self.begin_to_tell(after);
        }
    }

    /// Lets a task that was just accepted be observed by its own observers; its first event comes
    /// after this number.
    pub(super) fn observe(self: &Arc<Self>, live: &Live, after: Seq) {
        let hooks = live.hooks();
        // It may have settled and gone in the commit that brought it.
        let Some(record) = self.newest(live.id).filter(|_| !hooks.observers.is_empty()) else {
            return;
        };
        let (id, incarnation) = (live.id, record.incarnation);
        let made = hooks.observers.iter();
        let made = made.map(|it| Observer::new(Whose::Task(id, incarnation), it));
        self.observers.own.insert((id, incarnation), made.collect());
        self.begin_to_tell(after);
    }
}
