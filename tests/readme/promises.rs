//! The promises of the README, each in its smallest form.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::Barrier;
use understory::{
    Cancel, Class, Context, Failure, FeedItem, Filter, Manager, Outcome, Retry, ScopeRef, Seq,
    Since, SpawnError, State, Subscription, TaskHandle,
};

async fn until_cancelled(ctx: Context) -> Result<String, Failure> {
    Ok(ctx.cancelled().await.reason.to_string())
}

async fn accepted(scope: &ScopeRef, name: &str) -> TaskHandle<String> {
    let task = scope.task(name).spawn(until_cancelled).await;
    task.expect("nothing stands in its way")
}

#[tokio::test]
async fn accepted_task_has_its_record() {
    let manager = Manager::in_memory();
    for number in 0..100 {
        let task = manager
            .scope("s")
            .unnamed()
            .label("number", &number.to_string());
        let task = task.spawn(|_| async { Ok(()) }).await.expect("it is taken");

        let record = task.record().expect("it is there before the answer");
        assert_eq!(record.spec.labels["number"].as_ref(), number.to_string());
    }
}

#[tokio::test]
async fn settled_task_never_changes() {
    let manager = Manager::in_memory();
    let task = manager
        .scope("s")
        .task("t")
        .spawn(|_| async { Ok(7) })
        .await;
    let task = task.expect("it is taken");
    let before = task.settled().await.expect("it settles");

    let report = task.cancel_tree(Cancel::because("too late")).await;

    assert_eq!(report.expect("it is known").already_ended, [task.id()]);
    assert_eq!(task.record(), Some(before));
}

#[tokio::test]
async fn event_follows_its_record() {
    let manager = Manager::in_memory();
    let mut feed = manager.subscribe(Since::Now).await.expect("there is room");
    let scope = manager.scope("s");
    for _ in 0..100 {
        let task = scope.unnamed().spawn(|ctx| async move {
            ctx.progress("at work").await?;
            Ok(())
        });
        task.await.expect("it is taken");
    }

    let mut settled = 0;
    while settled < 100 {
        let Some(FeedItem::Event(event)) = feed.next().await else {
            panic!("the feed has no gap here");
        };
        let record = manager.get(event.task).expect("its record is there");
        assert!(record.seq >= event.seq);
        settled += usize::from(event.what.name() == "settled");
    }
}

#[tokio::test]
async fn parent_settles_after_its_children() {
    let manager = Manager::in_memory();
    let mut ends = ends_of(&manager).await;
    let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
        for name in ["a", "b", "c"] {
            ctx.task(name).spawn(|_| async { Ok(()) }).await?;
        }
        Ok(())
    });
    lead.await.expect("it is taken");

    let mut names = Vec::new();
    while names.len() < 4 {
        let Some(FeedItem::Event(event)) = ends.next().await else {
            panic!("the feed has no gap here");
        };
        names.push(event.spec.name.as_ref().map(ToString::to_string));
    }
    assert_eq!(names[3].as_deref(), Some("lead"));
}

#[tokio::test]
async fn child_of_a_cancelled_task_is_refused() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let lead = accepted(&scope, "lead").await;
    let report = lead.cancel_tree(Cancel::because("enough")).await;
    assert_eq!(report.expect("it is known").cancelled, [lead.id()]);

    let late = scope
        .task("late")
        .parent(lead.id())
        .spawn(until_cancelled)
        .await;

    assert!(matches!(late, Err(SpawnError::Refused(_))), "{late:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn body_that_blocks_is_abandoned_and_keeps_its_name_until_it_stops() {
    let manager = Manager::builder().abort_window(Duration::from_millis(10));
    let manager = manager.build().expect("the numbers are fine");
    let scope = manager.scope("s");
    let mut stops = stops_of(&manager).await;
    let (release, blocked) = mpsc::channel::<()>();
    let (runs, running) = tokio::sync::oneshot::channel();
    let task = scope.task("stubborn").spawn(move |_| async move {
        runs.send(()).map_err(|()| Failure::new("nobody waits"))?;
        Ok(blocked.recv().is_ok())
    });
    let task = task.await.expect("it is taken");
    running.await.expect("it runs");

    let report = task
        .cancel_tree(Cancel::because("now").grace(Duration::ZERO))
        .await;
    assert_eq!(report.expect("it is known").abandoned, [task.id()]);
    let second = scope.task("stubborn").spawn(until_cancelled).await;
    assert!(matches!(second, Err(SpawnError::Refused(_))), "{second:?}");

    release.send(()).expect("the body waits for it");
    assert!(matches!(stops.next().await, Some(FeedItem::Event(_))));
    let third = accepted(&scope, "stubborn").await;
    assert_eq!(task.state(), Some(State::Cancelled));
    assert_ne!(third.id(), task.id());
}

#[tokio::test]
async fn panic_settles_its_own_task_only() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let bystander = accepted(&scope, "bystander").await;
    let clumsy = scope.task("clumsy").spawn(|_| async { panic_now() }).await;

    let record = clumsy
        .expect("it is taken")
        .settled()
        .await
        .expect("it settles");

    let Some(Outcome::Failed(fault)) = record.outcome.as_deref() else {
        panic!("{record:?}");
    };
    assert_eq!(fault.to_string(), "panicked: oops");
    assert!(!bystander.state().is_some_and(State::is_terminal));
    assert_eq!(manager.incarnation(), 1);
}

fn panic_now() -> Result<(), Failure> {
    panic!("oops")
}

#[tokio::test]
async fn limit_is_never_exceeded() {
    let manager = Manager::builder().limit("llm", Class::queue(2));
    let manager = manager.build().expect("the numbers are fine");
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // Bodies go on in pairs, so both slots are in use all the time.
    let desk = Arc::new((now, most, Barrier::new(2)));
    let mut tasks = Vec::new();
    for _ in 0..50 {
        let desk = Arc::clone(&desk);
        let task = manager.scope("s").unnamed().limit("llm");
        let task = task.spawn(move |_| async move {
            let (now, most, pair) = &*desk;
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            pair.wait().await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        });
        tasks.push(task.await.expect("it waits for its turn").task());
    }

    manager.wait_all(&tasks).await.expect("all settle");

    assert_eq!(desk.1.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn awaiting_a_child_lends_the_slot() {
    let manager = Manager::builder().global_limit(Class::queue(1));
    let manager = manager.build().expect("the numbers are fine");
    let top = manager.scope("s").task("top").spawn(|ctx| async move {
        let middle = ctx.task("middle").spawn(|ctx| async move {
            let bottom = ctx
                .task("bottom")
                .spawn(|ctx| async move { Ok(ctx.path()) });
            Ok(bottom.await?.await?)
        });
        Ok(middle.await?.await?)
    });

    let path = top.await.expect("it is taken").await;

    assert_eq!(path.expect("nobody waits for ever"), "top/middle/bottom");
}

#[tokio::test(start_paused = true)]
async fn timeout_ends_an_attempt_that_ignores_it_and_the_next_one_runs() {
    let manager = Manager::in_memory();
    let task = manager
        .scope("s")
        .task("t")
        .timeout(Duration::from_mins(1))
        .grace(Duration::from_secs(5))
        .retry(Retry::fixed(1, Duration::from_secs(1)))
        .spawn(|ctx| async move {
            match ctx.attempt() {
                1 => pending().await,
                number => Ok(number),
            }
        })
        .await
        .expect("it is taken");

    assert_eq!(task.await.expect("the second attempt is quick"), 2);
}

#[tokio::test]
async fn same_key_gives_the_same_task() {
    let manager = Manager::in_memory();
    let runs = Arc::new(AtomicUsize::new(0));
    let mut asks = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (task, runs) = (manager.scope("s").unnamed().key("once"), Arc::clone(&runs));
        asks.spawn(task.spawn(move |_| async move { Ok(runs.fetch_add(1, Ordering::SeqCst)) }));
    }
    let tasks = asks.join_all().await;

    let mut ids = Vec::new();
    for task in tasks {
        let task = task.expect("it is taken or was before");
        task.settled().await.expect("it settles");
        ids.push(task.id());
    }
    ids.dedup();
    assert_eq!((ids.len(), runs.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test]
async fn nothing_is_left_after_a_shutdown() {
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = alive();
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    for name in ["a", "b", "c"] {
        accepted(&scope, name).await;
    }
    let mut feed = manager
        .subscribe(Since::Seq(Seq(0)))
        .await
        .expect("there is room");

    let report = manager.shutdown(Duration::from_secs(5)).await;

    assert_eq!(report.expect("its store works").cancelled.len(), 3);
    while feed.next().await.is_some() {}
    let is_left = async {
        while alive() != before {
            tokio::task::yield_now().await;
        }
    };
    let patience = Duration::from_secs(30);
    tokio::time::timeout(patience, is_left)
        .await
        .expect("what ended is gone");
}

async fn ends_of(manager: &Manager) -> Subscription {
    let ends = manager.subscribe_to(Since::Now, Filter::all().event("settled"));
    ends.await.expect("there is room")
}

async fn stops_of(manager: &Manager) -> Subscription {
    let stops = manager.subscribe_to(Since::Now, Filter::all().event("body_stopped"));
    stops.await.expect("there is room")
}
