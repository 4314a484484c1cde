//! Full inboxes, what becomes of messages, and dead letters.

use serde_json::{Value, json};
use understory::{
    Address, Cancel, Context, DeadFilter, Delivery, Failure, Manager, MessageId, Overflow,
    ReplayError, SendError, SendMode, Sender, State, TaskHandle, Undelivered,
};

use crate::stage::{for_ever, reaches, settle_down, soon, until_cancelled};

mod letters;

const DROPPED: Delivery = Delivery::Undelivered(Undelivered::Dropped);
const ENDED: Delivery = Delivery::Undelivered(Undelivered::Ended);

/// A body that waits for a first message and then reads all that are there.
async fn reads_all(ctx: Context) -> Result<Vec<Value>, Failure> {
    let first = ctx.interrupted().await;
    let _why = first.reason.len();
    Ok(ctx
        .drain()
        .into_iter()
        .map(|message| message.body)
        .collect())
}

async fn reader(manager: &Manager, overflow: Overflow) -> TaskHandle<Vec<Value>> {
    let task = manager.scope("s").task("reader").inbox_capacity(2);
    let task = task
        .inbox_overflow(overflow)
        .spawn(reads_all)
        .await
        .unwrap();
    crate::stage::reaches(manager, task.id(), understory::State::Running).await;
    task
}

#[tokio::test]
async fn receipt_tells_when_the_message_was_read() {
    let manager = Manager::in_memory();
    let task = reader(&manager, Overflow::Reject).await;
    let receipt = task.send("hello").await.unwrap();
    task.interrupt("read").await.unwrap();
    assert_eq!(soon(receipt).await, Delivery::Read);
    assert_eq!(soon(task).await.unwrap(), ["hello"]);
}

#[tokio::test]
async fn oldest_message_is_dropped_for_the_newest_and_its_sender_is_told() {
    let manager = Manager::in_memory();
    let task = reader(&manager, Overflow::DropOldest).await;
    let first = task.send(1).await.unwrap();
    let id = first.id;
    task.send(2).await.unwrap();
    task.send(3).await.unwrap();

    assert_eq!(soon(first).await, DROPPED);
    let dead = manager.dead_letters(&DeadFilter::all().why(Undelivered::Dropped));
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (dead[0].id, &dead[0].body, dead[0].to),
        (id, &json!(1), task.id())
    );
    task.interrupt("read").await.unwrap();
    let record = soon(task.settled()).await.unwrap();
    assert_eq!(record.undelivered, 1);
    assert_eq!(soon(task).await.unwrap(), [2, 3]);
}

#[tokio::test]
async fn sender_waits_for_room_and_keeps_its_order() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("slow").inbox_capacity(1);
    let task = task.inbox_overflow(Overflow::Wait).spawn(|ctx| async move {
        let mut read = Vec::new();
        while read.len() < 20 {
            read.extend(ctx.recv().await.map(|message| message.body));
        }
        Ok(read)
    });
    let task: TaskHandle<Vec<Value>> = task.await.unwrap();
    for number in 0..20 {
        soon(task.send(number)).await.unwrap();
    }
    let all: Vec<_> = (0..20).collect();
    assert_eq!(soon(task).await.unwrap(), all);
}

#[tokio::test]
async fn sender_that_waits_for_room_gets_its_message_back_when_the_task_ends() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("deaf").inbox_capacity(1);
    let task = task.inbox_overflow(Overflow::Wait).spawn(until_cancelled);
    let task = task.await.unwrap();
    task.send(1).await.unwrap();
    let waiting = tokio::spawn({
        let task = task.task();
        async move { task.send(2).await }
    });
    settle_down().await;
    assert!(!waiting.is_finished());
    task.cancel(Cancel::because("enough")).await.unwrap();
    let refused = soon(waiting).await.unwrap();
    assert!(matches!(refused, Err(SendError::Ended { message, .. }) if message == 2));
}

#[tokio::test]
async fn body_does_not_wait_for_room_in_its_own_inbox() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").inbox_capacity(1);
    let task = task.inbox_overflow(Overflow::Wait).spawn(|ctx| async move {
        ctx.send("self", 1).await?;
        Ok(matches!(
            ctx.send("self", 2).await,
            Err(SendError::Full { .. })
        ))
    });
    assert!(soon(task.await.unwrap()).await.unwrap());
}

#[tokio::test]
async fn every_receiver_that_waits_is_woken_by_a_cancel() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        let (a, b, c) = tokio::join!(ctx.recv(), ctx.recv(), ctx.recv());
        Ok([a, b, c].iter().all(Option::is_none))
    });
    let task = task.await.unwrap();
    crate::stage::reaches(&manager, task.id(), understory::State::Running).await;
    task.cancel(Cancel::because("enough")).await.unwrap();
    assert_eq!(
        task.record().unwrap().to_json()["outcome"]["late_result"],
        true
    );
}

#[tokio::test]
async fn message_that_nobody_reads_as_its_manager_left_is_told_and_later_ones_are_refused() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(until_cancelled);
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Running).await;
    let receipt = task.send("hello").await.unwrap();

    soon(manager.leave()).await.unwrap();

    assert_eq!(soon(receipt).await, ENDED);
    let late = task.send("late").await;
    assert!(matches!(late, Err(SendError::Ended { .. })), "{late:?}");
}

/// Messages that a task of this name has left unread.
async fn left(manager: &Manager, messages: &[u32]) -> Vec<MessageId> {
    let task = manager
        .scope("s")
        .task("heir")
        .spawn(until_cancelled)
        .await
        .unwrap();
    let mut receipts = Vec::new();
    for message in messages {
        receipts.push(task.send(message).await.unwrap());
    }
    task.cancel(Cancel::because("enough")).await.unwrap();
    let ids = receipts.iter().map(|receipt| receipt.id).collect();
    for receipt in receipts {
        assert_eq!(soon(receipt).await, ENDED);
    }
    ids
}

#[tokio::test]
async fn dead_letters_are_replayed_in_the_order_of_their_sender() {
    let manager = Manager::in_memory();
    let ids = left(&manager, &[1, 2]).await;
    let dead = manager.dead_letters(&DeadFilter::all().scope("s").from(Sender::Host));
    assert_eq!(dead.iter().map(|letter| letter.id).collect::<Vec<_>>(), ids);
    let nobody = manager.replay(ids[0]).await;
    assert!(
        matches!(nobody, Err(ReplayError::NoReceiver(_))),
        "{nobody:?}"
    );

    let heir = manager
        .scope("s")
        .task("heir")
        .spawn(reads_all)
        .await
        .unwrap();
    crate::stage::reaches(&manager, heir.id(), understory::State::Running).await;
    let early = manager.replay(ids[1]).await;
    assert!(
        matches!(early, Err(ReplayError::Older(id)) if id == ids[0]),
        "{early:?}"
    );
    assert_eq!(manager.replay(ids[0]).await.unwrap().id, ids[0]);
    manager.replay(ids[1]).await.unwrap();
    let again = manager.replay(ids[0]).await;
    assert!(
        matches!(again, Err(ReplayError::Unknown(id)) if id == ids[0]),
        "{again:?}"
    );
    heir.interrupt("read").await.unwrap();
    assert_eq!(soon(heir).await.unwrap(), [1, 2]);
}

#[tokio::test]
async fn dead_letters_are_bounded_and_can_be_cleared() {
    let manager = Manager::builder().dead_letters_max(2).build().unwrap();
    left(&manager, &[1, 2, 3]).await;
    let bodies = || {
        let dead = manager.dead_letters(&DeadFilter::all());
        dead.into_iter()
            .map(|letter| letter.body)
            .collect::<Vec<_>>()
    };
    assert_eq!(bodies(), [2, 3]);
    assert_eq!(manager.dead_letters_forgotten(), 1);
    let unknown = understory::TaskId::from_u128(7);
    assert_eq!(
        manager.clear_dead_letters(&DeadFilter::all().to(unknown)),
        0
    );
    assert_eq!(manager.clear_dead_letters(&DeadFilter::all()), 2);
    assert_eq!(bodies(), Vec::<Value>::new());
}

#[tokio::test]
async fn dead_letters_are_bounded_by_their_bytes() {
    // Three letters of two bytes each.
    for (bytes_max, kept) in [(5, &[20, 30][..]), (6, &[10, 20, 30]), (7, &[10, 20, 30])] {
        let builder = Manager::builder().dead_letters_bytes_max(bytes_max);
        let manager = builder.build().unwrap();
        left(&manager, &[10, 20, 30]).await;
        let bodies = || -> Vec<Value> {
            let dead = manager.dead_letters(&DeadFilter::all()).into_iter();
            dead.map(|letter| letter.body).collect()
        };
        assert_eq!(bodies(), kept, "{bytes_max}");
        assert_eq!(manager.dead_letters_forgotten(), 3 - kept.len() as u64);

        // One that is taken out and put back counts once, and what is cleared counts no more.
        let oldest = manager.dead_letters(&DeadFilter::all())[0].id;
        assert!(manager.replay(oldest).await.is_err());
        assert_eq!(bodies(), kept, "{bytes_max}");
        manager.clear_dead_letters(&DeadFilter::all());
        left(&manager, &[10, 20]).await;
        assert_eq!(bodies(), [10, 20]);
    }
}

#[tokio::test]
async fn dead_letter_that_is_too_large_by_itself_drives_no_other_out() {
    let builder = Manager::builder().dead_letters_bytes_max(4);
    let manager = builder.build().unwrap();
    left(&manager, &[10, 12_345, 20]).await;
    let dead = manager.dead_letters(&DeadFilter::all());
    let bodies: Vec<_> = dead.into_iter().map(|letter| letter.body).collect();
    assert_eq!(bodies, [10, 20]);
    assert_eq!(manager.dead_letters_forgotten(), 1);
}

#[tokio::test]
async fn message_that_interrupts_is_queued_and_interrupts() {
    let manager = Manager::in_memory();
    let task = reader(&manager, Overflow::Reject).await;
    task.send_as(SendMode::Interrupt, "now").await.unwrap();
    assert_eq!(soon(task).await.unwrap(), ["now"]);
}

#[tokio::test]
async fn parent_root_and_own_children_are_addresses() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let _other = scope.task("stranger").spawn(for_ever).await.unwrap();
    let root = scope.task("root-task").spawn(|ctx| async move {
        let lead = ctx.task("lead").spawn(|ctx| async move {
            let child = ctx.task("child").spawn(|ctx| async move {
                ctx.send(Address::Parent, "to the parent").await?;
                ctx.send(Address::Root, "to the root").await?;
                Ok(ctx.recv().await.map(|message| message.body))
            });
            let child = child.await?;
            let strange = ctx.send(Address::Child("stranger".into()), 1).await;
            let strange = matches!(strange, Err(SendError::NoSuchTask { .. }));
            let heard = ctx.recv().await.map(|message| message.body);
            ctx.send(Address::Child("child".into()), "to the child")
                .await?;
            Ok(json!([strange, heard, child.await?]))
        });
        let lead = lead.await?;
        let heard = ctx.recv().await.map(|message| message.body);
        Ok(json!([heard, lead.await?]))
    });
    let told = soon(root.await.unwrap()).await.unwrap();
    assert_eq!(
        told,
        json!(["to the root", [true, "to the parent", "to the child"]])
    );
}

#[tokio::test]
async fn futures_of_sends_are_small() {
    let manager = Manager::in_memory();
    let task = reader(&manager, Overflow::Reject).await;
    let scope = manager.scope("s");
    let sizes = [
        size_of_val(&task.send(1)),
        size_of_val(&manager.send(task.id(), 1)),
        size_of_val(&scope.send(task.id(), 1)),
        size_of_val(&task.send_as(SendMode::Trigger, 1)),
    ];
    assert!(sizes.iter().all(|size| *size <= 96), "{sizes:?}");
}
