//! Messages: addresses, order, bounds, what is left unread.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use understory::{Cancel, Context, Failure, Manager, Receipt, SendError, Sender, TaskId, What};

use crate::stage::{feed_of, for_ever, rounds, sees, settle_down, soon, until};

mod reading;

/// A body that reads until it is told `end`.
async fn until_end(ctx: Context) -> Result<Vec<Value>, Failure> {
    let mut read = Vec::new();
    while let Some(message) = ctx.recv().await {
        if message.body == "end" {
            break;
        }
        read.push(message.body);
    }
    Ok(read)
}

/// The message that came back because nothing is at the address.
fn unknown(refused: Result<Receipt, SendError>) -> Value {
    match refused {
        Err(SendError::NoSuchTask { message, .. }) => message,
        other => panic!("nobody is there, but: {other:?}"),
    }
}

/// The message that came back because this task has ended.
fn ended(refused: Result<Receipt, SendError>, id: TaskId) -> Value {
    match refused {
        Err(SendError::Ended { task, message }) if task == id => message,
        other => panic!("the task has ended, but: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_ten_senders_keep_their_order() {
    let manager = Manager::in_memory();
    let reader = manager.scope("s").task("reader").inbox_capacity(10_000);
    let reader = reader.spawn(|ctx| async move {
        let mut read = Vec::new();
        while read.len() < 1_000 {
            let message = ctx
                .recv()
                .await
                .ok_or_else(|| Failure::new("it ended early"))?;
            read.push((message.number, message.body));
        }
        Ok(read)
    });
    let reader = reader.await.unwrap();
    let sender = |sender: u64| {
        let to = reader.task();
        async move {
            for number in 0..100_u64 {
                to.send((sender, number)).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    };
    let senders: Vec<_> = (0..10).map(|number| tokio::spawn(sender(number))).collect();
    for sender in senders {
        soon(sender).await.unwrap();
    }

    let mut next = BTreeMap::<u64, u64>::new();
    for (place, (number, body)) in (1..).zip(soon(reader).await.unwrap()) {
        let (sender, at): (u64, u64) = serde_json::from_value(body).unwrap();
        let expected = next.entry(sender).or_default();
        assert_eq!((number, at), (place, *expected), "from {sender}");
        *expected += 1;
    }
    assert!(next.len() == 10 && next.values().all(|count| *count == 100));
}

#[tokio::test]
async fn full_inbox_returns_the_message() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").inbox_capacity(2);
    let task = task.spawn(until_end).await.unwrap();

    for waiting in 1..=2_u32 {
        let receipt = task.send(waiting).await.unwrap();
        assert_eq!(
            (receipt.number, receipt.waiting),
            (u64::from(waiting), waiting)
        );
    }
    let Err(SendError::Full {
        task: of,
        capacity,
        message,
    }) = task.send(json!({"n": 3})).await
    else {
        panic!("two messages fill it");
    };
    assert_eq!((of, capacity, message), (task.id(), 2, json!({"n": 3})));
    settle_down().await;
    assert_eq!(task.send("end").await.unwrap().number, 3);
    assert_eq!(soon(task).await.unwrap(), [1, 2]);
}

#[tokio::test]
async fn inbox_of_capacity_zero_is_none() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").inbox_capacity(0);
    let task = task.spawn(for_ever).await.unwrap();

    let refused = task.send("hello").await;

    assert!(matches!(
        refused,
        Err(SendError::NoInbox { task: of, message }) if of == task.id() && message == "hello"
    ));
}

#[tokio::test]
async fn every_address_means_the_same_task() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let (tell, told) = oneshot::channel();
    let lead = scope.task("lead").spawn(|ctx| async move {
        let docs = ctx.task("docs").spawn(until_end).await?;
        docs.send("by handle").await?;
        ctx.send("lead/docs", "by path of a context").await?;
        ctx.send("self", "to itself").await?;
        ctx.send(docs.id(), "by id of a context").await?;
        let mine = ctx.recv().await.map(|message| message.body);
        let _heard = tell.send(docs.id());
        Ok((docs.await?, mine))
    });
    let lead = lead.await.unwrap();
    let docs = soon(told).await.unwrap();

    manager.task(docs).send("by reference").await.unwrap();
    manager.send(docs, "by id").await.unwrap();
    scope.send(docs, "by id in its scope").await.unwrap();
    scope.send("docs", "by name").await.unwrap();
    scope.send("lead/docs", "by path").await.unwrap();
    scope.send("docs", "end").await.unwrap();

    let (read, mine) = soon(lead).await.unwrap();
    let wanted = [
        "by handle",
        "by path of a context",
        "by id of a context",
        "by reference",
        "by id",
        "by id in its scope",
        "by name",
        "by path",
    ];
    assert_eq!(read, wanted);
    assert_eq!(mine, Some("to itself".into()));
}

#[tokio::test]
async fn sender_is_the_host_or_the_body() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let lead = scope.task("lead").spawn(|ctx| async move {
        let child = ctx.task("child").spawn(|ctx| async move {
            ctx.send("parent", "by context").await?;
            ctx.manager()
                .send(ctx.parent().unwrap(), "by manager")
                .await?;
            ctx.manager().scope("s").send("lead", "by scope").await?;
            Ok(ctx.id())
        });
        let child = child.await?.await?;
        let mut from = Vec::new();
        while let Some(message) = ctx.recv().await {
            from.push(message.from);
            if message.body == "end" {
                break;
            }
        }
        Ok((child, format!("{from:?}")))
    });
    let lead = lead.await.unwrap();
    let mut ends = feed_of(&manager, lead.id()).await;
    sees(&mut ends, |event| matches!(event.what, What::Unparked)).await;
    lead.send("end").await.unwrap();

    let (child, from) = soon(lead).await.unwrap();

    let by_child = Sender::Task(child);
    let wanted = [by_child, by_child, by_child, Sender::Host];
    assert_eq!(from, format!("{wanted:?}"));
}

#[tokio::test]
async fn wrong_path_and_other_scope_look_like_unknown() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let lead = scope.task("lead").spawn(|ctx| async move {
        ctx.task("docs").spawn(for_ever).await?;
        unknown(ctx.send("parent", "a root has none").await);
        std::future::pending::<()>().await;
        Ok(())
    });
    let lead = lead.await.unwrap();
    until(|| scope.find("lead/docs").is_some()).await;
    let docs = scope.find("docs").unwrap();
    let other = manager.scope("other");

    for path in [
        "code",
        "other/docs",
        "docs/lead",
        "x/lead/docs",
        "lead/",
        "/docs",
        "",
        "self",
    ] {
        assert_eq!(unknown(scope.send(path, path).await), path);
    }
    for address in ["docs", "lead/docs", "s/lead"] {
        unknown(other.send(address, 1).await);
    }
    unknown(other.send(docs, 1).await);
    unknown(manager.send(TaskId::from_u128(7), 1).await);
    unknown(manager.scope("a b").send("docs", 1).await);
    let elsewhere = other.task("spy").spawn(move |ctx| async move {
        unknown(ctx.send(docs, 1).await);
        unknown(ctx.send("docs", 1).await);
        Ok(())
    });
    soon(elsewhere.await.unwrap()).await.unwrap();
    soon(lead.cancel_tree(Cancel::because("enough").grace(Duration::ZERO)))
        .await
        .unwrap();
    unknown(other.send(docs, 1).await);
    assert_eq!(ended(scope.send(docs, 2).await, docs), 2);
}

#[tokio::test]
async fn p7_message_for_a_dead_name_never_reaches_a_later_holder() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let first = scope.task("t").spawn(until_end).await.unwrap();
    let (by_handle, id) = (first.task(), first.id());
    first.send("end").await.unwrap();
    soon(first).await.unwrap();
    let second = scope.task("t").spawn(until_end).await.unwrap();

    assert_eq!(ended(by_handle.send("late").await, id), "late");
    assert_eq!(ended(manager.send(id, "late").await, id), "late");
    assert_eq!(ended(scope.send(id, "late").await, id), "late");
    let receipt = scope.send("t", "end").await.unwrap();

    assert_eq!(receipt.number, 1);
    assert!(soon(second).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_holders_of_a_name_share_no_message() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let (stop, mut stopped) = oneshot::channel();
    let sender = tokio::spawn({
        let scope = scope.clone();
        async move {
            let mut accepted = 0_u64;
            for number in 0_u64.. {
                match scope.send("t", number).await {
                    Ok(_) => accepted += 1,
                    Err(SendError::NoSuchTask { .. } | SendError::Ended { .. }) => {}
                    Err(other) => panic!("it is there or it is not, but: {other}"),
                }
                if stopped.try_recv().is_ok() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            accepted
        }
    });
    let (mut read, mut unread) = (BTreeSet::new(), 0);
    for _ in 0..rounds(200) {
        let task = scope.task("t").inbox_capacity(u32::MAX).spawn(until_end);
        let task = task.await.unwrap();
        let reference = task.task();
        task.send("end").await.unwrap();
        for body in soon(task).await.unwrap() {
            assert!(read.insert(body.as_u64().unwrap()), "{body} came twice");
        }
        unread += u64::from(reference.record().unwrap().undelivered);
    }
    stop.send(()).unwrap();

    let accepted = soon(sender).await.unwrap();

    assert_eq!(accepted, u64::try_from(read.len()).unwrap() + unread);
}

#[tokio::test]
async fn message_that_is_nested_too_deep_is_refused() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(until_end);
    let task = task.await.unwrap();
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));

    let refused = task.send(nested(128)).await;
    assert!(matches!(refused, Err(SendError::Encode(_))), "{refused:?}");
    task.send(nested(126)).await.unwrap();
    task.send("end").await.unwrap();
    assert_eq!(soon(task).await.unwrap(), [nested(126)]);
}
