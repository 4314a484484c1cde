//! Suspend and resume, as subscribers and retries see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use understory::{Failure, Manager, Payload, Retry, State, What};

use crate::stage::{feed_of, reaches, sees, soon};

#[tokio::test]
async fn attempt_that_is_resumed_goes_on_with_its_number_after_an_earlier_failure() {
    let manager = Manager::in_memory();
    let calls = Arc::new(AtomicU32::new(0));
    let retry = Retry::fixed(3, Duration::ZERO);
    let task = manager.scope("s").task("t").retry(retry).spawn({
        let calls = Arc::clone(&calls);
        move |ctx| {
            let call = calls.fetch_add(1, SeqCst);
            async move {
                match call {
                    0 => Err(Failure::new("the first call fails")),
                    1 => Err(ctx.suspend("may I?")),
                    _ => Ok(ctx.attempt()),
                }
            }
        }
    });
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Suspended).await;
    assert_eq!(task.record().unwrap().attempt, 2);
    task.resume("yes").await.unwrap();

    assert_eq!(soon(task).await.unwrap(), 2);
    assert_eq!(calls.load(SeqCst), 3);
}

#[tokio::test]
async fn subscribers_see_the_payload_then_the_resumption_then_the_end() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").resumable();
    let task = task.spawn(|ctx| async move {
        match ctx.resumed() {
            None => Err(ctx.suspend("may I?")),
            Some(_) => Ok(()),
        }
    });
    let task = task.await.unwrap();
    let mut feed = feed_of(&manager, task.id()).await;

    let suspended = sees(&mut feed, |event| event.state == State::Suspended).await;
    assert_eq!(
        suspended.what,
        What::Suspended(Payload::from_json("\"may I?\""))
    );
    task.resume(()).await.unwrap();
    let resumed = sees(&mut feed, |event| event.what.name() == "resumed").await;
    let settled = sees(&mut feed, |event| event.state.is_terminal()).await;
    assert!(suspended.seq < resumed.seq && resumed.seq < settled.seq);
    assert_eq!(settled.state, State::Completed);
}
