//! Questions of a body and the answers to them.

use std::pin::Pin;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use understory::{
    AskError, Cancel, Class, Context, Event, Failure, Manager, RespondError, Retry, State,
    TaskHandle, TaskId, Wait,
};

#[cfg(feature = "testing")]
use crate::stage::for_ever;
use crate::stage::{feed_of, reaches, sees, soon, story, until};

async fn asks(ctx: Context) -> Result<Value, Failure> {
    Ok(ctx.ask("k", "may I?").await?)
}

async fn asking(manager: &Manager) -> TaskHandle<Value> {
    let task = manager.scope("s").task("t").spawn(asks).await.unwrap();
    reaches(manager, task.id(), State::Waiting).await;
    task
}

#[tokio::test]
async fn body_waits_for_its_answer_and_gets_it() {
    let manager = Manager::in_memory();
    let task = asking(&manager).await;
    let record = task.record().unwrap();
    assert_eq!(record.wait, Some(Wait::Answer));
    let shown = record.to_json();
    assert_eq!(shown["questions"]["k"]["question"], "may I?");
    assert_eq!(shown["questions"]["k"]["answer"], json!(null));

    task.respond("k", json!({ "yes": true })).await.unwrap();

    let id = task.id();
    assert_eq!(soon(task).await.unwrap(), json!({ "yes": true }));
    let told = story(&manager, id).await;
    let parks = ["waiting", "unparked"];
    let rest: Vec<_> = told
        .iter()
        .filter(|name| !parks.contains(name))
        .copied()
        .collect();
    assert_eq!(
        rest,
        ["accepted", "started", "asked", "answered", "settled"]
    );
}

#[tokio::test]
async fn several_questions_are_open_at_once_and_answered_in_any_order() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        let (a, b) = tokio::join!(ctx.ask("a", 1), ctx.ask("b", 2));
        Ok(json!([a?, b?]))
    });
    let task = task.await.unwrap();
    let open = || {
        task.record()
            .unwrap()
            .questions
            .as_ref()
            .map_or(0, |all| all.len())
    };
    until(|| open() == 2).await;
    manager.respond(task.id(), "b", "B").await.unwrap();
    assert_eq!(task.state(), Some(State::Waiting));
    manager.respond(task.id(), "a", "A").await.unwrap();
    assert_eq!(soon(task).await.unwrap(), json!(["A", "B"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_answers_one_wins() {
    let manager = Manager::in_memory();
    let task = asking(&manager).await;
    let callers = (0..32).map(|number| {
        let task = task.task();
        tokio::spawn(async move { task.respond("k", number).await.map(|()| number) })
    });
    let mut winners = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        match soon(caller).await.unwrap() {
            Ok(number) => winners.push(number),
            Err(RespondError::AlreadyAnswered { .. } | RespondError::Ended { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(soon(task).await.unwrap(), json!(winners[0]));
}

#[tokio::test]
async fn answer_that_nobody_wants_is_refused_with_the_reason() {
    let manager = Manager::in_memory();
    let unknown = TaskId::from_u128(7);
    let refused = manager.respond(unknown, "k", 1).await;
    assert!(matches!(refused, Err(RespondError::Unknown(id)) if id == unknown));

    let task = asking(&manager).await;
    for key in ["other", "not a valid key \n"] {
        let refused = task.respond(key, 1).await;
        assert!(matches!(refused, Err(RespondError::NoSuchQuestion { key: told }) if told == key));
    }
    let refused = task.respond("k", "x".repeat(64 * 1_024)).await;
    assert!(matches!(refused, Err(RespondError::TooLarge { .. })));
    task.cancel(Cancel::because("enough")).await.unwrap();
    let refused = task.respond("k", 1).await;
    let state = State::Cancelled;
    assert!(matches!(refused, Err(RespondError::Ended { state: told }) if told == state));
}

#[tokio::test]
async fn parent_answers_its_child() {
    let manager = Manager::in_memory();
    let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
        let child = ctx.task("child").spawn(asks).await?;
        until(|| {
            child
                .record()
                .is_some_and(|record| record.questions.is_some())
        })
        .await;
        child.respond("k", "from above").await?;
        let id = child.id();
        Ok((id, child.await?))
    });
    let lead = lead.await.unwrap();
    let lead_id = lead.id();
    let (child, answer) = soon(lead).await.unwrap();
    assert_eq!(answer, "from above");
    let by = manager.get(child).unwrap().to_json()["questions"]["k"]["answer"]["by"].take();
    assert_eq!(by, lead_id.to_string());
}

#[tokio::test]
async fn body_that_waits_for_an_answer_lends_its_slot() {
    let manager = Manager::builder()
        .limit("l", Class::queue(1))
        .build()
        .unwrap();
    let scope = manager.scope("s");
    let first = scope.task("first").limit("l").spawn(asks).await.unwrap();
    let second = scope.task("second").limit("l");
    let second = second
        .spawn(|_| async { Ok("ran meanwhile") })
        .await
        .unwrap();
    assert_eq!(
        soon(second.settled()).await.unwrap().state,
        State::Completed
    );
    first.respond("k", 1).await.unwrap();
    assert_eq!(soon(first).await.unwrap(), json!(1));
}

#[tokio::test]
async fn cancel_ends_the_wait_for_an_answer_and_tells_what_stays_open() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        match ctx.ask("k", 1).await {
            Err(AskError::Cancelled(stop)) => Ok(stop.reason.to_string()),
            other => panic!("it was cancelled: {other:?}"),
        }
    });
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Waiting).await;
    task.cancel(Cancel::because("enough")).await.unwrap();

    assert_eq!(
        task.record().unwrap().to_json()["outcome"]["late_result"],
        "enough"
    );
    let mut feed = feed_of(&manager, task.id()).await;
    let event = sees(&mut feed, |event: &Event| event.what.name() == "unanswered").await;
    assert_eq!(event.to_json()["data"], json!({ "keys": ["k"] }));
}

#[tokio::test]
async fn next_attempt_finds_the_answer_of_the_one_before() {
    let manager = Manager::in_memory();
    let task = manager
        .scope("s")
        .task("t")
        .retry(Retry::fixed(1, Duration::ZERO));
    let task = task.spawn(|ctx| async move {
        let answer = ctx.ask("k", "may I?").await?;
        match ctx.attempt() {
            1 => Err(Failure::new("after the answer")),
            _ => Ok(answer),
        }
    });
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Waiting).await;
    task.respond("k", "once").await.unwrap();
    assert_eq!(soon(task).await.unwrap(), "once");
}

#[tokio::test]
async fn question_that_is_not_valid_is_refused() {
    let manager = Manager::in_memory();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        let large = ctx.ask("k", "x".repeat(64 * 1_024)).await;
        let invalid = ctx.ask("", 1).await;
        Ok((
            matches!(large, Err(AskError::TooLarge { .. })),
            matches!(invalid, Err(AskError::Invalid(_))),
        ))
    });
    assert_eq!(soon(task.await.unwrap()).await.unwrap(), (true, true));
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn p24_answer_given_before_a_restart_is_found_after_it() {
    let body = |ctx: Context, _: Value| async move {
        let answer = ctx.ask("k", "may I?").await?;
        if ctx.attempt() == 1 {
            ctx.progress("answered").await?;
            return for_ever(ctx).await.map(|()| json!(null));
        }
        Ok(answer)
    };
    let manager = Manager::builder().executor("asks", body).build().unwrap();
    let task = manager
        .scope("s")
        .task("t")
        .retry(Retry::fixed(1, Duration::ZERO));
    let task = task.spawn_kind("asks", ()).await.unwrap();
    reaches(&manager, task.id(), State::Waiting).await;
    task.respond("k", "yes").await.unwrap();
    until(|| task.record().unwrap().progress.is_some()).await;

    manager.break_part(understory::Part::Manager);
    let _asked = manager.scope("s").unnamed().spawn(for_ever).await;

    assert_eq!(soon(task).await.unwrap(), "yes");
}

#[tokio::test]
async fn question_of_a_helper_is_over_when_the_body_is() {
    let manager = Manager::in_memory();
    let (tell, helper) = oneshot::channel();
    let task = manager.scope("s").task("t").spawn(|ctx| async move {
        let asks = ctx.clone();
        let asked = tokio::spawn(async move { asks.ask("k", "may I?").await });
        assert!(tell.send(asked).is_ok());
        ctx.recv().await;
        Ok(())
    });
    let task = task.await.unwrap();
    reaches(&manager, task.id(), State::Waiting).await;

    task.send("return").await.unwrap();

    soon(task).await.unwrap();
    let answer = soon(soon(helper).await.unwrap()).await.unwrap();
    assert!(matches!(answer, Err(AskError::Over)), "{answer:?}");
}

#[tokio::test]
async fn what_a_helper_of_an_attempt_before_awaits_keeps_no_slot() {
    type Asking = Pin<Box<dyn Future<Output = Result<Value, AskError>> + Send>>;
    let manager = Manager::builder().limit("l", Class::queue(1));
    let manager = manager.build().unwrap();
    let (keep, mut kept) = mpsc::unbounded_channel::<Asking>();
    let task = manager.scope("s").task("t").limit("l");
    let task = task.retry(Retry::fixed(1, Duration::ZERO));
    let task = task.spawn(move |ctx| {
        let keep = keep.clone();
        async move {
            if ctx.attempt() == 1 {
                let (asks, here) = (ctx.clone(), ctx.this());
                let mut asking: Asking = Box::pin(async move { asks.ask("k", 1).await });
                let waits = until(|| here.state() == Some(State::Waiting));
                tokio::select! {
                    answer = &mut asking => panic!("nobody answers: {answer:?}"),
                    () = waits => {}
                }
                // Whoever holds it polls it no more.
                assert!(keep.send(asking).is_ok());
                return Err(Failure::new("again"));
            }
            let child = ctx.task("child").limit("l");
            let child = child.spawn(|_| async { Ok(7) }).await?;
            Ok(child.await?)
        }
    });

    assert_eq!(soon(task.await.unwrap()).await.unwrap(), 7);
    drop(soon(kept.recv()).await);
}
