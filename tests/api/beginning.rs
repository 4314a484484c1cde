//! A manager that has just been built, over a store that another one left behind.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use understory::store::{MemoryStore, Store};
use understory::{
    Builder, Cancel, Context, Event, External, Failure, FeedItem, Filter, Liveness, Manager, Mode,
    Probe, Since, State, TaskId, Wake,
};

use crate::stage::{OnRead, for_ever, settle_down, soon, until};

async fn double(_: Context, input: Value) -> Result<Value, Failure> {
    Ok(json!(input.as_i64().map(|number| 2 * number)))
}

async fn never(_: Context, _: Value) -> Result<Value, Failure> {
    std::future::pending().await
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

#[tokio::test]
async fn subscription_from_now_on_tells_nothing_of_before() {
    let (store, id) = left_pending().await;
    let first = over(&store).build().unwrap();
    until(|| state_in(&store, id) == Some(State::Completed)).await;
    first.leave().await.unwrap();

    let next = over(&store).build().unwrap();
    let mut feed = soon(next.subscribe(Since::Now)).await.unwrap();
    let new = next.scope("s").task("new").spawn(for_ever).await.unwrap();

    let Some(FeedItem::Event(event)) = soon(feed.next()).await else {
        panic!("an event comes first");
    };
    assert_eq!(event.task, new.id());
}

#[tokio::test]
async fn snapshot_has_the_tasks_of_before() {
    let (store, id) = left_pending().await;
    let builder = Manager::builder().executor("double", never);

    let next = builder.store(Arc::clone(&store)).build().unwrap();
    let mut feed = soon(next.subscribe(Since::Snapshot)).await.unwrap();

    let Some(FeedItem::Snapshot { records, .. }) = soon(feed.next()).await else {
        panic!("the snapshot comes first");
    };
    assert_eq!(records.iter().map(|it| it.id).collect::<Vec<_>>(), [id]);
}

#[tokio::test]
async fn group_of_before_is_waited_for() {
    let (store, id) = left_pending().await;
    let next = over(&store).build().unwrap();
    soon(next.group_settled(Filter::all())).await.unwrap();
    assert_eq!(next.task(id).state(), Some(State::Completed));
}

#[tokio::test]
async fn end_of_a_task_of_before_is_awaited() {
    let (store, id) = left_pending().await;
    let next = over(&store).build().unwrap();
    let record = soon(next.task(id).settled()).await.unwrap();
    assert_eq!(record.state, State::Completed);

    let (store, id) = left_pending().await;
    let next = over(&store).build().unwrap();
    let first = soon(next.wait_any(&[next.task(id)])).await.unwrap();
    assert_eq!(first.map(|(_, record)| record.id), Some(id));

    let (store, id) = left_pending().await;
    let next = over(&store).build().unwrap();
    let waited = soon(next.wait(&[next.task(id)]).all()).await.unwrap();
    assert_eq!(waited.done.len(), 1);
}

#[tokio::test]
async fn task_of_before_is_sent_to_and_cancelled() {
    let again = |store: &Arc<MemoryStore>| over(store).executor("double", never).build().unwrap();
    let (store, id) = left_pending().await;
    let next = again(&store);
    soon(next.task(id).send("hello")).await.unwrap();
    soon(next.shutdown(Duration::ZERO)).await.unwrap();

    let (store, _) = left_pending().await;
    let next = again(&store);
    soon(next.scope("s").send("t", "hello")).await.unwrap();
    soon(next.shutdown(Duration::ZERO)).await.unwrap();

    let (store, id) = left_pending().await;
    let next = again(&store);
    soon(next.task(id).send_durable("hello")).await.unwrap();
    soon(next.shutdown(Duration::ZERO)).await.unwrap();

    let (store, id) = left_pending().await;
    let next = again(&store);
    let scope = next.scope("s");
    let asked = scope.cancel(id, Cancel::because("enough"));
    assert_eq!(soon(asked).await.unwrap().len(), 1);
}

#[tokio::test]
async fn hidden_tasks_of_before_are_waited_for() {
    let store = Arc::new(MemoryStore::new());
    let producer = over(&store).mode(Mode::Producer).build().unwrap();
    let task = producer.scope("s").task("t").hidden();
    let id = task.spawn_kind("double", 4).await.unwrap().id();
    producer.leave().await.unwrap();

    let next = over(&store).build().unwrap();
    soon(next.scope("s").await_hidden()).await.unwrap();
    assert_eq!(next.task(id).state(), Some(State::Completed));
}

#[tokio::test]
async fn tasks_of_before_are_drained() {
    let (store, id) = left_pending().await;
    let next = over(&store).build().unwrap();
    let drained = next.drain(Duration::from_mins(1), Duration::ZERO);
    assert_eq!(soon(drained).await.unwrap().cancelled, []);
    assert_eq!(next.task(id).state(), Some(State::Completed));
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn nobody_waits_for_what_a_manager_that_never_begins_would_show() {
    use understory::store::FaultyStore;
    use understory::{HiddenError, SubscribeError};

    let store = FaultyStore::new(MemoryStore::new());
    store.damage_until_healed();
    let manager = Manager::builder().store(store).build().unwrap();

    for since in [Since::Now, Since::Snapshot] {
        let refused = soon(manager.subscribe(since)).await;
        assert!(matches!(refused, Err(SubscribeError::Stopped)), "{since:?}");
    }
    let refused = soon(manager.group_settled(Filter::all())).await;
    assert!(matches!(refused, Err(SubscribeError::Stopped)));
    let refused = soon(manager.scope("s").await_hidden()).await;
    assert!(matches!(refused, Err(HiddenError::Gone)));
    drop(soon(manager.drain(Duration::from_hours(1), Duration::ZERO)).await);
}

/// The events of before are read by page, and the feed keeps next to nothing of them.
#[tokio::test]
async fn no_more_of_the_past_is_held_at_once_than_the_feed_keeps_and_a_page() {
    let (given, most) = (
        Arc::new(Mutex::new(Vec::new())),
        Arc::new(AtomicUsize::new(0)),
    );
    let store = {
        let (given, most) = (Arc::clone(&given), Arc::clone(&most));
        Arc::new(OnRead::new(MemoryStore::new(), move |page| {
            let mut given = given.lock().unwrap();
            let held = given
                .iter()
                .filter(|it: &&Weak<Event>| it.strong_count() > 0);
            most.fetch_max(held.count(), Ordering::SeqCst);
            // Of those, the store holds none itself.
            let copies: Vec<_> = page.iter().map(|it| Arc::new(Event::clone(it))).collect();
            given.extend(copies.iter().map(Arc::downgrade));
            Ok(copies)
        }))
    };
    let builder = || {
        Manager::builder()
            .feed_bytes_max(100)
            .store(Arc::clone(&store))
    };
    let first = builder().build().unwrap();
    let task = first.scope("s").task("t").spawn(|ctx| async move {
        for _ in 0..2_000 {
            ctx.output("x".repeat(60)).await?;
        }
        Ok(())
    });
    soon(task.await.unwrap()).await.unwrap();
    first.leave().await.unwrap();

    let next = builder().build().unwrap();
    soon(next.scope("s").task("t").spawn(for_ever))
        .await
        .unwrap();

    assert!(given.lock().unwrap().len() > 2_000, "all was read");
    let most = most.load(Ordering::SeqCst);
    assert!(most < 9, "{most} were held when the next page was read");
}
