//! A disk that is full, and gets room again, while a manager goes on.

use std::sync::Arc;
use std::time::Duration;

use understory::store::sqlite::{Options, SqliteStore};
use understory::{SpawnError, State};

use super::{Folder, builder};
use crate::stage::{soon, until};

#[tokio::test]
async fn p20_full_disk_acknowledges_nothing_and_work_goes_on_when_there_is_room() {
    let folder = Folder::new();
    let store = SqliteStore::open(&folder.path, Options::default()).unwrap();
    let store = Arc::new(store);
    let manager = builder().store(Arc::clone(&store)).build().unwrap();
    let scope = manager.scope("s");
    let mut acknowledged = Vec::new();
    for round in 1..=5_u32 {
        store.set_pages_max(round * 60);
        let asking = tokio::spawn({
            let scope = scope.clone();
            async move {
                let mut ids = Vec::new();
                loop {
                    match scope.unnamed().spawn_kind("double", 1).await {
                        Ok(task) => ids.push(task.id()),
                        Err(error) => return (ids, error),
                    }
                }
            }
        });
        until(|| manager.store_trouble().is_some()).await;
        assert!(manager.store_trouble().unwrap().contains("full"));
        let refused = soon(scope.unnamed().spawn_kind("double", 1)).await;
        assert!(
            matches!(refused, Err(SpawnError::Unavailable(_))),
            "{refused:?}"
        );

        store.set_pages_max(u32::MAX);
        until(|| manager.store_trouble().is_none()).await;
        let after = soon(scope.unnamed().spawn_kind("double", 2)).await.unwrap();
        acknowledged.push(after.id());
        soon(after).await.unwrap();
        asking.abort();
        if let Ok((ids, _)) = asking.await {
            acknowledged.extend(ids);
        }
    }
    assert_eq!(manager.incarnation(), 1, "nothing had to be started again");
    soon(manager.shutdown(Duration::from_secs(5)))
        .await
        .unwrap();
    drop(store);

    let next = folder.open().await;
    for id in acknowledged {
        assert_eq!(
            soon(next.task(id).settled()).await.unwrap().state,
            State::Completed
        );
    }
}
