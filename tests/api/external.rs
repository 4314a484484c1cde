//! External tasks: their holder tells of them; a cancel calls back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use understory::{
    Cancel, Class, External, ExternalError, Failure, Limit, Manager, Outcome, State, TaskId,
};

use crate::stage::{settle_down, soon, story, until_cancelled};

async fn external(manager: &Manager) -> External {
    manager.scope("s").task("build").external().await.unwrap()
}

fn counts(calls: &Arc<AtomicUsize>) -> usize {
    calls.load(Ordering::SeqCst)
}

#[tokio::test]
async fn holder_tells_what_becomes_of_it_and_the_first_end_counts() {
    let manager = Manager::in_memory();
    let build = external(&manager).await;
    assert_eq!(build.state(), Some(State::Running));
    build.progress(1).await.unwrap();
    build.output("line").await.unwrap();
    build.waiting().await.unwrap();
    assert_eq!(build.state(), Some(State::Waiting));
    build.running().await.unwrap();
    build.complete(42).await.unwrap();

    let late = build.fail(Failure::new("late")).await;
    assert!(matches!(
        late,
        Err(ExternalError::NotRunning(State::Completed))
    ));
    assert!(matches!(
        build.running().await,
        Err(ExternalError::NotRunning(_))
    ));
    let record = soon(build.settled()).await.unwrap();
    assert_eq!(record.state, State::Completed);
    assert_eq!(record.progress.as_ref().unwrap().as_json(), "1");
    let told = story(&manager, build.id()).await;
    let all = [
        "accepted", "started", "progress", "output", "waiting", "unparked", "settled",
    ];
    assert_eq!(told, all);
}

#[tokio::test]
async fn holder_can_say_that_it_failed_or_was_cancelled_or_let_go_of() {
    let manager = Manager::in_memory();
    let failed = external(&manager).await;
    failed.fail(Failure::new("broken")).await.unwrap();
    let cancelled = external(&manager).await;
    cancelled.cancelled().await.unwrap();
    let lost = external(&manager).await;
    lost.unregister().await.unwrap();

    let states = [&failed, &cancelled, &lost].map(|task| task.state().unwrap());
    assert_eq!(
        states,
        [State::Failed, State::Cancelled, State::Interrupted]
    );
    assert!(story(&manager, lost.id()).await.contains(&"unregistered"));
    assert_eq!(manager.scope("s").find("build"), None);
}

#[tokio::test]
async fn cancel_calls_back_once_and_is_over_when_that_is() {
    let manager = Manager::in_memory();
    let calls = Arc::new(AtomicUsize::new(0));
    let (told, heard) = (Arc::clone(&calls), tokio::sync::Notify::new());
    let heard = Arc::new(heard);
    let waits = Arc::clone(&heard);
    let build = manager
        .scope("s")
        .task("build")
        .external_with(move |stop| async move {
            assert_eq!(&*stop.reason, "enough");
            told.fetch_add(1, Ordering::SeqCst);
            waits.notified().await;
            Ok(())
        });
    let build = build.await.unwrap();
    let cancel = tokio::spawn({
        let task = build.task();
        async move { task.cancel(Cancel::because("enough")).await.unwrap() }
    });
    assert_eq!(
        &*soon(build.asked_to_stop()).await.unwrap().reason,
        "enough"
    );
    let again = tokio::spawn({
        let task = build.task();
        async move { task.cancel(Cancel::because("again")).await.unwrap() }
    });
    crate::stage::settle_down().await;
    assert_eq!(build.state(), Some(State::CancelRequested));
    heard.notify_one();

    assert_eq!(soon(cancel).await.unwrap().cancelled, [build.id()]);
    soon(again).await.unwrap();
    assert_eq!(counts(&calls), 1);
}

#[tokio::test]
async fn callback_that_fails_or_panics_is_told_and_the_task_is_cancelled() {
    let manager = Manager::in_memory();
    let fails = manager.scope("s").unnamed();
    let fails = fails.external_with(|_| async { Err(Failure::new("no connection")) });
    let panics = manager
        .scope("s")
        .unnamed()
        .external_with(|_| async { panic!("in a callback") });
    for build in [fails.await.unwrap(), panics.await.unwrap()] {
        let report = soon(build.cancel(Cancel::because("enough"))).await.unwrap();
        assert_eq!(report.cancelled, [build.id()]);
        assert!(
            story(&manager, build.id())
                .await
                .contains(&"callback_failed")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn callback_has_the_time_of_the_grace() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").unnamed().grace(Duration::from_secs(3));
    let build = task
        .external_with(|_| std::future::pending())
        .await
        .unwrap();
    let begin = tokio::time::Instant::now();
    let report = build.cancel(Cancel::because("enough")).await.unwrap();

    assert_eq!(report.cancelled, [build.id()]);
    assert!(report.abandoned.is_empty());
    assert!(begin.elapsed() >= Duration::from_secs(3));
    assert!(begin.elapsed() < Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn external_that_is_not_heard_of_times_out_and_its_callback_is_called() {
    let manager = Manager::in_memory();
    let calls = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&calls);
    let task = manager
        .scope("s")
        .unnamed()
        .heartbeat_timeout(Duration::from_secs(10));
    let build = task.external_with(move |_| async move {
        told.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    let build = build.await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(9)).await;
        build.heartbeat().await.unwrap();
    }
    assert_eq!(build.state(), Some(State::Running));
    let record = build.settled().await.unwrap();

    let Some(Outcome::TimedOut { limit, .. }) = record.outcome.as_deref() else {
        panic!("its time is over: {record:?}")
    };
    assert_eq!((*limit, counts(&calls)), (Limit::External, 1));
}

#[tokio::test]
async fn external_takes_a_slot_until_its_end() {
    let manager = Manager::builder()
        .global_limit(Class::queue(1))
        .build()
        .unwrap();
    let build = external(&manager).await;
    let next = manager
        .scope("s")
        .task("next")
        .spawn(until_cancelled)
        .await
        .unwrap();
    assert_eq!(next.state(), Some(State::Pending));
    let queued = manager.scope("s").task("queued").external().await.unwrap();
    let early = queued.complete(1).await;
    assert!(matches!(
        early,
        Err(ExternalError::NotRunning(State::Pending))
    ));
    build.complete(1).await.unwrap();
    crate::stage::reaches(&manager, next.id(), State::Running).await;
}

#[tokio::test]
async fn external_that_is_cancelled_before_it_has_a_slot_is_cancelled_there_too() {
    let manager = Manager::builder()
        .global_limit(Class::queue(1))
        .build()
        .unwrap();
    let _holder = external(&manager).await;
    let (called, mut calls) = tokio::sync::mpsc::unbounded_channel();
    let queued = manager
        .scope("s")
        .unnamed()
        .external_with(move |stop| async move {
            let _ = called.send(stop.reason.to_string());
            Ok(())
        });
    let queued = queued.await.unwrap();
    queued.cancel(Cancel::because("enough")).await.unwrap();
    assert_eq!(soon(calls.recv()).await.as_deref(), Some("enough"));
    assert_eq!(soon(calls.recv()).await, None);
}

#[tokio::test]
async fn holder_hears_of_a_stop_before_there_was_a_slot_and_of_an_end_without_one() {
    let builder = Manager::builder().global_limit(Class::queue(1));
    let manager = builder.build().unwrap();
    let holder = external(&manager).await;
    let queued = manager.scope("s").task("queued").external().await.unwrap();
    queued.cancel(Cancel::because("enough")).await.unwrap();
    holder.complete(1).await.unwrap();

    let asked = soon(queued.asked_to_stop()).await.expect("it was");
    assert_eq!(&*asked.reason, "enough");
    assert_eq!(soon(holder.asked_to_stop()).await, None);
}

#[tokio::test]
async fn external_that_is_cancelled_unstarted_and_goes_at_once_is_cancelled_there_too() {
    let builder = Manager::builder().settled_max(1);
    let builder = builder.global_limit(Class::queue(1));
    let manager = builder.build().unwrap();
    let _holder = external(&manager).await;
    let (called, mut calls) = tokio::sync::mpsc::unbounded_channel();
    let scope = manager.scope("queued");
    for number in 0..3 {
        let called = called.clone();
        let queued = scope.unnamed().external_with(move |_| async move {
            let _ = called.send(number);
            Ok(())
        });
        queued.await.unwrap();
    }
    drop(called);

    // All settle in one step, which keeps the record of one of them.
    scope.cancel_scope(Cancel::because("enough")).await.unwrap();

    let mut heard = Vec::new();
    while let Some(number) = soon(calls.recv()).await {
        heard.push(number);
    }
    heard.sort_unstable();
    assert_eq!(heard, [0, 1, 2]);
}

#[tokio::test]
async fn holder_waits_for_no_stop_when_the_manager_is_gone() {
    let manager = Manager::in_memory();
    let build = external(&manager).await;
    let waits = tokio::spawn({
        let build = build.clone();
        async move { build.asked_to_stop().await }
    });
    settle_down().await;

    soon(manager.leave()).await.unwrap();

    assert_eq!(soon(waits).await.unwrap(), None);
    assert_eq!(soon(build.asked_to_stop()).await, None);
}

#[tokio::test(start_paused = true)]
async fn holder_of_a_later_life_that_waited_for_a_slot_hears_of_a_stop_when_it_is_asked() {
    let builder = Manager::builder().global_limit(Class::queue(1));
    let manager = builder.build().unwrap();
    let life = || manager.scope("s").unnamed().id(TaskId::from_u128(7));
    let first = life().external().await.unwrap();
    first.complete(1).await.unwrap();
    let holder = external(&manager).await;
    let second = life().reuse_id().grace(Duration::from_hours(1));
    let second = second.external().await.unwrap();
    assert_eq!(second.state(), Some(State::Pending));
    let waits = tokio::spawn({
        let second = second.clone();
        async move {
            second.asked_to_stop().await?;
            second.state()
        }
    });
    settle_down().await;
    holder.complete(1).await.unwrap();
    crate::stage::reaches(&manager, second.id(), State::Running).await;

    let _cancelling = tokio::spawn({
        let second = second.clone();
        async move { second.cancel(Cancel::because("enough")).await }
    });

    assert_eq!(soon(waits).await.unwrap(), Some(State::CancelRequested));
}

#[tokio::test(start_paused = true)]
async fn words_of_the_holder_are_signs_of_life_and_messages_have_no_reader() {
    let manager = Manager::in_memory();
    let task = manager
        .scope("s")
        .unnamed()
        .idle_timeout(Duration::from_secs(10));
    let build = task.external().await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(9)).await;
        build.progress(1).await.unwrap();
    }
    assert_eq!(build.state(), Some(State::Running));
    let refused = build.send("hello").await;
    assert!(matches!(
        refused,
        Err(understory::SendError::NoInbox { .. })
    ));
    assert_eq!(build.settled().await.unwrap().state, State::TimedOut);
}

#[tokio::test]
async fn reference_is_set_once_and_shown() {
    let manager = Manager::in_memory();
    let build = external(&manager).await;
    build.refer("ci/1").await.unwrap();
    build.refer("ci/1").await.unwrap();
    let other = build.refer("ci/2").await;
    assert!(matches!(other, Err(ExternalError::RefIsSet(to)) if to == "ci/1"));
    assert_eq!(build.record().unwrap().to_json()["external_ref"], "ci/1");

    let again = manager.external(build.id()).unwrap();
    again.complete(1).await.unwrap();
    let plain = manager
        .scope("s")
        .unnamed()
        .spawn(until_cancelled)
        .await
        .unwrap();
    assert!(manager.external(plain.id()).is_err());
    assert!(manager.external(TaskId::from_u128(1)).is_err());
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn external_outlives_a_failure_of_the_manager() {
    let manager = Manager::in_memory();
    let calls = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&calls);
    let build = manager
        .scope("s")
        .task("build")
        .external_with(move |_| async move {
            told.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
    let build = build.await.unwrap();
    manager.break_part(understory::Part::Manager);
    let _is_lost = build.heartbeat().await;
    crate::stage::until(|| manager.incarnation() == 2).await;
    build.progress(1).await.unwrap();
    assert_eq!(build.state(), Some(State::Running));
    soon(build.cancel(Cancel::because("enough"))).await.unwrap();
    assert_eq!((build.state(), counts(&calls)), (Some(State::Cancelled), 1));
}

#[cfg(feature = "testing")]
#[tokio::test(start_paused = true)]
async fn external_that_is_idle_times_out_also_after_a_failure_of_the_manager() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").unnamed();
    let task = task.idle_timeout(Duration::from_secs(10));
    let build = task.external().await.unwrap();
    manager.break_part(understory::Part::Manager);
    let _is_lost = build.heartbeat().await;
    crate::stage::until(|| manager.incarnation() == 2).await;

    let record = soon(build.settled()).await.unwrap();

    assert_eq!(record.state, State::TimedOut);
}
