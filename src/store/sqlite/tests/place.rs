//! Who may use a file, and where it may be.

use std::fs;
#[cfg(unix)]
use std::os::unix::fs::{PermissionsExt, symlink};

use super::super::place::beside;
use super::*;

fn refusal(path: &Path) -> OpenError {
    SqliteStore::open(path, Options::default()).expect_err("it is refused")
}

#[cfg(unix)]
fn allow(path: &Path, mode: u32) {
    let permissions = fs::Permissions::from_mode(mode);
    fs::set_permissions(path, permissions).expect("it is ours");
}

#[test]
fn second_writer_is_refused_with_the_pid_of_the_first() {
    let folder = Folder::new();
    let first = folder.open();

    let error = refusal(folder.as_ref());

    let us = std::process::id();
    assert!(
        matches!(error, OpenError::InUse { pid: Some(pid), .. } if pid == us),
        "{error:?}"
    );
    let advice = "in use by another manager of this process: call its `shutdown` or `leave`";
    assert!(error.to_string().contains(advice), "{error}");
    let elsewhere = OpenError::InUse {
        path: folder.as_ref().to_owned(),
        pid: Some(us + 1),
    };
    let advice = format!("in use by process {}: stop that one", us + 1);
    assert!(elsewhere.to_string().contains(&advice), "{elsewhere}");
    first
        .commit(&change(1, State::Running, 1))
        .expect("the first goes on");
    drop(first);
    assert_eq!(folder.open().load().expect("it is whole").seq, Seq(1));
}

#[test]
fn lock_that_a_dead_process_left_behind_holds_nobody() {
    let folder = Folder::new();
    drop(folder.open());
    let lock = beside(folder.as_ref(), ".lock");
    fs::write(&lock, "4194304\n").expect("it is ours");
    drop(folder.open());
    let text = fs::read_to_string(lock).expect("it is ours");
    assert!(text.starts_with('\n'), "it names nobody: {text:?}");
}

#[test]
fn readers_see_what_was_committed_while_another_one_writes() {
    let folder = Folder::new();
    let store = folder.open();
    let reader = Reader::open(&folder).expect("readers are welcome");
    let mut batches = Vec::new();
    for seq in 1..=5 {
        batches.push(change(u128::from(seq), State::Running, seq));
        store
            .commit(&batches[batches.len() - 1])
            .expect("there is room");
    }

    let loaded = reader.load().expect("it is whole");
    assert_eq!((loaded.records.len(), loaded.seq), (5, Seq(5)));
    let scope = Scope::new("store").expect("it is valid");
    let mut before = None;
    let mut found = Vec::new();
    loop {
        let page = reader.page(Some(&scope), Some(State::Running), before, 2);
        let page = page.expect("it is whole");
        let Some(last) = page.last() else { break };
        before = Some((last.created_at, last.id));
        found.extend(page.iter().map(|record| record.seq.0));
    }
    assert_eq!(found, [5, 4, 3, 2, 1]);
    assert!(
        reader
            .page(None, Some(State::Failed), None, 9)
            .expect("it is whole")
            .is_empty()
    );
    let third = reader.get(sample::id(3)).expect("it is whole");
    assert_eq!(third.as_ref(), batches[2].records.first());
    assert_eq!(reader.get(sample::id(9)).expect("it is whole"), None);
    let events = reader.events(Seq(3), 9).expect("it is whole");
    assert_eq!(events.len(), 2);
    let events = reader
        .events_of(sample::id(2), Seq(0), 9)
        .expect("it is whole");
    assert_eq!(events, batches[1].events);
}

#[test]
fn children_are_read_by_their_parent() {
    let folder = Folder::new();
    let store = folder.open();
    let mut child = sample::spec("store");
    child.parent = Some(sample::id(1));
    let record = sample::record(sample::id(2), &Arc::new(child), State::Running, 2);
    let mut batch = change(1, State::Running, 1);
    batch.events.push(sample::event(2, &record));
    batch.records.push(Arc::clone(&record));
    store.commit(&batch).expect("there is room");

    let reader = Reader::open(&folder).expect("readers are welcome");
    assert_eq!(
        reader.children(sample::id(1)).expect("it is whole"),
        [record]
    );
    assert!(
        reader
            .children(sample::id(2))
            .expect("it is whole")
            .is_empty()
    );
}

#[test]
fn file_of_something_else_is_left_alone() {
    let folder = Folder::new();
    for content in [&b"a diary"[..], b"x", &[7; 9_000]] {
        fs::write(&folder, content).expect("it is ours");
        #[cfg(unix)]
        allow(folder.as_ref(), 0o600);
        let error = refusal(folder.as_ref());
        assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
        assert_eq!(fs::read(&folder).expect("it is ours"), content);
    }
    fs::remove_file(&folder).expect("it is ours");
    drop(folder.open());
    let file = rusqlite_file(folder.as_ref());
    file.set_identity(7, 1);
    let error = refusal(folder.as_ref());
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
}

fn rusqlite_file(path: &Path) -> Database {
    Database::open(path, Access::Write).expect("it is whole")
}

#[test]
fn newer_file_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    drop(folder.open());
    rusqlite_file(folder.as_ref()).set_identity(schema::APPLICATION_ID, 99);
    let before = content(&folder);
    assert!(!before.1.is_empty(), "its version is in the log");

    let error = refusal(folder.as_ref());

    assert!(
        matches!(error, OpenError::Newer { found: 99, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("version 99"), "{error}");
    let error = Reader::open(&folder).expect_err("it is refused");
    assert!(matches!(error, OpenError::Newer { .. }), "{error:?}");
    assert!(content(&folder) == before, "it was changed");
}

#[test]
fn missing_folder_is_told() {
    let error = refusal(Path::new("/nowhere/at/all/tasks.db"));
    assert!(matches!(error, OpenError::Unavailable { .. }), "{error:?}");
    let folder = Folder::new();
    let error = Reader::open(&folder).expect_err("a reader makes no file");
    assert!(matches!(error, OpenError::Unavailable { .. }), "{error:?}");
}

#[cfg(unix)]
#[test]
fn file_is_for_its_owner_alone() {
    let folder = Folder::new();
    let store = folder.open();
    store
        .commit(&change(1, State::Running, 1))
        .expect("there is room");
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let path = beside(folder.as_ref(), suffix);
        let mode = fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    drop(store);

    for mode in [0o644, 0o660, 0o602] {
        allow(folder.as_ref(), mode);
        let error = refusal(folder.as_ref()).to_string();
        assert!(error.contains("chmod 600"), "{error}");
        let error = Reader::open(&folder)
            .expect_err("it is refused")
            .to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn links_and_folders_of_everybody_are_refused() {
    let folder = Folder::new();
    drop(folder.open());
    let link = folder.as_ref().with_file_name("link.db");
    symlink(&folder, &link).expect("it can be made");
    let error = refusal(&link).to_string();
    assert!(
        error.contains("symbolic link") && error.contains("use the path"),
        "{error}"
    );

    let lock = beside(folder.as_ref(), ".lock");
    fs::remove_file(&lock).expect("it is ours");
    symlink(folder.as_ref().with_file_name("elsewhere"), &lock).expect("it can be made");
    let error = refusal(folder.as_ref()).to_string();
    assert!(error.contains(".lock is a symbolic link"), "{error}");
    fs::remove_file(&lock).expect("it is ours");

    let home = folder.as_ref().parent().expect("it has one");
    let link = private_folder().path().join("link");
    fs::create_dir_all(link.parent().expect("it has one")).expect("it can be made");
    symlink(home, &link).expect("it can be made");
    let error = refusal(&link.join("tasks.db")).to_string();
    assert!(error.contains(&home.display().to_string()), "{error}");
    fs::remove_dir_all(link.parent().expect("it has one")).expect("it is ours");

    allow(home, 0o777);
    for error in [
        refusal(folder.as_ref()).to_string(),
        Reader::open(&folder)
            .expect_err("it is refused")
            .to_string(),
    ] {
        let is_told = error.contains("everybody") && error.contains("mkdir -m 700");
        assert!(is_told, "{error}");
    }
    // Many systems give each user a group, and let it write.
    allow(home, 0o775);
    drop(folder.open());
    allow(home, 0o700);
    let inner = home.join("inner");
    fs::create_dir(&inner).expect("it can be made");
    let error = refusal(&inner).to_string();
    assert!(error.contains("is no file"), "{error}");
}

#[cfg(unix)]
#[test]
fn file_with_two_names_is_refused_by_both() {
    let folder = Folder::new();
    drop(folder.open());
    let other = folder.as_ref().with_file_name("other.db");
    fs::hard_link(&folder, &other).expect("it can be made");
    for path in [folder.as_ref(), &other] {
        let error = refusal(path).to_string();
        assert!(error.contains("hard links"), "{error}");
    }
    fs::remove_file(&other).expect("it is ours");
    drop(folder.open());
}
