//! What tasks of a kind take: checks of inputs, messages, answers and events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use understory::tools::{self, Rights};
use understory::{
    Cancel, Checks, Context, DeadFilter, Failure, Filter, Manager, Mismatch, MissingExecutor, Mode,
    NoteError, Page, ReplayError, RespondError, SendError, SpawnError, State,
};

use crate::stage::{reaches, soon, story, until};

fn number(value: &Value) -> Result<(), Mismatch> {
    if value.is_number() {
        return Ok(());
    }
    Err(Mismatch::at("/0", "a number is expected"))
}

fn named(name: &str, value: &Value) -> Result<(), Mismatch> {
    if name == "free" {
        return Ok(());
    }
    number(value).map_err(|why| Mismatch::from(format!("{name}: {}", why.reason())))
}

/// Asks for a number and adds the one that it is sent.
async fn adds(ctx: Context, input: Value) -> Result<Value, Failure> {
    let answer = ctx.ask("size", "how large?").await?;
    let message = ctx.recv().await.map(|message| message.body);
    Ok(json!([input, answer, message]))
}

async fn echo(_: Context, input: Value) -> Result<Value, Failure> {
    Ok(input)
}

#[tokio::test]
async fn input_that_its_kind_does_not_take_comes_back_and_leaves_no_trace() {
    let builder = Manager::builder()
        .executor("k", echo)
        .executor("other", echo)
        .checks("k", Checks::new().input(number));
    let manager = builder.build().unwrap();
    let scope = manager.scope("s");

    let refused = scope.task("t").key("key").spawn_kind("k", "one").await;
    let Err(SpawnError::InvalidInput { kind, why, input }) = refused else {
        panic!("it is refused")
    };
    assert_eq!((kind.as_str(), input), ("k", json!("one")));
    assert_eq!((why.path(), why.reason()), ("/0", "a number is expected"));
    assert_eq!(manager.list(&Filter::all(), &Page::default()).total, 0);

    // Neither its name nor its key is bound.
    let taken = scope.task("t").key("key").spawn_kind("k", 1).await.unwrap();
    assert_eq!(soon(taken).await.unwrap(), 1);
    let other = scope.task("t").spawn_kind("other", "one").await.unwrap();
    assert_eq!(soon(other).await.unwrap(), "one");
}

#[tokio::test]
async fn input_is_checked_also_where_its_executor_is_missing() {
    let waits = Manager::builder().missing_executor(MissingExecutor::Waits);
    let produces = Manager::builder().mode(Mode::Producer);
    for builder in [waits, produces] {
        let manager = builder
            .checks("k", Checks::new().input(number))
            .build()
            .unwrap();
        let scope = manager.scope("s");
        let refused = scope.task("t").spawn_kind("k", "one").await;
        assert!(matches!(refused, Err(SpawnError::InvalidInput { .. })));
        let mut deferred = scope.unnamed().defer("k", "two");
        assert!(deferred.dispatch().await.is_err());
        assert!(scope.task("t").spawn_kind("k", 1).await.is_ok());
    }
}

#[tokio::test]
async fn check_that_panics_refuses_and_stops_nothing_else() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let panics = move |_: &Value| -> Result<(), Mismatch> {
        counted.fetch_add(1, Ordering::Relaxed);
        panic!("no such schema")
    };
    let builder = Manager::builder()
        .executor("k", echo)
        .executor("other", echo)
        .checks("k", Checks::new().input(panics));
    let manager = builder.build().unwrap();
    let scope = manager.scope("s");

    let refused = scope.task("t").spawn_kind("k", 1).await;
    let Err(SpawnError::InvalidInput { why, .. }) = refused else {
        panic!("it is refused")
    };
    assert!(why.reason().contains("no such schema"), "{why}");
    let other = scope.task("t").spawn_kind("other", 1).await.unwrap();
    assert_eq!(soon(other).await.unwrap(), 1);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn messages_and_answers_are_checked_before_they_are_placed() {
    let checks = Checks::new().messages(number).answers(named);
    let builder = Manager::builder().executor("k", adds).checks("k", checks);
    let manager = builder.build().unwrap();
    let task = manager.scope("s").task("t").spawn_kind("k", "x");
    let task = task.await.unwrap();
    until(|| {
        let record = manager.get(task.id()).unwrap();
        record.questions.as_ref().is_some_and(|all| !all.is_empty())
    })
    .await;

    let Err(RespondError::Mismatch { key, why }) = task.respond("size", "large").await else {
        panic!("it is refused")
    };
    assert_eq!(
        (&*key, why.reason()),
        ("size", "size: a number is expected")
    );
    for sent in [
        task.send("one").await,
        manager.send(task.id(), "one").await,
        manager.scope("s").send("t", "one").await,
    ] {
        let Err(SendError::Mismatch { message, .. }) = sent else {
            panic!("it is refused")
        };
        assert_eq!(message, "one");
    }
    task.respond("size", 2).await.unwrap();
    let receipt = task.send(3).await.unwrap();
    assert_eq!(receipt.number, 1);
    assert_eq!(soon(task).await.unwrap(), json!(["x", 2, 3]));
    assert!(manager.dead_letters(&DeadFilter::all()).is_empty());
}

#[tokio::test]
async fn event_that_its_kind_does_not_say_is_refused_to_its_body_only() {
    let builder = Manager::builder().checks("k", Checks::new().events(named));
    let manager = builder.build().unwrap();
    let task = manager
        .scope("s")
        .task("t")
        .kind("k")
        .spawn(|ctx| async move {
            let refused = ctx.emit("found", "one").await;
            let Err(NoteError::Mismatch(why)) = refused else {
                panic!("it is refused")
            };
            ctx.emit("found", 1).await?;
            ctx.emit("free", "anything").await?;
            Ok(why.reason().to_owned())
        });
    let task = task.await.unwrap();
    let id = task.id();
    assert_eq!(soon(task).await.unwrap(), "found: a number is expected");
    let names = story(&manager, id).await;
    assert_eq!(names.iter().filter(|name| **name == "emitted").count(), 2);

    let free = manager.scope("s").task("free").spawn(|ctx| async move {
        ctx.emit("found", "one").await?;
        Ok(())
    });
    soon(free.await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn dead_letter_is_not_replayed_to_an_heir_whose_kind_does_not_take_it() {
    let builder = Manager::builder().checks("k", Checks::new().messages(number));
    let manager = builder.build().unwrap();
    let scope = manager.scope("s");
    let deaf = scope.task("t").spawn(crate::stage::until_cancelled);
    let deaf = deaf.await.unwrap();
    let receipt = deaf.send("one").await.unwrap();
    let letter = receipt.id;
    deaf.cancel(Cancel::because("enough")).await.unwrap();
    soon(receipt).await;
    let heir = scope.task("t").kind("k");
    let heir = heir.spawn(crate::stage::until_cancelled).await.unwrap();
    reaches(&manager, heir.id(), State::Running).await;

    let refused = manager.replay(letter).await.unwrap_err();

    assert_eq!(refused, ReplayError::NoReceiver(deaf.id()));
    assert_eq!(manager.dead_letters(&DeadFilter::all())[0].id, letter);
}

#[tokio::test]
async fn model_is_told_where_its_input_is_wrong() {
    let checks = Checks::new().input(number).messages(number).answers(named);
    let builder = Manager::builder().executor("k", adds).checks("k", checks);
    let manager = builder.build().unwrap();
    let rights = Rights::of_scope(&manager, "s").unwrap();
    let call = async |name, args| soon(tools::call(name, args, &rights)).await["error"].clone();

    let error = call("task_spawn", json!({ "kind": "k", "input": "one" })).await;
    assert_eq!(error["code"], "invalid_input");
    let details = json!({ "path": "/0", "reason": "a number is expected" });
    assert_eq!(error["details"], details);
    let taken = json!({ "kind": "k", "input": 1, "name": "t" });
    assert!(call("task_spawn", taken).await.is_null());
    let error = call("task_send", json!({ "to": "t", "body": "one" })).await;
    assert_eq!(
        (&error["code"], &error["details"]),
        (&json!("invalid_message"), &details)
    );
    let answer = json!({ "id": "t", "key": "size", "value": "one" });
    assert_eq!(call("task_respond", answer).await["code"], "invalid_answer");
}

#[tokio::test]
async fn newest_checks_of_a_kind_count_and_a_kind_must_be_valid() {
    let builder = Manager::builder()
        .executor("k", echo)
        .checks("k", Checks::new().input(number))
        .checks("k", Checks::new());
    let manager = builder.build().unwrap();
    let task = manager.scope("s").task("t").spawn_kind("k", "one").await;
    assert_eq!(soon(task.unwrap()).await.unwrap(), "one");

    let builder = Manager::builder().checks("no kind", Checks::new());
    assert!(builder.build().is_err());
}
