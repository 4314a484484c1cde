//! Bodies that sleep, ask and read.

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::yield_now;
use understory::{
    Builder, Context, Manager, RespondError, ResumeError, SendError, State, Wait, Wake, WakeCause,
};

use super::{again, at_each_point, echoes, lasting, spawned, telling};
use crate::stage::{reaches, soon, until};

/// A lead that sleeps until a task below it has ended, and the wakes of it.
fn with_lead() -> (Builder, UnboundedReceiver<Wake>) {
    let (tell, wakes) = telling();
    let hook = move |wake: Wake| {
        let tell = tell.clone();
        async move { drop(tell.send(wake)) }
    };
    let lead = |ctx: Context, _: Value| async move {
        match ctx.resumed() {
            None => Err(ctx.suspend("asleep")),
            Some(with) => Ok(with),
        }
    };
    let builder = Manager::builder().on_wake(hook).executor("lead", lead);
    (builder.executor("k", echoes), wakes)
}

#[tokio::test]
async fn p11_sleeper_is_woken_when_a_task_below_it_ends_and_goes_on() {
    at_each_point(with_lead, async |manager, mut wakes| {
        let lead = spawned(async || lasting(manager, 1).spawn_kind("lead", ()).await).await;
        reaches(manager, lead.id(), State::Suspended).await;
        let below = async || {
            let task = lasting(manager, 2).parent(lead.id());
            task.spawn_kind("k", 2).await
        };
        let below = spawned(below).await.id();

        let wake = soon(wakes.recv()).await.unwrap();
        assert_eq!(wake.task.id(), lead.id());
        assert_eq!(wake.cause, WakeCause::Ended(below));
        // An attempt that follows a lost one was not resumed, and sleeps again.
        let is_over = || lead.state().is_some_and(State::is_terminal);
        while !is_over() {
            match soon(lead.resume("go on")).await {
                Ok(()) | Err(ResumeError::Restarted) => {}
                Err(ResumeError::NotSuspended { .. } | ResumeError::AlreadyResumed(_)) => {
                    yield_now().await;
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(soon(lead).await.unwrap(), "go on");
    })
    .await;
}

#[tokio::test]
async fn p11_question_is_asked_and_answered_once() {
    let asks = |ctx: Context, _: Value| async move { Ok(ctx.ask("k", "may I?").await?) };
    let stage = || (Manager::builder().executor("asks", asks), ());
    at_each_point(stage, async |manager, ()| {
        let task = spawned(async || lasting(manager, 1).spawn_kind("asks", ()).await).await;
        let has_asked = || {
            let record = manager.get(task.id());
            record.is_some_and(|it| it.wait == Some(Wait::Answer))
        };
        until(has_asked).await;

        let respond = async || task.respond("k", "yes").await;
        let answered = again(respond, |why| matches!(why, RespondError::Restarted)).await;
        let is_there = matches!(
            answered,
            Ok(()) | Err(RespondError::AlreadyAnswered { .. } | RespondError::Ended { .. })
        );

        assert!(is_there, "{answered:?}");
        assert_eq!(soon(task).await.unwrap(), "yes");
    })
    .await;
}

#[tokio::test]
async fn p11_durable_message_comes_although_the_body_is_run_again() {
    let reads = |ctx: Context, _: Value| async move {
        let message = ctx.recv().await;
        Ok(json!(message.map(|it| it.body)))
    };
    let stage = || (Manager::builder().executor("reads", reads), ());
    at_each_point(stage, async |manager, ()| {
        let task = spawned(async || lasting(manager, 1).spawn_kind("reads", ()).await).await;

        while let Err(why) = soon(task.send_durable("hello")).await {
            let is_unsure = matches!(why, SendError::Unknown { .. } | SendError::Ended { .. });
            assert!(is_unsure, "{why:?}");
            let record = manager.get(task.id()).unwrap();
            if record.state.is_terminal() || !record.unacknowledged().is_empty() {
                break;
            }
        }

        assert_eq!(soon(task).await.unwrap(), "hello");
    })
    .await;
}
