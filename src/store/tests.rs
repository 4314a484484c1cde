//! What the memory store, the faulty store and batches promise beyond the contract.

use std::thread;

use super::*;
use crate::kernel::Spec;
use crate::sample;

fn spec() -> Arc<Spec> {
    Arc::new(sample::spec("store"))
}

/// A batch of one running task, whose event has this number.
fn running(seq: u64) -> Batch {
    let record = sample::record(sample::id(1), &spec(), State::Running, seq);
    Batch {
        events: vec![sample::event(seq, &record)],
        records: vec![record],
        ..Batch::default()
    }
}

fn is_unavailable(result: &Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable { .. }))
}

#[test]
fn memory_store_keeps_the_contract() {
    contract::exercise(|| {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        move || Arc::clone(&store)
    });
}

#[test]
fn faulty_store_without_orders_keeps_the_contract() {
    contract::exercise(|| {
        let store: Arc<dyn Store> = Arc::new(FaultyStore::new(MemoryStore::new()));
        move || Arc::clone(&store)
    });
}

#[test]
fn memory_store_keeps_the_newest_events_only() {
    for (count, first) in [(4, 1), (5, 1), (6, 2), (20, 16)] {
        for at_once in [true, false] {
            let store = MemoryStore::with_history(5);
            let batches: Vec<_> = (1..=count).map(running).collect();
            let mut group = Batch::default();
            for batch in batches {
                if at_once {
                    group.absorb(batch);
                } else {
                    store.commit(&batch).expect("it is in order");
                }
            }
            store.commit(&group).expect("it is in order");

            let numbers = store.events(Seq(0), 100).expect("memory can be read");
            let numbers: Vec<_> = numbers.iter().map(|event| event.seq.0).collect();
            assert_eq!(numbers, (first..=count).collect::<Vec<_>>());
        }
    }
}

#[test]
fn absorbed_batches_mean_what_they_meant_one_by_one() {
    let (mut group, store) = (Batch::default(), MemoryStore::new());
    assert!(group.is_empty());
    for seq in 1..=3 {
        let batch = running(seq);
        store.commit(&batch).expect("it is in order");
        group.absorb(batch);
    }
    group.compact();

    assert_eq!((group.records.len(), group.events.len()), (1, 3));
    let grouped = MemoryStore::new();
    grouped.commit(&group).expect("it is in order");
    let loaded = grouped.load().expect("memory can be read");
    assert_eq!(loaded, store.load().expect("memory can be read"));
}

#[test]
fn faulty_store_fails_as_often_as_it_was_told() {
    let store = FaultyStore::new(MemoryStore::new());
    store.fail_next(2);

    let batch = running(1);
    assert!(is_unavailable(&store.commit(&batch)));
    assert!(is_unavailable(&store.commit(&batch)));
    assert_eq!(store.load().expect("reads are not sick"), Loaded::default());
    store
        .commit(&batch)
        .expect("the same batch is taken when the store is back");

    store.fail_until_healed();
    for _ in 0..3 {
        assert!(is_unavailable(&store.commit(&running(2))));
    }
    store.heal();
    store.commit(&running(2)).expect("it was healed");
    assert_eq!(store.failed(), 5);
}

#[tokio::test]
async fn faulty_store_holds_commits_until_it_lets_them_go() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    assert_eq!(store.latency(), Latency::Blocking);
    store.hold();
    let held = {
        let store = Arc::clone(&store);
        thread::spawn(move || store.commit(&running(1)))
    };

    store.until_held(1).await;
    assert_eq!(store.load().expect("reads are not held").seq, Seq(0));

    store.release();
    let committed = held.join().expect("a commit does not panic");
    committed.expect("it was let go");
    assert_eq!(store.load().expect("memory can be read").seq, Seq(1));
    store.commit(&running(2)).expect("nothing is held now");
}

#[tokio::test]
async fn held_commit_fails_when_the_store_fell_sick_meanwhile() {
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    store.hold();
    let held = {
        let store = Arc::clone(&store);
        thread::spawn(move || store.commit(&running(1)))
    };
    store.until_held(1).await;
    store.fail_next(1);
    store.release();

    store.until_failed(1).await;
    let committed = held.join().expect("a commit does not panic");
    assert!(is_unavailable(&committed));
    assert_eq!(store.load().expect("memory can be read").seq, Seq(0));
}

#[test]
fn faulty_store_is_as_slow_as_it_says() {
    let slow = FaultyStore::new(MemoryStore::new());
    assert_eq!(slow.latency(), Latency::Blocking);
    let quick = slow.with_latency(Latency::Instant);
    assert_eq!(quick.latency(), Latency::Instant);
}
