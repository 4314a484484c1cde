//! The second phase: what follows when a body does not stop.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use understory::{Cancel, CancelReport, Manager, State, TaskHooks, TaskId, What};

use super::{enough, seconds};
use crate::stage::{feed_of, for_ever, reaches, sees, soon, story, until_cancelled};

/// Cancels a body that ignores it with one grace, and once more with another one while it waits.
async fn cancel_twice(first: Cancel, second: Cancel) -> (Duration, Vec<CancelReport>, TaskId) {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").grace(seconds(60));
    let task = task.spawn(for_ever).await.unwrap();
    reaches(&manager, task.id(), State::Running).await;
    let begin = tokio::time::Instant::now();
    let waits = tokio::spawn({
        let task = task.task();
        async move { task.cancel(first).await.unwrap() }
    });
    reaches(&manager, task.id(), State::CancelRequested).await;
    let second = soon(task.cancel_tree(second)).await.unwrap();
    let first = soon(waits).await.unwrap();
    (begin.elapsed(), vec![first, second], task.id())
}

#[tokio::test(start_paused = true)]
async fn two_cancels_both_get_the_whole_report_and_the_shorter_grace_wins() {
    for (first, second, expected) in [(50, Some(2), 2), (3, Some(50), 3), (4, None, 4)] {
        let again = Cancel::because("again");
        let again = second.map_or(again.clone(), |grace| again.grace(seconds(grace)));

        let (took, reports, task) = cancel_twice(enough().grace(seconds(first)), again).await;

        for report in reports {
            assert_eq!(report.cancelled, [task]);
        }
        let expected = seconds(expected);
        assert!(expected <= took && took < expected + seconds(1), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn cooperative_body_is_abandoned_and_goes_on() {
    let manager = Manager::in_memory();
    let go = Arc::new(Notify::new());
    let task = manager.scope("s").task("t").cooperative().grace(seconds(1));
    let task = task.spawn({
        let go = Arc::clone(&go);
        |_| async move {
            go.notified().await;
            Ok(())
        }
    });
    let task = task.await.unwrap();
    let mut feed = feed_of(&manager, task.id()).await;

    let report = soon(task.cancel(enough())).await.unwrap();
    assert_eq!(
        (report.abandoned, report.cancelled),
        (vec![task.id()], vec![])
    );
    assert!(task.record().unwrap().is_abandoned());
    let again = soon(task.cancel(enough())).await.unwrap();
    assert_eq!(again.abandoned, [task.id()]);

    go.notify_one();
    let ended = sees(&mut feed, |event| event.what == What::BodyStopped).await;
    assert_eq!(ended.state, State::Cancelled);
    let names = story(&manager, task.id()).await;
    assert!(!names.contains(&"aborted"), "{names:?}");
}

#[tokio::test(start_paused = true)]
async fn body_that_ignores_the_request_is_dropped_after_its_grace() {
    struct Dropped(Arc<AtomicU32>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let manager = Manager::in_memory();
    let drops = Arc::new(AtomicU32::new(0));
    let held = Dropped(Arc::clone(&drops));
    let task = manager
        .scope("s")
        .task("t")
        .grace(seconds(7))
        .spawn(|ctx| async move {
            let _held = held;
            for_ever(ctx).await
        });
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Running).await;
    let begin = tokio::time::Instant::now();

    let report = soon(task.cancel(enough())).await.unwrap();

    assert_eq!(report.cancelled, [task.id()]);
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    assert!(seconds(7) <= begin.elapsed() && begin.elapsed() < seconds(8));
    let told = ["accepted", "started", "stop_asked", "aborted", "settled"];
    assert_eq!(story(&manager, task.id()).await, told);
}

#[tokio::test(start_paused = true)]
async fn shorter_one_of_the_task_s_grace_and_the_cancel_s_counts() {
    let manager = Manager::builder().grace(seconds(30)).build().unwrap();
    let both = [Some(4), Some(9), None];
    for (own, asked) in both.iter().flat_map(|own| both.map(|asked| (*own, asked))) {
        let task = manager.scope("s").unnamed();
        let task = match own {
            Some(own) => task.grace(seconds(own)),
            None => task,
        };
        let task = task.spawn(for_ever).await.unwrap();
        reaches(&manager, task.id(), State::Running).await;
        let begin = tokio::time::Instant::now();
        let cancel = asked.map_or(enough(), |asked| enough().grace(seconds(asked)));

        soon(task.cancel(cancel)).await.unwrap();

        let expected = seconds(own.into_iter().chain(asked).min().unwrap_or(30));
        let took = begin.elapsed();
        assert!(
            expected <= took && took < expected + seconds(1),
            "{own:?} {asked:?} {took:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_hangs_has_the_abort_window_of_its_manager_beyond_the_grace() {
    for window in [seconds(1), seconds(4)] {
        let hangs = TaskHooks::new().before_settle(|_| pending());
        let builder = Manager::builder().task_hooks(hangs).abort_window(window);
        let manager = builder.build().unwrap();
        let task = manager.scope("s").task("t").spawn(for_ever).await.unwrap();
        reaches(&manager, task.id(), State::Running).await;
        let begin = tokio::time::Instant::now();

        let cancel = enough().grace(seconds(3));
        let report = soon(task.cancel_tree(cancel)).await.unwrap();

        assert_eq!(report.cancelled, [task.id()]);
        let (took, expected) = (begin.elapsed(), seconds(3) + window);
        assert!(
            expected <= took && took < expected + seconds(1),
            "{window:?}: {took:?}"
        );
    }
}

/// A whole tree at once: its reports are more than one turn of the manager takes.
#[tokio::test(start_paused = true)]
async fn who_ended_before_the_grace_was_over_is_heard_before_it_counts() {
    let builder = Manager::builder().abort_window(Duration::ZERO);
    let manager = builder.build().unwrap();
    let lead = manager.scope("s").task("lead").spawn(until_cancelled);
    let lead = lead.await.unwrap();
    for _ in 0..600 {
        let child = manager.scope("s").unnamed().parent(lead.id());
        let child = child.spawn(until_cancelled).await.unwrap();
        reaches(&manager, child.id(), State::Running).await;
    }

    let report = soon(lead.cancel_tree(enough().grace(Duration::ZERO)))
        .await
        .unwrap();

    assert_eq!((report.abandoned.len(), report.cancelled.len()), (0, 601));
}

/// With the default, 512 bodies that compute until they are cancelled fill the pool.
#[cfg(feature = "testing")]
#[test]
fn bodies_that_fill_the_pool_of_threads_can_be_cancelled() {
    use understory::store::{FaultyStore, MemoryStore};

    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().max_blocking_threads(1);
    let runtime = runtime.build().unwrap();
    let test = Arc::new(());
    let (tell, mut begun) = tokio::sync::mpsc::unbounded_channel();
    runtime.block_on(async {
        let store = FaultyStore::new(MemoryStore::new());
        let manager = Manager::builder().store(store).build().unwrap();
        let goes_on = Arc::downgrade(&test);
        let task = manager.scope("s").task("t").spawn(|ctx| async move {
            let token = ctx.token();
            let computing = tokio::task::spawn_blocking(move || {
                tell.send(()).unwrap();
                while !token.is_cancelled() && goes_on.upgrade().is_some() {
                    std::thread::yield_now();
                }
            });
            Ok(computing.await?)
        });
        let task = soon(task).await.unwrap();
        soon(begun.recv()).await.unwrap();

        let report = soon(task.cancel_tree(enough().grace(seconds(60)))).await;
        drop(test);

        assert_eq!(report.unwrap().cancelled, [task.id()]);
        assert_eq!(task.state(), Some(State::Cancelled));
    });
}
