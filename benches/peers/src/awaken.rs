//! The background tasks of `awaken-runtime` 0.6.
//!
//! It has no handle to await: a task's end is an event in the inbox of its owner, and this is how
//! the workloads learn of it. That inbox has one reader, so there is no second subscriber. Where
//! its cost grows with the number of tasks, it gets fewer; its row says how many.

use std::sync::Arc;

use awaken_runtime::extensions::background::{
    BackgroundTaskManager, BackgroundTaskPlugin, TaskParentContext, TaskResult,
};
use awaken_runtime::inbox::{InboxReceiver, inbox_channel};
use awaken_runtime::state::StateStore;
use serde_json::Value;

use crate::bench::{IN_FLIGHT, Latch, Measuring, Peer, Sample, Shape, Watch, Workload};

const OWNER: &str = "thread";

/// Its manager over its in-memory store.
pub(crate) struct Awaken;

impl Peer for Awaken {
    fn name(&self) -> &'static str {
        "awaken-runtime"
    }

    fn size(&self, workload: Workload) -> usize {
        match workload {
            // Two commits that meet copy the table of all tasks.
            Workload::Complete => 20_000,
            // Quadratic in the tasks of the tree.
            Workload::Cancel(_) => 4_000,
            // Every message copies the table of all tasks.
            Workload::Inbox { children: 1 } => 200_000,
            Workload::Inbox { .. } => 2_000,
            _ => workload.size(),
        }
    }

    fn measure(&self, workload: Workload, size: usize) -> Option<Measuring> {
        Some(match workload {
            Workload::Complete => Box::pin(complete(size)),
            Workload::Live => Box::pin(live(size)),
            Workload::Cancel(shape) => Box::pin(cancel(size, shape)),
            Workload::Inbox { children } => Box::pin(inbox(size, children)),
            Workload::Events { subscribers: 1 } => Box::pin(events(size)),
            _ => return None,
        })
    }
}

struct Host {
    manager: Arc<BackgroundTaskManager>,
    events: InboxReceiver,
}

impl Host {
    fn new() -> Self {
        let (inbox, events) = inbox_channel();
        let (manager, store) = (Arc::new(BackgroundTaskManager::new()), StateStore::new());
        manager.set_owner_inbox(inbox);
        let plugin = BackgroundTaskPlugin::with_store(manager.clone(), store.clone());
        store
            .install_plugin(plugin)
            .expect("it is the first plugin");
        Self { manager, events }
    }

    async fn next_event(&mut self) -> Value {
        self.events
            .recv_or_cancel(None)
            .await
            .expect("the manager lives")
    }

    async fn spawn_waiting(&self, parent: Option<String>, started: &Latch) -> String {
        let (parent, started) = (below(parent), started.clone());
        let body = |task: awaken_runtime::extensions::background::TaskContext| async move {
            started.count_down();
            task.cancelled().await;
            TaskResult::Cancelled
        };
        let spawned = self
            .manager
            .spawn(OWNER, "bench", None, "", parent, body)
            .await;
        spawned.expect("it is accepted")
    }
}

fn below(task_id: Option<String>) -> TaskParentContext {
    TaskParentContext {
        task_id,
        ..TaskParentContext::default()
    }
}

async fn complete(size: usize) -> Sample {
    let mut host = Host::new();
    let mut under_way = 0;
    let watch = Watch::start();
    for number in 0..size {
        if under_way == IN_FLIGHT {
            host.next_event().await;
            under_way -= 1;
        }
        let body = move |_| async move { TaskResult::Success(number.into()) };
        let spawned = host
            .manager
            .spawn(OWNER, "bench", None, "", below(None), body)
            .await;
        spawned.expect("it is accepted");
        under_way += 1;
    }
    for _ in 0..under_way {
        host.next_event().await;
    }
    watch.stop(size)
}

async fn live(size: usize) -> Sample {
    let host = Host::new();
    let started = Latch::new(size);
    let watch = Watch::start();
    for _ in 0..size {
        host.spawn_waiting(None, &started).await;
    }
    started.opened().await;
    watch.stop(size)
}

async fn cancel(size: usize, shape: Shape) -> Sample {
    let mut host = Host::new();
    let started = Latch::new(size);
    let mut tasks: Vec<String> = Vec::with_capacity(size);
    for place in 0..size {
        let parent = shape.parent_of(place).map(|parent| tasks[parent].clone());
        tasks.push(host.spawn_waiting(parent, &started).await);
    }
    started.opened().await;
    let watch = Watch::start();
    assert_eq!(host.manager.cancel_tree(&tasks[0]).await, size);
    for _ in 0..size {
        host.next_event().await;
    }
    watch.stop(size)
}

async fn inbox(size: usize, children: usize) -> Sample {
    let host = Host::new();
    let arrived = Latch::new(size);
    let mut tasks = Vec::with_capacity(children);
    for _ in 0..children {
        let arrived = arrived.clone();
        let spawned = host.manager.spawn_agent(
            OWNER,
            None,
            "",
            below(None),
            |token, _, mut inbox| async move {
                while inbox.recv_or_cancel(Some(&token)).await.is_some() {
                    arrived.count_down();
                }
                TaskResult::Cancelled
            },
        );
        tasks.push(spawned.await.expect("it is accepted"));
    }
    let watch = Watch::start();
    for number in 0..size {
        let task = &tasks[number % children];
        let sent = host
            .manager
            .send_task_inbox_message(task, OWNER, "bench", "7")
            .await;
        sent.expect("the child lives");
    }
    arrived.opened().await;
    watch.stop(size)
}

async fn events(size: usize) -> Sample {
    let mut host = Host::new();
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let body = move |task: awaken_runtime::extensions::background::TaskContext| async move {
        gone.await.expect("the measurement begins");
        for number in 0..size {
            assert!(task.emit("number", number.into()));
        }
        TaskResult::Success(Value::Null)
    };
    let spawned = host
        .manager
        .spawn(OWNER, "bench", None, "", below(None), body)
        .await;
    spawned.expect("it is accepted");
    let watch = Watch::start();
    go.send(()).expect("the body waits");
    for _ in 0..size {
        host.next_event().await;
    }
    watch.stop(size)
}
