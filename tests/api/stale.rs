//! What is left of an attempt when the next one runs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use understory::{Cause, Context, Limit, Manager, Retry, State};

use crate::stage::{feed_of, sees, settle_down, soon};

#[tokio::test(start_paused = true)]
async fn attempt_that_was_asked_to_stop_stays_so_while_the_next_one_runs() {
    let manager = Manager::in_memory();
    let contexts = Arc::new(Mutex::new(Vec::<Context>::new()));
    let task = manager.scope("s").task("t").timeout(Duration::from_secs(1));
    let kept = Arc::clone(&contexts);
    let task = task
        .grace(Duration::ZERO)
        .retry(Retry::fixed(1, Duration::ZERO))
        .spawn(move |ctx| {
            kept.lock().unwrap().push(ctx.clone());
            async move { crate::stage::for_ever(ctx).await }
        })
        .await
        .unwrap();
    let mut feed = feed_of(&manager, task.id()).await;
    sees(&mut feed, |event| {
        event.attempt == 2 && event.state == State::Running
    })
    .await;
    settle_down().await;

    let contexts = std::mem::take(&mut *contexts.lock().unwrap());
    let [first, second] = contexts.as_slice() else {
        panic!("two attempts: {contexts:?}");
    };
    assert!(first.is_cancelled() && first.token().is_cancelled());
    assert_eq!(first.stop().unwrap().cause, Cause::Timeout(Limit::Attempt));
    soon(first.cancelled()).await;
    assert!(!second.is_cancelled() && second.stop().is_none());
}
