//! Hidden tasks: out of sight and out of limits, and never lost.

use std::time::Duration;

use tokio::sync::oneshot;
use understory::{
    Class, Context, Failure, FeedItem, Filter, HiddenError, Manager, Page, Since, State, What,
};

use crate::stage::{feed_of, sees, settle_down, soon, until, until_cancelled};

async fn until_told(ctx: Context) -> Result<(), Failure> {
    match ctx.recv().await {
        Some(message) if message.body == "fail" => Err(Failure::new("told to fail")),
        _ => Ok(()),
    }
}

#[tokio::test]
async fn hidden_tasks_are_in_no_list_count_snapshot_or_feed_unless_asked_for() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let mut shown = manager.subscribe(Since::Now).await.unwrap();
    let hidden = Filter::all().hidden();
    let mut unseen = manager
        .subscribe_to(Since::Now, hidden.clone())
        .await
        .unwrap();
    let flush = scope
        .task("flush")
        .label("why", "disk")
        .hidden()
        .spawn(until_cancelled);
    let flush = flush.await.unwrap();
    let plain = scope.task("plain").spawn(until_cancelled).await.unwrap();

    let page = Page::default();
    let ids = |filter: Filter| {
        let listing = manager.list(&filter, &page);
        assert_eq!(listing.total, listing.records.len());
        listing
            .records
            .iter()
            .map(|record| record.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(Filter::all()), [plain.id()]);
    assert_eq!(ids(Filter::all().live()), [plain.id()]);
    assert_eq!(ids(hidden.clone()), [flush.id()]);
    assert_eq!(ids(hidden.label("why", "disk")), [flush.id()]);
    assert_eq!(ids(Filter::all().with_hidden()), [plain.id(), flush.id()]);
    assert_eq!(ids(Filter::all().task(flush.id())), [flush.id()]);
    assert_eq!(scope.list(Filter::all(), &page).unwrap().total, 1);
    assert_eq!((manager.counts().total(), manager.live()), (1, 1));
    assert_eq!(flush.record().unwrap().to_json()["hidden"], true);
    let mut snapshot = manager.subscribe(Since::Snapshot).await.unwrap();
    let Some(FeedItem::Snapshot { records, .. }) = soon(snapshot.next()).await else {
        panic!("the snapshot comes first")
    };
    assert_eq!(records.len(), 1);
    let Some(FeedItem::Event(event)) = soon(shown.next()).await else {
        panic!("an event")
    };
    assert_eq!(event.task, plain.id());
    let Some(FeedItem::Event(event)) = soon(unseen.next()).await else {
        panic!("an event")
    };
    assert_eq!(event.task, flush.id());
}

#[tokio::test]
async fn hidden_tasks_take_no_slot_of_the_users_limits() {
    let manager = Manager::builder()
        .global_limit(Class::refuse(1))
        .per_scope_limit(Class::refuse(1))
        .kind_limit("k", Class::refuse(1))
        .limit("disk", Class::refuse(1));
    let manager = manager.build().unwrap();
    let task = || manager.scope("s").unnamed().kind("k");
    for _ in 0..3 {
        task().hidden().spawn(until_cancelled).await.unwrap();
    }
    task().spawn(until_cancelled).await.unwrap();
    assert!(task().spawn(until_cancelled).await.is_err());

    task()
        .hidden()
        .limit("disk")
        .spawn(until_cancelled)
        .await
        .unwrap();
    assert!(
        task()
            .hidden()
            .limit("disk")
            .spawn(until_cancelled)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn what_a_hidden_body_spawns_is_hidden() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let flush = scope.task("flush").hidden().spawn(|ctx| async move {
        ctx.task("part").spawn(|_| async { Ok(()) }).await?.await?;
        Ok(())
    });
    soon(flush.await.unwrap()).await.unwrap();
    assert_eq!(manager.counts().total(), 0);
    assert_eq!(
        manager
            .list(&Filter::all().hidden(), &Page::default())
            .total,
        2
    );
}

#[tokio::test]
async fn await_hidden_waits_for_all_also_late_ones_and_tells_every_failure_once() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let first = scope
        .task("first")
        .hidden()
        .spawn(until_told)
        .await
        .unwrap();
    let second = scope
        .task("second")
        .hidden()
        .spawn(until_told)
        .await
        .unwrap();
    let elsewhere = manager
        .scope("t")
        .task("other")
        .hidden()
        .spawn(until_told)
        .await
        .unwrap();
    let early = scope.task("early").hidden();
    let early = early
        .spawn(|_| async { Err::<(), _>(Failure::new("early")) })
        .await
        .unwrap();
    soon(early.settled()).await.unwrap();
    let waits = tokio::spawn({
        let scope = scope.clone();
        async move { scope.await_hidden().await }
    });

    first.send("fail").await.unwrap();
    soon(first.settled()).await.unwrap();
    let late = scope.task("late").hidden().spawn(until_told).await.unwrap();
    second.send("go").await.unwrap();
    soon(second.settled()).await.unwrap();
    assert!(!waits.is_finished());
    late.send("fail").await.unwrap();

    let Err(HiddenError::Failed(failed)) = soon(waits).await.unwrap() else {
        panic!("three have failed")
    };
    let names: Vec<_> = failed
        .iter()
        .map(|record| record.spec.segment(record.id))
        .collect();
    assert_eq!(names, ["first", "early", "late"]);
    soon(scope.await_hidden()).await.unwrap();
    assert!(!elsewhere.state().is_some_and(State::is_terminal));
}

#[tokio::test]
async fn hidden_body_that_awaits_the_hidden_does_not_wait_for_itself() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let task = scope.task("flush").hidden().spawn({
        let scope = scope.clone();
        |_| async move {
            scope.await_hidden().await?;
            Ok(())
        }
    });
    soon(task.await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn shutdown_stops_hidden_tasks_and_a_cancel_reaches_them() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let one = scope
        .task("one")
        .hidden()
        .spawn(until_cancelled)
        .await
        .unwrap();
    let two = scope
        .task("two")
        .hidden()
        .spawn(until_cancelled)
        .await
        .unwrap();
    one.cancel(understory::Cancel::because("enough"))
        .await
        .unwrap();
    assert_eq!(one.state(), Some(State::Cancelled));
    soon(scope.task("x").spawn(|_| async { Ok(()) }).await.unwrap())
        .await
        .unwrap();
    manager.shutdown(Duration::from_secs(1)).await.unwrap();
    assert_eq!(two.state(), Some(State::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn failure_is_told_once_also_when_its_body_stops_later() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let deaf = scope.task("deaf").hidden().cooperative();
    let deaf = deaf.timeout(Duration::from_secs(1)).grace(Duration::ZERO);
    let (tell, told) = oneshot::channel::<()>();
    let deaf = deaf.spawn(|_| async { Ok(told.await.is_ok()) });
    let deaf = deaf.await.unwrap();
    let mut feed = feed_of(&manager, deaf.id()).await;
    let Err(HiddenError::Failed(failed)) = soon(scope.await_hidden()).await else {
        panic!("its time is over")
    };
    assert_eq!((failed.len(), failed[0].id), (1, deaf.id()));
    assert!(failed[0].is_abandoned());

    tell.send(()).unwrap();
    sees(&mut feed, |event| event.what == What::BodyStopped).await;
    assert!(!deaf.record().unwrap().is_abandoned());
    soon(scope.await_hidden()).await.unwrap();
}

#[tokio::test]
async fn failures_are_told_though_their_records_are_gone() {
    let manager = Manager::builder().retain(State::Failed, Duration::ZERO);
    let manager = manager.build().unwrap();
    let scope = manager.scope("s");
    let mut tasks = Vec::new();
    for name in ["one", "two"] {
        let task = scope.task(name).hidden().spawn(until_told).await.unwrap();
        tasks.push(task);
    }
    let waits = tokio::spawn({
        let scope = scope.clone();
        async move { scope.await_hidden().await }
    });
    settle_down().await;
    for task in tasks.iter().rev() {
        task.send("fail").await.unwrap();
        soon(task.settled()).await.unwrap();
        until(|| task.record().is_none()).await;
    }

    let Err(HiddenError::Failed(failed)) = soon(waits).await.unwrap() else {
        panic!("both have failed")
    };
    let ids: Vec<_> = failed.iter().map(|record| record.id).collect();
    assert_eq!(ids, [tasks[0].id(), tasks[1].id()]);
    soon(scope.await_hidden()).await.unwrap();
}
