//! A queue in front of an actor: items wait here, and the actor is woken once for many of them.
//!
//! ractor's own mailbox has no bound and no lanes, and each message in it costs an allocation and a
//! turn. So an actor of ours gets only the message [`Wake`], and takes what waits.
//!
//! # Invariants
//! 1. While items wait and an actor is attached, a `Wake` is on its way or being handled.
//! 2. Lanes are taken in order, each first in first out, so a lower lane number goes ahead.
//! 3. Who pushes and then runs code of a user leaves the actor to any thread.
//! 4. The lock is held for pushes and moves only, never across user code or an `.await`.
//!
//! *Not here*: how many items there can be, which the permits of the `gate` bound.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ractor::ActorRef;
use tokio::runtime::Handle;

/// "Something waits in your mailbox."
#[derive(Debug)]
pub(super) struct Wake;

#[derive(Debug)]
pub(super) struct Mailbox<T, const LANES: usize = 1> {
    inner: Mutex<Inner<T, LANES>>,
}

#[derive(Debug)]
struct Inner<T, const LANES: usize> {
    lanes: [VecDeque<T>; LANES],
    actor: Option<ActorRef<Wake>>,
    is_awake: bool,
}

impl<T, const LANES: usize> Mailbox<T, LANES> {
    pub(super) fn new() -> Self {
        let lanes = std::array::from_fn(|_| VecDeque::new());
        Self {
            inner: Mutex::new(Inner {
                lanes,
                actor: None,
                is_awake: false,
            }),
        }
    }

    pub(super) fn push(&self, lane: usize, item: T) {
        self.push_and_tell(lane, item);
    }

    /// The same, before code of a user goes on here, which may block this thread.
    ///
    /// A worker of tokio runs the task that it woke last itself, and no other worker takes it over;
    /// so the actor must not be that one.
    pub(super) fn push_and_go_on(&self, lane: usize, item: T) {
        if self.push_and_tell(lane, item)
            && let Ok(runtime) = Handle::try_current()
        {
            drop(runtime.spawn(std::future::ready(())));
        }
    }

    /// Tells whether the actor was woken for it.
    fn push_and_tell(&self, lane: usize, item: T) -> bool {
        let mut inner = self.lock();
        inner.lanes[lane].push_back(item);
        inner.wake()
    }

    /// Takes up to `max` items of each lane into `into`; tells whether some are left.
    ///
    /// When some are left the caller stays awake and must come back by [`wake_again`].
    pub(super) fn take(&self, max: usize, into: &mut Vec<T>) -> bool {
        let mut inner = self.lock();
        for lane in &mut inner.lanes {
            let count = lane.len().min(max);
            into.extend(lane.drain(..count));
        }
        let is_more = inner.lanes.iter().any(|lane| !lane.is_empty());
        inner.is_awake = is_more;
        is_more
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().lanes.iter().all(VecDeque::is_empty)
    }

    /// Makes `actor` the one that is woken; items that wait wake it at once.
    pub(super) fn attach(&self, actor: ActorRef<Wake>) {
        let mut inner = self.lock();
        inner.actor = Some(actor);
        inner.is_awake = false;
        if inner.lanes.iter().any(|lane| !lane.is_empty()) {
            inner.wake();
        }
    }

    /// Lets items wait until another actor is attached.
    pub(super) fn detach(&self) {
        self.lock().actor = None;
    }

    /// Takes everything and returns it, for an actor that will never come back.
    pub(super) fn empty(&self) -> Vec<T> {
        self.lock()
            .lanes
            .iter_mut()
            .flat_map(std::mem::take)
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T, LANES>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T, const LANES: usize> Inner<T, LANES> {
    fn wake(&mut self) -> bool {
        if self.is_awake {
            return false;
        }
        if let Some(actor) = &self.actor {
            // An actor that is gone leaves the items here for its successor.
            self.is_awake = actor.cast(Wake).is_ok();
        }
        self.is_awake
    }
}

/// Sends the actor to its mailbox once more, behind whatever else it was sent meanwhile.
pub(super) fn wake_again(myself: &ActorRef<Wake>) {
    if myself.cast(Wake).is_err() {
        tracing::debug!("an actor that stops left items in its mailbox");
    }
}
