//! What a task becomes that is bound to the process that starts it, when another one opens its
//! store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use understory::{
    Builder, Context, Failure, FaultKind, Manager, Outcome, Retry, State, TaskBuilder, TaskId,
};

use super::{Folder, builder};
use crate::stage::{reaches, soon};

/// An executor that counts its runs, and does what its input says.
fn counting(runs: &Arc<AtomicU32>) -> Builder {
    let runs = Arc::clone(runs);
    builder().executor("count", move |ctx: Context, input: Value| {
        let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            match input.as_str() {
                Some("fails once") if run == 1 => Err(Failure::new("once")),
                Some("fails") => Err(Failure::new("always")),
                Some("suspends") => Err(ctx.suspend("until told")),
                Some("hangs") => std::future::pending().await,
                _ => Ok(json!(run)),
            }
        }
    })
}

fn bound(manager: &Manager, pause: Duration) -> TaskBuilder<understory::Again> {
    let task = manager.scope("s").task("t").owner_bound();
    task.retry(Retry::fixed(9, pause))
}

async fn is_interrupted(manager: &Manager, id: TaskId, was: &str) {
    let record = soon(manager.task(id).settled()).await.unwrap();
    let Some(Outcome::Interrupted(evidence)) = record.outcome.as_deref() else {
        panic!("it is bound to a process that died, but the record says {record:?}");
    };
    assert_eq!(&**evidence, format!("its process died while it was {was}"));
}

#[tokio::test]
async fn owner_bound_task_that_has_started_is_interrupted_whatever_attempts_are_left() {
    let cases = [
        ("hangs", State::Running, "running"),
        ("suspends", State::Suspended, "suspended"),
        // In the delay before its next attempt.
        ("fails", State::Pending, "pending"),
    ];
    for (input, state, was) in cases {
        let runs = Arc::new(AtomicU32::new(0));
        let folder = Folder::new();
        let manager = folder.open_as(counting(&runs)).await;
        let task = bound(&manager, Duration::from_hours(1));
        let id = task.spawn_kind("count", input).await.unwrap().id();
        reaches(&manager, id, State::Running).await;
        soon(async {
            while runs.load(Ordering::SeqCst) == 0 || manager.task(id).state() != Some(state) {
                tokio::task::yield_now().await;
            }
        })
        .await;

        let left = folder.left_behind();
        let next = left.open_as(counting(&runs)).await;

        is_interrupted(&next, id, was).await;
        assert!(next.task(id).resume("now").await.is_err(), "{input}");
        assert_eq!(runs.load(Ordering::SeqCst), 1, "{input}");
    }
}

#[tokio::test]
async fn owner_bound_task_that_has_not_started_is_started_by_the_next_process() {
    let runs = Arc::new(AtomicU32::new(0));
    let folder = Folder::new();
    let paused = counting(&runs).kind_limit("count", understory::Class::queue(1));
    let manager = folder.open_as(paused).await;
    let first = bound(&manager, Duration::ZERO).name("first");
    let first = first.spawn_kind("count", "hangs").await.unwrap().id();
    reaches(&manager, first, State::Running).await;
    let second = bound(&manager, Duration::ZERO).name("second");
    let second = second.spawn_kind("count", "ends").await.unwrap().id();
    assert_eq!(manager.task(second).state(), Some(State::Pending));

    let left = folder.left_behind();
    let next = left.open_as(counting(&runs)).await;

    is_interrupted(&next, first, "running").await;
    let record = soon(next.task(second).settled()).await.unwrap();
    assert_eq!((record.state, record.attempt), (State::Completed, 1));
    // From there on it is that process to which it is bound.
    let runs = Arc::new(AtomicU32::new(0));
    let again = folder.left_behind();
    let third = again.open_as(counting(&runs)).await;
    let record = soon(third.task(second).settled()).await.unwrap();
    assert_eq!((record.state, record.attempt), (State::Completed, 1));
}

#[tokio::test]
async fn owner_bound_task_is_retried_by_its_own_process() {
    let runs = Arc::new(AtomicU32::new(0));
    let manager = counting(&runs).build().unwrap();
    let task = bound(&manager, Duration::ZERO);
    let task = task.spawn_kind("count", "fails once").await.unwrap();
    let record = soon(manager.task(task.id()).settled()).await.unwrap();
    assert_eq!((record.state, record.attempt), (State::Completed, 2));
    let fails = bound(&manager, Duration::ZERO).name("fails");
    let fails = fails.spawn_kind("count", "fails").await.unwrap();
    let record = soon(manager.task(fails.id()).settled()).await.unwrap();
    let Some(Outcome::Failed(fault)) = record.outcome.as_deref() else {
        panic!("it failed ten times, but the record says {record:?}");
    };
    assert_eq!((fault.kind, record.attempt), (FaultKind::Error, 10));
}

#[tokio::test]
async fn owner_bound_task_that_was_being_cancelled_is_cancelled() {
    let runs = Arc::new(AtomicU32::new(0));
    let folder = Folder::new();
    let manager = folder.open_as(counting(&runs)).await;
    let task = bound(&manager, Duration::ZERO);
    let task = task.spawn_kind("count", "hangs").await.unwrap();
    reaches(&manager, task.id(), State::Running).await;
    let image = folder.left_behind_while_it_stops(&manager, task.id()).await;

    let next = image.open_as(counting(&runs)).await;
    let record = soon(next.task(task.id()).settled()).await.unwrap();
    assert_eq!(record.state, State::Cancelled);
}
