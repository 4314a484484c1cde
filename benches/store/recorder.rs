//! What the manager commits when it runs plain tasks.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use understory::store::{
    Batch, Latency, Lease, LeaseAsk, Loaded, MemoryStore, Store, StoreError, Tenancy,
};
use understory::{Event, Manager, Retry, Seq, TaskBuilder};

/// Remembers every batch.
#[derive(Debug, Default)]
struct Recorder {
    inner: MemoryStore,
    batches: Mutex<Vec<Batch>>,
}

impl Store for Recorder {
    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.batches.lock().unwrap().push(batch.clone());
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
        Latency::Instant
    }
}

/// The batches of plain tasks, one after another.
pub(crate) fn record(tasks: usize) -> Vec<Batch> {
    runtime().block_on(async {
        let recorder = Arc::new(Recorder::default());
        let manager = Manager::builder()
            .store(Arc::clone(&recorder))
            .build()
            .unwrap();
        for _ in 0..tasks {
            plain(&manager, "bench")
                .spawn(|_| async { Ok(7) })
                .await
                .unwrap()
                .await
                .unwrap();
        }
        std::mem::take(&mut *recorder.batches.lock().unwrap())
    })
}

/// What is committed when a task of each scope runs: the last batch of each.
pub(crate) fn record_scopes(scopes: u64, kind: Option<&str>) -> Vec<Batch> {
    runtime().block_on(async {
        let recorder = Arc::new(Recorder::default());
        let builder = Manager::builder().store(Arc::clone(&recorder));
        let builder = match kind {
            Some(kind) => builder.executor(kind, |_, _| async { Ok(json!(7)) }),
            None => builder,
        };
        let manager = builder.build().unwrap();
        let mut last = Vec::new();
        for at in 0..scopes {
            let task = plain(&manager, &format!("scope-{at}"));
            let task = task.retry(Retry::fixed(3, Duration::ZERO));
            if let Some(kind) = kind {
                task.spawn_kind(kind, 1).await.unwrap().await.unwrap();
            } else {
                let again = |_| async { Ok(7) };
                task.spawn(again).await.unwrap().await.unwrap();
            }
            let mut batches = recorder.batches.lock().unwrap();
            last.push(batches.drain(..).next_back().unwrap());
        }
        last
    })
}

fn plain(manager: &Manager, scope: &str) -> TaskBuilder {
    manager.scope(scope).unnamed().label("agent", "reader")
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}
