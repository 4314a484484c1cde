//! The defects of Mastra's background tasks that a library can have.

mod listeners;
mod progress;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use serde_json::Value;
use understory::{
    Cancel, Class, Context, Failure, FeedItem, Filter, Manager, Outcome, Page, ResumeError, Retry,
    Since, State, TaskHandle, Wait, What,
};

use crate::stage::{feed_of, reaches, sees, settle_down, soon, story, until, until_cancelled};

fn one_slot() -> Manager {
    let builder = Manager::builder().limit("l", Class::queue(1));
    builder.build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn late_value_undoes_no_timeout_and_the_slot_is_free_when_the_body_has_stopped() {
    let manager = one_slot();
    let task = manager.scope("s").task("deaf").limit("l").cooperative();
    let task = task
        .timeout(Duration::from_millis(100))
        .grace(Duration::ZERO)
        .spawn(|_| async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            Ok("late")
        });
    let task = task.await.unwrap();
    let next = manager.scope("s").task("next").limit("l");
    let next = next.spawn(until_cancelled).await.unwrap();

    assert_eq!(soon(task.settled()).await.unwrap().state, State::TimedOut);
    assert_eq!(next.state(), Some(State::Pending), "two would run at once");
    let mut feed = feed_of(&manager, task.id()).await;
    sees(&mut feed, |event| event.what == What::BodyStopped).await;
    until(|| next.state() == Some(State::Running)).await;
    let record = task.record().unwrap();
    assert_eq!(record.state, State::TimedOut);
    assert!(matches!(
        record.outcome.as_deref(),
        Some(Outcome::TimedOut { .. })
    ));
}

/// What an HTTP client says when one of its requests was aborted.
#[derive(Debug)]
struct AbortError;

impl fmt::Display for AbortError {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str("AbortError: the operation timed out after 300000ms")
    }
}

impl std::error::Error for AbortError {}

#[tokio::test]
async fn aborted_request_of_a_body_is_its_failure_and_no_timeout_and_is_retried() {
    let manager = Manager::in_memory();
    let aborts = |ctx: Context| async move {
        match ctx.attempt() {
            1 => Err(AbortError.into()),
            2 => {
                let inner = tokio::spawn(std::future::pending::<u32>());
                inner.abort();
                Ok(inner.await?)
            }
            attempt => Ok(attempt),
        }
    };
    let task = manager.scope("s").unnamed();
    let patient = task.retry(Retry::fixed(2, Duration::ZERO)).spawn(aborts);
    let task = manager.scope("s").unnamed();
    let hasty = task.spawn(aborts).await.unwrap();

    assert_eq!(soon(patient.await.unwrap()).await.unwrap(), 3);
    let record = soon(hasty.settled()).await.unwrap();
    assert_eq!((record.state, &record.stop), (State::Failed, &None));
}

#[tokio::test]
async fn attempt_that_fails_after_it_asked_to_be_suspended_leaves_no_trace_of_that() {
    let manager = Manager::in_memory();
    let retry = Retry::fixed(1, Duration::ZERO);
    let task = manager.scope("s").task("t").retry(retry);
    let task = task.spawn(|ctx| async move {
        if ctx.attempt() == 1 {
            let _asked = ctx.suspend("may I?");
            return Err(Failure::new("no network"));
        }
        ctx.cancelled().await;
        Ok(())
    });
    let task = task.await.unwrap();
    let mut feed = feed_of(&manager, task.id()).await;
    sees(&mut feed, |event| event.attempt == 2).await;

    let record = task.record().unwrap();
    assert_eq!((record.state, &record.wait), (State::Running, &None));
    soon(task.cancel(Cancel::because("enough"))).await.unwrap();
    let record = task.record().unwrap();
    assert_eq!((record.suspended_at, &record.wait), (None, &None));
    assert!(!story(&manager, record.id).await.contains(&"suspended"));
}

/// A task that is suspended, and once resumed runs until it is told to end.
async fn suspended(manager: &Manager, name: &str) -> TaskHandle<()> {
    let task = manager.scope("s").task(name).limit("l").resumable();
    let task = task.spawn(|ctx| async move {
        match ctx.resumed() {
            None => Err(ctx.suspend("may I?")),
            Some(_) => until_cancelled(ctx).await,
        }
    });
    let task = task.await.unwrap();
    reaches(manager, task.id(), State::Suspended).await;
    task
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_resume_of_a_task_frees_no_slot_of_the_first() {
    let manager = one_slot();
    let (first, second) = (
        suspended(&manager, "a").await,
        suspended(&manager, "b").await,
    );

    let (one, two) = tokio::join!(first.resume(1), first.resume(2));
    assert!(one.is_ok() != two.is_ok(), "{one:?}, {two:?}");
    reaches(&manager, first.id(), State::Running).await;
    assert!(first.resume(3).await.is_err());
    second.resume(1).await.unwrap();
    settle_down().await;

    let waits = second.record().unwrap();
    assert_eq!(
        (waits.state, &waits.wait),
        (State::Pending, &Some(Wait::Slot))
    );
    soon(first.cancel(Cancel::because("its turn is over")))
        .await
        .unwrap();
    reaches(&manager, second.id(), State::Running).await;
}

#[tokio::test]
async fn resume_that_is_refused_leaves_the_task_as_resumable_as_before() {
    let manager = one_slot();
    let task = suspended(&manager, "t").await;
    let holder = manager.scope("s").task("holder").limit("l");
    let holder = holder.spawn(until_cancelled).await.unwrap();
    reaches(&manager, holder.id(), State::Running).await;
    let before = task.record().unwrap();

    let large = task.resume("x".repeat(1024 * 1024)).await;
    let full = task.try_resume("now").await;

    assert!(matches!(large, Err(ResumeError::TooLarge { .. })));
    assert!(matches!(full, Err(ResumeError::LimitReached(_))));
    assert_eq!(task.record().unwrap(), before);
    soon(holder.cancel(Cancel::because("its turn is over")))
        .await
        .unwrap();
    task.try_resume("now").await.unwrap();
    reaches(&manager, task.id(), State::Pending).await;
    until(|| task.state() == Some(State::Running)).await;
}

#[tokio::test]
async fn snapshot_has_tasks_that_are_pending_waiting_suspended_and_running() {
    let manager = one_slot();
    let asks = suspended(&manager, "asks").await;
    let lead = manager.scope("s").task("lead").limit("l");
    let lead = lead.spawn(|ctx| async move {
        ctx.task("child").spawn(until_cancelled).await?.await?;
        Ok(())
    });
    let lead = lead.await.unwrap();
    until(|| lead.state() == Some(State::Waiting)).await;
    let holder = manager.scope("s").task("holder").limit("l");
    let holder = holder.spawn(until_cancelled).await.unwrap();
    reaches(&manager, holder.id(), State::Running).await;
    let queued = manager.scope("s").task("queued").limit("l");
    let queued = queued.spawn(until_cancelled).await.unwrap();
    let ended = manager.scope("s").task("ended").spawn(|_| async { Ok(()) });
    soon(ended.await.unwrap()).await.unwrap();
    settle_down().await;

    let mut feed = manager.subscribe(Since::Snapshot).await.unwrap();
    let Some(FeedItem::Snapshot { records, .. }) = soon(feed.next()).await else {
        panic!("a snapshot comes first");
    };
    let state = |id| {
        let record = records.iter().find(|record| record.id == id);
        record.map(|record| record.state)
    };
    assert_eq!(state(asks.id()), Some(State::Suspended));
    assert_eq!(state(lead.id()), Some(State::Waiting));
    assert_eq!(state(holder.id()), Some(State::Running));
    assert_eq!(state(queued.id()), Some(State::Pending));
    assert_eq!(records.len(), 5, "and the child, which runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_count_admits_closures_executors_and_external_tasks_that_come_at_once() {
    let stops = |ctx: Context, input: Value| async move {
        until_cancelled(ctx).await?;
        Ok(input)
    };
    let builder = Manager::builder().global_limit(Class::queue(2));
    let manager = builder.executor("k", stops).build().unwrap();
    let asks = (0..18).map(|number| {
        let task = manager.scope("s").unnamed().grace(Duration::ZERO);
        tokio::spawn(async move {
            match number % 3 {
                0 => task.spawn(until_cancelled).await.unwrap().task(),
                1 => task.spawn_kind("k", number).await.unwrap().task(),
                _ => task.external().await.unwrap().task(),
            }
        })
    });
    for ask in asks.collect::<Vec<_>>() {
        soon(ask).await.unwrap();
    }
    let running = Filter::all().state(State::Running);
    let running = || manager.list(&running, &Page::default()).records;
    for left in (0..18).rev() {
        until(|| running().len() == 2.min(left + 1)).await;
        settle_down().await;
        let live = running();
        assert_eq!((live.len(), manager.live()), (2.min(left + 1), left + 1));
        let over = manager.task(live[0].id);
        soon(over.cancel(Cancel::because("its turn is over")))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn task_that_has_ended_is_run_by_nothing_again() {
    let manager = Manager::in_memory();
    let calls = Arc::new(AtomicU32::new(0));
    let task = manager.scope("s").task("t").resumable().spawn({
        let calls = Arc::clone(&calls);
        move |_| {
            calls.fetch_add(1, SeqCst);
            async { Ok(()) }
        }
    });
    let task = task.await.unwrap();
    let ended = soon(task.settled()).await.unwrap();

    assert!(task.resume(()).await.is_err());
    assert!(task.restart().await.is_err());
    assert!(task.send("go on").await.is_err());
    assert!(task.cancel(Cancel::because("late")).await.is_ok());
    #[cfg(feature = "testing")]
    crate::mastra::crash::crash(&manager).await;
    settle_down().await;

    assert_eq!(calls.load(SeqCst), 1);
    assert_eq!(task.record().unwrap(), ended);
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn attempt_that_a_crash_ended_is_counted_so_that_no_crash_loops_for_ever() {
    let never = |_: Context, _: Value| std::future::pending::<Result<Value, Failure>>();
    let manager = Manager::builder().executor("k", never).build().unwrap();
    let task = manager.scope("s").task("t");
    let task = task.retry(Retry::fixed(1, Duration::ZERO));
    let task = task.spawn_kind("k", ()).await.unwrap();
    let mut feed = feed_of(&manager, task.id()).await;
    for attempt in [1, 2] {
        sees(&mut feed, |event| {
            event.what == What::Started && event.attempt == attempt
        })
        .await;
        crate::mastra::crash::crash(&manager).await;
    }

    let record = soon(task.settled()).await.unwrap();
    assert_eq!((record.state, record.attempt), (State::Interrupted, 2));
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn queue_that_a_crash_interrupted_is_worked_off_to_its_last_task() {
    let runs = |_: Context, input: Value| async move { Ok::<_, Failure>(input) };
    let builder = Manager::builder().executor("k", runs);
    let manager = builder.limit("l", Class::queue(1)).build().unwrap();
    let scope = manager.scope("s");
    let holder = scope.unnamed().limit("l").spawn(until_cancelled);
    reaches(&manager, holder.await.unwrap().id(), State::Running).await;
    let mut queued = Vec::new();
    for number in 0..5 {
        let task = scope.unnamed().limit("l").spawn_kind("k", number);
        queued.push(task.await.unwrap());
    }

    crate::mastra::crash::crash(&manager).await;

    for (number, task) in queued.into_iter().enumerate() {
        assert_eq!(soon(task).await.unwrap(), number);
    }
}
