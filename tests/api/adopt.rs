//! Adopting an operation that runs already.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use understory::{AdoptError, Cancel, Context, Failure, Manager, Outcome, State, Stop};

use crate::stage::soon;

type Calls = mpsc::UnboundedSender<Option<String>>;

fn calls() -> (Calls, mpsc::UnboundedReceiver<Option<String>>) {
    mpsc::unbounded_channel()
}

/// Adopts what never ends, with a cancel that tells why it was called.
fn adopt_for_ever(ctx: &Context, calls: Calls) {
    let cancel = move |why: Option<Arc<Stop>>| async move {
        let _ = calls.send(why.map(|stop| stop.reason.to_string()));
        Ok(())
    };
    ctx.adopt(pending::<Result<(), Failure>>(), cancel).unwrap();
}

async fn no_cancel(_: Option<Arc<Stop>>) -> Result<(), Failure> {
    panic!("nobody cancels it")
}

#[tokio::test]
async fn value_of_the_operation_is_that_of_the_task() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        ctx.adopt(async { Ok(42) }, no_cancel)?;
        Ok(0)
    });
    assert_eq!(soon(task.await.unwrap()).await.unwrap(), 42);
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        ctx.adopt(async { Err::<(), _>(Failure::new("there")) }, no_cancel)?;
        Ok(())
    });
    let record = task.await.unwrap().settled().await.unwrap();
    assert_eq!(record.state, State::Failed);
}

#[tokio::test]
async fn an_attempt_adopts_once() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        ctx.adopt(async { Ok(1) }, no_cancel)?;
        assert_eq!(
            ctx.adopt(async { Ok(2) }, no_cancel),
            Err(AdoptError::Twice)
        );
        Ok(0)
    });
    assert_eq!(soon(task.await.unwrap()).await.unwrap(), 1);
}

#[tokio::test]
async fn cancel_calls_the_cancel_once_and_the_operation_may_still_end() {
    let manager = Manager::in_memory();
    let (calls, mut called) = calls();
    let stopped = Arc::new(Notify::new());
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        let ends = Arc::clone(&stopped);
        let operation = async move {
            ends.notified().await;
            Ok("partial".to_owned())
        };
        let cancel = move |why: Option<Arc<Stop>>| async move {
            let _ = calls.send(why.map(|stop| stop.reason.to_string()));
            stopped.notify_one();
            Ok(())
        };
        ctx.adopt(operation, cancel)?;
        Ok(String::new())
    });
    let task = task.await.unwrap();
    soon(task.cancel(Cancel::because("enough"))).await.unwrap();

    assert_eq!(soon(called.recv()).await, Some(Some("enough".to_owned())));
    assert_eq!(soon(called.recv()).await, None);
    let record = task.record().unwrap();
    let Some(Outcome::Cancelled { late_result }) = record.outcome.as_deref() else {
        panic!("it was cancelled")
    };
    assert_eq!(late_result.as_ref().unwrap().as_json(), "\"partial\"");
}

#[tokio::test]
async fn body_that_fails_or_panics_after_adopting_cancels_the_operation_once() {
    let manager = Manager::in_memory();
    for panics in [false, true] {
        let (calls, mut called) = calls();
        let task = manager.scope("s").task("t").spawn(move |ctx| async move {
            adopt_for_ever(&ctx, calls);
            assert!(!panics, "on purpose");
            Err::<(), _>(Failure::new("after adopting"))
        });
        let record = soon(task.await.unwrap().settled()).await.unwrap();
        assert_eq!(record.state, State::Failed);
        assert_eq!(soon(called.recv()).await, Some(None));
        assert_eq!(soon(called.recv()).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn timeout_calls_the_cancel_once_and_force_ends_the_operation() {
    let manager = Manager::in_memory();
    let (calls, mut called) = calls();
    let task = manager.scope("s").task("t").timeout(Duration::from_secs(1));
    let task = task
        .grace(Duration::from_secs(1))
        .spawn(move |ctx| async move {
            adopt_for_ever(&ctx, calls);
            Ok(())
        });
    let record = task.await.unwrap().settled().await.unwrap();

    assert_eq!(record.state, State::TimedOut);
    assert!(called.recv().await.unwrap().is_some());
    assert_eq!(called.recv().await, None);
}
