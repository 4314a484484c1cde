//! The store in a file: its contract, its codec, its place, damage.

mod codec;
mod damage;
mod dice;
mod fixtures;
mod keeping;
mod leases;
mod loading;
mod place;
mod power;
mod shapes;
mod views;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::kernel::{Payload, Record, Scope, Spec, State};
use crate::sample;
use crate::store::contract;

/// A new folder that only its owner can use, whatever the umask is.
fn private_folder() -> tempfile::TempDir {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir().expect("there is room for a folder")
}

/// A folder of its own for each test, with the path of a file in it.
pub(super) struct Folder {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let folder = private_folder();
        // What is told of a store names its real path.
        let real = folder.path().canonicalize().expect("it is there");
        let path = real.join("tasks.db");
        Self {
            _folder: folder,
            path,
        }
    }

    fn open(&self) -> SqliteStore {
        self.open_with(Options::default())
    }

    fn open_with(&self, options: Options) -> SqliteStore {
        SqliteStore::open(&self.path, options).expect("the file is whole")
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

/// What is in the file, and in its log, if that is there.
fn content(folder: &Folder) -> (Vec<u8>, Vec<u8>) {
    let log = super::place::beside(&folder.path, "-wal");
    let file = std::fs::read(&folder.path).expect("it is there");
    (file, std::fs::read(log).unwrap_or_default())
}

/// A batch that brings a task into a state, with the event of that number.
fn change(task: u128, state: State, seq: u64) -> Batch {
    let spec = Arc::new(sample::spec("store"));
    let record = sample::record(sample::id(task), &spec, state, seq);
    Batch {
        events: vec![sample::event(seq, &record)],
        records: vec![record],
        ..Batch::default()
    }
}

#[test]
fn sqlite_store_keeps_the_contract() {
    for durability in [
        Durability::Synced,
        Durability::Relaxed {
            loss_window: Duration::from_millis(20),
        },
    ] {
        contract::exercise(|| {
            let folder = Folder::new();
            move || {
                let options = Options::default().durability(durability);
                Arc::new(folder.open_with(options)) as Arc<dyn Store>
            }
        });
    }
}

#[test]
fn oldest_events_go_and_the_numbers_go_on() {
    let folder = Folder::new();
    let options = Options::default().history_max(100);
    let store = folder.open_with(options);
    for seq in 1..=1_000_u64 {
        let state = if seq % 2 == 0 {
            State::Completed
        } else {
            State::Running
        };
        let mut batch = change(u128::from(seq.div_ceil(2)), state, seq);
        batch.removed = vec![sample::id(u128::from(seq / 4))];
        store.commit(&batch).expect("there is room");
    }
    drop(store);
    let store = folder.open_with(options);

    let log = store.events(Seq(0), 4_096).expect("the file is whole");
    assert!(
        (100..=200).contains(&log.len()),
        "{} events are kept",
        log.len()
    );
    assert_eq!(log.last().map(|event| event.seq), Some(Seq(1_000)));
    store
        .commit(&change(9_999, State::Running, 1_001))
        .expect("the numbers go on");
    let specs = store
        .pen()
        .database
        .read(|rows| rows.newest_spec(&sample::id(1).to_string()));
    assert!(
        specs.expect("the file is whole").is_none(),
        "the spec of a forgotten task stays"
    );
}

#[test]
fn settled_row_takes_the_next_life_of_its_id() {
    let folder = Folder::new();
    let store = folder.open();
    store
        .commit(&change(1, State::Completed, 1))
        .expect("there is room");
    let mut again = change(1, State::Pending, 2);
    let mut record = Record::clone(&again.records[0]);
    record.incarnation = 2;
    again.records = vec![Arc::new(record)];
    store.commit(&again).expect("another life may begin");
    drop(store);

    let loaded = folder.open().load().expect("the file is whole");
    assert_eq!(loaded.records, again.records);
}

#[test]
fn spec_is_written_once_and_again_when_it_changes() {
    let folder = Folder::new();
    let store = folder.open();
    let count = |store: &SqliteStore| {
        let ids = store.pen().database.read(|rows| {
            Ok::<_, Trouble>(
                rows.newest_spec(&sample::id(1).to_string())?
                    .map(|row| row.id),
            )
        });
        ids.expect("the file is whole")
    };
    store
        .commit(&change(1, State::Pending, 1))
        .expect("there is room");
    store
        .commit(&change(1, State::Running, 2))
        .expect("there is room");
    assert_eq!(count(&store), Some(1));
    drop(store);

    let store = folder.open();
    store
        .commit(&change(1, State::Suspended, 3))
        .expect("there is room");
    assert_eq!(
        count(&store),
        Some(1),
        "an equal one that was read is the same"
    );
    let mut moved = change(1, State::Running, 4);
    let mut record = Record::clone(&moved.records[0]);
    record.spec = Arc::new(Spec::new(Scope::new("other").expect("it is valid")));
    moved.records = vec![Arc::new(record)];
    store.commit(&moved).expect("there is room");
    drop(store);

    let store = folder.open();
    assert_eq!(
        store.load().expect("the file is whole").records,
        moved.records
    );
    let log = store.events(Seq(0), 10).expect("the file is whole");
    assert_eq!(log.len(), 4);
    assert!(log.iter().all(|event| event.spec.scope.as_str() == "store"));
}

#[test]
fn specs_of_an_id_that_lives_on_are_forgotten_with_its_events() {
    let folder = Folder::new();
    let store = folder.open_with(Options::default().history_max(10));
    for life in 1..=1_000_u32 {
        let mut spec = sample::spec("store");
        spec.input = Some(Payload::from_json(life.to_string()));
        let seq = u64::from(life);
        let record = sample::record(sample::id(1), &Arc::new(spec), State::Completed, seq);
        let record = Arc::new(Record {
            incarnation: life,
            ..Record::clone(&record)
        });
        let batch = Batch {
            events: vec![sample::event(seq, &record)],
            records: vec![record],
            ..Batch::default()
        };
        store.commit(&batch).expect("there is room");
    }
    let count = store.pen().database.ask("SELECT count(*) FROM spec");
    let count: u32 = count[0][0]
        .as_ref()
        .expect("it is one")
        .parse()
        .expect("it is one");
    assert!((10..=20).contains(&count), "{count} specs are kept");
    drop(store);

    let store = folder.open();
    assert_eq!(store.load().expect("it is whole").seq, Seq(1_000));
    assert!(store.events(Seq(0), 100).expect("it is whole").len() >= 10);
}

#[test]
fn close_of_a_scope_writes_that_scope_alone() {
    let folder = Folder::new();
    let store = folder.open();
    let scopes = |names: &[&str]| {
        let scopes = names.iter().map(|name| Scope::new(name));
        scopes.map(|scope| scope.expect("it is valid")).collect()
    };
    let close = |names: &[&str]| {
        let closed = Some(scopes(names));
        let batch = Batch {
            closed,
            ..Batch::default()
        };
        let changes = || store.pen().database.changes();
        let before = changes();
        store.commit(&batch).expect("there is room");
        changes() - before
    };
    assert_eq!(close(&["a", "b", "c"]), 3);
    assert_eq!(close(&["a", "b", "c", "d"]), 1);
    assert_eq!(close(&["b", "c", "d"]), 1);
    assert_eq!(
        store.load().expect("it is whole").closed,
        scopes(&["b", "c", "d"])
    );
    store
        .pen()
        .database
        .change("UPDATE closed SET scope = 'x' WHERE scope = 'b'");
    let error = store.load().expect_err("a scope has another name");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
}
