//! Files of every version that was released open for ever.
//!
//! A fixture is never written again. For a new version, set `UNDERSTORY_FIXTURE` to the path of the
//! new file, once.

use std::collections::BTreeSet;
use std::fs;

use super::dice::Dice;
use super::*;
use crate::kernel::What;

const TASKS: u64 = 60;

fn fixture(version: usize) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    folder.join(format!("tests/fixtures/store-{version}.db"))
}

/// Writes records and events of every shape.
fn write(path: &Path) {
    let store = SqliteStore::open(path, Options::default()).expect("there is room");
    for seq in 1..=TASKS {
        let mut dice = Dice(seq);
        let mut event = dice.event();
        let mut record = dice.record();
        record.id = sample::id(u128::from(seq));
        record.seq = Seq(seq);
        event.task = record.id;
        event.seq = Seq(seq);
        let batch = Batch {
            records: vec![Arc::new(record)],
            events: vec![Arc::new(event)],
            ..Batch::default()
        };
        store.commit(&batch).expect("there is room");
    }
}

#[test]
fn file_of_every_version_opens_and_takes_more() {
    if let Some(path) = std::env::var_os("UNDERSTORY_FIXTURE") {
        write(Path::new(&path));
    }
    for version in 1..=schema::STEPS.len() {
        let folder = Folder::new();
        drop(folder.open());
        let content = fs::read(fixture(version)).expect("each version has its fixture");
        fs::write(&folder, content).expect("there is room");

        let store = folder.open();

        let loaded = store.load().expect("it is whole");
        assert_eq!((loaded.records.len(), loaded.seq.0), (60, TASKS));
        let events = store.events(Seq(0), 100).expect("it is whole");
        let names: BTreeSet<_> = events.iter().map(|event| event.what.name()).collect();
        assert!(names.len() > 20, "{names:?}");
        assert!(names.iter().all(|name| What::NAMES.contains(name)));
        let more = change(9_999, State::Running, TASKS + 1);
        store.commit(&more).expect("it takes more");
    }
}
