//! What was durable when an actor failed, and not carried out.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use understory::store::{FaultyStore, Latency, MemoryStore};
use understory::{
    Cancel, Context, Failure, Manager, Part, Payload, Retry, SpawnError, State, TaskHooks, TaskId,
    Wake, WakeCause,
};

use crate::stage::{reaches, soon, until};

type Wakes = UnboundedReceiver<Wake>;

async fn next(wakes: &mut Wakes) -> (TaskId, WakeCause) {
    let wake = soon(wakes.recv()).await.expect("the manager lives");
    (wake.task.id(), wake.cause)
}

/// Ends once this is sent.
fn held_back() -> (
    watch::Sender<()>,
    impl Fn() -> watch::Receiver<()> + Clone + Send + Sync,
) {
    let (release, released) = watch::channel(());
    (release, move || released.clone())
}

/// An executor that ends with its second attempt.
async fn once_again(ctx: Context, input: Value) -> Result<Value, Failure> {
    match ctx.attempt() {
        1 => std::future::pending().await,
        _ => Ok(input),
    }
}

#[tokio::test]
async fn external_whose_spawn_was_not_answered_is_cancelled_there_when_asked_to() {
    let manager = Manager::in_memory();
    until(|| manager.incarnation() == 1).await;
    let (called, mut calls) = unbounded_channel();
    manager.break_part(Part::Carrier);
    let scope = manager.scope("s");
    let asked = scope.unnamed().external_with(move |stop| async move {
        let _ = called.send(stop.reason.to_string());
        Ok(())
    });
    let Err(SpawnError::Unknown(id)) = soon(asked).await else {
        panic!("nobody could answer")
    };
    until(|| manager.incarnation() == 2).await;
    reaches(&manager, id, State::Running).await;

    let task = manager.task(id);
    soon(task.cancel(Cancel::because("enough"))).await.unwrap();

    assert_eq!(soon(calls.recv()).await.as_deref(), Some("enough"));
}

#[tokio::test]
async fn hooks_of_a_spawn_that_was_not_answered_hear_of_the_task() {
    let manager = Manager::builder()
        .executor("k", once_again)
        .build()
        .unwrap();
    until(|| manager.incarnation() == 1).await;
    let (tell, mut told) = unbounded_channel();
    let hooks = TaskHooks::new().on_settled(move |ended| {
        let tell = tell.clone();
        async move {
            let _ = tell.send(ended.event.state);
            Ok(())
        }
    });
    manager.break_part(Part::Carrier);
    let scope = manager.scope("s");
    let task = scope.unnamed().retry(Retry::fixed(1, Duration::ZERO));
    let asked = soon(task.hooks(hooks).spawn_kind("k", 1)).await;

    assert!(matches!(asked, Err(SpawnError::Unknown(_))), "{asked:?}");
    assert_eq!(soon(told.recv()).await, Some(State::Completed));
}

#[tokio::test]
async fn task_that_was_shown_as_its_carrier_failed_goes_on() {
    let manager = Manager::builder()
        .executor("k", once_again)
        .build()
        .unwrap();
    until(|| manager.incarnation() == 1).await;
    manager.break_part(Part::Shown);
    let scope = manager.scope("s");
    let task = scope.unnamed().retry(Retry::fixed(1, Duration::ZERO));
    let Err(SpawnError::Unknown(id)) = soon(task.spawn_kind("k", 1)).await else {
        panic!("nobody could answer")
    };

    let settled = soon(manager.task(id).settled()).await.unwrap();

    assert_eq!((settled.state, settled.attempt), (State::Completed, 2));
}

#[tokio::test]
async fn work_of_a_spawn_that_was_not_written_is_dropped_and_its_link_is_cut() {
    let store = FaultyStore::new(MemoryStore::default()).with_latency(Latency::Instant);
    let store = Arc::new(store);
    let builder = Manager::builder().store(Arc::clone(&store));
    let manager = builder.build().unwrap();
    until(|| manager.incarnation() == 1).await;
    let (held, token) = (Arc::new(()), CancellationToken::new());
    let captured = Arc::clone(&held);
    let body = move |_| async move {
        drop(captured);
        Ok(())
    };
    store.panic_next();
    let scope = manager.scope("s");
    let asked = soon(scope.unnamed().cancel_with(token.clone()).spawn(body)).await;

    assert!(matches!(asked, Err(SpawnError::Unknown(_))), "{asked:?}");
    until(|| Arc::strong_count(&held) == 1).await;
    assert_eq!(manager.live(), 0);
}

#[tokio::test]
async fn end_that_was_not_carried_out_wakes_who_waits_for_it() {
    let (tell, mut wakes) = unbounded_channel();
    let hook = move |wake: Wake| {
        let tell = tell.clone();
        async move { drop(tell.send(wake)) }
    };
    let lead = |ctx: Context, _: Value| async move {
        if ctx.resumed().is_none() {
            let child = ctx.task("child").root();
            child
                .spawn(|ctx| async move { Ok(ctx.recv().await.is_some()) })
                .await?;
            return Err(ctx.suspend("asleep"));
        }
        Ok(json!("awake"))
    };
    let builder = Manager::builder().on_wake(hook).executor("lead", lead);
    let manager = builder.build().unwrap();
    let lead = manager.scope("s").task("lead").spawn_kind("lead", ());
    let lead = lead.await.unwrap();
    reaches(&manager, lead.id(), State::Suspended).await;
    let child = manager.scope("s").find("child").unwrap();
    let child = manager.task(child);
    reaches(&manager, child.id(), State::Running).await;

    manager.break_part(Part::Carrier);
    child.send("go").await.unwrap();

    assert_eq!(
        next(&mut wakes).await,
        (lead.id(), WakeCause::Ended(child.id()))
    );
}

#[tokio::test]
async fn output_that_was_not_carried_out_can_be_read() {
    for inline in [0, 1_000] {
        let (release, released) = held_back();
        let body = move |ctx: Context, _: Value| {
            let mut released = released();
            async move {
                if ctx.attempt() == 1 {
                    let _ = released.changed().await;
                    ctx.output("first").await?;
                    std::future::pending::<()>().await;
                }
                ctx.output("second").await?;
                Ok(json!(null))
            }
        };
        let builder = Manager::builder().executor("k", body);
        let manager = builder.output_inline_max(inline).build().unwrap();
        let task = manager.scope("s").unnamed();
        let task = task.retry(Retry::fixed(1, Duration::ZERO));
        let task = task.spawn_kind("k", 1).await.unwrap();
        reaches(&manager, task.id(), State::Running).await;

        manager.break_part(Part::Carrier);
        release.send(()).unwrap();
        soon(task.settled()).await.unwrap();

        let page = manager.read_output(task.id(), 0, 10).unwrap();
        let read: Vec<_> = page.pieces.iter().map(Payload::as_json).collect();
        assert_eq!((page.written, page.missed), (2, 0), "inline {inline}");
        assert_eq!(read, ["\"first\"", "\"second\""]);
    }
}

#[tokio::test]
async fn inbox_of_a_task_that_runs_again_is_open_although_its_body_had_ended() {
    for part in [Part::Manager, Part::Writer] {
        let (release, released) = held_back();
        let body = move |ctx: Context, _: Value| {
            let mut released = released();
            async move {
                if ctx.attempt() == 1 {
                    let _ = released.changed().await;
                    return Ok(json!("lost"));
                }
                let message = ctx.recv().await.map(|message| message.body);
                Ok(json!(message))
            }
        };
        let manager = Manager::builder().executor("k", body).build().unwrap();
        let task = manager.scope("s").unnamed();
        let task = task.retry(Retry::fixed(1, Duration::ZERO));
        let task = task.spawn_kind("k", 1).await.unwrap();
        reaches(&manager, task.id(), State::Running).await;

        manager.break_part(part);
        release.send(()).unwrap();
        until(|| manager.incarnation() == 2).await;

        task.send("hello").await.unwrap();
        assert_eq!(soon(task).await.unwrap(), "hello", "{part:?}");
    }
}
