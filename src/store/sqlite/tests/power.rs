//! Power cuts, torn writes and a full disk.

use std::fs;

use super::super::place::beside;
use super::*;

mod moves;

/// What a power cut leaves of a file whose log was on the disk up to this length.
fn cut(folder: &Folder, log_bytes: usize) -> Folder {
    let image = Folder::new();
    let log = fs::read(beside(folder.as_ref(), "-wal")).expect("it is ours");
    fs::copy(folder, &image).expect("there is room");
    fs::write(beside(image.as_ref(), "-wal"), &log[..log_bytes]).expect("there is room");
    image
}

fn log_bytes(folder: &Folder) -> usize {
    let log = fs::metadata(beside(folder.as_ref(), "-wal")).expect("it is there");
    usize::try_from(log.len()).expect("it is small")
}

fn loaded(folder: &Folder) -> Loaded {
    folder.open().load().expect("the file is whole")
}

#[test]
fn p21_power_cut_leaves_what_was_synced_and_torn_writes_leave_nothing() {
    let folder = Folder::new();
    // Its tables reach the file itself.
    drop(folder.open());
    let store = folder.open();
    let mut kept = vec![(0, Loaded::default())];
    for seq in 1..=60 {
        let state = State::ALL[usize::try_from(seq).expect("it is small") % 10];
        let batch = change(u128::from(seq), state, seq);
        store.commit(&batch).expect("there is room");
        kept.push((log_bytes(&folder), store.load().expect("it is whole")));
    }
    for two in kept.windows(2) {
        let [(before, old), (after, new)] = two else {
            unreachable!("windows of two have two");
        };
        assert!(
            before < after,
            "each commit is in the log when it is acknowledged"
        );
        assert_eq!(loaded(&cut(&folder, *after)), *new);
        for torn in [after - 1, before + 1, before.midpoint(*after)] {
            assert_eq!(loaded(&cut(&folder, torn)), *old, "{torn} of {after} bytes");
        }
    }
}

#[test]
fn p20_full_disk_refuses_whole_batches_and_takes_them_when_there_is_room() {
    let folder = Folder::new();
    let store = folder.open();
    let mut seq = 0;
    for round in 1..=5_u32 {
        store.set_pages_max(round * 40);
        let mut next = || {
            seq += 1;
            change(u128::from(seq), State::Running, seq)
        };
        let refused = loop {
            let batch = next();
            let before = store.load().expect("it is whole");
            match store.commit(&batch) {
                Ok(()) => {}
                Err(StoreError::Unavailable { source }) => {
                    assert!(source.to_string().contains("full"), "{source}");
                    assert_eq!(store.load().expect("it is whole"), before);
                    break batch;
                }
                Err(wrong) => panic!("a full disk is no mistake of the batch: {wrong}"),
            }
        };
        assert!(store.commit(&refused).is_err(), "there is still no room");
        store.set_pages_max(u32::MAX);
        store.commit(&refused).expect("there is room");
    }
    let before = store.load().expect("it is whole");
    drop(store);
    assert_eq!(loaded(&folder), before);
    assert_eq!(before.seq, Seq(seq));
}

#[test]
fn file_shrinks_when_most_of_it_was_removed() {
    let folder = Folder::new();
    let store = folder.open_with(Options::default().history_max(1));
    let tasks = 1..=5_000;
    let mut batch = Batch::default();
    for seq in tasks.clone() {
        batch.absorb(change(u128::from(seq), State::Completed, seq));
    }
    store.commit(&batch).expect("there is room");
    let pages = || store.pen().database.pages().expect("it is whole");
    let (full, _) = pages();

    for part in tasks.collect::<Vec<u64>>().chunks(500) {
        let removed = part
            .iter()
            .map(|seq| sample::id(u128::from(*seq)))
            .collect();
        let seq = store.load().expect("it is whole").seq.0 + 1;
        let mut batch = change(9_999, State::Running, seq);
        batch.removed = removed;
        store.commit(&batch).expect("there is room");
    }
    while pages().0 > full / 4 {
        std::thread::yield_now();
    }
    assert_eq!(store.load().expect("it is whole").records.len(), 1);
}
