//! What a damaged file leads to: it is refused, or it is exactly what was committed.

use std::fs;

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

/// A closed file with some hundred tasks.
fn closed_file() -> (Folder, Vec<u8>) {
    let folder = Folder::new();
    let store = folder.open();
    for seq in 1..=200 {
        let state = State::ALL[usize::try_from(seq).expect("it is small") % 5];
        let batch = change(u128::from(seq), state, seq);
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
        fs::write(&folder, &damaged).expect("it is ours");
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
