//! What becomes of tasks when the manager fails under them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use serde_json::{Value, json};
use understory::{Class, Context, Failure, Manager, Part, Retry, State};

use crate::stage::{reaches, settle_down, soon, story, until, until_cancelled};

/// The manager fails, and is there again.
pub(crate) async fn crash(manager: &Manager) {
    until(|| manager.incarnation() > 0).await;
    let before = manager.incarnation();
    manager.break_part(Part::Manager);
    drop(soon(manager.scope("s").unnamed().spawn(until_cancelled)).await);
    until(|| manager.incarnation() == before + 1).await;
}

#[tokio::test]
async fn running_task_with_an_attempt_left_runs_again_and_the_lost_one_counts() {
    let second_time = |ctx: Context, input: Value| async move {
        match ctx.attempt() {
            1 => std::future::pending().await,
            attempt => Ok::<_, Failure>(json!([attempt, input])),
        }
    };
    let manager = Manager::builder().executor("k", second_time).build();
    let manager = manager.unwrap();
    let retry = Retry::fixed(1, Duration::ZERO);
    let task = manager.scope("s").task("t").retry(retry);
    let task = task.spawn_kind("k", "input").await.unwrap();
    reaches(&manager, task.id(), State::Running).await;

    crash(&manager).await;

    assert_eq!(soon(task).await.unwrap(), json!([2, "input"]));
}

#[tokio::test]
async fn pending_task_runs_after_the_crash_as_its_first_attempt() {
    let counts = |ctx: Context, _: Value| async move { Ok::<_, Failure>(json!(ctx.attempt())) };
    let manager = Manager::builder()
        .executor("k", counts)
        .limit("l", Class::queue(1))
        .build()
        .unwrap();
    let scope = manager.scope("s");
    let holder = scope.task("holder").limit("l").spawn(until_cancelled);
    let holder = holder.await.unwrap();
    reaches(&manager, holder.id(), State::Running).await;
    let queued = scope.task("queued").limit("l").spawn_kind("k", ()).await;
    let queued = queued.unwrap();
    settle_down().await;
    assert_eq!(queued.state(), Some(State::Pending));

    crash(&manager).await;

    assert_eq!(soon(queued).await.unwrap(), json!(1));
    assert_eq!(holder.state(), Some(State::Interrupted));
}

#[tokio::test]
async fn suspended_task_of_an_executor_is_the_same_after_the_crash() {
    let runs = Arc::new(AtomicU32::new(0));
    let asks = {
        let runs = Arc::clone(&runs);
        move |ctx: Context, _: Value| {
            runs.fetch_add(1, SeqCst);
            async move { Err::<Value, _>(ctx.suspend("may I?")) }
        }
    };
    let manager = Manager::builder().executor("asks", asks).build().unwrap();
    let task = manager.scope("s").task("t").spawn_kind("asks", ()).await;
    let task = task.unwrap();
    reaches(&manager, task.id(), State::Suspended).await;
    settle_down().await;
    let before = task.record().unwrap();

    crash(&manager).await;
    settle_down().await;

    assert_eq!(task.record().unwrap(), before);
    assert_eq!(runs.load(SeqCst), 1);
}

#[tokio::test]
async fn task_that_the_crash_ended_tells_subscribers_and_those_who_wait() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(until_cancelled);
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Running).await;
    let waits = tokio::spawn({
        let task = task.task();
        async move { task.settled().await.unwrap().state }
    });

    crash(&manager).await;

    assert_eq!(soon(waits).await.unwrap(), State::Interrupted);
    let told = ["accepted", "started", "settled"];
    assert_eq!(story(&manager, task.id()).await, told);
}
