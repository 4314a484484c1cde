//! Which dead letters a filter means.

use serde_json::json;
use understory::{DeadFilter, Manager, Sender, Undelivered};

use super::*;

#[tokio::test]
async fn each_condition_of_a_filter_leaves_out_what_does_not_fit() {
    let manager = Manager::in_memory();
    // From the host, to a task of another scope that ends without reading.
    let other = manager.scope("other").task("deaf");
    let other = other.spawn(until_cancelled).await.unwrap();
    other.send("ended, other, host").await.unwrap();
    other.cancel(Cancel::because("enough")).await.unwrap();
    // Dropped for a newer one, which is not read either.
    let full = manager.scope("s").task("full").inbox_capacity(2);
    let full = full.inbox_overflow(Overflow::DropOldest);
    let full = full.spawn(until_cancelled).await.unwrap();
    full.send("dropped, s, host").await.unwrap();
    full.send("ended, s, host").await.unwrap();
    // From a task.
    let (to, scope) = (full.id(), manager.scope("s"));
    let sender = scope.task("sender").spawn(move |ctx| async move {
        ctx.send(to, "ended, s, task").await?;
        Ok(())
    });
    let sender = sender.await.unwrap();
    let from = Sender::Task(sender.id());
    soon(sender).await.unwrap();
    full.cancel(Cancel::because("enough")).await.unwrap();

    let meant = |filter: DeadFilter| {
        let letters = manager.dead_letters(&filter).into_iter();
        let mut bodies: Vec<_> = letters.map(|letter| letter.body).collect();
        bodies.sort_by_key(Value::to_string);
        bodies
    };
    let all = DeadFilter::all;
    assert_eq!(meant(all()).len(), 4);
    assert_eq!(meant(all().scope("other")), [json!("ended, other, host")]);
    assert_eq!(meant(all().to(other.id())), [json!("ended, other, host")]);
    assert_eq!(meant(all().from(from)), [json!("ended, s, task")]);
    let dropped = all().why(Undelivered::Dropped);
    assert_eq!(meant(dropped), [json!("dropped, s, host")]);
    let both = all().from(Sender::Host).why(Undelivered::Ended).scope("s");
    assert_eq!(meant(both.clone()), [json!("ended, s, host")]);
    assert_eq!(manager.clear_dead_letters(&both), 1);
    assert_eq!(meant(all()).len(), 3);
}

#[tokio::test]
async fn letters_go_with_their_task_to_another_scope() {
    let manager = Manager::in_memory();
    let (old, new) = (manager.scope("old"), manager.scope("new"));
    let task = old.task("w").inbox_capacity(1);
    let task = task.inbox_overflow(Overflow::DropOldest);
    let task = task.spawn(until_cancelled).await.unwrap();
    let early = task.send("dropped before").await.unwrap().id;
    task.send("dropped after").await.unwrap();
    task.transfer("new").await.unwrap();
    let secret = task.send("secret").await.unwrap().id;
    task.cancel(Cancel::because("enough")).await.unwrap();

    let of_scope = |scope| manager.dead_letters(&DeadFilter::all().scope(scope)).len();
    assert_eq!((of_scope("old"), of_scope("new")), (0, 3));
    let stranger = old.task("w").spawn(until_cancelled).await.unwrap();
    let refused = manager.replay(early).await;
    assert_eq!(refused.unwrap_err(), ReplayError::NoReceiver(task.id()));
    let heir = new.task("w").spawn(reads_all).await.unwrap();
    reaches(&manager, heir.id(), State::Running).await;
    for letter in manager.dead_letters(&DeadFilter::all()) {
        manager.replay(letter.id).await.unwrap();
    }
    heir.interrupt("read").await.unwrap();
    let read = soon(heir).await.unwrap();
    assert_eq!(read, ["dropped before", "dropped after", "secret"]);
    assert!(
        manager.dead_letters(&DeadFilter::all()).is_empty(),
        "{secret}"
    );
    assert_eq!(stranger.state(), Some(State::Running));
}
