//! What runs elsewhere, and handles of what is kept no more, when the actors start again.

use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use understory::store::{FaultyStore, MemoryStore};
use understory::{Cancel, Class, External, Manager, Part, State};

use crate::stage::{end_in_two_commits, four_that_wait, reaches, soon, until};

/// An external task whose callback tells what it was called with.
async fn heard(manager: &Manager, scope: &str) -> (External, UnboundedReceiver<String>) {
    let (called, calls) = unbounded_channel();
    let task = manager.scope(scope).unnamed();
    let task = task.external_with(move |stop| async move {
        let _ = called.send(stop.reason.to_string());
        Ok(())
    });
    (task.await.unwrap(), calls)
}

/// Asks for a cancel whose request becomes durable, of which nothing follows.
async fn cancel_in_vain(manager: &Manager, scope: &str) {
    manager.break_part(Part::Carrier);
    let scope = manager.scope(scope);
    let asked = scope.cancel_scope(Cancel::because("enough"));
    soon(asked).await.unwrap_err();
}

#[tokio::test]
async fn external_whose_cancel_was_durable_and_not_carried_out_is_cancelled_there() {
    let manager = Manager::in_memory();
    let (task, mut calls) = heard(&manager, "s").await;

    cancel_in_vain(&manager, "s").await;

    assert_eq!(soon(calls.recv()).await.as_deref(), Some("enough"));
    assert_eq!(soon(calls.recv()).await, None);
    reaches(&manager, task.id(), State::Cancelled).await;
}

#[tokio::test]
async fn external_whose_cancel_before_it_had_a_slot_was_not_carried_out_is_cancelled_there() {
    let builder = Manager::builder().global_limit(Class::queue(1));
    let manager = builder.build().unwrap();
    let _holder = heard(&manager, "s").await;
    let (task, mut calls) = heard(&manager, "queued").await;
    assert_eq!(task.state(), Some(State::Pending));

    cancel_in_vain(&manager, "queued").await;

    assert_eq!(soon(calls.recv()).await.as_deref(), Some("enough"));
    assert_eq!(soon(calls.recv()).await, None);
    reaches(&manager, task.id(), State::Cancelled).await;
}

#[tokio::test]
async fn external_whose_start_was_not_carried_out_is_cancelled_there_when_asked_to() {
    let builder = Manager::builder().global_limit(Class::queue(1));
    let manager = builder.build().unwrap();
    let (holder, _holders) = heard(&manager, "s").await;
    let (task, mut calls) = heard(&manager, "queued").await;

    manager.break_part(Part::Carrier);
    soon(holder.complete(1)).await.unwrap_err();
    reaches(&manager, task.id(), State::Running).await;
    soon(task.cancel(Cancel::because("enough"))).await.unwrap();

    assert_eq!(soon(calls.recv()).await.as_deref(), Some("enough"));
    assert_eq!(task.state(), Some(State::Cancelled));
}

#[tokio::test]
async fn external_that_its_holder_cancelled_is_not_cancelled_there_after_a_failure() {
    let manager = Manager::in_memory();
    let (task, mut calls) = heard(&manager, "s").await;

    manager.break_part(Part::Carrier);
    soon(task.cancelled()).await.unwrap_err();

    reaches(&manager, task.id(), State::Cancelled).await;
    assert_eq!(soon(calls.recv()).await, None);
}

#[tokio::test]
async fn unstarted_externals_that_went_before_the_failure_are_cancelled_there() {
    let builder = Manager::builder().settled_max(1);
    let builder = builder.global_limit(Class::queue(1));
    let manager = builder.build().unwrap();
    let _holder = heard(&manager, "s").await;
    let mut queued = Vec::new();
    for _ in 0..3 {
        queued.push(heard(&manager, "queued").await);
    }

    // All settle in one step, which keeps the record of one of them.
    cancel_in_vain(&manager, "queued").await;

    for (task, mut calls) in queued {
        assert!(soon(calls.recv()).await.is_some(), "{task:?}");
    }
}

#[tokio::test]
async fn handle_of_a_task_that_settled_and_went_before_the_failure_tells_its_end() {
    let store = Arc::new(FaultyStore::new(MemoryStore::default()));
    let builder = Manager::builder().settled_max(1).store(Arc::clone(&store));
    let manager = builder.build().unwrap();
    let (tasks, release) = four_that_wait(&manager).await;

    end_in_two_commits(&store, &release).await;
    manager.break_part(Part::Carrier);
    store.release();
    until(|| manager.incarnation() == 2).await;

    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(soon(task).await.unwrap(), number);
    }
}

#[tokio::test]
async fn external_that_was_cancelled_now_is_cancelled_there_after_a_failure() {
    let manager = Manager::in_memory();
    let (task, mut calls) = heard(&manager, "s").await;

    manager.break_part(Part::Carrier);
    soon(task.cancel(Cancel::because("enough").now()))
        .await
        .unwrap_err();

    assert_eq!(soon(calls.recv()).await.as_deref(), Some("enough"));
    assert_eq!(soon(task.settled()).await.unwrap().state, State::Cancelled);
}
