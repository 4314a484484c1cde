//! Cancels that meet an end, a spawn or another cancel at the same time.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;

use understory::kernel::Refusal;
use understory::{Manager, SpawnError, State};

use super::{enough, late};
use crate::stage::{rounds, settle_down, soon, story, until, until_cancelled};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_and_completion_race_to_one_end() {
    let manager = Manager::in_memory();
    for round in 0..rounds(200) {
        let task = manager.scope("s").unnamed().spawn(move |_| async move {
            for _ in 0..round % 7 {
                tokio::task::yield_now().await;
            }
            Ok(round)
        });
        let task = task.await.unwrap();

        let report = soon(task.cancel(enough())).await.unwrap();

        let listed = match task.state() {
            Some(State::Completed) => report.already_ended,
            Some(State::Cancelled) => report.cancelled,
            other => panic!("it completed or was cancelled, not {other:?}"),
        };
        assert_eq!(listed, [task.id()]);
        let names = story(&manager, task.id()).await;
        assert_eq!(names.iter().filter(|name| **name == "settled").count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_spawned_during_cancel_is_refused() {
    let manager = Manager::in_memory();
    for round in 0..rounds(50) {
        let spawned = Arc::new(AtomicU32::new(0));
        let lead = manager.scope("s").task("lead").spawn({
            let spawned = Arc::clone(&spawned);
            |ctx| async move {
                loop {
                    match ctx.unnamed().spawn(until_cancelled).await {
                        Ok(_) => spawned.fetch_add(1, Ordering::SeqCst),
                        Err(refused) => return Ok(refused.to_string()),
                    };
                }
            }
        });
        let lead = lead.await.unwrap();
        until(|| spawned.load(Ordering::SeqCst) > round % 5).await;

        let report = soon(lead.cancel_tree(enough())).await.unwrap();

        let closing = SpawnError::from(Refusal::ParentClosing(lead.id())).to_string();
        assert_eq!(late(&lead), Some(format!("\"{closing}\"")));
        let meant = spawned.load(Ordering::SeqCst) as usize + 1;
        assert_eq!((report.cancelled.len(), report.len()), (meant, meant));
        assert_eq!(manager.live(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancels_of_the_same_tasks_race_to_one_end() {
    let manager = Manager::in_memory();
    for round in 0..rounds(100) {
        let scope = manager.scope("s");
        let lead = scope.task("lead").spawn(until_cancelled).await.unwrap();
        let child = scope.task("child").parent(lead.id());
        let child = child.spawn(until_cancelled).await.unwrap();

        let (one, tree, of_scope, all) = soon(async {
            tokio::join!(
                lead.cancel(enough()),
                child.cancel_tree(enough()),
                scope.cancel_scope(enough()),
                manager.cancel_all(enough()),
            )
        })
        .await;

        assert_eq!(one.unwrap().cancelled.len(), 1, "round {round}");
        assert_eq!(tree.unwrap().len(), 1);
        assert!(of_scope.unwrap().len() <= 2 && all.unwrap().len() <= 2);
        for task in [lead.task(), child.task()] {
            let names = story(&manager, task.id()).await;
            assert_eq!(
                names.iter().filter(|name| **name == "stop_asked").count(),
                1
            );
            assert_eq!(task.state(), Some(State::Cancelled));
        }
        assert_eq!(manager.live(), 0);
    }
}

/// Polls it once and drops it.
async fn begin(asking: impl Future) {
    let mut asking = pin!(asking);
    let first = poll_fn(|cx| Poll::Ready(asking.as_mut().poll(cx).is_pending()));
    assert!(first.await, "nothing is decided yet");
}

#[tokio::test]
async fn cancels_that_wait_for_their_turn_and_are_dropped_go_on() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let mut tasks = Vec::new();
    for _ in 0..100 {
        tasks.push(scope.unnamed().spawn(until_cancelled).await.unwrap());
    }

    for task in &tasks {
        begin(task.cancel(enough())).await;
    }
    settle_down().await;

    assert_eq!(manager.live(), 0);
}

#[tokio::test]
async fn close_that_waits_for_its_turn_and_is_dropped_goes_on() {
    let manager = Manager::builder().asks_max(1).build().unwrap();
    let scope = manager.scope("s");
    settle_down().await;

    begin(scope.unnamed().spawn(until_cancelled)).await;
    begin(scope.close(enough())).await;
    settle_down().await;

    assert!(scope.is_closed());
}
