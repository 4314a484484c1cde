//! Of an option that is said twice the last word counts, also where that is the default.

use std::time::Duration;

use serde_json::{Value, json};
use understory::{
    Cancel, Context, Failure, LateSuccess, Manager, MissingExecutor, Mode, OnScopeClose, Overflow,
    Reach, RestartPolicy, Retry, SendError, SpawnError, State,
};

use crate::stage::{soon, until_cancelled};

async fn echo(_: Context, input: Value) -> Result<Value, Failure> {
    Ok(input)
}

#[tokio::test]
async fn late_value_is_no_completion_where_that_was_taken_back() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t");
    let task = task
        .late_success(LateSuccess::Completed)
        .late_success(LateSuccess::Cancelled);
    let task = task.spawn(until_cancelled).await.unwrap();
    soon(task.cancel(Cancel::because("enough"))).await.unwrap();
    assert_eq!(task.state(), Some(State::Cancelled));
}

#[tokio::test]
async fn task_is_kept_where_its_cancel_was_taken_back() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let task = scope.task("t").on_scope_close(OnScopeClose::Cancel);
    let task = task.on_scope_close(OnScopeClose::Keep);
    let task = task.spawn(until_cancelled).await.unwrap();
    let report = soon(scope.close(Cancel::because("over"))).await.unwrap();
    assert_eq!(report.kept, [task.id()]);
    assert!(report.cancelled.is_empty());
}

#[tokio::test]
async fn flight_is_of_its_scope_where_that_was_said_last() {
    let manager = Manager::in_memory();
    for scope in ["mine", "yours"] {
        let task = manager.scope(scope).unnamed().single_flight("f");
        let task = task.flight_reach(Reach::Manager).flight_reach(Reach::Scope);
        assert!(task.spawn(until_cancelled).await.unwrap().is_new());
    }
}

#[tokio::test]
async fn executor_that_is_missing_is_refused_where_that_was_said_last() {
    let builder = Manager::builder().missing_executor(MissingExecutor::Waits);
    let builder = builder.missing_executor(MissingExecutor::Refused);
    let manager = builder.build().unwrap();
    let refused = manager.scope("s").unnamed().spawn_kind("echo", json!(1));
    let refused = refused.await.unwrap_err();
    assert!(matches!(refused, SpawnError::NoExecutor { input, .. } if input == 1));
}

#[tokio::test]
async fn manager_runs_tasks_where_that_was_said_last() {
    for last in [Mode::Full, Mode::Worker] {
        let builder = Manager::builder().executor("echo", echo);
        let manager = builder.mode(Mode::Producer).mode(last).build().unwrap();
        let task = manager.scope("s").unnamed().spawn_kind("echo", json!(1));
        let record = soon(task.await.unwrap().settled()).await.unwrap();
        assert_eq!(record.state, State::Completed);
    }
}

#[tokio::test]
async fn full_inbox_rejects_where_that_was_said_last() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").inbox_capacity(1);
    let task = task
        .inbox_overflow(Overflow::DropOldest)
        .inbox_overflow(Overflow::Reject);
    let task = task.spawn(until_cancelled).await.unwrap();
    task.send(1).await.unwrap();
    let refused = task.send(2).await;
    assert!(matches!(refused, Err(SendError::Full { message, .. }) if message == 2));
}

async fn fails(_: Context) -> Result<(), Failure> {
    Err(Failure::new("broken"))
}

#[tokio::test]
async fn task_is_tried_once_where_that_was_said_last() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").unnamed();
    let task = task.retry(Retry::fixed(3, Duration::ZERO));
    let task = task.retry(Retry::never()).spawn(fails).await.unwrap();
    assert_eq!(soon(task.settled()).await.unwrap().attempt, 1);
}

#[tokio::test]
async fn task_is_not_restarted_where_that_was_said_last() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").unnamed();
    let task = task.restart_policy(RestartPolicy::transient());
    let task = task.restart_policy(RestartPolicy::temporary());
    let record = soon(task.spawn(fails).await.unwrap().settled()).await;
    let record = record.unwrap();
    assert_eq!((record.attempt, record.restarts), (1, 0));
}
