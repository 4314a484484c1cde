//! Many inputs as one task.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use understory::{Cancel, Failure, Filter, Manager, Page, State};

use crate::stage::{settle_down, soon, until, until_cancelled};

#[tokio::test]
async fn results_stand_in_the_order_of_inputs_whatever_ends_first() {
    let manager = Manager::in_memory();
    let gate = Arc::new(Semaphore::new(0));
    let batch = manager.scope("s").task("batch").map([0_usize, 1, 2, 3]);
    let opener = Arc::clone(&gate);
    let batch = batch.concurrency(4).spawn(move |_, number| {
        let gate = Arc::clone(&gate);
        async move {
            // The last input ends first.
            if number == 3 {
                gate.add_permits(3);
            } else {
                gate.acquire().await.map_err(Failure::from)?.forget();
            }
            Ok(number * 10)
        }
    });

    let items = soon(batch.await.unwrap()).await.unwrap();

    let values: Vec<_> = items.iter().map(|item| item.result.clone()).collect();
    assert_eq!(values, [Ok(0), Ok(10), Ok(20), Ok(30)]);
    assert_eq!(opener.available_permits(), 0);
    for (place, item) in items.iter().enumerate() {
        let record = manager.get(item.task.unwrap()).unwrap();
        assert_eq!(*record.spec.labels["item"], *place.to_string());
    }
}

#[tokio::test]
async fn no_more_inputs_run_at_once_than_the_concurrency() {
    let manager = Manager::in_memory();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let batch = manager.scope("s").task("batch").map(0..20).concurrency(3);
    let highest = Arc::clone(&most);
    let batch = batch.spawn(move |_, _| {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            settle_down().await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    });

    assert_eq!(soon(batch.await.unwrap()).await.unwrap().len(), 20);
    assert_eq!(highest.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn one_input_that_fails_or_panics_stops_no_other() {
    let manager = Manager::in_memory();
    let batch = manager
        .scope("s")
        .task("batch")
        .map(["good", "bad", "worse", "fine"]);
    let batch = batch.spawn(|_, word| async move {
        match word {
            "bad" => Err(Failure::new("no good")),
            "worse" => panic!("far worse"),
            _ => Ok(word.len()),
        }
    });

    let items = soon(batch.await.unwrap()).await.unwrap();

    assert_eq!(items[0].result, Ok(4));
    assert_eq!(items[1].result, Err("no good".to_owned()));
    assert_eq!(items[2].result, Err("panicked: far worse".to_owned()));
    assert_eq!(items[3].result, Ok(4));
}

#[tokio::test]
async fn cancelled_batch_ends_as_a_tree_and_starts_nothing_more() {
    let manager = Manager::in_memory();
    let batch = manager.scope("s").task("batch").map(0..10).concurrency(2);
    let batch = batch.spawn(|ctx, _| until_cancelled(ctx)).await.unwrap();
    until(|| manager.counts().of(State::Running) == 2).await;

    let report = soon(batch.cancel_tree(Cancel::because("enough")))
        .await
        .unwrap();

    assert!(report.abandoned.is_empty());
    let all = manager.list(&Filter::all(), &Page::first(50));
    assert_eq!((all.total, manager.live()), (3, 0));
    assert!(
        all.records
            .iter()
            .all(|record| record.state == State::Cancelled)
    );
}

#[tokio::test]
async fn each_task_of_a_batch_is_shaped_as_it_says() {
    let manager = Manager::in_memory();
    let batch = manager.scope("s").task("batch").map([1]);
    let batch = batch
        .each(|child| child.kind("reader"))
        .spawn(|ctx, _| async move { Ok(ctx.kind().map(ToString::to_string)) });

    let items = soon(batch.await.unwrap()).await.unwrap();
    assert_eq!(items[0].result, Ok(Some("reader".to_owned())));
}
