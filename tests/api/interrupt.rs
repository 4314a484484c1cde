//! Interrupts: a body looks up from its work and goes on.

use std::time::Duration;

use serde_json::json;
use understory::{
    Cancel, Context, Event, Failure, InterruptError, Manager, State, TaskHandle, TaskId,
};

use crate::stage::{feed_of, for_ever, reaches, sees, soon, until};

/// A body that collects the reasons of this many interrupts.
async fn listens(ctx: Context, count: usize) -> Result<Vec<String>, Failure> {
    let mut reasons = Vec::new();
    while reasons.len() < count {
        reasons.push(ctx.interrupted().await.reason.to_string());
        ctx.progress(&reasons).await?;
    }
    Ok(reasons)
}

async fn running<T: Send + 'static>(manager: &Manager, task: TaskHandle<T>) -> TaskHandle<T> {
    reaches(manager, task.id(), State::Running).await;
    task
}

#[tokio::test]
async fn interrupted_body_goes_on_and_can_be_interrupted_again() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| listens(ctx, 2));
    let task = running(&manager, task.await.unwrap()).await;

    task.interrupt("first").await.unwrap();
    until(|| task.record().unwrap().progress.is_some()).await;
    assert_eq!(task.state(), Some(State::Running));
    manager.interrupt(task.id(), "second").await.unwrap();

    let mut feed = feed_of(&manager, task.id()).await;
    let event = sees(&mut feed, |event: &Event| {
        event.what.name() == "interrupt_asked"
    })
    .await;
    assert_eq!(
        event.to_json()["data"],
        json!({ "reason": "first", "by": "host" })
    );
    assert_eq!(soon(task).await.unwrap(), ["first", "second"]);
}

#[tokio::test]
async fn interrupt_that_comes_before_anybody_waits_is_kept_and_the_newest_counts() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        let go = ctx.recv().await.is_some();
        let level = ctx.is_interrupted();
        let why = ctx.interrupted().await;
        Ok((go, level, why.reason.to_string(), ctx.is_interrupted()))
    });
    let task = running(&manager, task.await.unwrap()).await;
    task.interrupt("old").await.unwrap();
    task.interrupt("new").await.unwrap();
    task.send("go").await.unwrap();
    assert_eq!(
        soon(task).await.unwrap(),
        (true, true, "new".to_owned(), false)
    );
}

#[tokio::test]
async fn interrupt_is_taken_by_one_of_several_that_wait() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        let (first, second) = (ctx.interrupted(), ctx.interrupted());
        tokio::pin!(first, second);
        tokio::select! { _ = &mut first => {}, _ = &mut second => {} }
        Ok(ctx.is_interrupted())
    });
    let task = running(&manager, task.await.unwrap()).await;
    task.interrupt("once").await.unwrap();
    assert!(!soon(task).await.unwrap());
}

#[tokio::test]
async fn cancel_goes_before_an_interrupt() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        let stop = ctx.cancelled().await;
        // It came before the cancel and still waits to be taken.
        Ok((
            stop.reason.to_string(),
            ctx.interrupted().await.reason.to_string(),
        ))
    });
    let task = running(&manager, task.await.unwrap()).await;
    task.interrupt("before").await.unwrap();
    let cancelled = tokio::spawn({
        let task = task.task();
        async move { task.cancel(Cancel::because("enough")).await }
    });
    soon(cancelled).await.unwrap().unwrap();

    let record = task.record().unwrap().to_json();
    assert_eq!(
        record["outcome"]["late_result"],
        json!(["enough", "before"])
    );
    let late = task.interrupt("after").await;
    let state = State::Cancelled;
    assert_eq!(late, Err(InterruptError::NotRunning { state }));
}

#[tokio::test]
async fn task_that_is_asked_to_stop_is_not_interrupted() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").cooperative().spawn(for_ever);
    let task = running(&manager, task.await.unwrap()).await;
    let stopping = tokio::spawn({
        let task = task.task();
        async move {
            task.cancel(Cancel::because("enough").grace(Duration::from_mins(1)))
                .await
        }
    });
    until(|| task.state() == Some(State::CancelRequested)).await;
    let state = State::CancelRequested;
    assert_eq!(
        task.interrupt("late").await,
        Err(InterruptError::NotRunning { state })
    );
    stopping.abort();
    let unknown = TaskId::from_u128(7);
    let refused = manager.interrupt(unknown, "who?").await;
    assert_eq!(refused, Err(InterruptError::Unknown(unknown)));
}

#[tokio::test]
async fn pending_task_is_not_interrupted_and_its_first_run_is_not_either() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let first = scope
        .task("first")
        .spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) });
    let first = running(&manager, first.await.unwrap()).await;
    let later = scope.task("later").after([first.id()]);
    let later = later
        .spawn(|ctx| async move { Ok(ctx.is_interrupted()) })
        .await
        .unwrap();
    let state = State::Pending;
    assert_eq!(
        later.interrupt("early").await,
        Err(InterruptError::NotRunning { state })
    );
    first.send("go").await.unwrap();
    assert!(!soon(later).await.unwrap());
}
