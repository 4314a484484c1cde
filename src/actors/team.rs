//! Where the bodies of one incarnation of the manager run, and that they end with it.
//!
//! # Invariants
//! 1. A team ends with its manager: what runs in it is dropped at its next `.await`, and nobody
//!    joins it any more. Task actors are linked to the manager, so ractor sees to that; of plain
//!    tokio tasks the team keeps the handles, and the manager's state ends it when it is dropped,
//!    or the guard that waits for this.
//! 2. Nothing else depends on where a body runs: it is the same future, with the same report.
//! 3. Nobody leaves, or takes another errand, before its body has been dropped and its end was
//!    reported.
//!
//! *Not here*: how an attempt is run (`task`, `engine`), actors that wait for one (`reserve`).

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use dashmap::DashMap;
use ractor::{Actor, ActorCell};
use tokio::task::{AbortHandle, unconstrained};

use super::reserve::Reserve;
use super::task::{Errand, TaskActor};
use crate::kernel::TaskId;

/// Where bodies run: [`Builder::body_host`](crate::Builder::body_host).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyHost {
    /// Each attempt of a task has an actor of `ractor` to itself while it runs, linked to the
    /// manager. Up to 64 of them whose bodies are over wait for the next attempts, so two bodies
    /// one after the other may see the same `tokio::task::id`, and the second one be polled once
    /// more for a waker that the first one left somewhere.
    #[default]
    Actor,
    /// Each attempt of a task is a plain tokio task, which ends with its manager all the same.
    TokioTask,
}

impl BodyHost {
    /// What a manager begins with.
    pub(super) fn usual() -> Self {
        // So that the tests of the public face can be run a second time.
        #[cfg(feature = "testing")]
        if std::env::var("UNDERSTORY_BODY_HOST").is_ok_and(|it| it == "tokio-task") {
            return Self::TokioTask;
        }
        Self::default()
    }
}

/// Those who run bodies for one manager actor.
pub(super) enum Team {
    /// Actors that are linked to this one, and those of them that have nothing to run.
    Actors(OnceLock<ActorCell>, Arc<Reserve>),
    /// Tasks of tokio.
    Tasks(Arc<Roster>),
}

/// The plain tasks of a team.
#[derive(Debug, Default)]
pub(super) struct Roster {
    is_over: AtomicBool,
    newest: AtomicU64,
    /// A place is taken before its task is there, and left by that task.
    places: DashMap<u64, Option<AbortHandle>>,
}

/// A place in a roster, until it is dropped.
struct Place {
    roster: Arc<Roster>,
    number: u64,
}

/// An errand and its place: this is left last.
struct Member<F> {
    errand: F,
    _place: Place,
}

impl Team {
    pub(super) fn new(host: BodyHost) -> Self {
        match host {
            BodyHost::Actor => Self::Actors(OnceLock::new(), Arc::default()),
            BodyHost::TokioTask => Self::Tasks(Arc::default()),
        }
    }

    /// The manager is there: its team ends with it.
    pub(super) fn lead_by(&self, manager: ActorCell) {
        match self {
            Self::Actors(leader, _) => {
                let _is_first = leader.set(manager).is_ok();
            }
            Self::Tasks(_) => {}
        }
    }

    /// Runs what there is to run of this task. An errand that cannot begin, as the manager is going
    /// down, is dropped, which reports its attempt lost.
    pub(super) fn run(&self, task: TaskId, errand: Errand) {
        match self {
            Self::Actors(leader, reserve) => {
                let Some(leader) = leader.get() else {
                    tracing::error!(%task, "an attempt before its manager; it is lost");
                    return;
                };
                let Some(errand) = reserve.hand(Box::new(errand)) else {
                    return;
                };
                let reserve = Arc::clone(reserve);
                let (actor, leader) = (TaskActor { reserve }, leader.clone());
                begin(async move {
                    let started = Actor::spawn_linked(None, actor, errand, leader).await;
                    if let Err(error) = started {
                        tracing::warn!(%task, %error, "its actor could not start");
                    }
                });
            }
            Self::Tasks(roster) => roster.run(errand),
        }
    }

    /// The manager has gone: whoever is still there is dropped at its next `.await`.
    pub(super) fn end(&self) {
        match self {
            Self::Actors(..) => {}
            Self::Tasks(roster) => roster.end(),
        }
    }
}

/// Starts an actor at once: nothing of that waits, so one poll is enough. Should something of it
/// come to wait, a task of its own does.
fn begin(start: impl Future<Output = ()> + Send + 'static) {
    // The turn that starts many actors must not be held up by what tokio lets one turn do.
    let mut start = Box::pin(unconstrained(start));
    let mut nobody = Context::from_waker(Waker::noop());
    if start.as_mut().poll(&mut nobody).is_pending() {
        drop(tokio::spawn(start));
    }
}

impl Roster {
    fn run<F>(self: &Arc<Self>, errand: F)
    where
        F: Future<Output = ()> + Send + Unpin + 'static,
    {
        if self.is_over.load(Ordering::SeqCst) {
            return;
        }
        let number = self.newest.fetch_add(1, Ordering::Relaxed);
        self.places.insert(number, None);
        let place = Place {
            roster: Arc::clone(self),
            number,
        };
        let member = Member {
            errand,
            _place: place,
        };
        let handle = tokio::spawn(member).abort_handle();
        // A task that is over has left already.
        if let Some(mut place) = self.places.get_mut(&number) {
            *place = Some(handle.clone());
        }
        // An end that came meanwhile either finds the handle in its place, or is seen here.
        if self.is_over.load(Ordering::SeqCst) {
            handle.abort();
        }
    }

    fn end(&self) {
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
}

impl Drop for Place {
    fn drop(&mut self) {
        self.roster.places.remove(&self.number);
    }
}

impl<F: Future<Output = ()> + Unpin> Future for Member<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.errand).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use tokio::sync::watch;
    use tokio::time::timeout;

    use super::*;

    /// Waits until everybody has left.
    async fn left(roster: &Roster) {
        let left = timeout(Duration::from_mins(1), async {
            while !roster.places.is_empty() {
                tokio::task::yield_now().await;
            }
        });
        left.await.expect("every place is left");
    }

    /// Waits until nobody holds on to it: far less than this takes.
    async fn gone(presence: &watch::Sender<()>) {
        let gone = timeout(Duration::from_mins(1), presence.closed()).await;
        gone.expect("every task is dropped");
    }

    /// Runs until it is dropped, and holds on to `presence` until then.
    fn endless(presence: &watch::Sender<()>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let held = presence.subscribe();
        Box::pin(async move {
            let _held = held;
            pending::<()>().await;
        })
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn p11_nothing_that_begins_while_its_team_ends_outlives_it() {
        for _ in 0..3_000 {
            let roster = Arc::new(Roster::default());
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
            left(&roster).await;
        }
    }

    #[tokio::test]
    async fn who_is_over_has_left_its_place() {
        let roster = Arc::new(Roster::default());
        let (presence, _) = watch::channel(());
        roster.run(std::future::ready(()));
        roster.run(endless(&presence));
        tokio::task::yield_now().await;
        assert_eq!(roster.places.len(), 1);

        roster.end();

        gone(&presence).await;
        left(&roster).await;
    }

    #[tokio::test]
    async fn nobody_joins_a_team_that_is_over() {
        let roster = Arc::new(Roster::default());
        let (presence, _) = watch::channel(());
        roster.end();

        roster.run(endless(&presence));

        assert_eq!(
            presence.receiver_count(),
            0,
            "it was dropped and never began"
        );
        assert!(roster.places.is_empty());
    }

    /// Notes whether its place is still taken when it is dropped.
    struct Last {
        roster: Arc<Roster>,
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
        let roster = Arc::new(Roster::default());
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

        left(&roster).await;
        assert!(seen.load(Ordering::SeqCst));
    }
}
