//! Power cuts while the log is moved into the file, and while a new log is written over an old one.
//!
//! What was written and not synced may be on the disk or not, in any order and torn. So where
//! SQLite syncs the file, each page that it wrote before is as it was or as it shall be; the log
//! that they came from is on the disk by then, and whole.

use std::{fs, io};

use super::super::super::place::{self, Place, beside};
use super::*;

const PAGE_BYTES: usize = 4_096;
const LOG_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
const FRAME_BYTES: usize = FRAME_HEADER_BYTES + PAGE_BYTES;

/// What is on a disk.
#[derive(Clone)]
struct Disk {
    file: Vec<u8>,
    log: Vec<u8>,
    lock: Vec<u8>,
}

impl Disk {
    fn of(folder: &Folder) -> Self {
        let read = |suffix| fs::read(beside(folder.as_ref(), suffix)).unwrap_or_default();
        Self {
            file: read(""),
            log: read("-wal"),
            lock: read(".lock"),
        }
    }

    /// A folder that the next process finds.
    fn put(&self) -> Folder {
        let folder = Folder::new();
        for (suffix, content) in [("", &self.file), ("-wal", &self.log), (".lock", &self.lock)] {
            let path = beside(folder.as_ref(), suffix);
            fs::write(&path, content).expect("there is room");
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                let ours = fs::Permissions::from_mode(0o600);
                fs::set_permissions(path, ours).expect("it is ours");
            }
        }
        folder
    }

    fn loaded(&self) -> Loaded {
        loaded(&self.put())
    }

    /// Holds each moment of a move from its log into its file against what is wanted.
    fn becomes(&self, after: &[u8], wanted: &Loaded) {
        for file in some(moments(&self.file, after)) {
            let disk = Self {
                file,
                ..self.clone()
            };
            assert_eq!(disk.loaded(), *wanted);
        }
    }
}

/// One in so many moments is looked at; the whole proof looks at each.
fn some<T>(moments: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    let step = std::env::var("UNDERSTORY_POWER_STEP");
    let step = step.ok().and_then(|text| text.parse().ok());
    moments.into_iter().step_by(step.unwrap_or(4))
}

/// The file at each moment of a move that made `after` of `before`: with some of its pages written,
/// in order or in the opposite one, and one of them in part.
fn moments(before: &[u8], after: &[u8]) -> Vec<Vec<u8>> {
    let page = |of: &[u8], at: usize| {
        let from = (at * PAGE_BYTES).min(of.len());
        of[from..(from + PAGE_BYTES).min(of.len())].to_owned()
    };
    let count = before.len().max(after.len()) / PAGE_BYTES;
    let mut changed: Vec<usize> = (0..count)
        .filter(|at| *at < after.len() / PAGE_BYTES && page(before, *at) != page(after, *at))
        .collect();
    let mut found = Vec::new();
    for parts in [&[PAGE_BYTES / 8, PAGE_BYTES][..], &[PAGE_BYTES]] {
        let mut file = before.to_owned();
        for at in &changed {
            let from = at * PAGE_BYTES;
            let new = page(after, *at);
            file.resize(file.len().max(from + PAGE_BYTES), 0);
            for to in parts {
                file[from..from + to].copy_from_slice(&new[..*to]);
                found.push(file.clone());
            }
        }
        changed.reverse();
    }
    // A file that became shorter is cut before it is synced.
    let mut cut = before.to_owned();
    cut.resize(after.len(), 0);
    found.push(cut);
    found.push(after.to_owned());
    found
}

/// Commits some tasks, or removes the oldest ones and gives their pages back.
fn work(store: &SqliteStore, removes: bool) {
    let before = store.load().expect("it is whole");
    for seq in before.seq.0 + 1..=before.seq.0 + 3 {
        let mut batch = change(u128::from(seq), State::Running, seq);
        if removes {
            let oldest = before.records.iter().take(20);
            batch.removed = oldest.map(|record| record.id).collect();
        } else {
            for other in 1..=12 {
                batch.absorb(Batch {
                    records: change(u128::from(seq * 100 + other), State::Running, seq).records,
                    ..Batch::default()
                });
            }
        }
        store.commit(&batch).expect("there is room");
    }
    if removes {
        let shrunk = store.pen().database.shrink(100);
        shrunk.expect("there is room");
    }
}

#[test]
fn p21_power_cut_at_any_sync_of_the_file_loses_nothing() {
    let folder = Folder::new();
    let store = folder.open();
    let mut lengths = Vec::new();
    for removes in [false, false, true, true] {
        work(&store, removes);
        let wanted = store.load().expect("it is whole");
        let before = Disk::of(&folder);

        let is_all = store.pen().database.checkpoint();

        assert!(is_all.expect("there is room"), "nobody is in the way");
        let after = Disk::of(&folder);
        assert_ne!(before.file, after.file);
        assert_eq!(before.log, after.log, "it is written over by the next one");
        before.becomes(&after.file, &wanted);
        let without_log = Disk {
            log: Vec::new(),
            ..after.clone()
        };
        assert_eq!(without_log.loaded(), wanted, "the file has all of it");
        lengths.push(after.file.len());
        next_log_over(&store, &folder, &after);
    }
    assert!(
        lengths[3] < lengths[1],
        "the file became shorter: {lengths:?}"
    );
}

/// Where the next commit writes a log over one that was moved, nothing but that commit is at stake.
fn next_log_over(store: &SqliteStore, folder: &Folder, old: &Disk) {
    let before = store.load().expect("it is whole");
    let seq = before.seq.0 + 1;
    let batch = change(u128::from(seq), State::Running, seq);
    store.commit(&batch).expect("there is room");
    let after = store.load().expect("it is whole");
    let new = Disk::of(folder);
    assert_eq!(old.file, new.file, "only the log was written");
    let salt = 16..24;
    assert_ne!(old.log[salt.clone()], new.log[salt], "it is a new log");
    let written = new
        .log
        .iter()
        .zip(&old.log)
        .rposition(|(new, old)| new != old);
    let written = written.expect("it is another log") + 1;
    let frames = (written - LOG_HEADER_BYTES).div_ceil(FRAME_BYTES);
    let end = LOG_HEADER_BYTES + frames * FRAME_BYTES;

    let mut cuts = vec![0, 8, 20, LOG_HEADER_BYTES - 1, LOG_HEADER_BYTES, end - 1];
    for frame in 0..frames {
        let from = LOG_HEADER_BYTES + frame * FRAME_BYTES;
        cuts.extend([from, from + FRAME_HEADER_BYTES, from + FRAME_BYTES / 2]);
    }
    for cut in some(cuts) {
        let begun = [&new.log[..cut], &old.log[cut..]].concat();
        let disk = Disk {
            log: begun,
            ..new.clone()
        };
        assert_eq!(disk.loaded(), before, "{cut} of {end} bytes");
    }
    // Its frames came before its header.
    let headless = [&old.log[..LOG_HEADER_BYTES], &new.log[LOG_HEADER_BYTES..]].concat();
    let disk = Disk {
        log: headless,
        ..new.clone()
    };
    assert_eq!(disk.loaded(), before);
    assert_eq!(new.loaded(), after);
}

/// What a process that was killed leaves behind, and what it had committed.
fn killed() -> (Disk, Loaded) {
    let folder = Folder::new();
    let store = folder.open();
    work(&store, false);
    let wanted = store.load().expect("it is whole");
    (Disk::of(&folder), wanted)
}

#[test]
fn power_cut_while_a_file_is_opened_or_closed_loses_nothing() {
    let (killed, wanted) = killed();
    let next = killed.put();
    let store = next.open();
    let opened = Disk::of(&next);
    assert_ne!(killed.file, opened.file, "its generation is in the file");
    let log = opened.log.clone();
    // The generation is noted when the file has it.
    Disk { log, ..killed }.becomes(&opened.file, &wanted);
    assert_eq!(opened.loaded(), wanted);

    work(&store, true);
    let wanted = store.load().expect("it is whole");
    let before = Disk::of(&next);
    drop(store);
    let closed = Disk::of(&next);
    assert!(closed.log.is_empty());
    before.becomes(&closed.file, &wanted);
    assert_eq!(closed.loaded(), wanted);
}

#[test]
fn what_a_killed_process_wrote_is_synced_before_it_is_told() {
    let (killed, wanted) = killed();
    let next = killed.put();

    // Nothing of the log is on the disk but what is synced.
    let mut synced = Vec::new();
    let place = Place::take(next.as_ref(), |log| {
        synced = fs::read(log)?;
        Ok(())
    });
    let store = SqliteStore::open_in(place.expect("it is whole"), Options::default());
    let told = store.expect("it is whole").load().expect("it is whole");

    assert_eq!(told, wanted);
    let cut = Disk {
        log: synced,
        ..killed.clone()
    };
    assert_eq!(cut.loaded(), told);
    let next = killed.put();
    let refused = Place::take(next.as_ref(), |_| Err(io::Error::other("no disk")));
    let is_refused = matches!(refused, Err(OpenError::Unavailable { .. }));
    assert!(is_refused, "{refused:?}");
    place::sync_log(&beside(next.as_ref(), "-wal")).expect("it is there");
    place::sync_log(&beside(next.as_ref(), "-none")).expect("nothing is at stake");
    // This one can be opened, not synced.
    #[cfg(target_os = "linux")]
    place::sync_log(Path::new("/dev/null")).expect_err("it is no disk");
}
