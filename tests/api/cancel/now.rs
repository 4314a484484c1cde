//! Ends at once: bodies are forced and nobody waits for them.

use std::sync::Arc;

use tokio::sync::Notify;
use understory::{AbandonError, Cancel, Manager, Requester, State, TaskHandle, What};

use super::{enough, seconds};
use crate::stage::{feed_of, for_ever, reaches, sees, soon, story};

/// A task whose body goes on after any request until it is told, and what tells it.
async fn stubborn(manager: &Manager) -> (TaskHandle<u32>, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let task = manager.scope("s").task("t").cooperative();
    let body = {
        let go = Arc::clone(&go);
        |_| async move {
            go.notified().await;
            Ok(7)
        }
    };
    let task = task.grace(seconds(3600)).spawn(body).await.unwrap();
    reaches(manager, task.id(), State::Running).await;
    (task, go)
}

#[tokio::test(start_paused = true)]
async fn cancel_now_is_over_at_once_and_the_name_is_held_until_the_body_stops() {
    let manager = Manager::in_memory();
    let (task, go) = stubborn(&manager).await;
    let mut feed = feed_of(&manager, task.id()).await;
    let begin = tokio::time::Instant::now();

    let report = soon(task.cancel(enough().now())).await.unwrap();

    assert_eq!(report.abandoned, [task.id()]);
    assert_eq!(
        (task.state(), begin.elapsed()),
        (Some(State::Cancelled), seconds(0))
    );
    assert_eq!(manager.scope("s").find("t"), Some(task.id()));
    go.notify_one();
    sees(&mut feed, |event| event.what == What::BodyStopped).await;
    assert_eq!(manager.scope("s").find("t"), None);
}

#[tokio::test(start_paused = true)]
async fn body_that_yields_is_dropped_by_a_cancel_now() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").grace(seconds(3600));
    let task = task.spawn(for_ever).await.unwrap();
    reaches(&manager, task.id(), State::Running).await;
    let mut feed = feed_of(&manager, task.id()).await;
    let all = [
        manager.cancel_all(enough().now()).await.unwrap(),
        manager
            .scope("s")
            .cancel_scope(enough().now())
            .await
            .unwrap(),
    ];
    assert_eq!((all[0].abandoned.len(), all[1].len()), (1, 0));
    sees(&mut feed, |event| event.what == What::BodyStopped).await;
    assert!(story(&manager, task.id()).await.contains(&"aborted"));
}

#[tokio::test(start_paused = true)]
async fn closing_a_scope_now_waits_for_no_body() {
    let manager = Manager::in_memory();
    let ends = manager.scope("s").task("t").grace(seconds(3600));
    let ends = ends.on_scope_close(understory::OnScopeClose::Cancel);
    let ends = ends.cooperative().spawn(for_ever).await.unwrap();
    reaches(&manager, ends.id(), State::Running).await;
    let report = soon(manager.scope("s").close(enough().now()))
        .await
        .unwrap();
    assert_eq!(report.abandoned, [ends.id()]);
}

#[tokio::test(start_paused = true)]
async fn task_that_does_not_react_is_given_up_and_who_waits_hears_of_it() {
    let manager = Manager::in_memory();
    let (task, go) = stubborn(&manager).await;
    let refused = task.abandon("too early").await;
    assert!(matches!(
        refused,
        Err(AbandonError::NotStopping {
            state: State::Running
        })
    ));
    let waits = tokio::spawn({
        let task = task.task();
        async move { task.cancel(Cancel::because("patience")).await.unwrap() }
    });
    reaches(&manager, task.id(), State::CancelRequested).await;

    assert_eq!(
        soon(task.abandon("no patience")).await.unwrap(),
        [task.id()]
    );

    assert_eq!(soon(waits).await.unwrap().abandoned, [task.id()]);
    let record = task.record().unwrap();
    assert!(record.is_abandoned() && record.state == State::Cancelled);
    let request = record.abandon.as_ref().unwrap();
    assert_eq!(
        (&*request.reason, &request.by),
        ("no patience", &Requester::Host)
    );
    assert_eq!(&*record.stop.as_ref().unwrap().reason, "patience");
    go.notify_one();
    let told = [
        "accepted",
        "started",
        "stop_asked",
        "abandon_asked",
        "settled",
    ];
    assert_eq!(story(&manager, task.id()).await, told);
    let unknown = manager.task(understory::TaskId::from_u128(1));
    assert!(matches!(
        unknown.abandon("?").await,
        Err(AbandonError::Unknown(_))
    ));
}
