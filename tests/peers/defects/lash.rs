//! Defects of lash's task host that ours must not have.

use understory::{Cancel, Filter, Manager, Page, State, TaskId};

use crate::stage::{feed_of, reaches, sees, settle_down, soon, story, until_cancelled};

#[tokio::test]
async fn each_change_is_one_event_and_progress_changes_no_state() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        ctx.progress("half").await?;
        until_cancelled(ctx).await
    });
    let task = task.await.unwrap();
    let mut feed = feed_of(&manager, task.id()).await;
    let progress = sees(&mut feed, |event| event.what.name() == "progress").await;
    assert_eq!(progress.state, State::Running);
    soon(task.cancel(Cancel::because("enough"))).await.unwrap();
    settle_down().await;

    let told = story(&manager, task.id()).await;
    assert_eq!(
        told,
        ["accepted", "started", "progress", "stop_asked", "settled"]
    );
}

#[tokio::test]
async fn end_is_told_also_to_those_who_list_live_tasks_only() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let live = Filter::all().live();
    let feed = manager.subscribe_to(understory::Since::Now, live.clone());
    let mut feed = feed.await.unwrap();
    let task = scope.task("t").spawn(|_| async { Ok(()) }).await.unwrap();
    soon(task.settled()).await.unwrap();

    assert_eq!(scope.list(live, &Page::default()).unwrap().total, 0);
    let end = sees(&mut feed, |event| event.what.name() == "settled").await;
    assert_eq!((end.task, end.state), (task.id(), State::Completed));
}

#[tokio::test]
async fn word_about_a_task_that_was_moved_ends_it_where_it_is_now() {
    let manager = Manager::in_memory();
    let (from, to) = (manager.scope("from"), manager.scope("to"));
    let task = from.task("t").external().await.unwrap();
    manager.task(task.id()).transfer("to").await.unwrap();
    task.complete(1).await.unwrap();

    let record = soon(task.settled()).await.unwrap();
    assert_eq!(record.state, State::Completed);
    assert_eq!(record.scope().as_str(), "to");
    for (scope, total) in [(&from, 0), (&to, 1)] {
        let listing = scope.list(Filter::all(), &Page::default()).unwrap();
        assert_eq!(listing.total, total);
    }
}

#[tokio::test]
async fn one_id_is_one_task_in_all_scopes() {
    let manager = Manager::in_memory();
    let id = TaskId::from_u128(9);
    let ask = |scope: &str| manager.scope(scope).unnamed().id(id).external();
    let mine = ask("mine").await.unwrap();
    assert!(ask("yours").await.is_err());
    mine.complete(1).await.unwrap();
    assert!(ask("yours").await.is_err(), "its record is kept");
    assert_eq!(manager.get(id).unwrap().scope().as_str(), "mine");
}

#[tokio::test]
async fn ended_task_is_revived_by_no_word_and_no_cancel() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let task = scope.task("t").external().await.unwrap();
    reaches(&manager, task.id(), State::Running).await;
    task.complete(1).await.unwrap();
    let end = task.record().unwrap();

    assert!(task.running().await.is_err());
    assert!(task.waiting().await.is_err());
    assert!(task.fail(understory::Failure::new("late")).await.is_err());
    assert!(task.unregister().await.is_err());
    let report = soon(task.cancel(Cancel::because("late"))).await.unwrap();
    assert_eq!(report.already_ended, [task.id()]);
    assert_eq!(task.record().unwrap(), end);
    assert_eq!(story(&manager, task.id()).await.len(), 3);
}
