//! From when to when the lease is looked after, what is written for it, and what is heard of it.

use super::*;
use crate::stage::Hanging;

/// A manager that reads its store until that lets go.
async fn reading(place: &Arc<MemoryStore>) -> (Hanging, Manager) {
    let store = Hanging::from(FaultyStore::new(Arc::clone(place)).with_tenancy(Tenancy::Shared));
    store.hold_loads();
    let manager = over(Arc::clone(&store));
    soon(store.until_held(1)).await;
    (store, manager)
}

#[tokio::test(start_paused = true)]
async fn store_that_takes_longer_to_load_than_its_lease_lasts_is_opened() {
    let place = Arc::new(MemoryStore::new());
    let (store, manager) = reading(&place).await;
    let began = Instant::now();

    while began.elapsed() < 3 * LEASE_TTL {
        let before = look(&place).renewal;
        tokio::time::advance(LEASE_TTL / 3).await;
        until(|| look(&place).renewal > before).await;
    }
    store.release();

    let task = manager.scope("s").task("t").spawn(|_| async { Ok(1) });
    assert_eq!(soon(soon(task).await.unwrap()).await.unwrap(), 1);
    assert_eq!(manager.store_trouble(), None);
}

#[tokio::test(start_paused = true)]
async fn manager_that_lost_its_store_while_it_read_it_ends() {
    let place = Arc::new(MemoryStore::new());
    let (store, manager) = reading(&place).await;
    claim(&place);
    tokio::time::advance(LEASE_TTL / 3).await;
    until(|| manager.store_trouble().is_some()).await;

    store.release();

    has_ended(&manager).await;
    let why = manager.store_trouble().unwrap();
    assert!(why.contains("taken over"), "{why}");
    assert_eq!(manager.incarnation(), 0, "nothing was started");
}

#[tokio::test(start_paused = true)]
async fn manager_that_cannot_start_again_lets_go_of_its_lease() {
    for part in [Part::Guard, Part::Start] {
        let place = Arc::new(MemoryStore::new());
        let manager = over(shared(&place));
        let (task, gone) = spawn_probe(&manager.scope("s")).await;
        reaches(&manager, task.id(), State::Running).await;
        manager.break_part(part);
        manager.break_part(Part::Manager);

        let asked = manager.scope("s").task("unlucky").spawn(until_cancelled);
        soon(asked).await.unwrap_err();
        is_dropped(gone).await;
        soon(async {
            while let Err(SpawnError::Unknown(_)) | Ok(_) =
                manager.scope("s").unnamed().spawn(until_cancelled).await
            {}
        })
        .await;

        let left = look(&place);
        tokio::time::sleep(3 * LEASE_TTL).await;
        assert_eq!(look(&place), left, "{part:?}: nobody is left to renew it");
    }
}

/// An idle manager hears of harm to its store within a third of the time of its lease.
async fn hears_in_time(manager: &Manager, harm: impl FnOnce()) {
    let (_task, gone) = spawn_probe(&manager.scope("s")).await;
    let began = Instant::now();
    harm();
    is_dropped(gone).await;
    let elapsed = began.elapsed();
    assert!(elapsed <= LEASE_TTL / 3, "{elapsed:?}");
    has_ended(manager).await;
}

#[tokio::test(start_paused = true)]
async fn idle_manager_hears_within_a_third_of_the_time_that_it_was_taken_over() {
    let place = Arc::new(MemoryStore::new());
    let manager = over(FaultyStore::new(Arc::clone(&place)));

    hears_in_time(&manager, || {
        claim(&place);
    })
    .await;

    assert!(manager.store_trouble().unwrap().contains("taken over"));
    soon(manager.shutdown(SOON)).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn idle_manager_hears_within_a_third_of_the_time_that_its_store_is_damaged() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    let manager = over(Arc::clone(&store));

    hears_in_time(&manager, || store.damage_until_healed()).await;

    let why = manager.store_trouble().unwrap();
    assert!(why.contains("told that it is damaged"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn idle_manager_writes_nothing_unless_others_watch_its_lease() {
    for (tenancy, wanted) in [(Tenancy::Sole, 0..=0), (Tenancy::Shared, 355..=361)] {
        let place = Arc::new(MemoryStore::new());
        let manager = over(FaultyStore::new(Arc::clone(&place)).with_tenancy(tenancy));
        let (task, _gone) = spawn_probe(&manager.scope("s")).await;
        reaches(&manager, task.id(), State::Running).await;
        let before = look(&place);

        tokio::time::advance(Duration::ZERO).await;
        for _ in 0..3_600 {
            tokio::time::timeout(Duration::from_secs(1), std::future::pending::<()>())
                .await
                .unwrap_err();
        }

        let after = look(&place);
        let renewals = after.renewal - before.renewal;
        assert!(wanted.contains(&renewals), "{tenancy:?}: {renewals}");
        assert_eq!(after.holder(), before.holder());
        assert_eq!(manager.store_trouble(), None);
    }
}
