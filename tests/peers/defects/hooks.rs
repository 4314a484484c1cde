//! Defects of calls to user code: what hangs or panics there holds nothing else back.

use std::future::pending;
use std::time::Duration;

use understory::{Cancel, Class, Context, Failure, Manager, SendMode, SpawnError, State, Wake};

use crate::stage::{feed_of, for_ever, reaches, sees, soon, story};

/// A manager with one slot whose every hook hangs.
fn with_hooks_that_hang() -> Manager {
    Manager::builder()
        .limit("one", Class::refuse(1))
        .on_limit_reached(|_| pending())
        .on_wake(|_: Wake| pending())
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn hooks_that_hang_hold_back_no_timeout_no_slot_and_no_end() {
    let manager = with_hooks_that_hang();
    let scope = manager.scope("s");
    let hangs = scope.unnamed().grace(Duration::from_mins(1));
    let hangs = hangs.heartbeat_timeout(Duration::from_secs(5));
    let hangs = hangs.external_with(|_| pending()).await.unwrap();
    let slow = || {
        scope
            .unnamed()
            .limit("one")
            .timeout(Duration::from_secs(10))
    };
    let first = slow().spawn(for_ever).await.unwrap();
    let refused = slow().spawn(for_ever).await;
    assert!(matches!(refused, Err(SpawnError::LimitReached(_))));
    let sleeper = scope
        .task("sleeper")
        .resumable()
        .spawn(|ctx: Context| async move {
            match ctx.try_recv() {
                None => Err(ctx.suspend("until there is mail")),
                Some(message) => Ok(message.body),
            }
        });
    let sleeper = sleeper.await.unwrap();
    reaches(&manager, sleeper.id(), State::Suspended).await;
    sleeper.send_as(SendMode::Trigger, "mail").await.unwrap();

    assert_eq!(first.settled().await.unwrap().state, State::TimedOut);
    assert_eq!(hangs.state(), Some(State::CancelRequested));
    let second = slow().spawn(|_| async { Ok(1) }).await.unwrap();
    assert_eq!(soon(second).await.unwrap(), 1, "the slot was free");
    sleeper.resume("morning").await.unwrap();
    assert_eq!(soon(sleeper).await.unwrap(), "mail");
    assert_eq!(hangs.settled().await.unwrap().state, State::TimedOut);
}

#[tokio::test]
async fn callback_that_panics_is_told_and_its_task_ends_like_any_other() {
    let manager = Manager::in_memory();
    let scope = manager.scope("s");
    let panics = scope
        .task("t")
        .external_with(|_| async { std::panic::resume_unwind(Box::new("on purpose")) });
    let panics = panics.await.unwrap();
    soon(panics.cancel(Cancel::because("enough")))
        .await
        .unwrap();

    assert_eq!(panics.state(), Some(State::Cancelled));
    let told = story(&manager, panics.id()).await;
    assert_eq!(
        told,
        [
            "accepted",
            "started",
            "stop_asked",
            "callback_failed",
            "settled"
        ]
    );
    assert_eq!((manager.live(), scope.find("t")), (0, None));
}

#[tokio::test]
async fn cancel_is_told_to_listeners_like_every_other_end() {
    let manager = Manager::in_memory();
    let task = || manager.scope("s").unnamed();
    let value = task().spawn(|_| async { Ok(()) }).await.unwrap();
    let error = task().spawn(|_| async { Err::<(), _>(Failure::new("broken")) });
    let error = error.await.unwrap();
    let cancelled = task().spawn(for_ever).await.unwrap();
    let grace = Cancel::because("enough").grace(Duration::ZERO);
    soon(cancelled.cancel(grace)).await.unwrap();

    let expected = [State::Completed, State::Failed, State::Cancelled];
    for (id, state) in [value.id(), error.id(), cancelled.id()]
        .iter()
        .zip(expected)
    {
        let mut feed = feed_of(&manager, *id).await;
        let end = sees(&mut feed, |event| event.what.name() == "settled").await;
        assert_eq!(end.state, state);
    }
}
