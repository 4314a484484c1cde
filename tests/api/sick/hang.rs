//! A store whose call never comes back: it holds up nobody for ever.

use std::time::Duration;

use tokio::time::{Instant, advance, sleep};
use understory::store::{FaultyStore, Lease, LeaseAsk, MemoryStore, Store};
use understory::{Cancel, CancelError, Manager, Part, ShutdownError, SpawnError, TaskId};

use super::{nothing, over};
use crate::stage::{Hanging, settle_down, soon, until, until_cancelled};

/// A store whose calls are to hang.
fn hanging() -> Hanging {
    FaultyStore::new(MemoryStore::new()).into()
}

/// What `future` brings while time goes on, which it does not by itself while a call hangs.
async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> T {
    let end = Instant::now() + limit;
    tokio::pin!(future);
    loop {
        tokio::select! {
            biased;
            done = &mut future => return done,
            () = settle_down() => advance(Duration::from_millis(100)).await,
        }
        assert!(Instant::now() < end, "it takes longer than {limit:?}");
    }
}

/// A manager with a commit that does not come back.
async fn over_hanging(store: &Hanging) -> Manager {
    let manager = over(store);
    let scope = manager.scope("s");
    let task = soon(scope.task("before").spawn(until_cancelled));
    drop(task.await.unwrap());
    store.hold();
    tokio::spawn(async move { scope.unnamed().spawn(nothing).await.map(drop) });
    soon(store.until_held(1)).await;
    manager
}

/// Its manager fails, so that everything is to start again from a store that hangs.
async fn fail(manager: &Manager) {
    manager.break_part(Part::Manager);
    let unknown = manager.task(TaskId::from_u128(9));
    let asked = unknown.cancel(Cancel::because("a request that meets the fault"));
    drop(within(Duration::from_secs(10), asked).await);
}

/// The end of a manager is told, although nothing of it is durable.
async fn comes_back(manager: &Manager, is_shutdown: bool) {
    if is_shutdown {
        let ended = manager.shutdown(Duration::ZERO);
        let ended = within(Duration::from_mins(1), ended).await;
        assert!(matches!(ended, Err(ShutdownError::StoreUnavailable(_))));
    } else {
        let ended = within(Duration::from_secs(10), manager.leave()).await;
        ended.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn p19_shutdown_and_leave_come_back_although_a_commit_of_a_failed_actor_never_does() {
    for is_shutdown in [true, false] {
        let store = hanging();
        let manager = over_hanging(&store).await;
        fail(&manager).await;

        let sick = async { until(|| manager.store_trouble().is_some()).await };
        within(Duration::from_secs(10), sick).await;

        let why = manager.store_trouble().unwrap();
        assert!(why.contains("still under way"), "{why}");
        let refused = manager.scope("s").unnamed().spawn(nothing);
        let refused = within(Duration::from_secs(1), refused).await;
        assert!(
            matches!(refused, Err(SpawnError::Unavailable(_))),
            "{refused:?}"
        );
        comes_back(&manager, is_shutdown).await;
    }
}

#[tokio::test(start_paused = true)]
async fn p19_commit_that_hangs_is_told_and_holds_up_no_cancel_and_no_shutdown() {
    let store = hanging();
    let manager = over_hanging(&store).await;
    assert_eq!(manager.store_trouble(), None);

    let scope = manager.scope("s");
    let task = manager.task(scope.find("before").unwrap());
    let cancelled = task.cancel(Cancel::because("it is enough").grace(Duration::ZERO));
    let cancelled = within(Duration::from_mins(1), cancelled).await;

    let Err(CancelError::StoreUnavailable(why)) = cancelled else {
        panic!("nothing is durable: {cancelled:?}");
    };
    assert!(why.contains("has not come back"), "{why}");
    assert!(manager.store_trouble().is_some());
    comes_back(&manager, true).await;
}

#[tokio::test(start_paused = true)]
async fn p19_manager_that_is_opened_over_a_store_that_hangs_can_be_shut_down() {
    for is_shutdown in [true, false] {
        let store = hanging();
        store.hold_loads();
        let manager = over(&store);
        soon(store.until_held(1)).await;
        comes_back(&manager, is_shutdown).await;
    }
}

/// The lease of a store as it is now.
fn lease(store: &FaultyStore) -> Lease {
    store.lease(&LeaseAsk::Look).unwrap()
}

#[tokio::test(start_paused = true)]
async fn leave_waits_some_seconds_for_a_commit_and_the_store_is_free_then() {
    let store = hanging();
    let manager = over_hanging(&store).await;
    let leaving = tokio::spawn(async move { manager.leave().await });
    within(Duration::from_mins(1), sleep(Duration::from_secs(4))).await;
    assert!(!leaving.is_finished() && lease(&store).owner.is_some());

    store.release();

    soon(leaving).await.unwrap().unwrap();
    assert_eq!(lease(&store).owner, None);
}

#[tokio::test(start_paused = true)]
async fn store_is_free_when_a_commit_comes_back_after_its_manager_has_left() {
    let store = hanging();
    let manager = over_hanging(&store).await;
    comes_back(&manager, false).await;
    assert!(lease(&store).owner.is_some());

    store.release();

    until(|| lease(&store).owner.is_none()).await;
}
