//! `JoinSet`: the least that knows its tasks and ends them with itself.
//!
//! It has neither inboxes nor events.

use std::future::pending;
use std::pin::Pin;

use tokio::task::JoinSet;

use super::{Measuring, Peer, by_callers};
use crate::bench::latch::Latch;
use crate::bench::sample::{Sample, Watch};
use crate::bench::workload::{IN_FLIGHT, Shape, Workload};

/// Tasks in a `JoinSet`, trees as a `JoinSet` in each task.
pub(crate) struct InJoinSet;

impl Peer for InJoinSet {
    fn name(&self) -> &'static str {
        "JoinSet"
    }

    fn measure(&self, workload: Workload, size: usize) -> Option<Measuring> {
        Some(match workload {
            Workload::Complete => Box::pin(complete(size, 1)),
            Workload::CompleteTwice => Box::pin(complete(size, 2)),
            Workload::Live => Box::pin(live(size)),
            Workload::Cancel(shape) => Box::pin(cancel(size, shape)),
            Workload::Kept
            | Workload::Idle { .. }
            | Workload::Inbox { .. }
            | Workload::InboxOf { .. }
            | Workload::Events { .. }
            | Workload::Get { .. }
            | Workload::Page { .. }
            | Workload::GetBusy { .. }
            | Workload::PageBusy { .. }
            | Workload::Durable { .. }
            | Workload::Fsync => return None,
        })
    }
}

async fn complete(size: usize, callers: usize) -> Sample {
    by_callers(size, callers, |_| call).await
}

async fn call(size: usize) -> usize {
    let mut under_way = JoinSet::new();
    let mut sum = 0;
    for number in 0..size {
        if under_way.len() == IN_FLIGHT {
            let next = under_way.join_next().await.expect("it is full");
            sum += next.expect("it does not panic");
        }
        under_way.spawn(async move { number });
    }
    while let Some(next) = under_way.join_next().await {
        sum += next.expect("it does not panic");
    }
    sum
}

async fn live(size: usize) -> Sample {
    let started = Latch::new(size);
    let mut set = JoinSet::new();
    let watch = Watch::start();
    for _ in 0..size {
        let started = started.clone();
        set.spawn(async move {
            started.count_down();
            pending::<()>().await;
        });
    }
    started.opened().await;
    watch.stop(size)
}

/// The last handle to the tree is its root: dropping that ends everything below, level by level.
async fn cancel(size: usize, shape: Shape) -> Sample {
    let tree = Tree {
        shape,
        size,
        started: Latch::new(size),
        ended: Latch::new(size),
    };
    let (started, ended) = (tree.started.clone(), tree.ended.clone());
    let mut root = JoinSet::new();
    root.spawn(node(0, tree));
    started.opened().await;
    let watch = Watch::start();
    drop(root);
    ended.opened().await;
    watch.stop(size)
}

#[derive(Clone)]
struct Tree {
    shape: Shape,
    size: usize,
    started: Latch,
    ended: Latch,
}

fn node(place: usize, tree: Tree) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let _guard = tree.ended.guard();
        let mut children = JoinSet::new();
        for child in tree.shape.children_of(place, tree.size) {
            children.spawn(node(child, tree.clone()));
        }
        tree.started.count_down();
        pending::<()>().await;
    })
}
