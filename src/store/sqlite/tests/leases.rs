//! Two that write one file, as a lock was lost; and a lease that is damaged.

use super::super::codec::LeaseRow;
use super::super::place::beside;
use super::*;
use crate::store::{LEASE_TTL, Owner};

/// Takes the lease for an owner of that number.
fn hold(store: &SqliteStore, owner: u128) -> Lease {
    let instead_of = store.lease(&LeaseAsk::Look).expect("it is whole");
    let ask = LeaseAsk::Claim {
        owner: Owner::from_u128(owner),
        ttl: LEASE_TTL,
        instead_of,
    };
    store.lease(&ask).expect("it is the one that was seen")
}

fn by(lease: &Lease, seq: u64) -> Batch {
    Batch {
        by: lease.holder(),
        ..change(u128::from(seq), State::Running, seq)
    }
}

/// The lock goes, as it does when somebody tidies up, or on a disk in a network.
fn lose_lock(folder: &Folder) {
    std::fs::remove_file(beside(folder.as_ref(), ".lock")).expect("it was there");
}

#[test]
fn new_row_of_the_lease_is_the_one_of_nobody() {
    let folder = Folder::new();
    let store = folder.open();
    let nobody = LeaseRow::write(&Lease::default());
    let row = store.pen().database.read(|rows| {
        let row = rows.lease()?;
        Ok::<_, Trouble>(row.expect("it is there"))
    });
    let row = row.expect("it can be read");
    assert_eq!(row.checksum, nobody.checksum);
    assert_eq!(row.read().expect("it is whole"), Lease::default());
}

#[test]
fn second_one_without_a_lock_takes_the_file_over_and_the_first_is_refused() {
    let folder = Folder::new();
    let first = folder.open();
    let lease = hold(&first, 1);
    first.commit(&by(&lease, 1)).expect("it is the holder");
    lose_lock(&folder);
    let second = folder.open();
    // The second one has read the file already.
    first
        .commit(&by(&lease, 2))
        .expect("it is the holder still");

    let taken = hold(&second, 2);

    let loaded = second.load().expect("it is whole");
    assert_eq!((loaded.seq, loaded.records.len()), (Seq(2), 2));
    for _ in 0..2 {
        let refused = first.commit(&by(&lease, 3));
        let Err(StoreError::Fenced { lease: told }) = refused else {
            panic!("it is not the holder, but the store says {refused:?}");
        };
        assert_eq!(told, taken);
    }
    second.commit(&by(&taken, 3)).expect("it is the holder");
    drop((first, second));
    let loaded = folder.open().load().expect("it is whole");
    assert_eq!((loaded.seq, loaded.records.len()), (Seq(3), 3));
}

#[test]
fn lease_outlives_its_process_and_the_next_epoch_is_a_later_one() {
    let folder = Folder::new();
    for epoch in 1..=3 {
        let store = folder.open();
        let lease = hold(&store, u128::from(epoch));
        assert_eq!(lease.epoch, epoch);
        let batch = change(1, State::Running, 1);
        let refused = store.commit(&batch);
        assert!(matches!(refused, Err(StoreError::Fenced { .. })));
    }
    let content = folder.open().lease(&LeaseAsk::Look).expect("it is whole");
    assert_eq!(content.owner, Some(Owner::from_u128(3)));
}

#[test]
fn damaged_lease_is_refused() {
    let damages = [
        "DELETE FROM lease",
        "UPDATE lease SET epoch = epoch - 1",
        "UPDATE lease SET owner = NULL",
        "UPDATE lease SET renewal = renewal + 1",
        "UPDATE lease SET ttl = 1",
    ];
    for damage in damages {
        let folder = Folder::new();
        let store = folder.open();
        let lease = hold(&store, 1);
        store.commit(&by(&lease, 1)).expect("it is the holder");
        store.pen().database.change(damage);
        let refused = store.commit(&by(&lease, 2));
        assert!(matches!(refused, Err(StoreError::Damaged { .. })));
        drop(store);
        let error = SqliteStore::open(&folder, Options::default()).expect_err("it is damaged");
        assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    }
}
