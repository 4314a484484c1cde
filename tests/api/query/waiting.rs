//! Waiting for the end of tasks, and why there is no value.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use understory::{
    Cancel, Context, Failure, Filter, Manager, Page, Record, State, TaskHandle, TaskId, TaskRef,
    WaitError,
};

use super::on_word;
use crate::stage::{for_ever, rounds, settle_down, soon, until_cancelled};

#[tokio::test]
async fn wait_any_takes_the_first_in_the_given_order() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(scope.unnamed().spawn(on_word).await.unwrap().task());
    }
    assert!(manager.wait_any(&[]).await.unwrap().is_none());
    let place = |found: Option<(usize, Arc<Record>)>| found.map(|(place, _)| place);

    let waiting = manager.wait_any(&tasks);
    tasks[2].send("end").await.unwrap();
    assert_eq!(place(soon(waiting).await.unwrap()), Some(2));
    tasks[1].send("end").await.unwrap();
    soon(tasks[1].settled()).await.unwrap();

    let (first, record) = soon(manager.wait_any(&tasks)).await.unwrap().unwrap();
    assert_eq!((first, record.id), (1, tasks[1].id()));
    assert_eq!(tasks[0].state(), Some(State::Running));
    let unknown = [tasks[0].clone(), manager.task(TaskId::from_u128(7))];
    let gone = soon(manager.wait_any(&unknown)).await;
    assert!(matches!(gone, Err(WaitError::Gone(id)) if id == TaskId::from_u128(7)));
}

#[tokio::test]
async fn wait_all_keeps_the_given_order() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let mut tasks = Vec::new();
    for _ in 0..5 {
        tasks.push(scope.unnamed().spawn(on_word).await.unwrap().task());
    }
    assert!(manager.wait_all(&[]).await.unwrap().is_empty());
    let waiting = tokio::spawn({
        let (manager, tasks) = (manager.clone(), tasks.clone());
        async move { manager.wait_all(&tasks).await }
    });
    for task in tasks.iter().rev() {
        settle_down().await;
        assert!(!waiting.is_finished());
        task.send("end").await.unwrap();
    }

    let records = soon(waiting).await.unwrap().unwrap();

    let wanted: Vec<_> = tasks.iter().map(TaskRef::id).collect();
    let found: Vec<_> = records.iter().map(|record| record.id).collect();
    assert_eq!(found, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn end_between_a_list_and_a_wait_is_not_lost() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");

    for _ in 0..rounds(200) {
        let mut tasks = Vec::new();
        for _ in 0..5 {
            tasks.push(scope.unnamed().spawn(on_word).await.unwrap().task());
        }
        let live = manager.list(&Filter::all().live(), &Page::default());
        assert_eq!(live.total, 5);
        let ending = tokio::spawn(async move {
            for task in tasks {
                task.send("end").await.unwrap();
            }
        });
        for record in live.records {
            let ended = soon(manager.task(record.id).settled()).await.unwrap();
            assert_eq!((ended.id, ended.state), (record.id, State::Completed));
        }
        soon(ending).await.unwrap();
    }
}

#[tokio::test]
async fn unknown_task_is_gone() {
    let manager = Manager::in_memory();
    let id = TaskId::from_u128(7);

    let unknown = soon(manager.task(id).settled()).await;

    assert!(matches!(unknown, Err(WaitError::Gone(gone)) if gone == id));
}

#[tokio::test(start_paused = true)]
async fn wait_that_is_given_up_cancels_nothing() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(on_word).await.unwrap();
    let second = Duration::from_secs(1);

    let reference = task.task();
    assert!(
        tokio::time::timeout(second, reference.settled())
            .await
            .is_err()
    );
    assert!(
        tokio::time::timeout(second, manager.wait_any(&[task.task()]))
            .await
            .is_err()
    );
    assert!(tokio::time::timeout(second, task).await.is_err());

    assert_eq!(reference.state(), Some(State::Running));
    reference.send("end").await.unwrap();
    assert_eq!(
        soon(reference.settled()).await.unwrap().state,
        State::Completed
    );
}

#[tokio::test(start_paused = true)]
async fn wait_error_says_why_there_is_no_value() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let failed = scope
        .task("failed")
        .spawn(|_| async { Err::<(), _>(Failure::new("no network")) });
    let panicked = scope
        .task("panicked")
        .spawn(|_| async { panic!("out of cheese") });
    let panicked: TaskHandle<()> = panicked.await.unwrap();
    let slow = scope
        .task("slow")
        .timeout(Duration::from_secs(1))
        .spawn(for_ever);
    let idle = scope
        .task("idle")
        .idle_timeout(Duration::from_secs(1))
        .spawn(for_ever);
    let cancelled = scope
        .task("cancelled")
        .spawn(until_cancelled)
        .await
        .unwrap();
    soon(cancelled.cancel(Cancel::because("enough")))
        .await
        .unwrap();

    for (handle, text) in [
        (failed.await.unwrap(), "failed: no network"),
        (panicked, "failed: panicked: out of cheese"),
        (cancelled, "was cancelled: enough"),
        (slow.await.unwrap(), "ran out of time (Attempt)"),
        (idle.await.unwrap(), "ran out of time (Idle)"),
    ] {
        let id = handle.id();
        let error = soon(handle).await.unwrap_err();
        assert_eq!(error.to_string(), format!("task {id} {text}"));
    }
}

#[tokio::test]
async fn value_of_another_type_is_told() {
    let manager = Manager::builder()
        .executor("say", |_: Context, input: Value| async move { Ok(input) })
        .build()
        .unwrap();
    let keyed = || manager.scope("s").task("t").key("k");
    let text = keyed().spawn(|_| async { Ok("not a number".to_owned()) });
    let text = text.await.unwrap();
    let number = keyed().spawn(|_| async { Ok(7_u32) }).await.unwrap();
    let said = manager
        .scope("s")
        .unnamed()
        .spawn_kind("say", json!({ "n": 1 }));
    assert_eq!(soon(said.await.unwrap()).await.unwrap(), json!({ "n": 1 }));
    let id = text.id();
    assert_eq!(soon(text).await.unwrap(), "not a number");

    let error = soon(number).await.unwrap_err();

    assert!(matches!(&error, WaitError::Decode { task, .. } if *task == id));
    let start = format!("the value of task {id} is of another type: invalid type: string");
    assert!(error.to_string().starts_with(&start), "{error}");
}
