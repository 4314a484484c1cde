//! Retries, timeouts, idle tasks, on paused time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use serde_json::Value;
use understory::kernel::Timestamp;
use understory::{
    Cancel, Cause, Context, Failure, FaultKind, FeedItem, Jitter, Limit, Manager, Outcome, Retry,
    State, TaskId, Wait, WaitError, What,
};

use crate::stage::{feed_of, for_ever, sees, soon, until_cancelled};

const HOUR: Duration = Duration::from_hours(1);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Whether it took this long: timers are exact to two milliseconds.
fn takes(took: Duration, expected: Duration) -> bool {
    took >= expected && took <= expected + Duration::from_millis(2)
}

/// When which of the events of a settled task came, with the number of the attempt.
async fn moments(manager: &Manager, task: TaskId, name: &str) -> Vec<(Timestamp, u32)> {
    let mut feed = feed_of(manager, task).await;
    let mut found = Vec::new();
    loop {
        let event = sees(&mut feed, |_| true).await;
        if event.what.name() == name {
            found.push((event.at, event.attempt));
        }
        if event.what.name() == "settled" {
            return found;
        }
    }
}

/// The delays between the attempts of a task whose body fails at once.
async fn delays(manager: &Manager, retry: Retry) -> Vec<Duration> {
    let task = manager.scope("s").unnamed().retry(retry);
    let task = task.spawn(|_| async { Err::<(), _>(Failure::new("no")) });
    let record = task.await.unwrap().settled().await.unwrap();
    let starts = moments(manager, record.id, "started").await;
    let pairs = starts.windows(2);
    pairs.map(|pair| pair[1].0.since(pair[0].0)).collect()
}

#[tokio::test(start_paused = true)]
async fn failed_attempts_are_repeated_as_often_as_asked() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").retry(Retry::fixed(3, secs(1)));
    let body = |ctx: Context| async move {
        Err::<(), _>(Failure::new(format!("attempt {} failed", ctx.attempt())))
    };
    let task = task.spawn(body).await.unwrap();

    let record = task.settled().await.unwrap();

    assert_eq!((record.state, record.attempt), (State::Failed, 4));
    let Some(Outcome::Failed(fault)) = record.outcome.as_deref() else {
        panic!("its last attempt failed: {record:?}");
    };
    assert_eq!(&*fault.message, "attempt 4 failed");
    let numbers = |moments: Vec<(Timestamp, u32)>| -> Vec<u32> {
        moments.into_iter().map(|(_, attempt)| attempt).collect()
    };
    let started = moments(&manager, record.id, "started").await;
    let failed = moments(&manager, record.id, "attempt_failed").await;
    let settled = moments(&manager, record.id, "settled").await;
    assert_eq!(numbers(started), [1, 2, 3, 4]);
    assert_eq!(numbers(failed), [1, 2, 3]);
    assert_eq!(numbers(settled), [4]);
}

#[tokio::test(start_paused = true)]
async fn fixed_delay_is_the_same_each_time() {
    let delays = delays(&Manager::in_memory(), Retry::fixed(3, secs(7))).await;

    assert_eq!(delays.len(), 3);
    assert!(
        delays.iter().all(|delay| takes(*delay, secs(7))),
        "{delays:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn exponential_delay_grows_up_to_its_cap() {
    let retry = Retry::exponential(5).jitter(Jitter::None);

    let delays = delays(&Manager::in_memory(), retry.delay(secs(1)).cap(secs(5))).await;

    assert_eq!(delays.len(), 5);
    for (delay, expected) in delays.into_iter().zip([1, 2, 4, 5, 5]) {
        assert!(takes(delay, secs(expected)), "{delay:?}, not {expected} s");
    }
}

#[tokio::test(start_paused = true)]
async fn jitter_stays_within_the_delay_and_spreads() {
    for retry in [
        Retry::exponential(40).delay(secs(1)).cap(secs(1)),
        Retry::fixed(40, secs(1)).jitter(Jitter::Full),
    ] {
        let delays = delays(&Manager::in_memory(), retry).await;

        let longest = secs(1) + Duration::from_millis(2);
        assert!(delays.iter().all(|delay| *delay <= longest), "{delays:?}");
        let early = delays.iter().filter(|delay| **delay < secs(1) / 2).count();
        assert!(
            (1..40).contains(&early),
            "{early} of 40 are early: {delays:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn permanent_failure_is_not_retried() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").retry(Retry::fixed(9, secs(1)));
    let task = task.spawn(|_| async { Err::<(), _>(Failure::new("no such user").permanent()) });
    let task = task.await.unwrap();
    let id = task.id();

    let Err(WaitError::Failed { fault, .. }) = task.await else {
        panic!("it failed");
    };

    assert_eq!(fault.kind, FaultKind::Permanent);
    assert_eq!(manager.get(id).unwrap().attempt, 1);
}

#[tokio::test(start_paused = true)]
async fn panic_is_retried_like_a_failure() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").retry(Retry::fixed(2, secs(1)));
    let task = task.spawn(|ctx| async move {
        assert!(ctx.attempt() == 3, "attempt {} is too early", ctx.attempt());
        Ok(ctx.attempt())
    });

    assert_eq!(task.await.unwrap().await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn cancel_during_a_backoff_settles_at_once() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").retry(Retry::fixed(1, HOUR));
    let task = task.spawn(|_| async { Err::<(), _>(Failure::new("no")) });
    let task = task.await.unwrap();
    let mut feed = feed_of(&manager, task.id()).await;
    let waits = |what: &What| matches!(what, What::Pending(Wait::Backoff(_)));
    let since = sees(&mut feed, |event| waits(&event.what)).await.at;

    let report = soon(task.cancel(Cancel::because("enough"))).await.unwrap();

    assert_eq!(report.cancelled, [task.id()]);
    let record = task.record().unwrap();
    assert_eq!((record.state, record.attempt), (State::Cancelled, 1));
    assert!(takes(record.ended_at.unwrap().since(since), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn attempt_that_takes_too_long_is_timed_out() {
    let manager = Manager::in_memory();
    let task = manager
        .scope("s")
        .task("t")
        .timeout(secs(10))
        .grace(secs(3));
    let task = task.spawn(for_ever).await.unwrap();
    let id = task.id();

    let ended = task.await;

    assert!(
        matches!(ended, Err(WaitError::TimedOut { limit: Limit::Attempt, task }) if task == id),
        "{ended:?}"
    );
    let record = manager.get(id).unwrap();
    let stop = record.stop.clone().unwrap();
    assert_eq!(
        (record.state, stop.cause),
        (State::TimedOut, Cause::Timeout(Limit::Attempt))
    );
    let started = record.started_at.unwrap();
    assert!(takes(stop.at.since(started), secs(10)));
    assert!(takes(record.ended_at.unwrap().since(stop.at), secs(3)));
}

#[tokio::test(start_paused = true)]
async fn attempt_after_a_timeout_is_not_asked_to_stop_and_reads_its_inbox() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").retry(Retry::fixed(1, secs(1)));
    let task = task.timeout(secs(10)).spawn(|ctx| async move {
        if ctx.attempt() == 1 {
            let why = ctx.cancelled().await;
            return Err(Failure::new(why.reason.to_string()));
        }
        let (asked, message) = (ctx.is_cancelled(), ctx.recv().await);
        Ok((
            asked,
            ctx.token().is_cancelled(),
            message.map(|message| message.body),
        ))
    });
    let task = task.await.unwrap();
    let mut feed = feed_of(&manager, task.id()).await;
    let failed = sees(&mut feed, |event| event.what.name() == "attempt_failed").await;
    let What::AttemptFailed(fault) = &failed.what else {
        panic!("it was asked for: {failed:?}");
    };
    assert_eq!(fault.kind, FaultKind::Timeout);
    sees(&mut feed, |event| event.attempt == 2).await;

    task.send("go on").await.unwrap();

    assert_eq!(
        soon(task).await.unwrap(),
        (false, false, Some(Value::from("go on")))
    );
}

#[tokio::test(start_paused = true)]
async fn p14_attempts_max_one_never_runs_twice() {
    let ran = Arc::new(AtomicU32::new(0));
    let executor = {
        let ran = Arc::clone(&ran);
        move |_: Context, how: Value| {
            ran.fetch_add(1, SeqCst);
            async move {
                match how.as_str() {
                    Some("fail") => Err(Failure::new("no")),
                    Some("panic") => panic!("no"),
                    Some("never") => std::future::pending().await,
                    _ => Ok(how),
                }
            }
        }
    };
    let manager = Manager::builder().executor("k", executor).build().unwrap();

    for (count, how) in (1..).zip(["fail", "panic", "never", "end"]) {
        let task = manager.scope("s").unnamed().retry(Retry::never());
        let task = task.timeout(secs(10)).spawn_kind("k", how).await.unwrap();
        let record = task.settled().await.unwrap();
        tokio::time::advance(HOUR).await;
        assert_eq!((record.attempt, ran.load(SeqCst)), (1, count), "{how}");
    }
}

#[tokio::test(start_paused = true)]
async fn zero_is_no_limit() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").timeout(Duration::ZERO);
    let task = task.idle_timeout(Duration::ZERO).spawn(|_| async {
        tokio::time::sleep(HOUR * 24).await;
        Ok(7)
    });

    assert_eq!(task.await.unwrap().await.unwrap(), 7);
}

/// The wall clock stands still here while a year goes by on the monotonic one.
#[tokio::test(start_paused = true)]
async fn p18_deadlines_follow_the_monotonic_clock() {
    let manager = Manager::in_memory();
    let year = HOUR * 24 * 365;
    let task = manager.scope("s").task("t").timeout(year).grace(HOUR);

    let record = task.spawn(for_ever).await.unwrap().settled().await.unwrap();

    let stop = record.stop.clone().unwrap();
    assert!(takes(stop.at.since(record.started_at.unwrap()), year));
    assert!(takes(record.ended_at.unwrap().since(stop.at), HOUR));
}

#[tokio::test(start_paused = true)]
async fn body_that_ignores_a_cancel_is_dropped_when_its_grace_is_over() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").grace(secs(30));
    let task = task.spawn(for_ever).await.unwrap();

    let report = task.cancel(Cancel::because("enough").grace(secs(3))).await;

    assert_eq!(report.unwrap().cancelled, [task.id()]);
    let [asked, dropped] = ["stop_asked", "aborted"].map(|name| moments(&manager, task.id(), name));
    let (asked, dropped) = (asked.await, dropped.await);
    assert_eq!((asked.len(), dropped.len()), (1, 1));
    assert!(
        takes(dropped[0].0.since(asked[0].0), secs(3)),
        "the shorter grace wins"
    );
}

#[tokio::test(start_paused = true)]
async fn cooperative_body_is_abandoned_when_its_grace_is_over() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let task = scope.task("t").cooperative().spawn(|ctx| async move {
        ctx.cancelled().await;
        tokio::time::sleep(HOUR).await;
        Ok("late")
    });
    let task = task.await.unwrap();

    let report = task
        .cancel(Cancel::because("enough").grace(secs(3)))
        .await
        .unwrap();

    assert_eq!(report.abandoned, [task.id()]);
    let record = task.record().unwrap();
    assert!(record.is_abandoned() && record.state == State::Cancelled);
    assert!(takes(
        record
            .ended_at
            .unwrap()
            .since(record.stop.clone().unwrap().at),
        secs(3)
    ));
    assert!(
        scope.task("t").spawn(until_cancelled).await.is_err(),
        "its name is still held"
    );
    let mut feed = feed_of(&manager, task.id()).await;
    let over = tokio::time::timeout(HOUR * 2, async {
        while !matches!(feed.next().await, Some(FeedItem::Event(event)) if event.what == What::BodyStopped)
        {
        }
    });
    assert!(over.await.is_ok());
    assert!(
        scope.task("t").spawn(until_cancelled).await.is_ok(),
        "its name is free"
    );
}
