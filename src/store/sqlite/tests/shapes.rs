//! The names in the JSON of rows: with a name of tomorrow a row is newer, not damaged, and no name
//! changes without a step of the schema.
//!
//! For a new version, set `UNDERSTORY_SHAPES` to the path of its text, once.

use std::collections::BTreeSet;
use std::fs;

use super::super::codec::{EventFields, RecordFields, SpecFields, SpecRow, TaskRow};
use super::dice::Dice;
use super::*;

mod names;

fn golden(version: usize) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    folder.join(format!("tests/golden/store-{version}.txt"))
}

/// Each type with the names of its fields and variants, as they are written.
fn shapes() -> String {
    let mut found = BTreeSet::new();
    for seed in 0..6_000 {
        let mut dice = Dice(seed);
        names::collect(&SpecFields::from(&*dice.spec()), &mut found);
        names::collect(&RecordFields::from(&dice.record()), &mut found);
        names::collect(&EventFields::from(&dice.event()), &mut found);
    }
    found.into_iter().map(|name| name + "\n").collect()
}

#[test]
fn shape_of_rows_changes_with_a_step_of_the_schema_only() {
    let found = shapes();
    if let Some(path) = std::env::var_os("UNDERSTORY_SHAPES") {
        fs::write(path, &found).expect("there is room");
    }
    let version = schema::STEPS.len();
    let wanted = fs::read_to_string(golden(version)).expect("each version has its text");
    assert_eq!(
        found, wanted,
        "the names in rows are not those of version {version}: add a step to the schema, so that \
         an older program refuses the file"
    );
}

/// A file with one task, whose row was changed as a newer program would have written it.
fn written_by_a_newer_one(change: impl FnOnce(&mut TaskRow, &mut SpecRow)) -> Folder {
    let folder = Folder::new();
    let store = folder.open();
    store
        .commit(&super::change(1, State::Running, 1))
        .expect("there is room");
    let written = store.pen().database.atomically(|rows| {
        let row = rows.task(&sample::id(1).to_string())?;
        let (mut task, mut spec) = row.expect("it was written");
        change(&mut task, &mut spec);
        rows.remove_task(&task.id)?;
        rows.put_task(&task.sealed())?;
        let checksum = super::super::codec::spec_checksum(&spec.task, &spec.body);
        rows.change_spec(spec.id, &spec.body, checksum)
    });
    written.expect("there is room");
    drop(store);
    folder
}

#[test]
fn row_with_a_name_of_tomorrow_is_newer_and_not_damaged() {
    let field = |body: &mut String| *body = body.replacen('{', "{\"tomorrow\":1,", 1);
    let files = [
        written_by_a_newer_one(|task, _| field(&mut task.body)),
        written_by_a_newer_one(|_, spec| field(&mut spec.body)),
        written_by_a_newer_one(|task, _| {
            assert!(task.body.contains("\"live\""), "{}", task.body);
            task.body = task.body.replace("\"live\"", "\"half_alive\"");
        }),
    ];
    for folder in files {
        let before = content(&folder);
        let error = SqliteStore::open(&folder, Options::default()).expect_err("it is newer");
        assert!(matches!(error, OpenError::Newer { .. }), "{error:?}");
        assert!(content(&folder) == before, "it was changed");
        assert!(error.to_string().contains("update"), "{error}");
    }
    let damaged = written_by_a_newer_one(|task, _| task.body = "{}".to_owned());
    let error = SqliteStore::open(&damaged, Options::default()).expect_err("it is damaged");
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
}

#[test]
fn event_with_a_name_of_tomorrow_is_newer_and_not_damaged() {
    let folder = Folder::new();
    let store = folder.open();
    let batch = change(1, State::Running, 1);
    store.commit(&batch).expect("there is room");
    let written = store.pen().database.atomically(|rows| {
        let mut event = rows.events_after(0, 1)?.remove(0);
        event.body = event.body.replacen('{', "{\"tomorrow\":1,", 1);
        rows.forget_events(1)?;
        rows.put_event(&event.sealed())
    });
    written.expect("there is room");

    let of_reader = Reader::open(&folder).expect("its records are known");
    for read in [store.events(Seq(0), 1), of_reader.events(Seq(0), 1)] {
        let error = read.expect_err("it is newer");
        assert!(matches!(error, StoreError::Newer { .. }), "{error:?}");
        assert!(error.to_string().contains("update"), "{error}");
    }
}
