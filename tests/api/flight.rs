//! Single flights: of the live tasks with one key there is one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use understory::{Cancel, Context, Failure, Manager, Reach};

use crate::stage::{soon, until_cancelled};

/// A body that ends when it gets a message.
async fn until_told(ctx: Context) -> Result<String, Failure> {
    let message = ctx.recv().await;
    Ok(message.map_or_else(String::new, |message| message.body.to_string()))
}

#[tokio::test(flavor = "multi_thread")]
async fn many_spawns_of_one_flight_at_once_are_one_task() {
    let manager = Manager::in_memory();
    let ran = Arc::new(AtomicUsize::new(0));
    let asks: Vec<_> = (0..64)
        .map(|_| {
            let (scope, ran) = (manager.scope("s"), Arc::clone(&ran));
            tokio::spawn(async move {
                let task = scope.unnamed().single_flight("index");
                let task = task.spawn(move |ctx| async move {
                    ran.fetch_add(1, Ordering::SeqCst);
                    until_told(ctx).await
                });
                task.await.unwrap()
            })
        })
        .collect();
    let mut handles = Vec::new();
    for ask in asks {
        handles.push(soon(ask).await.unwrap());
    }
    handles[0].send("go").await.unwrap();

    let new = handles.iter().filter(|handle| handle.is_new()).count();
    assert_eq!((new, manager.counts().total()), (1, 1));
    for handle in handles {
        assert_eq!(soon(handle).await.unwrap(), "\"go\"");
    }
    assert_eq!(ran.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn chosen_flight_goes_before_the_derived_one() {
    let manager = Manager::in_memory();
    let task = || manager.scope("s").unnamed();
    let derived = task().single_flight_for("builder", "docs");
    let derived = derived.spawn(until_cancelled).await.unwrap();
    let same = task()
        .single_flight_for("builder", "docs")
        .spawn(until_cancelled)
        .await
        .unwrap();
    let other = task()
        .single_flight_for("builder", "code")
        .spawn(until_cancelled)
        .await
        .unwrap();
    let chosen = task()
        .single_flight("plan-1")
        .single_flight_for("builder", "docs");
    let chosen = chosen.spawn(until_cancelled).await.unwrap();
    let again = task()
        .single_flight_for("builder", "more")
        .single_flight("plan-1");
    let again = again.spawn(until_cancelled).await.unwrap();

    assert_eq!(same.id(), derived.id());
    assert!(other.is_new() && chosen.is_new());
    assert_eq!(again.id(), chosen.id());
}

#[tokio::test]
async fn flight_is_of_its_scope_unless_it_reaches_further() {
    let manager = Manager::in_memory();
    let task = |scope: &str| manager.scope(scope).unnamed().single_flight("f");
    let mine = task("mine").spawn(until_cancelled).await.unwrap();
    let yours = task("yours").spawn(until_cancelled).await.unwrap();
    let far = task("mine")
        .flight_reach(Reach::Manager)
        .spawn(until_cancelled)
        .await
        .unwrap();
    let far_too = task("yours")
        .flight_reach(Reach::Manager)
        .spawn(until_cancelled)
        .await
        .unwrap();

    assert!(mine.is_new() && yours.is_new() && far.is_new());
    assert_eq!(far_too.id(), far.id());
}

#[tokio::test]
async fn flight_ends_when_its_body_has_stopped() {
    let manager = Manager::in_memory();
    let ask = || {
        manager
            .scope("s")
            .unnamed()
            .single_flight("f")
            .spawn(until_cancelled)
    };
    let first = ask().await.unwrap();
    assert!(!ask().await.unwrap().is_new());
    first.cancel(Cancel::because("enough")).await.unwrap();

    let second = ask().await.unwrap();
    assert!(second.is_new());
    assert_ne!(second.id(), first.id());
}
