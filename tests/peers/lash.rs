//! What lash's suites test of its task host and of its processes, on our face.
//!
//! *Not here*: what `tests/api` shows already; `coverage.tsv` names it.

use serde_json::json;
use understory::{
    Cancel, Class, Context, Failure, Filter, Kind, Manager, Page, ScopeRef, State, Wait,
};

use crate::stage::{reaches, soon, story, until, until_cancelled};

fn listed(scope: &ScopeRef, filter: Filter) -> usize {
    scope.list(filter, &Page::default()).unwrap().total
}

#[tokio::test]
async fn external_task_goes_from_its_registration_to_its_summary() {
    let manager = Manager::builder()
        .kind_limit("monitor", Class::queue(1))
        .build()
        .unwrap();
    let scope = manager.scope("session");
    let ask = || scope.unnamed().kind("monitor").label("child", "session-2");
    let first = ask().external().await.unwrap();
    let task = ask().external().await.unwrap();
    assert_eq!(task.state(), Some(State::Pending));
    first.complete("none").await.unwrap();
    reaches(&manager, task.id(), State::Running).await;

    let monitors = || Filter::all().kind(Kind::new("monitor").unwrap());
    assert_eq!(listed(&scope, monitors().live()), 1);
    task.progress("half").await.unwrap();
    task.complete(json!({ "summary": "all quiet" }))
        .await
        .unwrap();

    let record = soon(task.settled()).await.unwrap();
    assert!(record.ended_at.is_some());
    let shown = record.to_json();
    assert_eq!(shown["outcome"]["value"]["summary"], "all quiet");
    assert_eq!(shown["labels"]["child"], "session-2");
    assert_eq!(listed(&scope, monitors().live()), 0);
    assert_eq!(listed(&scope, monitors()), 2);
}

/// A body that spawns `width` bodies like it, `depth` times, and awaits each.
fn nested(
    ctx: Context,
    depth: u32,
    width: u32,
) -> std::pin::Pin<Box<dyn Future<Output = Result<u32, Failure>> + Send>> {
    Box::pin(async move {
        let mut leaves = u32::from(depth == 0);
        let mut below = Vec::new();
        for _ in 0..if depth == 0 { 0 } else { width } {
            let child = ctx.unnamed().limit("work");
            let child = child.spawn(move |ctx| nested(ctx, depth - 1, width));
            below.push(child.await?);
        }
        for child in below {
            leaves += child.await?;
        }
        Ok(leaves)
    })
}

#[tokio::test]
async fn tree_of_waiting_parents_completes_with_a_single_slot() {
    for (slots, depth, width) in [(1, 1, 1), (1, 3, 1), (1, 2, 4), (2, 3, 3)] {
        let manager = Manager::builder()
            .limit("work", Class::queue(slots))
            .build()
            .unwrap();
        let root = manager.scope("s").task("top").limit("work");
        let root = root.spawn(move |ctx| nested(ctx, depth, width));
        let leaves = soon(root.await.unwrap()).await.unwrap();
        assert_eq!(leaves, width.pow(depth));
        let work = manager.capacity("work").await.unwrap().unwrap();
        assert_eq!((work.in_use, work.queued), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_who_waits_is_told_the_same_end() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t");
    let task = task.spawn(|ctx| async move { Ok(ctx.recv().await.map(|message| message.body)) });
    let task = task.await.unwrap();
    let waits: Vec<_> = (0..64)
        .map(|_| {
            let task = task.task();
            tokio::spawn(async move { task.settled().await.unwrap() })
        })
        .collect();
    let sender = task.task();
    tokio::spawn(async move { sender.send("go").await });
    let mut told = Vec::new();
    for wait in waits {
        told.push(soon(wait).await.unwrap());
    }
    told.push(task.settled().await.unwrap());
    let end = manager.get(task.id()).unwrap();
    assert_eq!(end.state, State::Completed);
    for record in told {
        assert_eq!(record.outcome, end.outcome);
    }
}

#[tokio::test]
async fn what_a_task_waits_for_is_shown_and_gone_with_its_end() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let task = scope.task("t").spawn(|ctx| async move {
        let answer = ctx.ask("which", "red or blue?").await?;
        Ok(answer)
    });
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Waiting).await;
    let record = task.record().unwrap();
    let wait = record.wait.as_ref().map(Wait::name);
    assert!(wait.is_some());
    assert_eq!(listed(&scope, Filter::all().waits_for(wait.unwrap())), 1);

    soon(task.cancel(Cancel::because("enough"))).await.unwrap();
    let record = task.record().unwrap();
    assert_eq!((record.state, &record.wait), (State::Cancelled, &None));
}

#[tokio::test]
async fn group_of_tasks_is_cancelled_and_each_is_told_of() {
    let manager = Manager::in_memory();
    let scope = manager.scope("session");
    let mut ids = Vec::new();
    for _ in 0..3 {
        let task = scope.unnamed().spawn(until_cancelled).await.unwrap();
        ids.push(task.id());
    }
    let done = scope.unnamed().spawn(|_| async { Ok(()) }).await.unwrap();
    soon(done.settled()).await.unwrap();
    let report = soon(scope.cancel_scope(Cancel::because("closed"))).await;

    let mut cancelled = report.unwrap().cancelled;
    cancelled.sort();
    assert_eq!(cancelled, ids);
    for id in ids {
        assert_eq!(story(&manager, id).await.last(), Some(&"settled"));
        assert_eq!(manager.get(id).unwrap().state, State::Cancelled);
    }
    assert_eq!(done.state(), Some(State::Completed));
}

#[tokio::test]
async fn subscriber_that_was_away_catches_up_from_the_log() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let mut feed = scope.subscribe(understory::Since::Now).await.unwrap();
    let first = scope.task("first").spawn(|_| async { Ok(()) });
    soon(first.await.unwrap()).await.unwrap();
    crate::stage::sees(&mut feed, |event| event.what.name() == "settled").await;
    let seen = feed.seq();
    drop(feed);

    let second = scope.task("second").spawn(|_| async { Ok(()) });
    let second = second.await.unwrap();
    let id = second.id();
    soon(second).await.unwrap();
    until(|| manager.live() == 0).await;
    let again = scope.subscribe(understory::Since::Seq(seen)).await;
    let mut again = again.unwrap();
    let mut names = Vec::new();
    while names.last() != Some(&"settled") {
        let event = crate::stage::sees(&mut again, |_| true).await;
        assert_eq!(event.task, id, "what was told is not told again");
        names.push(event.what.name());
    }
    assert_eq!(names, ["accepted", "started", "settled"]);
}
