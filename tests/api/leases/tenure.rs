//! From when to when the lease is looked after, and what is heard of it.

use super::*;

#[tokio::test(start_paused = true)]
async fn store_that_takes_longer_to_load_than_its_lease_lasts_is_opened() {
    let place = Arc::new(MemoryStore::new());
    let store = shared(&place);
    store.hold_loads();
    let manager = over(Arc::clone(&store));
    soon(store.until_held(1)).await;
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
    let store = shared(&place);
    store.hold_loads();
    let manager = over(Arc::clone(&store));
    soon(store.until_held(1)).await;
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

#[tokio::test(start_paused = true)]
async fn idle_manager_hears_within_a_third_of_the_time_that_its_store_is_damaged() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    let manager = over(Arc::clone(&store));
    let (_task, gone) = spawn_probe(&manager.scope("s")).await;
    let began = Instant::now();

    store.damage_until_healed();

    is_dropped(gone).await;
    let elapsed = began.elapsed();
    assert!(elapsed <= LEASE_TTL / 3, "{elapsed:?}");
    has_ended(&manager).await;
    let why = manager.store_trouble().unwrap();
    assert!(why.contains("told that it is damaged"), "{why}");
}
