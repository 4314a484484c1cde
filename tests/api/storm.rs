//! Many at once: spawn storms against cancels, floods, large trees.

mod scale;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as Waker, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use understory::kernel::Refusal;
use understory::{
    BoxFuture, Cancel, Class, Context, Failure, Filter, Manager, Seq, Since, SpawnError, State,
    TaskId, Wait, What,
};

use crate::stage::{feed_of, for_ever, reaches, rounds, sees, settle_down, soon, until_cancelled};

fn enough() -> Cancel {
    Cancel::because("enough")
}

/// A size: `UNDERSTORY_SCALE`, or this one.
fn scale(default: usize) -> usize {
    let asked = std::env::var("UNDERSTORY_SCALE").ok();
    asked.map_or(default, |text| {
        text.parse().expect("UNDERSTORY_SCALE is a number")
    })
}

/// Whether bodies may run, and how often one did when it must not.
#[derive(Default)]
struct Silence {
    is_over: AtomicBool,
    broken: AtomicU32,
}

/// A body that notices each of its polls.
struct Probe {
    silence: Arc<Silence>,
    inner: BoxFuture<Result<(), Failure>>,
}

impl Future for Probe {
    type Output = Result<(), Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Waker<'_>) -> Poll<Self::Output> {
        if self.silence.is_over.load(Ordering::SeqCst) {
            self.silence.broken.fetch_add(1, Ordering::SeqCst);
        }
        self.inner.as_mut().poll(cx)
    }
}

/// Bodies of the storm: most stop when they are asked to, some only by force.
fn probed(ctx: Context, number: usize, silence: Arc<Silence>) -> Probe {
    let inner: BoxFuture<_> = match number % 16 {
        0 => Box::pin(for_ever(ctx)),
        _ => Box::pin(until_cancelled(ctx)),
    };
    Probe { silence, inner }
}

const SPAWNERS: usize = 8;
const STORM: usize = 10_000;

/// The tasks of a tree that grows, each with ten below it.
struct Tree {
    manager: Manager,
    silence: Arc<Silence>,
    ids: Mutex<Vec<TaskId>>,
}

impl Tree {
    fn size(&self) -> usize {
        self.ids.lock().unwrap().len()
    }

    /// Spawns below the tree until it refuses.
    async fn grow(&self) -> SpawnError {
        loop {
            let (number, parent) = {
                let ids = self.ids.lock().unwrap();
                (ids.len(), ids[ids.len() / 10])
            };
            let silence = Arc::clone(&self.silence);
            let task = self.manager.scope("s").unnamed().parent(parent);
            match task.spawn(move |ctx| probed(ctx, number, silence)).await {
                Ok(task) => self.ids.lock().unwrap().push(task.id()),
                Err(refused) => return refused,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p4_nothing_runs_after_cancel_tree() {
    for round in 0..rounds(2) as usize {
        // On a busy machine a forced body may take its time to go; none shall be given up here.
        let builder = Manager::builder().live_max(10 * STORM);
        let manager = builder
            .abort_window(Duration::from_mins(1))
            .build()
            .unwrap();
        let root = manager
            .scope("s")
            .task("lead")
            .spawn(until_cancelled)
            .await
            .unwrap();
        let tree = Arc::new(Tree {
            manager: manager.clone(),
            silence: Arc::default(),
            ids: Mutex::new(vec![root.id()]),
        });
        let mut spawners = JoinSet::new();
        for _ in 0..SPAWNERS {
            let tree = Arc::clone(&tree);
            spawners.spawn(async move { tree.grow().await });
        }
        // Another moment of the growth in each round, the first one late.
        let moment = STORM - round * 1_237 % STORM;
        crate::stage::until(|| tree.size() >= moment).await;

        let report = soon(root.cancel_tree(enough().grace(Duration::from_millis(20)))).await;
        tree.silence.is_over.store(true, Ordering::SeqCst);

        for refused in soon(spawners.join_all()).await {
            let closing = matches!(refused, SpawnError::Refused(Refusal::ParentClosing(_)));
            assert!(closing, "{refused}");
        }
        let late = manager
            .scope("s")
            .unnamed()
            .parent(root.id())
            .spawn(for_ever)
            .await;
        assert!(
            matches!(late, Err(SpawnError::Refused(Refusal::ParentClosing(id))) if id == root.id())
        );
        let report = report.unwrap();
        assert_eq!(
            (report.cancelled.len(), report.len()),
            (tree.size(), tree.size())
        );
        assert_eq!(manager.live(), 0);
        settle_down().await;
        assert_eq!(
            tree.silence.broken.load(Ordering::SeqCst),
            0,
            "round {round}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn p4_busy_loop_is_abandoned_not_awaited() {
    let builder = Manager::builder().limit("l", Class::queue(1));
    let manager = builder
        .abort_window(Duration::from_millis(10))
        .build()
        .unwrap();
    let scope = manager.scope("s");
    let may_end = Arc::new(AtomicBool::new(false));
    let (begun, has_begun) = oneshot::channel();
    let busy = scope.task("busy").limit("l").spawn({
        let may_end = Arc::clone(&may_end);
        |_| async move {
            begun.send(()).unwrap();
            while !may_end.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
            Ok(())
        }
    });
    let busy = busy.await.unwrap();
    soon(has_begun).await.unwrap();

    let report = soon(busy.cancel_tree(enough().grace(Duration::ZERO)))
        .await
        .unwrap();

    assert_eq!(
        (report.abandoned, report.cancelled),
        (vec![busy.id()], vec![])
    );
    let record = busy.record().unwrap();
    assert!(record.state == State::Cancelled && record.is_abandoned());
    let next = scope
        .task("next")
        .limit("l")
        .spawn(until_cancelled)
        .await
        .unwrap();
    let again = scope.task("busy").spawn(until_cancelled).await;
    assert!(matches!(
        again,
        Err(SpawnError::Refused(Refusal::NameTaken(_, holder))) if holder == busy.id()
    ));
    let waits = next.record().unwrap();
    assert_eq!(
        (waits.state, waits.wait.clone()),
        (State::Pending, Some(Wait::Slot))
    );

    may_end.store(true, Ordering::SeqCst);
    let mut feed = feed_of(&manager, busy.id()).await;
    sees(&mut feed, |event| event.what == What::BodyStopped).await;
    reaches(&manager, next.id(), State::Running).await;
    assert!(!busy.record().unwrap().is_abandoned());
    assert!(scope.task("busy").spawn(until_cancelled).await.is_ok());
}

/// Asks for so many tasks at once; tells how many were taken and how many were refused.
async fn flood(manager: &Manager, asked: usize) -> (usize, usize) {
    let mut asks = JoinSet::new();
    for _ in 0..asked {
        let task = manager.scope("s").unnamed().kind("k");
        asks.spawn(async move { task.spawn(until_cancelled).await });
    }
    let (mut taken, mut refused) = (0, 0);
    for answer in soon(asks.join_all()).await {
        match answer {
            Ok(_) => taken += 1,
            Err(SpawnError::LimitReached(_) | SpawnError::Refused(Refusal::Bound(..))) => {
                refused += 1;
            }
            Err(other) => panic!("it is full, which is not {other}"),
        }
    }
    (taken, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_is_taken_or_refused_to_the_last_one() {
    let asked = scale(20_000);
    let limited = Manager::builder()
        .kind_limit("k", Class::refuse(100))
        .build()
        .unwrap();
    let bounded = Manager::builder().live_max(100).build().unwrap();
    for manager in [limited, bounded] {
        assert_eq!(flood(&manager, asked).await, (100, asked - 100));

        assert_eq!((manager.live(), manager.counts().total()), (100, 100));
        let report = soon(manager.cancel_all(enough())).await.unwrap();
        assert_eq!(report.cancelled.len(), 100);
    }
}

#[tokio::test]
async fn cancel_in_a_flood_is_decided_ahead_of_the_work_that_waits() {
    let manager = Manager::in_memory();
    let victim = manager
        .scope("s")
        .task("victim")
        .spawn(until_cancelled)
        .await
        .unwrap();
    settle_down().await;
    let mut asks = JoinSet::new();
    let mut ask = |count: usize| {
        for _ in 0..count {
            let task = manager.scope("s").unnamed();
            asks.spawn(async move { task.spawn(until_cancelled).await.map(drop) });
        }
    };
    ask(1_000);
    let cancel = tokio::spawn({
        let victim = victim.task();
        async move { victim.cancel(enough()).await }
    });
    ask(1_000);

    assert_eq!(
        soon(cancel).await.unwrap().unwrap().cancelled,
        [victim.id()]
    );
    assert!(
        soon(asks.join_all())
            .await
            .into_iter()
            .all(|taken| taken.is_ok())
    );

    let mut feed = feed_of(&manager, victim.id()).await;
    let asked = sees(&mut feed, |event| matches!(event.what, What::StopAsked(_))).await;
    let accepted = Filter::all().event("accepted");
    let mut feed = manager
        .subscribe_to(Since::Seq(Seq(0)), accepted)
        .await
        .unwrap();
    let mut ahead = 0;
    for _ in 0..=2_000 {
        ahead += usize::from(sees(&mut feed, |_| true).await.seq < asked.seq);
    }
    // Only itself, though a thousand were asked for before the cancel was.
    assert_eq!(ahead, 1);
}
