//! Trees of many shapes: each is cancelled whole, at a cost that grows with its size.

use std::time::Duration;

use tokio::sync::mpsc;
use understory::{BoxFuture, Context, Failure, Manager, Seq, TaskHandle};

use super::{enough, scale};
use crate::stage::{soon, until_cancelled};

/// A manager that takes a tree of any shape of this size, and has the patience for it: no body is
/// forced because the machine is too slow to ask all of them in time.
fn roomy(size: usize) -> Manager {
    let depth = u32::try_from(size).expect("a size that memory can hold");
    let builder = Manager::builder().live_max(size).children_max(size);
    let builder = builder.depth_max(depth).grace(Duration::from_hours(1));
    builder.build().unwrap()
}

/// Grows a tree in which the parent of the `n`-th task is the one of number `above(n)`.
async fn grow(manager: &Manager, size: usize, above: fn(usize) -> usize) -> TaskHandle<()> {
    let scope = manager.scope("s");
    let root = scope.task("lead").spawn(until_cancelled).await.unwrap();
    let mut ids = vec![root.id()];
    for number in 1..size {
        let task = scope.unnamed().parent(ids[above(number)]);
        ids.push(task.spawn(until_cancelled).await.unwrap().id());
    }
    root
}

async fn cancels_whole(size: usize, above: fn(usize) -> usize) {
    let manager = roomy(size);
    let root = grow(&manager, size, above).await;

    let report = soon(root.cancel_tree(enough())).await.unwrap();

    assert_eq!((report.cancelled.len(), report.len()), (size, size));
    assert_eq!(report.cancelled.last(), Some(&root.id()));
    assert_eq!(manager.live(), 0);
    // Accepted, started, asked to stop, settled, and perhaps: waiting for its children. The root's
    // end is the last event.
    let events = root.record().unwrap().seq;
    assert!(
        (Seq(4 * size as u64)..=Seq(5 * size as u64)).contains(&events),
        "{events}"
    );
}

#[tokio::test]
async fn flat_tree_is_cancelled_whole_with_a_few_events_a_task() {
    cancels_whole(scale(3_000), |_| 0).await;
}

#[tokio::test]
async fn bushy_tree_is_cancelled_whole_with_a_few_events_a_task() {
    cancels_whole(scale(3_000), |number| (number - 1) / 10).await;
}

#[tokio::test]
async fn chain_is_cancelled_whole_with_a_few_events_a_task() {
    cancels_whole(scale(1_000), |number| number - 1).await;
}

/// A body that awaits a child that awaits a child, and tells when the last one runs.
fn link(ctx: Context, below: usize, deepest: mpsc::Sender<()>) -> BoxFuture<Result<(), Failure>> {
    Box::pin(async move {
        if below == 0 {
            deepest.send(()).await?;
            return until_cancelled(ctx).await;
        }
        let child = ctx
            .unnamed()
            .spawn(move |ctx| link(ctx, below - 1, deepest));
        Ok(child.await?.await?)
    })
}

async fn chain(manager: &Manager, size: usize) -> TaskHandle<()> {
    let (deepest, mut is_deepest) = mpsc::channel(1);
    let root = manager.scope("s").task("lead");
    let root = root
        .spawn(move |ctx| link(ctx, size - 1, deepest))
        .await
        .unwrap();
    soon(is_deepest.recv()).await.unwrap();
    root
}

#[tokio::test]
async fn chain_of_bodies_that_await_each_other_unwinds() {
    let size = scale(1_000);
    let manager = roomy(size);
    let root = chain(&manager, size).await;

    let report = soon(root.cancel_tree(enough())).await.unwrap();

    assert_eq!((report.len(), report.abandoned.len()), (size, 0));
    assert_eq!(manager.live(), 0);
}

#[test]
fn runtime_that_is_dropped_with_a_live_chain_does_not_overflow_the_stack() {
    let size = scale(1_000);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (manager, root) = runtime.block_on(async {
        let manager = roomy(size);
        let root = chain(&manager, size).await;
        (manager, root)
    });
    assert_eq!(manager.live(), size);

    drop(runtime);

    assert!(
        root.record()
            .is_some_and(|record| !record.state.is_terminal())
    );
    drop(root);
    drop(manager);
}
