//! The plain tokio tasks of a team: each runs one errand after another, and all end together.
//!
//! # Invariants
//! 1. After [`Roster::end`] each is dropped at its next `.await`, and no other one begins.
//! 2. A place is taken before its task is there, and left last by it.
//! 3. An errand is run, or dropped, also when it is handed to one who ends meanwhile.
//!
//! *Not here*: who may wait for the next errand (`reserve`).

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use dashmap::DashMap;
use tokio::task::AbortHandle;

use super::reserve::{Reserve, Runner};

/// All tasks that run errands of this kind for one manager, or wait for one.
#[derive(Debug)]
pub(super) struct Roster<E> {
    is_over: AtomicBool,
    newest: AtomicU64,
    places: DashMap<u64, Option<AbortHandle>>,
    reserve: Reserve<Arc<Seat<E>>>,
}

/// A place in a roster, until it is dropped.
struct Place<E> {
    roster: Arc<Roster<E>>,
    number: u64,
}

/// A task: what it runs, or where it waits for more.
struct Worker<E> {
    errand: Option<E>,
    /// Made when its first errand is over.
    seat: Option<Arc<Seat<E>>>,
    place: Place<E>,
}

/// Where a worker finds its next errand.
#[derive(Debug)]
pub(super) struct Seat<E>(Mutex<Next<E>>);

#[derive(Debug)]
enum Next<E> {
    Nothing,
    /// Nothing yet: this one waits for it.
    Awaited(Waker),
    Errand(E),
}

impl<E> Default for Roster<E> {
    fn default() -> Self {
        Self {
            is_over: AtomicBool::new(false),
            newest: AtomicU64::new(0),
            places: DashMap::new(),
            reserve: Reserve::default(),
        }
    }
}

impl<E: Future<Output = ()> + Send + Unpin + 'static> Roster<E> {
    /// Runs an errand, or drops it when all is over.
    pub(super) fn run(self: &Arc<Self>, errand: E) {
        if self.is_over() {
            return;
        }
        let Some(errand) = self.reserve.hand(errand) else {
            return;
        };
        let number = self.newest.fetch_add(1, Ordering::Relaxed);
        self.places.insert(number, None);
        let place = Place {
            roster: Arc::clone(self),
            number,
        };
        let worker = Worker {
            errand: Some(errand),
            seat: None,
            place,
        };
        let handle = tokio::spawn(worker).abort_handle();
        // A task that is over has left already.
        if let Some(mut place) = self.places.get_mut(&number) {
            *place = Some(handle.clone());
        }
        // An end that came meanwhile either finds the handle in its place, or is seen here.
        if self.is_over() {
            handle.abort();
        }
    }

    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        let handles: Vec<_> = self
            .places
            .iter()
            .filter_map(|place| place.value().clone())
            .collect();
        // Not under a lock of the map: a task that is dropped here leaves its place here.
        for handle in handles {
            handle.abort();
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}

impl<E> Drop for Place<E> {
    fn drop(&mut self) {
        self.roster.places.remove(&self.number);
    }
}

impl<E: Future<Output = ()> + Unpin> Future for Worker<E> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let worker = &mut *self;
        if worker.errand.is_none() {
            worker.errand = worker.seat.as_ref().and_then(|seat| seat.next(cx));
        }
        let Some(errand) = &mut worker.errand else {
            return Poll::Pending;
        };
        ready!(Pin::new(errand).poll(cx));
        worker.errand = None;
        let seat = worker.seat.get_or_insert_default();
        if !worker.place.roster.reserve.join(seat) {
            return Poll::Ready(());
        }
        worker.errand = seat.next(cx);
        if worker.errand.is_some() {
            // The manager, who hears of the end now, may be next on this thread: a body that
            // blocks must not hold it up.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<E> Default for Seat<E> {
    fn default() -> Self {
        Self(Mutex::new(Next::Nothing))
    }
}

impl<E> Seat<E> {
    /// The next errand, if it is there; otherwise who asks is woken when it is.
    fn next(&self, cx: &Context<'_>) -> Option<E> {
        let mut next = self.lock();
        match std::mem::replace(&mut *next, Next::Nothing) {
            Next::Errand(errand) => Some(errand),
            Next::Nothing | Next::Awaited(_) => {
                *next = Next::Awaited(cx.waker().clone());
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Next<E>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> Runner<E> for Arc<Seat<E>> {
    /// If the worker has ended meanwhile, as all are over, the errand is dropped with the seat.
    fn hand(&self, errand: E) -> Result<(), E> {
        let before = std::mem::replace(&mut *self.lock(), Next::Errand(errand));
        if let Next::Awaited(worker) = before {
            worker.wake();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use tokio::sync::{oneshot, watch};
    use tokio::task::{Id, id, yield_now};
    use tokio::time::timeout;

    use super::*;

    type Any = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn roster() -> Arc<Roster<Any>> {
        Arc::default()
    }

    /// Waits until no more than so many have a place.
    async fn left(roster: &Roster<Any>, most: usize) {
        let left = timeout(Duration::from_mins(1), async {
            while roster.places.len() > most {
                yield_now().await;
            }
        });
        left.await.expect("every other place is left");
    }

    /// Waits until nobody holds on to it: far less than this takes.
    async fn gone(presence: &watch::Sender<()>) {
        let gone = timeout(Duration::from_mins(1), presence.closed()).await;
        gone.expect("every task is dropped");
    }

    /// Runs until it is dropped, and holds on to `presence` until then.
    fn endless(presence: &watch::Sender<()>) -> Any {
        let held = presence.subscribe();
        Box::pin(async move {
            let _held = held;
            pending::<()>().await;
        })
    }

    /// Who runs this.
    async fn by(roster: &Arc<Roster<Any>>) -> Id {
        let (tell, told) = oneshot::channel();
        roster.run(Box::pin(async move {
            tell.send(id()).expect("the test waits for it");
        }));
        told.await.expect("it is run")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn p11_nothing_that_begins_while_its_team_ends_outlives_it() {
        for round in 0..3_000 {
            let roster = roster();
            // In every other round some are handed to those who wait.
            for _ in 0..round % 2 * 3 {
                by(&roster).await;
            }
            let (presence, _) = watch::channel(());
            let ending = tokio::spawn({
                let roster = Arc::clone(&roster);
                async move { roster.end() }
            });
            for _ in 0..4 {
                roster.run(endless(&presence));
            }

            ending.await.expect("it panics nowhere");
            gone(&presence).await;
            // Each leaves its place after its body.
            left(&roster, 0).await;
        }
    }

    #[tokio::test]
    async fn who_is_over_waits_for_more_until_the_end() {
        let roster = roster();
        let (presence, _) = watch::channel(());
        let first = by(&roster).await;
        yield_now().await;
        assert_eq!(by(&roster).await, first, "it waited");
        yield_now().await;

        roster.run(endless(&presence));
        yield_now().await;
        assert_eq!(roster.places.len(), 1, "it runs this now");
        assert_ne!(by(&roster).await, first, "nobody waited");
        assert_eq!(roster.places.len(), 2);

        roster.end();
        gone(&presence).await;
        left(&roster, 0).await;
    }

    #[tokio::test]
    async fn after_a_burst_no_more_wait_than_may() {
        let roster = roster();
        for _ in 0..200 {
            roster.run(Box::pin(ready(())));
        }
        assert_eq!(roster.places.len(), 200);

        left(&roster, 64).await;
        assert_eq!(roster.places.len(), 64);
        roster.end();
        left(&roster, 0).await;
    }

    #[tokio::test]
    async fn nobody_joins_a_team_that_is_over() {
        let roster = roster();
        let (presence, _) = watch::channel(());
        by(&roster).await;
        yield_now().await;
        roster.end();

        roster.run(endless(&presence));

        assert_eq!(
            presence.receiver_count(),
            0,
            "it was dropped and never began"
        );
        left(&roster, 0).await;
    }

    #[tokio::test]
    async fn errand_that_is_handed_to_one_who_was_ended_is_dropped() {
        let roster = roster();
        let (presence, _) = watch::channel(());
        by(&roster).await;
        yield_now().await;
        // As it is in the middle of an end: some have gone, and not all have heard of it.
        let waits = roster.places.iter().find_map(|it| it.value().clone());
        waits.expect("it has its place").abort();
        left(&roster, 0).await;

        roster.run(endless(&presence));

        assert_eq!(presence.receiver_count(), 0);
    }

    /// Notes whether its place is still taken when it is dropped.
    struct Last {
        roster: Arc<Roster<Any>>,
        seen: Arc<AtomicBool>,
    }

    impl Drop for Last {
        fn drop(&mut self) {
            let is_there = !self.roster.places.is_empty();
            self.seen.store(is_there, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn place_is_left_after_the_body_was_dropped() {
        let roster = roster();
        let seen = Arc::<AtomicBool>::default();
        let last = Last {
            roster: Arc::clone(&roster),
            seen: Arc::clone(&seen),
        };
        roster.run(Box::pin(async move {
            let _last = last;
            pending::<()>().await;
        }));

        roster.end();

        left(&roster, 0).await;
        assert!(seen.load(Ordering::SeqCst));
    }
}
