//! Tools by which a model speaks to tasks: answers, interrupts, modes, suspension.

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use understory::tools::{self, Rights};
use understory::{Cancel, Context, Failure, Manager, State, TaskId};

use super::{call, is_refused, says_what_a_model_can_do, spawn};
use crate::stage::{reaches, soon, story, until, until_cancelled};

async fn asks(ctx: Context, _: Value) -> Result<Value, Failure> {
    ctx.resumed().ok_or_else(|| ctx.suspend("may I?"))
}

/// Asks two things and ends with both answers.
async fn curious(ctx: Context, _: Value) -> Result<Value, Failure> {
    let (color, size) = tokio::join!(ctx.ask("color", "which?"), ctx.ask("size", "how large?"));
    Ok(json!([color?, size?]))
}

/// Ends with the reason of its second interrupt and what came by message.
async fn busy(ctx: Context, _: Value) -> Result<Value, Failure> {
    ctx.interrupted().await;
    ctx.output("interrupted").await?;
    let last = ctx.interrupted().await;
    Ok(json!([*last.reason, ctx.try_recv().map(|it| it.body)]))
}

fn manager() -> Manager {
    let builder = Manager::builder()
        .executor("asks", asks)
        .executor("curious", curious)
        .executor("busy", busy);
    builder.build().unwrap()
}

fn rights(manager: &Manager) -> Rights {
    Rights::of_scope(manager, "s").unwrap()
}

async fn value_of(manager: &Manager, task: TaskId) -> Value {
    let record = soon(manager.task(task).settled()).await.unwrap();
    record.to_json()["outcome"]["value"].clone()
}

#[tokio::test]
async fn suspended_task_goes_on_with_an_answer() {
    let manager = manager();
    let rights = rights(&manager);
    let task = spawn(&rights, "asks", "t").await;
    reaches(&manager, task, State::Suspended).await;
    let waited = call(&rights, "task_wait", json!({ "targets": ["t"] })).await;
    assert_eq!(waited["suspended"][0]["wait"]["payload"], "may I?");

    let resumed = call(&rights, "task_resume", json!({ "id": "t", "data": "yes" })).await;
    assert_eq!(resumed["id"], task.to_string());
    let record = soon(manager.task(task).settled()).await.unwrap();
    assert_eq!(record.to_json()["outcome"]["value"], "yes");

    let ended = json!({ "id": task.to_string() });
    let error = is_refused(&rights, "task_resume", ended, "not_suspended").await;
    assert_eq!(error["details"]["status"], "completed");
    is_refused(&rights, "task_resume", json!({ "id": "x" }), "not_found").await;
}

#[tokio::test]
async fn questions_are_shown_and_each_is_answered_once() {
    let manager = manager();
    let rights = rights(&manager);
    let task = spawn(&rights, "curious", "t").await;
    let record = || manager.get(task).unwrap();
    until(|| record().questions.as_ref().is_some_and(|it| it.len() == 2)).await;

    let open = json!({ "color": "which?", "size": "how large?" });
    let waited = call(&rights, "task_wait", json!({ "timeout_ms": 60_000 })).await;
    assert_eq!(waited["asking"][0]["questions"], open);
    assert_eq!(waited["timed_out"], false);
    // A question that is known does not end the next wait.
    let later = json!({ "timeout_ms": 1, "after_seq": waited["seq"] });
    let later = call(&rights, "task_wait", later).await;
    assert_eq!(
        (&later["asking"], &later["pending"]),
        (&json!([]), &json!([task.to_string()]))
    );
    let red = json!({ "id": "t", "key": "color", "value": "red" });
    let answered = call(&rights, "task_respond", red.clone()).await;
    assert_eq!(answered["questions"], json!({ "size": "how large?" }));

    let refused = |args, code| is_refused(&rights, "task_respond", args, code);
    says_what_a_model_can_do(&refused(red, "already_answered").await);
    let wrong = json!({ "id": "t", "key": "weight", "value": 1 });
    let error = refused(wrong, "no_such_question").await;
    assert_eq!(
        error["details"],
        json!({ "key": "weight", "open": ["size"] })
    );
    refused(json!({ "id": "t", "key": "size" }), "invalid_arguments").await;
    let nobody = json!({ "id": "x", "key": "size", "value": 1 });
    refused(nobody, "not_found").await;
    let large = json!({ "id": "t", "key": "size", "value": "x".repeat(70_000) });
    refused(large, "refused").await;

    let nothing = json!({ "id": "t", "key": "size", "value": null });
    call(&rights, "task_respond", nothing.clone()).await;
    assert_eq!(value_of(&manager, task).await, json!(["red", null]));
    let late = json!({ "id": task.to_string(), "key": "size", "value": 1 });
    refused(late, "ended").await;
}

#[tokio::test]
async fn interrupted_task_stays_usable() {
    let manager = manager();
    let rights = rights(&manager);
    let task = spawn(&rights, "busy", "t").await;
    reaches(&manager, task, State::Running).await;

    let first = json!({ "id": "t", "reason": "look up" });
    let told = call(&rights, "task_interrupt", first).await;
    assert_eq!(
        (&told["previous_status"], &told["status"]),
        (&json!("running"), &json!("running"))
    );
    let mut feed = crate::stage::feed_of(&manager, task).await;
    let heard = |event: &understory::Event| event.to_json()["data"] == "interrupted";
    crate::stage::sees(&mut feed, heard).await;
    let message = json!({ "to": "t", "body": "go on", "mode": "interrupt" });
    let sent = call(&rights, "task_send", message).await;
    let value = value_of(&manager, task).await;
    let id = sent["message_id"].as_str().unwrap();
    assert!(value[0].as_str().unwrap().contains(id), "{value} {id}");
    assert_eq!(value[1], "go on");

    let refused = |args, code| is_refused(&rights, "task_interrupt", args, code);
    let late = json!({ "id": task.to_string(), "reason": "too late" });
    let error = refused(late, "not_running").await;
    assert_eq!(error["details"]["status"], "completed");
    says_what_a_model_can_do(&error);
    refused(json!({ "id": "x", "reason": "y" }), "not_found").await;
    refused(json!({ "id": task.to_string() }), "invalid_arguments").await;
    let asks = spawn(&rights, "asks", "asks").await;
    reaches(&manager, asks, State::Suspended).await;
    let error = refused(json!({ "id": "asks", "reason": "y" }), "not_running").await;
    assert!(error["message"].as_str().unwrap().contains("task_resume"));
}

#[tokio::test]
async fn message_that_triggers_wakes_and_one_that_queues_does_not() {
    let (wakes, mut woken) = mpsc::channel(8);
    let builder = Manager::builder().executor("asks", asks);
    let builder = builder.on_wake(move |wake| {
        wakes.try_send(wake.cause).unwrap();
        async {}
    });
    let manager = builder.build().unwrap();
    let rights = rights(&manager);
    let task = spawn(&rights, "asks", "t").await;
    reaches(&manager, task, State::Suspended).await;

    let quiet = json!({ "to": "t", "body": 1, "mode": "queue" });
    call(&rights, "task_send", quiet).await;
    let loud = json!({ "to": "t", "body": 2, "mode": "trigger" });
    let sent = call(&rights, "task_send", loud).await;

    let woken = format!("{:?}", soon(woken.recv()).await.unwrap());
    assert!(
        woken.contains(sent["message_id"].as_str().unwrap()),
        "{woken}"
    );
    let unknown = json!({ "to": "t", "body": 2, "mode": "shout" });
    is_refused(&rights, "task_send", unknown, "invalid_arguments").await;
}

#[tokio::test]
async fn task_speaks_to_its_parent_and_does_not_interrupt_it() {
    let manager = manager();
    let lead = manager.scope("s").task("lead").spawn(|ctx| async move {
        let child = ctx.task("child").spawn(|ctx| async move {
            let rights = Rights::of_task(&ctx);
            for mode in ["queue", "trigger"] {
                let args = json!({ "to": "parent", "body": mode, "mode": mode });
                let sent = tools::call("task_send", args, &rights).await;
                assert!(sent["error"].is_null(), "{sent}");
            }
            let args = json!({ "to": "root", "body": 1, "mode": "interrupt" });
            let refused = is_refused(&rights, "task_send", args, "refused").await;
            says_what_a_model_can_do(&refused);
            Ok(())
        });
        child.await?.await?;
        let heard = ctx.drain().into_iter().map(|message| message.body);
        Ok((ctx.is_interrupted(), heard.collect::<Vec<_>>()))
    });
    let heard: (bool, Vec<Value>) = soon(lead.await.unwrap()).await.unwrap();
    assert_eq!(heard, (false, vec![json!("queue"), json!("trigger")]));
}

/// A model's turn: it asks to be suspended and ends its turn with something.
async fn turn(ctx: Context) -> Result<Value, Failure> {
    if let Some(data) = ctx.resumed() {
        return Ok(data);
    }
    let rights = Rights::of_task(&ctx);
    let args = json!({ "payload": { "may": "I?" } });
    let told = tools::call("task_suspend", args, &rights).await;
    assert_eq!(told["id"], ctx.id().to_string(), "{told}");
    Ok(json!("not kept"))
}

#[tokio::test]
async fn task_suspends_itself_when_its_turn_ends() {
    let manager = manager();
    let task = manager.scope("s").task("t").resumable().spawn(turn);
    let task = soon(task).await.unwrap();
    reaches(&manager, task.id(), State::Suspended).await;

    let all = rights(&manager);
    let read = call(&all, "task_read", json!({ "id": "t" })).await;
    assert_eq!(read["wait"]["payload"], json!({ "may": "I?" }));
    call(&all, "task_resume", json!({ "id": "t", "data": "you may" })).await;
    assert_eq!(soon(task).await.unwrap(), "you may");

    let nobody = json!({ "payload": 1 });
    let error = is_refused(&all, "task_suspend", nobody, "refused").await;
    says_what_a_model_can_do(&error);
}

#[tokio::test]
async fn task_that_cannot_go_on_afterwards_is_not_suspended() {
    let manager = manager();
    let once = manager.scope("s").task("once").spawn(|ctx| async move {
        let rights = Rights::of_task(&ctx);
        let error = is_refused(&rights, "task_suspend", json!({ "payload": 1 }), "refused").await;
        says_what_a_model_can_do(&error);
        Ok(())
    });
    let once = soon(once).await.unwrap();
    soon(once).await.unwrap();

    let stopped = manager.scope("s").task("stopped").resumable();
    let stopped = stopped.spawn(|ctx| async move {
        ctx.cancelled().await;
        let rights = Rights::of_task(&ctx);
        is_refused(&rights, "task_suspend", json!({ "payload": 1 }), "refused").await;
        Ok(())
    });
    let stopped = soon(stopped).await.unwrap();
    soon(stopped.cancel(Cancel::because("enough")))
        .await
        .unwrap();
    let names = soon(story(&manager, stopped.id())).await;
    assert!(!names.contains(&"suspended"), "{names:?}");

    let (tell, told) = oneshot::channel();
    let task = manager.scope("s").task("large").resumable();
    let tell = std::sync::Mutex::new(Some(tell));
    let task = task.spawn(move |ctx| {
        let tell = tell.lock().unwrap().take();
        async move {
            tell.map(|tell| tell.send(Rights::of_task(&ctx)));
            until_cancelled(ctx).await
        }
    });
    let _task = soon(task).await.unwrap();
    let rights = soon(told).await.unwrap();
    let large = json!({ "payload": "x".repeat(2 << 20) });
    is_refused(&rights, "task_suspend", large, "refused").await;
}
