//! The end of a manager.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};
use tokio_util::sync::CancellationToken;
use understory::kernel::Refusal;
use understory::{
    Cancel, CancelError, Cause, Context, Failure, FeedItem, Manager, NoteError, Retry, SendError,
    ShutdownReport, Since, SpawnError, State, Subscription, TaskHandle, TaskId, WaitError,
};

use crate::stage::{for_ever, reaches, settle_down, soon, until, until_cancelled};

const NONE: Duration = Duration::ZERO;

async fn nothing(_: Context) -> Result<(), Failure> {
    Ok(())
}

/// Every item of a stream, which ends.
async fn to_the_end(mut feed: Subscription) -> Vec<FeedItem> {
    let mut items = Vec::new();
    soon(async {
        while let Some(item) = feed.next().await {
            items.push(item);
        }
    })
    .await;
    items
}

fn sorted(report: &ShutdownReport) -> Vec<TaskId> {
    let mut ids = report.cancelled.clone();
    ids.sort();
    ids
}

#[tokio::test]
async fn drain_lets_bodies_come_to_their_end_and_refuses_everybody_else() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let lead = scope.task("lead").spawn(|ctx| async move {
        ctx.recv().await;
        let child = ctx.task("child").spawn(|_| async { Ok(7) }).await?;
        Ok(child.await?)
    });
    let lead: TaskHandle<i32> = lead.await.unwrap();
    let id = lead.id();
    let drained = tokio::spawn({
        let manager = manager.clone();
        async move { manager.drain(Duration::from_hours(1), NONE).await }
    });
    settle_down().await;

    let late = scope.task("late").spawn(nothing).await;
    assert!(matches!(late, Err(SpawnError::Unavailable(_))), "{late:?}");
    assert!(!drained.is_finished());
    lead.send("go").await.unwrap();

    assert_eq!(soon(lead).await.unwrap(), 7);
    let report = soon(drained).await.unwrap().unwrap();
    assert_eq!(report.cancelled, []);
    assert_eq!(manager.task(id).state(), Some(State::Completed));
}

#[tokio::test]
async fn drain_takes_what_a_helper_of_a_body_spawns_below_it() {
    let manager = Manager::in_memory();
    let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
        ctx.recv().await;
        let helper = ctx.clone();
        let child = async move { helper.task("child").spawn(|_| async { Ok(7) }).await };
        Ok(tokio::spawn(child).await??.await?)
    });
    let lead: TaskHandle<i32> = lead.await.unwrap();
    let drained = tokio::spawn({
        let manager = manager.clone();
        async move { manager.drain(Duration::from_hours(1), NONE).await }
    });
    settle_down().await;

    lead.send("go").await.unwrap();

    assert_eq!(soon(lead).await.unwrap(), 7);
    assert_eq!(soon(drained).await.unwrap().unwrap().cancelled, []);
}

#[tokio::test(start_paused = true)]
async fn drain_cancels_what_is_left_when_its_time_is_over() {
    let manager = Manager::in_memory();
    let hidden = manager.scope("s").task("h").hidden().spawn(for_ever);
    let hidden = hidden.await.unwrap();
    let begin = tokio::time::Instant::now();

    let report = soon(manager.drain(Duration::from_secs(30), NONE)).await;

    assert_eq!(report.unwrap().cancelled, [hidden.id()]);
    let took = begin.elapsed();
    let patience = Duration::from_secs(30);
    assert!(
        patience <= took && took < patience + Duration::from_secs(5),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_a_drain_at_once() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(for_ever).await.unwrap();
    let drained = tokio::spawn({
        let manager = manager.clone();
        async move { manager.drain(Duration::from_hours(1), NONE).await }
    });
    settle_down().await;
    let begin = tokio::time::Instant::now();

    let report = soon(manager.shutdown(NONE)).await.unwrap();

    assert_eq!(report.cancelled, [task.id()]);
    assert_eq!(soon(drained).await.unwrap().unwrap().cancelled, [task.id()]);
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn p19_nothing_is_left() {
    let alive = || Handle::current().metrics().num_alive_tasks();
    let baseline = alive();
    // However long the machine stalls, a body that is dropped is not given up.
    let builder = Manager::builder().abort_window(Duration::from_hours(1));
    let manager = builder.build().unwrap();
    let scope = manager.scope("s");
    let lead = scope.task("lead").spawn(|ctx| async move {
        for _ in 0..50 {
            ctx.unnamed().spawn(until_cancelled).await?;
        }
        for_ever(ctx).await
    });
    lead.await.unwrap();
    let linked = scope.task("linked").cancel_with(CancellationToken::new());
    linked
        .timeout(Duration::from_hours(1))
        .spawn(until_cancelled)
        .await
        .unwrap();
    let failing = scope
        .task("failing")
        .retry(Retry::fixed(1, Duration::from_hours(1)));
    failing
        .spawn(|_| async { Err::<(), _>(Failure::new("no")) })
        .await
        .unwrap();
    let paced = scope.task("paced");
    let paced = paced.coalesce_progress(Duration::from_hours(1));
    let paced = paced.spawn(|ctx| async move {
        ctx.progress("first").await?;
        ctx.progress("held").await?;
        for_ever(ctx).await
    });
    paced.await.unwrap();
    until(|| manager.live() == 54).await;
    settle_down().await;
    assert!(alive() > baseline + 53);

    let report = soon(manager.shutdown(NONE)).await.unwrap();

    assert_eq!(
        (report.cancelled.len(), report.len(), manager.live()),
        (54, 54, 0)
    );
    until(|| alive() == baseline).await;
}

#[tokio::test]
async fn every_caller_gets_the_same_report() {
    let manager = Manager::in_memory();
    let mut tasks = Vec::new();
    for _ in 0..5 {
        let task = manager
            .scope("s")
            .unnamed()
            .spawn(until_cancelled)
            .await
            .unwrap();
        tasks.push(task.id());
    }
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let manager = manager.clone();
            tokio::spawn(async move { manager.shutdown(Duration::from_secs(5)).await })
        })
        .collect();

    let mut reports = Vec::new();
    for call in calls {
        reports.push(soon(call).await.unwrap().unwrap());
    }
    reports.push(manager.shutdown(NONE).await.unwrap());

    assert!(
        reports.windows(2).all(|pair| pair[0] == pair[1]),
        "{reports:?}"
    );
    tasks.sort();
    assert_eq!(sorted(&reports[0]), tasks);
    for task in tasks {
        let record = manager.get(task).unwrap();
        assert_eq!(record.stop.as_ref().unwrap().cause, Cause::Shutdown);
    }
}

#[tokio::test]
async fn shutdown_that_its_caller_gave_up_goes_on() {
    for polls in 0..60 {
        let manager = Manager::in_memory();
        let scope = manager.scope("s");
        let task = scope.task("t").spawn(until_cancelled).await.unwrap();
        let mut given_up = Box::pin(manager.shutdown(Duration::from_secs(5)));
        for _ in 0..polls {
            let polled = poll_fn(|cx| Poll::Ready(given_up.as_mut().poll(cx))).await;
            if polled.is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(given_up);

        let report = soon(manager.shutdown(Duration::from_secs(5))).await;

        let report = report.unwrap_or_else(|error| panic!("after {polls} polls: {error}"));
        assert_eq!(report.cancelled, [task.id()], "after {polls} polls");
    }
}

#[tokio::test]
async fn new_work_is_refused_while_bodies_stop() {
    let manager = Manager::in_memory();
    let (tell, told) = tokio::sync::oneshot::channel();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        ctx.cancelled().await;
        drop(tell.send(ctx.unnamed().spawn(nothing).await.err()));
        // `recv` would hear the request to stop, too.
        until(|| ctx.try_recv().is_some()).await;
        Ok(())
    });
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Running).await;
    let shutdown = tokio::spawn({
        let manager = manager.clone();
        async move { manager.shutdown(Duration::from_hours(1)).await }
    });

    let by_the_body = soon(told).await.unwrap();
    let from_outside = manager.scope("s").unnamed().spawn(nothing).await.err();
    task.send("end").await.unwrap();
    let report = soon(shutdown).await.unwrap().unwrap();

    for refused in [by_the_body, from_outside] {
        assert!(
            matches!(refused, Some(SpawnError::Refused(Refusal::Closing))),
            "{refused:?}"
        );
    }
    assert_eq!(report.cancelled, [task.id()]);
    assert_eq!(manager.counts().total(), 1);
}

#[tokio::test]
async fn feed_ends_after_the_last_event() {
    let manager = Manager::in_memory();
    let feed = manager.subscribe(Since::Now).await.unwrap();
    let task = manager
        .scope("s")
        .task("t")
        .spawn(until_cancelled)
        .await
        .unwrap();

    manager.shutdown(Duration::from_secs(5)).await.unwrap();

    let names: Vec<_> = to_the_end(feed)
        .await
        .into_iter()
        .map(|item| match item {
            FeedItem::Event(event) => event.what.name(),
            FeedItem::Stopped => "the manager has stopped",
            other @ (FeedItem::Snapshot { .. } | FeedItem::Lagged { .. }) => {
                panic!("only events come: {other:?}")
            }
        })
        .collect();
    assert_eq!(
        names,
        [
            "accepted",
            "started",
            "stop_asked",
            "settled",
            "the manager has stopped",
        ]
    );
    assert_eq!(task.state(), Some(State::Cancelled));
}

#[tokio::test]
async fn later_verbs_fail_cleanly_and_reads_go_on() {
    let manager = Manager::in_memory();
    let (tell, told) = tokio::sync::oneshot::channel();
    let scope = manager.scope("s");
    let task = scope.task("t").spawn(|ctx| async move {
        drop(tell.send(ctx.clone()));
        until_cancelled(ctx).await
    });
    let (task, ctx) = (task.await.unwrap(), soon(told).await.unwrap());
    soon(manager.shutdown(Duration::from_secs(5)))
        .await
        .unwrap();
    let because = || Cancel::because("enough");

    let spawned = scope.unnamed().spawn(nothing).await;
    assert!(
        matches!(spawned, Err(SpawnError::Unavailable("it was shut down"))),
        "{spawned:?}"
    );
    assert!(matches!(
        task.cancel(because()).await,
        Err(CancelError::Gone)
    ));
    assert!(matches!(
        task.cancel_tree(because()).await,
        Err(CancelError::Gone)
    ));
    assert!(matches!(
        scope.cancel_scope(because()).await,
        Err(CancelError::Gone)
    ));
    assert!(matches!(
        manager.cancel_all(because()).await,
        Err(CancelError::Gone)
    ));
    assert!(matches!(task.send(1).await, Err(SendError::Ended { .. })));
    assert!(matches!(
        manager.send(task.id(), 1).await,
        Err(SendError::Ended { .. })
    ));
    assert!(matches!(
        scope.send("t", 1).await,
        Err(SendError::NoSuchTask { .. })
    ));
    assert!(matches!(ctx.progress(1).await, Err(NoteError::Over)));
    assert!(ctx.unnamed().spawn(nothing).await.is_err());
    assert!(soon(ctx.recv()).await.is_none() && ctx.is_cancelled());
    let unknown = manager.task(TaskId::from_u128(9));
    assert!(matches!(
        soon(unknown.settled()).await,
        Err(WaitError::Gone(_))
    ));

    let record = soon(task.settled()).await.unwrap();
    assert_eq!(
        (record.state, manager.counts().total()),
        (State::Cancelled, 1)
    );
    let all = manager.wait_all(&[task.task()]).await.unwrap();
    assert_eq!(all, [record]);
    for (since, items) in [
        // The last item of each says that the manager has stopped.
        (Since::Now, 1),
        (Since::Snapshot, 2),
        (Since::Seq(understory::Seq(0)), 5),
    ] {
        let feed = manager.subscribe(since).await.unwrap();
        assert_eq!(to_the_end(feed).await.len(), items, "{since:?}");
    }
    assert!(matches!(soon(task).await, Err(WaitError::Cancelled { .. })));
}

#[tokio::test(start_paused = true)]
async fn body_that_outlives_its_grace_is_reported_and_gone() {
    let alive = || Handle::current().metrics().num_alive_tasks();
    let baseline = alive();
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").cooperative();
    let task = task.spawn(for_ever).await.unwrap();

    let report = manager.shutdown(Duration::from_secs(3)).await.unwrap();

    assert_eq!(
        (report.abandoned.as_slice(), report.len()),
        (&[task.id()][..], 1)
    );
    assert!(task.record().unwrap().is_abandoned());
    until(|| alive() == baseline).await;
}

#[tokio::test]
async fn manager_can_be_shut_down_before_it_has_begun() {
    let baseline = Handle::current().metrics().num_alive_tasks();
    for _ in 0..20 {
        let manager = Manager::in_memory();
        assert_eq!(manager.incarnation(), 0);
        let spawn = manager.scope("s").unnamed().spawn(nothing);
        let (report, spawned) = tokio::join!(manager.shutdown(NONE), spawn);
        assert!(report.is_ok(), "{report:?}");
        assert!(matches!(
            spawned,
            Err(SpawnError::Refused(Refusal::Closing) | SpawnError::Unavailable(_))
        ));
    }
    until(|| Handle::current().metrics().num_alive_tasks() == baseline).await;
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn shutdown_goes_through_a_restart() {
    use understory::Part;

    for part in [Part::Manager, Part::Writer, Part::Carrier, Part::Publisher] {
        let manager = Manager::in_memory();
        let scope = manager.scope("s");
        let task = scope.task("t").spawn(until_cancelled).await.unwrap();
        reaches(&manager, task.id(), State::Running).await;
        manager.break_part(part);

        let report = soon(manager.shutdown(NONE)).await;

        assert!(report.is_ok(), "{part:?}: {report:?}");
        assert!(task.state().is_some_and(State::is_terminal), "{part:?}");
        assert!(matches!(
            scope.unnamed().spawn(nothing).await,
            Err(SpawnError::Unavailable(_))
        ));
    }
}

/// Says when it is dropped.
struct Tattle(Arc<AtomicBool>);

impl Drop for Tattle {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn runtime_can_be_dropped_with_live_tasks() {
    for threads in [1, 4] {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime: Runtime = builder
            .worker_threads(threads)
            .enable_all()
            .build()
            .unwrap();
        let dropped = Arc::new(AtomicBool::new(false));
        let tattle = Tattle(Arc::clone(&dropped));
        let (manager, task) = runtime.block_on(async {
            let manager = Manager::in_memory();
            let task = manager.scope("s").task("t").spawn(|ctx| async move {
                let _tattle = tattle;
                for_ever(ctx).await
            });
            let task = task.await.unwrap();
            reaches(&manager, task.id(), State::Running).await;
            (manager, task.task())
        });

        drop(runtime);

        assert!(
            dropped.load(SeqCst),
            "its body was dropped with the runtime"
        );
        assert_eq!(manager.live(), 1, "what happened to it is not recorded");
        drop((manager, task));
    }
}

#[tokio::test]
async fn manager_goes_on_without_handles() {
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let (tell, told) = tokio::sync::oneshot::channel();
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        gone.await?;
        let child = ctx.task("child").spawn(|_| async { Ok(7) }).await?;
        tell.send(child.await?).expect("somebody listens");
        Ok(())
    });
    drop(task.await.unwrap());
    drop(manager);
    settle_down().await;

    go.send(()).unwrap();

    assert_eq!(soon(told).await.unwrap(), 7);
}
