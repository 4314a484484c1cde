//! Who may write a store: what a manager does that waits for it, holds it, and loses it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use understory::store::{
    DRIFT_MAX, FaultyStore, Holder, LEASE_TTL, LEASE_TTL_MIN, Lease, LeaseAsk, MemoryStore, Owner,
    Store, Tenancy,
};
use understory::{BuildError, Manager, Outcome, Part, ScopeRef, SpawnError, State, TaskHandle};

use crate::stage::{reaches, soon, until, until_cancelled};

mod tenure;

const SOMEBODY: Owner = Owner::from_u128(1);
const SOON: Duration = Duration::from_secs(5);

fn over(store: impl Store) -> Manager {
    Manager::builder().store(store).build().unwrap()
}

/// A store of a place that others open, too.
fn shared(place: &Arc<MemoryStore>) -> Arc<FaultyStore> {
    Arc::new(FaultyStore::new(Arc::clone(place)).with_tenancy(Tenancy::Shared))
}

fn look(store: &impl Store) -> Lease {
    store.lease(&LeaseAsk::Look).unwrap()
}

/// Somebody takes the lease.
fn claim(store: &impl Store) -> Holder {
    let ask = LeaseAsk::Claim {
        owner: SOMEBODY,
        ttl: LEASE_TTL,
        instead_of: look(store),
    };
    store.lease(&ask).unwrap().holder().unwrap()
}

/// A task that runs until it is dropped, and what tells when that is.
async fn spawn_probe(scope: &ScopeRef) -> (TaskHandle<()>, oneshot::Receiver<()>) {
    let (alive, gone) = oneshot::channel();
    let body = async move |_| {
        let _alive: oneshot::Sender<()> = alive;
        std::future::pending().await
    };
    (scope.task("probe").spawn(body).await.unwrap(), gone)
}

async fn is_dropped(gone: oneshot::Receiver<()>) {
    assert!(soon(gone).await.is_err(), "it is dropped, never sent");
}

/// The manager has the store that it waited for.
async fn takes_over(manager: &Manager) {
    soon(async {
        while manager.store_trouble().is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

/// The manager is over for good, and says that its store is somebody else's.
async fn has_ended(manager: &Manager) {
    until(|| manager.store_trouble().is_some()).await;
    let refused = soon(async {
        loop {
            match manager.scope("s").unnamed().spawn(until_cancelled).await {
                // It is about to end.
                Err(SpawnError::Unknown(_)) => {}
                answer => return answer,
            }
        }
    });
    let refused = refused.await;
    let Err(SpawnError::Unavailable(why)) = refused else {
        panic!("its store is somebody else's, but the answer is {refused:?}");
    };
    assert!(why.contains("Manager::store_trouble"), "{why}");
}

#[tokio::test]
async fn manager_that_was_taken_over_acknowledges_nothing_more_and_says_why() {
    let place = Arc::new(MemoryStore::new());
    let first = over(Arc::clone(&place));
    let (task, gone) = spawn_probe(&first.scope("s")).await;
    let id = task.id();
    reaches(&first, id, State::Running).await;

    let second = over(Arc::clone(&place));

    until(|| {
        second
            .get(id)
            .is_some_and(|it| it.state == State::Interrupted)
    })
    .await;
    let before = place.load().unwrap();
    let late = soon(first.scope("s").task("late").spawn(until_cancelled)).await;
    assert!(late.is_err(), "{late:?}");
    has_ended(&first).await;
    is_dropped(gone).await;
    let why = first.store_trouble().unwrap();
    let owner = look(&place).owner.unwrap().to_string();
    assert!(why.contains("taken over") && why.contains(&owner), "{why}");
    assert_eq!(place.load().unwrap(), before, "nothing of it was written");
    assert_eq!(second.store_trouble(), None);
    let goes_on = second.scope("s").task("more").spawn(|_| async { Ok(7) });
    assert_eq!(soon(goes_on.await.unwrap()).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn lease_lasts_as_long_as_the_host_says_and_is_renewed_in_time() {
    for ttl in [LEASE_TTL_MIN, Duration::from_mins(5)] {
        let place = Arc::new(MemoryStore::new());
        let builder = Manager::builder().lease_ttl(ttl);
        let manager = builder.store(shared(&place)).build().unwrap();
        let (task, _gone) = spawn_probe(&manager.scope("s")).await;
        reaches(&manager, task.id(), State::Running).await;
        let before = look(&place);
        assert_eq!(before.ttl, ttl);

        for _ in 0..30 {
            tokio::time::sleep(ttl / 3).await;
        }

        let renewals = look(&place).renewal - before.renewal;
        assert!((28..=31).contains(&renewals), "{ttl:?}: {renewals}");
        assert_eq!(manager.store_trouble(), None);
    }
    let builder = Manager::builder().lease_ttl(LEASE_TTL_MIN / 2);
    let error = builder.build().unwrap_err();
    assert!(matches!(error, BuildError::ShortLease(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn next_manager_waits_until_a_lease_that_nobody_renews_is_over() {
    let place = Arc::new(MemoryStore::new());
    let dead = claim(&place);
    let began = Instant::now();
    let manager = over(shared(&place));

    until(|| manager.store_trouble().is_some()).await;
    let why = manager.store_trouble().unwrap();
    assert!(why.contains(&dead.owner.to_string()), "{why}");
    let refused = manager.scope("s").task("t").spawn(until_cancelled).await;
    assert!(matches!(refused, Err(SpawnError::Unavailable(_))));
    assert_eq!(look(&place).holder(), Some(dead));

    takes_over(&manager).await;
    let elapsed = began.elapsed();
    assert!(elapsed >= LEASE_TTL + DRIFT_MAX, "{elapsed:?}");
    assert!(elapsed <= LEASE_TTL + DRIFT_MAX + SOON, "{elapsed:?}");
    assert_eq!(look(&place).epoch, dead.epoch + 1);
    let task = manager.scope("s").task("t").spawn(|_| async { Ok(1) });
    assert_eq!(soon(task.await.unwrap()).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn lease_that_is_renewed_is_never_taken_and_one_that_is_released_at_once() {
    let place = Arc::new(MemoryStore::new());
    let first = over(shared(&place));
    let (task, gone) = spawn_probe(&first.scope("s")).await;
    reaches(&first, task.id(), State::Running).await;
    let holder = look(&place).holder();
    let second = over(shared(&place));

    for _ in 0..60 {
        tokio::time::sleep(SOON).await;
        assert_eq!(look(&place).holder(), holder);
        assert!(second.store_trouble().is_some() && first.store_trouble().is_none());
    }
    // Who waits for the store of another can still leave.
    let third = over(shared(&place));
    until(|| third.store_trouble().is_some()).await;
    soon(third.leave()).await.unwrap();

    soon(first.leave()).await.unwrap();
    is_dropped(gone).await;
    assert_eq!(look(&place).owner, None);
    let began = Instant::now();
    assert_eq!(second.scope("s").find("probe"), None);
    let record = soon(async {
        while second
            .get(task.id())
            .is_none_or(|it| !it.state.is_terminal())
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        second.get(task.id()).unwrap()
    });
    assert_eq!(record.await.state, State::Interrupted);
    assert!(began.elapsed() <= LEASE_TTL + SOON, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn manager_that_cannot_renew_ends_before_another_may_take_over() {
    let place = Arc::new(MemoryStore::new());
    let store = shared(&place);
    let first = over(Arc::clone(&store));
    let (task, gone) = spawn_probe(&first.scope("s")).await;
    reaches(&first, task.id(), State::Running).await;
    let second = over(shared(&place));
    until(|| second.store_trouble().is_some()).await;

    store.fail_lease_until_healed();

    is_dropped(gone).await;
    assert!(second.store_trouble().is_some(), "it has taken over before");
    has_ended(&first).await;
    let why = first.store_trouble().unwrap();
    assert!(why.contains("could not be renewed"), "{why}");
    takes_over(&second).await;
    let record = soon(second.task(task.id()).settled()).await.unwrap();
    assert!(matches!(
        record.outcome.as_deref(),
        Some(Outcome::Interrupted(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn renewal_that_fails_for_a_while_is_no_harm() {
    let place = Arc::new(MemoryStore::new());
    let store = shared(&place);
    let manager = over(Arc::clone(&store));
    let (task, _gone) = spawn_probe(&manager.scope("s")).await;
    reaches(&manager, task.id(), State::Running).await;
    for _ in 0..5 {
        store.fail_lease_until_healed();
        tokio::time::sleep(LEASE_TTL / 2).await;
        store.heal();
        tokio::time::sleep(LEASE_TTL / 2).await;
    }
    assert_eq!(manager.store_trouble(), None);
    assert_eq!(task.state(), Some(State::Running));
}

#[tokio::test]
async fn end_of_an_external_task_is_taken_from_who_holds_the_store_now() {
    let place = Arc::new(MemoryStore::new());
    let first = over(Arc::clone(&place));
    let external = first.scope("s").task("t").external().await.unwrap();
    let id = external.id();
    reaches(&first, id, State::Running).await;
    let second = over(Arc::clone(&place));
    until(|| second.get(id).is_some()).await;
    let before = place.load().unwrap();

    let late = soon(external.complete("by the first")).await;

    assert!(late.is_err(), "{late:?}");
    assert_eq!(place.load().unwrap(), before);
    let now = second.external(id).unwrap();
    soon(now.complete("by the second")).await.unwrap();
    let record = soon(second.task(id).settled()).await.unwrap();
    let Some(Outcome::Completed(value)) = record.outcome.as_deref() else {
        panic!("it was completed, but the record says {record:?}");
    };
    assert_eq!(value.as_json(), r#""by the second""#);
}

#[tokio::test]
async fn each_start_of_the_actors_begins_an_epoch_and_the_end_releases() {
    let place = Arc::new(MemoryStore::new());
    let manager = over(Arc::clone(&place));
    let nothing = manager.scope("s").task("t").spawn(|_| async { Ok(()) });
    soon(nothing.await.unwrap()).await.unwrap();
    let first = look(&place);
    manager.break_part(Part::Manager);
    let asked = manager.scope("s").task("unlucky").spawn(until_cancelled);
    soon(asked).await.unwrap_err();
    until(|| manager.incarnation() == 2).await;
    let second = look(&place);
    assert_eq!((second.owner, second.epoch), (first.owner, first.epoch + 1));
    soon(manager.shutdown(SOON)).await.unwrap();
    let released = look(&place);
    assert_eq!((released.owner, released.epoch), (None, second.epoch));
}
