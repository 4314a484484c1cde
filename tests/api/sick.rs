//! A store that takes nothing for a while, or takes its time.

use std::sync::Arc;
use std::time::Duration;

use understory::store::{FaultyStore, Latency, MemoryStore};
use understory::{
    Cancel, CancelError, Context, Event, Failure, Filter, Manager, Page, Part, Seq, ShutdownError,
    Since, SpawnError, State, TaskHooks, TaskId,
};

use crate::stage::{has_no_gap, reaches, sees, settle_down, soon, until, until_cancelled};

mod hang;

async fn nothing(_: Context) -> Result<(), Failure> {
    Ok(())
}

fn over(store: &Arc<FaultyStore>) -> Manager {
    Manager::builder().store(Arc::clone(store)).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn p20_sick_store_acknowledges_nothing_and_loses_nothing() {
    let store = Arc::new(FaultyStore::new(MemoryStore::default()).with_latency(Latency::Instant));
    let manager = over(&store);
    let scope = manager.scope("s");
    let worker = scope
        .task("worker")
        .spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) });
    let worker = worker.await.unwrap();
    let stopped = scope.task("stopped").spawn(until_cancelled).await.unwrap();
    reaches(&manager, stopped.id(), State::Running).await;

    store.fail_until_healed();
    let asked = tokio::spawn({
        let scope = scope.clone();
        async move { scope.task("asked").spawn(|_| async { Ok(3) }).await }
    });
    until(|| manager.store_trouble().is_some()).await;
    worker.send("end").await.unwrap();
    let refused = scope.task("late").spawn(nothing).await;
    let cancelled = stopped
        .cancel_tree(Cancel::because("enough").grace(Duration::ZERO))
        .await;

    assert!(matches!(refused, Err(SpawnError::Unavailable(why)) if why.contains("store")));
    assert!(
        matches!(cancelled, Err(CancelError::StoreUnavailable(_))),
        "{cancelled:?}"
    );
    assert!(!asked.is_finished() && scope.find("asked").is_none());
    for task in [worker.id(), stopped.id()] {
        assert_eq!(manager.get(task).unwrap().state, State::Running);
    }

    store.heal();

    assert_eq!(soon(asked).await.unwrap().unwrap().await.unwrap(), 3);
    assert!(soon(worker).await.unwrap());
    assert_eq!(
        soon(stopped.settled()).await.unwrap().state,
        State::Cancelled
    );
    assert_eq!((manager.incarnation(), manager.store_trouble()), (1, None));
    assert!(scope.task("late").spawn(nothing).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn p20_shutdown_does_not_wait_for_a_sick_store() {
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let baseline = alive();
    let store = Arc::new(FaultyStore::new(MemoryStore::default()).with_latency(Latency::Instant));
    let manager = over(&store);
    let task = manager
        .scope("s")
        .task("t")
        .spawn(until_cancelled)
        .await
        .unwrap();
    store.fail_until_healed();

    let ended = soon(manager.shutdown(Duration::ZERO)).await;

    assert!(
        matches!(ended, Err(ShutdownError::StoreUnavailable(_))),
        "{ended:?}"
    );
    assert!(!task.state().unwrap().is_terminal());
    until(|| alive() == baseline).await;
}

#[tokio::test(start_paused = true)]
async fn p20_request_to_stop_that_waits_for_the_store_abandons_nobody() {
    let store = Arc::new(FaultyStore::new(MemoryStore::default()).with_latency(Latency::Instant));
    let manager = over(&store);
    let scope = manager.scope("s");
    let task = scope.task("t").spawn(until_cancelled).await.unwrap();
    let timed = scope.task("timed").timeout(Duration::from_secs(1));
    let timed = timed.spawn(until_cancelled).await.unwrap();
    for id in [task.id(), timed.id()] {
        reaches(&manager, id, State::Running).await;
    }
    store.fail_until_healed();
    let because = Cancel::because("enough").grace(Duration::from_secs(1));

    let cancelled = soon(task.cancel_tree(because)).await;
    assert!(
        matches!(cancelled, Err(CancelError::StoreUnavailable(_))),
        "{cancelled:?}"
    );
    tokio::time::sleep(Duration::from_mins(1)).await;
    store.heal();

    for (task, state) in [(task, State::Cancelled), (timed, State::TimedOut)] {
        let record = soon(task.settled()).await.unwrap();
        assert_eq!((record.state, record.is_abandoned()), (state, false));
    }
}

/// Their time begins with their call, which waits for the store.
#[tokio::test(start_paused = true)]
async fn p26_hooks_have_their_time_when_the_store_works_again() {
    for latency in [Latency::Instant, Latency::Blocking] {
        let store = Arc::new(FaultyStore::new(MemoryStore::default()).with_latency(latency));
        let manager = over(&store);
        let mut feed = manager.subscribe(Since::Seq(Seq(0))).await.unwrap();
        let slow = TaskHooks::new().before_settle(|_| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(())
        });
        let task = manager.scope("s").task("t").hooks(slow);
        let worker = task.spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) });
        let worker = worker.await.unwrap();
        let id = worker.id();
        reaches(&manager, id, State::Running).await;
        store.fail_until_healed();
        worker.send("end").await.unwrap();
        until(|| manager.store_trouble().is_some()).await;
        tokio::time::sleep(Duration::from_secs(6)).await;

        store.heal();

        assert!(soon(worker).await.unwrap());
        let told = |name: &'static str| move |event: &Event| event.what.name() == name;
        let is_over = |event: &Event| told("hook_failed")(event) || told("settled")(event);
        assert_eq!(sees(&mut feed, is_over).await.what.name(), "settled");
    }
}

#[tokio::test(start_paused = true)]
async fn restart_while_the_store_is_sick_is_no_lasting_harm() {
    let store = Arc::new(FaultyStore::new(MemoryStore::default()).with_latency(Latency::Instant));
    let manager = over(&store);
    soon(manager.scope("s").unnamed().spawn(nothing))
        .await
        .unwrap();
    until(|| manager.live() == 0).await;
    store.fail_until_healed();
    let asked = tokio::spawn({
        let scope = manager.scope("s");
        async move { scope.unnamed().spawn(nothing).await }
    });
    until(|| manager.store_trouble().is_some()).await;
    manager.break_part(Part::Manager);
    let unknown = manager.task(TaskId::from_u128(9));
    drop(soon(unknown.cancel(Cancel::because("a request that meets the fault"))).await);

    assert!(matches!(
        soon(asked).await.unwrap(),
        Err(SpawnError::Unknown(_))
    ));
    until(|| manager.incarnation() == 2).await;
    store.heal();

    assert!(
        soon(manager.scope("s").unnamed().spawn(nothing))
            .await
            .is_ok()
    );
    assert_eq!(manager.store_trouble(), None);
}

#[tokio::test]
async fn slow_store_holds_back_answers_and_nothing_else() {
    let store = Arc::new(FaultyStore::new(MemoryStore::default()));
    let manager = over(&store);
    let scope = manager.scope("s");
    let before = scope.task("before").spawn(until_cancelled).await.unwrap();
    reaches(&manager, before.id(), State::Running).await;
    store.hold();
    let asks: Vec<_> = (0..10)
        .map(|number| {
            let scope = scope.clone();
            tokio::spawn(async move {
                scope
                    .unnamed()
                    .spawn(move |_| async move { Ok(number) })
                    .await
            })
        })
        .collect();
    soon(store.until_held(1)).await;
    settle_down().await;
    assert!(asks.iter().all(|ask| !ask.is_finished()));
    assert_eq!((manager.live(), before.state()), (1, Some(State::Running)));

    store.release();

    for (number, ask) in asks.into_iter().enumerate() {
        assert_eq!(
            soon(soon(ask).await.unwrap().unwrap()).await.unwrap(),
            number
        );
    }
    store.fail_next(2);
    assert_eq!(
        soon(scope.unnamed().spawn(|_| async { Ok(5) }))
            .await
            .unwrap()
            .await
            .unwrap(),
        5
    );
    assert_eq!(store.failed(), 2);
}

#[tokio::test]
async fn commit_that_outlives_its_writer_is_found_and_told_once() {
    let store = Arc::new(FaultyStore::new(MemoryStore::default()));
    let manager = over(&store);
    let mut feed = manager.subscribe(Since::Seq(Seq(0))).await.unwrap();
    soon(manager.scope("s").unnamed().spawn(nothing))
        .await
        .unwrap();
    until(|| manager.live() == 0).await;
    store.hold();
    let asked = tokio::spawn({
        let scope = manager.scope("s");
        async move { scope.unnamed().spawn(nothing).await }
    });
    soon(store.until_held(1)).await;
    manager.break_part(Part::Manager);
    let unknown = manager.task(TaskId::from_u128(9));
    drop(soon(unknown.cancel(Cancel::because("a request that meets the fault"))).await);
    let Err(SpawnError::Unknown(id)) = soon(asked).await.unwrap() else {
        panic!("its writer is gone");
    };

    store.release();
    until(|| manager.incarnation() == 2).await;

    let last = soon(manager.scope("s").unnamed().spawn(nothing)).await;
    has_no_gap(&mut feed, last.unwrap().id()).await;
    let record = soon(manager.task(id).settled()).await.unwrap();
    assert_eq!(record.state, State::Interrupted, "its commit was found");
    assert_eq!(manager.incarnation(), 2);
}

#[tokio::test]
async fn spawns_above_the_bound_of_asks_wait_their_turn() {
    let store = Arc::new(FaultyStore::new(MemoryStore::default()));
    let builder = Manager::builder().store(Arc::clone(&store)).asks_max(1);
    let manager = builder.build().unwrap();
    let scope = manager.scope("s");
    store.hold();
    let first = tokio::spawn({
        let scope = scope.clone();
        async move { scope.task("first").spawn(nothing).await }
    });
    soon(store.until_held(1)).await;

    // One that does not get its turn is not asked for at all.
    tokio::select! {
        biased;
        _ = Box::pin(scope.task("second").spawn(nothing)) => panic!("the first waits yet"),
        () = settle_down() => {}
    }
    store.release();
    let first = soon(first).await.unwrap().unwrap();
    let third = soon(scope.task("third").spawn(nothing)).await.unwrap();
    let all = manager.list(&Filter::all(), &Page::default().oldest_first());
    let ids: Vec<_> = all.records.iter().map(|record| record.id).collect();
    assert_eq!(ids, [first.id(), third.id()]);
}
