//! What a damaged file leads to: it is refused, or it is exactly what was committed.

use std::fs;

use super::super::place::beside;
use super::dice::Dice;
use super::*;

/// How many places are damaged; the whole proof has 1,000.
fn rounds() -> u64 {
    let set = std::env::var("UNDERSTORY_DAMAGE_ROUNDS");
    set.ok().and_then(|text| text.parse().ok()).unwrap_or(150)
}

/// Everything that a store gives back, or nothing when it refuses.
fn everything(path: &Path) -> Option<(Loaded, Vec<Arc<Event>>)> {
    let store = SqliteStore::open(path, Options::default()).ok()?;
    let loaded = store.load().ok()?;
    let mut log: Vec<Arc<Event>> = Vec::new();
    while log.last().map_or(Seq(0), |event| event.seq) < loaded.seq {
        let after = log.last().map_or(Seq(0), |event| event.seq);
        log.extend(store.events(after, 1_000).ok()?);
    }
    Some((loaded, log))
}

/// Puts a copy in the place of the file, as one is told to.
fn put(folder: &Folder, content: &[u8]) {
    for suffix in ["-wal", "-shm"] {
        let _was_none = fs::remove_file(beside(folder.as_ref(), suffix)).is_err();
    }
    fs::write(folder, content).expect("it is ours");
}

/// A closed file with some hundred tasks.
fn closed_file() -> (Folder, Vec<u8>) {
    let folder = Folder::new();
    let store = folder.open();
    for seq in 1..=200 {
        let state = State::ALL[usize::try_from(seq).expect("it is small") % 5];
        let mut batch = change(u128::from(seq), state, seq);
        let scopes = (1..=seq).map(|number| Scope::new(&format!("closed/{number}")));
        batch.closed = Some(scopes.map(|scope| scope.expect("it is valid")).collect());
        store.commit(&batch).expect("there is room");
    }
    drop(store);
    let content = fs::read(&folder).expect("it is ours");
    (folder, content)
}

#[test]
fn p21_damaged_file_is_refused_or_exactly_what_was_committed() {
    let (folder, content) = closed_file();
    let whole = everything(folder.as_ref()).expect("it is whole");
    let mut dice = Dice(21);
    let mut refused = 0;
    for round in 0..rounds() {
        let mut damaged = content.clone();
        let place = dice.below(damaged.len());
        if round % 3 == 0 {
            damaged.truncate(place);
        } else {
            damaged[place] ^= 1 << dice.below(8);
        }
        put(&folder, &damaged);
        match everything(folder.as_ref()) {
            None => refused += 1,
            Some(found) if place == 0 && damaged.is_empty() => {
                assert_eq!(found.0, Loaded::default(), "an empty file is a new one");
            }
            Some(found) => assert!(found == whole, "round {round}, byte {place}: another truth"),
        }
    }
    assert!(refused > rounds() / 4, "{refused} were refused");
}

#[test]
fn damage_is_told_with_what_to_do() {
    let (folder, mut content) = closed_file();
    content.truncate(content.len() / 2);
    fs::write(&folder, &content).expect("it is ours");

    let error = SqliteStore::open(&folder, Options::default()).expect_err("it is refused");

    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert!(
        error.to_string().contains("put a copy in its place"),
        "{error}"
    );
    assert_eq!(
        fs::read(&folder).expect("it is ours"),
        content,
        "it was changed"
    );
}

#[test]
fn refused_file_and_its_log_are_left_as_they_are() {
    let damage = "UPDATE task SET body = body || ' ' WHERE rowid % 7 = 0";
    let newer = "UPDATE task SET state = 'half_alive' WHERE rowid = 1";
    for version in 1..=schema::STEPS.len() {
        for sql in [damage, newer, "DROP INDEX task_by_parent"] {
            let folder = Folder::new();
            // Made as one that is ours alone.
            drop(folder.open());
            let content_of_old = fs::read(super::fixtures::fixture(version));
            fs::write(&folder, content_of_old.expect("it is there")).expect("there is room");
            let file = Database::open(folder.as_ref(), Access::Write);
            file.expect("it is whole").change(sql);
            let before = content(&folder);
            assert!(!before.1.is_empty(), "the damage is in the log");

            let error = SqliteStore::open(&folder, Options::default());

            let error = error.expect_err("it is refused");
            assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
            assert!(content(&folder) == before, "version {version}: {sql}");
        }
    }
}

/// Where the leaves of tables begin, each with how many rows it has.
fn leaves(content: &[u8]) -> Vec<(usize, u16)> {
    const PAGE: usize = 4_096;
    const LEAF_OF_A_TABLE: u8 = 0x0d;
    let mut leaves = Vec::new();
    for page in 0..content.len() / PAGE {
        let header = page * PAGE + if page == 0 { 100 } else { 0 };
        let rows = u16::from_be_bytes([content[header + 3], content[header + 4]]);
        if content[header] == LEAF_OF_A_TABLE && rows > 0 {
            leaves.push((header, rows));
        }
    }
    leaves
}

#[test]
fn p21_page_that_lost_its_last_row_is_seen() {
    let (folder, content) = closed_file();
    let whole = everything(folder.as_ref()).expect("it is whole");
    assert_eq!(whole.0.seq, Seq(200));
    let leaves = leaves(&content);
    assert!(leaves.len() > 20, "{} leaves", leaves.len());
    for (header, rows) in leaves {
        let mut damaged = content.clone();
        damaged[header + 3..header + 5].copy_from_slice(&(rows - 1).to_be_bytes());
        put(&folder, &damaged);
        assert!(
            everything(folder.as_ref()).is_none(),
            "a page at {header} lost one of {rows} rows, and nobody saw"
        );
    }
}

#[test]
fn lost_events_are_told_and_their_numbers_stay_taken() {
    let damages = [
        ("newest", "DELETE FROM event WHERE seq = 200"),
        ("all", "DELETE FROM event"),
        ("middle", "DELETE FROM event WHERE seq = 77"),
        (
            "foreign spec",
            "UPDATE event SET spec = spec - 1 WHERE seq = 9",
        ),
    ];
    let (folder, content) = closed_file();
    for (what, sql) in damages {
        put(&folder, &content);
        Database::open(folder.as_ref(), Access::Write)
            .expect("it is whole")
            .change(sql);
        let opened = SqliteStore::open(&folder, Options::default());
        let Ok(store) = opened else { continue };
        let read = store.events(Seq(8), 1);
        assert_eq!(what, "foreign spec", "{read:?}");
        assert!(read.is_err());
    }
}

#[test]
fn gap_right_after_the_number_asked_for_is_seen() {
    let (folder, _) = closed_file();
    let store = folder.open();
    store
        .pen()
        .database
        .change("DELETE FROM event WHERE seq = 77");
    for after in [0, 75, 76] {
        let error = store.events(Seq(after), 100).expect_err("77 is missing");
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    }
    assert_eq!(store.events(Seq(77), 1).expect("it is whole").len(), 1);
}

#[test]
fn commit_that_meets_damage_says_so() {
    let folder = Folder::new();
    let store = folder.open();
    let settled = change(1, State::Completed, 1);
    store.commit(&settled).expect("there is room");
    store
        .pen()
        .database
        .change("UPDATE task SET body = body || ' '");
    let error = store.commit(&change(1, State::Failed, 2));
    let error = error.expect_err("what is there cannot be read");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
}

#[test]
fn log_without_its_file_is_kept() {
    let folder = Folder::new();
    let store = folder.open();
    store
        .commit(&change(1, State::Running, 1))
        .expect("there is room");
    let image = Folder::new();
    let log = beside(image.as_ref(), "-wal");
    fs::copy(beside(folder.as_ref(), "-wal"), &log).expect("there is room");
    let bytes = fs::read(&log).expect("it is ours");
    for is_empty in [false, true] {
        if is_empty {
            fs::copy(&log, &image).expect("there is room");
            fs::write(&image, "").expect("it is ours");
        }
        for error in [
            SqliteStore::open(&image, Options::default()).expect_err("it is refused"),
            Reader::open(&image).expect_err("it is refused"),
        ] {
            assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
            assert!(error.to_string().contains("-wal"), "{error}");
        }
        assert_eq!(fs::read(&log).expect("it is ours"), bytes);
    }
}

#[test]
fn older_copy_beside_a_newer_log_is_refused() {
    let folder = Folder::new();
    let copy = {
        let store = folder.open();
        let batch = change(1, State::Completed, 1);
        store.commit(&batch).expect("there is room");
        drop(store);
        fs::read(&folder).expect("it is ours")
    };
    let store = folder.open();
    store
        .commit(&change(2, State::Running, 2))
        .expect("there is room");
    let image = Folder::new();
    for suffix in ["", "-wal", ".lock"] {
        let of = |folder: &Folder| beside(folder.as_ref(), suffix);
        fs::copy(of(&folder), of(&image)).expect("there is room");
    }
    let left = fs::read(&image).expect("it is ours");
    fs::write(&image, &copy).expect("it is ours");

    let error = SqliteStore::open(&image, Options::default()).expect_err("it is a mixture");

    let source = std::error::Error::source(&error).expect("it has a cause");
    assert!(source.to_string().contains("another copy"), "{source}");
    assert!(error.to_string().contains("remove"), "{error}");
    fs::write(&image, left).expect("it is ours");
    assert_eq!(image.open().load().expect("it is whole").seq, Seq(2));
    put(&image, &copy);
    assert_eq!(image.open().load().expect("it is whole").seq, Seq(1));
}

#[test]
fn older_copy_with_its_own_log_opens_with_all_of_it_when_it_is_done_as_told() {
    let folder = Folder::new();
    let image = Folder::new();
    let of = |folder: &Folder, suffix: &str| beside(folder.as_ref(), suffix);
    let store = folder.open();
    store
        .commit(&change(1, State::Running, 1))
        .expect("there is room");
    for suffix in ["", "-wal"] {
        fs::copy(of(&folder, suffix), of(&image, suffix)).expect("there is room");
    }
    drop(store);
    for _ in 0..2 {
        drop(folder.open());
    }
    fs::copy(of(&folder, ".lock"), of(&image, ".lock")).expect("there is room");

    let error = SqliteStore::open(&image, Options::default()).expect_err("it may be a mixture");

    let source = std::error::Error::source(&error).expect("it has a cause");
    for told in [error.to_string(), source.to_string()] {
        assert!(told.contains(".lock"), "{told}");
    }
    fs::remove_file(of(&image, ".lock")).expect("it is there");
    assert_eq!(image.open().load().expect("it is whole").seq, Seq(1));
}
