//! A file is taken from under its manager: by a second process as its lock was lost, or as its name
//! was removed or given to another file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use understory::store::sqlite::Reader;
use understory::{SpawnError, State};

use super::{Folder, builder};
use crate::stage::{for_ever, reaches, soon, until, until_cancelled};

#[tokio::test]
async fn manager_whose_file_was_taken_over_writes_nothing_more_and_ends() {
    let folder = Folder::new();
    let first = folder.open().await;
    let scope = first.scope("s");
    let closure = scope.task("closure").spawn(until_cancelled).await.unwrap();
    let mut ids = vec![closure.id()];
    for number in 0..20 {
        let task = scope.unnamed().spawn_kind("double", number).await.unwrap();
        ids.push(task.id());
        soon(task).await.unwrap();
    }
    reaches(&first, closure.id(), State::Running).await;
    fs::remove_file(format!("{}.lock", folder.path.display())).unwrap();

    let second = soon(builder().open(&folder.path)).await.unwrap();

    let record = soon(second.task(closure.id()).settled()).await.unwrap();
    assert_eq!(record.state, State::Interrupted);
    let late = soon(scope.task("late").spawn(until_cancelled)).await;
    assert!(late.is_err(), "{late:?}");
    until(|| first.store_trouble().is_some()).await;
    let why = first.store_trouble().unwrap();
    assert!(why.contains("taken over"), "{why}");
    let refused = soon(scope.task("later").spawn(until_cancelled)).await;
    assert!(matches!(refused, Err(SpawnError::Unavailable(_))));
    soon(first.shutdown(Duration::ZERO)).await.unwrap_err();

    let more = second.scope("s").unnamed().spawn_kind("double", 4).await;
    let more = more.unwrap();
    ids.push(more.id());
    assert_eq!(soon(more).await.unwrap(), 8);
    soon(second.shutdown(Duration::from_secs(5))).await.unwrap();
    let mut found: Vec<_> = Reader::open(&folder.path).unwrap().load().unwrap().records;
    found.sort_by_key(|record| record.id);
    ids.sort();
    assert!(found.iter().map(|record| record.id).eq(ids));
    // Nothing of this was seen as damage, and the next one goes on.
    let next = folder.open().await;
    assert_eq!(next.get(closure.id()).unwrap().state, State::Interrupted);
}

type Way = fn(&Path);

/// What is done to a file, and what its manager says of that.
fn ways_to_go() -> [(Way, &'static str); 4] {
    fn log(path: &Path) -> PathBuf {
        format!("{}-wal", path.display()).into()
    }
    [
        (|path| fs::remove_file(path).unwrap(), "was removed"),
        (
            |path| fs::rename(path, path.with_extension("old")).unwrap(),
            "was removed",
        ),
        (
            |path| {
                let copy = path.with_extension("copy");
                fs::copy(path, &copy).unwrap();
                fs::rename(copy, path).unwrap();
            },
            "was replaced",
        ),
        (|path| fs::remove_file(log(path)).unwrap(), "was removed"),
    ]
}

#[tokio::test]
async fn manager_whose_file_was_removed_or_replaced_acknowledges_nothing_more_and_says_why() {
    for (way, told) in ways_to_go() {
        let folder = Folder::new();
        let manager = folder.open().await;
        let scope = manager.scope("s");
        scope.task("t").spawn(until_cancelled).await.unwrap();

        way(&folder.path);

        let late = soon(scope.task("late").spawn(until_cancelled)).await;
        assert!(late.is_err(), "{late:?}");
        until(|| manager.store_trouble().is_some()).await;
        let why = manager.store_trouble().unwrap();
        let is_clear = why.contains(told) && why.contains(&*folder.path.to_string_lossy());
        assert!(is_clear && why.contains("start again"), "{why}");
        soon(manager.shutdown(Duration::ZERO)).await.unwrap_err();
    }
}

#[tokio::test]
async fn idle_manager_hears_within_a_third_of_its_lease_that_its_file_is_gone() {
    let folder = Folder::new();
    let began = Instant::now();
    let ttl = Duration::from_secs(3);
    let manager = folder.open_as(builder().lease_ttl(ttl)).await;
    let (alive, gone) = oneshot::channel::<()>();
    let task = manager.scope("s").task("t").spawn(async move |ctx| {
        let _alive = alive;
        for_ever(ctx).await
    });
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Running).await;

    fs::remove_file(&folder.path).unwrap();

    assert!(soon(gone).await.is_err(), "it is dropped, never sent");
    let why = manager.store_trouble().unwrap();
    assert!(why.contains("was removed"), "{why}");
    let elapsed = began.elapsed();
    assert!(elapsed >= ttl / 3, "something else told it: {elapsed:?}");
}
