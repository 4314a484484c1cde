//! Files with so many rows that several threads check them.

use std::error::Error;

use super::*;
use crate::kernel::Seq;

const TASKS: u64 = 3_000;

/// A file with many tasks that run.
fn large() -> (Folder, Vec<Arc<Record>>) {
    let folder = Folder::new();
    let store = folder.open();
    let mut all = Batch::default();
    for seq in 1..=TASKS {
        all.absorb(change(u128::from(seq), State::Running, seq));
    }
    store.commit(&all).expect("there is room");
    (folder, all.records)
}

#[test]
fn records_of_a_large_file_come_in_the_order_of_their_ids() {
    let (folder, written) = large();
    let loaded = folder.open().load().expect("it is whole");
    assert_eq!(loaded.records, written);
    assert_eq!(loaded.seq, Seq(TASKS));
}

#[test]
fn specs_that_were_written_alike_are_few_in_memory() {
    let (folder, _) = large();
    let store = folder.open();
    let records = store.load().expect("it is whole").records;
    let mut specs: Vec<_> = records.iter().map(|it| Arc::as_ptr(&it.spec)).collect();
    specs.sort_unstable();
    specs.dedup();
    assert!(specs.len() <= 8, "{} specs in memory", specs.len());
    let events = store.events(Seq(0), 100).expect("the file is whole");
    for (event, record) in events.iter().zip(&records) {
        assert!(Arc::ptr_eq(&event.spec, &record.spec), "{event:?}");
    }
}

#[test]
fn events_of_a_settled_task_share_its_spec_however_long_that_is() {
    let folder = Folder::new();
    let store = folder.open();
    let mut spec = sample::spec("store");
    spec.input = Some(Payload::from_json(format!("\"{}\"", "x".repeat(8_192))));
    let spec = Arc::new(spec);
    for (seq, state) in [
        (1, State::Pending),
        (2, State::Running),
        (3, State::Completed),
    ] {
        let record = sample::record(sample::id(1), &spec, state, seq);
        let batch = Batch {
            events: vec![sample::event(seq, &record)],
            records: vec![record],
            ..Batch::default()
        };
        store.commit(&batch).expect("there is room");
    }
    drop(store);

    let reader = Reader::open(&folder).expect("it is whole");
    let of_one = reader.events_of(sample::id(1), Seq(0), 3);
    for events in [folder.open().events(Seq(0), 3), of_one] {
        let events = events.expect("it is whole");
        assert_eq!((events.len(), &events[0].spec), (3, &spec));
        assert!(
            events
                .iter()
                .all(|it| Arc::ptr_eq(&it.spec, &events[0].spec))
        );
    }
}

#[test]
fn first_one_of_several_wrong_rows_is_told() {
    for wrong in [[2, 700, 2_000], [700, 701, 2_900], [2_998, 2_999, 3_000]] {
        let (folder, _) = large();
        let store = folder.open();
        let rows = wrong.map(|number| number.to_string()).join(", ");
        let sql = format!("UPDATE task SET checksum = checksum + 1 WHERE rowid IN ({rows})");
        store.pen().database.change(&sql);
        drop(store);

        let error = SqliteStore::open(&folder, Options::default()).expect_err("rows are wrong");

        assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
        let why = error.source().map(ToString::to_string).unwrap_or_default();
        let first = sample::id(wrong[0]).to_string();
        assert!(why.contains(&first), "{why} of {wrong:?}");
    }
}

#[test]
fn columns_that_stay_are_not_written_again_and_those_that_change_are() {
    let folder = Folder::new();
    let store = folder.open();
    store
        .commit(&change(1, State::Running, 1))
        .expect("there is room");
    let child = change(2, State::Pending, 2);
    store.commit(&child).expect("there is room");
    let of_its = |record: &Record, seq| {
        let record = Arc::new(record.clone());
        Batch {
            events: vec![sample::event(seq, &record)],
            records: vec![record],
            ..Batch::default()
        }
    };
    let mut record = Record::clone(&child.records[0]);
    let mut seq = 2;
    let moved = Arc::new(Spec {
        scope: Scope::new("elsewhere").expect("it is valid"),
        ..Spec::clone(&record.spec)
    });
    let changes: [&dyn Fn(&mut Record); 6] = [
        &|record| record.state = State::Running,
        &|record| record.progress = Some(Payload::from_json("7")),
        &|record| record.parent = Some(sample::id(1)),
        &|record| record.parent = None,
        &|record| record.spec = Arc::clone(&moved),
        &|record| record.state = State::Waiting,
    ];
    for change in changes {
        seq += 1;
        change(&mut record);
        record.seq = Seq(seq);
        store.commit(&of_its(&record, seq)).expect("there is room");
        let sql = "SELECT scope, state, parent FROM task ORDER BY id DESC LIMIT 1";
        let parent = record.parent.map(|parent| parent.to_string());
        let columns = [
            Some(record.scope().to_string()),
            Some(record.state.to_string()),
            parent,
        ];
        assert_eq!(store.pen().database.ask(sql), [columns]);
        // By another one, as this one would learn from it what is there.
        let reader = Reader::open(&folder).expect("it is whole");
        let found = reader.load().expect("it is whole").records;
        assert_eq!(found.last().map(|it| &**it), Some(&record));
    }
    let found = store.pen().database.ask("PRAGMA integrity_check");
    assert_eq!(found, [[Some("ok".to_owned())]]);
}
