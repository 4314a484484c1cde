//! Defects of what follows a crash, shown by a manager that fails and starts again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use understory::{Class, Context, Failure, Manager, Outcome, Part, Retry, State, TaskHandle};

use crate::stage::{feed_of, for_ever, reaches, sees, soon, story, until, until_cancelled};

/// Makes the manager fail on its next turn and waits until it is there again.
async fn fails(manager: &Manager) {
    let before = manager.incarnation();
    manager.break_part(Part::Manager);
    let _lost = soon(manager.scope("probe").unnamed().spawn(until_cancelled)).await;
    until(|| manager.incarnation() == before + 1).await;
}

#[tokio::test]
async fn task_whose_body_is_lost_has_a_time_of_its_end_and_one_event_with_the_evidence() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(until_cancelled);
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Running).await;
    let mut feed = feed_of(&manager, task.id()).await;
    fails(&manager).await;

    let record = soon(task.settled()).await.unwrap();
    assert_eq!(record.state, State::Interrupted);
    assert!(record.ended_at.is_some());
    let Some(Outcome::Interrupted(evidence)) = record.outcome.as_deref() else {
        panic!("it was interrupted")
    };
    assert!(evidence.contains("died"), "{evidence}");
    let end = sees(&mut feed, |event| event.what.name() == "settled").await;
    assert_eq!(end.state, State::Interrupted);
    let told = story(&manager, task.id()).await;
    assert_eq!(told.iter().filter(|name| **name == "settled").count(), 1);
}

#[tokio::test]
async fn tasks_that_waited_for_a_slot_before_a_crash_all_run_after_it() {
    let manager = Manager::builder()
        .limit("one", Class::queue(1))
        .executor("work", |_: Context, input: Value| async move { Ok(input) })
        .build()
        .unwrap();
    let scope = manager.scope("s");
    let holder = scope.task("holder").limit("one").spawn(for_ever);
    let holder = holder.await.unwrap();
    let mut queued: Vec<TaskHandle<Value>> = Vec::new();
    for number in 0..3 {
        let task = scope.unnamed().limit("one").spawn_kind("work", number);
        queued.push(task.await.unwrap());
    }
    assert_eq!(queued[2].state(), Some(State::Pending));
    fails(&manager).await;

    assert_eq!(
        soon(holder.settled()).await.unwrap().state,
        State::Interrupted
    );
    for (number, task) in queued.into_iter().enumerate() {
        assert_eq!(soon(task).await.unwrap(), number);
    }
}

#[tokio::test]
async fn task_that_is_lost_each_time_is_not_started_for_ever() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&runs);
    let manager = Manager::builder()
        .executor("dies", move |ctx: Context, _: Value| {
            counts.fetch_add(1, Ordering::SeqCst);
            async move {
                for_ever(ctx).await?;
                Err(Failure::new("never"))
            }
        })
        .build()
        .unwrap();
    let task = manager.scope("s").unnamed();
    let task = task.retry(Retry::fixed(2, Duration::ZERO));
    let task = task.spawn_kind("dies", 1).await.unwrap();
    for run in 1..=3 {
        until(|| runs.load(Ordering::SeqCst) == run).await;
        fails(&manager).await;
    }
    let record = soon(task.settled()).await.unwrap();
    assert_eq!((record.state, record.attempt), (State::Interrupted, 3));
    assert_eq!(runs.load(Ordering::SeqCst), 3);
}
