//! Executors, attempts, and the end of a manager.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use serde_json::{Value, json};
use understory::{Cancel, Context, Failure, Manager, Retry, State, WaitError};

use crate::stage::{reaches, soon, story, until_cancelled};

/// An executor that does everything that it may.
async fn agent(ctx: Context, input: Value) -> Result<Value, Failure> {
    ctx.progress("on it").await?;
    ctx.output("a line").await?;
    match ctx.resumed() {
        None if ctx.is_cancelled() => Err(Failure::new("nobody asked it to stop")),
        None => Err(ctx.suspend(json!({ "question": "may I?" }))),
        Some(answer) => Ok(json!({ "input": input, "answer": answer })),
    }
}

#[tokio::test]
async fn executor_gets_its_arguments_unchanged_at_its_start_and_when_it_is_resumed() {
    let manager = Manager::builder().executor("agent", agent).build().unwrap();
    let input = json!({ "query": "ractor", "depth": 3, "sources": ["a", null, { "b": 1.5 }] });
    let task = manager.scope("s").task("t");
    let task = task.spawn_kind("agent", input.clone()).await.unwrap();
    reaches(&manager, task.id(), State::Suspended).await;
    let asked = task.record().unwrap();
    task.resume("yes").await.unwrap();

    let id = task.id();
    let value = soon(task).await.unwrap();

    assert_eq!(value, json!({ "input": input, "answer": "yes" }));
    let ended = manager.get(id).unwrap();
    assert_eq!(ended.spec, asked.spec, "what was asked never changes");
    assert_eq!((ended.created_at, ended.attempt), (asked.created_at, 1));
    assert_eq!(ended.suspended_at, asked.suspended_at);
    assert_eq!((&ended.wait, &ended.resume), (&None, &None));
    assert_eq!(asked.ended_at, None);
    assert!(ended.ended_at >= ended.started_at && ended.started_at >= ended.suspended_at);
}

#[tokio::test]
async fn task_that_fails_twice_completes_with_its_third_call() {
    let calls = Arc::new(AtomicU32::new(0));
    let manager = Manager::in_memory();
    let retry = Retry::fixed(3, Duration::ZERO);
    let task = manager.scope("s").task("t").retry(retry).spawn({
        let calls = Arc::clone(&calls);
        move |ctx| {
            calls.fetch_add(1, SeqCst);
            async move {
                match ctx.attempt() {
                    1 | 2 => Err(Failure::new("not yet")),
                    attempt => Ok(attempt),
                }
            }
        }
    });

    assert_eq!(soon(task.await.unwrap()).await.unwrap(), 3);
    assert_eq!(calls.load(SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_and_each_resumption_has_the_whole_time_of_an_attempt() {
    let manager = Manager::in_memory();
    let runs = Arc::new(AtomicU32::new(0));
    let task = manager
        .scope("s")
        .task("t")
        .timeout(Duration::from_secs(10));
    let task = task
        .retry(Retry::fixed(1, Duration::ZERO))
        .spawn(move |ctx| {
            let run = runs.fetch_add(1, SeqCst);
            async move {
                tokio::time::sleep(Duration::from_secs(9)).await;
                match run {
                    0 => Err(Failure::new("the first attempt fails")),
                    1 => Err(ctx.suspend("the second one is suspended")),
                    _ => Ok(ctx.attempt()),
                }
            }
        });
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Suspended).await;
    tokio::time::advance(Duration::from_hours(1)).await;
    task.resume(()).await.unwrap();

    assert_eq!(soon(task).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_tasks_of_a_cold_manager_run_once_each() {
    for _ in 0..20 {
        let manager = Manager::in_memory();
        let calls = Arc::new(AtomicU32::new(0));
        let first = |name: &'static str| {
            let (scope, calls) = (manager.scope("s"), Arc::clone(&calls));
            tokio::spawn(async move {
                let task = scope
                    .task(name)
                    .spawn(move |_| async move { Ok(calls.fetch_add(1, SeqCst)) });
                task.await.unwrap().await.unwrap()
            })
        };
        let (one, two) = (first("one"), first("two"));

        let mut order = [soon(one).await.unwrap(), soon(two).await.unwrap()];

        order.sort_unstable();
        assert_eq!((order, calls.load(SeqCst)), ([0, 1], 2));
    }
}

#[tokio::test]
async fn what_bodies_say_after_the_shutdown_began_is_no_end_of_their_own() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let resolves = scope.task("resolves").spawn(|ctx| async move {
        ctx.cancelled().await;
        Ok("done")
    });
    let suspends = scope.task("suspends").resumable().spawn(|ctx| async move {
        ctx.cancelled().await;
        Err::<(), _>(ctx.suspend("later"))
    });
    let fails = scope.task("fails").retry(Retry::fixed(9, Duration::ZERO));
    let fails = fails.spawn(|ctx| async move {
        ctx.cancelled().await;
        Err::<(), _>(Failure::new("aborted"))
    });
    let (resolves, suspends, fails) = (
        resolves.await.unwrap(),
        suspends.await.unwrap(),
        fails.await.unwrap(),
    );
    let tasks = [resolves.task(), suspends.task(), fails.task()];
    for task in &tasks {
        reaches(&manager, task.id(), State::Running).await;
    }

    soon(manager.shutdown(Duration::from_hours(1)))
        .await
        .unwrap();

    for task in tasks {
        let record = task.record().unwrap();
        assert_eq!((record.state, record.attempt), (State::Cancelled, 1));
        assert_eq!((&record.wait, record.suspended_at), (&None, None));
    }
    assert!(suspends.resume("go on").await.is_err());
    assert!(fails.restart().await.is_err());
}

#[tokio::test]
async fn wait_that_its_signal_ends_leaves_the_task_alone() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(until_cancelled);
    let task = task.await.unwrap();
    let signal = tokio_util::sync::CancellationToken::new();
    let waits = tokio::spawn({
        let (task, signal) = (task.task(), signal.clone());
        async move { signal.run_until_cancelled(task.settled()).await.is_none() }
    });
    signal.cancel();

    assert!(soon(waits).await.unwrap(), "it is the wait that has ended");
    reaches(&manager, task.id(), State::Running).await;
    soon(task.cancel(Cancel::because("enough"))).await.unwrap();
    let id = task.id();
    assert!(matches!(soon(task).await, Err(WaitError::Cancelled { .. })));
    let told = ["accepted", "started", "stop_asked", "settled"];
    assert_eq!(story(&manager, id).await, told);
}

#[tokio::test(start_paused = true)]
async fn task_that_ran_out_of_time_counts_as_failed_and_a_cancelled_one_does_not() {
    let manager = Manager::in_memory();
    let task = || manager.scope("s").unnamed();
    let late = task()
        .timeout(Duration::from_secs(1))
        .spawn(until_cancelled);
    let late = soon(late.await.unwrap().settled()).await.unwrap();
    let fails = task().spawn(|_| async { Err::<(), _>(Failure::new("no network")) });
    let failed = soon(fails.await.unwrap().settled()).await.unwrap();
    let stopped = task().spawn(until_cancelled).await.unwrap();
    soon(stopped.cancel(Cancel::because("enough")))
        .await
        .unwrap();
    let stopped = stopped.record().unwrap();
    let done = task().spawn(|_| async { Ok(()) }).await.unwrap();
    let done = soon(done.settled()).await.unwrap();

    assert_eq!((late.state, failed.state), (State::TimedOut, State::Failed));
    assert!(late.state.is_failure() && failed.state.is_failure());
    assert!(State::Interrupted.is_failure() && !State::Running.is_failure());
    assert_eq!(stopped.state, State::Cancelled);
    assert!(!stopped.state.is_failure() && !done.state.is_failure());
}
