//! Executors: registered and forgotten at run time, missing ones, modes, deferred tasks, restarts.

use serde_json::{Value, json};
use understory::{
    Cancel, Class, Context, Failure, Filter, Manager, MissingExecutor, Mode, NotDispatched, Page,
    Refusal, RestartError, Retry, SpawnError, State, TaskId, Wait,
};

use crate::stage::{reaches, soon, until, until_cancelled};

async fn everywhere(_: Context, input: Value) -> Result<Value, Failure> {
    Ok(json!({ "everywhere": input }))
}

async fn here(_: Context, input: Value) -> Result<Value, Failure> {
    Ok(json!({ "here": input }))
}

async fn lives(ctx: Context, _: Value) -> Result<Value, Failure> {
    Ok(json!(ctx.incarnation()))
}

fn patient() -> Manager {
    let builder = Manager::builder().missing_executor(MissingExecutor::Waits);
    builder.build().unwrap()
}

fn wait_of(manager: &Manager, id: TaskId) -> Option<Wait> {
    manager.get(id).and_then(|record| record.wait.clone())
}

#[tokio::test]
async fn executor_of_the_scope_goes_before_that_of_all_and_both_come_and_go() {
    let manager = Manager::in_memory();
    let ask = || async { manager.scope("s").unnamed().spawn_kind("k", 1).await };
    assert!(matches!(ask().await, Err(SpawnError::NoExecutor { input, .. }) if input == 1));

    manager.register_executor("k", everywhere).unwrap();
    assert_eq!(
        soon(ask().await.unwrap()).await.unwrap(),
        json!({ "everywhere": 1 })
    );
    manager.register_executor_in("s", "k", here).unwrap();
    assert_eq!(
        soon(ask().await.unwrap()).await.unwrap(),
        json!({ "here": 1 })
    );
    let other = manager
        .scope("t")
        .unnamed()
        .spawn_kind("k", 1)
        .await
        .unwrap();
    assert_eq!(soon(other).await.unwrap(), json!({ "everywhere": 1 }));

    assert!(manager.unregister_executor_in("s", "k").unwrap());
    assert_eq!(
        soon(ask().await.unwrap()).await.unwrap(),
        json!({ "everywhere": 1 })
    );
    assert!(manager.has_executor("s", "k").unwrap());
    assert!(manager.unregister_executor("k").unwrap());
    assert!(!manager.unregister_executor("k").unwrap());
    assert!(!manager.has_executor("s", "k").unwrap());
    assert!(ask().await.is_err());
    assert!(manager.register_executor("no kind", here).is_err());
}

#[tokio::test]
async fn task_without_its_executor_is_pending_visibly_and_starts_when_that_comes() {
    let manager = patient();
    let task = manager
        .scope("s")
        .task("t")
        .spawn_kind("k", 1)
        .await
        .unwrap();
    let other = manager
        .scope("t")
        .task("t")
        .spawn_kind("k", 1)
        .await
        .unwrap();
    assert_eq!(wait_of(&manager, task.id()), Some(Wait::Executor));

    manager.register_executor_in("s", "k", here).unwrap();
    assert_eq!(soon(task).await.unwrap(), json!({ "here": 1 }));
    assert_eq!(wait_of(&manager, other.id()), Some(Wait::Executor));
    other.cancel(Cancel::because("enough")).await.unwrap();
    assert_eq!(other.state(), Some(State::Cancelled));
}

#[tokio::test]
async fn task_that_waits_for_its_executor_takes_no_slot() {
    let builder = Manager::builder().global_limit(Class::queue(1));
    let builder = builder.missing_executor(MissingExecutor::Waits);
    let manager = builder.executor("known", everywhere).build().unwrap();
    let scope = manager.scope("s");
    let missing = scope.unnamed().spawn_kind("missing", 1).await.unwrap();
    let holder = scope.unnamed().spawn(until_cancelled).await.unwrap();
    let queued = scope.unnamed().spawn_kind("known", 1).await.unwrap();
    assert_eq!(wait_of(&manager, queued.id()), Some(Wait::Slot));

    manager.unregister_executor("known").unwrap();
    until(|| wait_of(&manager, queued.id()) == Some(Wait::Executor)).await;
    holder.cancel(Cancel::because("enough")).await.unwrap();
    assert_eq!(missing.state(), Some(State::Pending));
    manager.register_executor("known", here).unwrap();
    assert_eq!(soon(queued).await.unwrap(), json!({ "here": 1 }));
}

#[tokio::test]
async fn each_attempt_takes_the_executor_that_is_registered_then() {
    async fn fails(_: Context, _: Value) -> Result<Value, Failure> {
        Err(Failure::new("not this one"))
    }
    let manager = Manager::builder().executor("k", fails).build().unwrap();
    let retry = Retry::fixed(1000, std::time::Duration::from_millis(1));
    let task = manager
        .scope("s")
        .unnamed()
        .retry(retry)
        .spawn_kind("k", 1)
        .await
        .unwrap();
    reaches(&manager, task.id(), State::Running).await;
    manager.register_executor("k", here).unwrap();
    assert_eq!(soon(task).await.unwrap(), json!({ "here": 1 }));
}

#[tokio::test]
async fn producer_takes_tasks_and_runs_none() {
    let builder = Manager::builder().mode(Mode::Producer);
    let manager = builder.executor("k", everywhere).build().unwrap();
    let task = manager
        .scope("s")
        .unnamed()
        .spawn_kind("k", 1)
        .await
        .unwrap();
    let unknown = manager
        .scope("s")
        .unnamed()
        .spawn_kind("unknown", 1)
        .await
        .unwrap();
    manager.register_executor("unknown", here).unwrap();
    let closure = manager.scope("s").unnamed().spawn(until_cancelled).await;

    for id in [task.id(), unknown.id()] {
        assert_eq!(wait_of(&manager, id), Some(Wait::Executor));
    }
    assert!(matches!(
        closure,
        Err(SpawnError::Refused(Refusal::ProducerOnly))
    ));

    let worker = Manager::builder()
        .mode(Mode::Worker)
        .executor("k", everywhere);
    let worker = worker.build().unwrap();
    let task = worker
        .scope("s")
        .unnamed()
        .spawn_kind("k", 1)
        .await
        .unwrap();
    soon(task).await.unwrap();
}

#[tokio::test]
async fn deferred_task_is_nothing_until_it_is_dispatched_and_then_one_task() {
    let manager = Manager::builder().executor("k", lives).build().unwrap();
    let mut deferred = manager.scope("s").task("t").defer("k", 1);
    assert_eq!(deferred.task().err(), Some(NotDispatched));
    assert_eq!(manager.counts().total(), 0);

    let first = deferred.dispatch().await.unwrap();
    let again = deferred.dispatch().await.unwrap();
    assert_eq!(
        (first.id(), deferred.task().unwrap().id()),
        (again.id(), first.id())
    );
    assert_eq!(manager.counts().total(), 1);
}

#[tokio::test]
async fn deferred_task_binds_to_the_newest_record_of_its_labels() {
    let manager = Manager::builder().executor("k", lives).executor("l", lives);
    let manager = manager.build().unwrap();
    let call = |call: &str| manager.scope("s").unnamed().tool_call(call).run("r");
    let task = call("1").spawn_kind("k", 1).await.unwrap();

    let mut same = call("1").defer("k", 2);
    assert!(same.bind());
    assert_eq!(same.task().unwrap().id(), task.id());
    assert_eq!(same.dispatch().await.unwrap().id(), task.id());
    let others = [
        call("2").defer("k", 1),
        call("1").defer("l", 1),
        manager
            .scope("t")
            .unnamed()
            .tool_call("1")
            .run("r")
            .defer("k", 1),
        manager.scope("s").unnamed().defer("k", 1),
    ];
    for mut other in others {
        assert!(!other.bind() && other.task().is_err());
    }
    assert_eq!(manager.list(&Filter::all(), &Page::default()).total, 1);
}

#[tokio::test]
async fn settled_task_of_an_executor_is_restarted_as_its_next_life() {
    let manager = Manager::builder().executor("k", lives).build().unwrap();
    let scope = manager.scope("s");
    let ask = async || {
        let wishes = scope.task("t").label("a", "b").key("key");
        wishes.spawn_kind("k", 7).await.unwrap()
    };
    let task = ask().await;
    task.settled().await.unwrap();

    let again = manager.restart(task.id()).await.unwrap();
    assert_eq!(again.id(), task.id());
    assert_eq!(soon(again).await.unwrap(), json!(2));
    let record = task.record().unwrap();
    assert_eq!(
        (
            record.incarnation,
            record.spec.input.as_ref().unwrap().as_json()
        ),
        (2, "7")
    );
    assert_eq!(record.spec.labels["a"].as_ref(), "b");
    assert_eq!(ask().await.id(), task.id());
}

#[tokio::test]
async fn only_settled_tasks_of_executors_are_restarted() {
    let manager = Manager::in_memory();
    let task = manager
        .scope("s")
        .task("t")
        .spawn(until_cancelled)
        .await
        .unwrap();
    let live = task.restart().await.unwrap_err();
    task.cancel(Cancel::because("enough")).await.unwrap();
    let closure = task.restart().await.unwrap_err();
    let unknown = manager.restart(TaskId::from_u128(1)).await.unwrap_err();

    assert!(matches!(live, RestartError::NotSettled(_, State::Running)));
    assert!(matches!(closure, RestartError::NoExecutor(_)));
    assert!(matches!(unknown, RestartError::Unknown(_)));
}

#[tokio::test]
async fn transferred_task_is_run_by_the_executor_of_the_scope_that_it_came_to() {
    let manager = patient();
    manager.register_executor_in("new", "k", here).unwrap();
    let old = manager.scope("old");
    let task = old.task("t").spawn_kind("k", 1).await.unwrap();
    assert_eq!(wait_of(&manager, task.id()), Some(Wait::Executor));

    task.transfer("new").await.unwrap();

    assert_eq!(soon(task).await.unwrap(), json!({ "here": 1 }));
}
