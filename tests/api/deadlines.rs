//! Limits of the whole task and of its waits, on paused time.

use std::time::Duration;

use understory::{Cause, Class, Context, Failure, Limit, Manager, Outcome, Record, Retry, State};

use crate::stage::{for_ever, story};

const TEN: Duration = Duration::from_secs(10);

/// Whether it took this long: timers are exact to two milliseconds.
fn takes(took: Duration, expected: Duration) -> bool {
    took >= expected && took <= expected + Duration::from_millis(2)
}

fn limit_of(record: &Record) -> Option<Limit> {
    match record.outcome.as_deref() {
        Some(Outcome::TimedOut { limit, .. }) => Some(*limit),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn lifetime_ends_a_task_over_all_its_attempts() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").lifetime(TEN);
    let task = task.retry(Retry::fixed(99, TEN / 4)).spawn(|_| async {
        tokio::time::sleep(TEN / 4).await;
        Err::<(), _>(Failure::new("not yet"))
    });

    let record = task.await.unwrap().settled().await.unwrap();

    assert_eq!(limit_of(&record), Some(Limit::Lifetime));
    assert_eq!(record.attempt, 2);
    let stop = record.stop.clone().unwrap();
    assert_eq!(stop.cause, Cause::Timeout(Limit::Lifetime));
    assert!(takes(stop.at.since(record.created_at), TEN));
    assert!(record.state.is_failure());
}

#[tokio::test(start_paused = true)]
async fn attempt_that_ends_with_the_lifetime_is_the_last_one() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").lifetime(TEN);
    let task = task.retry(Retry::fixed(9, TEN)).spawn(|ctx| async move {
        let why = ctx.cancelled().await;
        Err::<(), _>(Failure::new(why.reason.to_string()))
    });

    let task = task.await.unwrap();
    let record = task.settled().await.unwrap();

    assert_eq!(
        (limit_of(&record), record.attempt),
        (Some(Limit::Lifetime), 1)
    );
    let story = story(&manager, task.id()).await;
    assert_eq!(story, ["accepted", "started", "stop_asked", "settled"]);
}

#[tokio::test(start_paused = true)]
async fn wait_for_a_slot_ends_with_its_limit() {
    let manager = Manager::builder().limit("llm", Class::queue(1));
    let manager = manager.build().unwrap();
    let scope = manager.scope("s");
    let first = scope.task("first").limit("llm").spawn(for_ever);
    first.await.unwrap();
    let second = scope.task("second").limit("llm").queue_timeout(TEN);

    let record = second
        .spawn(for_ever)
        .await
        .unwrap()
        .settled()
        .await
        .unwrap();

    assert_eq!((limit_of(&record), record.attempt), (Some(Limit::Queue), 0));
    assert!(takes(
        record.ended_at.unwrap().since(record.created_at),
        TEN
    ));
}

#[tokio::test(start_paused = true)]
async fn slot_that_comes_in_time_ends_the_limit_of_the_wait() {
    let manager = Manager::builder().limit("llm", Class::queue(1));
    let manager = manager.build().unwrap();
    let scope = manager.scope("s");
    let busy = |time| {
        move |_: Context| async move {
            tokio::time::sleep(time).await;
            Ok(())
        }
    };
    let first = scope.task("first").limit("llm").spawn(busy(TEN / 2));
    first.await.unwrap();
    let second = scope.task("second").limit("llm").queue_timeout(TEN);

    let record = second
        .spawn(busy(TEN * 2))
        .await
        .unwrap()
        .settled()
        .await
        .unwrap();

    assert_eq!(record.state, State::Completed);
}

#[tokio::test(start_paused = true)]
async fn zero_disables_every_limit() {
    let manager = Manager::in_memory();
    let zero = Duration::ZERO;
    let task = manager.scope("s").task("t").lifetime(zero);
    let task = task.queue_timeout(zero).suspend_timeout(zero);

    let record = task.spawn(|_| async { Ok(()) }).await.unwrap();
    let record = record.settled().await.unwrap();

    let spec = &record.spec;
    assert_eq!(
        (spec.lifetime, spec.queue_timeout, spec.suspend_timeout),
        (None, None, None)
    );
    let task = manager.scope("s").task("t").suspend_timeout(TEN);
    let task = task.spawn(|_| async { Ok(()) }).await.unwrap();
    assert_eq!(task.record().unwrap().spec.suspend_timeout, Some(TEN));
}

#[tokio::test(start_paused = true)]
async fn suspension_that_nobody_ends_is_over_with_its_limit() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").suspend_timeout(TEN);
    let task = task.retry(Retry::never()).spawn(|ctx| async move {
        match ctx.resumed() {
            Some(data) => Ok(data.clone()),
            None => Err(ctx.suspend("may I?")),
        }
    });
    let task = task.await.unwrap();

    let record = task.settled().await.unwrap();

    assert_eq!(limit_of(&record), Some(Limit::Suspension));
    let story = story(&manager, task.id()).await;
    assert_eq!(
        story,
        ["accepted", "started", "suspended", "stop_asked", "settled"]
    );
}
