//! What shares a commit where each one waits for a disk.

use std::sync::Arc;

use understory::Manager;
use understory::store::{FaultyStore, MemoryStore};

use crate::stage::soon;

#[tokio::test]
async fn end_of_one_task_shares_the_commit_of_the_next_spawn() {
    const TASKS: u64 = 200;
    let store = Arc::new(FaultyStore::new(MemoryStore::new()));
    let builder = Manager::builder().store(Arc::clone(&store));
    let manager = builder.build().unwrap();
    let scope = manager.scope("s");
    for _ in 0..TASKS {
        let task = scope.unnamed().spawn(|_| async { Ok(()) });
        soon(task).await.unwrap();
    }
    let commits = store.passed();
    // Each spawn is answered by a commit of its own.
    assert!(
        (TASKS..TASKS * 3 / 2).contains(&commits),
        "{commits} commits of {TASKS} tasks"
    );
}
