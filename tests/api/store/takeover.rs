//! A second process writes a file whose lock was lost.

use std::fs;
use std::time::Duration;

use understory::store::sqlite::Reader;
use understory::{SpawnError, State};

use super::{Folder, builder};
use crate::stage::{reaches, soon, until, until_cancelled};

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
