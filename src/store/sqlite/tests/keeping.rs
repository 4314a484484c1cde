//! What the threads of a store do to its files, call by call.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::super::keeper::{Files, Keeper, LOG_BYTES, OwnFiles};
use super::super::place::beside;
use super::super::syncer::{Log, LogFile, Syncer};
use super::*;
use crate::kernel::{Payload, Timestamp};

/// A call that has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Sync,
    LogBytes,
    Checkpoint,
    Shrink { has_more: bool },
}

/// Files that tell each call.
struct Told<F> {
    inner: F,
    tell: Sender<Call>,
}

impl<F> Told<F> {
    fn new(inner: F) -> (Self, Receiver<Call>) {
        let (tell, told) = channel();
        (Self { inner, tell }, told)
    }

    fn tell<T>(&self, call: Call, done: T) -> T {
        // Nobody listens when the test is over.
        self.tell.send(call).ok();
        done
    }
}

impl<F: Log> Log for Told<F> {
    fn sync(&mut self) -> io::Result<()> {
        let done = self.inner.sync();
        self.tell(Call::Sync, done)
    }

    fn mend(&mut self) -> io::Result<()> {
        self.inner.mend()
    }
}

impl<F: Files> Files for Told<F> {
    fn log_bytes(&mut self) -> io::Result<u64> {
        let done = self.inner.log_bytes();
        self.tell(Call::LogBytes, done)
    }

    fn checkpoint(&mut self) -> Result<(), Trouble> {
        let done = self.inner.checkpoint();
        self.tell(Call::Checkpoint, done)
    }

    fn shrink(&mut self) -> Result<bool, Trouble> {
        let has_more = self.inner.shrink()?;
        self.tell(Call::Shrink { has_more }, Ok(has_more))
    }
}

fn window(loss_window: Duration) -> Options {
    Options::default().durability(Durability::Relaxed { loss_window })
}

/// A store with another window than it was opened with, and the syncs.
fn synced_within(folder: &Folder, loss_window: Duration) -> (SqliteStore, Receiver<Call>) {
    let mut store = folder.open_with(window(Duration::from_hours(1)));
    let (log, told) = Told::new(LogFile::new(&store.path, &store.pen));
    let syncer = Syncer::start(log, loss_window).expect("there are threads");
    store.syncer = Some(Box::new(syncer));
    (store, told)
}

/// A store whose keeper looks after each commit.
fn kept(folder: &Folder) -> (SqliteStore, Receiver<Call>) {
    let mut store = folder.open_with(Options::default().history_max(1));
    let (files, told) = Told::new(OwnFiles::new(&store.path, &store.pen));
    store.keeper = Keeper::start(files, Duration::ZERO).expect("there are threads");
    (store, told)
}

fn commit(store: &SqliteStore, seq: u64) {
    let batch = change(1, State::Running, seq);
    store.commit(&batch).expect("there is room");
}

#[test]
fn commits_wait_for_the_disk_unless_a_loss_window_is_asked_for() {
    let folder = Folder::new();
    let pragma = |store: &SqliteStore, name| store.pen().database.pragma(name);
    let asked = Duration::from_millis(70);
    let taken_back = window(asked).durability(Durability::Synced);
    for options in [Options::default(), taken_back] {
        let store = folder.open_with(options);
        for (name, wanted) in [
            ("synchronous", "2"),
            ("journal_mode", "wal"),
            ("fullfsync", "1"),
            ("checkpoint_fullfsync", "1"),
        ] {
            assert_eq!(pragma(&store, name), wanted, "{name}");
        }
        assert!(store.syncer.is_none());
    }

    // The keeper has one like that, which is to sync as well.
    let another = Database::open(folder.as_ref(), Access::Write).expect("it is whole");
    assert_eq!(another.pragma("fullfsync"), "1");
    assert_eq!(another.pragma("checkpoint_fullfsync"), "1");

    let store = folder.open_with(window(asked));
    assert_eq!(pragma(&store, "synchronous"), "1");
    let syncer = store.syncer.as_ref().expect("somebody has to sync");
    assert_eq!(syncer.loss_window(), asked);
}

#[test]
fn each_commit_is_synced_without_a_further_one_when_its_loss_window_is_short() {
    let folder = Folder::new();
    let (store, told) = synced_within(&folder, Duration::from_millis(10));
    for seq in 1..=3 {
        commit(&store, seq);
        // How long a sync takes is the disk's business; a window of an hour is not over by then.
        assert_eq!(told.recv_timeout(Duration::from_mins(1)), Ok(Call::Sync));
    }
}

#[test]
fn commits_of_one_window_share_a_sync_and_closing_makes_it() {
    // A longer window than this test lasts.
    let folder = Folder::new();
    let (store, told) = synced_within(&folder, Duration::from_hours(1));
    for seq in 1..=100 {
        commit(&store, seq);
    }
    assert_eq!(told.try_iter().count(), 0);
    drop(store);
    assert_eq!(told.iter().collect::<Vec<_>>(), [Call::Sync]);
}

/// A disk that does as it is told, one call after another.
struct Driven {
    begun: Sender<&'static str>,
    results: Receiver<io::Result<()>>,
}

impl Driven {
    fn call(&self, name: &'static str) -> io::Result<()> {
        self.begun.send(name).ok();
        self.results.recv().unwrap_or(Ok(()))
    }
}

impl Log for Driven {
    fn sync(&mut self) -> io::Result<()> {
        self.call("sync")
    }

    fn mend(&mut self) -> io::Result<()> {
        self.call("mend")
    }
}

#[test]
fn failed_sync_is_made_again_without_a_commit_and_until_then_none_is_taken() {
    let folder = Folder::new();
    let mut store = folder.open_with(window(Duration::from_hours(1)));
    let (begun, calls) = channel();
    let (answers, results) = channel();
    let disk = Driven { begun, results };
    let syncer = Syncer::start(disk, Duration::ZERO).expect("there are threads");
    store.syncer = Some(Box::new(syncer));
    let broken = || Err(io::Error::other("broken wire"));

    commit(&store, 1);
    assert_eq!(calls.recv(), Ok("sync"));
    answers.send(broken()).expect("it waits");
    for _ in 0..3 {
        assert_eq!(calls.recv(), Ok("mend"));
        let refused = store.commit(&change(1, State::Running, 2));
        let Err(StoreError::Unavailable { source }) = refused else {
            panic!("more than the window would be lost: {refused:?}");
        };
        assert!(source.to_string().contains("broken wire"), "{source}");
        answers.send(broken()).expect("it waits");
    }
    assert_eq!(calls.recv(), Ok("mend"));
    drop(answers);
    while store.commit(&change(1, State::Running, 2)).is_err() {
        std::thread::yield_now();
    }
}

#[test]
fn sync_that_outlasts_the_window_takes_no_further_commit() {
    let folder = Folder::new();
    let mut store = folder.open_with(window(Duration::from_hours(1)));
    let (begun, calls) = channel();
    let (answers, results) = channel();
    let disk = Driven { begun, results };
    let loss_window = Duration::from_millis(20);
    let syncer = Syncer::start(disk, loss_window).expect("there are threads");
    store.syncer = Some(Box::new(syncer));

    commit(&store, 1);
    assert_eq!(calls.recv(), Ok("sync"));
    let mut next = 2;
    while store.commit(&change(1, State::Running, next)).is_ok() {
        next += 1;
    }
    let refused = store.commit(&change(1, State::Running, next));
    let Err(StoreError::Unavailable { source }) = refused else {
        panic!("more than the window would be lost: {refused:?}");
    };
    assert!(source.to_string().contains("not on the disk"), "{source}");

    drop(answers);
    while store.commit(&change(1, State::Running, next)).is_err() {
        std::thread::yield_now();
    }
}

#[test]
fn commit_is_not_refused_for_the_time_between_a_decision_and_its_commit() {
    let folder = Folder::new();
    let hour = Duration::from_hours(1);
    let mut store = folder.open_with(window(hour));
    let (begun, _calls) = channel();
    let (_answers, results) = channel();
    let disk = Driven { begun, results };
    store.syncer = Some(Box::new(
        Syncer::start(disk, hour).expect("there are threads"),
    ));

    commit(&store, 1);
    let mut late = change(1, State::Running, 2);
    let decided = Timestamp::from_micros(u64::try_from(2 * hour.as_micros()).expect("it is small"));
    Arc::make_mut(&mut late.events[0]).at = decided;
    store.commit(&late).expect("the disk is healthy");
}

/// How often this process has a file open.
#[cfg(target_os = "linux")]
fn times_open(path: &Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").expect("it is there");
    let open = open.filter_map(|it| std::fs::read_link(it.ok()?.path()).ok());
    open.filter(|it| it == path).count()
}

#[cfg(target_os = "linux")]
#[test]
fn log_is_open_from_before_the_first_commit_on_so_that_no_failed_write_goes_unheard() {
    let folder = Folder::new();
    let store = folder.open();
    let log = beside(&store.path, "-wal");
    let without = times_open(&log);

    let mut file = LogFile::new(&store.path, &store.pen);
    for seq in 1..=3 {
        assert_eq!(times_open(&log), without + 1);
        commit(&store, seq);
        file.sync().expect("the disk is whole");
    }

    drop(file);
    assert_eq!(times_open(&log), without);
}

/// A disk whose driver fails.
struct Panics;

impl Log for Panics {
    fn sync(&mut self) -> io::Result<()> {
        panic!("it was told to")
    }

    fn mend(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_commit_is_taken_when_nobody_is_left_to_sync_it() {
    let folder = Folder::new();
    let mut store = folder.open_with(window(Duration::from_hours(1)));
    let (log, told) = Told::new(Panics);
    let syncer = Syncer::start(log, Duration::ZERO).expect("there are threads");
    store.syncer = Some(Box::new(syncer));

    commit(&store, 1);

    told.recv().expect_err("its thread has ended");
    let refused = store.commit(&change(1, State::Running, 2));
    let Err(StoreError::Unavailable { source }) = refused else {
        panic!("nobody would sync it: {refused:?}");
    };
    assert!(source.to_string().contains("has ended"), "{source}");
}

#[test]
fn log_that_cannot_be_synced_is_written_again_into_the_file() {
    let folder = Folder::new();
    let store = folder.open_with(window(Duration::from_hours(1)));
    for seq in 1..=10 {
        commit(&store, seq);
    }
    let mut log = LogFile::new(&store.path, &store.pen);
    log.mend().expect("the disk is whole");

    // The file alone has everything.
    let image = Folder::new();
    std::fs::copy(&folder, &image).expect("there is room");
    assert_eq!(image.open().load().expect("it is whole").seq, Seq(10));

    let reader = std::fs::remove_file(beside(&store.path, "-wal"));
    reader.expect("it is ours");
    let error = log.sync().expect_err("there is nothing to sync");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn relative_path_is_the_same_file_when_the_process_works_elsewhere() {
    let folder = Folder::new();
    let here = std::env::current_dir().expect("there is one");
    let mut relative: PathBuf = here.components().skip(1).map(|_| "..").collect();
    relative.extend(folder.as_ref().components().skip(1));
    assert!(relative.is_relative());

    let store = SqliteStore::open(&relative, Options::default()).expect("it is the same place");

    assert!(store.path().is_absolute(), "{}", store.path().display());
    assert!(folder.as_ref().exists());
}

/// Waits until the keeper has looked at the log; gives the calls until then.
fn until_looked(told: &Receiver<Call>) -> Vec<Call> {
    let mut calls: Vec<_> = told
        .iter()
        .take_while(|call| *call != Call::LogBytes)
        .collect();
    calls.push(Call::LogBytes);
    calls
}

#[test]
fn log_that_was_long_once_is_moved_once() {
    let folder = Folder::new();
    let (store, told) = kept(&folder);
    let log_bytes = || {
        let log = std::fs::metadata(beside(folder.as_ref(), "-wal"));
        log.expect("it is there").len()
    };
    let mut batch = change(1, State::Running, 1);
    let mut record = Record::clone(&batch.records[0]);
    let long = "x".repeat(usize::try_from(LOG_BYTES).expect("it fits") + (1 << 20));
    record.progress = Some(Payload::from_json(format!("\"{long}\"")));
    batch.records = vec![Arc::new(record)];
    store.commit(&batch).expect("there is room");
    assert!(log_bytes() > LOG_BYTES);
    until_looked(&told);
    assert_eq!(told.recv(), Ok(Call::Checkpoint));

    let mut calls = Vec::new();
    for seq in 2..=101 {
        commit(&store, seq);
        calls.extend(until_looked(&told));
    }
    let checkpoints = calls.iter().filter(|call| **call == Call::Checkpoint);
    assert_eq!(checkpoints.count(), 0);
    assert!(log_bytes() <= LOG_BYTES, "{} bytes", log_bytes());
}

#[test]
fn commits_have_their_turn_while_the_file_shrinks() {
    let folder = Folder::new();
    let (store, told) = kept(&folder);
    let tasks = 1..=5_000;
    let mut batch = Batch::default();
    for seq in tasks.clone() {
        batch.absorb(change(u128::from(seq), State::Completed, seq));
    }
    store.commit(&batch).expect("there is room");
    let mut prune = change(9_999, State::Running, 5_001);
    prune.removed = tasks.map(|seq| sample::id(u128::from(seq))).collect();
    store.commit(&prune).expect("there is room");

    let mut seq = 5_001;
    let mut slices = 0;
    loop {
        seq += 1;
        store
            .commit(&change(9_999, State::Running, seq))
            .expect("there is room");
        let calls: Vec<_> = told.try_iter().collect();
        let is_slice = |call: &&Call| **call == Call::Shrink { has_more: true };
        slices += calls.iter().filter(is_slice).count();
        if slices > 0 && calls.contains(&Call::Shrink { has_more: false }) {
            break;
        }
    }
    let commits = usize::try_from(seq - 5_001).expect("they are few");
    assert!(slices > 3, "{slices} slices");
    assert!(commits >= slices / 2, "{commits} commits, {slices} slices");
}
