//! Observers of tasks: who hears of which event, each end once, and how little a bad one does.

use std::future::pending;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use understory::store::{MemoryStore, StoreError};
use understory::{
    Cancel, Context, Failure, Manager, Notice, State, TaskHandle, TaskHooks, TaskId, What,
};

use crate::stage::{OnRead, feed_of, for_ever, reaches, sees, settle_down, soon, until};

/// What observers have heard, in order.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<(TaskId, String)>>>);

impl Heard {
    fn note(&self, notice: &Notice, what: String) {
        self.0.lock().unwrap().push((notice.task.id(), what));
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn words(&self) -> Vec<String> {
        let heard = self.0.lock().unwrap();
        heard.iter().map(|(_, word)| word.clone()).collect()
    }

    fn tasks(&self) -> Vec<TaskId> {
        self.0.lock().unwrap().iter().map(|(id, _)| *id).collect()
    }

    /// Writes who hears of an end, and of which.
    fn ends(&self, who: &'static str) -> TaskHooks {
        let heard = self.clone();
        TaskHooks::new().on_settled(move |notice| {
            let state = notice.outcome().unwrap().state();
            heard.note(&notice, format!("{who} {state}"));
            async { Ok(()) }
        })
    }

    /// Writes down each end only after this time.
    fn slowly(&self, time: Duration) -> TaskHooks {
        let heard = self.clone();
        TaskHooks::new().on_settled(move |notice| {
            let heard = heard.clone();
            async move {
                tokio::time::sleep(time).await;
                heard.note(&notice, "told".to_owned());
                Ok(())
            }
        })
    }

    fn events(&self) -> TaskHooks {
        let heard = self.clone();
        TaskHooks::new().on_event(move |notice| {
            heard.note(&notice, notice.event.what.name().to_owned());
            async { Ok(()) }
        })
    }
}

fn hangs() -> TaskHooks {
    TaskHooks::new().on_settled(|_| pending())
}

async fn nothing(_: Context) -> Result<(), Failure> {
    Ok(())
}

#[tokio::test]
async fn observers_of_all_levels_hear_of_the_ends_of_their_tasks() {
    let heard = Heard::default();
    let manager = Manager::builder()
        .task_hooks(heard.ends("manager"))
        .task_hooks_in("s", heard.ends("scope"))
        .task_hooks_of("k", heard.ends("kind"))
        .task_hooks_in("other", heard.ends("another scope"))
        .task_hooks_of("other", heard.ends("another kind"))
        .build()
        .unwrap();
    let task = manager.scope("s").task("t").kind("k");
    let task = task.hooks(heard.ends("task")).spawn(nothing).await.unwrap();
    soon(task).await.unwrap();
    let hidden = manager.scope("s").unnamed().kind("k").hidden();
    let hidden = hidden.hooks(heard.ends("hidden")).spawn(nothing).await;
    soon(hidden.unwrap()).await.unwrap();

    until(|| heard.len() == 5).await;
    settle_down().await;
    let mut words = heard.words();
    words.sort();
    let all = ["hidden", "kind", "manager", "scope", "task"];
    assert_eq!(words, all.map(|who| format!("{who} completed")));
}

#[tokio::test]
async fn observer_of_events_hears_of_each_in_order_up_to_the_end() {
    let heard = Heard::default();
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").hooks(heard.events());
    let task = task.resumable().spawn(|ctx| async move {
        if ctx.resumed().is_none() {
            ctx.progress("half").await?;
            return Err(ctx.suspend("later"));
        }
        Ok(())
    });
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Suspended).await;
    task.resume(()).await.unwrap();
    soon(task).await.unwrap();

    let story = [
        "accepted",
        "started",
        "progress",
        "suspended",
        "resumed",
        "started",
        "settled",
    ];
    until(|| heard.len() == story.len()).await;
    assert_eq!(heard.words(), story);
}

/// One task for each way to end, and the state in which it does.
async fn every_end(manager: &Manager) -> Vec<(TaskId, &'static str)> {
    let scope = manager.scope("s");
    let panics = |_: Context| async { std::panic::resume_unwind(Box::new("on purpose")) };
    let fails = |_: Context| async { Err::<(), _>(Failure::new("broken")) };
    let limit = Duration::from_secs(1);
    let completed = scope.unnamed().spawn(nothing).await.unwrap();
    let failed = scope.unnamed().spawn(fails).await.unwrap();
    let panicked = scope.unnamed().spawn::<(), _, _>(panics).await.unwrap();
    let timed_out = scope
        .unnamed()
        .timeout(limit)
        .spawn(for_ever)
        .await
        .unwrap();
    let running = scope.unnamed().spawn(for_ever).await.unwrap();
    let after = scope.unnamed().after([running.id()]);
    let pending = after.spawn(nothing).await.unwrap();
    let abandoned = scope.unnamed().cooperative().spawn(for_ever).await.unwrap();
    let sleeps = |ctx: Context| async move { Err::<(), _>(ctx.suspend("later")) };
    let suspended = scope.unnamed().resumable().spawn(sleeps).await.unwrap();
    reaches(manager, suspended.id(), State::Suspended).await;
    for task in [&pending, &running, &abandoned, &suspended] {
        let cancel = Cancel::because("enough").grace(Duration::ZERO);
        soon(task.cancel(cancel)).await.unwrap();
    }
    let elsewhere = scope.unnamed().external().await.unwrap();
    elsewhere.unregister().await.unwrap();
    let shut_down = scope.unnamed().spawn(for_ever).await.unwrap();
    soon(timed_out.settled()).await.unwrap();
    vec![
        (completed.id(), "completed"),
        (failed.id(), "failed"),
        (panicked.id(), "failed"),
        (timed_out.id(), "timed_out"),
        (running.id(), "cancelled"),
        (pending.id(), "cancelled"),
        (abandoned.id(), "cancelled"),
        (suspended.id(), "cancelled"),
        (elsewhere.id(), "interrupted"),
        (shut_down.id(), "cancelled"),
    ]
}

#[tokio::test(start_paused = true)]
async fn every_end_is_told_once_also_those_of_a_shutdown() {
    let heard = Heard::default();
    let manager = Manager::builder()
        .task_hooks(heard.ends("it"))
        .build()
        .unwrap();
    let mut ends: Vec<_> = every_end(&manager).await;
    manager.shutdown(Duration::ZERO).await.unwrap();

    let mut told: Vec<_> = heard.tasks().into_iter().zip(heard.words()).collect();
    told.sort();
    ends.sort();
    let ends: Vec<_> = ends
        .into_iter()
        .map(|(id, end)| (id, format!("it {end}")))
        .collect();
    assert_eq!(told, ends);
}

#[tokio::test(start_paused = true)]
async fn bad_observers_are_told_of_and_hold_back_no_other() {
    let heard = Heard::default();
    let manager = Manager::builder()
        .task_hooks(hangs())
        .task_hooks(TaskHooks::new().on_settled(|_| -> std::future::Ready<_> {
            std::panic::resume_unwind(Box::new("out of cheese"))
        }))
        .task_hooks(TaskHooks::new().on_event(|_| async { Err(Failure::new("full")) }))
        .task_hooks(heard.ends("good"))
        .build()
        .unwrap();
    let began = tokio::time::Instant::now();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let task = manager.scope("s").unnamed().spawn(nothing).await.unwrap();
        ids.push(task.id());
        task.await.unwrap();
    }
    until(|| heard.len() == 3).await;
    assert_eq!(heard.tasks(), ids, "in order");
    assert!(began.elapsed() < Duration::from_secs(5), "nobody waits");

    for id in &ids {
        let mut feed = feed_of(&manager, *id).await;
        let mut told = Vec::new();
        for _ in 0..2 {
            let event = sees(&mut feed, |event| event.what.name() == "hook_failed").await;
            assert_eq!(event.state, State::Completed);
            let What::HookFailed(why) = &event.what else {
                panic!("it is that event")
            };
            told.push(why.to_string());
        }
        assert_eq!(
            told,
            [
                "on_settled of the manager: out of cheese",
                "on_settled of the manager: it took too long",
            ]
        );
    }
    assert_eq!(
        began.elapsed().as_secs(),
        15,
        "one call at a time, five seconds each"
    );
}

/// The feed keeps eight events, the store all.
/// One task after the other, until it has ended.
async fn forty_that_end(manager: &Manager) -> Vec<TaskId> {
    let mut ids = Vec::new();
    for _ in 0..40 {
        let task = manager.scope("s").unnamed().spawn(nothing).await.unwrap();
        ids.push(task.id());
        task.await.unwrap();
    }
    ids
}

#[tokio::test(start_paused = true)]
async fn observer_that_falls_behind_the_feed_misses_nothing() {
    let heard = Heard::default();
    let slow = heard.slowly(Duration::from_secs(1));
    let builder = Manager::builder().feed_events_max(8).subscribers_max(1);
    let manager = builder.task_hooks(slow).build().unwrap();
    let ids = forty_that_end(&manager).await;
    assert!(heard.len() < 2);
    until_paused(|| heard.len() >= 40).await;
    assert_eq!(heard.tasks(), ids);
}

/// A manager whose feed keeps eight events, with a slow observer that has fallen behind it by the
/// ends of these tasks. Of its store this many reads fail.
async fn behind(heard: &Heard, failures: u32) -> (Manager, Vec<TaskId>) {
    let left = AtomicU32::new(failures);
    let store = OnRead::new(MemoryStore::new(), move |page| {
        let less = |left: u32| left.checked_sub(1);
        match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) {
            Ok(_) => Err(StoreError::Unavailable {
                source: "not now".into(),
            }),
            Err(_) => Ok(page),
        }
    });
    let builder = Manager::builder().feed_events_max(8).store(store);
    let slow = heard.slowly(Duration::from_secs(1));
    let manager = builder.task_hooks(slow).build().unwrap();
    let ids = forty_that_end(&manager).await;
    (manager, ids)
}

#[tokio::test(start_paused = true)]
async fn observer_waits_for_a_store_that_cannot_be_read_now() {
    let heard = Heard::default();
    let (_manager, ids) = behind(&heard, 100).await;
    until_paused(|| heard.len() >= 40).await;
    assert_eq!(heard.tasks(), ids);
}

#[tokio::test(start_paused = true)]
async fn observer_whose_store_is_never_read_holds_up_no_shutdown_and_is_gone_after_it() {
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let baseline = alive();
    let heard = Heard::default();
    let (manager, _) = behind(&heard, u32::MAX).await;
    let began = tokio::time::Instant::now();
    manager.shutdown(Duration::ZERO).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(6));
    until(|| alive() == baseline).await;
}

/// Lets paused time go on until it is so.
async fn until_paused(mut so: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("it never comes");
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_observers_but_not_for_ever() {
    let heard = Heard::default();
    let slow = heard.slowly(Duration::from_secs(2));
    let builder = Manager::builder().task_hooks(slow).task_hooks(hangs());
    let manager = builder.build().unwrap();
    for _ in 0..2 {
        manager.scope("s").unnamed().spawn(for_ever).await.unwrap();
    }
    let began = tokio::time::Instant::now();
    manager.shutdown(Duration::ZERO).await.unwrap();

    assert_eq!(heard.len(), 2);
    assert_eq!(began.elapsed().as_secs(), 5);
    settle_down().await;
    let left = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    assert_eq!(left, 0, "nothing of ours runs on");
}

#[tokio::test]
async fn each_life_of_an_id_has_its_own_observers() {
    let heard = Heard::default();
    let manager = Manager::in_memory();
    let id = TaskId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
    for who in ["first", "second"] {
        let task = manager.scope("s").unnamed().id(id).reuse_id();
        let task = task.hooks(heard.ends(who)).spawn(nothing).await.unwrap();
        soon(task).await.unwrap();
    }
    until(|| heard.len() == 2).await;
    settle_down().await;
    let mut words = heard.words();
    words.sort();
    assert_eq!(words, ["first completed", "second completed"]);
}

#[tokio::test]
async fn observers_of_a_task_that_was_there_before_are_dropped() {
    let heard = Heard::default();
    let manager = Manager::in_memory();
    let task = || manager.scope("s").task("t").key("k");
    let first = task().hooks(heard.ends("first"));
    let first = first.spawn(|ctx: Context| async move { Ok(ctx.recv().await.is_some()) });
    let first = first.await.unwrap();
    let second: TaskHandle<bool> = task()
        .hooks(heard.ends("second"))
        .spawn(|_| async { Ok(false) })
        .await
        .unwrap();
    assert_eq!(second.id(), first.id());
    first.send("go").await.unwrap();
    assert!(soon(second).await.unwrap());
    until(|| heard.len() == 1).await;
    settle_down().await;
    assert_eq!(heard.words(), ["first completed"]);
}

/// Ends with its second attempt, in another process.
async fn second_time(ctx: Context, _: Value) -> Result<Value, Failure> {
    match ctx.attempt() {
        1 => pending().await,
        _ => Ok(Value::Null),
    }
}

#[tokio::test]
async fn next_process_tells_what_it_decides_and_not_what_was_told() {
    let store = Arc::new(MemoryStore::new());
    let open = |heard: &Heard| {
        let builder = Manager::builder().store(Arc::clone(&store));
        let builder = builder.executor("k", second_time);
        builder.task_hooks(heard.ends("it")).build().unwrap()
    };
    let before = Heard::default();
    let first = open(&before);
    let ended = first.scope("s").unnamed().spawn(nothing).await.unwrap();
    let lost = first.scope("s").unnamed().spawn(for_ever).await.unwrap();
    soon(ended).await.unwrap();
    reaches(&first, lost.id(), State::Running).await;
    until(|| before.len() == 1).await;

    let after = Heard::default();
    let second = open(&after);
    until(|| after.len() == 1).await;
    let new = second.scope("s").unnamed().spawn(nothing).await.unwrap();
    let id = new.id();
    soon(new).await.unwrap();
    until(|| after.len() == 2).await;

    assert_eq!(after.tasks(), [lost.id(), id]);
    assert_eq!(after.words(), ["it interrupted", "it completed"]);
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn failure_of_an_actor_hides_no_end_and_tells_none_twice() {
    use understory::{Part, Retry};

    for part in [Part::Manager, Part::Writer, Part::Carrier, Part::Publisher] {
        let heard = Heard::default();
        let builder = Manager::builder().executor("k", second_time);
        let manager = builder.task_hooks(heard.ends("it")).build().unwrap();
        let scope = manager.scope("s");
        let closure = scope
            .unnamed()
            .hooks(heard.ends("own"))
            .spawn(for_ever)
            .await;
        let closure = closure.unwrap();
        let executor = scope.unnamed().retry(Retry::fixed(1, Duration::ZERO));
        let executor = executor.spawn_kind("k", 1).await.unwrap();
        for id in [closure.id(), executor.id()] {
            reaches(&manager, id, State::Running).await;
        }
        manager.break_part(part);
        let asked = soon(scope.unnamed().hidden().spawn(nothing)).await;
        assert_eq!(asked.is_ok(), part == Part::Publisher, "{part:?}");
        for id in [closure.id(), executor.id()] {
            soon(manager.task(id).settled()).await.unwrap();
        }
        until(|| heard.len() >= 3).await;
        settle_down().await;
        let mut words = heard.words();
        words.sort();
        let all = ["it completed", "it interrupted", "own interrupted"];
        assert_eq!(words, all, "{part:?}");
    }
}
