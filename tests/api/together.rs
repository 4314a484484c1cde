//! What shares a commit where each one waits for a disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use understory::store::{
    Batch, Latency, Lease, LeaseAsk, Loaded, MemoryStore, Store, StoreError, Tenancy,
};
use understory::{Event, Manager, Seq};

use crate::stage::soon;

/// Counts commits, and says that they may wait.
#[derive(Debug, Default)]
struct Counting {
    inner: MemoryStore,
    commits: AtomicU64,
}

impl Store for Counting {
    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.inner.commit(batch)
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        self.inner.load()
    }

    fn events(&self, after: Seq, limit: usize) -> Result<Vec<Arc<Event>>, StoreError> {
        self.inner.events(after, limit)
    }

    fn lease(&self, ask: &LeaseAsk) -> Result<Lease, StoreError> {
        self.inner.lease(ask)
    }

    fn tenancy(&self) -> Tenancy {
        self.inner.tenancy()
    }

    fn latency(&self) -> Latency {
        Latency::Blocking
    }
}

#[tokio::test]
async fn end_of_one_task_shares_the_commit_of_the_next_spawn() {
    const TASKS: u64 = 200;
    let store = Arc::new(Counting::default());
    let builder = Manager::builder().store(Arc::clone(&store));
    let manager = builder.build().unwrap();
    let scope = manager.scope("s");
    for _ in 0..TASKS {
        let task = scope.unnamed().spawn(|_| async { Ok(()) });
        soon(task).await.unwrap();
    }
    let commits = store.commits.load(Ordering::SeqCst);
    assert!(
        commits < TASKS * 3 / 2,
        "{commits} commits of {TASKS} tasks"
    );
}
