//! Reading an inbox: when, by which attempt, and what nobody read.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use understory::{
    Cancel, Context, Event, Failure, Manager, Received, Retry, SendError, State, What,
};

use super::until_end;
use crate::stage::{
    feed_of, for_ever, reaches, sees, settle_down, soon, story, until, until_cancelled,
};

fn now() -> Cancel {
    Cancel::because("enough").grace(Duration::ZERO)
}

fn undelivered(event: &Event) -> Option<u32> {
    if let What::Settled { undelivered, .. } = event.what {
        return Some(undelivered);
    }
    None
}

#[tokio::test]
async fn message_for_a_pending_task_is_read_when_it_starts() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let first = scope.task("first").spawn(until_end).await.unwrap();
    let task = scope.task("t").after([first.id()]).spawn(until_end);
    let task = task.await.unwrap();
    assert_eq!(task.state(), Some(State::Pending));

    task.send("early").await.unwrap();
    task.send("end").await.unwrap();
    settle_down().await;
    assert_eq!(task.state(), Some(State::Pending));
    first.send("end").await.unwrap();

    assert_eq!(soon(task).await.unwrap(), ["early"]);
}

#[tokio::test]
async fn attempt_reads_what_the_failed_one_left() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t");
    let task = task
        .retry(Retry::fixed(2, Duration::ZERO))
        .spawn(|ctx| async move {
            let message = ctx
                .recv()
                .await
                .ok_or_else(|| Failure::new("it ended early"))?;
            match ctx.attempt() {
                3 => Ok(message.body),
                _ => Err(Failure::new("again")),
            }
        });
    let task = task.await.unwrap();
    let reference = task.task();
    for number in 1..=5 {
        task.send(number).await.unwrap();
    }

    assert_eq!(soon(task).await.unwrap(), 3);
    assert_eq!(reference.record().unwrap().undelivered, 2);
}

#[tokio::test(start_paused = true)]
async fn attempt_after_a_timeout_reads_what_the_one_before_left() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").timeout(Duration::from_secs(1));
    let task = task
        .retry(Retry::fixed(1, Duration::ZERO))
        .spawn(|ctx| async move {
            if ctx.attempt() == 1 {
                ctx.cancelled().await;
                return Err(Failure::new("it took too long"));
            }
            Ok(ctx.recv().await.map(|message| message.body))
        });
    let task = task.await.unwrap();
    task.send("still here").await.unwrap();

    assert_eq!(soon(task).await.unwrap(), Some("still here".into()));
}

#[tokio::test]
async fn stale_attempt_receives_nothing() {
    let manager = Manager::in_memory();
    let (tell, mut told) = mpsc::unbounded_channel::<Context>();
    let (tell_read, mut told_read) = mpsc::unbounded_channel();
    let task = manager.scope("s").task("t");
    let task = task
        .retry(Retry::fixed(1, Duration::ZERO))
        .spawn(move |ctx| {
            let (tell, tell_read) = (tell.clone(), tell_read.clone());
            async move {
                if ctx.attempt() == 1 {
                    let stray = ctx.clone();
                    tokio::spawn(async move { tell_read.send(stray.recv().await) });
                    tokio::task::yield_now().await;
                    tell.send(ctx)?;
                    return Err(Failure::new("again"));
                }
                until_end(ctx).await
            }
        });
    let task = task.await.unwrap();
    let stale = soon(told.recv()).await.unwrap();
    until(|| task.record().unwrap().attempt == 2).await;

    task.send("for the second").await.unwrap();
    assert!(stale.recv().await.is_none());
    assert!(stale.try_recv().is_none() && stale.drain().is_empty());
    assert!(matches!(stale.recv_or_cancelled().await, Received::Closed));
    task.send("end").await.unwrap();

    assert_eq!(soon(task).await.unwrap(), ["for the second"]);
    assert_eq!(soon(told_read.recv()).await, Some(None));
}

#[tokio::test]
async fn what_the_body_left_is_counted_in_its_end() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(until_cancelled);
    let task = task.await.unwrap();
    for number in 0..3 {
        task.send(number).await.unwrap();
    }

    soon(task.cancel(now())).await.unwrap();

    let mut feed = feed_of(&manager, task.id()).await;
    let end = sees(&mut feed, |event| undelivered(event).is_some()).await;
    assert_eq!(undelivered(&end), Some(3));
    assert_eq!(task.record().unwrap().undelivered, 3);
    assert!(matches!(task.send(4).await, Err(SendError::Ended { .. })));
    settle_down().await;
    assert!(!story(&manager, task.id()).await.contains(&"undelivered"));
}

#[tokio::test]
async fn what_a_body_left_that_was_dropped_by_force_is_counted_in_its_end() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t");
    let task = task.retry(Retry::fixed(3, Duration::ZERO)).spawn(for_ever);
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Running).await;
    task.send("unread").await.unwrap();

    soon(task.cancel(now())).await.unwrap();

    let mut feed = feed_of(&manager, task.id()).await;
    let end = sees(&mut feed, |event| undelivered(event).is_some()).await;
    assert_eq!((end.attempt, undelivered(&end)), (1, Some(1)));
}

#[tokio::test]
async fn what_no_body_could_read_is_told_after_the_end() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let first = scope.task("first").spawn(for_ever).await.unwrap();
    let task = scope.task("t").after([first.id()]).spawn(until_end);
    let task = task.await.unwrap();
    for number in 0..2 {
        task.send(number).await.unwrap();
    }

    soon(task.cancel(now())).await.unwrap();

    let mut feed = feed_of(&manager, task.id()).await;
    let end = sees(&mut feed, |event| undelivered(event).is_some()).await;
    assert_eq!(undelivered(&end), Some(0));
    let left = sees(&mut feed, |_| true).await;
    assert_eq!(left.what, What::Undelivered(2));
    let record = task.record().unwrap();
    assert_eq!((record.undelivered, record.seq), (2, left.seq));
    assert_eq!(record.state, State::Cancelled);
}

#[tokio::test]
async fn request_to_stop_goes_before_messages() {
    let manager = Manager::in_memory();
    let (go, gone) = oneshot::channel();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        let mut seen = Vec::new();
        if let Received::Message(message) = ctx.recv_or_cancelled().await {
            seen.push(message.body);
        }
        gone.await?;
        if let Received::Cancelled(stop) = ctx.recv_or_cancelled().await {
            seen.push((&*stop.reason).into());
        }
        seen.extend(ctx.try_recv().map(|message| message.body));
        Ok(seen)
    });
    let task = task.await.unwrap();
    task.send("first").await.unwrap();
    let asked = task.task();
    let asked = tokio::spawn(async move { asked.cancel(Cancel::because("enough")).await });
    reaches(&manager, task.id(), State::CancelRequested).await;
    task.send("second").await.unwrap();
    settle_down().await;
    go.send(()).unwrap();
    soon(asked).await.unwrap().unwrap();

    let outcome = task.record().unwrap().outcome.clone().unwrap();

    let text = format!("{outcome:?}");
    assert!(text.contains(r#"["first","enough","second"]"#), "{text}");
}

#[tokio::test]
async fn drain_takes_what_is_there_and_no_more() {
    let manager = Manager::in_memory();
    let (go, gone) = oneshot::channel();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        assert!(ctx.drain().is_empty() && ctx.try_recv().is_none());
        ctx.progress("looked").await?;
        gone.await?;
        let bodies = |messages: Vec<understory::Message>| -> Vec<Value> {
            messages.into_iter().map(|message| message.body).collect()
        };
        let first = ctx.try_recv().map(|message| message.body);
        let rest = bodies(ctx.drain());
        Ok((first, rest, bodies(ctx.drain())))
    });
    let task = task.await.unwrap();
    until(|| task.record().unwrap().progress.is_some()).await;
    for number in 1..=4 {
        task.send(number).await.unwrap();
    }
    go.send(()).unwrap();

    let (first, rest, nothing) = soon(task).await.unwrap();

    assert_eq!(
        (first, rest),
        (Some(1.into()), vec![2.into(), 3.into(), 4.into()])
    );
    assert!(nothing.is_empty());
}

/// How many messages the flood has: `UNDERSTORY_SCALE`, or a hundred thousand.
fn flood() -> u64 {
    let asked = std::env::var("UNDERSTORY_SCALE").ok();
    asked.map_or(100_000, |text| {
        text.parse().expect("UNDERSTORY_SCALE is a number")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_is_accepted_or_refused_and_read_or_counted() {
    const SENDERS: u64 = 4;
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let read = Arc::new(Mutex::new(0_u64));
    let count = Arc::clone(&read);
    let reader = scope.task("reader").spawn(|ctx| async move {
        while let Received::Message(_) = ctx.recv_or_cancelled().await {
            *count.lock()? += 1;
        }
        Ok(())
    });
    let reader = reader.await.unwrap();
    let each = flood() / SENDERS;
    let mut senders = Vec::new();
    for _ in 0..SENDERS {
        let sender = scope.unnamed().spawn(move |ctx| async move {
            let (mut accepted, mut refused) = (0_u64, 0_u64);
            for number in 0..each {
                match ctx.send("reader", number).await {
                    Ok(_) => accepted += 1,
                    Err(SendError::Full { message, .. }) if message == number => refused += 1,
                    Err(other) => return Err(other.into()),
                }
                if number % 64 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            Ok((accepted, refused))
        });
        senders.push(sender.await.unwrap());
    }
    let (mut accepted, mut refused) = (0, 0);
    for sender in senders {
        let (taken, returned) = soon(sender).await.unwrap();
        accepted += taken;
        refused += returned;
    }

    soon(reader.cancel(Cancel::because("enough")))
        .await
        .unwrap();

    assert_eq!(accepted + refused, SENDERS * each);
    let left = u64::from(reader.record().unwrap().undelivered);
    assert_eq!(*read.lock().unwrap() + left, accepted);
    assert!(accepted > 0);
}

#[tokio::test]
async fn failure_that_ends_a_task_counts_what_it_left() {
    let manager = Manager::in_memory();
    let (go, gone) = oneshot::channel::<()>();
    let task = manager.scope("s").task("t").spawn(|_| async move {
        gone.await?;
        Err::<(), _>(Failure::new("no network"))
    });
    let task = task.await.unwrap();
    task.send("unread").await.unwrap();
    go.send(()).unwrap();

    let record = soon(task.settled()).await.unwrap();

    assert_eq!((record.state, record.undelivered), (State::Failed, 1));
}
