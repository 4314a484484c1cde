//! A manager that has just been built, over a store that another one left behind.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use understory::store::{MemoryStore, Store};
use understory::{
    Builder, Context, External, Failure, Liveness, Manager, Mode, Probe, State, TaskId, Wake,
};

use crate::stage::{settle_down, soon, until};

async fn double(_: Context, input: Value) -> Result<Value, Failure> {
    Ok(json!(input.as_i64().map(|number| 2 * number)))
}

fn over(store: &Arc<MemoryStore>) -> Builder {
    let builder = Manager::builder().executor("double", double);
    builder.store(Arc::clone(store))
}

/// A store with a task that was never started, and whose manager has gone.
async fn left_pending() -> (Arc<MemoryStore>, TaskId) {
    let store = Arc::new(MemoryStore::new());
    let producer = over(&store).mode(Mode::Producer).build().unwrap();
    let task = producer.scope("s").task("t").spawn_kind("double", 4).await;
    let id = task.unwrap().id();
    producer.leave().await.unwrap();
    (store, id)
}

fn state_in(store: &MemoryStore, id: TaskId) -> Option<State> {
    let records = store.load().unwrap().records;
    let record = records.iter().find(|record| record.id == id);
    record.map(|record| record.state)
}

#[tokio::test]
async fn task_of_before_runs_although_nobody_holds_the_manager_that_takes_it_over() {
    let (store, id) = left_pending().await;

    drop(over(&store).build().unwrap());

    until(|| state_in(&store, id).is_some_and(State::is_terminal)).await;
    assert_eq!(state_in(&store, id), Some(State::Completed));
}

#[tokio::test(start_paused = true)]
async fn limit_of_an_external_task_holds_although_nobody_holds_its_manager() {
    let store = Arc::new(MemoryStore::new());
    let probe = |_: Probe| async { Liveness::Unknown };
    let builder = over(&store).liveness(Duration::from_hours(9), probe);
    let manager = builder.build().unwrap();
    let task = manager.scope("s").task("t");
    let task: External = task
        .idle_timeout(Duration::from_secs(1))
        .external()
        .await
        .unwrap();
    let id = task.id();
    drop((task, manager));
    settle_down().await;

    for _ in 0..60 {
        tokio::time::advance(Duration::from_secs(1)).await;
        settle_down().await;
    }

    assert_eq!(state_in(&store, id), Some(State::TimedOut));
}

#[tokio::test]
async fn task_is_woken_although_nobody_holds_its_manager() {
    let (tell, mut told) = tokio::sync::mpsc::channel(8);
    let hook = move |wake: Wake| {
        tell.try_send(wake.task.id()).expect("there is room");
        async {}
    };
    let manager = Manager::builder().on_wake(hook).build().unwrap();
    let (go, gone) = oneshot::channel::<()>();
    let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
        let child = ctx.task("child").spawn(|_| async { Ok(gone.await?) });
        child.await?;
        Ok(())
    });
    let lead = lead.await.unwrap();
    let id = lead.id();
    until(|| lead.state() == Some(State::Waiting)).await;
    drop((lead, manager));
    settle_down().await;

    go.send(()).unwrap();

    assert_eq!(soon(told.recv()).await, Some(id));
}
