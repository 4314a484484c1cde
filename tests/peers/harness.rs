//! The bugs that agent harnesses report of each other, each as a test of ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use understory::{
    Cancel, Class, Context, Failure, Filter, Manager, OnParentEnd, Page, Seq, Since, SpawnError,
    State, TaskHandle, TaskRef,
};

use crate::stage::{feed_of, for_ever, reaches, rounds, sees, soon, story, until, until_cancelled};

fn enough() -> Cancel {
    Cancel::because("enough")
}

/// A body that ends by a value, an error, a panic, its cancel, or not at all.
async fn one_of_five(ctx: Context, way: u32) -> Result<u32, Failure> {
    match way % 5 {
        0 => Ok(way),
        1 => Err(Failure::new("broken")),
        2 => std::panic::resume_unwind(Box::new("on purpose")),
        3 => until_cancelled(ctx).await.map(|()| way),
        _ => std::future::pending().await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_spawns_cancels_and_panics_leave_every_slot_free() {
    let manager = Manager::builder()
        .limit("work", Class::queue(64))
        .grace(Duration::from_millis(5))
        // However long the machine stalls, a body that is dropped is not given up.
        .abort_window(Duration::from_hours(1))
        .build()
        .unwrap();
    let scope = manager.scope("s");
    let mut stops = tokio::task::JoinSet::new();
    for way in 0..rounds(10_000) {
        let task = scope.unnamed().limit("work");
        let task = task.spawn(move |ctx| one_of_five(ctx, way));
        let task = task.await.unwrap();
        if way % 5 > 2 || way % 7 == 0 {
            stops.spawn(async move { task.cancel(enough()).await.unwrap().len() });
        }
    }
    while let Some(stopped) = soon(stops.join_next()).await {
        assert_eq!(stopped.unwrap(), 1);
    }
    until(|| manager.live() == 0).await;

    let work = manager.capacity("work").await.unwrap().unwrap();
    assert_eq!((work.in_use, work.queued), (0, 0));
    assert_eq!(work.free(), 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_is_spawned_while_its_tree_is_cancelled_does_not_escape() {
    let manager = Manager::in_memory();
    for _ in 0..rounds(100) {
        let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
            let mut asks = Vec::new();
            for _ in 0..8 {
                asks.push(ctx.unnamed().spawn(until_cancelled).await.is_ok());
            }
            until_cancelled(ctx).await
        });
        let lead = lead.await.unwrap();
        tokio::task::yield_now().await;
        let report = soon(lead.cancel_tree(enough())).await.unwrap();
        assert!(report.abandoned.is_empty());
        assert_eq!(manager.live(), 0);
    }
}

/// A body at the end of a chain of `depth` bodies, each of which counts that it was asked to stop.
fn chain(
    ctx: Context,
    depth: usize,
    seen: Arc<AtomicUsize>,
) -> std::pin::Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>> {
    Box::pin(async move {
        if depth > 0 {
            let seen = Arc::clone(&seen);
            let child = ctx.unnamed();
            child.spawn(move |ctx| chain(ctx, depth - 1, seen)).await?;
        }
        ctx.cancelled().await;
        seen.fetch_add(1, Ordering::SeqCst);
        Ok(())
    })
}

#[tokio::test]
async fn every_body_of_a_tree_sees_the_cancel_of_its_root() {
    let manager = Manager::in_memory();
    let seen = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&seen);
    let root = manager.scope("s").task("top");
    let root = root.spawn(move |ctx| chain(ctx, 20, counts)).await.unwrap();
    until(|| manager.counts().total() == 21).await;
    for record in &manager.list(&Filter::all(), &Page::default()).records {
        reaches(&manager, record.id, State::Running).await;
    }
    let report = soon(root.cancel_tree(enough())).await.unwrap();

    assert_eq!(report.cancelled.len(), 21);
    assert_eq!(seen.load(Ordering::SeqCst), 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wait_misses_an_end_before_or_while_it_begins() {
    let manager = Manager::in_memory();
    for _ in 0..rounds(200) {
        let task = manager.scope("s").unnamed().spawn(|_| async { Ok(1) });
        let task = task.await.unwrap().task();
        let across = tokio::spawn({
            let task = task.clone();
            async move { task.settled().await.unwrap().state }
        });
        assert_eq!(soon(across).await.unwrap(), State::Completed);
        let waited = soon(manager.wait(std::slice::from_ref(&task)).all()).await;
        assert_eq!(waited.unwrap().done.len(), 1);
    }
}

#[tokio::test]
async fn parent_is_not_completed_while_a_child_of_it_lives() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    for (policy, ends_with_it) in [(OnParentEnd::Wait, false), (OnParentEnd::Cancel, true)] {
        let parent = scope.unnamed().spawn(move |ctx| async move {
            let child = ctx.task("child").on_parent_end(policy);
            child
                .spawn(|ctx| async move {
                    let told = async { ctx.recv().await.map(|_| ()) };
                    tokio::select! { _ = told => Ok(()), _ = ctx.cancelled() => Ok(()) }
                })
                .await?;
            Ok(())
        });
        let parent = parent.await.unwrap();
        if !ends_with_it {
            reaches(&manager, parent.id(), State::Waiting).await;
            let child = manager.children(parent.id())[0].id;
            assert_eq!(parent.state(), Some(State::Waiting));
            manager.send(child, "go").await.unwrap();
        }
        let end = soon(parent.settled()).await.unwrap();
        assert_eq!(end.state, State::Completed);
        let below = Filter::all().parent(parent.id());
        for child in manager.list(&below, &Page::default()).records {
            assert!(child.state.is_terminal() && child.seq < end.seq);
        }
    }
}

/// A body that panics, without the noise of it.
async fn panics(_: Context) -> Result<(), Failure> {
    std::panic::resume_unwind(Box::new("on purpose"))
}

async fn spawn_six(manager: &Manager) -> Result<Vec<(TaskRef, State)>, SpawnError> {
    let task = || {
        let task = manager.scope("s").unnamed();
        task.grace(Duration::from_millis(1))
    };
    let cancelled: TaskHandle<()> = task().spawn(until_cancelled).await?;
    let forced: TaskHandle<()> = task().spawn(for_ever).await?;
    for stopped in [&cancelled, &forced] {
        reaches(manager, stopped.id(), State::Running).await;
        stopped.cancel(enough()).await.expect("it is known");
    }
    let value = task().spawn(|_| async { Ok(()) }).await?;
    let error = task().spawn(|_| async { Err::<(), _>(Failure::new("broken")) });
    let panic = task().spawn(panics);
    let slow = task().timeout(Duration::from_millis(1)).spawn(for_ever);
    Ok(vec![
        (value.task(), State::Completed),
        (error.await?.task(), State::Failed),
        (panic.await?.task(), State::Failed),
        (slow.await?.task(), State::TimedOut),
        (cancelled.task(), State::Cancelled),
        (forced.task(), State::Cancelled),
    ])
}

#[tokio::test]
async fn each_of_six_causes_of_an_end_is_told_once() {
    let manager = Manager::in_memory();
    let feed = manager.subscribe(Since::Seq(Seq(0))).await;
    let mut feed = feed.unwrap();
    let six = spawn_six(&manager).await.unwrap();
    for (task, state) in &six {
        assert_eq!(soon(task.settled()).await.unwrap().state, *state);
        assert_eq!(task.state(), Some(*state));
    }
    let last = manager.scope("s").task("last").spawn(|_| async { Ok(()) });
    let last = last.await.unwrap();
    let mut ends = Vec::new();
    loop {
        let end = sees(&mut feed, |event| event.what.name() == "settled").await;
        if end.task == last.id() {
            break;
        }
        ends.push(end.task);
    }
    ends.sort();
    let mut expected: Vec<_> = six.iter().map(|(task, _)| task.id()).collect();
    expected.sort();
    assert_eq!(ends, expected, "one end each");
}

/// Counts when it is dropped.
struct Gone(Arc<AtomicUsize>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn body_is_gone_before_its_task_is_called_cancelled() {
    let manager = Manager::in_memory();
    for forced in [false, true] {
        let gone = Arc::new(AtomicUsize::new(0));
        let guard = Gone(Arc::clone(&gone));
        let task = manager.scope("s").unnamed().grace(Duration::from_millis(1));
        let task = task.spawn(move |ctx| async move {
            let _guard = guard;
            if forced {
                for_ever(ctx).await
            } else {
                until_cancelled(ctx).await
            }
        });
        let task = task.await.unwrap();
        reaches(&manager, task.id(), State::Running).await;
        let mut feed = feed_of(&manager, task.id()).await;
        let asks = tokio::spawn({
            let task = task.task();
            async move { task.cancel(enough()).await.unwrap() }
        });
        sees(&mut feed, |event| event.state == State::Cancelled).await;
        assert_eq!(gone.load(Ordering::SeqCst), 1, "forced: {forced}");
        assert_eq!(soon(asks).await.unwrap().cancelled, [task.id()]);
    }
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn stop_that_was_asked_for_outlives_a_failure_of_ours() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&runs);
    let manager = Manager::builder()
        .executor("k", move |ctx: Context, _| {
            counts.fetch_add(1, Ordering::SeqCst);
            async move {
                for_ever(ctx).await?;
                Ok(serde_json::Value::Null)
            }
        })
        .build()
        .unwrap();
    let task = manager.scope("s").unnamed();
    let task = task
        .grace(Duration::from_mins(1))
        .retry(understory::Retry::fixed(5, Duration::ZERO));
    let task = task.spawn_kind("k", 1).await.unwrap();
    reaches(&manager, task.id(), State::Running).await;
    let asks = tokio::spawn({
        let task = task.task();
        async move { task.cancel(enough()).await }
    });
    reaches(&manager, task.id(), State::CancelRequested).await;
    manager.break_part(understory::Part::Manager);
    let _fails_on_its_turn = manager.scope("s").unnamed().spawn(until_cancelled).await;
    let _is_lost = soon(asks).await;

    assert_eq!(soon(task.settled()).await.unwrap().state, State::Cancelled);
    until(|| manager.incarnation() == 2).await;
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn shutdown_says_what_it_stopped_what_had_ended_and_what_it_left() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let ended = scope.unnamed().spawn(|_| async { Ok(()) }).await.unwrap();
    soon(ended.settled()).await.unwrap();
    let stops = scope.unnamed().spawn(until_cancelled).await.unwrap();
    let finishes = scope
        .unnamed()
        .late_success(understory::LateSuccess::Completed);
    let finishes = finishes.spawn(until_cancelled).await.unwrap();
    let stays = scope.unnamed().cooperative().spawn(for_ever).await.unwrap();
    for task in [&stops, &finishes, &stays] {
        reaches(&manager, task.id(), State::Running).await;
    }
    let report = soon(manager.shutdown(Duration::from_millis(5))).await;
    let report = report.unwrap();

    assert_eq!(report.cancelled, [stops.id()]);
    assert_eq!(report.already_ended, [finishes.id()]);
    assert_eq!(report.abandoned, [stays.id()]);
    assert_eq!(story(&manager, ended.id()).await.len(), 3);
}
