//! Durable messages: what outlives an attempt, and what outlives the process.

use std::time::Duration;

use serde_json::{Value, json};
use understory::{
    AcknowledgeError, Builder, Cancel, Context, Failure, Manager, Message, Outcome, Overflow,
    Payload, Record, Retry, SendError, State, TaskHandle,
};

use super::{Folder, builder};
use crate::stage::{feed_of, for_ever, reaches, sees, soon, until_cancelled};

/// Takes two messages, is done with the first of its first attempt, and then waits for ever; later
/// attempts give what they get and are done with it.
async fn clerk(ctx: Context, _: Value) -> Result<Value, Failure> {
    let mut got = Vec::new();
    for _ in 0..2 {
        got.push(next(&ctx).await?);
    }
    if ctx.attempt() == 1 {
        ctx.acknowledge(&got[0]).await?;
        ctx.emit("ready", &json!(null)).await?;
        return for_ever(ctx).await.map(|()| Value::Null);
    }
    for message in &got {
        ctx.acknowledge(message).await?;
    }
    let got: Vec<_> = got.into_iter().map(|message| message.body).collect();
    Ok(json!(got))
}

async fn next(ctx: &Context) -> Result<Message, Failure> {
    ctx.recv().await.ok_or_else(|| Failure::new("nothing came"))
}

fn value_of(record: &Record) -> Option<Value> {
    if let Some(Outcome::Completed(value)) = record.outcome.as_deref() {
        return Some(value.to_value());
    }
    None
}

fn clerks() -> Builder {
    builder().executor("clerk", clerk)
}

async fn employ(manager: &Manager) -> TaskHandle<Value> {
    let clerk = manager.scope("s").task("clerk");
    let clerk = clerk.retry(Retry::fixed(2, Duration::ZERO));
    clerk.spawn_kind("clerk", json!(null)).await.unwrap()
}

#[tokio::test]
async fn message_that_was_not_acknowledged_outlives_the_process_and_comes_in_its_order() {
    let folder = Folder::new();
    let manager = folder.open_as(clerks()).await;
    let task = employ(&manager).await;
    let mut feed = feed_of(&manager, task.id()).await;
    for word in ["one", "two"] {
        task.send_durable(word).await.unwrap();
    }
    sees(&mut feed, |event| event.what.name() == "emitted").await;
    let last = task.send_durable("three").await.unwrap();
    let image = folder.left_behind();

    let next = image.open_as(clerks()).await;
    let record = soon(next.task(task.id()).settled()).await.unwrap();
    let value = value_of(&record);
    assert_eq!(value, Some(json!(["two", "three"])));
    assert!(record.unacknowledged().is_empty());
    let kept = manager.get(task.id()).unwrap();
    assert_eq!(kept.unacknowledged().last().map(|it| it.id), Some(last));
}

#[tokio::test]
async fn suspended_task_finds_what_was_sent_to_it_before_and_after_a_restart() {
    async fn napper(ctx: Context, _: Value) -> Result<Value, Failure> {
        if ctx.resumed().is_none() {
            return Err(ctx.suspend(json!("asleep")));
        }
        let mut got = Vec::new();
        while let Some(message) = ctx.try_recv() {
            ctx.acknowledge(&message).await?;
            got.push(message.body);
        }
        Ok(json!(got))
    }
    let nappers = || builder().executor("nap", napper);
    let folder = Folder::new();
    let manager = folder.open_as(nappers()).await;
    let task = manager.scope("s").task("t").spawn_kind("nap", 1).await;
    let task = task.unwrap();
    reaches(&manager, task.id(), State::Suspended).await;
    task.send_durable("before").await.unwrap();

    let left = folder.left_behind();
    let next = left.open_as(nappers()).await;
    let task = next.task(task.id());
    task.send_durable("after").await.unwrap();
    task.resume(json!(null)).await.unwrap();
    let record = soon(task.settled()).await.unwrap();
    let value = value_of(&record);
    assert_eq!(value, Some(json!(["before", "after"])));
}

#[tokio::test]
async fn next_attempt_gets_first_what_the_last_one_did_not_acknowledge() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").inbox_capacity(8);
    let task = task.retry(Retry::fixed(1, Duration::ZERO));
    let task = task
        .spawn(|ctx| async move {
            let first = next(&ctx).await?;
            if ctx.attempt() == 1 {
                return Err(Failure::new("not now"));
            }
            let rest = next(&ctx).await?;
            assert!(first.is_durable && !rest.is_durable);
            ctx.acknowledge(&rest).await?;
            Ok((first.body, rest.body))
        })
        .await
        .unwrap();
    task.send_durable("kept").await.unwrap();
    task.send("plain").await.unwrap();
    let both = soon(task).await.unwrap();
    assert_eq!(both, (json!("kept"), json!("plain")));
}

#[tokio::test]
async fn durable_messages_take_no_place_in_the_inbox_and_are_not_dropped_for_newer_ones() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").inbox_capacity(1);
    let task = task.inbox_overflow(Overflow::DropOldest);
    let task = task
        .spawn(|ctx| async move {
            ctx.cancelled().await;
            Ok(ctx
                .drain()
                .into_iter()
                .map(|it| it.body)
                .collect::<Vec<_>>())
        })
        .await
        .unwrap();
    task.send_durable(1).await.unwrap();
    for number in [2, 3] {
        task.send(number).await.unwrap();
    }
    task.send_durable(4).await.unwrap();
    task.cancel(Cancel::because("enough")).await.unwrap();
    let record = soon(task.settled()).await.unwrap();
    let outcome = record.outcome.clone().unwrap();
    let Outcome::Cancelled { late_result } = &*outcome else {
        panic!("it was cancelled: {outcome:?}");
    };
    let late = late_result.as_ref().map(Payload::to_value);
    assert_eq!(late, Some(json!([1, 3, 4])));
    assert_eq!(record.unacknowledged().len(), 2);
}

#[tokio::test]
async fn durable_message_that_nobody_can_read_comes_back() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let ended = scope.task("ended").spawn(|_| async { Ok(()) }).await;
    let ended = ended.unwrap();
    soon(ended.settled()).await.unwrap();
    let refused = ended.send_durable("late").await;
    assert!(matches!(&refused, Err(SendError::Ended { message, .. }) if message == "late"));

    let deaf = scope
        .task("deaf")
        .inbox_capacity(0)
        .spawn(until_cancelled)
        .await;
    let refused = deaf.unwrap().send_durable("?").await;
    assert!(matches!(refused, Err(SendError::NoInbox { .. })));

    let full = scope.task("full").spawn(until_cancelled).await.unwrap();
    let large = "x".repeat(600 * 1024);
    full.send_durable(&large).await.unwrap();
    let refused = scope.send_durable("full", &large).await;
    assert!(
        matches!(refused, Err(SendError::Full { .. })),
        "{refused:?}"
    );
    let refused = full.send_durable("x".repeat(1 << 20)).await;
    assert!(matches!(refused, Err(SendError::TooLarge { .. })));
    let refused = scope.send_durable("nobody", 1).await;
    assert!(matches!(refused, Err(SendError::NoSuchTask { .. })));
}

#[tokio::test]
async fn body_speaks_durably_to_its_parent_and_an_attempt_that_is_over_acknowledges_nothing() {
    let manager = Manager::in_memory();
    let (out, taken) = tokio::sync::oneshot::channel();
    let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
        let child = ctx.task("child").spawn(|ctx| async move {
            ctx.send_durable("parent", "found").await?;
            Ok(())
        });
        child.await?.await?;
        let message = next(&ctx).await?;
        let _is_heard = out.send((ctx.clone(), message)).is_ok();
        Ok(())
    });
    let lead = lead.await.unwrap();
    let id = lead.id();
    soon(lead).await.unwrap();
    let (ctx, message) = taken.await.unwrap();
    assert_eq!(message.body, "found");
    let over = ctx.acknowledge(&message).await;
    assert_eq!(over, Err(AcknowledgeError::Over));
    assert_eq!(manager.get(id).unwrap().unacknowledged().len(), 1);
}
