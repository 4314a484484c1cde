//! What becomes of bodies and messages when the actors start again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use serde_json::{Value, json};
use understory::{
    Cancel, CancelError, Context, Event, Failure, Manager, Part, Retry, SendError, State,
};

use understory::store::{FaultyStore, MemoryStore};

use super::{PARTS, break_it};
use crate::stage::{feed_of, for_ever, reaches, sees, soon, until};

#[tokio::test]
async fn p8_messages_of_an_interrupted_task_are_counted() {
    for part in PARTS {
        let manager = Manager::in_memory();
        let task = manager.scope("s").task("t").spawn(for_ever).await.unwrap();
        reaches(&manager, task.id(), State::Running).await;
        for number in 0..3 {
            task.send(number).await.unwrap();
        }

        drop(break_it(&manager, part).await);

        let settled = soon(task.settled()).await.unwrap();
        assert_eq!(settled.state, State::Interrupted);
        assert!(
            matches!(task.send(4).await, Err(SendError::Ended { .. })),
            "{part:?}"
        );
        until(|| manager.get(task.id()).unwrap().undelivered == 3).await;
    }
}

#[tokio::test]
async fn inbox_is_closed_when_the_end_was_durable_and_not_carried_out() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let first = scope.task("first").spawn(for_ever).await.unwrap();
    let task = scope.task("t").after([first.id()]);
    let task = task.spawn(for_ever).await.unwrap();
    task.send("unread").await.unwrap();
    reaches(&manager, first.id(), State::Running).await;

    manager.break_part(Part::Carrier);
    let cancelled = soon(task.cancel(Cancel::because("enough"))).await;

    assert!(
        matches!(cancelled, Err(CancelError::Restarted)),
        "{cancelled:?}"
    );
    let settled = soon(task.settled()).await.unwrap();
    assert_eq!(settled.state, State::Cancelled);
    let sent = task.send("late").await;
    assert!(matches!(sent, Err(SendError::Ended { .. })), "{sent:?}");
    until(|| manager.get(task.id()).unwrap().undelivered == 1).await;
}

/// Counts the bodies that are there at once.
struct Inside(Arc<AtomicI32>);

impl Inside {
    fn new(inside: &Arc<AtomicI32>, overlaps: &AtomicU32) -> Self {
        if inside.fetch_add(1, SeqCst) > 0 {
            overlaps.fetch_add(1, SeqCst);
        }
        Self(Arc::clone(inside))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn p14_attempts_do_not_overlap_across_a_restart() {
    for _ in 0..30 {
        let (inside, overlaps) = (Arc::new(AtomicI32::new(0)), Arc::new(AtomicU32::new(0)));
        let executor = {
            let overlaps = Arc::clone(&overlaps);
            move |ctx: Context, _: Value| {
                let (inside, overlaps) = (Arc::clone(&inside), Arc::clone(&overlaps));
                async move {
                    let _inside = Inside::new(&inside, &overlaps);
                    while ctx.attempt() < 4 {
                        // A body that is busy most of the time, and yields now and then.
                        for _ in 0..2_000 {
                            std::hint::spin_loop();
                        }
                        tokio::task::yield_now().await;
                    }
                    Ok::<_, Failure>(json!(ctx.attempt()))
                }
            }
        };
        let manager = Manager::builder().executor("k", executor).build().unwrap();
        let task = manager
            .scope("s")
            .unnamed()
            .retry(Retry::fixed(9, Duration::ZERO));
        let task = task.spawn_kind("k", 1).await.unwrap();
        let mut feed = feed_of(&manager, task.id()).await;

        for (attempt, part) in (1..).zip([Part::Manager, Part::Writer, Part::Publisher]) {
            let runs = |event: &Event| (event.attempt, event.state) == (attempt, State::Running);
            sees(&mut feed, runs).await;
            drop(break_it(&manager, part).await);
        }

        assert_eq!(soon(task).await.unwrap(), json!(4));
        assert_eq!(overlaps.load(SeqCst), 0);
    }
}

#[tokio::test]
async fn what_a_dropped_guard_asked_stands_when_an_actor_fails_with_it() {
    for part in [Part::Manager, Part::Writer] {
        let body = |ctx: Context, _: Value| async move {
            for_ever(ctx).await?;
            Ok(json!(null))
        };
        let store = FaultyStore::new(MemoryStore::default());
        let builder = Manager::builder().executor("k", body).store(store);
        let manager = builder.build().unwrap();
        let task = manager.scope("s").task("t");
        let task = task.retry(Retry::fixed(1, Duration::ZERO));
        let guard = task.spawn_kind("k", 1).await.unwrap().cancel_on_drop();
        let task = manager.task(guard.id());
        reaches(&manager, task.id(), State::Running).await;

        manager.break_part(part);
        drop(guard);

        let record = soon(task.settled()).await.unwrap();
        assert_eq!(record.state, State::Cancelled, "{part:?}");
        assert_eq!(manager.incarnation(), 2, "{part:?}");
    }
}

#[tokio::test]
async fn inbox_of_a_task_that_waits_for_its_children_stays_closed() {
    let hangs = |_: Context, _: Value| std::future::pending::<Result<Value, Failure>>();
    let manager = Manager::builder().executor("k", hangs).build().unwrap();
    let parent = manager.scope("s").task("lead").spawn(|ctx| async move {
        let child = ctx.task("child").retry(Retry::fixed(9, Duration::ZERO));
        child.spawn_kind("k", 1).await?;
        Ok(())
    });
    let parent = parent.await.unwrap();
    reaches(&manager, parent.id(), State::Waiting).await;
    let early = parent.send("early").await;
    assert!(matches!(early, Err(SendError::Ended { .. })), "{early:?}");

    drop(break_it(&manager, Part::Manager).await);

    assert_eq!(parent.state(), Some(State::Waiting));
    let late = parent.send("late").await;
    assert!(matches!(late, Err(SendError::Ended { .. })), "{late:?}");
}
