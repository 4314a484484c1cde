//! Defects of n8n's background tasks that ours must not have.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use understory::{Cancel, Class, Context, Failure, Filter, Manager, Page, State};

use crate::stage::{reaches, settle_down, soon, until, until_cancelled};

fn enough() -> Cancel {
    Cancel::because("enough")
}

#[tokio::test]
async fn cancelled_bodies_that_still_run_count_against_the_limit() {
    let manager = Manager::builder()
        .global_limit(Class::queue(2))
        .build()
        .unwrap();
    let alive = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let mut tasks = Vec::new();
    for _ in 0..6 {
        let (alive, most) = (Arc::clone(&alive), Arc::clone(&most));
        let gate = Arc::clone(&gate);
        let task = manager.scope("s").unnamed().cooperative();
        let task = task.spawn(move |ctx| async move {
            let now = alive.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            ctx.cancelled().await;
            gate.acquire().await.expect("it is open").forget();
            alive.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        });
        tasks.push(task.await.unwrap().task());
    }
    for task in &tasks[..2] {
        reaches(&manager, task.id(), State::Running).await;
    }
    let cancels: Vec<_> = tasks
        .iter()
        .take(2)
        .cloned()
        .map(|task| tokio::spawn(async move { task.cancel(enough()).await }))
        .collect();
    settle_down().await;
    assert_eq!(alive.load(Ordering::SeqCst), 2, "nobody else has started");
    assert_eq!(tasks[2].state(), Some(State::Pending));
    gate.add_permits(2);
    for cancel in cancels {
        soon(cancel).await.unwrap().unwrap();
    }
    reaches(&manager, tasks[3].id(), State::Running).await;
    gate.add_permits(4);
    soon(manager.cancel_all(enough())).await.unwrap();
    until(|| alive.load(Ordering::SeqCst) == 0).await;
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn task_that_is_asked_for_twice_is_found_and_cancelled_until_it_ends() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let id = understory::TaskId::from_u128(77);
    let ran = Arc::new(AtomicUsize::new(0));
    let ask = || {
        let ran = Arc::clone(&ran);
        scope.task("t").id(id).spawn(move |ctx| {
            ran.fetch_add(1, Ordering::SeqCst);
            until_cancelled(ctx)
        })
    };
    let first = ask().await.unwrap();
    let second = ask().await.unwrap();
    assert!(first.is_new() && !second.is_new());
    reaches(&manager, id, State::Running).await;
    assert_eq!(ran.load(Ordering::SeqCst), 1);
    assert_eq!(scope.find("t"), Some(id));
    let report = soon(scope.cancel_scope(enough())).await.unwrap();
    assert_eq!(report.cancelled, [id]);
}

#[tokio::test(start_paused = true)]
async fn only_a_limit_of_ours_is_a_timeout() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let pretends = scope.unnamed().timeout(Duration::from_mins(5));
    let pretends = pretends
        .spawn(|_| async { Err::<(), _>(Failure::new("AbortError: timed out after 300s")) });
    let stopped = scope.unnamed().timeout(Duration::from_mins(5));
    let stopped = stopped.spawn(until_cancelled).await.unwrap();
    let late = scope.unnamed().timeout(Duration::from_secs(1));
    let late = late.spawn(|ctx: Context| async move {
        ctx.cancelled().await;
        Err::<(), _>(Failure::new("aborted"))
    });
    let late = late.await.unwrap();
    soon(stopped.cancel(enough())).await.unwrap();

    let pretends = pretends.await.unwrap().settled().await.unwrap();
    assert_eq!(pretends.state, State::Failed);
    assert_eq!(stopped.state(), Some(State::Cancelled));
    assert_eq!(late.settled().await.unwrap().state, State::TimedOut);
}

#[tokio::test]
async fn late_reader_finds_the_end_and_its_history() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let task = scope.task("t").spawn(|_| async { Ok(3) });
    let task = task.await.unwrap().task();
    soon(task.settled()).await.unwrap();

    let ended = scope
        .list(Filter::all().state(State::Completed), &Page::default())
        .unwrap();
    assert_eq!(ended.records[0].id, task.id());
    let told = crate::stage::story(&manager, task.id()).await;
    assert_eq!(told, ["accepted", "started", "settled"]);
    assert_eq!(
        soon(task.settled()).await.unwrap().state,
        State::Completed,
        "whoever asks late is told at once"
    );
}

#[tokio::test]
async fn record_in_hand_stays_as_it_was() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(until_cancelled);
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Running).await;
    let before = task.record().unwrap();
    let listed = manager.list(&Filter::all(), &Page::default());
    soon(task.cancel(enough())).await.unwrap();

    assert_eq!(before.state, State::Running);
    assert_eq!((&before.stop, &before.outcome), (&None, &None));
    assert_eq!(listed.records[0].state, State::Running);
    assert_eq!(task.state(), Some(State::Cancelled));
}
